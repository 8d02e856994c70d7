"""Frozen values that several layers share. They hold facts and decide nothing."""

from __future__ import annotations

from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port that a container exposes: number and ``tcp``, ``udp`` or ``sctp``."""

    number: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Subnet:
    """One address range of a Docker network; the gateway is the bridge's own address.

    ``seen`` is the range of the same size under which this host reaches it (a remap), None
    where it is reached under its own addresses.
    """

    cidr: IPNetwork
    gateway: IPAddress | None = None
    seen: IPNetwork | None = None

    @property
    def route(self) -> IPNetwork:
        """The range that this host routes into the tunnel."""
        return self.seen or self.cidr

    def seen_at(self, address: IPAddress) -> IPAddress:
        """Under which address this host reaches ``address`` of this subnet."""
        if self.seen is None:
            return address
        return IPAddress(self.seen.first + (int(address) - self.cidr.first), address.version)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running container on one network."""

    container: str
    container_id: str
    network: str
    addresses: tuple[IPAddress, ...]
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """A Docker network with its subnets and the running containers on it.

    ``isolated`` is the bridge option ``gateway_mode=isolated`` (engine 28.0 and later): the
    bridge has no address on the engine, so the engine itself cannot reach its containers.
    """

    id: str
    name: str
    driver: str
    scope: str
    internal: bool
    subnets: tuple[Subnet, ...]
    endpoints: tuple[Endpoint, ...] = ()
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this host with its addresses as networks (10.0.0.5/24)."""

    name: str
    addresses: tuple[IPNetwork, ...]
    up: bool = True
    point_to_point: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the host's routing table.

    ``scoped`` is macOS's interface-scoped row (flag ``I``), which ordinary sockets don't use.
    """

    destination: IPNetwork
    interface: str
    gateway: IPAddress | None = None
    scoped: bool = False


@dataclass(frozen=True, slots=True)
class PortOwner:
    """Who listens on a port: the name and pid, None where this user may not see them."""

    port: int
    pid: int | None = None
    name: str | None = None
