"""The check for a Mac, on anything else: its steps with recorded output of Macs."""

from __future__ import annotations

import json
import plistlib
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet import host
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces, write_bundle
from macnet.errors import ClientFailed
from macnet.models import Route
from macnet.paths import Paths
from macnet.runner import DEFAULT_TIMEOUT_S, Completed

from . import __main__ as program
from . import looks, reach, report, trips
from .report import Outcome, Seen

SAMPLES = Path(__file__).parents[1] / "data/macos"
INET = "Destination        Gateway            Flags        Netif Expire\n{}\n"
ROWS = """\
default            192.168.1.1        UGScg          en0
127                127.0.0.1          UCS            lo0
169.254            link#11            UCS            en0      !
172.17             utun3              USc          utun3
192.168.1          link#11            UCS            en0      !
224.0.0/4          link#11            UmCS           en0      !
255.255.255.255/32 link#11            UCS            en0      !"""


PROCESSES = """\
    1 /sbin/launchd
  501 /Applications/Tunnelblick.app/Contents/MacOS/Tunnelblick
  502 /Applications/Tunnelblick.app/Contents/Resources/Tunnelblick Helper
  503 sudo /opt/homebrew/sbin/openvpn --management {socket} unix
  504 /opt/homebrew/sbin/openvpn --cd /x --management {socket} unix
  505 /opt/homebrew/sbin/openvpn --management /other/openvpn.sock unix
"""


class FakeMac:
    """Answers like a Mac; ``wrong`` makes `route` name another interface.

    ``macnet`` holds what macnet's commands answer, ``opened`` is called for `open`.
    """

    def __init__(self) -> None:
        self.macnet: dict[str, dict[str, object]] = {}
        self.opened: Callable[[str], object] = str
        self.wrong = False
        self.compiles = True
        self.sudo_asks = True
        self.rows = ROWS
        self.mtu = 65000

    def find(self, program: str, *places: str) -> str | None:
        return None if program == "openvpn" else f"/usr/bin/{program}"

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stdin: str | None = None,
        interactive: bool = False,
    ) -> Completed:
        status, out = 0, ""
        match [Path(argv[0]).name, *argv[1:]]:
            case ["sw_vers", *_]:
                out = "15.1\n"
            case ["uname", *_]:
                out = "arm64\n"
            case ["netstat", *_, "inet"]:
                out = f"Routing tables\n\nInternet:\n{INET.format(self.rows)}"
            case ["netstat", *_, "inet6"]:
                out = "Routing tables\n\nInternet6:\n" + (SAMPLES / "netstat-inet6.txt").read_text()
            case ["route", "-n", "get", address]:
                known = {"127": "lo0", "172": "utun3"}.get(address.split(".")[0], "en0")
                name = "en9" if self.wrong else known
                out = f"   route to: {address}\ndestination: {address}\n  interface: {name}\n"
            case ["ifconfig", name]:
                out = f"{name}: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> mtu {self.mtu}\n"
            case ["plutil", "-lint", path]:
                plistlib.loads(Path(path).read_bytes())
                out = f"{path}: OK\n"
            case ["osacompile", *_]:
                status = 0 if self.compiles else 1
            case [_, "-m", "macnet", command, *_]:
                out = json.dumps(self.macnet[command])
            case ["sudo", "-n", "true"]:
                status = 1 if self.sudo_asks else 0
            case ["open", path]:
                self.opened(path)
            case ["ps", *_]:
                out = PROCESSES.format(socket=Paths.default().tunnel("macnet").client_socket)
            case ["osascript", *_]:
                out = "running\nEXITING\twork\nWARP\tother\n"
        return Completed(tuple(argv), status, out, "" if not status else "syntax error (-2741)")


@pytest.fixture
def places(tmp_path: Path) -> TunnelblickPlaces:
    return TunnelblickPlaces(tmp_path / "private", app=tmp_path / "Tunnelblick.app")


