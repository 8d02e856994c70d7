"""The openvpn client with a machine around it that is played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from macnet.clients.openvpn import OpenVpnClient
from macnet.paths import TunnelPaths
from macnet.runner import Completed

from .fakes import FakeOpenVpn, FakeRunner, Recorder

OPENVPN = "/opt/homebrew/sbin/openvpn"
SUDO = "/usr/bin/sudo"
SUDO_REFUSES = "sudo: a password is required\n"


@dataclass
class Stage:
    """A client with a machine around it."""

    paths: TunnelPaths
    runner: FakeRunner
    process: FakeOpenVpn
    progress: Recorder

    def client(self, *, root: bool = True, terminal: bool = False) -> OpenVpnClient:
        return OpenVpnClient(self.paths, self.runner, root=root, user="ann", terminal=terminal)

    def starts(self) -> list[tuple[tuple[str, ...], bool]]:
        """Each attempt to start openvpn: its argv, and whether sudo might ask."""
        return [call for call in self.runner.calls if "--management" in call[0]]

    def ps(self, argv: Sequence[str]) -> Completed:
        line = f"{self.process.pid} {OPENVPN} --management {self.paths.client_socket} unix\n"
        return Completed(tuple(argv), 0, line if self.process.alive else "", "")

    def kill(self, argv: Sequence[str]) -> Completed:
        self.process.stop(leave_file=True)
        return Completed(tuple(argv), 0, "", "")

    def start(self, argv: Sequence[str]) -> Completed:
        self.process.start()
        return Completed(tuple(argv), 0, "", "")


def leftovers(stage: Stage) -> set[str]:
    return {path.name for path in stage.paths.root.iterdir()}
