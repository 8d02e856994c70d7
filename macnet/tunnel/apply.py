"""Carries out a plan, step by step. Each step looks at what there is, so all can be repeated."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from netaddr import IPAddress

from macnet.clients.base import Client, ClientState
from macnet.config import ClientChoice, Config
from macnet.config_file import RemapTable
from macnet.engine import Engine
from macnet.errors import EngineRefused, MacnetError, PortTaken, TunnelTimeout
from macnet.files import write_private
from macnet.helper import LABEL_NAME, Helper, HelperSpec, ensure_image
from macnet.helper.spec import RELAY, SERVER, container_name
from macnet.networks import gateway_of
from macnet.paths import TunnelPaths
from macnet.pki import Pki, ensure_pki
from macnet.profile import Profile, render_profile
from macnet.progress import Progress, stage
from macnet.remaps import kept_choices
from macnet.state import TunnelState, save_state
from macnet.tunnel.facts import Surroundings
from macnet.tunnel.plan import OWN_NETWORK, Action, Plan, next_free_port
from macnet.values import pair_words

#: Seconds for the client to connect, and then for the first answer through the tunnel.
CONNECT_TIMEOUT_S = 30.0
TRAFFIC_TIMEOUT_S = 20.0
#: Seconds for one ping: short, since during a reconnect the first ones are lost.
PING_TIMEOUT_S = 0.3
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
    remaps: RemapTable


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of it: the port that is used, and the address that answered."""

    changed: bool
    port: int
    verified: str | None = None
    new_profile: bool = False


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
            state.move(plan.tunnel_subnet, plan.relay_subnet),
            port=plan.port,
            token=state.token or secrets.token_hex(16),
            context=to.config.context,
        )
        save_state(to.paths.state, state)
    with stage(to.progress, "building the helper image") as step:
        _, step.changed = ensure_image(to.engine, to.config.base_image, to.progress)
        changes.append(step)
    with stage(to.progress, "starting the server") as step:
        before, state = state, replace(state, options=options)
        with _tried(to.paths.state, state, before), to.remaps.tried(_chosen(plan, to)):
            spec, step.changed = _start_server(plan, state, pki, helper, to)
        state = replace(state, port=spec.port)
        changes.append(step)
    routes = plan.helper_routes
    with stage(to.progress, "setting the server's routes") as step:
        applied = helper.apply_routes(spec, routes)
        step.changed = applied.allowed or applied.pushed
        changes.append(step)
    with stage(to.progress, "starting the relay") as step:
        try:
            step.changed = helper.ensure_relay(spec)
        except EngineRefused:
            # Half a helper is of no use, and this engine does not take the other half.
            helper.remove()
            to.engine.remove_networks(f"{LABEL_NAME}={to.config.name}")
            raise
        changes.append(step)
    with stage(to.progress, "writing the profile") as step:
        profile = Profile(
            port=spec.port,
            routes=plan.profile_routes,
            comp_lzo=to.config.comp_lzo,
            tun_mtu=to.config.tun_mtu,
            pki=pki,
        )
        step.changed = write_private(to.paths.profile, render_profile(profile).encode())
        new_profile = step.changed
        changes.append(step)
    verified = None
    if to.config.client is ClientChoice.NONE:
        to.client.connect(to.progress, timeout_s=CONNECT_TIMEOUT_S)
        if applied.pushed:
            helper.kick_clients()
    else:
        with stage(to.progress, f"connecting {to.client.name}") as step:
            step.changed = connect_client(to.client, to.paths, to.progress)
            changes.append(step)
            # A connection that has just been made has the new routes already.
            if applied.pushed and not step.changed:
                helper.kick_clients()
        with stage(to.progress, "waiting for traffic"):
            verified = _wait_for_traffic(plan, to)
        save_state(to.paths.state, replace(state, moved_from=None))
    return Applied(any(step.changed for step in changes), spec.port, verified, new_profile)


@contextmanager
def _tried(path: Path, state: TunnelState, before: TunnelState) -> Iterator[None]:
    """Record ``state``, and ``before`` again if an error comes.

    First, as a disk that is full must not cost the server that runs; taken back, as options
    that cannot work must not spoil the next setup.
    """
    save_state(path, state)
    try:
        yield
    except MacnetError:
        save_state(path, before)
        raise


