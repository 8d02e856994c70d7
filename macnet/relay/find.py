"""Finding the server and the joiners among the VM's processes."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def find_server(token: str, proc: Path = PROC) -> int | None:
    """The process openvpn that was started with our token, which no other container knows."""
    return _find("openvpn", f"MACNET_SERVER={token}", proc)


def find_joiner(token: str, key: str, proc: Path = PROC) -> int | None:
    """The process that holds the namespace of a donor open; ``key`` says which one's."""
    return _find("sh", f"MACNET_JOINER={token}.{key}", proc)


def _find(name: str, variable: str, proc: Path) -> int | None:
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if (folder / "comm").read_bytes() != f"{name}\n".encode():
                continue
            if variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except OSError:
            continue  # it has ended, or has more rights than the relay
    return None


def default_interface(proc: Path = PROC) -> str | None:
    """The interface of the default route in this namespace; None where there is none."""
    for row in (proc / "net/route").read_text().splitlines()[1:]:
        name, destination, *_, mask = row.split()[:8]
        if destination == mask == "00000000":
            return name
    return None
