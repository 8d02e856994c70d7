"""Docker networks: what the engine reports -> `Network`, and which of them are routed, with why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from netaddr import AddrFormatError, IPAddress, IPNetwork, IPSet

from macnet.kubernetes import find_cluster
from macnet.models import Endpoint, Further, Network, Port, ReachKind, Subnet
from macnet.swarm import NODE

Json = Mapping[str, Any]

#: Why networks of a driver cannot be routed. A driver that is not named here and is not
#: "bridge" belongs to a plugin.
_DRIVER_REASONS = {
    "host": "host network: its containers use the engine's own addresses",
    "null": "no network at all",
    "macvlan": "macvlan: its containers are on the engine's outer network, not on a bridge",
    "ipvlan": "ipvlan: its containers are on the engine's outer network, not on a bridge",
    "overlay": "overlay: it spans engines and is not in this engine's own namespace; "
    "`macnet setup --also overlays` reaches it",
}
#: What stands before a cluster's name, as in the option that reaches it.
CLUSTER_PREFIX = "kubernetes="
_INGRESS = "the swarm's routing mesh: what it carries are published ports"
#: Ranges that are never routed into the tunnel, under which name ever: its far end is
#: 127.0.0.1, and hosts use the others for themselves or refuse them (RFC 6890).
NEVER_ROUTED = (
    (IPNetwork("127.0.0.0/8"), "loopback"),
    (IPNetwork("169.254.0.0/16"), "link-local"),
    (IPNetwork("224.0.0.0/4"), "multicast"),
    (IPNetwork("::1/128"), "loopback"),
    (IPNetwork("fe80::/10"), "link-local"),
    (IPNetwork("ff00::/8"), "multicast"),
    (IPNetwork("0.0.0.0/8"), "this host's own range"),
    (IPNetwork("240.0.0.0/4"), "a reserved range"),
)
#: What macnet makes on an engine has this label, with the tunnel's name.
LABEL_NAME = "io.macnet.name"
_BRIDGE_OPTION = "com.docker.network.bridge"
#: An auxiliary address of these names replaces the bridge's as the containers' gateway.
_GATEWAY_NAMES = {4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6"}


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
    too. Entries of IPAM that are not addresses (a plugin's) are passed over, and 0.0.0.0/0,
    which an IPAM driver reports that gives no addresses.
    """
    rows = list(networks)
    bare = [_parse_network(entry) for entry in rows]
    homes = Homes(bare)
    points: dict[str, list[tuple[Endpoint, Json]]] = {network.id: [] for network in bare}
    for container in containers:
        for name, settings in _endpoint_settings(container).items():
            endpoint = _parse_endpoint(container, name, settings)
            home = homes.find(name, settings)
            if endpoint.addresses and home is not None:
                points[home.id].append((replace(endpoint, network=home.name), settings))
    joined = (
        _join(network, entry, points[network.id]) for network, entry in zip(bare, rows, strict=True)
    )
    return tuple(sorted(joined, key=lambda network: by_number(network.name)))


def further_name(item: Further) -> str:
    """Under which name it is listed: a cluster's network often has the cluster's own name."""
    return f"{CLUSTER_PREFIX}{item.name}" if item.kind is ReachKind.CLUSTER else item.name


def with_further(networks: Iterable[Network], further: Iterable[Further]) -> tuple[Network, ...]:
    """The networks, and after them what ``--also`` reaches, so that both are judged alike.

    A network of a swarm is one of Docker's already, and stays where it is.
    """
    overlays = {item.name: item for item in further if item.kind is ReachKind.OVERLAY}
    found = [
        replace(network, further=overlays[network.name])
        if network.driver == "overlay" and network.name in overlays
        else network
        for network in networks
    ]
    known = {network.name for network in found if network.further is not None}
    for item in further:
        if item.kind is ReachKind.OVERLAY and item.name in known:
            continue
        subnets = tuple(Subnet(net) for net in item.subnets)
        found.append(
            Network(
                id=f"{item.kind}:{item.name}",
                name=further_name(item),
                driver=item.kind,
                scope="local",
                internal=False,
                subnets=subnets,
                further=item,
            )
        )
    return tuple(found)


