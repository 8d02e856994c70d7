"""A model of both sides: an engine, a client, this machine, and what answers on the wire.

A `World` begins healthy. A test breaks one thing in it and looks at what the checks say.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from netaddr import IPNetwork

from macnet.checks import Report, Result, all_checks, parse_target, run_checks
from macnet.checks.context import Context
from macnet.clients.base import ClientState
from macnet.config import Config
from macnet.config_file import RemapTable
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
    SERVER_PORT,
    HelperRoutes,
    render_client,
    render_subnets,
)
from macnet.models import Interface, Port, PortOwner, Route
from macnet.paths import TunnelPaths
from macnet.pki import Pki, create_pki, save_pki
from macnet.profile import Profile, render_profile
from macnet.progress import Silent
from macnet.state import TunnelState, save_state
from macnet.tunnel import Tunnel
from tests.unit.checks.fakes import (
    MAC,
    FakeClient,
    FakeEngine,
    FakeProber,
    FakeSurroundings,
    container,
    network,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TUNNEL = IPNetwork("192.168.255.0/24")
RELAY = IPNetwork("100.64.0.0/30")
PORT = 13194
TOKEN = "0123"  # noqa: S105
_PKI: dict[int, Pki] = {}


def make_pki(days: int = 365) -> Pki:
    """Certificates that begin at `NOW`; made once per validity."""
    if days not in _PKI:
        _PKI[days] = create_pki("macnet", now=NOW, days=days)
    return _PKI[days]


class World:
    """Everything, healthy: two networks besides the default bridge, three containers."""

    def __init__(self, folder: Path) -> None:
        self.paths = TunnelPaths(folder)
        self.config = Config()
        self.pki = make_pki()
        self.now = NOW
        self.state = TunnelState(port=PORT, tunnel_subnet=TUNNEL, relay_subnet=RELAY, token=TOKEN)
        self.subnets = tuple(map(IPNetwork, ("172.17.0.0/16", "172.28.0.0/16", "172.82.0.0/24")))
        self.engine_error: MacnetError | None = None
        self.engine = FakeEngine(
            networks_=[
                network("app", "172.82.0.0/24", "172.82.0.1"),
                network("bridge", "172.17.0.0/16", "172.17.0.1"),
                network("sealed", "172.28.0.0/16", "172.28.0.1", Internal=True),
            ],
            containers_=[
                container(1, "macnet-server", {"bridge": "172.17.0.2"}, [SERVER_PORT]),
                container(0xABC1, "redis", {"app": "172.82.0.100"}, [6379]),
                container(0xABC2, "web", {"app": "172.82.0.3", "bridge": "172.17.0.3"}, [80]),
                container(0xD3, "vault", {"sealed": "172.28.0.3"}),
                container(0xE4, "old", {}, State="exited"),
            ],
            parts={},
            files={},
            info_=EngineInfo("28.5.2", "1.51", "vm", "Debian", "aarch64", rootless=False),
        )
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
        self.interfaces = [
            Interface("en0", (IPNetwork("192.168.1.20/24"),)),
            Interface("utun4", (IPNetwork(f"{MAC}/24"),), point_to_point=True),
        ]
        self.routes = [
            Route(IPNetwork("0.0.0.0/0"), "en0"),
            Route(IPNetwork("192.168.1.0/24"), "en0"),
            *(Route(net, "utun4") for net in self.subnets),
        ]
        self.route_error: MacnetError | None = None
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
            tun_mtu=self.config.tun_mtu,
            comp_lzo=self.config.comp_lzo,
            token=TOKEN,
            network="bridge",
            pki_fingerprint=self.pki.fingerprint,
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
        config = self.config
        profile = Profile(port, routes, config.comp_lzo, config.tun_mtu, self.pki)
        write_private(self.paths.profile, render_profile(profile).encode())

    def write_server(
        self, allowed: tuple[IPNetwork, ...], pushed: tuple[IPNetwork, ...] = ()
    ) -> None:
        """The server's allowlist and what it pushes."""
        routes = HelperRoutes(subnets=allowed, pushed=pushed)
        self.engine.files["/etc/macnet/subnets"] = render_subnets(routes).encode()
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

    def expire(self) -> None:
        """Time passes until the certificates have ended."""
        self.now = self.pki.expires + timedelta(hours=1)

    @property
    def tunnel(self) -> Tunnel:
        """The tunnel with this world around it."""
        return Tunnel(
            config=self.config,
            paths=self.paths,
            open_engine=self._open,
            client=cast(Any, self.client),
            client_reason="the default",
            around=FakeSurroundings(
                runner=cast(Any, None),
                system="linux",
                interfaces=lambda: tuple(self.interfaces),
                port_owner=lambda port: self.port_owner,
                table=self._table,
            ),
            progress=Silent(),
            options={},
            remaps=RemapTable(self.paths.root / "config.toml", "macnet"),
        )

    def _open(self) -> Engine:
        if self.engine_error is not None:
            raise self.engine_error
        return cast(Engine, self.engine)

    def _table(self) -> tuple[Route, ...]:
        if self.route_error is not None:
            raise self.route_error
        return tuple(self.routes)

    def context(self, *targets: str) -> Context:
        """What checks share."""
        parsed = [parse_target(text) for text in targets]
        return Context(self.tunnel, parsed, prober=self.prober, now=lambda: self.now)

    def check(self, *targets: str) -> Report:
        """All checks, with this world's clock."""
        seen: list[Result] = []
        report = run_checks(all_checks(), self.context(*targets), seen.append)
        assert tuple(seen) == report.results
        return report
