"""Checks of what joins both sides: the record, the keys, the profile, the port, the subnets."""

from __future__ import annotations

import re
import socket

from netaddr import IPAddress

from macnet.checks.base import Finding, count, fail, ok, skip, warn
from macnet.checks.facts import SUBNETS_CHECK, Facts
from macnet.choices import CarrierKind, RoutesChoice
from macnet.helper.spec import server_address
from macnet.pki import EXPIRY_WARNING, days_left
from macnet.probe import TcpOutcome
from macnet.profile import Profile, parse_profile_routes, render_profile
from macnet.survey import covered
from macnet.tunnel.decide import describe_owner
from macnet.values import FALLBACK_TUN_MTU

_LOOPBACK = IPAddress("127.0.0.1")
_REGENERATE = "`macnet regenerate`"


def setup(facts: Facts) -> Finding:
    """Whether there is the record of a setup, and a profile."""
    state, paths = facts.state, facts.tunnel.paths
    if state.port is None or state.tunnel_subnet is None or state.token is None:
        if why := facts.why_not_needed:
            said = f"there is no tunnel, and none is needed: {why}"
            return fail(said, "none; `macnet setup --force` makes a tunnel all the same")
        if state.token is not None:
            return fail(f"setup has not ended: {paths.state} is not whole", "`macnet setup`")
        return fail(f"there is no tunnel yet: nothing in {paths.state}", "`macnet setup`")
    if facts.profile is None:
        return fail(f"setup has not ended: there is no {paths.profile}", "`macnet setup`")
    return ok(f"port {state.port}, tunnel subnet {state.tunnel_subnet}")


def certificates(facts: Facts) -> Finding:
    """Whether the certificates are valid, and for how long."""
    pki = facts.pki
    if pki is None:
        return fail(f"there are none in {facts.tunnel.paths.pki}", "`macnet setup`")
    days = days_left(pki.expires, facts.now())
    end = f"{pki.expires:%Y-%m-%d}"
    fix = "`macnet regenerate --keys`"
    if facts.now() >= pki.expires:
        return fail(f"they have expired on {end}", fix)
    if days < EXPIRY_WARNING.days:
        return warn(f"they expire in {count(days, 'day')}, on {end}", fix)
    return ok(f"valid until {end}")


def profile(facts: Facts) -> list[Finding]:
    """Whether the profile fits port, keys and settings, and only its owner may read it."""
    config, paths, pki = facts.tunnel.settings, facts.tunnel.paths, facts.pki
    text, port = facts.profile or "", facts.state.port or 0
    found = []
    remote = re.search(r"^remote (\S+) (\d+)$", text, re.MULTILINE)
    if pki is None or pki.client_cert.strip() not in text or pki.client_key.strip() not in text:
        found.append(fail(f"{paths.profile} holds other certificates", _REGENERATE))
    elif remote is None or remote.groups() != (facts.way.remote, str(port)):
        where = " ".join(remote.groups()) if remote else "nowhere"
        found.append(fail(f"it leads to {where}, not to {facts.way.remote} {port}", _REGENERATE))
    else:
        routes = parse_profile_routes(text)
        present = Profile(port, routes, config.comp_lzo, config.tun_mtu, pki, facts.way.remote)
        if render_profile(present) == text:
            found.append(ok(f"{paths.profile} has {count(len(routes), 'route')}"))
        else:
            found.append(warn(f"{paths.profile} was made with other settings", _REGENERATE))
    mode = paths.profile.stat().st_mode & 0o777
    if mode != 0o600:
        found.append(
            warn(
                f"others may read its private key: its mode is {mode:04o}, not 0600",
                f"`chmod 600 '{paths.profile}'`",
                subject="mode",
            )
        )
    return found


