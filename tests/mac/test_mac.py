"""The check for a Mac, on anything else: its steps with recorded output of Macs."""

from __future__ import annotations

import plistlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from macnet import host
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces
from macnet.errors import ClientFailed
from macnet.runner import DEFAULT_TIMEOUT_S, Completed

from . import __main__ as program
from . import looks, report
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


class FakeMac:
    """Answers like a Mac; ``wrong`` makes `route` name another interface."""

    def __init__(self) -> None:
        self.wrong = False
        self.compiles = True
        self.rows = ROWS

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
            case ["plutil", "-lint", path]:
                plistlib.loads(Path(path).read_bytes())
                out = f"{path}: OK\n"
            case ["osacompile", *_]:
                status = 0 if self.compiles else 1
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


def test_elsewhere_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if host.system() != "macos":
        assert program.main([]) == 2
        assert "only a Mac can tell" in capsys.readouterr().err