def _endpoint_settings(container: Json) -> Mapping[str, Json]:
    return ((container.get("NetworkSettings") or {}).get("Networks")) or {}


class Homes:
    """Which of some networks a container is on, by what its row says of one of them.

    Podman gives the name for the id, and calls its default network ``podman`` here and
    ``bridge`` in the list of networks.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        """``networks`` are the engine's; what else ``--also`` reaches is the home of none."""
        self._networks = tuple(networks)
        self._by_id = {network.id: network for network in self._networks}
        self._by_name = {network.name: network for network in self._networks}

    def find(self, name: str, settings: Json) -> Network | None:
        """By id, else by name, else by the subnet that holds the addresses.

        ``name`` and ``settings`` are an item of ``NetworkSettings.Networks``.
        """
        identity = str(settings.get("NetworkID") or "")
        found = self._by_id.get(identity) or self._by_name.get(name) or self._by_name.get(identity)
        if found is not None:
            return found
        addresses = _addresses(settings)
        holders = [
            network
            for network in self._networks
            if network.further is None
            and any(a in s.cidr for a in addresses for s in network.subnets)
        ]
        return holders[0] if len(holders) == 1 else None


def _parse_network(entry: Json) -> Network:
    options = entry.get("Options") or {}
    isolated = {
        version: options.get(f"{_BRIDGE_OPTION}.gateway_mode_ipv{version}") == "isolated"
        for version in (4, 6)
    }
    # As Go reads a truth value, which is what the engine does.
    inhibited = str(options.get(f"{_BRIDGE_OPTION}.inhibit_ipv4", "")).lower() in {"1", "t", "true"}
    isolated[4] = isolated[4] or inhibited
    subnets = tuple(
        Subnet(cidr, isolated=isolated[cidr.version])
        for item in _ipam_config(entry)
        if (cidr := _parse_cidr(item.get("Subnet"))) is not None
    )
    return Network(
        id=str(entry["Id"]),
        name=str(entry["Name"]),
        driver=str(entry.get("Driver") or "null"),
        scope=str(entry.get("Scope") or "local"),
        internal=bool(entry.get("Internal")),
        subnets=subnets,
        isolated=all(s.isolated for s in subnets) if subnets else isolated[4],
        config_only=bool(entry.get("ConfigOnly")),
        own=LABEL_NAME in (entry.get("Labels") or {}),
        bridge=_bridge_name(entry, options),
        ingress=entry.get("Driver") == "overlay"
        and (bool(entry.get("Ingress")) or entry["Name"] == "ingress"),
    )


def _ipam_config(entry: Json) -> Iterable[Json]:
    return (entry.get("IPAM") or {}).get("Config") or ()


def _bridge_name(entry: Json, options: Json) -> str | None:
    """The interface on the engine: as the option says, else as Docker's bridge driver does."""
    if entry.get("Driver") != "bridge":
        return None
    return str(options.get(f"{_BRIDGE_OPTION}.name") or f"br-{str(entry['Id'])[:12]}")


def by_number(name: str) -> list[str | int]:
    """Key that sorts names as people do: ``shop-2`` before ``shop-10``."""
    # Text and numbers take turns, so that pieces of one place compare.
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)]


def _join(network: Network, entry: Json, points: Sequence[tuple[Endpoint, Json]]) -> Network:
    """The network with its endpoints, and with the bridge's addresses that they tell."""
    told = [
        _parse_address(settings.get(key))
        for _, settings in points
        for key in ("Gateway", "IPv6Gateway")
    ]
    items = [item for item in _ipam_config(entry) if _parse_cidr(item.get("Subnet")) is not None]
    gives_first = (entry.get("IPAM") or {}).get("Driver") in {None, "", "default"}
    subnets = tuple(
        replace(subnet, gateway=_bridge_address(subnet.cidr, item, told, gives_first=gives_first))
        for subnet, item in zip(network.subnets, items, strict=True)
    )
    endpoints = sorted((endpoint for endpoint, _ in points), key=lambda e: by_number(e.container))
    return replace(network, subnets=subnets, endpoints=tuple(endpoints))


