"""Checks of the way to an engine on another machine, while that goes by ssh."""

from __future__ import annotations

from macnet.carriers import Ssh
from macnet.checks.base import Finding, ok, skip
from macnet.checks.facts import Facts
from macnet.choices import CarrierKind
from macnet.errors import CarrierDown, CarrierFailed


def by_ssh(facts: Facts) -> bool:
    """Whether the engine is reached by ssh."""
    return facts.way.kind is CarrierKind.SSH


def login(facts: Facts) -> Finding:
    """Whether an ssh runs; where none does, whether one could."""
    carrier = _ssh(facts)
    try:
        carrier.engine_address()
    except CarrierDown as down:
        raise (carrier.login_error() or down) from None
    return ok(f"ssh to {facts.way.machine} runs")


def engine_socket(facts: Facts) -> Finding:
    """Whether the engine answers through it."""
    if (error := _ssh(facts).engine_error()) is not None:
        raise error
    return ok(f"the engine on {facts.way.machine} answers through ssh")


def port(facts: Facts) -> Finding:
    """Whether the tunnel's port gets through it."""
    if (port := facts.state.port) is None:
        return skip("no port was chosen yet")
    carrier = _ssh(facts)
    if (error := carrier.port_error(port)) is not None:
        raise error
    if not carrier.holds(port):
        raise CarrierFailed(f"ssh does not forward port {port}", hint="`macnet connect`")
    return ok(f"port {port} of {facts.way.machine} answers through ssh")


def _ssh(facts: Facts) -> Ssh:
    carrier = facts.tunnel.carrier
    if not isinstance(carrier, Ssh):
        raise CarrierDown(
            f"{facts.way.machine} was reached by ssh, which the engine's address no longer says",
            hint="name the engine with --context or DOCKER_HOST as before",
        )
    return carrier
