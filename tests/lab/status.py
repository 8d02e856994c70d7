"""What `status` reports."""

from __future__ import annotations

from dataclasses import dataclass

from .members import Member


@dataclass(frozen=True)
class EngineStatus:
    """State of one engine."""

    name: str
    kind: str
    healthy: bool
    version: str
    docker_host: str
    pid: int | None
    forwarder_pid: int | None
    sample_running: bool | None
    """None if this engine has no sample application."""

    @property
    def well(self) -> bool:
        """Whether the engine and all that belongs to it run."""
        return self.healthy and self.forwarder_pid is not None and self.sample_running is not False


@dataclass(frozen=True)
class LabStatus:
    """State of a lab."""

    name: str
    healthy: bool
    client: str
    mac_netns: str
    engines: tuple[EngineStatus, ...]


def engine_status(member: Member) -> EngineStatus:
    """Look at one engine now."""
    engine = member.engine
    healthy = engine.healthy
    return EngineStatus(
        name=engine.name,
        kind=engine.kind,
        healthy=healthy,
        version=engine.version if healthy else "",
        docker_host=engine.docker_host,
        pid=engine.pid,
        forwarder_pid=member.forwarder.pid,
        sample_running=(healthy and member.sample.running()) if member.has_sample else None,
    )
