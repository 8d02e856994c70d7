"""OpenVPN's log: kept private and short, and the one line of it that tells what went wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: Read at most this much of the end of a log, in bytes.
_TAIL_BYTES = 64 * 1024
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (us=\d+ +)?")
#: Noise that every question of ours leaves in the log.
_MANAGEMENT = re.compile(r"^MANAGEMENT: (CMD|Client|>STATE)")
#: From the cause to its consequences: the first pattern found explains the most.
_REASONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"AUTH_FAILED",
        r"^Options error:",
        r"VERIFY .*ERROR",
        r"certificate verify failed",
        r"Cannot (open|allocate) (TUN|utun)",
        r"(utun|tun).*(Permission denied|Operation not permitted)",
        r"Address already in use",
        r"tls-crypt.*(error|failed)|TLS key negotiation failed|TLS handshake failed",
        r"connect to .* failed|Connection refused|No route to host|Cannot resolve",
        r"^(ERROR|FATAL)\b|\bcannot\b|\bfailed\b",
    )
)


def truncate_log(path: Path) -> None:
    """Begin an empty log that only this user reads; openvpn, as root, appends to it.

    A file that belongs to another user (left by a run as root) is replaced.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def read_log(path: Path) -> list[str]:
    """The last lines of the log, without what our own questions left; [] if unreadable."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not _MANAGEMENT.match(_TIMESTAMP.sub("", line))]


def find_reason(lines: list[str]) -> str | None:
    """The line (without its time) that best tells why openvpn failed, or None if empty."""
    messages = [_TIMESTAMP.sub("", line) for line in lines]
    for pattern in _REASONS:
        # The newest one: an older failure may be over.
        for message in reversed(messages):
            if pattern.search(message):
                return message
    return messages[-1] if messages else None
