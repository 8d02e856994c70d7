"""Many networks and many containers, for the benchmark of the tool itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.bed import Bed
from tests.lab.images import SAMPLE_IMAGE
from tests.lab.process import run

_LABEL = "macnet.bench=crowd"
_HTTPD = ("httpd", "-f", "-p", "80", "-h", "/bin")
#: So many `docker` commands at once; the engine does most of it one by one anyway.
_AT_ONCE = 4


class Crowd:
    """Makes them and takes them away."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    @contextmanager
    def containers(self, count: int, *, silent: int) -> Iterator[None]:
        """So many containers on the default bridge, of which some answer nothing at all."""
        self._remove()
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                names = list(pool.map(self._start, range(count)))
            inspected = json.loads(self._bed.lab.docker("inspect", *names[:silent]))
            for one in inspected:
                _silence(int(one["State"]["Pid"]))
            yield
        finally:
            self._remove()

    @contextmanager
    def networks(self) -> Iterator[Callable[[int], None]]:
        """A function that brings the number of networks up to a count."""
        made = 0

        def grow(count: int) -> None:
            nonlocal made
            for index in range(made, count):
                subnet = ("--subnet", f"10.200.{index}.0/24")
                name = f"crowd{index}"
                self._bed.lab.docker("network", "create", "--label", _LABEL, *subnet, name)
            made = count

        self._remove()
        try:
            yield grow
        finally:
            self._remove()

    def expect_routes(self, count: int) -> None:
        """Raise unless the Mac side has the route of each network, and the last one answers."""
        rows = json.loads(self._bed.lab.run(["ip", "-j", "route"]).stdout)
        found = {str(row["dst"]) for row in rows}
        lacking = {f"10.200.{index}.0/24" for index in range(count)} - found
        if lacking:
            raise RuntimeError(f"{len(lacking)} of {count} routes are missing")
        self._bed.ping_ms(f"10.200.{count - 1}.1", 1)

    def _start(self, index: int) -> str:
        name = f"crowd{index}"
        options = ("--label", _LABEL, "--name", name, "--expose", "80", "--stop-signal", "KILL")
        self._bed.lab.docker("run", "-d", *options, SAMPLE_IMAGE, *_HTTPD)
        return name

    def _remove(self) -> None:
        docker = self._bed.lab.docker
        filters = ("-q", "--filter", f"label={_LABEL}")
        if containers := docker("ps", "-a", *filters).split():
            docker("rm", "-f", *containers, timeout_s=300)
        if networks := docker("network", "ls", *filters).split():
            docker("network", "rm", *networks, timeout_s=300)


def _silence(pid: int) -> None:
    """Drop whatever comes into a container's network namespace."""
    run(["nsenter", f"--net=/proc/{pid}/ns/net", "iptables", "-A", "INPUT", "-j", "DROP"])
