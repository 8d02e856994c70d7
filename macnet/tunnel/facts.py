"""Everything the planner needs to know, gathered in one place and in few calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from netaddr import IPNetwork

from macnet import host
from macnet.clients.base import Client, ClientState, ClientStatus
from macnet.engine import Engine, EngineInfo
from macnet.errors import StateError
from macnet.files import read_private
from macnet.helper import Helper, HelperStatus, helper_image_tag
from macnet.models import Interface, Network, PortOwner, Route
from macnet.networks import parse_networks
from macnet.paths import TunnelPaths
from macnet.pki import Pki, load_pki
from macnet.profile import parse_profile_routes
from macnet.progress import Progress
from macnet.routes import list_routes
from macnet.runner import CommandRunner
from macnet.state import TunnelState, load_state


@dataclass(frozen=True, slots=True)
class Surroundings:
    """This machine's side of things; tests bring another one."""

    runner: CommandRunner
    system: str
    interfaces: Callable[[], tuple[Interface, ...]] = host.list_interfaces
    port_owner: Callable[[int], PortOwner | None] = host.find_port_owner

    def routes(self) -> tuple[Route, ...]:
        """The routing table."""
        return list_routes(self.runner, self.system)


@dataclass(frozen=True, slots=True)
class Facts:
    """The engine's side, this machine's side, and what macnet has stored."""

    engine: EngineInfo
    networks: tuple[Network, ...]
    helper: HelperStatus
    image_tag: str
    image_exists: bool
    state: TunnelState
    pki: Pki | None
    profile: str | None
    #: What the running server lets through, and what it pushes; empty without a server.
    allowed: tuple[IPNetwork, ...]
    pushed: tuple[IPNetwork, ...]
    client: ClientStatus
    client_current: bool
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]

    @property
    def profile_routes(self) -> tuple[IPNetwork, ...]:
        """The routes that the written profile carries."""
        return parse_profile_routes(self.profile) if self.profile else ()


def list_networks(engine: Engine) -> tuple[Network, ...]:
    """Every network with its running containers, in two calls."""
    return parse_networks(engine.networks(), engine.containers())


def load_pki_or_none(paths: TunnelPaths) -> Pki | None:
    """The stored certificates; None if absent or damaged (setup sets damaged ones aside)."""
    try:
        return load_pki(paths.pki)
    except StateError:
        return None


def gather_facts(
    *,
    engine: Engine,
    helper: Helper,
    client: Client | None,
    paths: TunnelPaths,
    base_image: str | None,
    around: Surroundings,
    progress: Progress,
    repair: bool,
) -> Facts:
    """Look at everything once. Changes nothing, but with ``repair`` sets a damaged record aside.

    Without a ``client`` none is asked: macOS may hold such a question until a person consents.
    """
    tag = helper_image_tag(base_image)
    state = load_state(paths.state, progress, repair=repair)
    if state.tunnel_subnet is None:
        # The record is lost. By its subnet a tunnel that is up is told from other interfaces.
        state = replace(state, tunnel_subnet=helper.tunnel_subnet())
    profile = read_private(paths.profile)
    return Facts(
        engine=engine.info(),
        networks=list_networks(engine),
        helper=helper.status(),
        image_tag=tag,
        image_exists=engine.find_image(tag) is not None,
        state=state,
        pki=load_pki_or_none(paths),
        profile=None if profile is None else profile.decode(errors="replace"),
        allowed=helper.allowed_subnets(),
        pushed=helper.pushed_routes(),
        client=client.status() if client is not None else ClientStatus(ClientState.UNKNOWN),
        client_current=client is None or client.is_current(paths.profile),
        interfaces=around.interfaces(),
        routes=around.routes(),
    )
