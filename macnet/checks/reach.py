"""Checks hop by hop towards the containers: routes, server, bridges, containers, their ports.

Only TCP ports are tried. A UDP port says nothing by its silence: services answer only what
they understand.
"""

from __future__ import annotations

from netaddr import IPAddress

from macnet.checks.base import Check, Finding, Outcome, fail, ok, skip
from macnet.checks.context import Context
from macnet.checks.lanes import ROUTES_CHECK, Lane, Spot
from macnet.helper.spec import RELAY, container_name
from macnet.probe import TcpOutcome, TcpResult

_RECONNECT = "`macnet disconnect`, then `macnet connect`"
_GATEWAY_CHECK, _PING_CHECK = "reach.gateway", "reach.ping"


def _routes(context: Context) -> list[Finding]:
    diff, own = context.route_diff, context.interface
    asked = {lane.subnet.route: lane.label for lane in context.lanes_in_use}
    found = []
    present = [net for net in diff.present if net in asked]
    if present:
        found.append(ok(f"{len(present)} subnets leave by {own}"))
    for net in diff.missing:
        if net in asked:
            found.append(fail(f"no route by {own}", _RECONNECT, subject=asked[net]))
    for net, route in diff.foreign:
        if net not in asked:
            continue
        evidence = f"{route.interface} takes it (route {route.destination})"
        fix = (
            f"disconnect the VPN of {route.interface}, or give the Docker network another "
            "--subnet; then `macnet regenerate`"
        )
        found.append(fail(evidence, fix, subject=asked[net]))
    return found or [_nothing_left(context)]


def _nothing_left(context: Context) -> Finding:
    """A skip, with the check that took every subnet out, if one did."""
    cause = next((lane.blocked for lane in context.lanes_in_use if lane.blocked), None)
    return skip(f"not tried: {cause}" if cause else "no network is routed", cause=cause)


def _server(context: Context) -> Finding:
    subnet = context.tunnel_subnet
    address = IPAddress(subnet.first + 1, subnet.version)
    (answer,) = context.prober.ping_all([address], timeout_s=context.timeout_s)
    if answer.ok:
        return ok(f"{address} answers{_ms(answer.rtt_ms)}")
    return fail(f"{address}: {answer.error}", _RECONNECT)


def _targets(context: Context) -> list[Finding]:
    spots, gaps = context.spots, context.gaps
    found = []
    if spots:
        named = {spot.container for spot in spots if spot.container}
        found.append(ok(f"{len(spots)} addresses of {len(named)} containers to reach"))
    for gap in gaps:
        found.append(
            fail(gap.reason, gap.fix, subject=gap.subject)
            if gap.fix
            else skip(gap.reason, subject=gap.subject)
        )
    # Nothing to reach is no fault, and the bridges can be tried all the same.
    return (
        found
        if spots or any(gap.fix for gap in gaps)
        else [ok("no container runs on a routed network"), *found]
    )


def _gateways(context: Context) -> list[Finding]:
    lanes = [lane for lane in context.lanes_in_use if not lane.blocked]
    if not lanes:
        return [_nothing_left(context)]
    dead = [lane for lane in lanes if not _answers_itself(context, lane)]
    silent = [lane for lane in dead if not _someone_lives(context, lane)]
    if len(silent) == len(lanes):
        first = lanes[0].gateway
        relay = container_name(context.tunnel.config.name, RELAY)
        return [
            fail(
                f"none of {len(lanes)} bridges answers; {first}: "
                f"{context.answers.pings[first].error}",
                f"`docker restart {relay}`; `macnet logs relay` shows what it said",
            )
        ]
    found = []
    for lane in lanes:
        gateway = lane.gateway
        answer = context.answers.pings[gateway]
        if lane in silent:
            fix = f"`docker network inspect {lane.network.name}` tells whether it is in use"
            found.append(fail(f"{gateway}: {answer.error}", fix, subject=lane.label))
        elif lane in dead:
            evidence = f"the bridge {gateway} is silent, but containers behind it answer"
            found.append(ok(evidence, subject=lane.label))
        else:
            found.append(ok(f"{gateway} answers{_ms(answer.rtt_ms)}", subject=lane.label))
    return found


def _answers_itself(context: Context, lane: Lane) -> bool:
    return context.answers.pings[lane.gateway].ok


def _someone_lives(context: Context, lane: Lane) -> bool:
    return any(spot.lane == lane and context.answers.lives(spot) for spot in context.spots)


def _barred(context: Context, spot: Spot) -> str | None:
    """The check whose failure explains that the spot cannot be reached."""
    lane = spot.lane
    if lane.blocked:
        return lane.blocked
    dead = not _answers_itself(context, lane) and not _someone_lives(context, lane)
    return _GATEWAY_CHECK if dead else None


