"""The sample application: one container for each kind of Docker network that matters."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .engine import Engine, Json
from .errors import LabError
from .images import SAMPLE_IMAGE, import_sample

HTTP_PORT = 80
UDP_ECHO_PORT = 9000
SINK_PORT = 9001
"""TCP port that swallows whatever it gets."""
REDIS_PORT = 6379
REDIS_ADDRESS = "172.82.0.100"
PUBLISHED_PORT = 18080
"""Port of 127.0.0.1 that `published` is reachable at."""

_REDIS = ("redis-server", "--bind", "*", "--protected-mode", "no", "--save", "")


@dataclass(frozen=True)
class Network:
    """A network of the sample."""

    name: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    """A container of the sample: an HTTP server unless it says otherwise."""

    name: str
    networks: tuple[str, ...]
    address: str | None = None
    command: tuple[str, ...] = ()
    ports: tuple[str, ...] = (f"{HTTP_PORT}/tcp", f"{UDP_ECHO_PORT}/udp", f"{SINK_PORT}/tcp")
    publish: tuple[str, ...] = ()
    running: bool = True


NETWORKS = (
    Network("app", ("--subnet", "172.82.0.0/24")),
    Network("extra"),
    Network("sealed", ("--internal",)),
    Network("noicc", ("--opt", "com.docker.network.bridge.enable_icc=false")),
    Network("six", ("--ipv6", "--subnet", "fd00:82::/64", "--subnet", "172.82.6.0/24")),
)

SERVICES = (
    Service("web", ("bridge",)),
    Service("published", ("bridge",), publish=(f"127.0.0.1:{PUBLISHED_PORT}:{HTTP_PORT}",)),
    Service("redis", ("app",), REDIS_ADDRESS, _REDIS, (f"{REDIS_PORT}/tcp",)),
    Service("app-web", ("app",)),
    Service("two-homes", ("app", "extra")),
    Service("sealed-web", ("sealed",)),
    Service("noicc-web", ("noicc",)),
    Service("six-web", ("six",)),
    Service("stopped", ("bridge",), running=False),
)


class Sample:
    """The sample application of one engine."""

    def __init__(self, engine: Engine, label: str) -> None:
        self._engine = engine
        self._label = label

    @property
    def running_names(self) -> list[str]:
        """Containers that run whenever the engine does."""
        return [service.name for service in SERVICES if service.running]

    def deploy(self) -> None:
        """Make the image, the networks and the containers in an engine that has none of them."""
        import_sample(self._engine)
        for network in NETWORKS:
            self._engine.docker(
                "network", "create", "--label", self._label, *network.options, network.name
            )
        # Fixed address first: nothing else may get it meanwhile.
        ordered = sorted(SERVICES, key=lambda service: service.address is None)
        self._create(ordered[0])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._create, ordered[1:]))

    def _create(self, service: Service) -> None:
        argv = [
            "create",
            "--name",
            service.name,
            "--hostname",
            service.name,
            "--label",
            self._label,
        ]
        # Not unless-stopped: a dockerd that was killed takes the containers it finds running, stops
        # them itself, and then counts them as stopped by hand.
        argv += ["--restart", "always" if service.running else "no"]
        argv += ["--stop-signal", "SIGKILL", "--network", service.networks[0]]
        argv += [word for port in service.ports for word in ("--expose", port)]
        argv += [word for port in service.publish for word in ("--publish", port)]
        argv += ["--ip", service.address] if service.address else []
        self._engine.docker(*argv, SAMPLE_IMAGE, *service.command)
        for network in service.networks[1:]:
            self._engine.docker("network", "connect", network, service.name)
        self._engine.docker("start", service.name)
        if not service.running:
            self._engine.docker("stop", service.name)

    def address(self, container: str, network: str | None = None) -> str:
        """IPv4 address that a container has now, in a network or in the first one it has."""
        return self._endpoint(container, network, "IPAddress")

    def address6(self, container: str, network: str | None = None) -> str:
        """IPv6 address that a container has now."""
        return self._endpoint(container, network, "GlobalIPv6Address")

    def pid(self, container: str) -> int:
        """Process id, on this machine, of a container's first process."""
        return int(self._inspect(container)["State"]["Pid"])

    def running(self) -> bool:
        """Whether all of it runs."""
        listed = self._engine.get("/containers/json")
        return {name.lstrip("/") for one in listed for name in one["Names"]} >= set(
            self.running_names
        )

    def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until all of it runs and answers inside the VM, over IPv6 too where it has that.

        An address of IPv6 can take two seconds to become usable, on older engines.
        """
        deadline = time.monotonic() + timeout_s
        self._engine.wait_running(self.running_names, timeout_s)
        for service in (one for one in SERVICES if one.running):
            addresses = [self.address(service.name)]
            addresses += [self.address6(service.name)] if service.networks[0] == "six" else []
            for address in addresses:
                probe = ["nc", "-z", "-w", "1", address, service.ports[0].removesuffix("/tcp")]
                while self._engine.vm.run(probe, check=False).returncode:
                    if time.monotonic() > deadline:
                        raise LabError(
                            f"{service.name} does not answer at {address}",
                            f"docker -H {self._engine.docker_host} logs {service.name}",
                        )
                    time.sleep(0.05)

    def _inspect(self, container: str) -> Json:
        return self._engine.get(f"/containers/{container}/json")

    def _endpoint(self, container: str, network: str | None, field: str) -> str:
        endpoints = self._inspect(container)["NetworkSettings"]["Networks"]
        known = next((one.networks[0] for one in SERVICES if one.name == container), None)
        chosen = network or (known if known in endpoints else next(iter(endpoints), ""))
        address = str(endpoints.get(chosen, {}).get(field) or "")
        if not address:
            raise LabError(
                f"container {container} has no {field} in network {chosen or 'any'}", "does it run?"
            )
        return address
