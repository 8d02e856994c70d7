"""The Mac side with names: an /etc of its own, and who answers there when a program asks."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import dns.exception  # noqa: TID251
import dns.message  # noqa: TID251
import dns.query  # noqa: TID251
import dns.rcode  # noqa: TID251

from .errors import LabError
from .files import remove_tree
from .lab import Lab
from .namespaces import netns_path
from .process import PIPE, Completed, ProcessId, Running, spawn, stop, wait_until

_SCRIPT = Path(__file__).with_name("resolver_root.sh")
_CHECKOUT = Path(__file__).parents[2]
_CLONE_NEWNET = 0x40000000
#: Where programs ask, by who answers there.
STUB, DNSMASQ = "127.0.0.53", "127.0.0.54"
#: Runs macnet so that it tells the system of names as on a Mac.
MACNET = (sys.executable, "-m", "tests.lab.resolver_macnet")
#: Looks a name up for each line; prints its addresses, or what the system says instead.
_LOOK_UP = """
import socket, sys
for line in sys.stdin:
    try:
        found = socket.getaddrinfo(line.strip(), None, type=socket.SOCK_STREAM)
        print(*sorted({item[4][0] for item in found}), flush=True)
    except OSError as error:
        print(type(error).__name__, error.strerror, flush=True)
"""


class NamesSide:
    """A context manager; what runs in it is on the Mac side and has an /etc of its own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._scratch = lab.paths.home / "resolver"
        self._log = lab.paths.home / "resolver.log"
        self._anchor: ProcessId | None = None

    def __enter__(self) -> Self:
        remove_tree(self._scratch)
        self._scratch.mkdir(mode=0o755)
        self._log.write_text("")
        words = ["unshare", "--mount", "--propagation", "private"]
        argv = [*self.lab.mac.enter(), *words, "sh", str(_SCRIPT), str(self._scratch)]
        self._anchor = spawn(argv, self._log)
        self._wait(self._anchor, "ready", self._log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._anchor is not None:
            stop(self._anchor)
        remove_tree(self._scratch)

    @property
    def words(self) -> list[str]:
        """Words to put before a command on the Mac side."""
        if self._anchor is None:
            raise LabError("the Mac side has no names yet")
        return ["nsenter", f"--mount=/proc/{self._anchor.pid}/ns/mnt"]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
    ) -> Completed:
        """Run a command to its end."""
        return self.lab.run([*self.words, *argv], check=check, env=_with(env), input=input)

    def read(self, path: str) -> str | None:
        """The text of a file, None if there is none."""
        done = self.run(["cat", path], check=False)
        return done.stdout if done.returncode == 0 else None

    def write(self, path: str, text: str) -> None:
        """Write a file, as root."""
        script = 'mkdir -p "${1%/*}" && cat >"$1"'
        self.run(["sh", "-c", script, "sh", path], input=text)

    def log(self, program: str) -> Path:
        """What a `server` has said."""
        return self.lab.paths.home / f"resolver-{Path(program).name}.log"

    @contextmanager
    def server(self, argv: Sequence[str], ready: str) -> Iterator[ProcessId]:
        """A program of that side which runs while the block does, once it has said ``ready``."""
        log = self.log(argv[0])
        log.write_text("")
        environment = self.lab.mac_environment(_with(None))
        process = spawn([*self.lab.mac.enter(), *self.words, *argv], log, env=environment)
        try:
            self._wait(process, ready, log)
            yield process
        finally:
            stop(process)

    @contextmanager
    def looker(self) -> Iterator[Looker]:
        """A program that looks names up while the block runs."""
        argv = [*self.words, sys.executable, "-c", _LOOK_UP]
        process = self.lab.popen(argv, stdin=PIPE, stdout=PIPE)
        try:
            yield Looker(process)
        finally:
            process.kill()
            process.communicate(timeout=10)

    @staticmethod
    def _wait(process: ProcessId, words: str, log: Path) -> None:
        wait_until(lambda: words in log.read_text() or not process.alive(), 20)
        if words not in log.read_text():
            raise LabError(f"the resolver of the Mac side did not start: {log.read_text()}")


