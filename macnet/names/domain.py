"""The domain of a tunnel's names, and the names in it that are macnet's own. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from macnet.errors import BadValue
from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.values import DEFAULT_TUNNEL

#: The port where no other is asked for; the next free one is taken where it is held.
DEFAULT_PORT = 13153
#: The longest name in DNS, in text and without the last dot (RFC 1035).
MAX_NAME = 253

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PROBE = re.compile(r"[0-9a-f]{32}\.probe")
#: Domains that belong to somebody else, with everything below them: multicast DNS (RFC 6762),
#: this machine (RFC 6761), addresses, and the names that engines give themselves.
_TAKEN = {
    "local": "it is multicast DNS's",
    "localhost": "it is this machine's own",
    "in-addr.arpa": "it holds addresses",
    "ip6.arpa": "it holds addresses",
    "docker.internal": "Docker's own host.docker.internal is in it",
}
#: Domains that hold other domains: taking one of these would hide all of them.
_TOO_WIDE = frozenset({"arpa", "home.arpa", "internal", "com", "net", "org", "dev", "io", "app"})


def default_domain(tunnel: str) -> str:
    """The domain of a tunnel where none was asked for; ``test`` is reserved (RFC 6761)."""
    return "docker.test" if tunnel == DEFAULT_TUNNEL else f"docker-{tunnel.lower()}.test"


def parse_domain(text: str, *, others: Mapping[str, str] | None = None) -> str:
    """Read a domain, in lower case and without the last dot.

    ``others`` maps the domains of other tunnels to these tunnels' names. Raises `BadValue`.
    """
    domain = text.strip().lower().removesuffix(".")
    if len(domain) > MAX_NAME - 64 or not all(map(_LABEL.fullmatch, domain.split("."))):
        raise BadValue(
            f"{text!r} is not a domain",
            hint="use labels of letters, digits and hyphens, for example docker.test",
        )
    for taken, why in _TAKEN.items():
        if domain == taken or domain.endswith(f".{taken}"):
            raise BadValue(
                f"{domain} cannot be the domain for container names: {why}",
                hint="choose another, for example docker.test or docker.home.arpa",
            )
    if domain in _TOO_WIDE:
        raise BadValue(
            f"{domain} is too wide: every other name below it would be out of reach",
            hint=f"choose one below it, for example docker.{domain}",
        )
    if owner := (others or {}).get(domain):
        raise BadValue(
            f"{domain} is the domain of the tunnel {owner}",
            hint="choose another with --domain; each tunnel needs its own",
        )
    return domain


def parse_answered(domain: str) -> str:
    """A domain that macnet answers for: one that a tunnel may have, or a cluster's own."""
    return domain if domain == CLUSTER_DOMAIN else parse_domain(domain)


def is_below(name: str, domain: str) -> bool:
    """Whether ``name`` is ``domain`` or a name in it; both in lower case."""
    return name == domain or name.endswith(f".{domain}")


def probe_name(domain: str, token: str) -> str:
    """A name that always has the address 127.0.0.1, for a ``token`` of 32 hexadecimal digits.

    A fresh token passes every cache, so the answer shows that this system asks macnet now.
    """
    return f"{token}.probe.{domain}"


def is_probe(relative: str) -> bool:
    """Whether a name, without the domain, is one that `probe_name` makes."""
    return _PROBE.fullmatch(relative) is not None
