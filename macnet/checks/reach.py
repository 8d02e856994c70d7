"""Checks hop by hop towards the containers: routes, server, bridges, containers, their ports.

Only TCP ports are tried. A UDP port says nothing by its silence: services answer only what
they understand.
"""

from __future__ import annotations

from netaddr import IPAddress

from macnet.checks.base import Finding, Outcome, count, fail, ok, skip
from macnet.checks.facts import Facts
from macnet.helper.spec import RELAY, container_name
from macnet.networks import CLUSTER_PREFIX
from macnet.probe import TcpOutcome, TcpResult
from macnet.survey import Answer, Home, Target

RECONNECT = "`macnet disconnect`, then `macnet connect`"
GATEWAY_CHECK, PING_CHECK = "reach.gateway", "reach.ping"


def routes(facts: Facts) -> list[Finding]:
    """Whether the networks leave this machine by the tunnel."""
    diff, own = facts.route_diff, facts.interface
    asked = {b.subnet.route: b.subnet_label for b in facts.bridges if b.subnet is not None}
    found = []
    present = [net for net in diff.present if net in asked]
    if present:
        found.append(ok(f"{count(len(present), 'subnet leaves', 'subnets leave')} by {own}"))
    for net in diff.missing:
        if net in asked:
            found.append(fail(f"no route by {own}", RECONNECT, subject=asked[net]))
    for net, route in diff.foreign:
        if net not in asked:
            continue
        evidence = f"{route.interface} takes it (route {route.destination})"
        fix = (
            "`macnet setup --remap auto` gives the network other addresses; or disconnect "
            f"{route.interface}, then `macnet regenerate`"
        )
        found.append(fail(evidence, fix, subject=asked[net]))
    return found or [_nothing_left(facts)]


def _nothing_left(facts: Facts) -> Finding:
    """A skip, with the check that took every subnet out, if one did."""
    cause = next((bridge.blocked for bridge in facts.bridges if bridge.blocked), None)
    return skip(f"not tried: {cause}" if cause else "no network is routed", cause=cause)


def server(facts: Facts) -> Finding:
    """Whether the server answers through the tunnel."""
    subnet = facts.own_subnets[0]
    address = IPAddress(subnet.first + 1, subnet.version)
    (answer,) = facts.prober.ping_all([address], timeout_s=facts.timeout_s)
    if answer.ok:
        return ok(f"{address} answers{_ms(answer.rtt_ms)}")
    return fail(f"{address}: {answer.error}", RECONNECT)


def targets(facts: Facts) -> list[Finding]:
    """Which targets can be tried."""
    tried = [target for target in facts.targets if target.why_not is None]
    found = []
    if tried:
        named = {target.container for target in tried if target.container}
        where = f" of {count(len(named), 'container')}" if named else ""
        found.append(ok(f"{count(len(tried), 'address', 'addresses')}{where} to reach"))
    shared = {t.named: t.container for t in facts.targets if t.named is not None}
    for name, owner in shared.items():
        found.append(ok(f"it shares the network of {owner}, which is tried", subject=name))
    for target in facts.targets:
        if target.why_not is not None:
            found.append(
                fail(target.why_not, target.fix, subject=target.label)
                if target.fix
                else skip(target.why_not, subject=target.label)
            )
    # Nothing to reach is no fault, and the bridges can be tried all the same.
    return (
        found
        if tried or any(target.fix for target in facts.targets)
        else [ok("no container runs on a routed network"), *found]
    )


def gateways(facts: Facts) -> list[Finding]:
    """Whether the bridges answer, which are behind the relay; containers speak for theirs."""
    tried = [bridge for bridge in facts.bridges if not bridge.blocked]
    if not tried:
        return [_nothing_left(facts)]
    alive, dead = _alive(facts), [bridge for bridge in tried if _is_dead(facts, bridge)]
    if dead and all(b in dead or (b.address is None and b.home not in alive) for b in tried):
        return [_all_dead(facts, dead)]
    found = []
    for bridge in tried:
        label, answer = bridge.subnet_label, facts.answers[bridge]
        if bridge in dead:
            fix = f"`docker network inspect {bridge.network}` tells whether it is in use"
            found.append(fail(f"{bridge.address}: {answer.silence}", fix, subject=label))
        elif answer.ping is not None and answer.ping.ok:
            evidence = f"{bridge.address} answers{_ms(answer.ping.rtt_ms)}"
            found.append(ok(evidence, subject=label))
        elif bridge.address is not None:
            evidence = f"the bridge {bridge.address} is silent, but containers behind it answer"
            found.append(ok(evidence, subject=label))
        elif bridge.home in alive:
            found.append(ok("its containers answer", subject=label))
        else:
            found.append(skip("the engine does not tell its bridge's address", subject=label))
    if all(finding.outcome is Outcome.SKIP for finding in found):
        # A skip alone would keep the containers from being tried.
        found.insert(0, ok("no bridge's address is known; the containers are tried themselves"))
    return found


