"""Parses and validates each setting; `macnet.settings` says where its value comes from."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPNetwork

from macnet.choices import ClientChoice, CompLzo, RoutesChoice

#: The tunnel of whatever engine Docker uses, and the beginning of every tunnel's names.
DEFAULT_TUNNEL = "macnet"
DEFAULT_PORT = 13194
LOOPBACK = "127.0.0.1"
#: Every IPv4 address of a machine.
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing here binds it
DEFAULT_TUNNEL_SUBNET = IPNetwork("192.168.255.0/24")
DEFAULT_RELAY_SUBNET = IPNetwork("100.64.0.0/30")

#: IPv6 needs links that carry 1280 bytes (RFC 8200, section 5).
MIN_TUN_MTU = 1280
#: An IP packet has at most 65535 bytes, and so has a record of OpenVPN over TCP, which adds
#: its own overhead to the packet; this leaves it room.
MAX_TUN_MTU = 65000
#: In bytes; the second where a packet that fills the first does not get through.
DEFAULT_TUN_MTU, FALLBACK_TUN_MTU = 65000, 16000

#: A wider one than 10.0.0.0/8 is a mistake: it would take this host's own traffic.
_WIDEST_ALSO = 8

# Ranges in which a tunnel cannot work: this network, loopback, link-local, multicast, reserved.
_UNUSABLE = tuple(
    ipaddress.IPv4Network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)


#: Remaps as (real, seen): a Docker subnet, and the range under which this host reaches it.
Pairs = tuple[tuple[IPNetwork, IPNetwork], ...]


@dataclass(frozen=True, slots=True)
class RemapRequest:
    """Which Docker subnets get other addresses here: pairs (real, seen), and colliding ones."""

    auto: bool = False
    pairs: Pairs = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What was asked for, as `--remap` takes it."""
        return (*(["auto"] if self.auto else ()), *pair_words(self.pairs))

    def __str__(self) -> str:
        return " ".join(self.words)


NO_REMAP = RemapRequest()