def outcomes(found: Sequence[Seen]) -> set[Outcome]:
    return {seen.outcome for seen in found}


def test_what_needs_tunnelblick_stays_open_without_it(places: TunnelblickPlaces) -> None:
    mac = FakeMac()
    found = [*looks.scripts(mac, places), *looks.tunnelblick_list(mac, places)]
    assert outcomes(found) == {Outcome.OPEN}
    assert len(found) == 6


def test_scripts_are_compiled(places: TunnelblickPlaces) -> None:
    places.app.mkdir()
    mac = FakeMac()
    assert outcomes(list(looks.scripts(mac, places))) == {Outcome.VERIFIED}
    mac.compiles = False
    assert outcomes(list(looks.scripts(mac, places))) == {Outcome.FAILED}
    (seen,) = looks.tunnelblick_list(mac, places)
    assert seen.outcome is Outcome.FAILED
    assert "WARP" in seen.evidence
    assert "work" not in seen.evidence


def test_property_lists() -> None:
    found = list(looks.property_lists(FakeMac()))
    assert len(found) == 3
    assert outcomes(found) == {Outcome.VERIFIED}


def test_routes_are_parsed_and_compared_with_the_kernel() -> None:
    mac = FakeMac()
    found = list(looks.routing_table(mac))
    assert [seen.outcome for seen in found if "agrees" in seen.what] == [Outcome.VERIFIED]
    assert Outcome.FAILED not in outcomes(found)
    mac.wrong = True
    assert [s.outcome for s in looks.routing_table(mac) if "agrees" in s.what] == [Outcome.FAILED]
    mac.rows = ""
    assert next(iter(looks.routing_table(mac))).outcome is Outcome.FAILED


def test_a_step_that_breaks_is_a_failure_and_the_others_run() -> None:
    def breaks() -> list[Seen]:
        raise ClientFailed("it broke")

    said: list[str] = []
    steps = [("one", breaks), ("two", lambda: [report.verified("fine")])]
    found = report.run_steps(steps, said.append)
    assert [seen.outcome for seen in found] == [Outcome.FAILED, Outcome.VERIFIED]
    assert said == ["## one", "- FAILED one: ClientFailed: it broke", "## two", "- VERIFIED fine"]
    assert report.summary(found) == "1 verified, 1 FAILED, 0 not verified"


def test_processes_are_found_in_what_ps_says() -> None:
    mac = FakeMac()
    assert trips.tunnelblick_pid(mac) == "501"
    assert trips.openvpn_processes(mac) == 1


def test_the_bundle_that_uninstalls_is_opened(places: TunnelblickPlaces) -> None:
    mac = FakeMac()
    said = "Tunnelblick keeps the configuration macnet. Remove it with: open '/tmp/a b/macnet.tblk'"
    installed = write_bundle(places.private, "macnet", b"client\n")

    def remove(path: str) -> None:
        assert path == "/tmp/a b/macnet.tblk"
        shutil.rmtree(installed)

    mac.opened = remove
    assert trips.uninstall(mac, places, said).outcome is Outcome.VERIFIED
    assert trips.uninstall(mac, places, "nothing").outcome is Outcome.FAILED


def test_offline_has_to_be_named_with_the_way_out(places: TunnelblickPlaces) -> None:
    mac = FakeMac()
    mac.macnet["disconnect"] = {"disconnect": {"changed": False}}
    assert outcomes(list(trips.offline(mac, places))) == {Outcome.OPEN}
    places.app.mkdir()
    write_bundle(places.private, "macnet", b"client\n")
    for hint, outcome in (
        ("its log tells why", Outcome.FAILED),
        ("join any network, or use `macnet setup --client openvpn`", Outcome.VERIFIED),
    ):
        message = "this Mac has no network, and Tunnelblick waits for one"
        mac.macnet["connect"] = {"error": {"message": message, "hint": hint}}
        assert outcomes(list(trips.offline(mac, places))) == {outcome}


