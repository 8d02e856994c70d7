"""Reports on the tunnel; changes nothing and works while the engine is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache

from netaddr import IPNetwork

from macnet.choices import CarrierKind, ClientChoice
from macnet.clients.base import ClientState, ClientStatus
from macnet.engine import Container, Engine
from macnet.errors import MacnetError
from macnet.helper import Helper, HelperStatus, ServerRoutes
from macnet.helper.spec import (
    JOINER,
    LABEL_DONOR,
    LABEL_LANE,
    RELAY,
    SERVER,
    SERVER_PORT,
    client_address,
    container_name,
)
from macnet.host import find_interface
from macnet.models import Route
from macnet.networks import merge_subnets
from macnet.pki import EXPIRY_WARNING, days_left, read_expiry
from macnet.profile import parse_profile_routes
from macnet.routes import compare_routes
from macnet.settings import Resolved
from macnet.state import TunnelState
from macnet.tunnel.conflicts import in_use, left_out, tunnel_interface
from macnet.tunnel.decide import list_selected
from macnet.tunnel.observe import list_networks, read_profile
from macnet.tunnel.results import (
    ClientReport,
    EngineReport,
    HelperReport,
    JoinerReport,
    RemapReport,
    Setting,
    Status,
)
from macnet.tunnel.tunnel import Tunnel


@dataclass(frozen=True, slots=True)
class EngineFound:
    """The engine for a status report, or the error that hides it; where it is, and by what."""

    engine: Engine | None
    url: str
    source: str
    error: MacnetError | None = None


def report_status(tunnel: Tunnel, found: EngineFound) -> Status:
    """Put together what is known."""
    settings, engine, state = tunnel.settings, found.engine, tunnel.state()
    helper = Helper(engine, settings.name) if engine is not None else None
    containers = helper.status() if helper is not None else None
    profile = read_profile(tunnel.paths)
    subnets = parse_profile_routes(profile) if profile else ()
    joiners: tuple[JoinerReport, ...] = ()
    if helper is not None and (server_has := helper.in_effect()) is not None:
        subnets = merge_subnets((*subnets, *server_has.pushed))
        if server_has.lanes or settings.also:
            joiners = _joiner_reports(helper, server_has, engine)
    running = helper if containers and containers.running else None
    client = _client_status(tunnel, running, state)
    routes = cache(tunnel.host.routes)
    missing = _missing_routes(subnets, client, routes)
    expires = read_expiry(tunnel.paths.pki)
    server = containers.server if containers is not None else None
    published = server.published.get(SERVER_PORT) if server is not None else None
    return Status(
        name=settings.name,
        up=running is not None and client.state is ClientState.CONNECTED and not missing,
        engine=EngineReport(
            url=found.url,
            source=found.source,
            version=engine.info().version if engine is not None else None,
            error=str(found.error) if found.error is not None else None,
            hint=found.error.hint if found.error is not None else None,
        ),
        helpers=_helper_reports(settings.name, containers),
        client=ClientReport(
            name=tunnel.client.name,
            reason=tunnel.client_reason,
            version=tunnel.client.version(),
            state=client.state,
            detail=client.detail,
            address=client.address,
            interface=client.interface,
        ),
        port=published[1] if published else state.port,
        tunnel_subnet=state.tunnel_subnet,
        profile=str(tunnel.paths.profile) if profile is not None else None,
        subnets=subnets,
        remaps=tuple(
            RemapReport(real, seen)
            for real, seen in (*settings.remap.pairs, *tunnel.resolved.chosen)
            if any(seen in net for net in subnets)
        ),
        missing_routes=missing,
        certificates_expire=expires,
        warnings=(
            *_expiry_warnings(expires),
            *_exposed(state),
            *_left_out(engine, tunnel, state, routes),
        ),
        settings=tuple(_settings(tunnel.resolved)),
        names=state.names,
        way=state.way,
        lane=running.lane() if running is not None else None,
        joiners=joiners,
    )


def _joiner_reports(
    helper: Helper, has: ServerRoutes, engine: Engine | None
) -> tuple[JoinerReport, ...]:
    """One for each joiner, and for each lane of the server's that has none."""
    present = {one.labels.get(LABEL_LANE, ""): one for one in helper.joiners()}
    lanes = {str(lane): lane for _, lane in has.lanes}
    attached = helper.attached_lanes(lanes.values())

    def report(lane: str) -> JoinerReport:
        found = present.get(lane)
        donor = found.labels.get(LABEL_DONOR, "") if found is not None else ""
        lender = engine.find_container(donor) if engine is not None and donor else None
        return JoinerReport(
            name=container_name(helper.name, f"{JOINER}-{lane}"),
            donor=lender.name if lender is not None else "a container that is gone",
            subnets=tuple(net for net, number in has.lanes if str(number) == lane),
            state=found.status if found is not None else "missing",
            attached=lane in lanes and lanes[lane] in attached,
        )

    return tuple(
        report(lane) for lane in sorted({*present, *lanes}, key=lambda one: (len(one), one))
    )