@dataclass(frozen=True, slots=True)
class AlsoRequest:
    """What is to be reached beyond the bridges of the engine.

    ``overlays`` are all networks of a swarm, ``kubernetes`` all clusters that run in containers,
    ``clusters`` single ones by name. ``through`` are ranges behind a container, ``ranges`` those
    for which the engine's own host has a route.
    """

    overlays: bool = False
    kubernetes: bool = False
    clusters: tuple[str, ...] = ()
    through: tuple[tuple[IPNetwork, str], ...] = ()
    ranges: tuple[IPNetwork, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What was asked for, as `--also` takes it."""
        return (
            *(["overlays"] if self.overlays else ()),
            *(["kubernetes"] if self.kubernetes else ()),
            *(f"kubernetes={name}" for name in self.clusters),
            *(f"{net}={container}" for net, container in self.through),
            *(str(net) for net in self.ranges),
        )

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.words)

    def __str__(self) -> str:
        return " ".join(self.words)


NOTHING_ALSO = AlsoRequest()


def pair_words(pairs: Pairs) -> tuple[str, ...]:
    """Each pair (real, seen) as "REAL=SEEN"."""
    return tuple(f"{real}={seen}" for real, seen in pairs)


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
        raise Unfit(wanted, f"give a whole number from {low} to {high}")

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
        raise Unfit("one of the choices", f"give one of {', '.join(kind)}")

    return parse


def _subnet(value: object) -> IPNetwork:
    wanted = "a subnet for the tunnel"
    hint = "give an IPv4 subnet like 192.168.255.0/24, from /16 to /29"
    text = str(value).strip()
    if not isinstance(value, str | IPNetwork) or "/" not in text:
        raise Unfit(wanted, hint)
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise Unfit(wanted, hint) from None
    if str(network.network_address) != text.partition("/")[0]:
        raise Unfit(wanted, f"the subnet of that address is {network}")
    if not 16 <= network.prefixlen <= 29:
        raise Unfit(wanted, hint)
    if any(network.overlaps(unusable) for unusable in _UNUSABLE):
        raise Unfit(wanted, "these addresses are reserved; take a private range")
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
        raise Unfit("a list of network names", "names may have wildcards: `web`, `shop_*`")
    return tuple(dict.fromkeys(texts))


def _networks(value: object) -> tuple[str, ...]:
    if globs := _globs(value):
        return globs
    raise Unfit("a list of network names", 'leave it out for all networks, or give `["*"]`')


def _remap(value: object) -> RemapRequest:
    wanted = "a remap"
    hint = "give `auto`, or a Docker subnet and another of its size: 172.17.0.0/16=10.201.0.0/16"
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
            raise Unfit(wanted, "both subnets must have the same size")
        if seen in pairs.values():
            raise Unfit(wanted, "each subnet needs a range of its own")
        pairs[real] = seen
    return RemapRequest(auto, tuple(pairs.items()))


#: Names of clusters and of containers, as Docker takes them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _also(value: object) -> AlsoRequest:
    wanted = "something to reach beyond Docker's bridges"
    hint = (
        "give `overlays`, `kubernetes`, `kubernetes=NAME`, a range and the container behind which "
        "it is (10.20.0.0/16=router), or a range for which the engine's host has a route"
    )
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise Unfit(wanted, hint)
    words = [word.strip() if isinstance(word, str) else "?" for word in given]
    clusters: dict[str, None] = {}
    through: dict[IPNetwork, str] = {}
    ranges: dict[IPNetwork, None] = {}
    for word in words:
        if word in {"", "overlays", "kubernetes"}:
            continue  # an empty one takes what is remembered back
        what, equals, name = word.partition("=")
        if equals and not _NAME.fullmatch(name):
            raise Unfit(wanted, hint)
        if what == "kubernetes":
            clusters[name] = None
            continue
        net = _also_range(what, Unfit(wanted, hint))
        if net in through or net in ranges:
            raise Unfit(wanted, f"{net} is given twice, and can have one way only")
        if equals:
            through[net] = name
        else:
            ranges[net] = None
    return AlsoRequest(
        overlays="overlays" in words,
        kubernetes="kubernetes" in words,
        clusters=tuple(clusters),
        through=tuple(through.items()),
        ranges=tuple(ranges),
    )


def _also_range(text: str, unfit: Unfit) -> IPNetwork:
    """The range in a word of ``--also``. Raises ``unfit``, or another `Unfit` that says more."""
    if "/" not in text:
        raise unfit
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise unfit from None
    if str(network.network_address) != text.partition("/")[0].lower():
        raise Unfit(unfit.wanted, f"the range of that address is {network}")
    if network.prefixlen < _WIDEST_ALSO:
        raise Unfit(unfit.wanted, f"a range is of /{_WIDEST_ALSO} or smaller")
    return IPNetwork(str(network))


def _expose(value: object) -> tuple[str, ...]:
    """The words as they were given: for every address of the machine it takes two."""
    wanted = "an address to publish the tunnel's port on"
    hint = "give an IPv4 address of the engine's machine, and a port if you like: 192.0.2.7:1194"
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
        raise Unfit(wanted, hint)
    words = tuple(word.strip() for word in given if word.strip())
    if not words:
        return ()
    try:
        address, _ = exposed(words)
    except ValueError:
        raise Unfit(wanted, hint) from None
    if len(set(words)) > 1:
        raise Unfit("one address", hint)
    if address == ANY_ADDRESS and len(words) < 2:
        raise Unfit(
            "one address",
            "that is every network of that machine; if you mean it, give the option twice",
        )
    return words


def exposed(words: Iterable[str]) -> tuple[str, int | None]:
    """Address and port in the first of ``words``, ADDRESS[:PORT]. Raises ValueError."""
    host, colon, port = next(iter(words)).partition(":")
    address = ipaddress.IPv4Address(host)
    if address.is_loopback or address.is_multicast:
        raise ValueError("no address of a network")
    if colon and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise ValueError("no port")
    return str(address), int(port) if colon else None


def parse_chosen(value: object) -> Pairs:
    """The pairs in a list of "REAL=SEEN". Raises `Unfit`."""
    request = _remap(value)
    if request.auto:
        raise Unfit("a list of pairs", "`auto` belongs to the key `remap`")
    return request.pairs


#: For each field of `macnet.settings.Settings` what makes its value of what was given.
PARSERS: Mapping[str, Callable[[object], object]] = {
    "context": _pattern(
        r"[A-Za-z0-9][A-Za-z0-9_.+-]*",
        "the name of a Docker context",
        "`docker context ls` lists the contexts",
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
        "give an image like `debian:trixie-slim`",
    ),
    "client": _choice(ClientChoice),
    "routes": _choice(RoutesChoice),
    "remap": _remap,
    "also": _also,
    "expose": _expose,
}
