"""A way from the server into a namespace of the engine: pasta for UDP and ping, a lane for TCP."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from macnet.relay.allowlist import Home, Network, pack_list
from macnet.relay.buffers import MOST, set_buffers
from macnet.relay.find import default_interface
from macnet.relay.log import Seldom, say
from macnet.relay.namespace import network_of, own_processes
from macnet.relay.netfilter import open_queue

#: The name under which `ip` knows the server's namespace.
NAME = "server"
NAMESPACE = Path("/run/netns", NAME)
#: There on a kernel that has IPv6.
IPV6 = Path("/proc/net/if_inet6")
#: The ports of the first lane's listeners in the server's namespace, and how many each lane has:
#: server.sh and subnets.sh redirect to them.
_FIRST_PORT, _PORTS = 1195, 16
_ADDRESS6, _GATEWAY6, _PREFIX6 = "fd77:6d61:636e::2", "fd77:6d61:636e::1", 126
#: Connections that wait for the lane to accept them; somaxconn of the namespace may say less.
_BACKLOG = 1024
#: Bytes of a connection that wait at most in the tunnel, each way. Enough for 4 Gbit/s at a round
#: trip of 1 ms, little enough that a request beside a download does not wait.
_BUFFER = 512 << 10
_MTU = 65520
#: Descriptors of the lane; a kernel or an engine may give it less.
_DESCRIPTORS = 131_072
#: What the lane sees of the relay's files: none of /proc, which leads to the files of every process
#: with no more rights than its own, as the server's keys; and all else read-only, as the supervisor
#: runs programs from there.
_CLOSED = 'mount -o remount,bind,ro / && mount -t tmpfs -o ro none /proc && exec "$@"'
_SETUP_S = 5.0
_END_S = 0.5


@dataclass(frozen=True, slots=True)
class Link:
    """The addresses of the link between server and relay."""

    address: str
    gateway: str
    prefix: int
    #: Whether the client is on another machine than the engine, as far away as it may be.
    far: bool = False


class Passage:
    """What runs for one namespace. Each part can be started again while the other goes on."""

    def __init__(
        self,
        server: int,
        link: Link,
        home: Home,
        holder: int | None,
        allowed: Callable[[], str | None],
        wait: Callable[[float], None],
        *,
        kernel_lane: bool,
    ) -> None:
        """``server`` and ``holder`` are process ids; ``holder`` None stands for the VM itself.

        ``allowed`` tells the server's list, None where there is none yet. ``wait`` sleeps, but
        raises an exception of its own when the relay is to end.
        Each way has a tap of its own in the server's namespace. All of them have the same
        addresses: only the server sees them, and its rules name the taps. Nothing is started yet.
        """
        self.home = home
        self._server, self._holder, self._link = server, holder, link
        self._allowed, self._wait = allowed, wait
        self._kernel_lane = kernel_lane
        self._tap = f"relay{home.lane}"
        self._pasta: subprocess.Popen[bytes] | None = None
        self._lane: subprocess.Popen[bytes] | None = None
        #: By it the lane hears of each list, and at its end that it is to end.
        self._lifeline: socket.socket | None = None
        self._told: str | None = None
        self._deaf = Seldom()
        self._routed: tuple[Network, ...] = ()
        #: Whether the tap has an IPv6 address.
        self._ipv6 = False

    def holder_runs(self) -> bool:
        """Whether the process that holds the namespace is there."""
        return self._holder is None or Path(f"/proc/{self._holder}").exists()

    def lacking(self) -> list[Callable[[], None]]:
        """What starts the parts that do not run."""
        parts: list[Callable[[], None]] = []
        if self._pasta is None or self._pasta.poll() is not None:
            parts.append(self._start_pasta)
        if self._kernel_lane and (self._lane is None or self._lane.poll() is not None):
            parts.append(self._start_lane)
        return parts

    def detach(self) -> None:
        """End what runs."""
        running = [one for one in (self._pasta, self._lane) if one is not None]
        if self._pasta is not None:
            self._pasta.terminate()
        if self._lane is not None:
            # As the first process of a namespace it ends at no other signal. Its connections are
            # reset by the kernel (SO_LINGER).
            self._lane.kill()
        until = time.monotonic() + _END_S
        for one in running:
            try:
                one.wait(max(until - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        self._cut_lifeline()

    def route(self, subnets: tuple[Network, ...]) -> None:
        """Have the server send what is for these subnets here, and nothing else.

        Those of IPv6 are passed over where the server has none.
        """
        families = [("-4", self._link.gateway, 4)]
        families += [("-6", _GATEWAY6, 6)] if self._ipv6 else []
        for family, gateway, version in families:
            lines = [
                f"route flush exact {net} dev {self._tap} table 100"
                for net in self._routed
                if net.version == version and net not in subnets
            ]
            lines += [
                f"route replace {net} via {gateway} dev {self._tap} table 100"
                for net in subnets
                if net.version == version and net not in self._routed
            ]
            if lines:
                _ip(family, *lines)
        self._routed = subnets

    def inform(self) -> None:
        """Tell the lane the server's list unless it knows that one.

        It gets no descriptor of the file: with one of the folder it could open the keys beside.
        """
        allowed = self._allowed()
        if self._lifeline is None or allowed is None or allowed == self._told:
            return
        try:
            self._lifeline.send(pack_list(allowed))
        except OSError as error:
            # It is tried again at the next look. One that has ended is started again.
            if not isinstance(error, ConnectionError):
                self._deaf.say(f"the TCP lane does not take the new list: {error.strerror}")
        else:
            self._told = allowed

    def _start_pasta(self) -> None:
        if self._pasta is not None:
            say(f"pasta ended with status {self._pasta.returncode}")
        self._pasta = None
        self._routed = ()
        link = self._link
        ipv6 = IPV6.exists()
        words = ["-a", link.address, "-n", str(link.prefix), "-g", link.gateway]
        if ipv6:
            words += ["-a", _ADDRESS6, "-g", _GATEWAY6]
        words += ["--no-map-gw", "-t", "none", "-u", "none", "-T", "none", "-U", "none"]
        words += ["-m", str(_MTU), "-D", "none", "-S", "none"]
        words += ["--no-dhcp", "--no-ra", "--no-dhcpv6"]
        run = ["pasta", "-f", "-q", "--runas", "0", "--netns-only", "--netns", str(NAMESPACE)]
        with self._home_network():
            # pasta copies nothing from this interface, but wants one that has an address.
            words += ["-i", default_interface() or _any_interface()]
            pasta = _start([*run, "-I", self._tap, *words])
        try:
            self._await_interface(pasta)
            self._ipv6 = self._set_up_interface(ipv6=ipv6)
        except BaseException:
            # What carries nothing must not look as if it ran: it is started again as a whole.
            pasta.kill()
            pasta.wait()
            raise
        self._pasta = pasta

    def _set_up_interface(self, *, ipv6: bool) -> bool:
        """Give the tap in the server's namespace its addresses and routes.

        False where IPv6 is not among them.
        """
        link, tap = self._link, self._tap
        _ip(
            "-4",
            f"addr replace {link.address}/{link.prefix} dev {tap}",
            f"link set {tap} mtu {_MTU} up",
            *self._default(link.gateway),
        )
        if ipv6:
            try:
                _ip(
                    "-6",
                    f"addr replace {_ADDRESS6}/{_PREFIX6} dev {tap} nodad",
                    *self._default(_GATEWAY6),
                )
            except subprocess.CalledProcessError:
                say("the server's namespace has no IPv6")
                return False
        return ipv6

    def _default(self, gateway: str) -> Iterator[str]:
        """What no joiner's lane is for goes to the VM."""
        if self._holder is None:
            yield f"route replace default via {gateway} dev {self._tap} table 100"

    def _home_network(self) -> AbstractContextManager[None]:
        """This process in the namespace in which connections are to be opened."""
        return nullcontext() if self._holder is None else network_of(self._holder)

    def _await_interface(self, pasta: subprocess.Popen[bytes]) -> None:
        """Wait until pasta has made its tap."""
        until = time.monotonic() + _SETUP_S
        while pasta.poll() is None and time.monotonic() < until:
            with network_of(self._server), suppress(OSError):
                socket.if_nametoindex(self._tap)
                return
            self._wait(0.02)
        raise OSError(f"pasta has not made {self._tap}")

    def _start_lane(self) -> None:
        if self._lane is not None:
            say(f"the TCP lane ended with status {self._lane.returncode}")
        self._lane = None
        self._cut_lifeline()
        limit = min(_hard_limit(), _DESCRIPTORS)
        with ExitStack() as opened:
            self._lifeline, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.enter_context(theirs)
            self._lifeline.setblocking(False)
            self.inform()
            with network_of(self._server):
                sockets = [opened.enter_context(open_queue(self.home.lane))]
                listeners = open_listeners(self.home.lane, far=self._link.far)
                sockets += [opened.enter_context(one) for one in listeners]
            handed = [one.fileno() for one in (theirs, *sockets)]
            # The lane keeps the one capability that its verdicts need: no_new_privs, which the
            # engine has set, holds it to that although it is root.
            argv = ["unshare", "--mount", "sh", "-c", _CLOSED, "sh"]
            argv += ["prlimit", f"--nofile={limit}", "capsh", "--caps=cap_net_admin=ep"]
            argv += ["--shell=/usr/bin/python3", "--", "-m", "macnet.relay.lane"]
            far_buffer = _BUFFER if self._link.far else 0
            argv += map(str, [self.home.lane, self.home.key, far_buffer, limit, *handed])
            with self._home_network(), own_processes():
                self._lane = _start(argv, handed)

    def _cut_lifeline(self) -> None:
        if self._lifeline is not None:
            self._lifeline.close()
        self._lifeline = self._told = None


