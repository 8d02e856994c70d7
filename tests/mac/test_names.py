"""The questions about names, asked of the lab's resolver, which plays a Mac's."""

from __future__ import annotations

import socket
import subprocess  # noqa: TID251 - plays root's shell
from pathlib import Path

import dns.message  # noqa: TID251
import pytest

from macnet.errors import PrivilegeError
from macnet.names.system import RootCommand
from tests.lab.resolver import MacResolver, send

from .names import Stage, names, tunnelblick_log
from .report import Outcome, Seen
from .test_mac import FakeMac


def _send(
    query: dns.message.QueryMessage, host: str, port: int, timeout_s: float
) -> dns.message.Message:
    """A closed port is known at once."""
    socket.create_connection((host, port), timeout=10).close()
    return send(query, host, port, timeout_s)


class Player:
    """A Mac whose clock runs only when somebody waits."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.folder = folder / "resolver"
        self.resolver = MacResolver(self.folder, clock=lambda: self.now, send=_send)
        self.deaf: tuple[str, ...] = ()
        self.flushes = True
        self.stage = Stage(
            FakeMac(), self.folder, self.lookup, self.root, lambda: self.now, self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def lookup(self, name: str, version: int) -> tuple[str, ...]:
        if name.endswith(self.deaf):
            return ()
        query = dns.message.make_query(f"{name}.", "A" if version == 4 else "AAAA")
        answer = self.resolver.resolve(query).answer
        return tuple(sorted(str(item) for rows in answer for item in rows))

    def root(self, command: RootCommand) -> None:
        if command.argv[0] == "/bin/sh":
            subprocess.run(command.argv, check=True)
        elif self.flushes:
            self.resolver.flush()

    def run(self) -> dict[str, Seen]:
        return {seen.what: seen for seen in names(self.stage)}


@pytest.fixture
def mac(tmp_path: Path) -> Player:
    return Player(tmp_path)


def test_a_mac_as_its_source_says(mac: Player) -> None:
    found = mac.run()
    assert [seen for seen in found.values() if seen.outcome is Outcome.FAILED] == []
    assert sum(what.endswith("is obeyed") for what in found) == 3
    assert found["dscacheutil without root"].evidence == "does not help"
    assert found["SERVFAIL"].evidence == "answered in 0.0 s; is kept"
    assert found["a denial is kept for 77 s"].evidence == "77 s"
    assert found["an address is kept for 15 s"].evidence == "15 s"
    assert found["`flags a aaaa`: IPv6 addresses are asked for"].evidence == "fd00:20::2"
    assert list(mac.folder.iterdir()) == []


def test_a_mac_that_passes_over_a_domain(mac: Player) -> None:
    mac.deaf = ("macnet-check.test",)
    found = mac.run()
    failed = [seen.what for seen in found.values() if seen.outcome is Outcome.FAILED]
    assert failed == ["a file for macnet-check.test is obeyed"]
    assert "a denial is kept for 77 s" in found


def test_a_mac_that_keeps_all_and_asks_nobody(mac: Player) -> None:
    mac.flushes = False
    found = mac.run()
    assert found["HUP empties the cache"].outcome is Outcome.FAILED
    mac.deaf = ("",)
    outcomes = {seen.outcome for seen in mac.run().values()}
    assert outcomes == {Outcome.FAILED, Outcome.OPEN}


def test_without_root(mac: Player) -> None:
    def refuse(command: RootCommand) -> None:
        raise PrivilegeError("no", hint="run it in a terminal")

    mac.stage.root = refuse
    assert {seen.outcome for seen in mac.run().values()} == {Outcome.OPEN}


def test_tunnelblicks_log(tmp_path: Path) -> None:
    assert [seen.outcome for seen in tunnelblick_log(tmp_path / "none")] == [Outcome.OPEN]
    assert [seen.outcome for seen in tunnelblick_log(tmp_path)] == [Outcome.OPEN]
    log = tmp_path / "-Users-me-macnet.tblk.openvpn.log"
    log.write_text("MANAGEMENT: CONNECTED\n")
    assert [seen.outcome for seen in tunnelblick_log(tmp_path)] == [Outcome.VERIFIED]
    log.write_text("/usr/local/libexec/openvpn/dns-updown\n")
    (seen,) = tunnelblick_log(tmp_path)
    assert (seen.outcome, "dns-updown" in seen.evidence) == (Outcome.FAILED, True)
