"""Carries out a plan, step by step. Each step looks at what there is, so all can be repeated."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from netaddr import IPAddress

from macnet import probe
from macnet.clients.base import Client, ClientState
from macnet.config import ClientChoice, Config
from macnet.engine import Engine
from macnet.errors import PortTaken, TunnelTimeout
from macnet.helper import LABEL_NAME, Helper, HelperSpec, ensure_image
from macnet.helper.spec import HelperRoutes
from macnet.networks import gateway_of
from macnet.paths import TunnelPaths
from macnet.pki import Pki, ensure_pki
from macnet.profile import Profile, render_profile
from macnet.progress import Progress, stage
from macnet.state import TunnelState, save_state, write_private
from macnet.tunnel.facts import Surroundings
from macnet.tunnel.plan import OWN_NETWORK, Plan

#: Seconds for the client to connect, and then for the first answer through the tunnel.
CONNECT_TIMEOUT_S = 30.0
TRAFFIC_TIMEOUT_S = 20.0
#: How many other ports are tried where the engine cannot publish the planned one.
PORT_TRIES = 5


@dataclass(frozen=True, slots=True)
class Apply:
    """What the steps work with."""

    config: Config
    paths: TunnelPaths
    engine: Engine
    client: Client
    around: Surroundings
    progress: Progress


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of it: the port that is used, and the address that answered."""

    changed: bool
    port: int
    verified: str | None


def apply_plan(
    plan: Plan,
    state: TunnelState,
    to: Apply,
    *,
    options: Mapping[str, object],
    renew_keys: bool,
) -> Applied:
    """Carry out ``plan``. Raises the error of the step that fails, with its name on it."""
    helper = Helper(to.engine, to.config.name)
    changes = []
    with stage(to.progress, "preparing keys") as step:
        pki, step.changed = ensure_pki(
            to.paths.pki,
            to.config.name,
            now=datetime.now(UTC),
            renew=renew_keys,
            progress=to.progress,
        )
        changes.append(step)
        state = replace(
            state,
            port=plan.port,
            tunnel_subnet=plan.tunnel_subnet,
            relay_subnet=plan.relay_subnet,
            token=state.token or secrets.token_hex(16),
            options=options,
        )
        save_state(to.paths.state, state)
    with stage(to.progress, "building the helper image") as step:
        _, step.changed = ensure_image(to.engine, to.config.base_image, to.progress)
        changes.append(step)
    with stage(to.progress, "starting the server") as step:
        spec, step.changed = _start_server(plan, state, pki, helper, to)
        changes.append(step)
    with stage(to.progress, "starting the relay") as step:
        step.changed = helper.ensure_relay(spec)
        changes.append(step)
    with stage(to.progress, "writing the profile") as step:
        profile = Profile(
            port=spec.port,
            routes=plan.subnets,
            comp_lzo=to.config.comp_lzo,
            tun_mtu=to.config.tun_mtu,
            pki=pki,
        )
        step.changed = write_private(to.paths.profile, render_profile(profile).encode())
        changes.append(step)
    verified = None
    if to.config.client is ClientChoice.NONE:
        to.client.connect(to.progress, timeout_s=CONNECT_TIMEOUT_S)
    else:
        with stage(to.progress, f"connecting {to.client.name}") as step:
            step.changed = connect_client(to.client, to.paths, to.progress)
            changes.append(step)
        with stage(to.progress, "waiting for traffic"):
            verified = _wait_for_traffic(plan)
    return Applied(any(step.changed for step in changes), spec.port, verified)


def _start_server(
    plan: Plan, state: TunnelState, pki: Pki, helper: Helper, to: Apply
) -> tuple[HelperSpec, bool]:
    """Start it, on the next port where the engine cannot publish an automatic one.

    A port may be free on this machine and still be refused by the engine.
    """
    if plan.server_network == OWN_NETWORK:
        to.engine.ensure_network(OWN_NETWORK, {LABEL_NAME: to.config.name})
    routes = HelperRoutes(subnets=plan.subnets)
    spec = HelperSpec(
        name=to.config.name,
        image=plan.image_tag,
        port=plan.port,
        tunnel_subnet=plan.tunnel_subnet,
        relay_subnet=plan.relay_subnet,
        tun_mtu=to.config.tun_mtu,
        comp_lzo=to.config.comp_lzo,
        token=state.token or "",
        network=plan.server_network,
        pki_fingerprint=pki.fingerprint,
    )
    for attempt in range(PORT_TRIES + 1):
        try:
            changed = helper.ensure_server(spec, pki, routes)
            break
        except PortTaken:
            if to.config.port is not None or attempt == PORT_TRIES:
                raise
        port = next(p for p in range(spec.port + 1, 65536) if to.around.port_owner(p) is None)
        to.progress.warn(f"the engine cannot publish port {spec.port}; the tunnel uses {port}")
        spec = replace(spec, port=port)
        save_state(to.paths.state, replace(state, port=port))
    return spec, changed or helper.apply_routes(spec, routes)


def connect_client(client: Client, paths: TunnelPaths, progress: Progress) -> bool:
    """Connect with the profile on disk; True if anything was done for it."""
    installed = client.install(paths.profile, progress)
    connected = client.status().state is ClientState.CONNECTED
    if connected and not client.is_current(paths.profile):
        client.reconnect(progress, timeout_s=CONNECT_TIMEOUT_S)
        return True
    return client.connect(progress, timeout_s=CONNECT_TIMEOUT_S) or installed


def _wait_for_traffic(plan: Plan) -> str | None:
    """Ping the routed bridges until one answers; None where there is none to ping.

    Raises `TunnelTimeout`.
    """
    targets = _landmarks(plan)
    if not targets:
        return None
    deadline = time.monotonic() + TRAFFIC_TIMEOUT_S
    while True:
        for answer in probe.ping_all(targets, timeout_s=1.0):
            if answer.ok:
                return str(answer.address)
        if time.monotonic() > deadline:
            raise TunnelTimeout(
                f"the client is connected, but {targets[0]} does not answer "
                f"within {TRAFFIC_TIMEOUT_S:g} s",
                hint="`macnet check` finds the broken hop",
            )
        time.sleep(0.1)


def _landmarks(plan: Plan) -> list[IPAddress]:
    """Addresses that always answer while their network exists: the bridges' own."""
    found = [
        gateway_of(subnet)
        for item in plan.networks
        for subnet in item.subnets
        if subnet.cidr.version == 4
    ]
    return found[:20]