def lane_ports(lane: int) -> range:
    """The ports of a lane's listeners."""
    first = _FIRST_PORT + _PORTS * lane
    return range(first, first + _PORTS)


def open_listeners(lane: int, *, far: bool = False) -> list[socket.socket]:
    """The lane's listeners in this network namespace: IPv4, and IPv6 where there is one."""
    ports = lane_ports(lane)
    # What is accepted has the listener's buffers. For ``far`` clients the lane makes them smaller
    # then; a window's scale, which the first answer tells, cannot grow later.
    size = MOST if far else _BUFFER
    any4 = "0.0.0.0"  # noqa: S104
    listeners = [_listener(socket.AF_INET, any4, port, size) for port in ports]
    with suppress(OSError):
        listeners += [_listener(socket.AF_INET6, "::", port, size) for port in ports]
    return listeners


def _listener(family: socket.AddressFamily, host: str, port: int, size: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        set_buffers(listener, size)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _start(argv: list[str], handed: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a part, without the token that is in this process's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=handed, env=kept)


def _ip(family: str, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    argv = ["ip", family, "-n", NAME, "-batch", "-"]
    subprocess.run(argv, input=text.encode(), check=True, capture_output=True)


def _any_interface() -> str:
    """An interface here that has an address; raises OSError where there is none."""
    for family in ("-4", "-6"):
        argv = ["ip", family, "-o", "addr", "show", "scope", "global"]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        words = done.stdout.split()
        if done.returncode == 0 and len(words) > 1:
            return words[1]
    raise OSError("there is no interface with an address")


def _hard_limit() -> int:
    """The most descriptors that a process here may ask for."""
    for line in Path("/proc/self/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            hard = line.split()[4]
            return int(hard) if hard.isdigit() else _DESCRIPTORS
    return 1024
