"""Docker networks: what the engine reports -> `Network`, and which of them are routed, with why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from netaddr import AddrFormatError, IPAddress, IPNetwork, IPSet

from macnet.models import Endpoint, Network, Port, Subnet

Json = Mapping[str, Any]

#: Why networks of a driver cannot be routed. A driver that is not named here and is not
#: "bridge" belongs to a plugin.
_DRIVER_REASONS = {
    "host": "host network: its containers use the engine's own addresses",
    "null": "no network at all",
    "macvlan": "macvlan: its containers are on the engine's outer network, not on a bridge",
    "ipvlan": "ipvlan: its containers are on the engine's outer network, not on a bridge",
    "overlay": "overlay: it spans engines and is not in this engine's own namespace",
}
#: Ranges that must never be routed into a tunnel whose far end is 127.0.0.1.
_NEVER = (
    (IPNetwork("127.0.0.0/8"), "loopback"),
    (IPNetwork("169.254.0.0/16"), "link-local"),
    (IPNetwork("224.0.0.0/4"), "multicast"),
    (IPNetwork("::1/128"), "loopback"),
    (IPNetwork("fe80::/10"), "link-local"),
    (IPNetwork("ff00::/8"), "multicast"),
)


@dataclass(frozen=True, slots=True)
class Selected:
    """A network with the verdict on it: its routed subnets, or why it has none."""

    network: Network
    subnets: tuple[Subnet, ...]
    reason: str | None = None
    left_out: tuple[tuple[Subnet, str], ...] = ()

    @property
    def routed(self) -> bool:
        """Whether at least one subnet is routed."""
        return bool(self.subnets)


def parse_networks(networks: Iterable[Json], containers: Iterable[Json]) -> tuple[Network, ...]:
    """Join ``GET /networks`` and ``GET /containers/json`` (Engine API 1.41 and later).

    Two listing calls serve any number of networks. Networks come sorted by name, containers
    too. Entries of IPAM that are not addresses (a plugin's) are passed over.
    """
    by_network: dict[str, list[Endpoint]] = {}
    for container in containers:
        for name, settings in _endpoint_settings(container).items():
            endpoint = _parse_endpoint(container, name, settings)
            if endpoint.addresses:
                by_network.setdefault(str(settings.get("NetworkID", "")), []).append(endpoint)
    return tuple(
        sorted(
            (_parse_network(entry, by_network) for entry in networks),
            key=lambda network: network.name,
        )
    )


def _endpoint_settings(container: Json) -> Mapping[str, Json]:
    return ((container.get("NetworkSettings") or {}).get("Networks")) or {}


def _parse_network(entry: Json, by_network: Mapping[str, list[Endpoint]]) -> Network:
    identity = str(entry["Id"])
    endpoints = sorted(by_network.get(identity, ()), key=lambda endpoint: endpoint.container)
    options = entry.get("Options") or {}
    isolated = "isolated" in {
        options.get("com.docker.network.bridge.gateway_mode_ipv4"),
        options.get("com.docker.network.bridge.gateway_mode_ipv6"),
    }
    return Network(
        id=identity,
        name=str(entry["Name"]),
        driver=str(entry.get("Driver") or "null"),
        scope=str(entry.get("Scope") or "local"),
        internal=bool(entry.get("Internal")),
        subnets=tuple(_parse_subnets((entry.get("IPAM") or {}).get("Config") or ())),
        endpoints=tuple(endpoints),
        isolated=isolated,
    )


def _parse_subnets(config: Iterable[Json]) -> Iterable[Subnet]:
    for item in config:
        cidr = _parse_cidr(item.get("Subnet"))
        if cidr is not None:
            yield Subnet(cidr, _parse_address(item.get("Gateway")))


def _parse_endpoint(container: Json, network: str, settings: Json) -> Endpoint:
    names = container.get("Names") or [str(container["Id"])[:12]]
    found = (
        _parse_address(settings.get("IPAddress")),
        _parse_address(settings.get("GlobalIPv6Address")),
    )
    ports = {
        Port(int(item["PrivatePort"]), str(item.get("Type") or "tcp"))
        for item in container.get("Ports") or ()
    }
    return Endpoint(
        container=str(names[0]).lstrip("/"),
        container_id=str(container["Id"]),
        network=network,
        addresses=tuple(address for address in found if address is not None),
        ports=tuple(sorted(ports)),
    )


def _parse_cidr(text: object) -> IPNetwork | None:
    try:
        return IPNetwork(str(text)).cidr if text else None
    except (AddrFormatError, ValueError):
        return None


def _parse_address(text: object) -> IPAddress | None:
    try:
        # Docker writes some gateways with a prefix ("172.18.0.1/16").
        return IPAddress(str(text).split("/")[0]) if text else None
    except (AddrFormatError, ValueError):
        return None


def gateway_of(subnet: Subnet) -> IPAddress:
    """The bridge's address: as reported, else the first one, which Docker's IPAM would give."""
    return subnet.gateway or IPAddress(subnet.cidr.first + 1, subnet.cidr.version)


def seen_addresses(item: Selected, endpoint: Endpoint) -> tuple[IPAddress, ...]:
    """Under which addresses this host reaches a container; those not routed are left out."""
    return tuple(
        subnet.seen_at(address)
        for address in endpoint.addresses
        for subnet in item.subnets
        if address in subnet.cidr
    )


def select_networks(
    networks: Iterable[Network],
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    reserved: Sequence[tuple[IPNetwork, str]] = (),
) -> tuple[Selected, ...]:
    """Decide for each network whether it is routed.

    ``include`` and ``exclude`` are case-sensitive globs over names. ``reserved`` are ranges
    that a Docker subnet must not touch, each with the words that say whose they are.
    """
    return tuple(
        _select(network, include=include, exclude=exclude, reserved=(*_NEVER, *reserved))
        for network in networks
    )


def _select(
    network: Network,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    reserved: Sequence[tuple[IPNetwork, str]],
) -> Selected:
    if reason := _why_not(network, include, exclude):
        return Selected(network, (), reason)
    routed: list[Subnet] = []
    left_out: list[tuple[Subnet, str]] = []
    for subnet in network.subnets:
        owner = next((why for other, why in reserved if overlap(subnet.cidr, other)), None)
        if owner is None:
            routed.append(subnet)
        else:
            left_out.append((subnet, owner))
    reason = None if routed else "; ".join(f"{s.cidr} overlaps {why}" for s, why in left_out)
    return Selected(network, tuple(routed), reason, tuple(left_out))


def _why_not(network: Network, include: Sequence[str], exclude: Sequence[str]) -> str | None:
    # Scope first: an overlay network is also swarm-scoped, and that says more.
    checks = (
        (network.driver in _DRIVER_REASONS, _DRIVER_REASONS.get(network.driver)),
        (network.scope != "local", f"{network.scope}-scoped: it spans engines"),
        (network.driver != "bridge", f"driver {network.driver!r} is a plugin's"),
        (network.isolated, "isolated: its bridge has no address on the engine"),
        (not network.subnets, "it has no subnet"),
        (not _matches(network.name, include), "not chosen by --network"),
        (_matches(network.name, exclude), "left out by --exclude"),
    )
    return next((reason for applies, reason in checks if applies), None)


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two ranges share an address. Ranges of different IP versions never do."""
    return one.version == other.version and (one.first <= other.last and other.first <= one.last)


def merge_subnets(subnets: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    """The subnets to route: those inside another are dropped, neighbours are not joined.

    Joining would keep the addresses the same, but every change of one network would then
    change the route of another.
    """
    ordered = sorted(set(subnets), key=lambda net: (net.version, net.first, net.prefixlen))
    kept: list[IPNetwork] = []
    for net in ordered:
        if not (kept and kept[-1].version == net.version and net in kept[-1]):
            kept.append(net)
    return tuple(kept)


def routed_subnets(selected: Iterable[Selected]) -> tuple[IPNetwork, ...]:
    """All ranges that this host routes into the tunnel, merged and sorted, IPv4 first."""
    return merge_subnets(subnet.route for item in selected for subnet in item.subnets)


def find_free_subnet(wanted: IPNetwork, taken: Iterable[IPNetwork]) -> IPNetwork | None:
    """``wanted`` if free, else the next free range of its size in the same private block."""
    used = [net for net in taken if net.version == wanted.version]
    if not any(overlap(wanted, net) for net in used):
        return wanted
    block = next((pool for pool in _PRIVATE if wanted in pool), wanted)
    free = IPSet(block) - IPSet(used)
    # From the top down: engines and home routers hand out from the bottom.
    for candidate in reversed(free.iter_cidrs()):
        if candidate.prefixlen <= wanted.prefixlen:
            first = candidate.last - wanted.size + 1
            return IPNetwork((first, wanted.prefixlen), version=wanted.version)
    return None


_PRIVATE = (
    IPNetwork("192.168.0.0/16"),
    IPNetwork("10.0.0.0/8"),
    IPNetwork("172.16.0.0/12"),
    IPNetwork("100.64.0.0/10"),
)