def test_a_network_is_a_default_route() -> None:
    lan = Route(IPNetwork("192.168.1.0/24"), "en0")
    assert not trips.has_network([lan])
    assert trips.has_network([lan, Route(IPNetwork("0.0.0.0/0"), "en0")])


def test_openvpn_is_not_tried_where_it_is_missing() -> None:
    (seen,) = trips.openvpn(FakeMac(), "macos", terminal=lambda: True)
    assert seen.outcome is Outcome.OPEN
    assert "brew install openvpn" in seen.evidence


def test_sudo_has_to_ask_in_a_terminal_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    mac = FakeMac()
    monkeypatch.setattr(mac, "find", lambda *_: "/opt/homebrew/sbin/openvpn")
    mac.macnet["status"] = {"status": {"engine": {"error": None}, "profile": None}}
    (seen,) = trips.openvpn(mac, "macos", terminal=lambda: False)
    assert seen.outcome is Outcome.OPEN
    assert "terminal" in seen.evidence
    mac.sudo_asks = False
    assert not trips.sudo_asks(mac)


def endpoint(name: str, address: str, *ports: tuple[int, str]) -> dict[str, object]:
    listed = [{"number": number, "protocol": protocol} for number, protocol in ports]
    return {"container": name, "addresses": [address, "fd00::2"], "ports": listed}


def test_a_container_with_a_tcp_port_is_chosen() -> None:
    def networks(*endpoints: dict[str, object]) -> dict[str, object]:
        left_out = {"reason": "host", "network": {"endpoints": [endpoint("a", "10.0.0.9")]}}
        return {"networks": [left_out, {"reason": None, "network": {"endpoints": endpoints}}]}

    udp = endpoint("udp", "10.0.0.2", (53, "udp"))
    web = endpoint("web", "10.0.0.3", (443, "tcp"), (80, "tcp"))
    ours = endpoint("macnet-server", "10.0.0.4", (1194, "tcp"))
    assert reach.find_target(networks(ours)) is None
    assert reach.find_target(networks(udp)) == reach.Target(IPAddress("10.0.0.2"), None)
    assert reach.find_target(networks(udp, web)) == reach.Target(IPAddress("10.0.0.3"), 80)


@pytest.mark.parametrize(
    ("mtu", "outcome", "evidence"),
    [
        (65000, Outcome.VERIFIED, ""),
        (16000, Outcome.FAILED, "setup fell back to 16000"),
        (1500, Outcome.OPEN, "its interface has an MTU of 1500: somebody has set that"),
    ],
)
def test_an_mtu_that_setup_fell_back_to_is_told(mtu: int, outcome: Outcome, evidence: str) -> None:
    mac = FakeMac()
    mac.mtu = mtu
    steps = reach.reach(mac, reach.Target(IPAddress("172.17.0.2"), None), "utun3", "macos")
    [seen] = [seen for seen in steps if "packets of 65000 bytes" in seen.what]
    assert (seen.outcome, seen.evidence) == (outcome, evidence)


def test_as_much_is_sent_as_fills_a_packet_of_the_tunnel() -> None:
    mac = FakeMac()
    *_, seen = reach.reach(mac, reach.Target(IPAddress("172.17.0.2"), None), "utun3", "macos")
    assert seen.what == "65000 bytes by TCP arrive"


def test_what_the_other_side_has_acknowledged() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as link,
        server.accept()[0] as taken,
    ):
        assert reach.unacknowledged(link) == 0
        link.sendall(b"x" * 1000)
        assert taken.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
        assert reach.unacknowledged(link) == 0
        link.setblocking(False)
        while True:
            try:
                link.send(b"x" * 100_000)
            except BlockingIOError:
                break
        # Nobody reads: the other side's buffer is full.
        assert reach.unacknowledged(link) > 0


def test_elsewhere_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if host.system() != "macos":
        assert program.main([]) == 2
        assert "only a Mac can tell" in capsys.readouterr().err
