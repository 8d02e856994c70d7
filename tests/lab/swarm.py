"""A swarm of two engines of a lab, each in a VM of its own, with a cable between the two."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from .engine import Engine
from .errors import CommandError, LabError
from .images import SAMPLE_IMAGE, import_sample
from .lab import Lab
from .process import run, wait_until

_ADDRESSES = ("10.98.0.1", "10.98.0.2")


@dataclass(frozen=True)
class Swarm:
    """The engine that manages it, and the other one."""

    manager: Engine
    worker: Engine

    def cable(self, state: str) -> None:
        """Pull the cable (``down``), or put it in again (``up``)."""
        self.manager.vm.run(["ip", "link", "set", "swarm0", state])

    def node(self, engine: Engine) -> str:
        """The name of an engine as a node: both have the machine's."""
        return str(engine.get("/info")["Name"])

    def service(self, name: str, network: str, *words: str, replicas: int = 1) -> None:
        """Start a service of the sample's image and wait until its tasks reach each other.

        By the addresses of its tasks: this kernel has no IPVS, so none has an address of its own.
        """
        self.manager.docker(
            *("service", "create", "--quiet", "--detach", "--no-resolve-image", "--name", name),
            *("--endpoint-mode", "dnsrr", "--network", network, f"--replicas={replicas}"),
            *("--stop-signal", "SIGKILL", *words, SAMPLE_IMAGE),
        )
        self.wait_tasks(name, replicas)
        self._wait_for_each_other(name)

    def wait_tasks(self, service: str, count: int, timeout_s: float = 60) -> None:
        """Wait until so many tasks of a service run."""
        deadline = time.monotonic() + timeout_s
        while len(self.addresses(service)) != count:
            if time.monotonic() > deadline:
                told = self.manager.docker("service", "ps", "--no-trunc", service)
                raise LabError(f"{service} has not {count} running tasks:\n{told}")
            time.sleep(0.2)

    def _wait_for_each_other(self, service: str) -> None:
        """Engines tell each other of a task after it runs: until then nobody reaches it."""
        filters = ["--filter", f"label=com.docker.swarm.service.name={service}"]
        for engine in (self.manager, self.worker):
            for container in engine.docker("ps", "-q", *filters).split():
                for address in self.addresses(service):
                    # Not busybox's wget: the static one crashes.
                    to = f"TCP:{address}:80,connect-timeout=2"
                    argv = ["exec", container, "socat", "-u", "OPEN:/dev/null", to]
                    if not wait_until(partial(_succeeds, engine, *argv), 60):
                        raise LabError(f"on {engine.name}, {service} does not reach {address}")

    def addresses(self, service: str, on: Engine | None = None) -> list[str]:
        """The addresses of a service's running tasks, of all or of those on one engine."""
        node = on.get("/info")["Swarm"]["NodeID"] if on is not None else None
        services = {one["Spec"]["Name"]: one["ID"] for one in self.manager.get("/services")}
        return [
            task["NetworksAttachments"][0]["Addresses"][0].split("/")[0]
            for task in self.manager.get("/tasks")
            if task["ServiceID"] == services.get(service)
            and task["Status"]["State"] == task["DesiredState"] == "running"
            and node in {None, task["NodeID"]}
        ]


@contextmanager
def swarm_of(lab: Lab, other: str = "other", *, manager: Engine | None = None) -> Iterator[Swarm]:
    """An engine, the lab's own unless another is given, as the manager, while the block runs.

    With a second one of the same kind.
    """
    manager = manager or lab.engine
    worker = lab.add_engine(other, manager.kind)
    import_sample(worker)
    ends = [engine.vm.paths.netns for engine in (manager, worker)]
    cable = ["link", "add", "swarm0", "type", "veth", "peer", "name", "swarm0", "netns", ends[1]]
    try:
        run(["ip", "-n", ends[0], *cable])
        for end, address in zip(ends, _ADDRESSES, strict=True):
            run(["ip", "-n", end, "address", "add", f"{address}/24", "dev", "swarm0"])
            run(["ip", "-n", end, "link", "set", "swarm0", "up"])
        manager.docker("swarm", "init", "--advertise-addr", _ADDRESSES[0])
        token = manager.docker("swarm", "join-token", "-q", "worker").strip()
        worker.docker(
            *("swarm", "join", "--token", token, "--advertise-addr", _ADDRESSES[1]),
            f"{_ADDRESSES[0]}:2377",
        )
        yield Swarm(manager, worker)
    finally:
        lab.remove_engine(other)
        # The manager goes on in other tests, as it was before.
        _leave(manager)


def _succeeds(engine: Engine, *words: str) -> bool:
    try:
        engine.docker(*words)
    except CommandError:
        return False
    return True


def _leave(manager: Engine) -> None:
    manager.vm.run(["ip", "link", "delete", "swarm0"], check=False)
    if manager.get("/info")["Swarm"]["LocalNodeState"] == "inactive":
        return
    for service in manager.docker("service", "ls", "-q").split():
        manager.docker("service", "rm", service)
    manager.docker("swarm", "leave", "--force")
    listed = ["network", "ls", "--filter", "name=docker_gwbridge", "-q"]
    deadline = time.monotonic() + 30
    while manager.docker(*listed).strip():
        try:
            manager.docker("network", "rm", "docker_gwbridge")
        except CommandError:  # a task is still on it
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
