"""The settings of a tunnel, resolved once: by `macnet setup`, which stores them with the tunnel.

`resolve` looks at the sources in this order, each overriding the one before: defaults,
config.toml (a table of the tunnel's own before what is for all), environment, the options of
earlier setups, the options of this one. Every other command reads what setup stored
(`from_record`). Whatever is wrong is a `BadValue` that names the source, the value and the
allowed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TypeVar

from netaddr import IPNetwork

from macnet.choices import ClientChoice, CompLzo, RoutesChoice
from macnet.config_file import REMAP_AUTO, TUNNELS, ConfigFile
from macnet.errors import BadValue
from macnet.values import (
    DEFAULT_TUN_MTU,
    DEFAULT_TUNNEL,
    NO_REMAP,
    NOTHING_ALSO,
    PARSERS,
    AlsoRequest,
    Pairs,
    RemapRequest,
    Unfit,
    parse_chosen,
)

_T = TypeVar("_T")

#: Options that are not called like their setting.
_OPTIONS = {"networks": "--network"}
#: These say which tunnel is meant, so they are no settings of one.
_IDENTITY = frozenset({"context", "name"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting. ``port`` None is 13194 or the next free one, ``tun_mtu`` is in bytes."""

    context: str | None = None
    name: str = DEFAULT_TUNNEL
    port: int | None = None
    tunnel_subnet: IPNetwork | None = None
    tun_mtu: int = DEFAULT_TUN_MTU
    comp_lzo: CompLzo = CompLzo.NO
    networks: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    base_image: str | None = None
    client: ClientChoice = ClientChoice.AUTO
    routes: RoutesChoice = RoutesChoice.EXACT
    remap: RemapRequest = NO_REMAP
    also: AlsoRequest = NOTHING_ALSO
    expose: tuple[str, ...] = ()