def port(facts: Facts) -> Finding:
    """Whether the server's published port answers here."""
    port = facts.state.port or 0
    if facts.way.kind is CarrierKind.DIRECT:
        return _exposed_port(facts, port)
    (answer,) = facts.prober.connect_all([(_LOOPBACK, port)], timeout_s=facts.timeout_s)
    owner = facts.tunnel.host.port_owner(port)
    who = describe_owner(owner) if owner is not None else "nobody"
    if answer.outcome is TcpOutcome.OPEN:
        return ok(f"{_LOOPBACK}:{port} is open, held by {who}")
    state = answer.error or answer.outcome.value
    if owner is None:
        return fail(
            f"{_LOOPBACK}:{port}: {state}, nobody listens although the server runs",
            "restart the engine: it has lost the forwarding of the port; if that does not help, "
            "`macnet setup --port` with another port",
        )
    return fail(
        f"{_LOOPBACK}:{port}: {state}, it is held by {who}",
        "end that program, or take another port with `macnet setup --port`",
    )


def _exposed_port(facts: Facts, port: int) -> Finding:
    """Whether a port answers that is published on an address of another machine."""
    way = facts.way
    try:
        address = IPAddress(socket.gethostbyname(way.remote))
    except OSError as error:
        return fail(f"{way.remote} has no address: {error.strerror}", "name it by its address")
    (answer,) = facts.prober.connect_all([(address, port)], timeout_s=facts.timeout_s)
    if answer.outcome is TcpOutcome.OPEN:
        return ok(f"{way.remote}:{port} is open, to a network: see SECURITY.md")
    return fail(
        f"{way.remote}:{port}: {answer.error or answer.outcome.value}",
        f"let this machine through to port {port}, in the firewall of {way.machine} and of its "
        "network",
    )


def subnets(facts: Facts) -> list[Finding]:
    """What is missing fails for itself; what is there too much is only worth a warning."""
    planned = [(b, b.subnet.route) for b in facts.subnets if b.subnet is not None]
    missing = [(bridge, net) for bridge, net in planned if bridge.blocked == SUBNETS_CHECK]
    found = []
    if carried := len(planned) - len(missing):
        passes = count(carried, "subnet passes", "subnets pass")
        has = "has" if carried == 1 else "have"
        found.append(ok(f"{passes} the server and {has} a route"))
    for bridge, net in missing:
        lacks = [
            words
            for words, nets in (
                ("the client has no route for it", facts.announced),
                ("the server does not let it through", facts.allowed),
            )
            if not covered(net, nets)
        ]
        evidence = "; ".join(lacks) or "route and allowlist differ"
        found.append(fail(evidence, _REGENERATE, subject=bridge.subnet_label))
    left_out = [s.cidr for item in facts.selected for s, _ in item.left_out]
    existing = [*left_out, *(net for _, net in planned)]
    pools = facts.tunnel.settings.routes is RoutesChoice.POOLS
    # The profile's routes are merged: one of them may carry several subnets. Routes of whole
    # pools are there for networks to come.
    stale = [
        net
        for net in dict.fromkeys([*(() if pools else facts.announced), *facts.allowed])
        if not any(subnet in net for subnet in existing)
    ]
    if stale:
        those = ", ".join(map(str, stale))
        found.append(warn(f"carried, but no longer wanted: {those}", _REGENERATE))
    return found or [skip("no network is routed")]


def mtu(facts: Facts) -> Finding:
    """Whether one packet that fills the tunnel's MTU gets through."""
    size = facts.tunnel.settings.tun_mtu
    server = server_address(facts.own_subnets[0])
    passes = facts.packet_passes(server, size, timeout_s=facts.timeout_s)
    if passes is None:
        return skip("this user may not send such a packet")
    if passes:
        return ok(f"a packet of {size} bytes gets through")
    smaller = FALLBACK_TUN_MTU if size > FALLBACK_TUN_MTU else 1500
    return fail(
        f"a packet of {size} bytes gets no answer from {server}, although small ones do",
        f"`macnet setup --tun-mtu {smaller}`",
    )
