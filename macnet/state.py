"""The record of what was chosen for a tunnel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from netaddr import AddrFormatError, IPNetwork

from macnet.errors import StateError
from macnet.files import read_private, set_aside, write_private
from macnet.progress import Progress

#: The version of the record's format. Raise it when an older macnet would misread the file.
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class TunnelState:
    """What was chosen for one tunnel.

    ``options`` are the command-line options of the last setup, as plain JSON values.
    ``engine`` is the identifier of the engine that the helper was made on.
    ``moved_from`` is the tunnel subnet before this one, which the client may still hold.
    """

    port: int | None = None
    tunnel_subnet: IPNetwork | None = None
    relay_subnet: IPNetwork | None = None
    token: str | None = None
    context: str | None = None
    engine: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    moved_from: IPNetwork | None = None

    def move(self, tunnel_subnet: IPNetwork, relay_subnet: IPNetwork) -> TunnelState:
        """The record with these subnets; a subnet that the tunnel leaves is kept in mind."""
        moved_from = self.moved_from
        if self.tunnel_subnet not in {None, tunnel_subnet}:
            moved_from = self.tunnel_subnet
        return replace(
            self, tunnel_subnet=tunnel_subnet, relay_subnet=relay_subnet, moved_from=moved_from
        )


def load_state(path: Path, progress: Progress, *, repair: bool = False) -> TunnelState:
    """Return the record in ``path``; an empty one, with a warning, where it is damaged.

    With ``repair`` a damaged file is set aside first; whoever will write must ask for that.
    A file of a newer macnet is a `StateError`: writing over it would lose what that one knows.
    """
    data = read_private(path)
    if data is None:
        return TunnelState()
    try:
        return _parse(data, path)
    except (ValueError, RecursionError) as error:
        if not repair:
            progress.warn(f"{path} is damaged ({error}); `macnet setup` sets it aside")
            return TunnelState()
        aside = set_aside(path)
        progress.warn(f"{path} was damaged ({error}); it is now {aside.name} and a new one is made")
        return TunnelState()


def save_state(path: Path, state: TunnelState) -> bool:
    """Write the record to ``path``; tell whether it changed."""
    record = {
        "version": FORMAT_VERSION,
        "port": state.port,
        "tunnel_subnet": _text(state.tunnel_subnet),
        "relay_subnet": _text(state.relay_subnet),
        "token": state.token,
        "context": state.context,
        "engine": state.engine,
        "options": dict(state.options),
        "moved_from": _text(state.moved_from),
    }
    return write_private(path, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())


def _text(subnet: IPNetwork | None) -> str | None:
    return None if subnet is None else str(subnet)


def _parse(data: bytes, path: Path) -> TunnelState:
    """Return the record in ``data``; raise ValueError where it is none."""
    record = json.loads(data.decode())
    version = record.get("version") if isinstance(record, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError("it is no record of a tunnel")
    if version > FORMAT_VERSION:
        raise StateError(
            f"{path} was written by a newer macnet (format {version})",
            hint="Upgrade macnet, or remove the tunnel with the version that made it.",
        )
    port = record.get("port")
    if port is not None and not (type(port) is int and 0 < port < 65536):
        raise ValueError(f"port is {port!r}")
    options = record.get("options", {})
    if not isinstance(options, dict):
        raise ValueError("options is not an object")
    return TunnelState(
        port=port,
        tunnel_subnet=_subnet(record, "tunnel_subnet"),
        relay_subnet=_subnet(record, "relay_subnet"),
        token=_string(record, "token"),
        context=_string(record, "context"),
        engine=_string(record, "engine"),
        options=options,
        moved_from=_subnet(record, "moved_from"),
    )


def _string(record: Mapping[str, object], key: str) -> str | None:
    value = record.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{key} is {value!r}")


def _subnet(record: Mapping[str, object], key: str) -> IPNetwork | None:
    value = _string(record, key)
    try:
        return None if value is None else IPNetwork(value)
    except AddrFormatError as error:
        raise ValueError(f"{key} is {value!r}") from error
