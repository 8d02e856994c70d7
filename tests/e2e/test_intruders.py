"""Whoever should not get in, or further than the containers, is kept out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.pki import create_pki
from tests.e2e.steps import Mac, wait_until
from tests.lab import BASE_IMAGE
from tests.lab.namespaces import enter_netns
from tests.lab.process import run, spawn, stop

#: An address of the VM that belongs to no Docker network.
VM_ADDRESS = "10.99.0.1"
SERVER, CLIENT = "192.168.255.1", "192.168.255.2"
DONE = "Initialization Sequence Completed"
#: Longer than any client needs that is let in (0.3 s), and than the server's answer takes.
REFUSED_S = 4

Alter = Callable[[str], str]


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"<{name}>\n.*?</{name}>\n?", re.DOTALL)


def stranger() -> dict[str, str]:
    """Keys of the same form that another CA has signed, or no tunnel of ours knows."""
    pki = create_pki("macnet", now=datetime.now(UTC))
    return {
        "ca": pki.ca_cert,
        "cert": pki.client_cert,
        "key": pki.client_key,
        "tls-crypt": pki.tls_crypt,
    }


def with_keys(*names: str) -> Alter:
    """The profile with these of its keys replaced by a stranger's."""

    def alter(profile: str) -> str:
        keys = stranger()
        for name in names:
            text = f"<{name}>\n{keys[name].strip()}\n</{name}>\n"
            profile, count = block(name).subn(text, profile)
            assert count == 1
        return profile

    return alter


def without(*names: str) -> Alter:
    def alter(profile: str) -> str:
        for name in names:
            profile, count = block(name).subn("", profile)
            assert count == 1
        return profile

    return alter


def unchanged(profile: str) -> str:
    return profile


def try_profile(mac: Mac, folder: Path, alter: Alter, wait_s: float) -> tuple[bool, str]:
    """Start openvpn with an altered profile; whether it connected in time, and its log."""
    profile, log = folder / "stranger.ovpn", folder / "stranger.log"
    profile.write_text(alter(mac.macnet("profile").stdout))
    argv = ["openvpn", "--config", str(profile), "--log", str(log)]
    with mac.lab.popen(argv) as client:
        deadline = time.monotonic() + wait_s
        text = ""
        while time.monotonic() < deadline and DONE not in text:
            time.sleep(0.1)
            text = log.read_text() if log.exists() else ""
        client.terminate()
    return DONE in text, text


def server_log(mac: Mac) -> str:
    return mac.macnet("logs", "server", "-n", "1000").stdout


def connected(mac: Mac) -> int:
    """How many clients the server serves."""
    argv = ["exec", "macnet-server", "python3", "-m", "macnet.relay.management", "status 3"]
    return mac.lab.docker(*argv).count("CLIENT_LIST\tmacnet-client")


def test_the_unaltered_profile_is_let_in(up: Mac, tmp_path: Path) -> None:
    """Else the refusals below would prove nothing."""
    up.macnet("disconnect")
    done, log = try_profile(up, tmp_path, unchanged, 30)
    assert done, log


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (without("tls-crypt"), "tls-crypt unwrap"),
        (with_keys("tls-crypt"), "tls-crypt unwrap"),
        (with_keys("cert", "key"), "VERIFY ERROR"),
    ],
    ids=["no tls-crypt key", "another tls-crypt key", "a certificate of another CA"],
)
def test_a_stranger_is_refused(up: Mac, tmp_path: Path, alter: Alter, why: str) -> None:
    up.macnet("disconnect")
    wait_until(lambda: connected(up) == 0, 20, "the disconnected client is gone")
    before = server_log(up)
    done, log = try_profile(up, tmp_path, alter, REFUSED_S)
    assert not done, log
    said = server_log(up).removeprefix(before)
    assert why in said, f"{said}\nclient: {log}"
    assert connected(up) == 0
    assert not up.http(up.lab.sample.address("app-web"))


