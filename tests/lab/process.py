"""Processes: commands that end, daemons that stay, and who is who.

A daemon is remembered by its process id and start time, so that a later run never takes a stranger
that got the same id for its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess  # noqa: TID251 - the rule is about the program, not its tests
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from .errors import CommandError, LabError

Completed = subprocess.CompletedProcess[str]
Running = subprocess.Popen[str]
Stream = int | IO[str] | None
"""What a standard stream can be: DEVNULL, PIPE, a file, or None for this process's own."""
DEVNULL = subprocess.DEVNULL
PIPE = subprocess.PIPE

_daemons: list[subprocess.Popen[bytes]] = []


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    timeout_s: float = 60,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a command to its end; without `input` its standard input is empty."""
    command = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=env,
            cwd=cwd,
            check=False,
            input=input or "",
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(command, None, _text(error.stdout), _text(error.stderr)) from error
    except FileNotFoundError as error:
        raise LabError(
            f"program not found: {command[0]}", "run: python -m tests.lab install"
        ) from error
    if check and done.returncode:
        raise CommandError(command, done.returncode, done.stdout, done.stderr)
    return done


def _text(output: bytes | str | None) -> str:
    if isinstance(output, bytes):
        return output.decode(errors="replace")
    return output or ""


@dataclass(frozen=True)
class ProcessId:
    """One process for ever: its id, and when it started in clock ticks since boot."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Identity of a process that runs now; None if there is none, or a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @classmethod
    def load(cls, path: Path) -> ProcessId | None:
        """Read what `save` wrote; None if it is absent, damaged or no longer runs."""
        try:
            data = json.loads(path.read_text())
            known = cls(int(data["pid"]), int(data["start"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if known.alive() else None

    def save(self, path: Path) -> None:
        """Remember the process in a file."""
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(path)

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self

    def wait_gone(self, timeout_s: float) -> bool:
        """Wait until the process and all its threads have ended; False if they have not in time."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return True
        try:
            # Not `alive`: the first thread may be a zombie while others still end.
            gone = not self.alive() and ProcessId.of(self.pid) is not None
            return gone or bool(select.select([handle], [], [], timeout_s)[0])
        finally:
            os.close(handle)
            reap()

    def send(self, signum: int) -> None:
        """Send a signal to this very process; nothing happens if it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return
        try:
            if self.alive():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signum)
        finally:
            os.close(handle)


def spawn(argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> ProcessId:
    """Start a daemon in a session of its own; what it says is appended to `log`."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=env,
            cwd="/",
        )
    _daemons.append(child)
    known = ProcessId.of(child.pid)
    if known is None:
        child.wait()
        raise LabError(f"{argv[0]} ended at once", f"see {log}")
    return known


def reap() -> None:
    """Collect the daemons of this process that have ended."""
    _daemons[:] = [child for child in _daemons if child.poll() is None]


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    cwd: Path | None,
) -> Running:
    """Start a command that the caller talks to and ends."""
    return subprocess.Popen(
        list(argv), env=env, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, text=True
    )


def run_visibly(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command whose output the person shall see; its exit code."""
    return subprocess.run(list(argv), env=env, stdin=subprocess.DEVNULL, check=False).returncode


def all_processes() -> Iterable[ProcessId]:
    """Every process of the machine that is not a zombie."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (known := ProcessId.of(int(entry.name))) is not None:
            yield known


def ancestors() -> set[int]:
    """This process and all its parents: never to be killed by itself."""
    seen: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in seen:
        seen.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return seen


def stop(known: ProcessId, *, grace_s: float = 10) -> None:
    """Ask a process to end, and kill it if it does not within `grace_s`."""
    known.send(signal.SIGTERM)
    if not known.wait_gone(grace_s):
        known.send(signal.SIGKILL)
        known.wait_gone(10)


def kill_matching(matches: Callable[[int], bool], *, timeout_s: float = 15) -> int:
    """SIGKILL the processes that `matches` knows, until none is left; says how many there were."""
    spared = ancestors()
    killed: set[ProcessId] = set()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = [
            known for known in all_processes() if known.pid not in spared and matches(known.pid)
        ]
        if not found:
            reap()
            return len(killed)
        for known in found:
            known.send(signal.SIGKILL)
            killed.add(known)
        time.sleep(0.02)
        reap()
    raise LabError(
        "processes of the lab do not die: " + " ".join(str(known.pid) for known in found)
    )


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float = 0.03) -> bool:
    """Wait for a condition; False if it has not become true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True
