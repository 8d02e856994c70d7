"""Where measurements run: a lab with one target container, and every way to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import procs
from benchmarks.classic import DEVICE as CLASSIC
from benchmarks.classic import PROXY, SERVER, Classic
from benchmarks.wireguard import DEVICE as WIREGUARD
from benchmarks.wireguard import WireGuard
from tests.lab import BASE_IMAGE, HTTP_PORT, SINK_PORT, Lab
from tests.lab.images import SAMPLE_IMAGE
from tests.lab.namespaces import netns_path
from tests.lab.process import DEVNULL, Completed, Running, Stream

TARGET = "bench-target"
#: Where a program that reads slowly listens in the target (`readers`).
READER_PORT = 9002
#: Ports of 127.0.0.1 at which the target's HTTP server, its sink and its reader are published.
HTTP_PUBLISHED, SINK_PUBLISHED, READER_PUBLISHED = 18180, 19001, 19002
_WORKER = Path(__file__).with_name("worker.py")
_PROGRAM = str(Path(sys.executable).with_name("macnet"))

#: Names of parts to the processes that each consists of.
Parts = Mapping[str, Callable[[], list[int]]]


@dataclass(frozen=True)
class Route:
    """One way from the Mac side to the target."""

    key: str
    title: str
    host: str
    http_port: int
    sink_port: int
    parts: Parts = field(default_factory=dict)
    reader_port: int = READER_PORT


class Bed:
    """A lab in which all ways lead to the same container."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.classic = Classic(lab)
        self.wireguard = WireGuard(lab)
        self.address = ""

    def up(self) -> None:
        """Bring the lab up if it is not, and a fresh target."""
        self.lab.up()
        self.remove_target()
        published = [
            word
            for outside, inside in (
                (HTTP_PUBLISHED, HTTP_PORT),
                (SINK_PUBLISHED, SINK_PORT),
                (READER_PUBLISHED, READER_PORT),
            )
            for word in ("--publish", f"127.0.0.1:{outside}:{inside}")
        ]
        self.lab.docker("run", "-d", "--name", TARGET, *published, SAMPLE_IMAGE)
        inspected = json.loads(self.lab.docker("inspect", TARGET))[0]
        self.address = str(inspected["NetworkSettings"]["IPAddress"])

    def down(self) -> None:
        """Take away everything, and the lab."""
        self.classic.down()
        self.wireguard.down()
        self.macnet("down", "--purge", check=False)
        self.lab.down()

    def macnet(self, *words: str, check: bool = True, timeout_s: float = 300) -> Completed:
        """Run macnet on the Mac side."""
        argv, env = [_PROGRAM, *words], {"MACNET_BASE_IMAGE": BASE_IMAGE}
        return self.lab.run(argv, check=check, env=env, timeout_s=timeout_s)

    def fresh_tunnel(self) -> None:
        """macnet's tunnel as setup makes it, whatever an earlier run has left."""
        self.macnet("down")
        self.macnet("setup")

    def macnet_process(self, *words: str, stdout: Stream = DEVNULL) -> Running:
        """Start macnet on the Mac side; the caller ends it."""
        env = {"MACNET_BASE_IMAGE": BASE_IMAGE}
        return self.lab.popen([_PROGRAM, *words], env=env, stdout=stdout, stderr=DEVNULL)

    @contextmanager
    def using(self, route: Route) -> Iterator[None]:
        """Make the target's address go this way for a while, past every wider route.

        With the least retransmission timeout of macOS: Linux waits 200 ms at least, XNU 30 ms.
        """
        if route.host != self.address:
            yield
            return
        device = {"classic": CLASSIC, "wireguard": WIREGUARD}.get(route.key) or self._device()
        words = [f"{self.address}/32", "dev", device]
        self.lab.run(["ip", "route", "replace", *words, "rto_min", "30ms"])
        try:
            yield
        finally:
            self.lab.run(["ip", "route", "del", *words], check=False)

    def _device(self) -> str:
        """The interface of macnet's tunnel."""
        found = json.loads(self.lab.run(["ip", "-j", "route", "get", self.address]).stdout)
        return str(found[0]["dev"])

    def work(self, host: str, port: int, *words: str, timeout_s: float = 120) -> dict[str, Any]:
        """Run the worker on the Mac side."""
        argv = [sys.executable, "-I", str(_WORKER), host, str(port), *words]
        return _result(self.lab.run(argv, timeout_s=timeout_s).stdout)

    def start_work(self, host: str, port: int, *words: str, stdout: Stream) -> Running:
        """Start the worker on the Mac side; `finish_work` waits for it."""
        argv = [sys.executable, "-I", str(_WORKER), host, str(port), *words]
        return self.lab.popen(argv, stdout=stdout, stderr=None)

    def finish_work(self, worker: Running, timeout_s: float) -> dict[str, float]:
        """What a started worker has moved."""
        try:
            out, _ = worker.communicate(timeout=timeout_s)
        finally:
            worker.kill()
        moved = _result(out)["moved"]
        return {key: float(moved[key]) for key in ("bytes", "seconds", "longest_pause")}

    def ping_ms(self, address: str, count: int) -> list[float]:
        """Milliseconds of each of ``count`` pings."""
        argv = ["ping", "-n", "-c", str(count), "-i", "0.02", "-W", "2", address]
        lines = self.lab.run(argv).stdout.splitlines()
        return [float(line.rpartition("time=")[2].split()[0]) for line in lines if "time=" in line]

    def routes(self) -> tuple[Route, Route, Route, Route]:
        """Classic recipe, macnet, published port, WireGuard."""
        classic: Parts = {
            "client": self.classic.client_pids,
            "server": lambda: [self.container_pid(SERVER)],
            "relay": lambda: [self.container_pid(PROXY)],
            "forwarder": self.forwarder_pids,
        }
        own: Parts = {
            "client": self.client_pids,
            "server": lambda: [self.container_pid("macnet-server")],
            "relay": lambda: [self.container_pid("macnet-relay")],
            "forwarder": self.forwarder_pids,
        }
        return (
            Route("classic", "classic recipe", self.address, HTTP_PORT, SINK_PORT, classic),
            Route("macnet", "macnet", self.address, HTTP_PORT, SINK_PORT, own),
            Route(
                "published",
                "published port",
                "127.0.0.1",
                HTTP_PUBLISHED,
                SINK_PUBLISHED,
                {"forwarder": self.forwarder_pids},
                READER_PUBLISHED,
            ),
            Route(
                "wireguard",
                "WireGuard in user space",
                self.address,
                HTTP_PORT,
                SINK_PORT,
                {
                    "client": lambda: self.wireguard.pids("mac"),
                    "server": lambda: self.wireguard.pids("vm"),
                    "forwarder": lambda: self.wireguard.pids("forwarder"),
                },
            ),
        )

    def client_pids(self) -> list[int]:
        """The client of macnet."""
        others = self.classic.client_pids()
        found = procs.find("openvpn", netns_path(self.lab.paths.mac_netns))
        return [pid for pid in found if pid not in others]

    def forwarder_pids(self) -> list[int]:
        """What publishes ports: the lab's forwarder, and the engine's own proxies."""
        forwarder = self.lab.forwarder.pid
        proxies = procs.find("docker-proxy", netns_path(self.lab.engine.vm.paths.netns))
        return [*([forwarder] if forwarder else []), *proxies]

    def container_pid(self, name: str) -> int:
        """The first process of a container."""
        return int(self.lab.docker("inspect", "-f", "{{.State.Pid}}", name))

    def remove_target(self) -> None:
        """Remove the container that all ways lead to."""
        names = self.lab.docker("ps", "-a", "--format", "{{.Names}}").split()
        if TARGET in names:
            self.lab.docker("rm", "-f", TARGET)


def _result(text: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(text)
    errors = result.get("moved", {}).get("errors")
    if errors:
        raise RuntimeError("; ".join(errors))
    return result
