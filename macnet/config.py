"""The configuration: defaults < file < environment < last setup < command line.

`load_config` looks at the sources in that order and checks each value that wins, once. Whatever
is wrong is a `BadValue` that names the source, the value and the allowed form.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from netaddr import IPNetwork

from macnet.errors import BadValue

DEFAULT_PORT = 13194
DEFAULT_TUNNEL_SUBNET = IPNetwork("192.168.255.0/24")
DEFAULT_RELAY_SUBNET = IPNetwork("100.64.0.0/30")

#: IPv6 needs links that carry 1280 bytes (RFC 8200, section 5).
MIN_TUN_MTU = 1280
#: An IP packet has at most 65535 bytes, and so has a record of OpenVPN over TCP, which adds
#: its own overhead to the packet; this leaves it room.
MAX_TUN_MTU = 65000

# Ranges in which a tunnel cannot work: this network, loopback, link-local, multicast, reserved.
_UNUSABLE = tuple(
    ipaddress.IPv4Network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)


class CompLzo(StrEnum):
    """What ``comp-lzo`` says on both ends; OFF leaves the directive out."""

    NO = "no"
    YES = "yes"
    ADAPTIVE = "adaptive"
    OFF = "off"


class RoutesChoice(StrEnum):
    """What this host routes: each subnet, or the engine's whole address pools."""

    EXACT = "exact"
    POOLS = "pools"


@dataclass(frozen=True, slots=True)
class RemapWish:
    """Which Docker subnets get other addresses here: pairs (real, seen), and colliding ones."""

    auto: bool = False
    pairs: tuple[tuple[IPNetwork, IPNetwork], ...] = ()

    def __str__(self) -> str:
        words = ["auto"] if self.auto else []
        return " ".join([*words, *(f"{real}={seen}" for real, seen in self.pairs)])


class ClientChoice(StrEnum):
    """Which VPN client connects; NONE leaves that to the user."""

    AUTO = "auto"
    TUNNELBLICK = "tunnelblick"
    OPENVPN = "openvpn"
    NONE = "none"


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
    remap: RemapWish = RemapWish()


def load_config(
    path: Path,
    environ: Mapping[str, str],
    remembered: Mapping[str, object],
    flags: Mapping[str, object],
) -> Config:
    """Return the configuration from all sources.

    ``path`` is the TOML file, which may be absent. ``remembered`` and ``flags`` have the names
    of `Config`'s fields as keys; None (and an empty list of a repeatable option) means not
    given. Raises `BadValue`.
    """
    values = {}
    for name, given in _given(path, environ, remembered, flags).items():
        try:
            values[name] = _PARSERS[name](given.value)
        except _Unfit as error:
            raise BadValue(
                f"{given.place}: {_shown(given.value)} is not {error.wanted}", hint=error.hint
            ) from None
    return Config(**values)  # type: ignore[arg-type]  # each parser gives its field's type


def explain(
    path: Path,
    environ: Mapping[str, str],
    remembered: Mapping[str, object],
    flags: Mapping[str, object],
) -> dict[str, str]:
    """Return where each field of `load_config`'s result comes from, in words for a person."""
    given = _given(path, environ, remembered, flags)
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


@dataclass(frozen=True, slots=True)
class _Given:
    """A value with its source: in short, and as it begins a message."""

    value: object
    source: str
    place: str


def _given(
    path: Path,
    environ: Mapping[str, str],
    remembered: Mapping[str, object],
    flags: Mapping[str, object],
) -> dict[str, _Given]:
    """Return for each field that has a value the one that wins, unchecked."""
    result = {
        name: _Given(value, str(path), f"{path}, key {name}") for name, value in _file(path).items()
    }
    for name in _PARSERS:
        variable = f"MACNET_{name.upper()}"
        # Like an unset one: that is how a wrapper script switches a variable off. A tunnel's
        # name is no setting of the environment, as it decides whose files are meant.
        if name != "name" and (text := environ.get(variable, "")):
            result[name] = _Given(text, variable, variable)
        option = f"--{name.replace('_', '-')}"
        if not _absent(value := remembered.get(name)):
            result[name] = _Given(value, "last setup", f"{option}, remembered from the last setup")
        if not _absent(value := flags.get(name)):
            result[name] = _Given(value, option, option)
    return result


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and not value)


