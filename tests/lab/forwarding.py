"""Starting and stopping the forwarder process of one engine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .engine import Engine
from .errors import LabError
from .namespaces import enter_netns, netns_path
from .process import ProcessId, spawn, stop

_PROGRAM = Path(__file__).with_name("forwarder.py")


class ForwarderControl:
    """The process that publishes an engine's ports on the Mac side."""

    def __init__(self, engine: Engine, mac_netns: str) -> None:
        self._engine = engine
        self._mac = mac_netns
        self._pid_file = engine.vm.paths.home / "forwarder.pid"
        self.log = engine.vm.paths.home / "forwarder.log"

    @property
    def pid(self) -> int | None:
        """Process id, if it runs."""
        process = ProcessId.load(self._pid_file)
        return process.pid if process else None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.pid is not None:
            return
        argv = [
            *enter_netns(self._mac),
            sys.executable,
            "-I",
            str(_PROGRAM),
            "--socket",
            str(self._engine.socket),
        ]
        argv += [
            "--mac",
            str(netns_path(self._mac)),
            "--vm",
            str(netns_path(self._engine.vm.paths.netns)),
        ]
        process = spawn(argv, self.log, env=dict(os.environ))
        process.save(self._pid_file)
        if not process.alive():
            raise LabError("the forwarder ended at once", f"see {self.log}")

    def stop(self) -> None:
        """Stop it: no published port is reachable from the Mac side any more."""
        process = ProcessId.load(self._pid_file)
        if process is not None:
            stop(process, grace_s=3)
        self._pid_file.unlink(missing_ok=True)