def test_a_client_trusts_no_other_server(up: Mac, tmp_path: Path) -> None:
    """Who takes the port over cannot pose as the server: its certificate must be our CA's."""
    up.macnet("disconnect")
    done, log = try_profile(up, tmp_path, with_keys("ca"), REFUSED_S)
    assert not done
    assert "VERIFY ERROR" in log


@contextmanager
def listening(mac: Mac, address: str, port: int) -> Iterator[None]:
    """A server in the VM, outside every container."""
    argv = ["socat", f"TCP-LISTEN:{port},bind={address},fork,reuseaddr", "SYSTEM:echo hello"]
    netns = mac.lab.engine.vm.paths.netns
    server = spawn([*enter_netns(netns), *argv], mac.lab.paths.home / "listener.log")
    probe = ["nc", "-z", "-w", "1", address, str(port)]
    try:
        wait_until(lambda: mac.lab.vm_run(probe, check=False).returncode == 0, 20, "a listener")
        yield
    finally:
        stop(server)


@contextmanager
def routed(mac: Mac, address: str) -> Iterator[None]:
    """A route of the Mac's own through the tunnel, as somebody may add who has root there."""
    rows = json.loads(mac.lab.run(["ip", "-j", "-4", "addr"]).stdout)
    tunnel = next(r["ifname"] for r in rows for a in r["addr_info"] if a["local"] == CLIENT)
    mac.lab.run(["ip", "route", "add", address, "dev", tunnel])
    try:
        yield
    finally:
        mac.lab.run(["ip", "route", "del", address, "dev", tunnel])


@pytest.fixture
def vm_address(up: Mac) -> Iterator[str]:
    """An address of the VM that belongs to no Docker network."""
    up.lab.vm_run(["ip", "addr", "add", f"{VM_ADDRESS}/32", "dev", "lo"])
    yield VM_ADDRESS
    up.lab.vm_run(["ip", "addr", "del", f"{VM_ADDRESS}/32", "dev", "lo"])


def test_the_vm_beyond_dockers_networks_is_out_of_reach(up: Mac, vm_address: str) -> None:
    with listening(up, vm_address, 8123), routed(up, vm_address):
        assert up.lab.vm_run(["ping", "-c", "1", "-W", "1", vm_address]).returncode == 0
        # At once, but for the few whose error Linux loses while it is still connecting.
        ends = [up.tcp(vm_address, 8123, wait_s=2) for _ in range(15)]
        assert set(ends) <= {"refused", "timeout"}
        assert ends.count("refused") >= 12
        assert not up.pings(vm_address, wait_s=1)
        assert not up.udp(vm_address)


def test_the_vms_loopback_is_out_of_reach(up: Mac) -> None:
    """Neither by the relay's addresses, which pasta could map to it, nor by the server's."""
    state = json.loads((up.root / "tunnel.json").read_text())
    first = IPNetwork(state["relay_subnet"]).first
    gateway, own = (str(IPAddress(first + offset)) for offset in (1, 2))
    with listening(up, "127.0.0.1", 8124):
        with routed(up, gateway):
            assert up.tcp(gateway, 8124) == "refused"
            assert not up.pings(gateway, wait_s=1)
        with routed(up, own):
            assert up.tcp(own, 8124, wait_s=1) != "open"
    with listening(up, "127.0.0.1", 1195):
        assert up.tcp(SERVER, 1195, wait_s=1) != "open"
        # Not even the server's own port, from within the tunnel.
        assert up.tcp(SERVER, 1194, wait_s=1) != "open"


@pytest.fixture
def guest(up: Mac) -> Iterator[Callable[[str], str]]:
    """A shell in a container on the default bridge, next to the server, with every right."""
    up.lab.docker("run", "-d", "--name", "guest", "--privileged", BASE_IMAGE, "sleep", "600")

    def shell(script: str, text: str = "") -> str:
        argv = ["docker", "exec", "-i", "guest", "bash", "-c", script]
        done = up.lab.run(argv, check=False, input=text)
        return done.stdout + done.stderr

    yield shell
    up.lab.docker("rm", "-f", "guest")


