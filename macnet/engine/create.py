"""How a `ContainerSpec` is asked of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from macnet.engine.objects import ContainerSpec

if TYPE_CHECKING:
    from docker import APIClient

_SECOND_NS = 1_000_000_000  # the API counts nanoseconds


def creation_arguments(
    api: APIClient, spec: ContainerSpec, *, remapped: bool = False
) -> dict[str, Any]:
    """The arguments of the SDK's ``create_container``; what a spec does not name is dropped.

    The container stays in the engine's own user namespace, as only there it may share the
    engine's network; without userns-remap it does so anyway. On an engine that is ``remapped``
    its files belong to the remapped root, so it gets the right to read and write them; one without
    any right reads only what all may read.
    """
    from docker.types import LogConfig

    host_config = api.create_host_config(
        network_mode=spec.network,
        pid_mode=spec.pid_mode,
        cap_drop=["ALL"],
        cap_add=[*spec.cap_add, *(["DAC_OVERRIDE"] if remapped and spec.cap_add else [])],
        read_only=spec.read_only,
        userns_mode="host",
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
        # The user's proxies are for their containers.
        "use_config_proxy": False,
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
