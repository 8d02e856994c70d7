"""What the tunnel's commands return; the command line makes text or JSON of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from netaddr import IPAddress, IPNetwork

from macnet.networks import Selected


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
class SetupResult:
    """What setup or regenerate has done, and what can be reached now.

    ``verified`` is the address that answered through the tunnel, None where nothing was tried
    (no network to route, or the client is the user's own). ``new_profile``: a client has to
    take the profile again.
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


@dataclass(frozen=True, slots=True)
class FollowResult:
    """What one look of `macnet watch` found and did.

    ``stale`` are routes of the profile whose network is gone: the server refuses them, and
    `macnet regenerate` takes them out of the profile. ``repaired`` are containers made anew.
    """

    set_up: bool
    routes: RouteChanges
    stale: tuple[IPNetwork, ...] = ()
    repaired: tuple[str, ...] = ()
    networks: tuple[Selected, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HelperReport:
    """One helper container in words: ``state`` is the engine's, or "missing"."""

    role: str
    name: str
    state: str
    health: str | None
    restarts: int


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
    """The engine: where it is, what decided that, and why it is not there if it isn't."""

    url: str
    source: str
    version: str | None
    error: str | None


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


@dataclass(frozen=True, slots=True)
class DownResult:
    """What `down` has removed."""

    disconnected: bool
    containers: tuple[str, ...]
    images: int
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
