"""What an agent is: the job that runs ``macnet watch``, and how a system is asked to run it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from macnet.contexts import MOVED_BY
from macnet.errors import AgentFailed, BadValue
from macnet.files import ensure_private_dir, read_private, write_private
from macnet.runner import CommandFailed, CommandRunner, Completed

#: launchd gives a job a PATH without Homebrew, where openvpn may be.
SEARCH_PATH = (
    "/opt/homebrew/bin",
    "/opt/homebrew/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
)
#: What decides which engine and which files are meant, and holds no secret. The tunnel's
#: settings are stored with it, whatever the environment says.
_KEPT = (
    "MACNET_HOME",
    "MACNET_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "XDG_DATA_HOME",
    # Where the sockets of an engine are that nothing else names.
    *MOVED_BY,
)


@dataclass(frozen=True, slots=True)
class AgentJob:
    """What runs at login."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """``installed``: its file is there; ``loaded``: it starts at login; ``pid``: it runs."""

    kind: str
    file: str
    log: str
    installed: bool
    loaded: bool
    pid: int | None


class Agent(Protocol):
    """How a system starts something at login. Every verb may be repeated."""

    def install(self, job: AgentJob) -> bool:
        """Start ``job`` now and at each login; False = it was so. Raises `AgentFailed`."""

    def uninstall(self) -> bool:
        """End it and forget it; False = there was none. Raises `AgentFailed`."""

    def status(self, log: Path) -> AgentStatus:
        """What there is. Changes nothing and does not raise."""


def plan_job(
    *, context: str | None, log: Path, environ: Mapping[str, str], runner: CommandRunner
) -> AgentJob:
    """The job that runs ``macnet watch`` as this command would run it now."""
    kept = {name: value for name, value in sorted(environ.items()) if value and name in _KEPT}
    if context:
        # It decides, as it does on the command line.
        kept.pop("DOCKER_HOST", None)
    if urlsplit(kept.get("DOCKER_HOST", "")).password:
        raise BadValue(
            "DOCKER_HOST holds a password, and the agent's file must not",
            hint="make a Docker context without one and give it with --context",
        )
    found = runner.find("openvpn")
    folders = [str(Path(found).parent)] if found else []
    search_path = dict.fromkeys([*SEARCH_PATH, *folders])
    return AgentJob(
        argv=(*_program(), "watch", *(("--context", context) if context else ())),
        environment={**kept, "PATH": ":".join(search_path)},
        log=log,
    )


def _program() -> tuple[str, ...]:
    """macnet by absolute path: its own script where there is one, as its name is shown."""
    script = Path(sys.executable).with_name("macnet")
    if script.exists():
        return (str(script),)
    return (sys.executable, "-P", "-m", "macnet")


#: Folders that macOS guards (TCC): a job of launchd may not read them, and nobody is asked.
_GUARDED = ("Documents", "Desktop", "Downloads", "Library/Mobile Documents")


def guarded_folder(job: AgentJob, home: Path) -> Path | None:
    """The folder in which macOS would keep the job from reading its own program, or None."""
    program = Path(job.argv[0])
    return next((home / name for name in _GUARDED if program.is_relative_to(home / name)), None)


def write_agent_file(file: Path, data: bytes, log: Path) -> bool:
    """Write the agent's file, which others may read; tell whether it changed."""
    ensure_private_dir(log.parent)
    if read_private(file) == data:
        return False
    write_private(file, data)
    file.chmod(0o644)
    return True


def run_tool(runner: CommandRunner, argv: Sequence[str]) -> Completed:
    try:
        return runner.run(argv, check=False)
    except CommandFailed as error:
        raise AgentFailed(
            str(error), hint="macnet starts at login by launchd (macOS) or systemd (Linux) only"
        ) from error
