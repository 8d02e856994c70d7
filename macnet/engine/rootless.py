"""Engines without root: what tells them apart, and how each becomes usable."""

from __future__ import annotations

from macnet.contexts import EngineAddress
from macnet.engine.objects import EngineInfo
from macnet.errors import EngineRefused


def require_rootful(info: EngineInfo, address: EngineAddress) -> None:
    """Raise `EngineRefused` for a rootless engine: it has no bridges that the relay could enter.

    Its networks are in a user namespace of its own, and it may give no container the rights of
    the helper. The hint is the command for that kind of engine.
    """
    if info.rootless:
        raise EngineRefused(
            f"the engine at {address.url} (from {address.source}) is rootless: its containers "
            "cannot have the rights that the helper needs",
            hint=rootful_hint(info, address),
        )


def rootful_hint(info: EngineInfo, address: EngineAddress) -> str:
    """How to get an engine with root in place of this one."""
    if info.podman or "podman" in address.url:
        return (
            "`podman machine stop`, `podman machine set --rootful`, `podman machine start`, then "
            "`macnet setup`"
        )
    if "/.lima/" in address.url or info.name.startswith("lima-"):
        return (
            "Lima's template docker is rootless: `limactl start template:docker-rootful`, then "
            "choose that engine with --context or DOCKER_HOST"
        )
    return "choose an engine that runs as root with --context or DOCKER_HOST"