class NamesMac(NamesSide):
    """The same where the system is told of names as on a Mac."""

    @property
    def checkout(self) -> str:
        """What PYTHONPATH has to be for `MACNET`."""
        return str(_CHECKOUT)

    def macnet(
        self, *words: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run macnet, which tells the system of names as on a Mac."""
        return self.run([*MACNET, *words], check=check, env=env)

    def files(self) -> dict[str, str]:
        """The files of /etc/resolver."""
        names = self.run(["ls", "-A", "/etc/resolver"], check=False).stdout.split()
        return {name: self.read(f"/etc/resolver/{name}") or "" for name in names}

    @contextmanager
    def macos(self) -> Iterator[ProcessId]:
        """Programs ask the stand-in for macOS's resolver while the block runs."""
        argv = [sys.executable, "-m", "tests.lab.resolver_stub", "--address", STUB]
        with self.server(argv, "ready") as stub:
            self._ask(STUB)
            self.write("/etc/macnet-lab/mDNSResponder", str(stub.pid))
            yield stub
            self.run(["rm", "-f", "/etc/macnet-lab/mDNSResponder"])

    def _ask(self, address: str) -> None:
        # One attempt: a Mac's getaddrinfo does not ask mDNSResponder again.
        self.write("/etc/resolv.conf", f"nameserver {address}\noptions attempts:1\n")

    @contextmanager
    def dnsmasq(self, domain: str, port: int) -> Iterator[ProcessId]:
        """Programs ask a dnsmasq while the block runs, which asks macnet for the domain."""
        argv = [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-"),
            *("--no-resolv", "--no-hosts", "--user=root", "--pid-file="),
            *("--bind-interfaces", "--no-dhcp-interface=lo", f"--listen-address={DNSMASQ}"),
            f"--server=/{domain}/127.0.0.1#{port}",
        ]
        with self.server(argv, "started") as server:
            self._ask(DNSMASQ)
            yield server


def _with(env: Mapping[str, str] | None) -> dict[str, str]:
    return {"PYTHONPATH": str(_CHECKOUT), **(env or {})}


class Looker:
    """Looks names up in one process, by getaddrinfo."""

    def __init__(self, process: Running) -> None:
        self._process = process
        self._lock = threading.Lock()

    def __call__(self, name: str) -> str:
        """The addresses of a name, or the error."""
        streams = self._process.stdin, self._process.stdout
        assert streams[0] and streams[1]
        with self._lock:
            streams[0].write(f"{name}\n")
            streams[0].flush()
            return streams[1].readline().strip()


def ask(netns: str, port: int, name: str, kind: str = "A", *, server: str = "127.0.0.1") -> str:
    """What a server answers in a network namespace: addresses, NODATA, or the error's code.

    TimeoutError if nothing comes within five seconds.
    """
    query = dns.message.make_query(name, kind)
    with udp_socket(netns) as udp:
        try:
            answer = dns.query.udp(query, server, timeout=5, port=port, sock=udp)
        except dns.exception.Timeout as error:
            raise TimeoutError(f"no answer about {name}") from error
    words = sorted(item.to_text() for rows in answer.answer for item in rows)
    code = dns.rcode.to_text(answer.rcode())
    return " ".join(words) or ("NODATA" if code == "NOERROR" else code)


def udp_socket(netns: str) -> socket.socket:
    """A UDP socket of another network namespace: it stays there, whoever uses it."""
    found: list[socket.socket | OSError] = []

    def make() -> None:
        handle = os.open(netns_path(netns), os.O_RDONLY)
        try:
            # Of this thread alone, which ends here.
            if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setblocking(False)
            found.append(udp)
        except OSError as error:
            found.append(error)
        finally:
            os.close(handle)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]
