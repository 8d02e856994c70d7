"""Routing tables as real machines printed them, and a short way to write a route."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from macnet.models import Route
from macnet.routes import parse_ip_route_json, parse_netstat

DATA = Path(__file__).parents[1] / "data"
HEADER = "Destination        Gateway            Flags        Netif Expire\n"


def macos(name: str) -> tuple[Route, ...]:
    return parse_netstat((DATA / "macos" / name).read_text())


def linux(name: str) -> tuple[Route, ...]:
    return parse_ip_route_json((DATA / "linux" / name).read_text())


def route(
    destination: str, interface: str, gateway: str | None = None, *, scoped: bool = False
) -> Route:
    return Route(IPNetwork(destination), interface, IPAddress(gateway) if gateway else None, scoped)


#: Any IPv4 network.
networks = st.builds(
    lambda address, prefix: IPNetwork(f"{IPAddress(address, version=4)}/{prefix}").cidr,
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
