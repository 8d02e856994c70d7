"""Frozen values that several layers share. They hold facts and decide nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
    """One address range of a Docker network.

    ``gateway`` is the bridge's own address, None where the engine does not report it.
    ``seen`` is the range of the same size under which this host reaches it (a remap), None
    where it is reached under its own addresses. In an ``isolated`` one the bridge has no
    address on the engine, so the engine itself cannot reach it.
    """

    cidr: IPNetwork
    gateway: IPAddress | None = None
    seen: IPNetwork | None = None
    isolated: bool = False

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
    """A running container on one network; ``own`` is one of macnet's helper.

    ``names`` are its names on this network, the shortest first, where they were asked for and
    `macnet names` is on. ``cluster`` is the Kubernetes cluster to whose control plane it
    belongs, ``node`` the swarm's node where it runs, where that is another engine's.
    """

    container: str
    container_id: str
    network: str
    addresses: tuple[IPAddress, ...]
    ports: tuple[Port, ...] = ()
    own: bool = False
    names: tuple[str, ...] = ()
    cluster: str | None = None
    node: str | None = None


class ReachKind(StrEnum):
    """What is reached beyond the bridges of the engine: ranges, a cluster, a swarm's network."""

    CIDR = "cidr"
    CLUSTER = "cluster"
    OVERLAY = "overlay"


@dataclass(frozen=True, slots=True)
class Donor:
    """A running container that lends its network namespace to a lane.

    ``started`` is the engine's ``State.StartedAt``: after a restart the namespace is another one.
    """

    container_id: str
    container: str
    started: str


@dataclass(frozen=True, slots=True)
class Further:
    """Something that ``--also`` reaches beyond the engine's bridges.

    ``name`` is the range as text, a cluster's or an overlay network's name. It is routed
    unless ``reason`` says why not. ``donor`` is the container through which it is reached; None
    where the engine's own host has the route. ``dns`` and ``domain`` are a cluster's resolver
    and the domain for which it answers, ``source`` says where its subnets were read.
    """

    name: str
    kind: ReachKind
    subnets: tuple[IPNetwork, ...]
    donor: Donor | None = None
    reason: str = ""
    dns: IPAddress | None = None
    domain: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """A Docker network with its subnets and the running containers on it.

    ``isolated`` where all of its subnets are: by the bridge options ``gateway_mode=isolated``
    (engine 28.0 and later) or ``inhibit_ipv4``. ``config_only`` networks hold settings for
    others and no containers, ``own`` is one that macnet made for its server. ``bridge`` is the
    name of the bridge's interface on the engine. ``ingress`` is a swarm's routing mesh, whatever
    its name. ``further`` is there where ``--also`` asks for it: then it need not be a network of
    Docker's.
    """

    id: str
    name: str
    driver: str
    scope: str
    internal: bool
    subnets: tuple[Subnet, ...]
    endpoints: tuple[Endpoint, ...] = ()
    isolated: bool = False
    config_only: bool = False
    own: bool = False
    bridge: str | None = None
    ingress: bool = False
    further: Further | None = None

    @property
    def user_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that are not the helper's."""
        return tuple(endpoint for endpoint in self.endpoints if not endpoint.own)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this host with its addresses as networks (10.0.0.5/24)."""

    name: str
    addresses: tuple[IPNetwork, ...]
    up: bool = True


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
