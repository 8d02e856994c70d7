"""Network namespaces and control groups: making them, finding who is in them, removing them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .process import kill_matching, run

_NETNS = Path("/run/netns")
_CGROUPS = Path("/sys/fs/cgroup")


def netns_path(name: str) -> Path:
    """File that stands for a network namespace."""
    return _NETNS / name


def netns_exists(name: str) -> bool:
    """Whether the name stands for a live namespace, not for a file left behind."""
    return _identity(netns_path(name)) is not None


def create_netns(name: str) -> None:
    """Make a namespace that has only loopback."""
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])


def delete_netns(name: str) -> None:
    """Remove the name; the namespace goes away with its last process and socket."""
    if netns_path(name).exists():
        run(["ip", "netns", "delete", name], check=False)
        netns_path(name).unlink(missing_ok=True)


def enter_netns(name: str) -> list[str]:
    """Words to put before a command.

    Unlike `ip netns exec` this leaves /sys alone, which an engine needs.
    """
    return ["nsenter", f"--net={netns_path(name)}"]


def kill_in_netns(name: str) -> int:
    """Kill every process whose network namespace is the named one."""
    wanted = _identity(netns_path(name))
    if wanted is None or wanted == _identity(Path("/proc/1/ns/net")):
        return 0
    return kill_matching(lambda pid: _identity(Path(f"/proc/{pid}/ns/net")) == wanted)


def kill_in_mount_namespace(pid: int) -> int:
    """Kill every process that shares the mount namespace of one, and that one too.

    Their network namespace does not tell: Podman's first thread may be left in a container's.
    """
    wanted = _identity(Path(f"/proc/{pid}/ns/mnt"))
    strangers = (_identity(Path(f"/proc/{other}/ns/mnt")) for other in ("1", "self"))
    if wanted is None or wanted in strangers:
        return 0
    return kill_matching(lambda other: _identity(Path(f"/proc/{other}/ns/mnt")) == wanted)


def _identity(path: Path) -> tuple[int, int] | None:
    nsfs = _device(Path("/proc/self/ns/net"))
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino) if stat.st_dev == nsfs else None


def _device(path: Path) -> int:
    return path.stat().st_dev


def kill_in_cgroup(name: str) -> int:
    """Kill every process in a top-level control group of that name or below it."""

    def inside(pid: int) -> bool:
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            return False
        return any(line.split(":", 2)[2].split("/")[1:2] == [name] for line in lines)

    return kill_matching(inside)


def kill_rooted_below(folder: Path) -> int:
    """Kill every process whose root file system is kept below a folder, as containers' are."""

    def rooted(pid: int) -> bool:
        try:
            lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        except OSError:
            return False
        roots = [line for line in lines if line.split()[4] == "/"]
        return bool(roots) and f"{folder}/" in roots[-1]

    return kill_matching(rooted)


def remove_cgroup(name: str) -> None:
    """Remove the empty control groups of that name, in every hierarchy."""
    for top in [_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")]:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
