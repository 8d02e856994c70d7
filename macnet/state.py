"""The record of a tunnel: what was chosen for it, and the settings that its last setup had."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from netaddr import AddrFormatError, IPNetwork

from macnet.choices import CarrierKind
from macnet.errors import StateError
from macnet.files import read_private, set_aside, write_private
from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.paths import Paths
from macnet.progress import Progress, Silent
from macnet.values import DEFAULT_TUNNEL, LOOPBACK, Pairs, Unfit, pair_words, parse_chosen

#: A context of such a name can give it to its tunnel: nothing in it has to be replaced, and no
#: file system that ignores case takes it for another one.
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")

#: The version of the record's format. Raise it when an older macnet would misread the file.
#: 2 added ``settings``, ``remaps`` and ``client``.
FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class NamesChoice:
    """The domain of the containers' names, and the port of 127.0.0.1 that answers for them.

    ``cluster`` is the Kubernetes cluster whose own domain is answered too.
    """

    domain: str
    port: int
    cluster: str | None = None

    @property
    def shown(self) -> str:
        """The domains, in words."""
        return show_domains(self.domain, self.cluster)


def show_domains(domain: str | None, cluster: str | None) -> str:
    """The domains of names, in words; ``cluster`` is the one that has its own here."""
    return f"{domain}" if cluster is None else f"{domain}, {CLUSTER_DOMAIN} (the cluster {cluster})"


@dataclass(frozen=True, slots=True)
class Way:
    """How the tunnel's port on the engine's machine is reached from here.

    ``publish`` is the address of the engine's machine on which the server's port is published,
    ``remote`` the one to which the client connects, ``machine`` the other machine's name.
    """

    kind: CarrierKind = CarrierKind.HERE
    machine: str | None = None
    publish: str = LOOPBACK
    remote: str = LOOPBACK

    @property
    def words(self) -> str:
        """How to say it; empty for an engine on this machine."""
        match self.kind:
            case CarrierKind.SSH:
                return f"by ssh to {self.machine}"
            case CarrierKind.DIRECT:
                return f"published by {self.machine}"
            case CarrierKind.HERE:
                return ""


@dataclass(frozen=True, slots=True)
class TunnelState:
    """What was chosen for one tunnel. None stands for what no command has chosen yet.

    ``options`` are the command-line options that setup remembers, ``settings`` the effective
    settings of the last setup with their sources (`macnet.settings`), both as plain JSON values.
    ``remaps`` are the ranges that ``--remap auto`` chose. ``engine`` is the identifier of the
    engine that the helper was made on. ``client`` is the VPN client that was connected last.
    ``moved_from`` is the tunnel subnet before this one, which the client may still hold.
    ``pushed`` are the routes that connected clients have been told of.
    ``names`` is there while `macnet names` is on. ``way`` is what reaches another machine, while
    that is to be kept.
    """

    port: int | None = None
    tunnel_subnet: IPNetwork | None = None
    relay_subnet: IPNetwork | None = None
    token: str | None = None
    context: str | None = None
    engine: str | None = None
    client: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, object]] | None = None
    remaps: Pairs | None = None
    moved_from: IPNetwork | None = None
    pushed: tuple[IPNetwork, ...] | None = None
    names: NamesChoice | None = None
    way: Way | None = None

    def move(self, tunnel_subnet: IPNetwork, relay_subnet: IPNetwork) -> TunnelState:
        """The record with these subnets; it remembers a tunnel subnet that it leaves."""
        moved_from = self.moved_from
        if self.tunnel_subnet not in {None, tunnel_subnet}:
            moved_from = self.tunnel_subnet
        return replace(
            self, tunnel_subnet=tunnel_subnet, relay_subnet=relay_subnet, moved_from=moved_from
        )


def find_tunnel_name(context: str | None, paths: Paths) -> str:
    """The name of the tunnel of a Docker context (None: of no particular one).

    Each context has a tunnel of its own, called like it. A context whose name cannot be taken
    as it is gets a hash added, so that no two contexts share a tunnel; one that macnet 0.1 set
    up keeps the name that it had then.
    """
    if context is None:
        return DEFAULT_TUNNEL
    if _PLAIN_NAME.fullmatch(context) and context != DEFAULT_TUNNEL:
        return context
    former = context.replace("+", "-")[:40]
    if former != DEFAULT_TUNNEL:
        record = load_state(paths.tunnel(former).state, Silent())
        if record.context == context:
            return former
    digest = hashlib.sha256(context.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9._-]', '-', context.lower())[:31]}-{digest}"


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
        "client": state.client,
        "options": dict(state.options),
        "settings": None if state.settings is None else dict(state.settings),
        "remaps": None if state.remaps is None else pair_words(state.remaps),
        "moved_from": _text(state.moved_from),
        "pushed": None if state.pushed is None else [str(net) for net in state.pushed],
        "names": None if state.names is None else asdict(state.names),
        "way": None if state.way is None else asdict(state.way),
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
            hint="upgrade macnet, or remove the tunnel with the version that made it",
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
        client=_string(record, "client"),
        options=options,
        settings=_settings(record.get("settings")),
        remaps=_remaps(record.get("remaps")),
        moved_from=_subnet(record, "moved_from"),
        pushed=_subnets(record.get("pushed")),
        names=_names(record.get("names")),
        way=_way(record.get("way")),
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


def _subnets(value: object) -> tuple[IPNetwork, ...] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        with suppress(AddrFormatError):
            return tuple(IPNetwork(one) for one in value)
    raise ValueError("pushed is not a list of ranges")


def _settings(value: object) -> Mapping[str, Mapping[str, object]] | None:
    if value is None:
        return None
    if isinstance(value, dict) and all(isinstance(one, dict) for one in value.values()):
        return value
    raise ValueError("settings is not an object of objects")


def _remaps(value: object) -> Pairs | None:
    try:
        return None if value is None else parse_chosen(value)
    except Unfit as error:
        raise ValueError(f"remaps is not {error.wanted}") from error


def _way(value: object) -> Way | None:
    if value is None:
        return None
    if isinstance(value, dict):
        kind = value.get("kind")
        texts = {key: value.get(key) for key in ("machine", "publish", "remote")}
        if kind in set(CarrierKind) and all(isinstance(text, str) for text in texts.values()):
            return Way(CarrierKind(kind), **{key: str(text) for key, text in texts.items()})
    raise ValueError("way is not an object with kind, machine, publish and remote")


def _names(value: object) -> NamesChoice | None:
    if value is None:
        return None
    if isinstance(value, dict):
        domain, port, cluster = (value.get(key) for key in ("domain", "port", "cluster"))
        if (
            isinstance(domain, str)
            and type(port) is int
            and 0 < port < 65536
            and (cluster is None or isinstance(cluster, str))
        ):
            return NamesChoice(domain, port, cluster)
    raise ValueError("names is not an object with domain, port and cluster")
