"""Fakes of an engine, a client, the wire and this machine, for checks to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from netaddr import IPAddress

from macnet.clients.base import Client, ClientState, ClientStatus
from macnet.contexts import EngineAddress
from macnet.engine import Container, EngineInfo, ExecResult
from macnet.errors import ClientMissing
from macnet.models import Port, Route
from macnet.names.client import Reply
from macnet.names.domain import is_probe
from macnet.names.system import NamesSystem, SystemEntry, SystemState, SystemStatus
from macnet.probe import PingResult, TcpOutcome, TcpResult
from macnet.progress import Progress
from macnet.tunnel import Host

MAC = IPAddress("192.168.255.2")

Json = dict[str, Any]


def network(name: str, subnet: str, gateway: str, **more: object) -> Json:
    """One entry of ``GET /networks``."""
    config = [{"Subnet": subnet, "Gateway": gateway}]
    return {"Id": f"id-{name}", "Name": name, "Driver": "bridge", "Scope": "local"} | {
        "IPAM": {"Config": config},
        **more,
    }


def container(
    number: int, name: str, where: Mapping[str, str], ports: Sequence[int] = (), **more: object
) -> Json:
    """One entry of ``GET /containers/json``; ``where`` maps networks to addresses."""
    return {
        "Id": f"{number:064x}",
        "Names": [f"/{name}"],
        "State": "running",
        "Ports": [{"PrivatePort": port, "Type": "tcp"} for port in ports],
        "NetworkSettings": {
            "Networks": {
                net: {"NetworkID": f"id-{net}", "IPAddress": address}
                for net, address in where.items()
            }
        },
        **more,
    }


@dataclass
class FakeEngine:
    """Answers what checks ask; there is nothing in it that would change anything."""

    networks_: list[Json]
    containers_: list[Json]
    parts: dict[str, Container]
    files: dict[str, bytes]
    info_: EngineInfo
    address: EngineAddress = field(
        default_factory=lambda: EngineAddress("unix:///docker.sock", "DOCKER_HOST")
    )
    openvpn_answers: bool = True
    attached: bool = True
    clients: int = 1
    log: tuple[str, ...] = ("2026-03-01T12:00:00Z it went wrong",)
    declared: dict[str, tuple[Port, ...]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    clock: Callable[[], datetime] | None = None

    def info(self) -> EngineInfo:
        return replace(self.info_, system_time=self.clock() if self.clock else None)

    def networks(self) -> list[Json]:
        return self.networks_

    def containers(self, *, everything: bool = False) -> list[Json]:
        return [row for row in self.containers_ if everything or row["State"] == "running"]

    def find_container(self, name: str) -> Container | None:
        return self.parts.get(name)

    def read_file(self, name: str, path: str) -> bytes | None:
        return self.files.get(path) if name in self.parts else None

    def logs(self, identity: str, *, tail: int = 100) -> Iterator[str]:
        return iter(self.log[-tail:])

    def inspect(self, identity: str) -> Json | None:
        return next((row for row in self.containers_ if row["Id"] == identity), None)

    def exposed_ports(self, identity: str) -> tuple[Port, ...]:
        self.calls.append(identity)
        return self.declared.get(identity, ())

    def execute(self, name: str, argv: Sequence[str]) -> ExecResult:
        if argv[-1].endswith("relay-health.sh"):
            return ExecResult(0 if self.attached else 1, "")
        if not self.openvpn_answers:
            return ExecResult(1, "OpenVPN's management socket does not answer")
        header = "HEADER\tCLIENT_LIST\tCommon Name\tVirtual Address\tClient ID"
        rows = [f"CLIENT_LIST\tmacnet-client\t{MAC}\t{cid}" for cid in range(self.clients)]
        return ExecResult(0, "\n".join([header, *rows, "END"]))


@dataclass
class FakeClient(Client):
    """A VPN client in the state that the test wants."""

    name = "openvpn"
    installed: bool = True
    state: ClientState = ClientState.CONNECTED
    detail: str = "CONNECTED"
    current: bool = True

    def require(self) -> None:
        if not self.installed:
            raise ClientMissing("openvpn is not installed", hint="`brew install openvpn`")

    def version(self) -> str | None:
        return "2.6.14"

    def status(self) -> ClientStatus:
        return ClientStatus(self.state, self.detail, current=self.current)

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        raise AssertionError("checks change nothing")

    def disconnect(self, progress: Progress) -> bool:
        raise AssertionError("checks change nothing")


@dataclass
class FakeProber:
    """The wire: everything answers, except what is ``silent``; ``doors`` are the open ports."""

    doors: set[tuple[str, int]] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    no_ping: set[str] = field(default_factory=set)
    filtered: set[tuple[str, int]] = field(default_factory=set)
    batches: list[int] = field(default_factory=list)

    def ping_all(
        self, addresses: Sequence[IPAddress], *, timeout_s: float
    ) -> tuple[PingResult, ...]:
        self.batches.append(len(addresses))
        deaf = self.silent | self.no_ping
        return tuple(
            PingResult(a, False, error="no answer") if str(a) in deaf else PingResult(a, True, 0.8)
            for a in addresses
        )

    def connect_all(
        self, targets: Sequence[tuple[IPAddress, int]], *, timeout_s: float
    ) -> tuple[TcpResult, ...]:
        self.batches.append(len(targets))
        return tuple(self._connect(address, port) for address, port in targets)

    def _connect(self, address: IPAddress, port: int) -> TcpResult:
        door = (str(address), port)
        if str(address) in self.silent or door in self.filtered:
            return TcpResult(address, port, TcpOutcome.TIMEOUT, error="no answer")
        if door in self.doors:
            return TcpResult(address, port, TcpOutcome.OPEN, 1.2)
        return TcpResult(address, port, TcpOutcome.REFUSED, 1.1)


@dataclass
class FakeResolver:
    """Answers for names: a port where a watch is or is not, and a system that asks it or not."""

    port: int
    answers: dict[str, Reply] = field(default_factory=dict)
    silence: Reply | None = None
    system: Reply | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)
    #: What the resolvers of clusters answer.
    clusters: dict[IPAddress, Reply] = field(default_factory=dict)

    def ask_port(self, name: str, port: int, *, version: int = 4) -> Reply:
        self.asked.append((name, version))
        if port != self.port:
            return Reply(problem="Connection refused")
        return self.silence or self._answer(name)

    def ask_server(self, name: str, server: IPAddress, *, version: int = 4) -> Reply:
        reply = self.clusters.get(server, Reply(problem="no answer"))
        found = tuple(address for address in reply.addresses if address.version == version)
        return Reply(found, reply.problem or (None if found else "it has no such address"))

    def ask_system(self, name: str) -> Reply:
        return self.system or self._answer(name)

    def _answer(self, name: str) -> Reply:
        if is_probe(name.removesuffix(".docker.test").removesuffix(".cluster.local")):
            return Reply((IPAddress("127.0.0.1"),))
        return self.answers.get(name, Reply(problem="NXDOMAIN"))


@dataclass
class FakeSystem(NamesSystem):
    """How this machine is told of names."""

    name = "a file"
    found: SystemStatus = field(
        default_factory=lambda: SystemStatus(SystemState.CURRENT, "the file names the port")
    )
    steps: tuple[str, ...] = ()

    def status(self, setting: SystemEntry) -> SystemStatus:
        return self.found

    def instructions(self, _setting: SystemEntry) -> tuple[str, ...]:
        return self.steps


@dataclass(frozen=True, slots=True)
class FakeHost(Host):
    """This machine with a table of its own."""

    table: Callable[[], tuple[Route, ...]] = tuple

    def routes(self) -> tuple[Route, ...]:
        """The routing table."""
        return self.table()