def _all_dead(facts: Facts, dead: list[Target]) -> Finding:
    relay = container_name(facts.tunnel.settings.name, RELAY)
    first = dead[0]
    which = f"none of {len(dead)} bridges answers; " if len(dead) > 1 else "the bridge is silent; "
    return fail(
        f"{which}{first.address}: {facts.answers[first].silence}",
        f"`docker restart {relay}`; `macnet logs relay` shows what it said",
    )


def _alive(facts: Facts) -> set[Home]:
    """The subnets from which a container answers."""
    return {t.home for t in facts.targets if facts.answers[t].reached}


def _is_dead(facts: Facts, bridge: Target) -> bool:
    """Whether the bridge and everything behind it is silent; never one without an address."""
    if bridge.blocked or bridge.address is None:
        return False
    return not facts.answers[bridge].reached and bridge.home not in _alive(facts)


def _barred(facts: Facts) -> dict[Target, str]:
    """The targets that cannot be reached, with the check whose failure explains it."""
    dead = {bridge.home for bridge in facts.bridges if _is_dead(facts, bridge)}
    return {
        target: target.blocked or GATEWAY_CHECK
        for target in facts.targets
        if target.blocked or target.home in dead
    }


def pings(facts: Facts) -> list[Finding]:
    """Whether the containers answer."""
    barred = _barred(facts)
    found = [
        _ping(facts.answers[target], barred.get(target))
        for target in facts.targets
        if target.why_not is None
    ]
    return found or [skip("no container to ping")]


def _ping(answer: Answer, cause: str | None) -> Finding:
    label = answer.target.label
    if cause is not None:
        return skip(f"not tried: {cause}", subject=label, cause=cause)
    if answer.ping is not None and answer.ping.ok:
        return ok(f"answers{_ms(answer.ping.rtt_ms)}", subject=label)
    if answer.reached:
        return ok(f"{answer.silence}, but its ports answer", subject=label)
    return fail(answer.silence, _silence_fix(answer.target), subject=label)


def _silence_fix(target: Target) -> str:
    name = target.container
    if name is None and target.network.startswith(CLUSTER_PREFIX):
        return "`kubectl get pods,services -A -o wide` lists the addresses in use"
    if name is None:
        return f"`docker network inspect {target.network}` lists the addresses in use"
    return (
        f"`docker exec {name} ip addr` tells whether it has the address and "
        f"`docker logs {name}` what it does; `docker restart {name}` connects it anew"
    )


def ports(facts: Facts) -> list[Finding]:
    """Whether the containers' TCP ports are open."""
    barred = _barred(facts)
    found = [
        finding
        for target in facts.targets
        if target.why_not is None
        for finding in _ports(facts.answers[target], barred.get(target))
    ]
    return found or [skip("no TCP port is named or exposed")]


def _ports(answer: Answer, cause: str | None) -> list[Finding]:
    target, why = answer.target, f"not tried: {cause}"
    if cause is None and not answer.reached:
        cause, why = PING_CHECK, "not tried: the container is silent"
    if cause is not None:
        return [skip(why, subject=target.port_label(p), cause=cause) for p in target.tcp_ports]
    return [_port(target, result) for result in answer.tcp]


def _port(target: Target, result: TcpResult) -> Finding:
    subject = target.port_label(result.port)
    if result.outcome is TcpOutcome.OPEN:
        return ok(f"open{_ms(result.rtt_ms)}", subject=subject)
    if result.outcome is TcpOutcome.REFUSED:
        outcome = Outcome.FAIL if target.asked else Outcome.WARN
        evidence = "refused: the container is reached, but nothing listens on this port there"
        return Finding(outcome, evidence, _listen_fix(target, result.port), subject)
    words = f"{result.outcome}: {result.error}" if result.error else str(result.outcome)
    return fail(words, _filter_fix(target), subject=subject)


def _listen_fix(target: Target, port: int) -> str:
    logs = f"`docker logs {target.container}` tells" if target.container else "its log tells"
    return (
        f"make the service listen on 0.0.0.0:{port} (on 127.0.0.1 only the container itself "
        f"reaches it); {logs} whether it has started"
    )


def _filter_fix(target: Target) -> str:
    name = target.container or "its container"
    return f"something in {name} drops the packets: look at its firewall and its load"


def _ms(rtt_ms: float | None) -> str:
    return "" if rtt_ms is None else f" in {rtt_ms:.1f} ms"
