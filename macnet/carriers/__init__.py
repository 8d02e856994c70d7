"""How the engine and the tunnel's port are reached: here, by ssh, or directly.

`base` says what macnet asks of a carrier and has the one for this machine, `ssh` keeps one
connection of the system's OpenSSH, `said` reads what that and the other machine say, and `direct`
is for a port that is published on an address of the engine's machine.
"""

from __future__ import annotations

from pathlib import Path

from macnet.carriers.base import Carrier, Here
from macnet.carriers.direct import Direct
from macnet.carriers.ssh import Ssh, stop_ssh
from macnet.contexts import EngineAddress
from macnet.errors import BadValue, EngineUnreachable
from macnet.runner import CommandRunner

__all__ = ["Carrier", "Direct", "Here", "Ssh", "get_carrier", "stop_ssh"]


def get_carrier(
    address: EngineAddress,
    *,
    expose: str | None,
    folder: Path,
    runner: CommandRunner,
    terminal: bool,
) -> Carrier:
    """The carrier for the engine at ``address``; starts nothing.

    ``expose`` is the address on which the user wants the tunnel's port published. Raises
    `EngineUnreachable` for an engine of another machine to which there is no way, and
    `BadValue` where ``expose`` is of no use.
    """
    if address.machine is not None and address.ssh is None and expose is not None:
        if address.tls is None and not address.url.startswith("https://"):
            raise EngineUnreachable(
                f"the engine at {address.machine} (from {address.source}) takes commands without "
                "TLS, and macnet sends none to another machine like that",
                hint="set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH as for the docker command, or "
                f"use ssh: `export DOCKER_HOST=ssh://USER@{address.machine}`",
            )
        return Direct(address, expose)
    if expose is not None:
        why = (
            "ssh needs no port on the network" if address.ssh else "this engine is on this machine"
        )
        raise BadValue(
            f"--expose is for an engine that TLS reaches on another machine: {why}",
            hint="`macnet setup --unset expose`",
        )
    if address.ssh is not None:
        return Ssh(address, address.ssh, folder=folder, runner=runner, terminal=terminal)
    if address.machine is not None:
        raise EngineUnreachable(
            f"the engine at {address.machine} (from {address.source}) is on another machine, "
            "where the tunnel's port cannot be reached",
            hint=f"use ssh: `export DOCKER_HOST=ssh://USER@{address.machine}`; or open a port on "
            "its network: `macnet setup --expose ADDRESS` (read SECURITY.md before)",
        )
    return Here(address)
