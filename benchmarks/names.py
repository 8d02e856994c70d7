"""`names`: how fast names are answered, and what they cost. Linux; no lab, no root."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.goals import Figure
from benchmarks.machine import save_json
from benchmarks.stats import percentile, summarize
from benchmarks.table import figures_table

CONTAINERS, NETWORKS, PER_PROJECT = 500, 25, 20
DOMAIN = "docker.test"
#: Questions of one round, and how many are under way at one time for the rate.
QUESTIONS, WINDOW = 3000, 32

Json = Mapping[str, Any]


FIGURES = {
    "table_ms": Figure("table built, ms", 100.0),
    "answers_per_s": Figure("answers in a second", 1000.0, at_least=True),
    "median_ms": Figure("one answer, median, ms", 1.0),
    "p99_ms": Figure("one answer, p99, ms", None),
    "memory_mb": Figure("memory that watch takes for it, MiB", 15.0),
}


def names(rounds: int, folder: Path) -> bool:
    """Measure, print the table, write the results; False if a goal is missed."""
    built = [_build_ms() for _ in range(rounds)]
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,))
    process.start()
    port = here.recv()
    packets = _packets()
    rates, waits = [], []
    for _ in range(rounds):
        waits.append(_waits_ms(port, packets))
        rates.append(_rate(port, packets))
    here.send("end")
    memory = float(here.recv())
    process.join()
    middles, late = [percentile(each, 50) for each in waits], [percentile(w, 99) for w in waits]
    figures = {
        "table_ms": summarize(built).median,
        "answers_per_s": summarize(rates).median,
        "median_ms": summarize(middles).median,
        "p99_ms": summarize(late).median,
        "memory_mb": memory,
    }
    print(figures_table(f"{CONTAINERS} containers", figures, FIGURES))
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rounds": rounds,
        "containers": CONTAINERS,
        "figures": figures,
    }
    save_json(folder / "names.json", record)
    return all(FIGURES[key].met(value) for key, value in figures.items())


def listing() -> tuple[list[Json], list[Json], dict[str, dict[str, tuple[str, ...]]]]:
    """Networks, containers and aliases as the engine of a busy machine lists them."""
    networks: list[Json] = [
        {
            "Id": f"{i:064x}",
            "Name": f"project{i}_default",
            "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": f"172.20.{i}.0/24"}]},
        }
        for i in range(NETWORKS)
    ]
    containers: list[Json] = []
    aliases: dict[str, dict[str, tuple[str, ...]]] = {}
    for n in range(CONTAINERS):
        project, number_ = divmod(n, PER_PROJECT)
        identity, network = f"{n + 1000:064x}", networks[project]
        service = f"service_{number_ // 2}"
        containers.append(
            {
                "Id": identity,
                "Names": [f"/project{project}-{service}-{number_ % 2 + 1}"],
                "Created": n,
                "Labels": {
                    "com.docker.compose.project": f"project{project}",
                    "com.docker.compose.service": service,
                },
                "NetworkSettings": {
                    "Networks": {
                        network["Name"]: {
                            "NetworkID": network["Id"],
                            "EndpointID": identity,
                            "IPAddress": f"172.20.{project}.{number_ + 2}",
                        }
                    }
                },
            }
        )
        aliases[identity] = {str(network["Id"]): (service, f"alias{number_}", identity[:12])}
    return networks, containers, aliases


def _refresh() -> Callable[[], Any]:
    """What the server calls: from the engine's lists to the zone."""
    from macnet.names.zone import build_zone
    from macnet.networks import parse_networks, select_networks

    networks, containers, aliases = listing()

    def refresh() -> Any:  # noqa: ANN401 - its type is what is imported late
        parsed = parse_networks(networks, containers)
        selected = select_networks(parsed, include=("*",), exclude=())
        return build_zone(DOMAIN, selected, containers, aliases)

    return refresh


def _build_ms() -> float:
    refresh = _refresh()
    begun = time.perf_counter()
    refresh()
    return (time.perf_counter() - begun) * 1000


def _serve(connection: Connection) -> None:
    """The server, in a process of its own; in the end it tells what it has taken."""
    import macnet.networks  # noqa: F401 - watch has it without names, too

    before = _memory_mb()
    from macnet.names.server import NameServer

    server = NameServer(DOMAIN, 0, _refresh())
    server.start()
    while not server.zone.names:
        time.sleep(0.01)
    connection.send(server.port)
    connection.recv()
    connection.send(_memory_mb() - before)
    server.stop()


def _memory_mb() -> float:
    """The memory that this process has now. Its peak would be that of the process before it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def _packets() -> list[bytes]:
    """Questions for the addresses of all containers."""
    found = []
    for n in range(CONTAINERS):
        project, number_ = divmod(n, PER_PROJECT)
        name = f"project{project}-service_{number_ // 2}-{number_ % 2 + 1}.{DOMAIN}"
        labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
        kind = 1 if n % 2 else 28  # half of what programs ask is for IPv6
        header = n.to_bytes(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        found.append(header + labels + b"\x00" + kind.to_bytes(2) + b"\x00\x01")
    return found


def _socket(port: int) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(10)
    udp.connect(("127.0.0.1", port))
    return udp


def _waits_ms(port: int, packets: list[bytes]) -> list[float]:
    """How long each answer took, one question after the other."""
    waits = []
    with _socket(port) as udp:
        for i in range(QUESTIONS):
            packet = packets[i % len(packets)]
            begun = time.perf_counter()
            udp.send(packet)
            answer = udp.recv(2048)
            waits.append((time.perf_counter() - begun) * 1000)
            if answer[3] & 0xF:
                raise RuntimeError(f"question {i} has failed: code {answer[3] & 0xF}")
    return waits


def _rate(port: int, packets: list[bytes]) -> float:
    """Answers per second with many questions under way."""
    with _socket(port) as udp:
        begun = time.perf_counter()
        for i in range(QUESTIONS + WINDOW):
            if i < QUESTIONS:
                udp.send(packets[i % len(packets)])
            if i >= WINDOW:
                udp.recv(2048)
        return QUESTIONS / (time.perf_counter() - begun)