def address_of(mac: Mac, container: str) -> str:
    fields = "{{.NetworkSettings.Networks.bridge.IPAddress}}"
    return mac.lab.docker("inspect", "-f", fields, container).strip()


def test_the_server_is_no_router_for_other_containers(up: Mac, guest: Callable[[str], str]) -> None:
    server = address_of(up, "macnet-server")
    connect = "timeout 2 bash -c '</dev/tcp/{}/80' && echo open"
    assert "open" in guest(connect.format(up.lab.sample.address("web")))
    app, sealed = (up.lab.sample.address(name) for name in ("app-web", "sealed-web"))
    for address in (app, sealed, CLIENT, SERVER):
        assert guest(f"ip route replace {address} via {server}") == ""
        assert server in guest(f"ip route get {address}")
        assert "open" not in guest(connect.format(address))
        assert " 0% packet loss" not in guest(f"ping -c 1 -W 1 {address} || true")
    # The other way round the Mac does reach them, through that very server.
    assert up.http(app)
    assert up.http(sealed)


def test_a_container_cannot_open_the_tunnel(up: Mac, guest: Callable[..., str]) -> None:
    """It reaches the server's port, and has no keys."""
    server = address_of(up, "macnet-server")
    assert "open" in guest(f"timeout 2 bash -c '</dev/tcp/{server}/1194' && echo open")
    profile = up.macnet("profile").stdout
    profile = re.sub(r"(?m)^remote 127.*$", f"remote {server} 1194", profile)
    start = "cat >/p; timeout 4 openvpn --config /p --route-noexec"
    assert DONE in guest(start, profile), "with the keys it would be let in"
    assert DONE not in guest(start, with_keys("tls-crypt", "cert", "key")(profile))


def attached(mac: Mac, container: str) -> bool:
    """Whether the relay's interface is in a container's namespace."""
    pid = mac.lab.docker("inspect", "-f", "{{.State.Pid}}", container).strip()
    look = ["nsenter", "-t", pid, "--net", "ip", "link", "show", "relay0"]
    return run(look, check=False).returncode == 0


@contextmanager
def impostor(mac: Mac, token: str) -> Iterator[str]:
    """A container whose process is called openvpn, too, and claims to be the server.

    It has no capabilities, as the relay may not look into processes that have more than itself,
    and the folder in which the relay looks for the server's list.
    """
    script = "mkdir -p /etc/macnet && cp /bin/sleep /tmp/openvpn && exec /tmp/openvpn 600"
    argv = ["--name", "impostor", "-e", f"MACNET_SERVER={token}", "--network", "extra"]
    argv += ["--cap-drop", "ALL"]
    mac.lab.docker("run", "-d", *argv, BASE_IMAGE, "sh", "-c", script)
    try:
        yield "impostor"
    finally:
        mac.lab.docker("rm", "-f", "impostor")


@pytest.mark.parametrize("token", ["", "macnet", ".*", "0" * 64])
def test_no_other_container_gets_the_relay(up: Mac, token: str) -> None:
    with impostor(up, token) as other:
        # The impostor is there before the server, and before the relay looks.
        up.lab.docker("restart", "--time", "0", "macnet-server", "macnet-relay")
        wait_until(lambda: attached(up, "macnet-server"), 20, "the relay finds the server")
        assert not attached(up, other)
        wait_until(lambda: up.http(up.lab.sample.address("app-web")), 20, "HTTP")
        up.lab.docker("stop", "--time", "0", "macnet-server")
        time.sleep(1.5)
        assert not attached(up, other)


def test_only_the_token_tells_the_server_from_others(up: Mac) -> None:
    """With it the impostor would get the relay: so the test above can fail."""
    token = json.loads((up.root / "tunnel.json").read_text())["token"]
    assert len(token) >= 32
    with impostor(up, token) as other:
        up.lab.docker("stop", "--time", "0", "macnet-server")
        wait_until(lambda: attached(up, other), 20, "the relay takes the impostor")
    up.lab.docker("start", "macnet-server")
    wait_until(lambda: attached(up, "macnet-server"), 20, "the relay is back")
