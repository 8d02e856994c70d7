"""Tasks of other nodes become rows like those of the engine's own containers."""

from __future__ import annotations

from typing import Any

import pytest

from macnet.networks import parse_networks
from macnet.swarm import NODE, list_elsewhere

NODES = [
    {"ID": "n1", "Description": {"Hostname": "first"}},
    {"ID": "n2", "Description": {"Hostname": "second"}},
]
SERVICES = [{"ID": "s1", "Spec": {"Name": "web"}}]
SPREAD = {
    "Id": "net1",
    "Name": "spread",
    "Driver": "overlay",
    "Scope": "swarm",
    "IPAM": {"Config": [{"Subnet": "10.0.1.0/24"}]},
}


def task(node: str = "n2", state: str = "running", **more: object) -> dict[str, Any]:
    return {
        "ID": "t1",
        "ServiceID": "s1",
        "Slot": 2,
        "NodeID": node,
        "Status": {"State": state, "ContainerStatus": {"ContainerID": "c1"}},
        "NetworksAttachments": [
            {"Network": {"ID": "net1", "Spec": {"Name": "spread"}}, "Addresses": ["10.0.1.7/24"]}
        ],
        **more,
    }


def elsewhere(*tasks: dict[str, Any]) -> tuple[Any, ...]:
    return list_elsewhere(NODES, SERVICES, tasks, here="n1")


def test_a_task_elsewhere_is_an_endpoint_of_its_network() -> None:
    rows = elsewhere(task(DesiredState="running"))
    assert rows[0][NODE] == "second"
    (network,) = parse_networks([SPREAD], rows)
    (point,) = network.endpoints
    assert (point.container, point.container_id) == ("web.2.t1", "c1")
    assert [str(address) for address in point.addresses] == ["10.0.1.7"]
    assert point.node == "second"


def test_a_task_of_a_global_service_is_named_by_its_node() -> None:
    (row,) = elsewhere(task(Slot=None))
    assert row["Names"] == ["/web.n2.t1"]


@pytest.mark.parametrize(
    "one",
    [
        task(node="n1"),
        task(node=""),
        task(state="shutdown"),
        # Of a node that is lost; the swarm has another one for it.
        task(DesiredState="shutdown"),
        task(Status=None),
        task(ServiceID="gone"),
        {"ID": "t9"},
    ],
)
def test_what_runs_here_or_not_at_all_is_no_row(one: dict[str, Any]) -> None:
    assert elsewhere(one) == ()


def test_odd_tasks_make_no_trouble() -> None:
    (row,) = list_elsewhere(
        [], SERVICES, [task(NetworksAttachments=None, node="n" * 25)], here="n1"
    )
    assert row[NODE] == "n" * 12
    assert row["NetworkSettings"] == {"Networks": {}}
