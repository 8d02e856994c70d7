"""Names on a Linux desktop: a real systemd-resolved, and a real OpenVPN 2.7 or later."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.names import DOMAIN
from tests.e2e.steps import Mac, wait_until
from tests.e2e.test_watch import watch
from tests.lab import Lab
from tests.lab.resolver_linux import KNOWN_ADDRESS, KNOWN_NAME, NamesLinux

NAME = f"redis.{DOMAIN}"
ADDRESS = "172.82.0.100"


@pytest.fixture(scope="module")
def mac(lab: Lab) -> Iterator[Mac]:
    """The Mac side with a tunnel; its client is that of the desktop."""
    mac = Mac(lab)
    mac.macnet("setup")
    mac.macnet("disconnect")
    yield mac


@pytest.fixture(scope="module")
def side(mac: Mac, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamesLinux]:
    """The desktop with a connected client, and a watch that answers while names are on."""
    with NamesLinux(mac.lab) as side:
        side.macnet("connect", env=mac.environment())
        with watch(mac, tmp_path_factory.mktemp("watch") / "said"):
            yield side
        side.macnet("disconnect", env=mac.environment())


@pytest.fixture(autouse=True)
def names_off(mac: Mac, side: NamesLinux) -> Iterator[None]:
    """Names are off afterwards."""
    yield
    side.macnet("names", "off", env=mac.environment())


def switch(mac: Mac, side: NamesLinux, *words: str) -> dict[str, object]:
    """What names on or off says of itself."""
    done = side.macnet("names", *words, "--json", env=mac.environment())
    found: dict[str, object] = json.loads(done.stdout)["names_switch"]
    return found


def assert_names(side: NamesLinux) -> None:
    """Names of containers are found, and nobody else is asked for them; others are as before."""
    asked = side.upstream_questions().count(DOMAIN)
    wait_until(lambda: side.query(NAME) == ADDRESS, 20, "the name")
    assert side.run(["getent", "hosts", NAME]).stdout.split() == [ADDRESS, NAME]
    assert side.run(["redis-cli", "-h", NAME, "ping"]).stdout.strip() == "PONG"
    assert side.query(f"nobody.{DOMAIN}") is None
    assert side.query(KNOWN_NAME) == KNOWN_ADDRESS
    assert side.upstream_questions().count(DOMAIN) == asked


def assert_none(side: NamesLinux, before: str) -> None:
    """All is as it was before."""
    wait_until(lambda: side.settings() == before, 20, "the settings of before")
    assert side.query(NAME) is None
    assert side.query(KNOWN_NAME) == KNOWN_ADDRESS


def test_a_delegate_of_systemd_resolved(mac: Mac, side: NamesLinux) -> None:
    before = side.settings()
    assert_none(side, before)
    done = switch(mac, side, "on")
    assert (done["changed"], done["steps"]) == (True, [])
    assert_names(side)
    assert not switch(mac, side, "on")["changed"]
    assert switch(mac, side, "off")["changed"]
    assert side.run(["ls", "-A", "/etc/systemd/dns-delegate.d"]).stdout == ""
    assert_none(side, before)


def test_the_lines_for_an_older_systemd(mac: Mac, side: NamesLinux) -> None:
    """What `names on` prints for a user to run; the end of the tunnel undoes it."""
    old = '[ "$*" != "--version" ] || { echo "systemd 252 (252-1)"; exit; }\n'
    side.write("/etc/macnet-lab/resolvectl.sh", old)
    try:
        steps = switch(mac, side, "on")["steps"]
    finally:
        side.run(["rm", "/etc/macnet-lab/resolvectl.sh"])
    assert isinstance(steps, list)
    *typed, said = steps
    assert said.startswith("both again after each connect")
    assert len(typed) == 2
    before = side.settings()
    for step in typed:
        side.run(["sh", "-c", step.replace("sudo ", "")])
    assert_names(side)
    side.run(["resolvectl", "revert", interface(mac)])
    assert_none(side, before)


def test_a_clusters_domain_is_sent_here_too(mac: Mac, side: NamesLinux) -> None:
    """Although it ends in `.local`, which is multicast DNS's where nobody says otherwise."""
    switch(mac, side, "on")
    # As if a cluster were reached: of that system nothing else depends on it.
    record = mac.root / "tunnel.json"
    state = json.loads(record.read_text())
    state["names"]["cluster"] = "kind"
    record.write_text(json.dumps(state))
    assert switch(mac, side, "on")["cluster"] == "kind"
    asked = side.upstream_questions().count("cluster.local")
    name = f"{'0' * 32}.probe.cluster.local"
    wait_until(lambda: side.query(name) == "127.0.0.1", 20, "the name")
    assert side.run(["getent", "hosts", name]).stdout.split() == ["127.0.0.1", name]
    assert side.query(KNOWN_NAME) == KNOWN_ADDRESS
    assert side.upstream_questions().count("cluster.local") == asked
    assert switch(mac, side, "on", "--no-cluster")["cluster"] is None
    wait_until(lambda: side.query(name) is None, 20, "no name")


def interface(mac: Mac) -> str:
    """The tunnel's."""
    rows = json.loads(mac.lab.run(["ip", "-json", "addr"]).stdout)
    (name,) = (row["ifname"] for row in rows if row["ifname"].startswith("tun"))
    return str(name)


def test_openvpn_leaves_all_that_alone(mac: Mac, side: NamesLinux) -> None:
    """It has a script that could change it (2.7 and later); names outlive the connection."""
    assert tuple(map(int, openvpn_version(mac, side)[:2])) >= (2, 7)
    switch(mac, side, "on")
    wait_until(lambda: side.query(NAME) == ADDRESS, 20, "the name")
    servers = side.servers()
    assert len(servers) == 3  # the one of before, macnet's, and macnet's domain
    side.macnet("disconnect", env=mac.environment())
    assert side.servers() == servers
    assert side.query(NAME) == ADDRESS
    assert side.query(KNOWN_NAME) == KNOWN_ADDRESS
    side.macnet("connect", env=mac.environment())
    assert side.servers() == servers
    assert_names(side)


def openvpn_version(mac: Mac, side: NamesLinux) -> list[str]:
    """The version of the desktop's client."""
    status = json.loads(side.macnet("status", "--json", env=mac.environment()).stdout)
    return str(status["status"]["client"]["version"]).split(".")
