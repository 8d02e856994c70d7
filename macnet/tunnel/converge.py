"""Makes the tunnel what the plan says: one function for setup, regenerate and watch.

Each step looks at what is in effect, so all can be repeated, also after an interruption.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from macnet import survey
from macnet.choices import CarrierKind
from macnet.errors import ClientMissing, EngineRefused, MacnetError, PortTaken
from macnet.files import write_private
from macnet.helper import LABEL_NAME, ensure_image
from macnet.helper.spec import RELAY, SERVER, container_name
from macnet.pki import replace_pki
from macnet.progress import Progress, Silent, Stage, stage
from macnet.settings import to_record
from macnet.state import TunnelState, save_state
from macnet.tunnel.decide import (
    Action,
    Plan,
    asked_port,
    is_other_engine,
    move_port,
    next_free_port,
    own_network,
    present_port,
)
from macnet.tunnel.joiners import await_lanes, set_routes
from macnet.tunnel.observe import Observed
from macnet.tunnel.parts import TunnelParts
from macnet.tunnel.results import SetupResult

#: Seconds for the client to connect, and then for the first answer through the tunnel.
CONNECT_TIMEOUT_S = 30.0
TRAFFIC_TIMEOUT_S = 20.0
#: Seconds for one ping: short, since during a reconnect the first ones are lost.
PING_TIMEOUT_S = 0.3
#: How many other ports are tried where the engine cannot publish the planned one.
PORT_TRIES = 5


def converge(
    plan: Plan,
    seen: Observed,
    tunnel: TunnelParts,
    *,
    touch_client: bool = True,
    offline: bool = False,
) -> SetupResult:
    """Carry out ``plan``. Raises the error of the step that fails, with its name on it.

    Without ``touch_client`` the profile and the client stay as they are: a connected client
    takes up new routes by connecting again, which its server asks of it. ``offline`` lets the
    engine download nothing for the image.
    """
    changes = []
    repaired: list[str] = []
    progress = tunnel.progress if touch_client else Silent()
    # Where the record does not know the helper that is there, setup makes it its own.
    lost = seen.state.token is None or is_other_engine(seen)
    with stage(progress, "preparing keys") as step:
        state = _prepare(plan, seen, tunnel)
        step.changed = plan.keys.action is not Action.KEEP
        changes.append(step)
    changes += _build(plan, tunnel, progress, offline=offline)
    before, state = replace(state, port=present_port(seen)), _remember(plan, state, tunnel)
    with _rollback_on_error(tunnel.paths.state, state, before):
        with stage(progress, "starting the server") as step:
            plan, step.changed = _start_server(
                plan, state, tunnel, take_over=lost, may_move=touch_client
            )
            repaired += [container_name(plan.spec.name, SERVER)] if step.changed else []
            changes.append(step)
        state = replace(state, port=plan.spec.port)
        changes += _carry(plan, tunnel, progress)
        with stage(progress, "setting the server's routes") as step:
            # A kernel may be unable to translate what --remap asks for.
            routed = set_routes(
                tunnel.helper, plan.spec, plan.server_routes, plan.joiners, progress
            )
            step.changed = routed.changed
            changes.append(step)
    with stage(progress, "starting the relay") as step:
        # Also one that is as it should be may still be attaching, which setup waits for.
        if touch_client or plan.relay is not Action.KEEP:
            step.changed = _start_relay(plan, tunnel, made_server=bool(repaired), take_over=lost)
        repaired += [container_name(plan.spec.name, RELAY)] if step.changed else []
        changes.append(step)
    pushed = plan.server_routes.pushed
    # Also where a kick of before failed: the record has what has reached the client.
    kick = routed.applied.pushed or bool(plan.lacking) or state.pushed not in {None, pushed}
    new_profile, verified = False, None
    waited = await_lanes(tunnel.helper, plan.joiners, progress) if touch_client else ()
    if touch_client:
        with stage(progress, "writing the profile") as step:
            step.changed = write_private(tunnel.paths.profile, plan.profile_text.encode())
            new_profile = step.changed
            changes.append(step)
        state, steps, connected = _connect_client(state, tunnel)
        changes += steps
        # A connection that has just been made has the new routes already.
        kick &= not connected
    if kick:
        tunnel.helper.kick_clients()
    state = replace(state, pushed=pushed)
    save_state(tunnel.paths.state, state)
    if touch_client and tunnel.client.name != "none":
        with stage(progress, "waiting for traffic"):
            verified = _wait_for_traffic(plan, tunnel)
        # The client has followed to the new addresses.
        save_state(tunnel.paths.state, replace(state, moved_from=None))
    return SetupResult(
        changed=any(step.changed for step in changes),
        port=plan.spec.port,
        tunnel_subnet=plan.spec.tunnel_subnet,
        client=tunnel.client.name,
        client_reason=tunnel.client_reason,
        profile=str(tunnel.paths.profile),
        networks=plan.networks,
        routes=plan.routes,
        verified=verified,
        warnings=(*plan.warnings, *routed.problems, *waited),
        joined=routed.joined,
        new_profile=new_profile,
        remembered=tunnel.resolved.remembered,
        repaired=tuple(repaired),
        stale=() if touch_client else plan.stale,
    )


def _prepare(plan: Plan, seen: Observed, tunnel: TunnelParts) -> TunnelState:
    """Store the keys, and in the record what later steps and commands must agree on."""
    if plan.keys.action is not Action.KEEP:
        replace_pki(tunnel.paths.pki, plan.keys.pki, tunnel.progress)
    state = replace(
        seen.state.move(plan.spec.tunnel_subnet, plan.spec.relay_subnet),
        token=plan.keys.token,
        context=tunnel.settings.context,
        engine=seen.engine.id or None,
        way=plan.way if plan.way.machine is not None else None,
    )
    save_state(tunnel.paths.state, state)
    return state


def _remember(plan: Plan, state: TunnelState, tunnel: TunnelParts) -> TunnelState:
    """The record with the settings of this run, its port and the ranges that "auto" chose."""
    return replace(
        state,
        port=plan.spec.port,
        options=tunnel.resolved.options,
        settings=to_record(tunnel.resolved),
        remaps=plan.remaps,
    )


@contextmanager
def _rollback_on_error(path: Path, state: TunnelState, before: TunnelState) -> Iterator[None]:
    """Record ``state``, and ``before`` again if an error comes.

    First, as a disk that is full must not cost the server that runs; taken back, as settings
    and a port that cannot work must not spoil the next setup, nor a look of watch, which compares
    the port with the profile.
    """
    save_state(path, state)
    try:
        yield
    except MacnetError:
        save_state(path, before)
        raise


def _start_server(
    plan: Plan, state: TunnelState, tunnel: TunnelParts, *, take_over: bool, may_move: bool
) -> tuple[Plan, bool]:
    """Start it, on the next port where the engine cannot publish an automatic one.

    A port may be free on this machine and still be refused by the engine. Without ``may_move``
    that is an error: the client, which stays as it is, would go on asking the port of before.
    """
    name = plan.spec.name
    if plan.spec.network == own_network(name):
        tunnel.engine.ensure_network(plan.spec.network, {LABEL_NAME: name})
    for attempt in range(PORT_TRIES + 1):
        try:
            return plan, tunnel.helper.ensure_server(
                plan.spec, plan.keys.pki, plan.server_routes, take_over=take_over
            )
        except PortTaken:
            port = next_free_port(plan.spec.port, tunnel.host.port_owner)
            fixed = asked_port(tunnel.settings) is not None or not may_move
            if fixed or attempt == PORT_TRIES or port is None:
                raise
        tunnel.progress.warn(
            f"the engine cannot publish port {plan.spec.port}; the tunnel uses {port}"
        )
        plan = move_port(plan, tunnel.settings, port)
        save_state(tunnel.paths.state, replace(state, port=port))
    raise AssertionError("the loop ends by return or raise")


def _build(
    plan: Plan, tunnel: TunnelParts, progress: Progress, *, offline: bool
) -> Iterator[Stage]:
    """Build the helper image where the engine has none that will do."""
    with stage(progress, "building the helper image") as step:
        if plan.image is not Action.KEEP:
            _, step.changed = ensure_image(
                tunnel.engine, tunnel.settings.base_image, progress, offline=offline
            )
        yield step


def _carry(plan: Plan, tunnel: TunnelParts, progress: Progress) -> Iterator[Stage]:
    """Bring the server's port here, where it is published on another machine's 127.0.0.1."""
    if plan.way.kind is CarrierKind.SSH:
        with stage(progress, "forwarding the tunnel's port by ssh") as step:
            step.changed = tunnel.carrier.carry(plan.spec.port)
            yield step


def _start_relay(plan: Plan, tunnel: TunnelParts, *, made_server: bool, take_over: bool) -> bool:
    """Start it. Where the engine refuses it, a server that this run made goes as well."""
    try:
        return tunnel.helper.ensure_relay(plan.spec, take_over=take_over)
    except EngineRefused:
        if made_server:
            # Half a helper is of no use, and this engine does not take the other half.
            tunnel.helper.remove()
            tunnel.engine.remove_networks(f"{LABEL_NAME}={plan.spec.name}")
        raise


def _require_client(tunnel: TunnelParts) -> None:
    """Raise `ClientMissing` where there is none yet; its hint says that the rest is done."""
    try:
        tunnel.client.require()
    except ClientMissing as error:
        error.hint = f"{error.hint}; then `macnet setup` goes on: all else is ready"
        raise


def _connect_client(
    state: TunnelState, tunnel: TunnelParts
) -> tuple[TunnelState, list[Stage], bool]:
    """Connect the wanted client, and no other one; True if it was not connected before.

    A client of the user's own is theirs to connect; the result names the profile.
    """
    _require_client(tunnel)
    state, steps = switch_client(state, tunnel)
    if tunnel.client.name == "none":
        return state, steps, False
    with stage(tunnel.progress, f"connecting {tunnel.client.name}") as step:
        step.changed = tunnel.client.connect(tunnel.progress, timeout_s=CONNECT_TIMEOUT_S)
    return state, [*steps, step], step.changed


def switch_client(state: TunnelState, tunnel: TunnelParts) -> tuple[TunnelState, list[Stage]]:
    """End the client that was connected before, if another is wanted, and record this one.

    Both have the same certificate: the server would drop each for the other, for ever.
    """
    steps = []
    for former in tunnel.former_clients(state):
        with stage(tunnel.progress, f"disconnecting {former.name}") as step:
            step.changed = former.disconnect(tunnel.progress)
            steps.append(step)
    state = replace(state, client=tunnel.client.name)
    save_state(tunnel.paths.state, state)
    return state, steps


def _wait_for_traffic(plan: Plan, tunnel: TunnelParts) -> str | None:
    """Wait until the routed bridges answer; None where there is none to ask.

    Raises `TunnelTimeout` if not one answers, and warns of those that stay silent.
    """
    machine, runner = plan.way.machine, tunnel.host.runner
    prober = survey.SystemProber(runner) if machine is None else survey.TcpToo(runner)
    marks = survey.landmarks(plan.networks)
    if marks:
        more = f" and {len(marks) - 1} more" if marks[1:] else ""
        tunnel.progress.detail(f"pinging {marks[0]}{more}")
    first, silent = survey.wait_until_answers(
        marks,
        timeout_s=TRAFFIC_TIMEOUT_S,
        ping_timeout_s=PING_TIMEOUT_S,
        prober=prober,
    )
    if first is not None and isinstance(prober, survey.TcpToo) and not prober.pinged:
        tunnel.progress.warn(
            f"TCP works, ping does not: {machine} lets nobody ping without rights; there, "
            "`sysctl -w net.ipv4.ping_group_range='0 2147483647'` would"
        )
    if silent:
        quiet = ", ".join(map(str, silent))
        tunnel.progress.warn(f"no answer from {quiet}: see `macnet check`")
    return str(first) if first is not None else None
