"""Containers and networks as the engine lists them, made from few words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netaddr import IPNetwork

from macnet.names import Zone, build_zone
from macnet.names.claims import Aliases
from macnet.networks import Selected, parse_networks, select_networks
from macnet.remaps import remap_networks
from macnet.values import RemapRequest

DOMAIN = "docker.test"
Row = Mapping[str, Any]


def container(
    name: str,
    *at: str,
    labels: Mapping[str, str] | None = None,
    created: int = 1,
    mode: str = "",
    priority: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """A row of ``GET /containers/json``; ``at`` are like "app=172.20.0.2" or "host="."""
    networks: dict[str, dict[str, Any]] = {}
    for text in at:
        network, _, address = text.partition("=")
        settings = networks.setdefault(
            network,
            {
                "NetworkID": f"id-{network}",
                "EndpointID": f"{name}-{text}",
                "GwPriority": (priority or {}).get(network, 0),
            },
        )
        settings["GlobalIPv6Address" if ":" in address else "IPAddress"] = address
    return {
        "Id": hashlib.sha256(name.encode()).hexdigest(),
        "Names": [f"/{name}"],
        "Created": created,
        "Labels": dict(labels or {}),
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": networks},
    }


def service(project: str, name: str) -> dict[str, str]:
    """The labels that Compose gives to a service's containers."""
    return {"com.docker.compose.project": project, "com.docker.compose.service": name}


def network(name: str, *subnets: str, driver: str = "bridge") -> dict[str, Any]:
    """A row of ``GET /networks``."""
    config = [{"Subnet": subnet} for subnet in subnets]
    return {"Id": f"id-{name}", "Name": name, "Driver": driver, "IPAM": {"Config": config}}


NETWORKS = (
    network("app", "172.20.0.0/16", "fd00:20::/64"),
    network("bridge", "172.17.0.0/16"),
    network("extra", "172.21.0.0/16"),
    network("host", driver="host"),
)


@dataclass
class Engine:
    """What an engine lists, and what inspecting tells: aliases by container and network."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    networks: Sequence[Row] = NETWORKS
    aliases: dict[str, dict[str, Sequence[str]]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    remap: Mapping[str, str] = field(default_factory=dict)

    def select(self) -> tuple[Selected, ...]:
        """The verdicts on all networks."""
        parsed = parse_networks(self.networks, self.rows)
        selected = select_networks(parsed, include=("*",), exclude=self.exclude)
        pairs = tuple((IPNetwork(real), IPNetwork(seen)) for real, seen in self.remap.items())
        return remap_networks(selected, RemapRequest(pairs=pairs), ())

    def zone(self, domain: str = DOMAIN) -> Zone:
        """The zone of this moment."""
        ids = {row["Names"][0][1:]: row["Id"] for row in self.rows}
        aliases: dict[str, Aliases] = {
            ids[name]: {f"id-{network}": names for network, names in one.items()}
            for name, one in self.aliases.items()
        }
        return build_zone(domain, self.select(), self.rows, aliases)


def zone_of(*rows: dict[str, Any]) -> Zone:
    """The zone of these containers."""
    return Engine(list(rows)).zone()


def addresses(zone: Zone, name: str) -> list[str] | None:
    """The addresses of a name without the domain; None if there is no such name."""
    entry = zone.find(f"{name}.{zone.domain}")
    return None if entry is None else [str(address) for address in entry.addresses]


def refusals(zone: Zone) -> dict[str, str]:
    """Why names were refused, by name without the domain."""
    return {item.name.removesuffix(f".{zone.domain}"): item.why for item in zone.refused}


def names_in(zone: Zone) -> Iterable[str]:
    """All names, without the domain."""
    return [name.removesuffix(f".{zone.domain}") for name in zone.names]
