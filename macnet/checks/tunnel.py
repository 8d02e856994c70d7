"""Checks of what joins both sides: the record, the keys, the profile, the port, the subnets."""

from __future__ import annotations

import re

from netaddr import IPAddress

from macnet.checks.base import Check, Finding, fail, ok, skip, warn
from macnet.checks.context import Context
from macnet.checks.lanes import SUBNETS_CHECK, covered
from macnet.config import RoutesChoice
from macnet.pki import EXPIRY_WARNING, days_left
from macnet.probe import TcpOutcome
from macnet.profile import Profile, parse_profile_routes, render_profile
from macnet.tunnel.plan import describe_owner

_LOOPBACK = IPAddress("127.0.0.1")
_REGENERATE = "`macnet regenerate`"


def _setup(context: Context) -> Finding:
    state, paths = context.state, context.tunnel.paths
    if state.port is None or state.tunnel_subnet is None or state.token is None:
        return fail(f"there is no tunnel yet: nothing in {paths.state}", "`macnet setup`")
    if context.profile is None:
        return fail(f"setup has not ended: there is no {paths.profile}", "`macnet setup`")
    return ok(f"port {state.port}, tunnel subnet {state.tunnel_subnet}")


def _certificates(context: Context) -> Finding:
    pki = context.pki
    if pki is None:
        return fail(f"there are none in {context.tunnel.paths.pki}", "`macnet setup`")
    days = days_left(pki.expires, context.now())
    end = f"{pki.expires:%Y-%m-%d}"
    fix = "`macnet regenerate --keys`"
    if context.now() >= pki.expires:
        return fail(f"they have expired on {end}", fix)
    if days < EXPIRY_WARNING.days:
        return warn(f"they expire in {days} days, on {end}", fix)
    return ok(f"valid until {end}")


def _profile(context: Context) -> list[Finding]:
    config, paths, pki = context.tunnel.config, context.tunnel.paths, context.pki
    text, port = context.profile or "", context.state.port or 0
    found = []
    remote = re.search(r"^remote (\S+) (\d+)$", text, re.MULTILINE)
    if pki is None or pki.client_cert.strip() not in text or pki.client_key.strip() not in text:
        found.append(fail(f"{paths.profile} holds other certificates", _REGENERATE))
    elif remote is None or remote.groups() != (str(_LOOPBACK), str(port)):
        where = " ".join(remote.groups()) if remote else "nowhere"
        found.append(fail(f"it leads to {where}, not to {_LOOPBACK} {port}", _REGENERATE))
    else:
        routes = parse_profile_routes(text)
        present = Profile(port, routes, config.comp_lzo, config.tun_mtu, pki)
        if render_profile(present) == text:
            found.append(ok(f"{paths.profile} has {len(routes)} routes"))
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


def _port(context: Context) -> Finding:
    port = context.state.port or 0
    (answer,) = context.prober.connect_all([(_LOOPBACK, port)], timeout_s=context.timeout_s)
    owner = context.tunnel.around.port_owner(port)
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


def _subnets(context: Context) -> list[Finding]:
    """What is missing fails for itself; what is there too much is only worth a warning."""
    lanes = context.planned_lanes
    missing = [lane for lane in lanes if lane.blocked == SUBNETS_CHECK]
    found = []
    if len(lanes) > len(missing):
        found.append(ok(f"{len(lanes) - len(missing)} subnets pass the server and have a route"))
    for lane in missing:
        net = lane.subnet.route
        lacks = [
            words
            for words, nets in (
                ("the client has no route for it", context.announced),
                ("the server does not let it through", context.allowed),
            )
            if not covered(net, nets)
        ]
        evidence = "; ".join(lacks) or "route and allowlist differ"
        found.append(fail(evidence, _REGENERATE, subject=lane.label))
    left_out = [s.cidr for item in context.selected for s, _ in item.left_out]
    existing = [*left_out, *(lane.subnet.route for lane in lanes)]
    pools = context.tunnel.config.routes is RoutesChoice.POOLS
    # The profile's routes are merged: one of them may carry several subnets. Routes of whole
    # pools are there for networks to come.
    stale = [
        net
        for net in dict.fromkeys([*(() if pools else context.announced), *context.allowed])
        if not any(subnet in net for subnet in existing)
    ]
    if stale:
        those = ", ".join(map(str, stale))
        found.append(warn(f"carried, but no longer wanted: {those}", _REGENERATE))
    return found or [skip("no network is routed")]


CHECKS = (
    Check(
        id="tunnel.setup",
        title="The tunnel is set up",
        about="Looks for the record of a setup and for the profile that it writes.",
        needs=(),
        fix="`macnet setup`",
        run=_setup,
    ),
    Check(
        id="tunnel.certificates",
        title="The certificates are valid",
        about="Reads the certificates and warns 30 days before they expire.",
        needs=("tunnel.setup",),
        fix="`macnet setup`",
        run=_certificates,
    ),
    Check(
        id="tunnel.profile",
        title="The profile is right",
        about="Compares the client's profile with port, keys and settings; only you may read it.",
        needs=("tunnel.certificates",),
        fix=_REGENERATE,
        run=_profile,
    ),
    Check(
        id="tunnel.port",
        title="The tunnel's port is open",
        about="Opens a TCP connection to the server's published port on 127.0.0.1.",
        needs=("helper.server",),
        fix="`macnet setup --port` with another port",
        run=_port,
    ),
    Check(
        id=SUBNETS_CHECK,
        title="The tunnel carries the networks",
        about="Compares the routed subnets with the client's routes and the server's allowlist.",
        needs=("engine.networks", "helper.server", "tunnel.profile"),
        fix=_REGENERATE,
        run=_subnets,
    ),
)
