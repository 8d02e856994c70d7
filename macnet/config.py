"""The configuration: defaults < file < environment < tunnel's table < last setup < command line.

`load_config` looks at the sources in that order and checks each value that wins, once. Whatever
is wrong is a `BadValue` that names the source, the value and the allowed form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from netaddr import IPNetwork

from macnet.config_file import REMAP_AUTO, TUNNELS, ConfigFile
from macnet.errors import BadValue
from macnet.values import (
    DEFAULT_PORT,
    DEFAULT_RELAY_SUBNET,
    DEFAULT_TUNNEL_SUBNET,
    MAX_TUN_MTU,
    MIN_TUN_MTU,
    NO_REMAP,
    PARSERS,
    ClientChoice,
    CompLzo,
    RemapWish,
    RoutesChoice,
    Unfit,
    parse_chosen,
)

_T = TypeVar("_T")

__all__ = [
    "DEFAULT_PORT",
    "DEFAULT_RELAY_SUBNET",
    "DEFAULT_TUNNEL_SUBNET",
    "MAX_TUN_MTU",
    "MIN_TUN_MTU",
    "ClientChoice",
    "CompLzo",
    "Config",
    "RemapWish",
    "RoutesChoice",
    "explain",
    "load_config",
    "plain_options",
]


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting. ``port`` None is 13194 or the next free one, ``tun_mtu`` is in bytes."""

    context: str | None = None
    name: str = "macnet"
    port: int | None = None
    tunnel_subnet: IPNetwork | None = None
    tun_mtu: int = 16000
    comp_lzo: CompLzo = CompLzo.NO
    networks: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    base_image: str | None = None
    client: ClientChoice = ClientChoice.AUTO
    routes: RoutesChoice = RoutesChoice.EXACT
    remap: RemapWish = NO_REMAP


def load_config(
    file: ConfigFile,
    environ: Mapping[str, str],
    remembered: Mapping[str, object],
    flags: Mapping[str, object],
) -> Config:
    """Return the configuration from all sources.

    ``remembered`` and ``flags`` have the names of `Config`'s fields as keys; None (and an empty
    list of a repeatable option) means not given. The tunnel's table in ``file`` counts where
    ``flags`` name the tunnel. Raises `BadValue`.
    """
    values = {
        name: _parsed(PARSERS[name], given)
        for name, given in _given(file, environ, remembered, flags).items()
    }
    config = Config(**values)  # type: ignore[arg-type]  # each parser gives its field's type
    table, place = _table(file, flags)
    if REMAP_AUTO not in table:
        return config
    chosen = _parsed(parse_chosen, _Given(table[REMAP_AUTO], place, f"{place}, key {REMAP_AUTO}"))
    return replace(config, remap=replace(config.remap, chosen=chosen))


def _parsed(parse: Callable[[object], _T], given: _Given) -> _T:
    try:
        return parse(given.value)
    except Unfit as error:
        raise BadValue(
            f"{given.place}: {_shown(given.value)} is not {error.wanted}", hint=error.hint
        ) from None


def explain(
    file: ConfigFile,
    environ: Mapping[str, str],
    remembered: Mapping[str, object],
    flags: Mapping[str, object],
) -> dict[str, str]:
    """Return where each field of `load_config`'s result comes from, in words for a person."""
    given = _given(file, environ, remembered, flags)
    return {
        item.name: given[item.name].source if item.name in given else "default"
        for item in fields(Config)
    }


def plain_options(flags: Mapping[str, object]) -> dict[str, object]:
    """Return the ``flags`` that were given as plain JSON values, to be remembered."""
    return {name: _plain(value) for name, value in flags.items() if not _absent(value)}


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if type(value) in (bool, int, float, str) else str(value)


#: Options that are not called like their setting.
_OPTIONS = {"networks": "--network"}


@dataclass(frozen=True, slots=True)
class _Given:
    """A value with its source: in short, and as it begins a message."""

    value: object
    source: str
    place: str


def _given(
    file: ConfigFile,
    environ: Mapping[str, str],
    remembered: Mapping[str, object],
    flags: Mapping[str, object],
) -> dict[str, _Given]:
    """Return for each field that has a value the one that wins, unchecked."""
    result = {
        name: _Given(value, str(file.path), f"{file.path}, key {name}")
        for name, value in file.settings.items()
    }
    table, place = _table(file, flags)
    for name in PARSERS:
        variable = f"MACNET_{name.upper()}"
        # Like an unset one: that is how a wrapper script switches a variable off. A tunnel's
        # name is no setting of the environment, as it decides whose files are meant.
        if name != "name" and (text := environ.get(variable, "")):
            result[name] = _Given(text, variable, variable)
        if name in table:
            result[name] = _Given(table[name], place, f"{place}, key {name}")
        option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
        if not _absent(value := remembered.get(name)):
            result[name] = _Given(value, "last setup", f"{option}, remembered from the last setup")
        if not _absent(value := flags.get(name)):
            result[name] = _Given(value, option, option)
    return result


def _table(file: ConfigFile, flags: Mapping[str, object]) -> tuple[Mapping[str, object], str]:
    """The settings of the tunnel that ``flags`` name, and where they stand."""
    name = flags.get("name")
    return file.table(str(name)), f"{file.path}, table {TUNNELS}.{name}"


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and not value)


def _shown(value: object) -> str:
    return repr(_plain(value))
