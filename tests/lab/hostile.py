"""What other programs do to a Mac's network: each a context manager that adds it and removes it.

Interfaces are real tun devices, and what is sent to them vanishes, as in a VPN that does not know
Docker's addresses. Names, routes and addresses are as `netstat -rn` shows them on Macs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from .errors import LabError
from .lab import Lab
from .process import DEVNULL, run, wait_until

COMPANY_RANGES = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
DEFAULT_ROUTE_IN_PIECES = (
    *("1.0.0.0/8", "2.0.0.0/7", "4.0.0.0/6", "8.0.0.0/5"),
    *("16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/2", "128.0.0.0/1"),
)


@contextmanager
def tailscale(lab: Lab) -> Iterator[str]:
    """Tailscale: the whole of 100.64.0.0/10, and its resolver; the interface's name."""
    routes = ("100.64.0.0/10", "100.100.100.100/32")
    with _tun(lab, "utun8", ("100.101.102.103/32",), routes) as name:
        yield name


@contextmanager
def company_vpn(lab: Lab, *ranges: str) -> Iterator[str]:
    """A split tunnel to a company's networks: some or all of the private ranges."""
    gateway = "10.8.1.1"
    routes = [f"{net} via {gateway}" for net in ranges or COMPANY_RANGES]
    with _tun(lab, "utun4", (f"10.8.1.7 peer {gateway}",), routes) as name:
        yield name


@contextmanager
def tun_proxy(lab: Lab) -> Iterator[str]:
    """A proxy that takes all traffic, by the default route in eight pieces."""
    with _tun(lab, "utun2", ("198.18.0.1/30",), DEFAULT_ROUTE_IN_PIECES) as name:
        yield name


@contextmanager
def foreign_openvpn(lab: Lab) -> Iterator[str]:
    """Somebody's OpenVPN of the classic recipe's subnet, with the address macnet's client gets."""
    with _tun(lab, "utun4", ("192.168.255.2/24",), ()) as name:
        yield name


@contextmanager
def vm_bridge(lab: Lab) -> Iterator[str]:
    """The bridge of another program's virtual machine: macOS numbers those from 192.168.64.1."""
    with _wire(lab, "bridge100", None, "bridge100p") as name:
        lab.run(["ip", "addr", "add", "192.168.64.1/24", "dev", name])
        yield name


@contextmanager
def office(lab: Lab, *hosts: str) -> Iterator[str]:
    """A network with a default route, behind which hosts of these addresses answer."""
    netns = f"{lab.name}-office"
    run(["ip", "netns", "delete", netns], check=False)
    run(["ip", "netns", "add", netns])
    try:
        with _wire(lab, "en0", netns, "en0p") as name:
            for address in ("203.0.113.1/24", *(f"{host}/32" for host in hosts)):
                run(["ip", "-n", netns, "addr", "add", address, "dev", "en0p"])
            lab.run(["ip", "addr", "add", "203.0.113.7/24", "dev", name])
            lab.run(["ip", "route", "add", "default", "via", "203.0.113.1"])
            yield name
    finally:
        run(["ip", "netns", "delete", netns])


@contextmanager
def orbstack(lab: Lab, *networks: str) -> Iterator[tuple[str, ...]]:
    """OrbStack's own way to containers: for each Docker network a bridge on the Mac.

    The Mac's address on it is not Docker's gateway but another one, and containers answer
    there without any tunnel. Returns the names of the bridges.
    """
    with ExitStack() as stack:
        names = []
        for number, network in enumerate(networks):
            name = f"bridge{100 + number}"
            netns = lab.engine.vm.paths.netns
            stack.enter_context(_wire(lab, name, netns, f"{name}p"))
            bridge = _bridge(lab, network)
            run(["ip", "-n", netns, "link", "set", f"{name}p", "master", bridge])
            for config in lab.engine.get(f"/networks/{network}")["IPAM"]["Config"]:
                first, _, prefix = config["Subnet"].partition("/")
                six = ":" in first
                address = f"{first}fd" if six else f"{first.rpartition('.')[0]}.253"
                words = ["ip", "addr", "add", f"{address}/{prefix}", "dev", name]
                lab.run([*words, "nodad"] if six else words)
            names.append(name)
        yield tuple(names)


def _bridge(lab: Lab, network: str) -> str:
    """The name in the VM of a Docker network's bridge."""
    found = lab.engine.get(f"/networks/{network}")
    named = (found["Options"] or {}).get("com.docker.network.bridge.name")
    return str(named or f"br-{found['Id'][:12]}")


@contextmanager
def _tun(lab: Lab, name: str, addresses: Sequence[str], routes: Sequence[str]) -> Iterator[str]:
    """A tun device held open by a process that swallows all packets."""
    words = ["socat", "-u", f"TUN,tun-name={name},tun-type=tun,iff-no-pi,up", "OPEN:/dev/null"]
    holder = lab.popen(words, stdout=DEVNULL, stderr=DEVNULL)
    try:
        if not wait_until(lambda: "LOWER_UP" in _link(lab, name), 10):
            raise LabError(f"{name} did not come up on the Mac side", "is /dev/net/tun there?")
        for address in addresses:
            lab.run(["ip", "addr", "add", *address.split(), "dev", name])
        for route in routes:
            lab.run(["ip", "route", "add", *route.split(), "dev", name])
        yield name
    finally:
        holder.kill()
        holder.wait(10)
        wait_until(lambda: not _link(lab, name), 10)


@contextmanager
def _wire(lab: Lab, name: str, netns: str | None, peer: str) -> Iterator[str]:
    """An interface of the Mac whose other end is in another namespace, or in the Mac's own."""
    mac = lab.paths.mac_netns
    link = ["ip", "link", "add", name, "netns", mac, "type", "veth"]
    run([*link, "peer", "name", peer, "netns", netns or mac])
    try:
        run(["ip", "-n", netns or mac, "link", "set", peer, "up"])
        lab.run(["ip", "link", "set", name, "up"])
        yield name
    finally:
        lab.run(["ip", "link", "delete", name])


def _link(lab: Lab, name: str) -> str:
    """What the Mac side says of an interface; nothing if there is none."""
    return lab.run(["ip", "link", "show", "dev", name], check=False).stdout