def _client_status(tunnel: Tunnel, helper: Helper | None, state: TunnelState) -> ClientStatus:
    """What the client says; for a client of the user's own, what the server and this host say."""
    now = tunnel.client.status()
    if tunnel.settings.client is not ClientChoice.NONE or state.tunnel_subnet is None:
        return now
    address = client_address(state.tunnel_subnet)
    interface = find_interface(address, tunnel.host.interfaces())
    try:
        served = helper is not None and bool(helper.clients())
    except MacnetError:
        return now
    if not served or interface is None:
        return ClientStatus(ClientState.DISCONNECTED, now.detail)
    return ClientStatus(ClientState.CONNECTED, now.detail, address, interface, current=now.current)


def _left_out(
    engine: Engine | None,
    tunnel: Tunnel,
    state: TunnelState,
    routes: Callable[[], tuple[Route, ...]],
) -> Iterable[str]:
    """The subnets that collide with this host; none where that cannot be told now."""
    if engine is None:
        return
    chosen = tunnel.resolved.chosen
    try:
        networks = list_networks(engine, Helper(engine, tunnel.settings.name), tunnel.settings.also)
        interfaces, table = tunnel.host.interfaces(), routes()
        selected = list_selected(
            tunnel.settings,
            state,
            networks,
            interfaces,
            table,
            chosen=chosen,
            orbstack=engine.address.orbstack,
        )
        own = tunnel_interface(state, networks, interfaces, table, (seen for _, seen in chosen))
        ours = (state.tunnel_subnet, state.relay_subnet)
        yield from left_out(
            selected,
            in_use(networks, selected, interfaces, table, own, ours),
            tunnel.settings.remap,
        )
    except MacnetError as error:
        yield f"macnet cannot judge the networks: {error}"


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


def _expiry_warnings(expires: datetime | None) -> Iterable[str]:
    now = datetime.now(UTC)
    if expires is not None and expires - now < EXPIRY_WARNING:
        days = days_left(expires, now)
        when = f"expire in {days} day{'' if days == 1 else 's'}" if days >= 0 else "have expired"
        yield f"the certificates {when}: `macnet regenerate --keys` makes new ones"


def _exposed(state: TunnelState) -> Iterable[str]:
    """A port that more than this machine reaches."""
    if state.way is not None and state.way.kind is CarrierKind.DIRECT:
        yield (
            f"port {state.port} of {state.way.machine} is open on {state.way.publish}: only the "
            "tunnel's keys keep others out (SECURITY.md); `macnet down` closes it"
        )


def _settings(resolved: Resolved) -> Iterator[Setting]:
    """Every setting with its source."""
    for item in fields(resolved.settings):
        if item.name != "name":
            value = getattr(resolved.settings, item.name)
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value or "")
            yield Setting(item.name, text, resolved.sources.get(item.name, "default"))
