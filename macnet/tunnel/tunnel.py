"""Makes the tunnel what the plan says, reports on it, and takes it away again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from macnet.clients.base import Client
from macnet.config import DEFAULT_RELAY_SUBNET, DEFAULT_TUNNEL_SUBNET, Config
from macnet.config_file import RemapTable
from macnet.engine import Engine
from macnet.errors import NotSetUp, SubnetConflict
from macnet.files import lock, read_private, remove_tunnel_files, write_private
from macnet.helper import LABEL_NAME, Helper
from macnet.helper.image import remove_images
from macnet.helper.spec import container_name
from macnet.networks import Selected
from macnet.paths import TunnelPaths
from macnet.progress import Progress, stage
from macnet.state import load_state
from macnet.tunnel.apply import Applied, Apply, apply_plan, connect_client, follow_plan
from macnet.tunnel.conflicts import select
from macnet.tunnel.direct import find_direct_way
from macnet.tunnel.facts import Facts, Surroundings, gather_facts, list_networks
from macnet.tunnel.plan import Action, Plan, plan_tunnel
from macnet.tunnel.results import DownResult, FollowResult, SetupResult, diff_routes

#: Seconds to wait for another macnet: a running `macnet watch` takes a short look now and then.
_LOCK_WAIT_S = 5.0


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
        remaps: RemapTable,
    ) -> None:
        """Nothing is asked or changed yet. The next setup remembers ``options`` and ``remaps``."""
        self.config = config
        self.paths = paths
        self.client = client
        self.client_reason = client_reason
        self.around = around
        self.progress = progress
        self._open_engine = open_engine
        self._options = options
        self._remaps = remaps
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

    def facts(self, *, repair: bool = False, ask_client: bool = True) -> Facts:
        """Look at everything once; ``repair`` sets a damaged record aside."""
        return gather_facts(
            engine=self.engine,
            helper=self.helper,
            client=self.client if ask_client else None,
            paths=self.paths,
            base_image=self.config.base_image,
            around=self.around,
            progress=self.progress,
            repair=repair,
        )

    def plan(self, *, renew_keys: bool = False) -> Plan:
        """What setup would do."""
        return plan_tunnel(self.config, self.facts(), self.around.port_owner, renew_keys=renew_keys)

    def networks(self) -> tuple[Selected, ...]:
        """Every network with the verdict on it; asks the engine for listings only."""
        state = load_state(self.paths.state, self.progress)
        return select(
            self.config,
            list_networks(self.engine),
            self.around.interfaces(),
            self.around.routes(),
            self.config.tunnel_subnet or state.tunnel_subnet or DEFAULT_TUNNEL_SUBNET,
            state.relay_subnet or DEFAULT_RELAY_SUBNET,
        )

    def profile_text(self) -> str:
        """The stored profile. Raises `NotSetUp` where there is none."""
        data = read_private(self.paths.profile)
        if data is None:
            raise NotSetUp("there is no profile yet", hint="`macnet setup` makes one")
        return data.decode(errors="replace")

    def export_profile(self, target: Path) -> bool:
        """Write the profile to ``target`` with mode 0600; False if it had these bytes."""
        return write_private(target, self.profile_text().encode())

    def logs(self, source: str, *, tail: int, follow: bool) -> Iterator[str]:
        """The last lines of the server, the relay or the client, each without its newline."""
        if source == "client":
            data = read_private(self.paths.client_log)
            if data is None:
                raise NotSetUp(
                    "the openvpn client has written no log yet",
                    hint="`macnet connect` starts it; other clients keep their own logs",
                )
            yield from data.decode(errors="replace").splitlines()[-tail:]
            return
        name = container_name(self.config.name, source)
        if self.engine.find_container(name) is None:
            raise NotSetUp(f"there is no container {name}", hint="`macnet setup` makes it")
        yield from self.engine.logs(name, tail=tail, follow=follow)

    def setup(self, *, force: bool = False, strict: bool = False) -> SetupResult:
        """Make the tunnel what it should be and wait until it carries traffic.

        Safe to repeat and safe after an interruption: every step looks at what there is.
        Without ``force`` nothing is created where containers answer already. With ``strict``
        a subnet that collides with this host is a `SubnetConflict`, and nothing is changed.
        """
        self._find_engine()
        with lock(self.paths.lock, wait_s=_LOCK_WAIT_S):
            facts, plan = self._look()
            if strict and (out := [s for item in plan.networks for s, _ in item.left_out]):
                raise SubnetConflict(
                    f"not routed: {', '.join(str(subnet.cidr) for subnet in out)}",
                    hint="the warnings name who uses the addresses; --remap auto gives others",
                )
            if not force and (why := find_direct_way(facts, plan, self.around.runner)):
                untouched = Applied(changed=False, port=plan.port)
                return self._result(plan, untouched, already_reachable=why)
            return self._apply(facts, plan)

    def regenerate(self, *, keys: bool = False) -> SetupResult:
        """Bring an existing tunnel up to date with the engine's networks.

        ``keys`` makes new certificates and keys as well. Raises `NotSetUp` without a tunnel.
        """
        self._find_engine()
        with lock(self.paths.lock, wait_s=_LOCK_WAIT_S):
            facts, plan = self._look(renew_keys=keys)
            if facts.helper.server is None and facts.profile is None:
                raise NotSetUp("there is no tunnel yet", hint="`macnet setup` makes one")
            return self._apply(facts, plan, renew_keys=keys)

    def follow(self, engine: Engine | None = None) -> FollowResult:
        """Bring the running helper up to date without touching the client or its profile.

        On ``engine``, where that is connected already.

        A missing container is made again as long as the other one is there; where both are
        gone the tunnel was taken down, and that is left alone.
        """
        self._engine = engine or self._engine
        with lock(self.paths.lock):
            facts = self.facts(ask_client=False)
            if facts.helper.server is None and facts.helper.relay is None:
                return FollowResult(set_up=False, routes=diff_routes((), ()))
            if facts.pki is None or facts.state.token is None:
                raise NotSetUp(
                    f"the files of this tunnel in {self.paths.root} are gone or damaged",
                    hint="`macnet setup` makes new ones",
                )
            plan = plan_tunnel(self.config, facts, self.around.port_owner, keep_profile=True)
            if plan.profile is not Action.KEEP:
                raise NotSetUp(
                    "the profile does not fit the tunnel any more",
                    hint="`macnet setup` makes a new one and connects with it",
                )
            repaired = follow_plan(plan, facts.state, facts.pki, self._apply_to())
        return FollowResult(
            set_up=True,
            routes=diff_routes(facts.allowed, plan.subnets),
            stale=tuple(net for net in plan.profile_routes if net not in plan.subnets),
            repaired=repaired,
            networks=plan.networks,
            warnings=plan.warnings,
        )

    def _find_engine(self) -> None:
        """Connect before the lock is taken: without an engine no folder is made for a tunnel."""
        self._engine = self.engine

    def _look(self, *, renew_keys: bool = False) -> tuple[Facts, Plan]:
        # First: such a client's routes would count as somebody else's.
        self.client.sweep(self.progress)
        with stage(self.progress, "looking at the engine"):
            facts = self.facts(repair=True)
            plan = plan_tunnel(self.config, facts, self.around.port_owner, renew_keys=renew_keys)
        for warning in plan.warnings:
            self.progress.warn(warning)
        return facts, plan

    def _apply(self, facts: Facts, plan: Plan, *, renew_keys: bool = False) -> SetupResult:
        self.client.require()
        done = apply_plan(
            plan,
            replace(facts.state, engine=facts.engine.id or None),
            self._apply_to(),
            options=self._options,
            renew_keys=renew_keys,
        )
        return self._result(plan, done)

    def _apply_to(self) -> Apply:
        return Apply(
            config=self.config,
            paths=self.paths,
            engine=self.engine,
            client=self.client,
            around=self.around,
            progress=self.progress,
            remaps=self._remaps,
        )

    def _result(
        self, plan: Plan, done: Applied, *, already_reachable: str | None = None
    ) -> SetupResult:
        return SetupResult(
            changed=done.changed,
            port=done.port,
            tunnel_subnet=plan.tunnel_subnet,
            client=self.client.name,
            client_reason=self.client_reason,
            profile=str(self.paths.profile),
            networks=plan.networks,
            routes=plan.routes,
            verified=done.verified,
            warnings=plan.warnings,
            already_reachable=already_reachable,
            new_profile=done.new_profile,
        )

    def connect(self) -> bool:
        """Connect the client with the stored profile; False if it was connected already."""
        with lock(self.paths.lock, wait_s=_LOCK_WAIT_S):
            self.profile_text()
            self.client.require()
            with stage(self.progress, f"connecting {self.client.name}") as step:
                step.changed = connect_client(self.client, self.paths, self.progress)
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
        with lock(self.paths.lock, wait_s=_LOCK_WAIT_S):
            disconnected = self.client.sweep(self.progress) | self.disconnect()
            if purge:
                self.client.remove(self.progress)
            notes = self.client.leftover(purge=purge)
            try:
                with stage(self.progress, "removing the helper") as step:
                    containers = self.helper.remove()
                    networks = self.engine.remove_networks(f"{LABEL_NAME}={self.config.name}")
                    images = remove_images(self.engine) if purge else 0
                    step.changed = bool(containers or networks or images)
            finally:
                # Also without the engine: to remove the helper later takes no file of ours.
                files = remove_tunnel_files(self.paths.root) if purge else ()
                if purge:
                    self._remaps.forget()
        return DownResult(
            disconnected=disconnected,
            containers=containers,
            images=images,
            # The lock is there only because this has just taken it.
            files=tuple(str(path) for path in files if path != self.paths.lock),
            notes=notes,
        )
