"""Tasks of a swarm on its other nodes, as rows beside those of the engine's own containers. Pure.

Only a manager knows them (``GET /nodes``, ``/services`` and ``/tasks``, Engine API 1.41 and later).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

#: The labels that the engine gives a task's container (swarmkit `agent/exec/dockerapi`).
SERVICE_NAME, TASK_NAME = "com.docker.swarm.service.name", "com.docker.swarm.task.name"
#: The key of a row that names the node of a task that runs elsewhere.
NODE = "macnet.node"


def list_elsewhere(
    nodes: Iterable[Json], services: Iterable[Json], tasks: Iterable[Json], *, here: str
) -> tuple[Json, ...]:
    """The running tasks of other nodes than ``here`` (a node's id).

    Each as a row of ``GET /containers/json`` with the fields that macnet reads, and its node's name
    under `NODE`.
    """
    names = {str(one.get("ID")): _hostname(one) for one in nodes}
    known = {str(one.get("ID")): str((one.get("Spec") or {}).get("Name") or "") for one in services}
    return tuple(
        _row(task, service, names.get(str(task.get("NodeID"))) or str(task.get("NodeID"))[:12])
        for task in tasks
        if task.get("NodeID") not in {None, "", here}
        and runs(task)
        and (service := known.get(str(task.get("ServiceID"))))
    )


def runs(task: Json) -> bool:
    """Whether a task runs and is to run.

    Of a node that is lost the manager tells the last state that it saw, for as long as it is lost.
    """
    seen = (task.get("Status") or {}).get("State")
    return seen == "running" and task.get("DesiredState", "running") == "running"


def _hostname(node: Json) -> str:
    return str((node.get("Description") or {}).get("Hostname") or "")


def _row(task: Json, service: str, node: str) -> Json:
    # A task of a global service has no slot; the engine then takes its node.
    place = task.get("Slot") or task.get("NodeID")
    name = f"{service}.{place}.{task['ID']}"
    status = (task.get("Status") or {}).get("ContainerStatus") or {}
    return {
        "Id": str(status.get("ContainerID") or task["ID"]),
        "Names": [f"/{name}"],
        "Labels": {SERVICE_NAME: service, TASK_NAME: name},
        "State": "running",
        "NetworkSettings": {"Networks": dict(_endpoints(task))},
        NODE: node,
    }


def _endpoints(task: Json) -> Iterator[tuple[str, Json]]:
    for attachment in task.get("NetworksAttachments") or ():
        network = attachment.get("Network") or {}
        name = str((network.get("Spec") or {}).get("Name") or network.get("ID") or "")
        found = {"NetworkID": str(network.get("ID") or "")}
        for address in attachment.get("Addresses") or ():
            key = "GlobalIPv6Address" if ":" in str(address) else "IPAddress"
            found.setdefault(key, str(address).split("/")[0])
        yield name, found
