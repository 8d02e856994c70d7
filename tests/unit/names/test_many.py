"""Names of as many containers as `python -m benchmarks names` measures."""

from __future__ import annotations

from benchmarks.names import listing
from macnet.names import build_zone
from macnet.names.table import Table
from macnet.networks import parse_networks, select_networks
from tests.unit.names.samples import DOMAIN


def test_five_hundred_containers_have_all_their_names() -> None:
    networks, containers, aliases = listing()
    parsed = parse_networks(networks, containers)
    zone = build_zone(
        DOMAIN, select_networks(parsed, include=("*",), exclude=()), containers, aliases
    )
    assert len(containers) == 500
    table = Table(DOMAIN)
    table.replace(zone, 0)

    def found(name: str) -> set[str]:
        settled = table.settle(f"{name}.{DOMAIN}", 0, fresh=False)
        return set(map(str, settled.addresses)) if settled else set()

    services: dict[str, set[str]] = {}
    for row in containers:
        [(network, endpoint)] = row["NetworkSettings"]["Networks"].items()
        address = endpoint["IPAddress"]
        assert found(row["Names"][0][1:]) == {address}
        assert found(f"{aliases[row['Id']][endpoint['NetworkID']][1]}.{network}") == {address}
        project, service = row["Labels"].values()
        services.setdefault(f"{service}.{project}", set()).add(address)
    assert len(services) == 250
    for name, addresses_ in services.items():
        assert len(addresses_) == 2
        assert found(name) == addresses_
