"""The agent on Linux: a unit of the user's systemd.

Sources: systemd.service(5), systemd.exec(5) and, for quoting, systemd.syntax(7).
"""

from __future__ import annotations

from pathlib import Path

from macnet.agent.base import AgentJob, AgentStatus, run_tool, write_agent_file
from macnet.errors import AgentFailed
from macnet.render import render
from macnet.runner import CommandRunner

UNIT = "macnet-watch.service"


class SystemdUnit:
    """A unit of the user's systemd."""

    def __init__(self, runner: CommandRunner, folder: Path) -> None:
        """``folder`` is ``~/.config/systemd/user``."""
        self._runner = runner
        self.file = folder / UNIT

    def install(self, job: AgentJob) -> bool:
        """See `Agent.install`."""
        changed = write_agent_file(self.file, systemd_unit(job).encode(), job.log)
        now = self.status(job.log)
        if not changed and now.loaded and now.pid is not None:
            return False
        self._systemctl("daemon-reload")
        self._systemctl("enable", UNIT)
        self._systemctl("restart", UNIT)
        return True

    def uninstall(self) -> bool:
        """See `Agent.uninstall`."""
        if not self.file.exists():
            return False
        self._systemctl("disable", "--now", UNIT)
        self.file.unlink()
        self._systemctl("daemon-reload")
        return True

    def status(self, log: Path) -> AgentStatus:
        """See `Agent.status`."""
        words = ["systemctl", "--user", "show", UNIT, "--property=MainPID,UnitFileState"]
        try:
            text = run_tool(self._runner, words).stdout
        except AgentFailed:
            text = ""
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        pid = values.get("MainPID", "")
        return AgentStatus(
            kind="systemd",
            file=str(self.file),
            log=str(log),
            installed=self.file.exists(),
            loaded=values.get("UnitFileState") == "enabled",
            pid=int(pid) if pid.isdigit() and pid != "0" else None,
        )

    def _systemctl(self, *words: str) -> None:
        done = run_tool(self._runner, ["systemctl", "--user", *words])
        if not done.ok:
            raise AgentFailed(
                f"systemctl failed: {done.stderr.strip() or ' '.join(words)}",
                hint="`systemctl --user status` must work in this session (it does not under su)",
            )


def systemd_unit(job: AgentJob) -> str:
    """The job in systemd's words."""
    return render(
        "agent/macnet-watch.service.j2",
        command=" ".join(_quoted(word).replace("$", "$$") for word in job.argv),
        environment=[_quoted(f"{name}={value}") for name, value in job.environment.items()],
        log=str(job.log).replace("%", "%%"),
    )


def _quoted(word: str) -> str:
    """One word for a unit file: quoted, and without specifiers."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
