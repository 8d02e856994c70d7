"""Makes the tunnel what the plan says, reports on it, and takes it away again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from netaddr import IPAddress

from macnet import probe
from macnet.clients.base import Client
from macnet.config import ClientChoice, Config
from macnet.engine import Engine
from macnet.errors import NotSetUp, PortTaken, TunnelTimeout
from macnet.helper import LABEL_NAME, Helper, HelperSpec, ensure_image
from macnet.helper.image import remove_images
from macnet.helper.spec import HelperRoutes
from macnet.networks import gateway_of
from macnet.paths import TunnelPaths
from macnet.pki import Pki, ensure_pki
from macnet.profile import Profile, render_profile
from macnet.progress import Progress, stage
from macnet.state import TunnelState, lock, remove_tunnel_files, save_state, write_private
from macnet.tunnel.facts import Facts, Surroundings, gather_facts
from macnet.tunnel.plan import OWN_NETWORK, Plan, bridges_here, own_interface, plan_tunnel
from macnet.tunnel.results import DownResult, SetupResult

#: Seconds for the client to connect, and then for the first answer through the tunnel.
CONNECT_TIMEOUT_S = 30.0
TRAFFIC_TIMEOUT_S = 20.0
#: How many other ports are tried where the engine cannot publish the planned one.
PORT_TRIES = 5
#: Seconds to wait for a container that might answer without a tunnel.
_DIRECT_PING_S = 0.5


class Tunnel:
    """One tunnel between this machine and one engine."""

    def __init__(
        self,
        *,
        config: Config,
        paths: TunnelPaths,
        open_engine: Callable[[], Engine],
        client: Client,
        client_reason: str,
        around: Surroundings,
        progress: Progress,
        options: Mapping[str, object],
    ) -> None:
        """Nothing is asked or changed yet. ``options`` are remembered by the next setup."""
        self.config = config
        self.paths = paths
        self.client = client
        self.client_reason = client_reason
        self.around = around
        self.progress = progress
        self._open_engine = open_engine
        self._options = options
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine, connected on first use. Raises `macnet.errors.EngineError`."""
        if self._engine is None:
            self._engine = self._open_engine()
        return self._engine

    @property
    def helper(self) -> Helper:
        """The helper's containers on the engine."""
        return Helper(self.engine, self.config.name)

    def facts(self) -> Facts:
        """Look at everything once."""
        return gather_facts(
            engine=self.engine,
            helper=self.helper,
            client=self.client,
            paths=self.paths,
            base_image=self.config.base_image,
            around=self.around,
            progress=self.progress,
        )

    def plan(self, *, renew_keys: bool = False) -> Plan:
        """What setup would do."""
        return plan_tunnel(self.config, self.facts(), self.around.port_owner, renew_keys=renew_keys)

    def setup(self, *, force: bool = False) -> SetupResult:
        """Make the tunnel what it should be and wait until it carries traffic.

        Safe to repeat and safe after an interruption: every step looks at what there is.
        Without ``force`` nothing is created where containers answer already.
        """
        with lock(self.paths.lock):
            facts, plan = self._look()
            if not force and (why := self._reachable_without(facts, plan)):
                return self._result(facts, plan, changed=False, already_reachable=why)
            return self._apply(facts, plan)

    def regenerate(self, *, keys: bool = False) -> SetupResult:
        """Bring an existing tunnel up to date with the engine's networks.

        ``keys`` makes new certificates and keys as well. Raises `NotSetUp` without a tunnel.
        """
        with lock(self.paths.lock):
            facts, plan = self._look(renew_keys=keys)
            if facts.helper.server is None and facts.profile is None:
                raise NotSetUp("there is no tunnel yet", hint="`macnet setup` makes one")
            return self._apply(facts, plan, renew_keys=keys)

    def _look(self, *, renew_keys: bool = False) -> tuple[Facts, Plan]:
        with stage(self.progress, "looking at the engine"):
            facts = self.facts()
            plan = plan_tunnel(self.config, facts, self.around.port_owner, renew_keys=renew_keys)
        for warning in plan.warnings:
            self.progress.warn(warning)
        return facts, plan

    def _reachable_without(self, facts: Facts, plan: Plan) -> str | None:
        """Why no tunnel is needed: containers of this engine answer without one."""
        if own_interface(facts.interfaces, plan.tunnel_subnet) is not None:
            return None
        if bridges := bridges_here(facts):
            return f"the engine's bridges are on this host ({', '.join(bridges)})"
        known = [
            address
            for item in plan.networks
            if item.routed
            for endpoint in item.network.endpoints
            for address in endpoint.addresses
            if address.version == 4
        ][:8]
        answers = probe.ping_all(known, timeout_s=_DIRECT_PING_S) if known else ()
        found = next((answer.address for answer in answers if answer.ok), None)
        return f"{found} answers without a tunnel" if found is not None else None

    def _apply(self, facts: Facts, plan: Plan, *, renew_keys: bool = False) -> SetupResult:
        manual = self.config.client is ClientChoice.NONE
        self.client.require()
        changed = False
        with stage(self.progress, "preparing keys") as step:
            pki, step.changed = ensure_pki(
                self.paths.pki,
                self.config.name,
                now=datetime.now(UTC),
                renew=renew_keys,
                progress=self.progress,
            )
            state = replace(
                facts.state,
                port=plan.port,
                tunnel_subnet=plan.tunnel_subnet,
                relay_subnet=plan.relay_subnet,
                token=facts.state.token or secrets.token_hex(16),
                options=self._options,
            )
            save_state(self.paths.state, state)
            changed |= step.changed
        with stage(self.progress, "building the helper image") as step:
            _, step.changed = ensure_image(self.engine, self.config.base_image, self.progress)
            changed |= step.changed
        with stage(self.progress, "starting the server") as step:
            state, step.changed = self._start_server(plan, state, pki)
            changed |= step.changed
        with stage(self.progress, "starting the relay") as step:
            step.changed = self.helper.ensure_relay(self._spec(plan, state, pki))
            changed |= step.changed
        with stage(self.progress, "writing the profile") as step:
            step.changed = self._write_profile(plan, state, pki)
            changed |= step.changed
        if manual:
            self.client.connect(self.progress, timeout_s=CONNECT_TIMEOUT_S)
            return self._result(facts, plan, state=state, changed=changed)
        with stage(self.progress, f"connecting {self.client.name}") as step:
            step.changed = self._connect()
            changed |= step.changed
        with stage(self.progress, "waiting for traffic"):
            verified = self._wait_for_traffic(plan)
        return self._result(facts, plan, state=state, changed=changed, verified=verified)

    def _spec(self, plan: Plan, state: TunnelState, pki: Pki) -> HelperSpec:
        return HelperSpec(
            name=self.config.name,
            image=plan.image_tag,
            port=state.port or plan.port,
            tunnel_subnet=plan.tunnel_subnet,
            relay_subnet=plan.relay_subnet,
            tun_mtu=self.config.tun_mtu,
            comp_lzo=self.config.comp_lzo,
            token=state.token or "",
            network=plan.server_network,
            pki_fingerprint=pki.fingerprint,
        )

    def _start_server(self, plan: Plan, state: TunnelState, pki: Pki) -> tuple[TunnelState, bool]:
        """Start it, on the next port where the engine cannot publish an automatic one.

        A port may be free on this machine and still be refused by the engine.
        """
        if plan.server_network == OWN_NETWORK:
            self.engine.ensure_network(OWN_NETWORK, {LABEL_NAME: self.config.name})
        routes = HelperRoutes(subnets=plan.subnets)
        for attempt in range(PORT_TRIES + 1):
            spec = self._spec(plan, state, pki)
            try:
                changed = self.helper.ensure_server(spec, pki, routes)
            except PortTaken:
                if self.config.port is not None or attempt == PORT_TRIES:
                    raise
                self.progress.warn(f"the engine cannot publish port {spec.port}; trying another")
                state = replace(state, port=self._next_port(spec.port))
                save_state(self.paths.state, state)
                continue
            if not changed:
                changed = self.helper.apply_routes(spec, routes)
            return state, changed
        raise AssertionError("the loop ends by return or raise")

    def _next_port(self, port: int) -> int:
        return next(p for p in range(port + 1, 65536) if self.around.port_owner(p) is None)

    def _write_profile(self, plan: Plan, state: TunnelState, pki: Pki) -> bool:
        profile = Profile(
            port=state.port or plan.port,
            routes=plan.subnets,
            comp_lzo=self.config.comp_lzo,
            tun_mtu=self.config.tun_mtu,
            pki=pki,
        )
        return write_private(self.paths.profile, render_profile(profile).encode())

    def _connect(self) -> bool:
        installed = self.client.install(self.paths.profile, self.progress)
        if not self.client.is_current(self.paths.profile):
            if self.client.status().state == "connected":
                self.client.reconnect(self.progress, timeout_s=CONNECT_TIMEOUT_S)
                return True
        return self.client.connect(self.progress, timeout_s=CONNECT_TIMEOUT_S) or installed

    def _wait_for_traffic(self, plan: Plan) -> str | None:
        """Ping the routed bridges until one answers; None where there is none to ping.

        Raises `TunnelTimeout`.
        """
        targets = _landmarks(plan)
        if not targets:
            return None
        deadline = time.monotonic() + TRAFFIC_TIMEOUT_S
        while True:
            for answer in probe.ping_all(targets, timeout_s=1.0):
                if answer.ok:
                    return str(answer.address)
            if time.monotonic() > deadline:
                raise TunnelTimeout(
                    f"the client is connected, but {targets[0]} does not answer "
                    f"within {TRAFFIC_TIMEOUT_S:g} s",
                    hint="`macnet check` finds the broken hop",
                )
            time.sleep(0.1)

    def _result(
        self,
        facts: Facts,
        plan: Plan,
        *,
        changed: bool,
        state: TunnelState | None = None,
        verified: str | None = None,
        already_reachable: str | None = None,
    ) -> SetupResult:
        return SetupResult(
            changed=changed,
            port=(state or facts.state).port or plan.port,
            tunnel_subnet=plan.tunnel_subnet,
            client=self.client.name,
            client_reason=self.client_reason,
            profile=str(self.paths.profile),
            networks=plan.networks,
            routes=plan.routes,
            verified=verified,
            warnings=plan.warnings,
            already_reachable=already_reachable,
        )

    def connect(self) -> bool:
        """Connect the client with the stored profile; False if it was connected already."""
        with lock(self.paths.lock):
            if not self.paths.profile.exists():
                raise NotSetUp("there is no profile yet", hint="`macnet setup` makes one")
            self.client.require()
            with stage(self.progress, f"connecting {self.client.name}") as step:
                step.changed = self._connect()
            return step.changed

    def disconnect(self) -> bool:
        """Disconnect the client; the helper goes on. False if it was not connected."""
        with stage(self.progress, f"disconnecting {self.client.name}") as step:
            step.changed = self.client.disconnect(self.progress)
        return step.changed

    def down(self, *, purge: bool = False) -> DownResult:
        """Remove the helper, by its label alone; with ``purge`` image, keys and profile too.

        What is on this machine is taken down even if the engine does not answer; the engine's
        error is raised after that.
        """
        with lock(self.paths.lock):
            disconnected = self.disconnect()
            if purge:
                self.client.remove(self.progress)
            with stage(self.progress, "removing the helper") as step:
                containers = self.helper.remove()
                networks = self.engine.remove_networks(f"{LABEL_NAME}={self.config.name}")
                images = remove_images(self.engine) if purge else 0
                step.changed = bool(containers or networks or images)
            files = remove_tunnel_files(self.paths.root) if purge else ()
        return DownResult(
            disconnected=disconnected,
            containers=containers,
            images=images,
            files=tuple(map(str, files)),
        )


def _landmarks(plan: Plan) -> list[IPAddress]:
    """Addresses that always answer while their network exists: the bridges' own."""
    found: Iterable[IPAddress] = (
        gateway_of(subnet)
        for item in plan.networks
        for subnet in item.subnets
        if subnet.cidr.version == 4
    )
    return list(found)[:20]
