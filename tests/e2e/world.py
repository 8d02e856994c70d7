"""What is around macnet: everything of it at one moment, and things that tests put there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.steps import Mac, wait_until
from tests.lab import BASE_IMAGE, Lab
from tests.lab.process import DEVNULL, PIPE, Running

#: Asks Redis once for each line, all on one connection; ends where that breaks.
_TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
s.settimeout(20)
for line in sys.stdin:
    s.sendall(b"PING\\r\\n")
    print(s.recv(100).decode().strip(), flush=True)
"""


@dataclass(frozen=True)
class World:
    """All that macnet could change, comparable."""

    containers: frozenset[str]
    networks: frozenset[str]
    images: frozenset[str]
    files: dict[str, bytes]
    addresses: frozenset[str]
    routes: frozenset[str]


def look(mac: Mac) -> World:
    """What there is now; the lock and the client's log, which grows when asked, are left out."""
    lab, home = mac.lab, mac.lab.paths.mac_home
    return World(
        containers=_ids(lab, "/containers/json?all=1"),
        networks=_ids(lab, "/networks"),
        images=_ids(lab, "/images/json?all=1"),
        files={
            str(path.relative_to(home)): path.read_bytes()
            for path in home.rglob("*")
            if path.is_file() and path.name not in {"lock", "openvpn.log"}
        },
        addresses=_addresses(lab),
        routes=frozenset(
            json.dumps(row, sort_keys=True)
            for version in ("-4", "-6")
            for row in _ip(lab, version, "route")
        ),
    )


def _ids(lab: Lab, path: str) -> frozenset[str]:
    return frozenset(str(row["Id"]) for row in lab.engine.get(path))


def _addresses(lab: Lab) -> frozenset[str]:
    return frozenset(
        f"{link['ifname']} {one['local']}" for link in _ip(lab, "addr") for one in link["addr_info"]
    )


def _ip(lab: Lab, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lab.run(["ip", "-json", *words]).stdout)
    return found


def assert_traffic(mac: Mac) -> None:
    """A container on the default bridge and one on a user's network answer."""
    assert mac.pings(mac.lab.sample.address("web"))
    assert mac.http(mac.lab.sample.address("app-web"))


def downloaded(mac: Mac, megabytes: int) -> bool:
    """Whether so much arrives whole from a container."""
    wanted = megabytes * 1024 * 1024
    argv = ["curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{size_download}"]
    url = f"http://{mac.lab.sample.address('app-web')}/big"
    return int(mac.lab.run([*argv, "-r", f"0-{wanted - 1}", url]).stdout) >= wanted


def make_network(lab: Lab, name: str, *options: str) -> str:
    """Make a network with a container of its name on it; the container's address."""
    remove_network(lab, name)
    lab.docker("network", "create", *options, name)
    command = ["sleep", "600"]
    lab.docker("run", "-d", "--init", "--name", name, "--network", name, BASE_IMAGE, *command)
    endpoints = json.loads(lab.docker("inspect", name))[0]["NetworkSettings"]["Networks"]
    return str(endpoints[name]["IPAddress"])


def remove_network(lab: Lab, name: str) -> None:
    """Take both away again, where they are there."""
    lab.docker("rm", "-f", name)
    if name in lab.docker("network", "ls", "--format", "{{.Name}}").split():
        lab.docker("network", "rm", name)


@contextmanager
def network(lab: Lab, name: str, *options: str) -> Iterator[str]:
    """A network while the block runs; the address of the container on it."""
    try:
        yield make_network(lab, name, *options)
    finally:
        remove_network(lab, name)


@contextmanager
def running(mac: Mac, argv: Sequence[str]) -> Iterator[Running]:
    """A program on the Mac side while the block runs."""
    process = mac.lab.popen(list(argv), stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def conversation(mac: Mac) -> Iterator[Running]:
    """One connection to Redis that stays open."""
    argv = [sys.executable, "-c", _TALK, "172.82.0.100", "6379"]
    process = mac.lab.popen(argv, stdin=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def answers(process: Running) -> bool:
    """Whether Redis answers once more on that connection."""
    assert process.stdin and process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip() == "+PONG"


@contextmanager
def listener(mac: Mac, port: int) -> Iterator[Running]:
    """A program on the Mac side that holds a port of 127.0.0.1."""
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with running(mac, argv) as process:
        wait_until(lambda: mac.tcp("127.0.0.1", port) == "open", 20, f"a listener on {port}")
        yield process


@contextmanager
def nothing_changes(mac: Mac) -> Iterator[None]:
    """Neither side may be another afterwards."""
    before = look(mac)
    yield
    assert look(mac) == before
