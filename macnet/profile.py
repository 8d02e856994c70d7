"""The client's profile: what it says (`Profile`) and its text, an ``.ovpn`` file.

Only directives that Tunnelblick counts as safe are used (``defines.h`` in its sources): with
any other one it refuses to install a profile without asking. The directives are described in
the OpenVPN 2.6 manual, sections "Client Options", "Protocol options" and "VPN network options".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from netaddr import AddrFormatError, IPNetwork

from macnet.choices import CompLzo
from macnet.render import render
from macnet.values import LOOPBACK


class ClientCredentials(Protocol):
    """The client's part of the PKI; `macnet.pki.Pki` is one."""

    @property
    def ca_cert(self) -> str:
        """The CA's certificate, PEM."""

    @property
    def client_cert(self) -> str:
        """The client's certificate, PEM."""

    @property
    def client_key(self) -> str:
        """The client's private key, PEM."""

    @property
    def tls_crypt(self) -> str:
        """The static key that both ends share."""

    @property
    def server_name(self) -> str:
        """The common name that the server's certificate must have."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a client needs to know: the server's port at ``remote``, the routes, the keys.

    ``routes`` are merged and sorted by the caller; ``tun_mtu`` is in bytes. ``comp_lzo`` and
    ``tun_mtu`` must be what the server uses.
    """

    port: int
    routes: tuple[IPNetwork, ...]
    comp_lzo: CompLzo
    tun_mtu: int
    pki: ClientCredentials
    remote: str = LOOPBACK


def render_profile(profile: Profile) -> str:
    """Return the profile's text: LF, a final newline, and the same bytes for equal input.

    Tunnelblick stores such a text unchanged, so comparing bytes tells whether it has the
    current profile.
    """
    return render(
        "client/profile.ovpn.j2",
        remote=profile.remote,
        port=profile.port,
        server_name=profile.pki.server_name,
        tun_mtu=profile.tun_mtu,
        comp_lzo=profile.comp_lzo.value,
        routes=[route_directive(route) for route in profile.routes],
        ca_cert=profile.pki.ca_cert.strip(),
        client_cert=profile.pki.client_cert.strip(),
        client_key=profile.pki.client_key.strip(),
        tls_crypt=profile.pki.tls_crypt.strip(),
    )


def parse_profile_routes(text: str) -> tuple[IPNetwork, ...]:
    """Return the routes of a profile's ``text``, in its order, also those that a server pushes.

    The file may have been changed by hand: a line that is no usable route is left out, so a
    comparison with the wanted routes shows the difference.
    """
    return tuple(_routes(text))


def route_directive(route: IPNetwork) -> str:
    """Return the line that sets ``route``; a server pushes the very same words.

    It serves as the text of a ``pull-filter`` too, which ignores every pushed option that
    begins with it. No IPv4 netmask is the beginning of another one. For IPv6 ``fd00::/6``
    also stops a pushed ``fd00::/64``, which does no harm: the wider route contains it.
    """
    if route.version == 4:
        return f"route {route.network} {route.netmask}"
    return f"route-ipv6 {route.network}/{route.prefixlen}"


def _routes(text: str) -> Iterator[IPNetwork]:
    for line in text.splitlines():
        match line.split():
            case ["route", network, netmask, *_]:
                value = f"{network}/{netmask}"
            case ["route", network]:  # OpenVPN's default is a single host
                value = f"{network}/32"
            case ["route-ipv6", value, *_]:
                pass
            case _:
                continue
        try:
            yield IPNetwork(value)
        except (AddrFormatError, ValueError):
            continue
