from __future__ import annotations

import errno
import os
import platform
import pwd
import socket
import subprocess  # noqa: TID251
import sys
from typing import NoReturn

import psutil  # noqa: TID251
import pytest
from netaddr import IPAddress, IPNetwork

from macnet import host
from macnet.errors import HostFailed
from macnet.models import Interface, PortOwner

#: Larger than any pid that Linux or macOS give.
NO_PID = 2**22 + 1
LOCAL = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104


def listen(address: str = "127.0.0.1") -> tuple[socket.socket, int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.create_server((address, 0), family=family, dualstack_ipv6=address == "::")
    return server, server.getsockname()[1]


@pytest.mark.parametrize(
    ("name", "expected"), [("Darwin", "macos"), ("Linux", "linux"), ("FreeBSD", "freebsd")]
)
def test_system(name: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: name)
    assert host.system() == expected


def test_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    assert not host.is_root()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert host.is_root()


def test_import_does_not_load_psutil() -> None:
    code = "import sys, macnet.host; sys.exit('psutil' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loopback_is_listed() -> None:
    interfaces = host.list_interfaces()
    assert host.find_interface(IPAddress("127.0.0.1"), interfaces) in {"lo", "lo0"}
    [loopback] = [found for found in interfaces if found.name in {"lo", "lo0"}]
    assert loopback.up
    assert IPNetwork("127.0.0.1/8") in loopback.addresses


def test_list_interfaces_as_macos_reports_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def address(
        family: socket.AddressFamily, text: str, mask: str | None, ptp: str | None = None
    ) -> psutil._ntuples.snicaddr:
        return psutil._ntuples.snicaddr(family, text, mask, None, ptp)

    def stats(flags: str, *, up: bool = True) -> psutil._ntuples.snicstats:
        return psutil._ntuples.snicstats(up, psutil.NIC_DUPLEX_UNKNOWN, 0, 1500, flags)

    addresses = {
        "en0": [
            address(socket.AF_INET, "192.168.1.5", "255.255.255.0"),
            address(socket.AF_UNIX, "a4:83:e7:00:00:01", None),
            address(socket.AF_INET6, "fe80::1c2b%en0", "ffff:ffff:ffff:ffff::"),
        ],
        "utun4": [address(socket.AF_INET, "10.8.0.2", None, "10.8.0.2")],
        "utun5": [address(socket.AF_INET, "10.9.0.2", None, "10.9.0.1")],
        "gif0": [],
        "en9": [],
    }
    known = {
        "en0": stats("up,broadcast,running"),
        "utun4": stats("up,pointopoint,running"),
        "utun5": stats("up,running"),
        "gif0": stats("pointopoint", up=False),
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: addresses)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: known)
    assert host.list_interfaces() == (
        Interface("en0", (IPNetwork("192.168.1.5/24"), IPNetwork("fe80::1c2b/64"))),
        Interface("utun4", (IPNetwork("10.8.0.2/32"),)),
        Interface("utun5", (IPNetwork("10.9.0.2/32"),)),
        Interface("gif0", (), up=False),
        Interface("en9", (), up=False),
    )


@pytest.mark.parametrize("number", [errno.ENXIO, errno.ENODEV])
def test_an_interface_that_goes_away_while_it_is_listed(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As psutil does on a Mac whose VPN ends: the name is in the list, and its ioctl fails."""
    answers = [OSError(number, "Device not configured"), {}]

    def stats() -> object:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(psutil, "net_if_stats", stats)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"gif0": []})
    monkeypatch.setattr(host, "_PAUSE_S", 0)
    assert host.list_interfaces() == (Interface("gif0", (), up=False),)


@pytest.mark.parametrize(("number", "times"), [(errno.ENXIO, 5), (errno.EPERM, 1)])
def test_interfaces_that_cannot_be_listed_are_an_error_of_ours(
    number: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def stats() -> NoReturn:
        asked.append(number)
        raise OSError(number, "Device not configured")

    monkeypatch.setattr(psutil, "net_if_stats", stats)
    monkeypatch.setattr(host, "_PAUSE_S", 0)
    with pytest.raises(HostFailed, match="interfaces of this host: Device not configured"):
        host.list_interfaces()
    assert len(asked) == times


def test_find_interface_takes_the_address_not_its_network() -> None:
    interfaces = [Interface("en0", (IPNetwork("192.168.1.5/24"),))]
    assert host.find_interface(IPAddress("192.168.1.5"), interfaces) == "en0"
    assert host.find_interface(IPAddress("192.168.1.6"), interfaces) is None


@pytest.mark.parametrize("address", LOCAL)
def test_find_port_owner(address: str) -> None:
    server, port = listen(address)
    with server:
        owner = host.find_port_owner(port)
        assert owner == PortOwner(port, os.getpid(), psutil.Process().name())
    assert host.find_port_owner(port) is None


def refuse(*_: object, **__: object) -> NoReturn:
    raise psutil.AccessDenied


def test_find_port_owner_where_only_root_may_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_connections", refuse)
    monkeypatch.setattr(psutil, "process_iter", lambda: [psutil.Process()])
    server, port = listen()
    with server:
        owner = host.find_port_owner(port)
        assert owner and owner.pid == os.getpid()


@pytest.mark.parametrize("address", LOCAL)
def test_find_port_owner_of_a_stranger(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_connections", refuse)
    monkeypatch.setattr(psutil.Process, "net_connections", refuse)
    monkeypatch.setattr(psutil, "process_iter", lambda: [psutil.Process()])
    server, port = listen(address)
    with server:
        assert host.find_port_owner(port) == PortOwner(port)
    assert host.find_port_owner(port) is None


def test_a_port_in_time_wait_is_free() -> None:
    server, port = listen()
    with server, socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        # The side that closes first keeps the port in TIME_WAIT.
        accepted.close()
        client.recv(1)
    assert host.find_port_owner(port) is None


def test_processes() -> None:
    assert host.process_name(os.getpid()) == psutil.Process().name()
    assert host.process_name(NO_PID) is None
    assert host.is_process_alive(os.getpid())
    assert not host.is_process_alive(NO_PID)


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not host.is_process_alive(child.pid)
    finally:
        child.wait()


def test_a_hidden_process_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "status", refuse)
    assert host.is_process_alive(os.getpid())


def test_the_user_is_not_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")
    assert host.user_name() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert host.user_name() == str(2**31 - 7)
