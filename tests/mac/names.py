"""How a Mac asks for names: files of domains of its own, a server with a zone made up.

Needs no engine and no tunnel. Each file is written by sudo and taken away again.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex

from netaddr import IPAddress

from macnet.errors import EngineUnreachable, PrivilegeError
from macnet.names import Name, Zone, probe_name
from macnet.names.claims import Kind
from macnet.names.server import NameServer
from macnet.names.system import RootCommand, SystemEntry, apply_command
from macnet.names.system.base import install_command, remove_command
from macnet.names.system.macos import FOLDER, MacResolver, render_file
from macnet.privilege import run_as_root
from macnet.progress import Silent
from macnet.runner import CommandRunner, Completed

from .report import Seen, judge, still_open, verified

_TUNNEL = "macnet-check"
#: One for each kind of domain: of RFC 6761, of ICANN's, and below a top level that exists.
_DOMAINS = tuple(f"macnet-check.{end}" for end in ("test", "internal", "home.arpa"))
#: Seconds to wait for configd to read a file; for a denial and for an old address to go.
_READ_S, _DENIED_S, _KEPT_S = 10.0, 150.0, 60.0
_BY_HAND = {
    "Safari with Private Relay, Chrome and Firefox with secure DNS": "open http://web.docker.test/",
    "names beside Tailscale, Mullvad and AnyConnect": "connect each, then `macnet check`",
    "Docker Desktop passes docker.test into containers, and a dead port slows nothing": "try it",
    "the file in /etc/resolver after an update of macOS": "`macnet check` after the next one",
    "launchd can hold the port for the agent (Sockets)": "not used yet",
}


def lookup(name: str, version: int) -> tuple[str, ...]:
    """What every program gets for a name."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        rows = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(sorted({str(row[4][0]) for row in rows}))


@dataclass
class Stage:
    """A Mac, and a server with names on it; a test brings the lab's resolver in its place."""

    runner: CommandRunner
    folder: Path = FOLDER
    lookup: Callable[[str, int], tuple[str, ...]] = lookup
    root: Callable[[RootCommand], None] | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    names: dict[str, str] = field(default_factory=dict)
    away: bool = False

    def as_root(self, command: RootCommand) -> None:
        """Run a command by sudo. Raises `PrivilegeError`."""
        if self.root is not None:
            self.root(command)
            return

        def run(argv: Sequence[str]) -> Completed:
            return run_as_root(
                argv,
                runner=self.runner,
                progress=Silent(),
                root=False,
                terminal=sys.stdin.isatty(),
                who="the file in /etc/resolver",
                shown=command.shown,
            )

        apply_command(command, run)

    def flush(self) -> None:
        """What `macnet names flush` does."""
        command = MacResolver().plan_flush()
        if command is not None:
            self.as_root(command)

    def write(self, setting: SystemEntry, *, timeout_s: int | None = None) -> None:
        """Write macnet's file, and tell nobody."""
        text = render_file(setting)
        if timeout_s is not None:
            text = text.replace("timeout 2\n", f"timeout {timeout_s}\n")
        path = MacResolver(self.folder).path(setting.domain)
        self.as_root(install_command({path: text}, (), "true"))

    def until(self, found: Callable[[], bool], limit_s: float) -> float | None:
        """Seconds until it is so, asked every half second; None if not within ``limit_s``."""
        began = self.clock()
        while not found():
            if self.clock() - began > limit_s:
                return None
            self.sleep(0.5)
        return self.clock() - began

    def asked(self, domain: str) -> bool:
        """Whether a name that no cache knows gets the server's answer."""
        return self.lookup(probe_name(domain, token_hex(16)), 4) == ("127.0.0.1",)

    def zone(self, domain: str) -> Zone:
        """What the server knows at this moment."""
        if self.away:
            raise EngineUnreachable("away")
        return Zone(
            domain,
            {
                f"{name}.{domain}": Name(
                    f"{name}.{domain}", Kind.CONTAINER, (name,), ("app",), (IPAddress(address),)
                )
                for name, address in self.names.items()
            },
        )


@contextmanager
def _served(stage: Stage, domain: str) -> Iterator[tuple[SystemEntry, NameServer]]:
    """A server for a domain; at the end neither it nor a file is there."""
    server = NameServer(domain, 0, lambda: stage.zone(domain))
    server.start()
    try:
        yield SystemEntry(_TUNNEL, domain, server.port), server
    finally:
        server.stop()
        stage.as_root(remove_command([MacResolver(stage.folder).path(domain)], "true"))


def names(stage: Stage) -> Iterator[Seen]:
    """Everything that can be asked of a Mac by itself, and what only a person can try."""
    try:
        working = []
        for domain in _DOMAINS:
            seen = _is_asked(stage, domain)
            working += [domain] if seen.outcome == "verified" else []
            yield seen
        if working:
            yield from _lives(stage, working[0])
            yield _touched(stage, *working[:2])
            yield from _silence(stage, working[0])
    except PrivilegeError as error:
        yield still_open("names", f"{error}: {error.hint}")
    for what, how in _BY_HAND.items():
        yield still_open(what, how)


def _is_asked(stage: Stage, domain: str) -> Seen:
    """The file with lines ``domain`` and ``port``, without a HUP and with one."""
    what = f"a file for {domain} is obeyed"
    with _served(stage, domain) as (setting, _):
        existed = stage.folder.exists()
        stage.write(setting)
        seconds = stage.until(lambda: stage.asked(domain), _READ_S)
        how = f"{stage.folder} {'was there' if existed else 'was made'}"
        if seconds is not None:
            return judge(what, True, f"after {seconds:.1f} s, without HUP; {how}")
        stage.flush()
        seconds = stage.until(lambda: stage.asked(domain), _READ_S)
        after = "not" if seconds is None else f"{seconds:.1f} s"
        return judge(what, seconds is not None, f"{after} after HUP; {how}")


