"""Facts about this machine: its interfaces, its processes, who holds a port.

The only module that imports psutil, and only inside functions: the command line's help must
not wait for it.
"""

from __future__ import annotations

import errno
import os
import platform
import pwd
import socket
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from netaddr import IPAddress, IPNetwork

from macnet.errors import HostFailed
from macnet.models import Interface, PortOwner

if TYPE_CHECKING:
    import psutil

#: A listener on one of these answers at 127.0.0.1 (``::`` is usually dual-stack).
_LOCAL_LISTENERS = ("127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1")  # noqa: S104

#: How a system says that an interface went away while it was listed: macOS, as at sleep; Linux.
_GONE = (errno.ENXIO, errno.ENODEV)
#: How often the interfaces are listed until none goes away meanwhile, and seconds between.
_LISTINGS, _PAUSE_S = 5, 0.1


def system() -> str:
    """This operating system: ``macos``, ``linux`` or another lower-case name."""
    name = platform.system().lower()
    return "macos" if name == "darwin" else name


def is_root() -> bool:
    """Whether this process has administrator rights."""
    return os.geteuid() == 0


def user_name() -> str:
    """The user that this process runs as; environment variables like LOGNAME do not count."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def list_interfaces() -> tuple[Interface, ...]:
    """Every network interface, in the system's order, with its IPv4 and IPv6 addresses.

    Raises `HostFailed` where the system does not tell.
    """
    for left in reversed(range(_LISTINGS)):
        try:
            return _list_interfaces()
        except OSError as error:
            if left == 0 or error.errno not in _GONE:
                raise HostFailed(
                    f"cannot list the interfaces of this host: {error.strerror or error}",
                    hint="try again; if that does not help, restart this machine",
                ) from error
        time.sleep(_PAUSE_S)
    raise AssertionError("the last listing returns or raises")


def _list_interfaces() -> tuple[Interface, ...]:
    import psutil

    stats = psutil.net_if_stats()
    found = []
    for name, rows in psutil.net_if_addrs().items():
        state = stats.get(name)
        addresses = [
            _host_network(row.address, row.netmask)
            for row in rows
            if row.family in (socket.AF_INET, socket.AF_INET6)
        ]
        found.append(
            Interface(
                name=name,
                addresses=tuple(addresses),
                up=bool(state and state.isup),
            )
        )
    return tuple(found)


def find_interface(address: IPAddress, interfaces: Iterable[Interface]) -> str | None:
    """The name of the interface that holds ``address`` itself, or None."""
    for interface in interfaces:
        if any(held.ip == address for held in interface.addresses):
            return interface.name
    return None


def find_port_owner(port: int) -> PortOwner | None:
    """Who listens on TCP ``port`` where 127.0.0.1 reaches it; None if the port is free.

    macOS lets only root list every connection. Everybody else may look into the own processes,
    and whether the port is taken at all shows when one tries to bind it.
    """
    pids = list(_listening_pids(port))
    if known := [pid for pid in pids if pid is not None]:
        return PortOwner(port, known[0], process_name(known[0]))
    if pids or _is_bound(port):
        return PortOwner(port)
    return None


def process_name(pid: int) -> str | None:
    """The name of a process; None if it has ended or this user may not see it."""
    import psutil

    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return None


def is_process_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        # It exists, and only its owner may see more.
        return True
    except psutil.Error:
        return False


def _host_network(address: str, netmask: str | None) -> IPNetwork:
    """An address with its prefix; IPv6 comes with a zone (``fe80::1%en0``), which is dropped."""
    ip = IPAddress(address.partition("%")[0])
    full = 32 if ip.version == 4 else 128
    prefix = IPAddress(netmask.partition("%")[0]).netmask_bits() if netmask else full
    return IPNetwork(f"{ip}/{prefix}")


def _listening_pids(port: int) -> Iterator[int | None]:
    """The pids of local listeners on ``port``; None for one whose process is hidden."""
    import psutil

    try:
        for row in psutil.net_connections(kind="tcp"):
            if _listens(row, port):
                yield row.pid
    except psutil.AccessDenied:
        for process in psutil.process_iter():
            if any(_listens(row, port) for row in _connections_of(process)):
                yield process.pid


def _listens(row: psutil._ntuples.sconn | psutil._ntuples.pconn, port: int) -> bool:
    """Whether a connection is a listener on ``port`` that 127.0.0.1 reaches."""
    return bool(
        row.status == "LISTEN"
        and row.laddr
        and row.laddr.port == port
        and row.laddr.ip in _LOCAL_LISTENERS
    )


def _connections_of(process: psutil.Process) -> list[psutil._ntuples.pconn]:
    """The TCP connections of one process, none where this user may not look."""
    import psutil

    try:
        return process.net_connections(kind="tcp")
    except psutil.Error:
        return []


def _is_bound(port: int) -> bool:
    """Whether binding ``port`` fails because somebody holds it.

    SO_REUSEADDR lets connections in TIME_WAIT pass, but on BSD systems also a wildcard
    listener beside a specific address. Hence each address is tried for itself.
    """
    for family, address in (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),  # noqa: S104
        (socket.AF_INET6, "::"),
    ):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            # No IPv6 here, or a port below 1024: that says nothing about an owner.
            if error.errno == errno.EADDRINUSE:
                return True
    return False
