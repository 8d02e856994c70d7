"""Reports on the tunnel; changes nothing and works while the engine is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache

from netaddr import IPNetwork

from macnet.clients.base import Client, ClientState, ClientStatus
from macnet.config import DEFAULT_RELAY_SUBNET, DEFAULT_TUNNEL_SUBNET, Config
from macnet.engine import Container, Engine
from macnet.errors import MacnetError
from macnet.files import read_private
from macnet.helper import Helper, HelperStatus
from macnet.helper.spec import RELAY, SERVER, SERVER_PORT, container_name
from macnet.models import Interface, Route
from macnet.networks import merge_subnets
from macnet.paths import TunnelPaths
from macnet.pki import EXPIRY_WARNING, days_left, read_expiry
from macnet.profile import parse_profile_routes
from macnet.progress import Progress
from macnet.routes import compare_routes
from macnet.state import TunnelState, load_state
from macnet.tunnel.conflicts import select
from macnet.tunnel.facts import Surroundings, list_networks
from macnet.tunnel.results import (
    ClientReport,
    EngineReport,
    HelperReport,
    RemapReport,
    Setting,
    Status,
)


def report_status(
    *,
    engine: Engine | None,
    engine_error: MacnetError | None,
    engine_url: str,
    engine_source: str,
    config: Config,
    paths: TunnelPaths,
    client: Client,
    client_reason: str,
    around: Surroundings,
    progress: Progress,
    settings: Iterable[Setting],
) -> Status:
    """Put together what is known. ``engine`` is None where it could not be reached."""
    helper = Helper(engine, config.name).status() if engine is not None else None
    state = load_state(paths.state, progress)
    profile = read_private(paths.profile)
    subnets = parse_profile_routes(profile.decode(errors="replace")) if profile else ()
    if engine is not None:
        subnets = merge_subnets((*subnets, *Helper(engine, config.name).pushed_routes()))
    now = client.status()
    routes = cache(around.routes)
    missing = _missing_routes(subnets, now, routes)
    expires = read_expiry(paths.pki)
    server = helper.server if helper is not None else None
    published = server.published.get(SERVER_PORT) if server is not None else None
    return Status(
        name=config.name,
        up=helper is not None
        and helper.running
        and now.state is ClientState.CONNECTED
        and not missing,
        engine=EngineReport(
            url=engine_url,
            source=engine_source,
            version=engine.info().version if engine is not None else None,
            error=str(engine_error) if engine_error is not None else None,
        ),
        helpers=_helper_reports(config.name, helper),
        client=ClientReport(
            name=client.name,
            reason=client_reason,
            version=client.version(),
            state=now.state,
            detail=now.detail,
            address=now.address,
            interface=now.interface,
        ),
        port=published[1] if published else state.port,
        tunnel_subnet=state.tunnel_subnet,
        profile=str(paths.profile) if profile is not None else None,
        subnets=subnets,
        remaps=tuple(
            RemapReport(real, seen)
            for real, seen in (*config.remap.pairs, *config.remap.chosen)
            if any(seen in net for net in subnets)
        ),
        missing_routes=missing,
        certificates_expire=expires,
        warnings=(
            *_warnings(expires),
            *_left_out(engine, config, state, around.interfaces, routes),
        ),
        settings=tuple(settings),
    )


def _left_out(
    engine: Engine | None,
    config: Config,
    state: TunnelState,
    interfaces: Callable[[], tuple[Interface, ...]],
    routes: Callable[[], tuple[Route, ...]],
) -> Iterable[str]:
    """The subnets that collide with this host; none where that cannot be told now."""
    if engine is None:
        return
    try:
        selected = select(
            config,
            list_networks(engine),
            interfaces(),
            routes(),
            state.tunnel_subnet or config.tunnel_subnet or DEFAULT_TUNNEL_SUBNET,
            state.relay_subnet or DEFAULT_RELAY_SUBNET,
        )
    except MacnetError as error:
        yield f"the networks cannot be judged: {error}"
        return
    for item in selected:
        for subnet, why in item.left_out:
            yield f"{item.network.name} ({subnet.cidr}) is not routed: it overlaps {why}"


def _helper_reports(name: str, helper: HelperStatus | None) -> tuple[HelperReport, ...]:
    if helper is None:
        return ()

    def report(role: str, found: Container | None) -> HelperReport:
        return HelperReport(
            role=role,
            name=container_name(name, role),
            state=found.status if found is not None else "missing",
            health=found.health if found is not None and found.running else None,
            restarts=found.restarts if found is not None else 0,
        )

    return (report(SERVER, helper.server), report(RELAY, helper.relay))


def _missing_routes(
    subnets: tuple[IPNetwork, ...], client: ClientStatus, routes: Callable[[], tuple[Route, ...]]
) -> tuple[IPNetwork, ...]:
    """The tunnel's routes that don't go out by it now."""
    if client.interface is None:
        return subnets
    try:
        present = compare_routes(subnets, routes(), client.interface).present
    except MacnetError:
        return subnets
    return tuple(net for net in subnets if net not in present)


def _warnings(expires: datetime | None) -> Iterable[str]:
    now = datetime.now(UTC)
    if expires is not None and expires - now < EXPIRY_WARNING:
        days = days_left(expires, now)
        when = f"expire in {days} days" if days >= 0 else "have expired"
        yield f"the certificates {when}: `macnet regenerate --keys` makes new ones"