def _lives(stage: Stage, domain: str) -> Iterator[Seen]:
    """How long answers and denials are kept, and what empties the cache."""

    def late(name: str) -> str:
        """A name that is there only after it was denied."""
        stage.lookup(f"{name}.{domain}", 4)
        stage.names[name] = "172.20.0.2"
        return f"{name}.{domain}"

    def found(full: str, address: str = "172.20.0.2") -> bool:
        return stage.lookup(full, 4) == (address,)

    with _served(stage, domain) as (setting, server):
        stage.write(setting)
        stage.until(lambda: stage.asked(domain), _READ_S)
        full = late("flushed")
        stage.flush()
        seconds = stage.until(lambda: found(full), _READ_S)
        yield judge("HUP empties the cache", seconds is not None, f"{seconds} s")
        full = late("tried")
        stage.runner.run(["dscacheutil", "-flushcache"], check=False)
        yield verified("dscacheutil without root", "helps" if found(full) else "does not help")
        stage.away = True
        began = stage.clock()
        stage.lookup(f"failed.{domain}", 4)
        took = stage.clock() - began
        stage.away = False
        full = late("failed")
        kept = "is not kept" if found(full) else "is kept"
        yield verified("SERVFAIL", f"answered in {took:.1f} s; {kept}")
        full = late("denied")
        seconds = stage.until(lambda: found(full), _DENIED_S)
        good = seconds is not None and seconds < 90
        yield judge("a denial is kept for 77 s", good, f"{seconds or _DENIED_S:.0f} s")
        stage.names["moved"] = "172.20.0.3"
        stage.lookup(f"moved.{domain}", 4)
        stage.names["moved"] = "172.20.0.2"
        _look(server, f"moved.{domain}", stage.zone(domain))
        seconds = stage.until(lambda: found(f"moved.{domain}"), _KEPT_S)
        good = seconds is not None and seconds < 20
        yield judge("an address is kept for 15 s", good, f"{seconds or _KEPT_S:.0f} s")
        stage.names["six"] = "fd00:20::2"
        six = stage.lookup(f"six.{domain}", 6)
        yield judge("`flags a aaaa`: IPv6 addresses are asked for", bool(six), " ".join(six))


def _touched(stage: Stage, domain: str, *others: str) -> Seen:
    """Whether a new time of the file empties the cache, and whether of its domain alone.

    If so, `macnet watch` could let a Mac forget denials of our names and nothing else.
    """
    what = "touching the file, as root"
    if not others:
        return still_open(what, "takes two domains whose files are obeyed")
    other = others[0]

    def found(one: str) -> bool:
        return stage.lookup(f"touched.{one}", 4) == ("172.20.0.2",)

    with _served(stage, domain) as (setting, _), _served(stage, other) as (beside, _):
        for entry in (setting, beside):
            stage.write(entry)
            stage.until(partial(stage.asked, entry.domain), _READ_S)
        # What follows from these two files must not be taken for what the touch does.
        stage.sleep(2.0)
        for one in (domain, other):
            stage.lookup(f"touched.{one}", 4)
        stage.names["touched"] = "172.20.0.2"
        if found(domain) or found(other):
            return still_open(what, "denials were not kept, so nothing could be forgotten")
        path = MacResolver(stage.folder).path(domain)
        stage.as_root(RootCommand(("/bin/sh", "-c", '/usr/bin/touch "$1"', "sh", str(path))))
        seconds = stage.until(lambda: found(domain), _READ_S)
        if seconds is None:
            return verified(what, f"empties no cache within {_READ_S:.0f} s")
        whose = "every domain" if found(other) else "its domain alone"
        return verified(what, f"empties the cache of {whose} after {seconds:.1f} s")


def _look(server: NameServer, full: str, zone: Zone) -> None:
    """Let the server see a change, as an event of the engine does; a second is plenty."""
    server.changed()
    for _ in range(100):
        if server.zone.names.get(full) == zone.names[full]:
            break
        time.sleep(0.01)


def _silence(stage: Stage, domain: str) -> Iterator[Seen]:
    """How long a lookup takes while nothing listens on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        setting = SystemEntry(_TUNNEL, domain, free.getsockname()[1])
    try:
        for timeout_s in (1, 2, 5):
            stage.write(setting, timeout_s=timeout_s)
            stage.flush()
            stage.sleep(2.0)
            began = stage.clock()
            stage.lookup(probe_name(domain, token_hex(16)), 4)
            took = stage.clock() - began
            what = f"with nobody at the port and `timeout {timeout_s}` a lookup ends in time"
            yield judge(what, took < 2 * timeout_s + 1, f"{took:.1f} s")
    finally:
        stage.as_root(remove_command([MacResolver(stage.folder).path(domain)], "true"))


def tunnelblick_log(folder: Path) -> Iterator[Seen]:
    """With macnet's profile Tunnelblick changes no DNS: no script of OpenVPN's for it runs."""
    what = "no dns-updown in Tunnelblick's log of macnet"
    try:
        logs = sorted(path for path in folder.iterdir() if "macnet" in path.name)
        text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)
    except OSError as error:
        yield still_open(what, str(error))
        return
    if not logs:
        yield still_open(what, f"there is none in {folder}")
        return
    lines = [line for line in text.splitlines() if "dns-updown" in line]
    yield judge(what, not lines, lines[0] if lines else f"{len(logs)} logs")