def _bridge_address(
    cidr: IPNetwork, item: Json, told: Iterable[IPAddress | None], *, gives_first: bool
) -> IPAddress | None:
    """The bridge's address in one subnet, None where nobody knows it.

    IPAM names it where the engine chose the subnet or the user named a gateway. Otherwise the
    endpoints tell it, unless an auxiliary address is their gateway. Without either, Docker's
    own IPAM has given the bridge the first address, but for a range or addresses that the
    user set apart, and in a subnet of two addresses.
    """
    if (named := _parse_address(item.get("Gateway"))) is not None:
        return named
    auxiliary = item.get("AuxiliaryAddresses") or {}
    if _GATEWAY_NAMES[cidr.version] in auxiliary:
        return None
    if (found := next((a for a in told if a is not None and a in cidr), None)) is not None:
        return found
    if not gives_first or auxiliary or item.get("IPRange") or cidr.size <= 2:
        return None
    return IPAddress(cidr.first + 1, cidr.version)


def container_names(container: Json) -> list[str]:
    """A container's names, its own first: a link adds one of the form ``/other/alias``.

    ``container`` is a row of ``GET /containers/json``; one without a name has its short id.
    """
    names = [str(name).lstrip("/") for name in container.get("Names") or ()]
    return sorted(names, key=lambda name: "/" in name) or [str(container["Id"])[:12]]


def _addresses(settings: Json) -> tuple[IPAddress, ...]:
    found = (_parse_address(settings.get(key)) for key in ("IPAddress", "GlobalIPv6Address"))
    return tuple(address for address in found if address is not None)


def _parse_endpoint(container: Json, network: str, settings: Json) -> Endpoint:
    ports = {
        Port(int(item["PrivatePort"]), str(item.get("Type") or "tcp"))
        for item in container.get("Ports") or ()
    }
    return Endpoint(
        container=container_names(container)[0],
        container_id=str(container["Id"]),
        network=network,
        addresses=_addresses(settings),
        ports=tuple(sorted(ports)),
        own=LABEL_NAME in (container.get("Labels") or {}),
        cluster=find_cluster(container),
        node=container.get(NODE),
    )


def _parse_cidr(text: object) -> IPNetwork | None:
    try:
        cidr = IPNetwork(str(text)).cidr if text else None
    except (AddrFormatError, ValueError):
        return None
    return cidr if cidr is not None and cidr.prefixlen else None


def _parse_address(text: object) -> IPAddress | None:
    try:
        # Docker writes some gateways with a prefix ("172.18.0.1/16").
        return IPAddress(str(text).split("/")[0]) if text else None
    except (AddrFormatError, ValueError):
        return None