def _pings(context: Context) -> list[Finding]:
    return [_ping(context, spot) for spot in context.spots] or [skip("no container to ping")]


def _ping(context: Context, spot: Spot) -> Finding:
    if cause := _barred(context, spot):
        return skip(f"not tried: {cause}", subject=spot.label, cause=cause)
    answer = context.answers.pings[spot.address]
    if answer.ok:
        return ok(f"answers{_ms(answer.rtt_ms)}", subject=spot.label)
    if context.answers.lives(spot):
        return ok(f"{answer.error}, but its ports answer", subject=spot.label)
    return fail(f"{answer.error}", _silence_fix(spot), subject=spot.label)


def _silence_fix(spot: Spot) -> str:
    name = spot.container
    if name is None:
        return f"`docker network inspect {spot.lane.network.name}` lists the addresses in use"
    return (
        f"`docker exec {name} ip addr` tells whether it has the address and "
        f"`docker logs {name}` what it does; `docker restart {name}` connects it anew"
    )


def _ports(context: Context) -> list[Finding]:
    found = [_port(context, spot, port) for spot in context.spots for port in spot.ports]
    return found or [skip("no TCP port is named or exposed")]


def _port(context: Context, spot: Spot, port: int) -> Finding:
    subject = spot.port_label(port)
    if cause := _barred(context, spot):
        return skip(f"not tried: {cause}", subject=subject, cause=cause)
    if not context.answers.lives(spot):
        return skip("not tried: the container is silent", subject=subject, cause=_PING_CHECK)
    answer = context.answers.tcp[spot.address, port]
    if answer.outcome is TcpOutcome.OPEN:
        return ok(f"open{_ms(answer.rtt_ms)}", subject=subject)
    if answer.outcome is TcpOutcome.REFUSED:
        outcome = Outcome.FAIL if port in spot.asked else Outcome.WARN
        evidence = "refused: the container is reached, but nothing listens on this port there"
        return Finding(outcome, evidence, _listen_fix(spot, port), subject)
    return fail(_words(answer), _filter_fix(spot), subject=subject)


def _listen_fix(spot: Spot, port: int) -> str:
    logs = f"`docker logs {spot.container}` tells" if spot.container else "its log tells"
    return (
        f"make the service listen on 0.0.0.0:{port} (on 127.0.0.1 only the container itself "
        f"reaches it); {logs} whether it has started"
    )


def _filter_fix(spot: Spot) -> str:
    name = spot.container or "its container"
    return f"something in {name} drops the packets: look at its firewall and its load"


def _words(answer: TcpResult) -> str:
    return f"{answer.outcome}: {answer.error}" if answer.error else str(answer.outcome)


def _ms(rtt_ms: float | None) -> str:
    return "" if rtt_ms is None else f" in {rtt_ms:.1f} ms"


CHECKS = (
    Check(
        id=ROUTES_CHECK,
        title="The networks leave by the tunnel",
        about="Compares this machine's routing table with the subnets that the tunnel carries.",
        needs=("client.address", "tunnel.subnets", "reach.targets"),
        fix=_RECONNECT,
        run=_routes,
    ),
    Check(
        id="reach.server",
        title="The server is reached through the tunnel",
        about="Pings the server's address inside the tunnel.",
        needs=("client.address",),
        fix=_RECONNECT,
        run=_server,
    ),
    Check(
        id="reach.targets",
        title="The targets can be tried",
        about="Looks which containers run on routed networks, or where the named targets are.",
        needs=("engine.networks", "helper.server"),
        fix="name a running container on a routed network: `macnet networks`",
        run=_targets,
    ),
    Check(
        id=_GATEWAY_CHECK,
        title="The networks' bridges are reached",
        about="Pings the bridge of every routed subnet, which is behind the relay.",
        needs=("reach.server", ROUTES_CHECK, "helper.relay.attached"),
        fix="`macnet logs relay` shows what the relay said",
        run=_gateways,
    ),
    Check(
        id=_PING_CHECK,
        title="The containers answer",
        about="Pings every running container on a routed network, or the named targets.",
        needs=(_GATEWAY_CHECK,),
        fix="`docker ps` lists the containers that run",
        run=_pings,
    ),
    Check(
        id="reach.tcp",
        title="The containers' ports are open",
        about="Opens TCP connections to the named or exposed ports; UDP ports are not tried.",
        needs=(_GATEWAY_CHECK,),
        fix="`docker ps` lists the containers that run",
        run=_ports,
    ),
)
