"""Checks of the two containers on the engine."""

from __future__ import annotations

from macnet.checks.base import Check, Finding, fail, ok, warn
from macnet.checks.context import Context
from macnet.config import Config
from macnet.engine import Container
from macnet.errors import EngineError
from macnet.helper import HelperSpec, helper_image_tag
from macnet.helper.spec import LABEL_SPEC, RELAY, SERVER, container_name
from macnet.tunnel.plan import OWN_NETWORK

#: A container that the engine had to start again so often has a fault of its own.
MANY_RESTARTS = 3
_RELAY_HEALTH = ("sh", "/usr/local/lib/macnet/relay-health.sh")


def _server(context: Context) -> Finding:
    return _runs(context, context.helper.server, SERVER)


def _relay(context: Context) -> Finding:
    return _runs(context, context.helper.relay, RELAY)


def _runs(context: Context, found: Container | None, role: str) -> Finding:
    name = container_name(context.tunnel.config.name, role)
    if found is None:
        return fail(f"there is no container {name}", "`macnet setup`")
    often = f", started again {found.restarts} times" if found.restarts else ""
    if not found.running:
        said = _last_line(context, found)
        return fail(f"{name} is {found.status} (exit code {found.exit_code}){often}{said}", _AGAIN)
    if found.restarts >= MANY_RESTARTS:
        said = _last_line(context, found)
        return warn(f"{name} runs{often}{said}", f"`macnet logs {role}` shows why it ended")
    return ok(f"{name} runs{often}")


def _last_line(context: Context, container: Container) -> str:
    """The end of its log, for a person; nothing where the engine has none."""
    try:
        lines = [line for line in context.engine.logs(container.id, tail=1) if line.strip()]
    except EngineError:
        return ""
    # The engine writes a time stamp before each line.
    return f"; its last words: {lines[-1].partition(' ')[2].strip()}" if lines else ""


def _answers(context: Context) -> Finding:
    count = context.connected_clients
    return ok(f"OpenVPN answers and serves {count} client{'' if count == 1 else 's'}")


def _attached(context: Context) -> Finding:
    name = container_name(context.tunnel.config.name, RELAY)
    if context.engine.execute(name, _RELAY_HEALTH).exit_code == 0:
        return ok("relay0 is up in the server's namespace")
    return fail(
        "relay0 is not up in the server's namespace",
        f"`docker restart {name}`; `macnet logs relay` shows what it waits for",
    )


def _current(context: Context) -> Finding:
    spec = _wanted_spec(context)
    parts = ((SERVER, context.helper.server), (RELAY, context.helper.relay))
    stale = [
        role
        for role, part in parts
        if part is not None and (spec is None or part.labels.get(LABEL_SPEC) != spec.digest())
    ]
    if not stale:
        return ok("server and relay were made with the present settings")
    return warn(
        f"{' and '.join(stale)}: made with other settings, keys or by another version",
        "`macnet regenerate`",
    )


def _wanted_spec(context: Context) -> HelperSpec | None:
    config: Config = context.tunnel.config
    state, pki = context.state, context.pki
    port = config.port or state.port
    if pki is None or port is None or state.token is None or state.relay_subnet is None:
        return None
    has_bridge = any(network.name == "bridge" for network in context.networks)
    return HelperSpec(
        name=config.name,
        image=helper_image_tag(config.base_image),
        port=port,
        tunnel_subnet=config.tunnel_subnet or context.tunnel_subnet,
        relay_subnet=state.relay_subnet,
        tun_mtu=config.tun_mtu,
        comp_lzo=config.comp_lzo,
        token=state.token,
        network="bridge" if has_bridge else OWN_NETWORK,
        pki_fingerprint=pki.fingerprint,
    )


_AGAIN = "`macnet setup` makes it anew; `macnet logs` shows what it said"

CHECKS = (
    Check(
        id="helper.server",
        title="The server runs",
        about="Looks for the server's container, whether it runs and how often it was started.",
        needs=("engine.reachable", "tunnel.setup"),
        fix="`macnet setup`",
        run=_server,
    ),
    Check(
        id="helper.server.answers",
        title="OpenVPN answers in the server",
        about="Asks OpenVPN for its clients, on its management socket inside the container.",
        needs=("helper.server",),
        fix="`macnet logs server` shows what OpenVPN said",
        run=_answers,
    ),
    Check(
        id="helper.relay",
        title="The relay runs",
        about="Looks for the relay's container, whether it runs and how often it was started.",
        needs=("helper.server",),
        fix="`macnet setup`",
        run=_relay,
    ),
    Check(
        id="helper.relay.attached",
        title="The relay is attached to the server",
        about="Looks whether the relay's interface is up in the server's network namespace.",
        needs=("helper.relay", "helper.server.answers"),
        fix="`macnet logs relay` shows what the relay waits for",
        run=_attached,
    ),
    Check(
        id="helper.current",
        title="The helper has the present settings",
        about="Compares the specification on both containers with settings, keys and version.",
        needs=("helper.relay", "engine.networks", "tunnel.certificates"),
        fix="`macnet regenerate`",
        run=_current,
    ),
)
