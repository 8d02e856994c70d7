"""`macnet names on` and `off` on a Mac: one file of root's, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.names import DOMAIN, PORT
from tests.e2e.steps import Mac
from tests.e2e.test_sudo import PROMPT
from tests.e2e.test_watch import watch
from tests.lab.resolver_mac import MACNET, NamesMac, ask, udp_socket
from tests.lab.user import PASSWORD, MacUser

FILE = f"macnet.{DOMAIN}"
TEXT = f"""\
# macnet: names of containers, tunnel macnet of user 0; `macnet names off` removes this file.
domain {DOMAIN}
nameserver 127.0.0.1
port {PORT}
timeout 2
flags a aaaa
"""
RECORD = "macnet/tunnels/macnet/tunnel.json"
FOREIGN = "nameserver 127.0.0.1\nport 5353\n"


def text_of(user: MacUser) -> str:
    """The file of a user who is not root."""
    return TEXT.replace("user 0", f"user {user.home.stat().st_uid}")


@pytest.fixture
def side(up: Mac) -> Iterator[NamesMac]:
    """The Mac side with a tunnel and an /etc of its own."""
    with NamesMac(up.lab) as side:
        yield side
        side.macnet("names", "off", env=up.environment())


def look(side: NamesMac) -> tuple[str, dict[str, str], str | None]:
    """Everything that `names on` may change, and when the files were."""
    stat = side.run(["stat", "-c", "%n %i %y %a %u", f"/etc/resolver/{FILE}"], check=False)
    return stat.stdout, side.files(), side.read("/etc/macnet-lab/killall")


def changed(side: NamesMac, mac: Mac, *words: str) -> bool:
    """What names on or off says of itself."""
    done = side.macnet("names", *words, "--json", env=mac.environment())
    return bool(json.loads(done.stdout)["names_switch"]["changed"])


def test_on_twice_changes_nothing_and_off_leaves_nothing(up: Mac, side: NamesMac) -> None:
    assert changed(side, up, "on")
    first = look(side)
    assert first[0].split()[-2:] == ["644", "0"]
    assert first[1] == {FILE: TEXT}
    assert first[2] == "-HUP mDNSResponder\n"
    assert not changed(side, up, "on")
    assert look(side) == first
    assert changed(side, up, "off")
    assert side.files() == {}
    assert not changed(side, up, "off")
    assert (side.read("/etc/macnet-lab/killall") or "").count("-HUP") == 2


def test_a_foreign_file_is_refused_and_untouched(up: Mac, side: NamesMac) -> None:
    for name, text in ((DOMAIN, FOREIGN), ("mine", f"{FOREIGN}domain {DOMAIN}\n")):
        side.write(f"/etc/resolver/{name}", text)
        done = side.macnet("names", "on", env=up.environment(), check=False)
        assert done.returncode == 5, done.stderr
        assert f"/etc/resolver/{name} is not macnet's" in done.stderr
        assert f"sudo rm /etc/resolver/{name}" in done.stderr
        side.macnet("names", "off", env=up.environment())
        assert side.files() == {name: text}
        assert side.read("/etc/macnet-lab/killall") is None
        # For another domain it is no hindrance.
        assert changed(side, up, "on", "--domain", "box.test")
        assert set(side.files()) == {name, "macnet.box.test"}
        assert changed(side, up, "off")
        assert side.files() == {name: text}
        side.run(["rm", "-r", "/etc/resolver", "/etc/macnet-lab/killall"])


def test_a_port_is_chosen_that_is_free_for_dns(up: Mac, side: NamesMac) -> None:
    """A program that holds UDP alone is no listener of TCP."""
    with udp_socket(up.lab.paths.mac_netns) as other:
        other.bind(("127.0.0.1", PORT))
        done = side.macnet("names", "on", "--json", env=up.environment())
    assert json.loads(done.stdout)["names_switch"]["port"] == PORT + 1


def test_without_a_terminal_the_exact_command_is_told(up: Mac, side: NamesMac) -> None:
    """A user who is not root and whose sudo wants a password runs it, and all is done."""
    with MacUser(up.lab, within=side.words) as user:
        user.adopt(up.root / "tunnel.json", RECORD)
        env = up.environment({"PYTHONPATH": side.checkout})
        done = user.run([*MACNET, "names", "on", "--json"], env)
        assert done.returncode == 6, done.stdout + done.stderr
        error = json.loads(done.stdout)["error"]
        command = error["hint"].partition("or do it yourself: ")[2]
        assert command.startswith("sudo /bin/sh -c ")
        assert "'# macnet: names of containers" in command
        assert side.files() == {}
        side.run(["sh", "-c", command])
        assert side.files() == {FILE: text_of(user)}
        # Nothing is left to do for root, but macnet has to remember it.
        heard = side.read("/etc/macnet-lab/killall")
        done = user.run([*MACNET, "names", "on", "--json"], env)
        assert json.loads(done.stdout)["names_switch"]["changed"], done.stderr
        assert side.read("/etc/macnet-lab/killall") == heard
    # It is that user's: others, who have a tunnel of this name too, leave it alone.
    theirs = side.files()
    done = side.macnet("names", "on", env=up.environment(), check=False)
    assert (done.returncode, "belongs to another user" in done.stderr) == (5, True), done.stderr
    assert not changed(side, up, "off")
    assert side.files() == theirs


def test_the_real_sudo_asks_once_and_the_command_is_shown_before(up: Mac, side: NamesMac) -> None:
    macnet = " ".join(MACNET)
    script = f"""
        {macnet} names on && echo "first: $?" && cat /etc/resolver/{FILE} &&
        stat -c 'owner %U mode %a' /etc/resolver/{FILE} &&
        {macnet} names on && {macnet} names off && echo "left: $(ls -A /etc/resolver)."
    """
    with MacUser(up.lab, within=side.words) as user:
        user.adopt(up.root / "tunnel.json", RECORD)
        env = up.environment({"PYTHONPATH": side.checkout})
        with user.terminal(["sh", "-c", script], env) as terminal:
            terminal.wait_for(PROMPT)
            before = " ".join(terminal.text().split())
            assert "needs administrator rights: sudo /bin/sh -c 'umask 022;" in before
            assert f"sh /etc/resolver/{FILE}" in before
            terminal.type(f"{PASSWORD}\n")
            assert terminal.wait() == 0, terminal.text()
            shown = terminal.text().replace("\r", "")
        wanted = text_of(user)
    assert wanted in shown
    assert "owner root mode 644" in shown
    assert "left: ." in shown
    assert shown.count("password for") == 1


@pytest.fixture
def twin(up: Mac) -> Iterator[str]:
    """Another context for the same engine, and so a second tunnel."""
    name = "names-twin"
    host = f"host={up.lab.engine.docker_host}"
    up.lab.run(["docker", "context", "create", name, "--docker", host])
    up.macnet("setup", "--context", name, "--remap", "auto")
    yield name
    up.macnet("down", "--context", name, "--purge")
    up.lab.run(["docker", "context", "rm", "-f", name])


def listed(mac: Mac, *words: str) -> dict[str, list[str]]:
    """Addresses by name, of one tunnel."""
    rows: list[dict[str, Any]] = mac.json("names", "list", *words)["names"]["names"]
    return {row["name"]: row["addresses"] for row in rows}


def test_two_tunnels_have_two_zones(up: Mac, side: NamesMac, twin: str, tmp_path: Path) -> None:
    domain, env, other = f"docker-{twin}.test", up.environment(), ("--context", twin)
    first, second = listed(up), listed(up, *other)
    assert first[f"redis.{DOMAIN}"] == ["172.82.0.100"]
    [seen] = second[f"redis.{domain}"]
    assert seen != "172.82.0.100"
    assert not first.keys() & second.keys()
    assert changed(side, up, "on")
    done = side.macnet("names", "on", *other, "--domain", DOMAIN, env=env, check=False)
    assert done.returncode != 0
    assert "the domain of the tunnel macnet" in done.stderr
    assert changed(side, up, "on", *other)
    assert set(side.files()) == {FILE, f"macnet.{domain}"}
    with (
        watch(up, tmp_path / "first") as one,
        watch(up, tmp_path / "second", *other) as two,
        side.macos(),
        side.looker() as look_up,
    ):
        one.wait_for(f"answering for {DOMAIN} on 127.0.0.1:{PORT}")
        two.wait_for(f"answering for {domain} on 127.0.0.1:{PORT + 1}")
        assert look_up(f"redis.{DOMAIN}") == "172.82.0.100"
        assert look_up(f"redis.{domain}") == seen
        for name in (f"redis.{DOMAIN}", f"redis.{domain}"):
            assert side.run(["redis-cli", "-h", name, "ping"]).stdout.strip() == "PONG"
        netns = up.lab.paths.mac_netns
        assert ask(netns, PORT, f"redis.{domain}.") == "REFUSED"
        assert ask(netns, PORT + 1, f"redis.{DOMAIN}.") == "REFUSED"
    assert changed(side, up, "off", *other)
    assert side.files() == {FILE: TEXT}


def test_another_domain_and_down_leave_no_file_behind(up: Mac, side: NamesMac) -> None:
    changed(side, up, "on")
    changed(side, up, "on", "--domain", "box.test")
    assert list(side.files()) == ["macnet.box.test"]
    side.macnet("down", env=up.environment())
    assert side.files() == {}
