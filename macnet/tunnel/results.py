"""What the tunnel's commands return; the command line makes text or JSON of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from netaddr import IPAddress, IPNetwork

from macnet.helper import LaneKind
from macnet.networks import Selected
from macnet.state import NamesChoice, Way


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """How the set of routed subnets differs from before."""

    added: tuple[IPNetwork, ...]
    removed: tuple[IPNetwork, ...]
    kept: tuple[IPNetwork, ...]

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed)


def diff_routes(before: tuple[IPNetwork, ...], after: tuple[IPNetwork, ...]) -> RouteChanges:
    """Compare two sets of subnets, keeping their order."""
    return RouteChanges(
        added=tuple(net for net in after if net not in before),
        removed=tuple(net for net in before if net not in after),
        kept=tuple(net for net in after if net in before),
    )


@dataclass(frozen=True, slots=True)
class NamesPlan:
    """What switching names on would do; ``command`` is what root would run, None for nothing."""

    domain: str
    port: int
    cluster: str | None
    changes: bool
    command: str | None


@dataclass(frozen=True, slots=True)
class NamesSwitch:
    """What switching names on or off did; ``steps`` are left to the user.

    ``cluster`` is the cluster whose own domain is answered too.
    """

    changed: bool
    on: bool
    domain: str | None
    port: int | None
    cluster: str | None = None
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JoinedReport:
    """A joiner that was made: the container whose network it has joined, and what is there."""

    name: str
    donor: str
    subnets: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class SetupResult:
    """What setup, regenerate or a look of watch has done, and what can be reached now.

    ``verified`` is the address that answered through the tunnel, None where nothing was tried
    (no IPv4 network to route, the client is the user's own, or watch). ``new_profile``: a client
    has to take the profile again. ``remembered`` are options of earlier setups that count here.
    ``repaired`` are containers made anew, ``joined`` joiners made now, ``stale`` routes of a kept
    profile whose network is gone: the server refuses them until `macnet regenerate` takes them
    out. ``names`` tells what ``--names`` did, None without it.
    """

    changed: bool
    port: int
    tunnel_subnet: IPNetwork
    client: str
    client_reason: str
    profile: str
    networks: tuple[Selected, ...]
    routes: RouteChanges
    verified: str | None
    warnings: tuple[str, ...]
    already_reachable: str | None = None
    new_profile: bool = False
    remembered: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    joined: tuple[JoinedReport, ...] = ()
    stale: tuple[IPNetwork, ...] = ()
    names: NamesSwitch | None = None


@dataclass(frozen=True, slots=True)
class HelperReport:
    """One helper container in words: ``state`` is the engine's, or "missing"."""

    role: str
    name: str
    state: str
    health: str | None
    restarts: int


@dataclass(frozen=True, slots=True)
class JoinerReport:
    """One joiner in words: whose network it has joined, what is reached there, and its state.

    ``attached`` tells whether the relay has its lane there.
    """

    name: str
    donor: str
    subnets: tuple[IPNetwork, ...]
    state: str
    attached: bool


@dataclass(frozen=True, slots=True)
class ClientReport:
    """The VPN client in words."""

    name: str
    reason: str
    version: str | None
    state: str
    detail: str
    address: IPAddress | None
    interface: str | None


@dataclass(frozen=True, slots=True)
class EngineReport:
    """The engine: where it is, what decided that, and why it is not there if it isn't.

    ``hint`` is what to do about that.
    """

    url: str
    source: str
    version: str | None
    error: str | None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting with the place that it comes from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class RemapReport:
    """A Docker subnet, and the one under which this machine reaches it."""

    subnet: IPNetwork
    seen: IPNetwork


@dataclass(frozen=True, slots=True)
class Status:
    """The tunnel as it is now. It is ``up`` when traffic can pass to every routed subnet."""

    name: str
    up: bool
    engine: EngineReport
    helpers: tuple[HelperReport, ...]
    client: ClientReport
    port: int | None
    tunnel_subnet: IPNetwork | None
    profile: str | None
    subnets: tuple[IPNetwork, ...]
    remaps: tuple[RemapReport, ...]
    missing_routes: tuple[IPNetwork, ...]
    certificates_expire: datetime | None
    warnings: tuple[str, ...]
    settings: tuple[Setting, ...]
    names: NamesChoice | None = None
    #: How another machine's engine is reached; None for an engine of this one.
    way: Way | None = None
    #: What carries TCP, by what the engine's kernel has; None while that is not known.
    lane: LaneKind | None = None
    joiners: tuple[JoinerReport, ...] = ()


@dataclass(frozen=True, slots=True)
class DownResult:
    """What `down` has removed; ``names`` were on and are off now."""

    disconnected: bool
    containers: tuple[str, ...]
    images: int
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    names: bool = False