#: The settings that a tunnel keeps.
NAMES = tuple(item.name for item in fields(Settings) if item.name not in _IDENTITY)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, the source of each one in words, and the options that the tunnel remembers.

    ``given`` are the settings that options of this very command gave, without those that they
    took back, ``chosen`` the ranges that ``--remap auto`` gave to colliding subnets before.
    """

    settings: Settings
    sources: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    chosen: Pairs = ()

    @property
    def remembered(self) -> tuple[str, ...]:
        """The options of earlier setups that count here, as a user writes them."""
        return tuple(
            f"{option_name(name)} {' '.join(map(str, _listed(self.options[name])))}".rstrip()
            for name in NAMES
            if name in self.options and name not in self.given
        )


def resolve(
    file: ConfigFile,
    environ: Mapping[str, str],
    remembered: Mapping[str, object],
    options: Mapping[str, object],
    *,
    context: str | None = None,
    name: str = DEFAULT_TUNNEL,
) -> Resolved:
    """Return the settings of the tunnel ``name`` from all sources.

    ``remembered`` and ``options`` have the names of `Settings`' fields as keys; None (and an
    empty list of a repeatable option) means not given. Raises `BadValue`.
    """
    below = _given(file, environ, {}, {}, name)
    given = _given(file, environ, remembered, options, name)
    values = {key: _parsed(PARSERS[key], one) for key, one in given.items()}
    settings = Settings(context=context, name=name, **values)  # type: ignore[arg-type]
    now = {key: _plain(value) for key, value in options.items() if not _absent(value)}
    # `--port 0` or `--exclude ""` takes an option back: nothing is left to remember, unless the
    # file or the environment says something else.
    taken_back = {
        key
        for key in now
        if key not in below and getattr(settings, key) == getattr(Settings(), key)
    }
    return Resolved(
        settings=settings,
        sources={key: given[key].source if key in given else "default" for key in NAMES},
        options={k: v for k, v in {**remembered, **now}.items() if k not in taken_back},
        given=frozenset(now) - taken_back,
    )


def resolve_context(
    file: ConfigFile, environ: Mapping[str, str], option: str | None
) -> tuple[str | None, str]:
    """The Docker context that is asked for (None: whatever Docker uses), and by what."""
    found = _layers(file.settings, str(file.path), environ, "context")
    if option is not None:
        found = _Given(option, "--context", "--context")
    if found is None:
        return None, "default"
    return str(_parsed(PARSERS["context"], found)), found.source


def override(resolved: Resolved, options: Mapping[str, object]) -> Resolved:
    """``resolved`` with options that hold for one command only. Raises `BadValue`."""
    given = {
        name: _Given(value, option_name(name), option_name(name))
        for name, value in options.items()
        if not _absent(value)
    }
    values = {name: getattr(resolved.settings, name) for name in Settings.__slots__}
    values |= {name: _parsed(PARSERS[name], one) for name, one in given.items()}
    sources = {**resolved.sources, **{name: one.source for name, one in given.items()}}
    return Resolved(Settings(**values), sources, resolved.options, frozenset(given))


def remember(resolved: Resolved, name: str, value: object) -> Resolved:
    """``resolved`` with a setting that macnet itself has found; later setups remember it."""
    return replace(
        resolved,
        settings=replace(resolved.settings, **{name: value}),  # type: ignore[arg-type]
        sources={**resolved.sources, name: "last setup"},
        options={**resolved.options, name: value},
    )


def to_record(resolved: Resolved) -> dict[str, dict[str, object]]:
    """The effective settings with their sources, as plain JSON values for `from_record`."""
    return {
        name: {
            "value": _plain(getattr(resolved.settings, name)),
            "source": _source_later(resolved, name),
        }
        for name in NAMES
    }


def _source_later(resolved: Resolved, name: str) -> str:
    """The source of a setting for the next command, which has not the options of this one."""
    if name in resolved.given:
        return "last setup"
    source = resolved.sources.get(name, "default")
    return "default" if source == option_name(name) else source


def from_record(
    record: Mapping[str, Mapping[str, object]],
    options: Mapping[str, object],
    *,
    context: str | None,
    name: str,
) -> Resolved:
    """The settings that a setup stored. Raises `BadValue` for what this macnet does not know."""
    values: dict[str, object] = {}
    for key in NAMES:
        value = record.get(key, {}).get("value")
        if value is not None:
            place = f"the record of the tunnel {name}, setting {key}"
            values[key] = _parsed(PARSERS[key], _Given(value, place, place))
    return Resolved(
        Settings(context=context, name=name, **values),  # type: ignore[arg-type]
        {key: str(record.get(key, {}).get("source", "default")) for key in NAMES},
        options,
    )


def chosen_remaps(file: ConfigFile, tunnel: str) -> Pairs:
    """The ranges that macnet 0.1 wrote into config.toml for ``tunnel``. Raises `BadValue`."""
    table, place = file.table(tunnel), f"{file.path}, table {TUNNELS}.{tunnel}"
    if REMAP_AUTO not in table:
        return ()
    return _parsed(parse_chosen, _Given(table[REMAP_AUTO], place, f"{place}, key {REMAP_AUTO}"))


def forget(remembered: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    """``remembered`` without the settings ``names`` (`exclude`, `--exclude`, `--network`).

    Raises `BadValue` for a name that is no setting.
    """
    by_option = {option_name(name): name for name in NAMES} | {name: name for name in NAMES}
    gone = set()
    for text in names:
        asked = text.strip()
        name = by_option.get(asked.replace("-", "_")) or by_option.get(f"--{asked.lstrip('-')}")
        if name is None:
            known = ", ".join(option_name(name).lstrip("-") for name in NAMES)
            raise BadValue(f"--unset: there is no setting {text!r}", hint=f"the names are {known}")
        gone.add(name)
    return {name: value for name, value in remembered.items() if name not in gone}


def option_name(name: str) -> str:
    """How an option of `macnet setup` spells a setting."""
    return _OPTIONS.get(name, f"--{name.replace('_', '-')}")


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
    options: Mapping[str, object],
    tunnel: str,
) -> dict[str, _Given]:
    """Return for each setting that has a value the one that wins, unchecked."""
    result: dict[str, _Given] = {}
    for name in NAMES:
        found = _layers(file.settings, str(file.path), {}, name)
        table = f"{file.path}, table {TUNNELS}.{tunnel}"
        found = _layers(file.table(tunnel), table, environ, name) or found
        option = option_name(name)
        if not _absent(value := remembered.get(name)):
            found = _Given(value, "last setup", f"{option}, remembered from the last setup")
        if not _absent(value := options.get(name)):
            found = _Given(value, option, option)
        if found is not None:
            result[name] = found
    return result


def _layers(
    values: Mapping[str, object], place: str, environ: Mapping[str, str], name: str
) -> _Given | None:
    """What a file says, or the environment, which overrides it."""
    variable = f"MACNET_{name.upper()}"
    # An empty variable counts as unset: that is how a wrapper script switches it off.
    if text := environ.get(variable, ""):
        return _Given(text, variable, variable)
    return _Given(values[name], place, f"{place}, key {name}") if name in values else None


def _parsed(parse: Callable[[object], _T], given: _Given) -> _T:
    try:
        return parse(given.value)
    except Unfit as error:
        plain = _plain(given.value)
        if given.place.startswith("--") and isinstance(plain, list) and len(plain) == 1:
            [plain] = plain  # as it was typed
        raise BadValue(f"{given.place}: {plain!r} is not {error.wanted}", hint=error.hint) from None


def _plain(value: object) -> object:
    if isinstance(value, RemapRequest | AlsoRequest):
        return list(value.words)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    return value.value if isinstance(value, StrEnum) else str(value)


def _listed(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else [value]


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and not value)