def follow_plan(plan: Plan, state: TunnelState, pki: Pki, to: Apply) -> tuple[str, ...]:
    """Carry out the part of ``plan`` that the running helper can take up; client and profile stay.

    Returns the names of the containers that had to be made. A client that is connected takes
    up new routes by connecting again, which its server asks of it.
    """
    helper = Helper(to.engine, to.config.name)
    spec = _spec(plan, state, pki, to)
    routes = plan.helper_routes
    repaired = []
    moved = state.move(plan.tunnel_subnet, plan.relay_subnet)
    save_state(to.paths.state, moved)
    to.remaps.keep(_chosen(plan, to))
    if plan.image is not Action.KEEP:
        ensure_image(to.engine, to.config.base_image, to.progress)
    if plan.server is not Action.KEEP and helper.ensure_server(spec, pki, routes):
        repaired.append(container_name(to.config.name, SERVER))
    elif helper.apply_routes(spec, routes).pushed:
        helper.kick_clients()
    if plan.relay is not Action.KEEP and helper.ensure_relay(spec):
        repaired.append(container_name(to.config.name, RELAY))
    return tuple(repaired)


def _chosen(plan: Plan, to: Apply) -> tuple[str, ...]:
    return pair_words(kept_choices(to.config.remap, plan.networks))


def _spec(plan: Plan, state: TunnelState, pki: Pki, to: Apply) -> HelperSpec:
    return HelperSpec(
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


def _start_server(
    plan: Plan, state: TunnelState, pki: Pki, helper: Helper, to: Apply
) -> tuple[HelperSpec, bool]:
    """Start it, on the next port where the engine cannot publish an automatic one.

    A port may be free on this machine and still be refused by the engine.
    """
    if plan.server_network == OWN_NETWORK:
        to.engine.ensure_network(OWN_NETWORK, {LABEL_NAME: to.config.name})
    routes = plan.helper_routes
    spec = _spec(plan, state, pki, to)
    for attempt in range(PORT_TRIES + 1):
        try:
            return spec, helper.ensure_server(spec, pki, routes)
        except PortTaken:
            port = next_free_port(spec.port, to.around.port_owner)
            if to.config.port is not None or attempt == PORT_TRIES or port is None:
                raise
        to.progress.warn(f"the engine cannot publish port {spec.port}; the tunnel uses {port}")
        spec = replace(spec, port=port)
        save_state(to.paths.state, replace(state, port=port))
    raise AssertionError("the loop ends by return or raise")


def connect_client(client: Client, paths: TunnelPaths, progress: Progress) -> bool:
    """Connect with the profile on disk; True if anything was done for it."""
    installed = client.install(paths.profile, progress)
    connected = client.status().state is ClientState.CONNECTED
    if connected and not client.is_current(paths.profile):
        client.reconnect(progress, timeout_s=CONNECT_TIMEOUT_S)
        return True
    return client.connect(progress, timeout_s=CONNECT_TIMEOUT_S) or installed


def _wait_for_traffic(plan: Plan, to: Apply) -> str | None:
    """Ping the routed bridges until all answer; None where there is none to ping.

    All, since after a change the old routes answer before the new ones are there. Raises
    `TunnelTimeout` if not one answers, and warns of those that stay silent.
    """
    from macnet import probe  # noqa: PLC0415 - asyncio, which few commands need

    silent = _landmarks(plan)
    verified: IPAddress | None = None
    deadline = time.monotonic() + TRAFFIC_TIMEOUT_S
    while silent:
        answers = probe.ping_all(silent, timeout_s=PING_TIMEOUT_S, runner=to.around.runner)
        verified = verified or next((a.address for a in answers if a.ok), None)
        silent = [answer.address for answer in answers if not answer.ok]
        if silent and time.monotonic() > deadline:
            if verified is None:
                raise TunnelTimeout(
                    f"the client is connected, but {silent[0]} does not answer "
                    f"within {TRAFFIC_TIMEOUT_S:g} s",
                    hint="`macnet check` finds the broken hop",
                )
            to.progress.warn(f"no answer from {', '.join(map(str, silent))}: see `macnet check`")
            break
        if silent:
            time.sleep(0.05)
    return str(verified) if verified is not None else None


def _landmarks(plan: Plan) -> list[IPAddress]:
    """Addresses that always answer while their network exists: the bridges' own."""
    found = [
        subnet.seen_at(gateway_of(subnet))
        for item in plan.networks
        for subnet in item.subnets
        if subnet.cidr.version == 4
    ]
    return found[:20]
