"""Runs ``macnet watch`` at login: a LaunchAgent on macOS, a systemd user unit on Linux."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from macnet.agent.base import Agent, AgentJob, AgentStatus, guarded_folder, plan_job
from macnet.agent.launchd import LaunchAgent
from macnet.agent.systemd import SystemdUnit
from macnet.errors import BadValue
from macnet.runner import CommandRunner

__all__ = ["Agent", "AgentJob", "AgentStatus", "get_agent", "guarded_folder", "plan_job"]


def get_agent(
    system: str, runner: CommandRunner, home: Path, uid: int, environ: Mapping[str, str]
) -> Agent:
    """The agent of this system, for the user that runs macnet."""
    if uid == 0 and environ.get("SUDO_USER"):
        raise BadValue(
            "the agent belongs to a user, and under sudo that would be root",
            hint="run it without sudo",
        )
    if system == "macos":
        return LaunchAgent(runner, home / "Library/LaunchAgents", uid)
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return SystemdUnit(runner, config / "systemd/user")
