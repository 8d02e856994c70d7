"""Processes: commands that end, daemons that stay, and who is who.

A daemon is remembered by its process id and start time, so that a later run never takes a stranger that got
the same id for its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import CommandError, LabError

_daemons: list[subprocess.Popen[bytes]] = []


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    timeout_s: float = 60,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
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
        raise LabError(f"program not found: {command[0]}", "run: python -m tests.lab install") from error
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
            list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=env, cwd="/"
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


def all_processes() -> Iterable[ProcessId]:
    """Every process of the machine that is not a zombie."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (known := ProcessId.of(int(entry))) is not None:
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
    if not wait_until(lambda: not known.alive(), grace_s):
        known.send(signal.SIGKILL)
        wait_until(lambda: not known.alive(), 10)
    reap()


def kill_matching(matches: Callable[[int], bool], *, timeout_s: float = 15) -> int:
    """SIGKILL the processes that `matches` knows, until none is left; says how many there were."""
    spared = ancestors()
    killed: set[ProcessId] = set()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = [known for known in all_processes() if known.pid not in spared and matches(known.pid)]
        if not found:
            reap()
            return len(killed)
        for known in found:
            known.send(signal.SIGKILL)
            killed.add(known)
        time.sleep(0.02)
        reap()
    raise LabError("processes of the lab do not die: " + " ".join(str(known.pid) for known in found))


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float = 0.03) -> bool:
    """Wait for a condition; False if it has not become true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True