def gateway_of(subnet: Subnet) -> IPAddress | None:
    """The bridge's own address; None where nobody knows it, and nothing can be judged by it."""
    return subnet.gateway


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
    that a Docker subnet must not touch, each with the words that say whose they are. What goes
    beyond the bridges must not touch a bridge's range, nor what comes before it: there is one way
    to each address, and another range seen for it would not change that.
    """
    reserved = (*NEVER_ROUTED, *reserved)
    found: list[Selected] = []
    for network in sorted(networks, key=lambda network: network.further is not None):
        rival = _rival(network, found)
        if rival is None:
            verdict = _select(network, include=include, exclude=exclude, reserved=reserved)
        else:
            verdict = Selected(network, (), rival)
        found.append(verdict)
    return tuple(found)


def _rival(network: Network, before: Iterable[Selected]) -> str | None:
    """Why something beyond the bridges must give way; None where nothing has its addresses."""
    if network.further is None or why_never(network) is not None:
        return None
    for item in before:
        for other in (*item.subnets, *(subnet for subnet, _ in item.left_out)):
            for subnet in network.subnets:
                if overlap(subnet.cidr, other.cidr):
                    whose = "" if item.network.further is not None else "Docker's network "
                    name = item.network.name
                    where = "" if str(other.cidr) == name else f" ({other.cidr})"
                    return f"{subnet.cidr} overlaps {whose}{name}{where}, which goes first"
    return None


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
        if subnet.isolated:
            continue
        owner = next((why for other, why in reserved if overlap(subnet.cidr, other)), None)
        if owner is None:
            routed.append(subnet)
        else:
            left_out.append((subnet, owner))
    reason = None if routed else "; ".join(f"{s.cidr} overlaps {why}" for s, why in left_out)
    return Selected(network, tuple(routed), reason, tuple(left_out))


def _why_not(network: Network, include: Sequence[str], exclude: Sequence[str]) -> str | None:
    asked = network.further is not None
    checks = (
        (not asked and not _matches(network.name, include), "not chosen by --network"),
        (_matches(network.name, exclude), "left out by --exclude"),
    )
    return why_never(network) or next((reason for applies, reason in checks if applies), None)


def why_never(network: Network) -> str | None:
    """Why a network of this kind cannot be routed at all, None where it can."""
    if network.further is not None:
        return network.further.reason or None
    # Driver first: an overlay network is also swarm-scoped, and its driver says more.
    checks = (
        (network.own, "macnet's own: only its server is on it"),
        (network.ingress, _INGRESS),
        (network.config_only, "configuration only: it holds settings for other networks"),
        (network.driver in _DRIVER_REASONS, _DRIVER_REASONS.get(network.driver)),
        (network.scope != "local", f"{network.scope}-scoped: it spans engines"),
        (network.driver != "bridge", f"driver {network.driver!r} is a plugin's"),
        (network.isolated, "isolated: its bridge has no address on the engine"),
        (not network.subnets, "it has no subnet"),
    )
    return next((reason for applies, reason in checks if applies), None)


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two ranges share an address. Ranges of different IP versions never do."""
    return one.version == other.version and (one.first <= other.last and other.first <= one.last)


def by_address(net: IPNetwork) -> tuple[int, int, int]:
    """The key that sorts ranges: IPv4 first, then by address, the wider one first."""
    return (net.version, net.first, net.prefixlen)


def merge_subnets(subnets: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    """The subnets to route: those inside another are dropped, neighbours are not joined.

    Joining would keep the addresses the same, but every change of one network would then
    change the route of another.
    """
    ordered = sorted(set(subnets), key=by_address)
    kept: list[IPNetwork] = []
    for net in ordered:
        if not (kept and kept[-1].version == net.version and net in kept[-1]):
            kept.append(net)
    return tuple(kept)


def label(network: Network, subnet: Subnet) -> str:
    """A subnet with the network's name, unless that says the same."""
    return network.name if network.name == str(subnet.cidr) else f"{network.name} ({subnet.cidr})"


def not_routed(network: Network, subnet: Subnet, why: str) -> str:
    """What to say of a subnet that is left out since it overlaps ``why``."""
    return f"{label(network, subnet)} is not routed: it overlaps {why}"


def routed_subnets(selected: Iterable[Selected]) -> tuple[IPNetwork, ...]:
    """All ranges that this host routes into the tunnel, merged and sorted, IPv4 first."""
    return merge_subnets(subnet.route for item in selected for subnet in item.subnets)


def find_free_subnet(wanted: IPNetwork, taken: Iterable[IPNetwork]) -> IPNetwork | None:
    """``wanted`` if free, else a free range of its size: in the same block, else in another."""
    used = [net for net in taken if net.version == wanted.version]
    if not any(overlap(wanted, net) for net in used):
        return wanted
    if wanted.version != 4:
        return None
    for block in sorted(PRIVATE_BLOCKS, key=lambda block: wanted not in block):
        # From the top down: engines and home routers hand out from the bottom.
        for candidate in reversed((IPSet([block]) - IPSet(used)).iter_cidrs()):
            if candidate.prefixlen <= wanted.prefixlen:
                first = candidate.last - wanted.size + 1
                return IPNetwork((first, wanted.prefixlen), version=4)
    return None


#: Where nobody on the Internet is: RFC 1918, benchmarks (RFC 2544), shared address space
#: (RFC 6598). The last two come last, as TUN proxies and Tailscale like them.
PRIVATE_BLOCKS = (
    IPNetwork("192.168.0.0/16"),
    IPNetwork("10.0.0.0/8"),
    IPNetwork("172.16.0.0/12"),
    IPNetwork("198.18.0.0/15"),
    IPNetwork("100.64.0.0/10"),
)
