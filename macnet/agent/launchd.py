"""The agent on macOS: a job of launchd in the user's graphical session.

Sources: launchd.plist(5) and launchctl(1). Nothing of it was run on a Mac yet: ``python -m
tests.mac`` does.
"""

from __future__ import annotations

import plistlib
import re
import time
from pathlib import Path

from macnet.agent.base import AgentJob, AgentStatus, run_tool, write_agent_file
from macnet.errors import AgentFailed
from macnet.runner import CommandRunner, Completed

LABEL = "io.github.macnet.watch"
_THROTTLE_S = 30
_BOOTOUT_S = 10.0
_POLL_S = 0.2


class LaunchAgent:
    """A job of launchd in the user's graphical session."""

    def __init__(self, runner: CommandRunner, folder: Path, uid: int) -> None:
        """``folder`` is ``~/Library/LaunchAgents``."""
        self._runner = runner
        self.file = folder / f"{LABEL}.plist"
        self._domain = f"gui/{uid}"
        self._target = f"{self._domain}/{LABEL}"

    def install(self, job: AgentJob) -> bool:
        """See `Agent.install`. Loading a job a second time fails, so an old one goes first."""
        changed = write_agent_file(self.file, plistlib.dumps(launchd_plist(job)), job.log)
        loaded = self._loaded()
        if loaded and not changed:
            return False
        if loaded:
            self._bootout()
        # `launchctl disable` and a switch in System Settings outlive the job itself.
        self._launchctl("enable", self._target)
        done = self._launchctl("bootstrap", self._domain, str(self.file))
        if not done.ok:
            # launchd may still hold what is left of a job that it does not list any more.
            self._launchctl("bootout", self._target)
            done = self._launchctl("bootstrap", self._domain, str(self.file))
        if not done.ok:
            raise AgentFailed(
                "launchd does not load the agent",
                hint="allow macnet in System Settings > General > Login Items, and run this in a "
                "session at the Mac's screen, not over ssh; the file stays, so the agent starts "
                "at the next login",
                detail=done.stderr.strip() or None,
            )
        return True

    def uninstall(self) -> bool:
        """See `Agent.uninstall`."""
        loaded = self._loaded()
        if loaded:
            self._bootout()
        existed = self.file.exists()
        self.file.unlink(missing_ok=True)
        return loaded or existed

    def status(self, log: Path) -> AgentStatus:
        """See `Agent.status`."""
        try:
            done = self._launchctl("print", self._target)
        except AgentFailed:
            done = Completed((), 1, "", "")
        # Lines like "	pid = 501"; there is none while it does not run.
        pid = re.search(r"^\s*pid = (\d+)$", done.stdout, re.MULTILINE) if done.ok else None
        return AgentStatus(
            kind="launchd",
            file=str(self.file),
            log=str(log),
            installed=self.file.exists(),
            loaded=done.ok,
            pid=int(pid[1]) if pid else None,
        )

    def _loaded(self) -> bool:
        return self._launchctl("print", self._target).ok

    def _bootout(self) -> None:
        """Unload it and wait: launchctl may return before the job has ended."""
        done = self._launchctl("bootout", self._target)
        deadline = time.monotonic() + _BOOTOUT_S
        while self._loaded():
            if time.monotonic() > deadline:
                raise AgentFailed(
                    "launchd does not end the agent",
                    hint=f"end it: launchctl bootout {self._target}",
                    detail=done.stderr.strip() or None,
                )
            time.sleep(_POLL_S)

    def _launchctl(self, *words: str) -> Completed:
        return run_tool(self._runner, ["launchctl", *words])


def launchd_plist(job: AgentJob) -> dict[str, object]:
    """The job in launchd's words. It knows neither ``~`` nor variables in paths."""
    return {
        "Label": LABEL,
        "ProgramArguments": list(job.argv),
        "EnvironmentVariables": dict(job.environment),
        "RunAtLoad": True,
        # It waits for the engine itself; only a crash ends it.
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": _THROTTLE_S,
        # Not "Background", which macOS may slow down: routes are wanted at once.
        "ProcessType": "Standard",
        # Only where somebody is logged in at the screen: Tunnelblick runs nowhere else.
        "LimitLoadToSessionType": "Aqua",
        "StandardOutPath": str(job.log),
        "StandardErrorPath": str(job.log),
    }