def _file(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadValue(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadValue(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadValue(
            f"{path} is not valid TOML: {error}",
            hint='A line reads like `port = 13194` or `networks = ["web*"]`.',
        ) from error
    for key in values:
        # A tunnel's name follows from its context.
        if key not in _PARSERS or key == "name":
            near = difflib.get_close_matches(key, _PARSERS, n=1)
            known = f"The keys are {', '.join(sorted(_PARSERS))}."
            hint = f"Did you mean `{near[0]}`?" if near else known
            raise BadValue(f"{path}: there is no key {key!r}", hint=hint)
    return values


class _Unfit(Exception):
    """A value is not ``wanted``; ``hint`` tells the allowed form."""

    def __init__(self, wanted: str, hint: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.hint = hint


def _shown(value: object) -> str:
    return repr(_plain(value))


def _whole_number(low: int, high: int, wanted: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        text = str(value).strip()
        # A bool is an int to Python, and int() takes "1_0" and digits of other scripts.
        if isinstance(value, int | str) and re.fullmatch(r"[0-9]{1,9}", text):
            number = int(text)
            if low <= number <= high:
                return number
        raise _Unfit(wanted, f"Give a whole number from {low} to {high}.")

    return parse


def _pattern(pattern: str, wanted: str, hint: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value.strip()):
            return value.strip()
        raise _Unfit(wanted, hint)

    return parse


def _choice(kind: type[StrEnum]) -> Callable[[object], StrEnum]:
    def parse(value: object) -> StrEnum:
        text = str(value).strip().lower()
        if isinstance(value, str) and text in list(kind):
            return kind(text)
        raise _Unfit("one of the choices", f"Give one of {', '.join(kind)}.")

    return parse


def _subnet(value: object) -> IPNetwork:
    wanted = "a subnet for the tunnel"
    hint = "Give an IPv4 subnet like 192.168.255.0/24, from /16 to /29."
    text = str(value).strip()
    if not isinstance(value, str | IPNetwork) or "/" not in text:
        raise _Unfit(wanted, hint)
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise _Unfit(wanted, hint) from None
    if str(network.network_address) != text.partition("/")[0]:
        raise _Unfit(wanted, f"The subnet of that address is {network}.")
    if not 16 <= network.prefixlen <= 29:
        raise _Unfit(wanted, hint)
    if any(network.overlaps(unusable) for unusable in _UNUSABLE):
        raise _Unfit(wanted, "These addresses are reserved; take a private range.")
    return IPNetwork(str(network))


def _globs(value: object) -> tuple[str, ...]:
    given: Iterable[object] | None = None
    if isinstance(value, str):
        given = value.split(",")
    elif isinstance(value, list | tuple):
        given = value
    texts = [item.strip() if isinstance(item, str) else "" for item in given or ()]
    if given is None or not all(re.fullmatch(r"\S+", text) for text in texts):
        raise _Unfit("a list of network names", "Names may have wildcards: `web`, `shop_*`.")
    return tuple(dict.fromkeys(texts))


def _networks(value: object) -> tuple[str, ...]:
    if globs := _globs(value):
        return globs
    raise _Unfit("a list of network names", 'Leave it out for all networks, or give `["*"]`.')


def _remap(value: object) -> RemapWish:
    wanted = "a remap"
    hint = "Give `auto`, or a Docker subnet and another of its size: 172.17.0.0/16=10.201.0.0/16."
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise _Unfit(wanted, hint)
    auto = False
    pairs: dict[IPNetwork, IPNetwork] = {}
    for text in (item.strip() if isinstance(item, str) else "?" for item in given):
        if not text:
            continue
        if text == "auto":
            auto = True
            continue
        try:
            real, seen = (IPNetwork(str(ipaddress.ip_network(part))) for part in text.split("="))
        except ValueError:
            raise _Unfit(wanted, hint) from None
        if real.version != seen.version or real.prefixlen != seen.prefixlen:
            raise _Unfit(wanted, "Both subnets must have the same size.")
        if seen in pairs.values():
            raise _Unfit(wanted, "Each subnet needs a range of its own.")
        pairs[real] = seen
    return RemapWish(auto, tuple(pairs.items()))


_PARSERS: Mapping[str, Callable[[object], object]] = {
    "context": _pattern(
        r"[A-Za-z0-9][A-Za-z0-9_.+-]*",
        "the name of a Docker context",
        "`docker context ls` lists the contexts.",
    ),
    "name": _pattern(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}",
        "a name for a tunnel",
        "Use up to 40 letters, digits, `.`, `_` and `-`; begin with a letter or a digit.",
    ),
    "port": _whole_number(1, 65535, "a port"),
    "tunnel_subnet": _subnet,
    "tun_mtu": _whole_number(MIN_TUN_MTU, MAX_TUN_MTU, "an MTU for the tunnel"),
    "comp_lzo": _choice(CompLzo),
    "networks": _networks,
    "exclude": _globs,
    "base_image": _pattern(
        r"[A-Za-z0-9][A-Za-z0-9._:/@-]*",
        "the name of an image",
        "Give an image like `debian:trixie-slim`.",
    ),
    "client": _choice(ClientChoice),
    "routes": _choice(RoutesChoice),
    "remap": _remap,
}
