"""Checks of the two containers on the engine."""

from __future__ import annotations

from macnet.checks.base import Finding, count, fail, ok, skip, warn
from macnet.checks.facts import Facts
from macnet.engine import Container
from macnet.errors import EngineError
from macnet.helper import HelperSpec, LaneKind, helper_image_tag
from macnet.helper.containers import has_spec
from macnet.helper.spec import RELAY, RELAY_HEALTH, SERVER, container_name
from macnet.tunnel.decide import Action, Keys, wanted_spec

#: A container that the engine had to start again so often has a fault of its own.
MANY_RESTARTS = 3


def server(facts: Facts) -> Finding:
    """Whether the server's container runs."""
    return _runs(facts, facts.helper.server, SERVER)


def relay(facts: Facts) -> Finding:
    """Whether the relay's container runs."""
    return _runs(facts, facts.helper.relay, RELAY)


def _runs(facts: Facts, found: Container | None, role: str) -> Finding:
    name = container_name(facts.tunnel.settings.name, role)
    if found is None:
        return fail(f"there is no container {name}", "`macnet setup`")
    often = f", started again {count(found.restarts, 'time')}" if found.restarts else ""
    if not found.running:
        said = _last_line(facts, found, role)
        return fail(
            f"{name} does not run ({found.status}, exit code {found.exit_code}){often}{said}",
            f"`macnet setup` starts it again; `macnet logs {role}` shows what it said",
        )
    if found.restarts >= MANY_RESTARTS:
        said = _last_line(facts, found, role)
        return warn(f"{name} runs{often}{said}", f"`macnet logs {role}` shows why it ended")
    return ok(f"{name} runs{often}")


def _last_line(facts: Facts, container: Container, role: str) -> str:
    """The end of its log, for a person; nothing where the engine has none.

    Nothing of the relay's either: it ends with what passed through it, which explains no end.
    """
    if role == RELAY:
        return ""
    try:
        lines = [line for line in facts.engine.logs(container.id, tail=1) if line.strip()]
    except EngineError:
        return ""
    # The engine writes a time stamp before each line.
    return f"; its last words: {lines[-1].partition(' ')[2].strip()}" if lines else ""


def answers(facts: Facts) -> Finding:
    """Whether OpenVPN answers in the server."""
    return ok(f"OpenVPN answers and serves {count(facts.connected_clients, 'client')}")


def attached(facts: Facts) -> Finding:
    """Whether the relay's interface is up in the server's namespace."""
    name = container_name(facts.tunnel.settings.name, RELAY)
    if facts.engine.execute(name, RELAY_HEALTH).exit_code == 0:
        return ok("relay0 is up in the server's namespace")
    return fail(
        "relay0 is not up in the server's namespace",
        f"`docker restart {name}`; `macnet logs relay` shows what it waits for",
    )


def lane(facts: Facts) -> Finding:
    """Whether the kernel carries TCP."""
    match facts.tunnel.helper.lane():
        case LaneKind.KERNEL:
            return ok("the kernel carries TCP")
        case LaneKind.PASTA:
            return warn(
                "the engine's kernel lacks NFQUEUE or REDIRECT: TCP goes through pasta, which "
                "is slower and loses data that a container does not read in time",
                "use an engine with a newer kernel where speed counts; all else works",
            )
        case _:
            return skip("the server does not say yet")


def current(facts: Facts) -> Finding:
    """Whether both containers were made with the present settings."""
    spec = _wanted_spec(facts)
    parts = ((SERVER, facts.helper.server), (RELAY, facts.helper.relay))
    stale = [
        role
        for role, part in parts
        if part is not None and (spec is None or not has_spec(part, spec))
    ]
    if not stale:
        return ok("server and relay were made with the present settings")
    return warn(
        f"{' and '.join(stale)}: made with other settings, keys or by another version",
        "`macnet regenerate`",
    )


def _wanted_spec(facts: Facts) -> HelperSpec | None:
    """What setup would make with the present settings; None where there was none yet."""
    settings, state, pki = facts.tunnel.settings, facts.state, facts.pki
    port = state.port if settings.expose else settings.port or state.port
    if pki is None or port is None or state.token is None or state.relay_subnet is None:
        return None
    return wanted_spec(
        settings,
        facts.networks,
        Keys(pki, state.token, Action.KEEP),
        image=helper_image_tag(settings.base_image),
        port=port,
        tunnel_subnet=settings.tunnel_subnet or facts.own_subnets[0],
        relay_subnet=state.relay_subnet,
        way=facts.way,
        home=facts.tunnel.paths.home,
    )
