"""How a `ContainerSpec` is asked of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from macnet.engine.facts import ContainerSpec

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251

_SECOND_NS = 1_000_000_000  # the API counts nanoseconds


def creation_arguments(api: APIClient, spec: ContainerSpec) -> dict[str, Any]:
    """The arguments of the SDK's ``create_container``; what a spec does not name is dropped."""
    from docker.types import LogConfig  # noqa: PLC0415, TID251

    host_config = api.create_host_config(
        network_mode=spec.network,
        pid_mode=spec.pid_mode,
        cap_drop=["ALL"],
        cap_add=list(spec.cap_add),
        security_opt=["no-new-privileges:true", *spec.security_opt],
        devices=list(spec.devices),
        sysctls=dict(spec.sysctls),
        port_bindings={port: [binding] for port, binding in spec.publish.items()},
        restart_policy={"Name": spec.restart},
        log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "1m", "max-file": "2"}),
    )
    return {
        "image": spec.image,
        "name": spec.name,
        "command": list(spec.command),
        "labels": dict(spec.labels),
        "environment": dict(spec.environment),
        "ports": list(spec.publish),
        "host_config": host_config,
        "healthcheck": _healthcheck(spec.health),
    }


def _healthcheck(command: Sequence[str]) -> Mapping[str, Any] | None:
    if not command:
        return None
    return {
        "test": ["CMD", *command],
        "interval": 15 * _SECOND_NS,
        "timeout": 5 * _SECOND_NS,
        "retries": 2,
    }
