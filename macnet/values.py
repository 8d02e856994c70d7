"""What each setting may be: its type, its bounds, and what is told where a value is none.

`macnet.config` says where values come from; here each is judged.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPNetwork

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
    """Which Docker subnets get other addresses here: pairs (real, seen), and colliding ones.

    ``chosen`` are the pairs that were given to colliding ones before.
    """

    auto: bool = False
    pairs: tuple[tuple[IPNetwork, IPNetwork], ...] = ()
    chosen: tuple[tuple[IPNetwork, IPNetwork], ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What was asked for, as `--remap` takes it."""
        return (*(["auto"] if self.auto else ()), *pair_words(self.pairs))

    def __str__(self) -> str:
        return " ".join(self.words)


NO_REMAP = RemapWish()


def pair_words(pairs: Iterable[tuple[IPNetwork, IPNetwork]]) -> tuple[str, ...]:
    """Each pair (real, seen) as "REAL=SEEN"."""
    return tuple(f"{real}={seen}" for real, seen in pairs)


class ClientChoice(StrEnum):
    """Which VPN client connects; NONE leaves that to the user."""

    AUTO = "auto"
    TUNNELBLICK = "tunnelblick"
    OPENVPN = "openvpn"
    NONE = "none"


class Unfit(Exception):
    """A value is not ``wanted``; ``hint`` tells the allowed form."""

    def __init__(self, wanted: str, hint: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.hint = hint


def _whole_number(low: int, high: int, wanted: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        text = str(value).strip()
        # A bool is an int to Python, and int() takes "1_0" and digits of other scripts.
        if isinstance(value, int | str) and re.fullmatch(r"[0-9]{1,9}", text):
            number = int(text)
            if low <= number <= high:
                return number
        raise Unfit(wanted, f"Give a whole number from {low} to {high}.")

    return parse


def _port(value: object) -> int | None:
    """0 is how an option takes a remembered port back."""
    return _whole_number(0, 65535, "a port")(value) or None


def _pattern(pattern: str, wanted: str, hint: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value.strip()):
            return value.strip()
        raise Unfit(wanted, hint)

    return parse


def _choice(kind: type[StrEnum]) -> Callable[[object], StrEnum]:
    def parse(value: object) -> StrEnum:
        text = str(value).strip().lower()
        if isinstance(value, str) and text in list(kind):
            return kind(text)
        raise Unfit("one of the choices", f"Give one of {', '.join(kind)}.")

    return parse


def _subnet(value: object) -> IPNetwork:
    wanted = "a subnet for the tunnel"
    hint = "Give an IPv4 subnet like 192.168.255.0/24, from /16 to /29."
    text = str(value).strip()
    if not isinstance(value, str | IPNetwork) or "/" not in text:
        raise Unfit(wanted, hint)
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise Unfit(wanted, hint) from None
    if str(network.network_address) != text.partition("/")[0]:
        raise Unfit(wanted, f"The subnet of that address is {network}.")
    if not 16 <= network.prefixlen <= 29:
        raise Unfit(wanted, hint)
    if any(network.overlaps(unusable) for unusable in _UNUSABLE):
        raise Unfit(wanted, "These addresses are reserved; take a private range.")
    return IPNetwork(str(network))


def _globs(value: object) -> tuple[str, ...]:
    given: Iterable[object] | None = None
    if isinstance(value, str):
        given = value.split(",")
    elif isinstance(value, list | tuple):
        given = value
    texts = [item.strip() if isinstance(item, str) else "not text" for item in given or ()]
    texts = [text for text in texts if text]  # an empty one takes remembered names back
    if given is None or not all(re.fullmatch(r"\S+", text) for text in texts):
        raise Unfit("a list of network names", "Names may have wildcards: `web`, `shop_*`.")
    return tuple(dict.fromkeys(texts))


def _networks(value: object) -> tuple[str, ...]:
    if globs := _globs(value):
        return globs
    raise Unfit("a list of network names", 'Leave it out for all networks, or give `["*"]`.')


def _remap(value: object) -> RemapWish:
    wanted = "a remap"
    hint = "Give `auto`, or a Docker subnet and another of its size: 172.17.0.0/16=10.201.0.0/16."
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise Unfit(wanted, hint)
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
            raise Unfit(wanted, hint) from None
        if real.version != seen.version or real.prefixlen != seen.prefixlen:
            raise Unfit(wanted, "Both subnets must have the same size.")
        if seen in pairs.values():
            raise Unfit(wanted, "Each subnet needs a range of its own.")
        pairs[real] = seen
    return RemapWish(auto, tuple(pairs.items()))


def parse_chosen(value: object) -> tuple[tuple[IPNetwork, IPNetwork], ...]:
    """The pairs in a list of "REAL=SEEN". Raises `Unfit`."""
    wish = _remap(value)
    if wish.auto:
        raise Unfit("a list of pairs", "`auto` belongs to the key `remap`.")
    return wish.pairs


#: For each field of `macnet.config.Config` what makes its value of what was given.
PARSERS: Mapping[str, Callable[[object], object]] = {
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
    "port": _port,
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
