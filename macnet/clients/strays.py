"""Finds and ends an openvpn of ours that lost its socket, as when its files were deleted."""

from __future__ import annotations

import time
from pathlib import Path

from macnet import host
from macnet.clients.privilege import run_as_root
from macnet.errors import ClientFailed
from macnet.progress import Progress
from macnet.runner import CommandFailed, CommandRunner

_POLL_S = 0.05


def end_strays(
    socket: Path,
    *,
    spare: int | None,
    runner: CommandRunner,
    root: bool,
    terminal: bool,
    progress: Progress,
    timeout_s: float,
) -> bool:
    """End each process that was started with the management ``socket``, but ``spare``.

    False = there was none. Its command line tells that it is ours.
    """
    pids = [pid for pid in find_processes(socket, runner) if pid != spare]
    if not pids:
        return False
    words = [str(pid) for pid in pids]
    who = f"openvpn (pid {', '.join(words)})"
    progress.warn(f"an {who} of this tunnel has lost its socket and is ended")
    done = run_as_root(
        ["kill", *words], runner=runner, root=root, terminal=terminal, progress=progress
    )
    deadline = time.monotonic() + timeout_s
    while any(host.is_process_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise ClientFailed(
                f"{who} does not end",
                hint=f"end it: sudo kill -9 {' '.join(words)}",
                detail=done.stderr.strip() or None,
            )
        time.sleep(_POLL_S)
    return True


def find_processes(socket: Path, runner: CommandRunner) -> list[int]:
    """The processes that were started with ``socket``, root's too: ps may see them."""
    try:
        # macOS and Linux know these words; -ww keeps lines whole.
        done = runner.run(["ps", "-axww", "-o", "pid=,args="], check=False)
    except CommandFailed:
        return []
    ours = f" --management {socket} unix"
    lines = (line.strip().partition(" ") for line in done.stdout.splitlines())
    return [int(pid) for pid, _, argv in lines if ours in argv and pid.isdigit()]
