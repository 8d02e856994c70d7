"""What the server lets through, as it wrote it down, and by which lane.

It also has the remaps' real addresses.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

#: Written by subnets.sh at its successful end: a line is SUBNET or SEEN=SUBNET, and the lane's
#: number and the joiner's key after it where a joiner holds the namespace in which that is.
APPLIED = "subnets.applied"

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, order=True)
class Home:
    """Whose namespace a lane opens its connections in: the VM's, or that of a joiner.

    ``key`` tells a joiner from one that had its number before.
    """

    lane: int = 0
    key: str = ""


VM = Home()


@dataclass(frozen=True, slots=True)
class Rule:
    """Destinations in ``seen`` are those of ``real``; both are equal where there is no remap."""

    real_subnet: Network
    home: Home
    first: int
    last: int
    size: int
    shift: int

    def real(self, address: bytes) -> bytes | None:
        """Where a packet to ``address`` goes; None if this rule does not cover it."""
        number = int.from_bytes(address)
        if len(address) != self.size or not self.first <= number <= self.last:
            return None
        return (number + self.shift).to_bytes(self.size)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Read the file's text. Raises ValueError for a line that is no subnet."""
    return tuple(_rule(*line.split()) for line in text.splitlines())


def _rule(pair: str = "", lane: str = "0", key: str = "", *more: str) -> Rule:
    if more or bool(int(lane)) != bool(key):
        raise ValueError(f"{pair}: what comes after it is not a lane and a key")
    seen, _, real = pair.partition("=")
    here: Network = ip_network(seen)
    there: Network = ip_network(real) if real else here
    if (here.version, here.prefixlen) != (there.version, there.prefixlen):
        raise ValueError(f"{seen}={real}: not of one size")
    first, last = int(here.network_address), int(here.broadcast_address)
    shift = int(there.network_address) - first
    return Rule(there, Home(int(lane), key), first, last, here.max_prefixlen // 8, shift)


def pack_list(text: str) -> bytes:
    """The list as the message that a lane gets: never empty, as an empty one is the end."""
    return f"{text}\n".encode()


def unpack_list(message: bytes) -> str:
    """The list in such a message. Raises ValueError where there is no text in it."""
    return message.decode("ascii")[:-1]


class Allowlist:
    """The rules of one list."""

    def __init__(self, text: str = "") -> None:
        """Raises ValueError if that is no list. The empty one allows nothing."""
        self._rules = parse_rules(text)

    def real(self, address: bytes, home: Home = VM) -> bytes | None:
        """The address behind a destination; None if it is not allowed there by that lane."""
        rules = (rule for rule in self._rules if rule.home == home)
        return next((found for rule in rules if (found := rule.real(address))), None)

    def homes(self) -> dict[Home, tuple[Network, ...]]:
        """The lanes of joiners, and what lies behind each."""
        found: dict[Home, tuple[Network, ...]] = {}
        for rule in self._rules:
            if rule.home != VM:
                found[rule.home] = (*found.get(rule.home, ()), rule.real_subnet)
        return found


class Applied:
    """The server's list: the file is read again when it is another one."""

    def __init__(self, folder: int) -> None:
        """``folder`` is a descriptor of the server's /etc/macnet, kept open."""
        self._folder = folder
        self._seen: tuple[int, int, int] | None = None
        self._text: str | None = None

    def text(self) -> str | None:
        """The last list that was one; None where there was none yet."""
        self._refresh()
        return self._text

    def _refresh(self) -> None:
        # While the server changes its rules there is no file: then the last one counts, and the
        # server's own rules decide.
        try:
            stat = os.stat(APPLIED, dir_fd=self._folder, follow_symlinks=False)
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(APPLIED, flags, dir_fd=self._folder), encoding="ascii") as file:
                text = file.read()
            parse_rules(text)
            self._text, self._seen = text, seen
        except (OSError, ValueError):
            return
