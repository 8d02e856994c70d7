"""A model of both sides: an engine, a client, this machine, and what answers on the wire.

A `World` begins healthy. A test breaks one thing in it and looks at what the checks say.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from netaddr import IPAddress, IPNetwork

from macnet.carriers import Carrier, Here
from macnet.checks import CHECKS, Outcome, Report, Result, parse_target, run_checks
from macnet.checks.facts import Facts
from macnet.clients.base import ClientState
from macnet.contexts import EngineAddress
from macnet.engine import Container, Engine, EngineInfo
from macnet.errors import (
    EngineUnreachable,
    MacnetError,
)
from macnet.files import write_private
from macnet.helper import HelperSpec, helper_image_tag
from macnet.helper.spec import (
    LABEL_NAME,
    LABEL_ROLE,
    LABEL_SPEC,
    LANE_FILE,
    SERVER_PORT,
    HelperRoutes,
    render_client,
    render_subnets,
)
from macnet.models import Interface, Port, PortOwner, Route
from macnet.names.client import Reply
from macnet.paths import TunnelPaths
from macnet.pki import Pki, create_pki, save_pki
from macnet.profile import Profile, render_profile
from macnet.progress import Silent
from macnet.settings import Resolved, Settings
from macnet.state import NamesChoice, TunnelState, save_state
from macnet.tunnel import Tunnel
from tests.unit.checks.fakes import (
    MAC,
    FakeClient,
    FakeEngine,
    FakeHost,
    FakeProber,
    FakeResolver,
    FakeSystem,
    container,
    network,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TUNNEL = IPNetwork("192.168.255.0/24")
RELAY = IPNetwork("100.64.0.0/30")
PORT = 13194
TOKEN = "0123"  # noqa: S105
NAMES = NamesChoice("docker.test", 13153)
_PKI: dict[int, Pki] = {}


def make_pki(days: int = 365) -> Pki:
    """Certificates that begin at `NOW`; made once per validity."""
    if days not in _PKI:
        _PKI[days] = create_pki("macnet", now=NOW, days=days)
    return _PKI[days]


def all_ok(report: Report) -> bool:
    """Whether every check passed without a word."""
    return {result.outcome for result in report.results} == {Outcome.OK}


class World:
    """Everything, healthy: two networks besides the default bridge, three containers."""

    def __init__(self, folder: Path) -> None:
        self.paths = TunnelPaths(folder)
        self.settings = Settings()
        self.pki = make_pki()
        self.now = NOW
        self.state = TunnelState(port=PORT, tunnel_subnet=TUNNEL, relay_subnet=RELAY, token=TOKEN)
        self.subnets = tuple(map(IPNetwork, ("172.17.0.0/16", "172.28.0.0/16", "172.82.0.0/24")))
        self.engine_error: MacnetError | None = None
        self.carrier: Carrier = Here(EngineAddress("", ""))
        self.engine = FakeEngine(
            networks_=[
                network("app", "172.82.0.0/24", "172.82.0.1"),
                network("bridge", "172.17.0.0/16", "172.17.0.1"),
                network("sealed", "172.28.0.0/16", "172.28.0.1", Internal=True),
            ],
            containers_=[
                container(
                    1,
                    "macnet-server",
                    {"bridge": "172.17.0.2"},
                    [SERVER_PORT],
                    Labels={LABEL_NAME: "macnet", LABEL_ROLE: "server"},
                ),
                container(0xABC1, "redis", {"app": "172.82.0.100"}, [6379]),
                container(0xABC2, "web", {"app": "172.82.0.3", "bridge": "172.17.0.3"}, [80]),
                container(0xD3, "vault", {"sealed": "172.28.0.3"}),
                container(0xE4, "old", {}, State="exited"),
            ],
            parts={},
            files={},
            info_=EngineInfo("28.5.2", "1.51", "vm", "Debian", "aarch64", rootless=False),
        )
        self.engine.clock = lambda: self.now
        self.engine.declared[f"{0xD3:064x}"] = (Port(8200), Port(8201, "udp"))
        self.client = FakeClient()
        self.prober = FakeProber(
            doors={
                ("127.0.0.1", PORT),
                ("172.82.0.100", 6379),
                ("172.82.0.3", 80),
                ("172.17.0.3", 80),
                ("172.28.0.3", 8200),
            }
        )
        self.resolver = FakeResolver(NAMES.port)
        for name, address in (("redis", "172.82.0.100"), ("vault", "172.28.0.3")):
            self.resolver.answers[f"{name}.docker.test"] = Reply((IPAddress(address),))
        homes = IPAddress("172.17.0.3"), IPAddress("172.82.0.3")
        self.resolver.answers["web.docker.test"] = Reply(homes)
        self.names_system = FakeSystem()
        self.names_owner: PortOwner | None = PortOwner(NAMES.port, 78, "python")
        self.interfaces = [
            Interface("en0", (IPNetwork("192.168.1.20/24"),)),
            Interface("utun4", (IPNetwork(f"{MAC}/24"),)),
        ]
        self.routes = [
            Route(IPNetwork("0.0.0.0/0"), "en0"),
            Route(IPNetwork("192.168.1.0/24"), "en0"),
            *(Route(net, "utun4") for net in self.subnets),
        ]
        self.route_error: MacnetError | None = None
        self.large_packets: bool | None = True
        self.port_owner: PortOwner | None = PortOwner(PORT, 77, "com.docker.backend")
        self.write()

    def write(self) -> None:
        """What setup leaves: files on this machine, containers on the engine."""
        save_state(self.paths.state, self.state)
        save_pki(self.paths.pki, self.pki)
        self.write_profile(self.subnets)
        spec = HelperSpec(
            name="macnet",
            image=helper_image_tag(None),
            port=PORT,
            tunnel_subnet=TUNNEL,
            relay_subnet=RELAY,
            tun_mtu=self.settings.tun_mtu,
            comp_lzo=self.settings.comp_lzo,
            token=TOKEN,
            network="bridge",
            pki_fingerprint=self.pki.fingerprint,
            home=self.paths.home,
        )
        for role, number in (("server", 1), ("relay", 2)):
            labels = {LABEL_ROLE: role, LABEL_NAME: "macnet", LABEL_SPEC: spec.digest()}
            self.engine.parts[f"macnet-{role}"] = Container(
                id=f"{number:064x}",
                name=f"macnet-{role}",
                image_id="sha256:1",
                labels=labels,
                status="running",
                health="healthy",
                exit_code=0,
                restarts=0,
                environment={},
                published={SERVER_PORT: ("127.0.0.1", PORT)} if role == "server" else {},
            )
        self.write_server(self.subnets)

    def write_profile(self, routes: tuple[IPNetwork, ...], port: int = PORT) -> None:
        """The client's profile with these routes."""
        settings = self.settings
        profile = Profile(port, routes, settings.comp_lzo, settings.tun_mtu, self.pki)
        write_private(self.paths.profile, render_profile(profile).encode())

    def write_server(
        self, allowed: tuple[IPNetwork, ...], pushed: tuple[IPNetwork, ...] = ()
    ) -> None:
        """The server's allowlist and what it pushes."""
        routes = HelperRoutes(subnets=allowed, pushed=pushed)
        self.engine.files[LANE_FILE] = b"kernel\n"
        self.engine.files["/etc/macnet/subnets.applied"] = render_subnets(routes).encode()
        self.engine.files["/etc/macnet/ccd/DEFAULT"] = render_client(TUNNEL, routes).encode()

    def change_part(self, role: str, **changes: object) -> None:
        """Change one of the two containers."""
        name = f"macnet-{role}"
        self.engine.parts[name] = replace(self.engine.parts[name], **cast(Any, changes))

    def kill_engine(self) -> None:
        """The engine is gone, and with it everything behind it."""
        self.engine_error = EngineUnreachable("no Docker engine answers", hint="start the engine")
        self.prober.doors.clear()
        self.client.state = ClientState.CONNECTING

    def names_on(self) -> None:
        """Names are on, and macnet answers for them."""
        self.state = replace(self.state, names=NAMES)
        save_state(self.paths.state, self.state)

    def expire(self) -> None:
        """Time passes until the certificates have ended."""
        self.now = self.pki.expires + timedelta(hours=1)

    @property
    def tunnel(self) -> Tunnel:
        """The tunnel with this world around it."""
        return Tunnel(
            resolved=Resolved(self.settings),
            paths=self.paths,
            open_engine=self._open,
            make_client=lambda name: self.client,
            client=self.client,
            client_reason="the default",
            find_carrier=lambda: self.carrier,
            host=FakeHost(
                runner=cast(Any, None),
                system="linux",
                interfaces=lambda: tuple(self.interfaces),
                port_owner=self._owner,
                table=self._table,
            ),
            progress=Silent(),
        )

    def _open(self) -> Engine:
        if self.engine_error is not None:
            raise self.engine_error
        return cast(Engine, self.engine)

    def _owner(self, port: int) -> PortOwner | None:
        return self.names_owner if port == NAMES.port else self.port_owner

    def _table(self) -> tuple[Route, ...]:
        if self.route_error is not None:
            raise self.route_error
        return tuple(self.routes)

    def facts(self, *targets: str) -> Facts:
        """What checks share."""
        parsed = [parse_target(text) for text in targets]
        found = Facts(
            self.tunnel,
            parsed,
            prober=self.prober,
            now=lambda: self.now,
            packet_passes=lambda *_, **__: self.large_packets,
            resolver=self.resolver,
        )
        found.names_system = self.names_system
        return found

    def check(self, *targets: str) -> Report:
        """All checks, with this world's clock."""
        seen: list[Result] = []
        report = run_checks(CHECKS, self.facts(*targets), seen.append)
        assert tuple(seen) == report.results
        return report
