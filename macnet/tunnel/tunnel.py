"""The tunnel's commands: settings -> observe -> decide -> converge, and taking it away again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from macnet import packet, survey
from macnet.carriers import stop_ssh
from macnet.choices import CarrierKind
from macnet.clients.base import ClientState
from macnet.engine import Engine, require_rootful
from macnet.errors import (
    BadValue,
    Busy,
    ClientMissing,
    HelperFailed,
    MacnetError,
    NotSetUp,
    SubnetConflict,
)
from macnet.files import lock, new_lines, read_private, remove_tunnel_files, write_private
from macnet.helper import LABEL_NAME
from macnet.helper.image import remove_images, require_image
from macnet.helper.spec import RELAY, SERVER, container_name, server_address
from macnet.models import Interface, Route
from macnet.networks import Selected, routed_subnets, select_networks
from macnet.pki import create_pki
from macnet.progress import Silent, stage
from macnet.settings import remember, to_record
from macnet.state import load_state, save_state
from macnet.tunnel.conflicts import in_use, own_interface, present_interface, strangers
from macnet.tunnel.converge import CONNECT_TIMEOUT_S, converge, switch_client
from macnet.tunnel.decide import (
    Action,
    Keys,
    Plan,
    PlanReport,
    decide,
    is_other_engine,
    list_selected,
    report_plan,
)
from macnet.tunnel.observe import Observed, list_networks, observe, read_profile
from macnet.tunnel.parts import TunnelParts
from macnet.tunnel.results import DownResult, RouteChanges, SetupResult, diff_routes
from macnet.values import FALLBACK_TUN_MTU

#: Seconds to wait for another macnet: a running `macnet watch` takes a short look now and then.
_LOCK_WAIT_S = 5.0


class Tunnel(TunnelParts):
    """One tunnel between this machine and one engine."""

    # Setup, regenerate, watch

    def plan(
        self, *, force: bool = False, strict: bool = False, offline: bool = False
    ) -> PlanReport:
        """What `setup` would do; changes nothing. Raises what it would raise."""
        started = self.carrier.start(self.progress, ask=True)
        try:
            seen, plan = self._decide(self._observe())
            require_rootful(seen.engine, self.engine.address)
            self._check(plan, strict=strict, offline=offline)
            self._say_what_runs_there(plan)
            report = report_plan(
                plan,
                disconnect=tuple(
                    former.name
                    for former in self.former_clients(seen.state)
                    if former.status().state is not ClientState.DISCONNECTED
                ),
                already_reachable=self._direct_way(seen, plan, force=force),
            )
            if report.already_reachable is None:
                self._require_other_client(seen)
                report = replace(report, warnings=(*report.warnings, *self._without_client()))
            return report
        finally:
            if started:
                stop_ssh(self.paths.carrier, self.host.runner)

    def setup(
        self, *, force: bool = False, strict: bool = False, offline: bool = False
    ) -> SetupResult:
        """Make the tunnel what it should be and wait until it carries traffic.

        Safe to repeat and safe after an interruption: every step looks at what there is.
        Without ``force`` nothing is created where containers answer already. With ``strict``
        a subnet that collides with this host is a `SubnetConflict`, and nothing is changed.
        With ``offline`` the engine downloads nothing for the helper image: `ImageMissing`.
        Where the client is not installed, all but the connection is made before `ClientMissing`.
        """
        with self._changing():
            seen, plan = self._look()
            require_rootful(seen.engine, self.engine.address)
            self._check(plan, strict=strict, offline=offline)
            self._say_what_runs_there(plan)
            self._warn(plan)
            self._warn_of_absent(plan)
            if why := self._direct_way(seen, plan, force=force):
                return self._untouched(plan, why)
            self._require_other_client(seen)
            self._warn_of_strangers(seen, plan)
            result = self._converge(seen, plan, offline=offline)
            return result if self._fits(plan, result) else self._shrink()

    def _require_other_client(self, seen: Observed) -> None:
        """Raise `ClientMissing` before one that may be connected loses its server for it."""
        if seen.state.client not in {None, self.client.name}:
            self.client.require()

    def _converge(self, seen: Observed, plan: Plan, *, offline: bool = False) -> SetupResult:
        """Carry the plan out, and then what only a running relay can tell."""
        first = converge(plan, seen, self, offline=offline)
        if not seen.untold:
            return first
        told, better = self._look()
        for warning in better.warnings:
            if warning not in plan.warnings:
                self.progress.warn(warning)
        return _as_one(seen, first, converge(better, told, self))

    def _fits(self, plan: Plan, result: SetupResult) -> bool:
        """Whether a packet that fills the default MTU gets through; True where nobody can tell."""
        chosen = self.resolved.sources.get("tun_mtu", "default") != "default"
        if chosen or result.verified is None or plan.spec.tun_mtu <= FALLBACK_TUN_MTU:
            return True
        with stage(self.progress, "trying the largest packet"):
            server = server_address(plan.spec.tunnel_subnet)
            return packet.packet_passes(server, plan.spec.tun_mtu) is not False

    def _shrink(self) -> SetupResult:
        """The tunnel again, with an MTU that works everywhere."""
        self.progress.warn(
            f"a packet of {self.settings.tun_mtu} bytes does not get through the tunnel, so its "
            f"MTU is {FALLBACK_TUN_MTU} from now on; `macnet setup --unset tun-mtu` tries again"
        )
        self.resolved = remember(self.resolved, "tun_mtu", FALLBACK_TUN_MTU)
        seen, plan = self._look()
        return converge(plan, seen, self)

    def regenerate(self, *, keys: bool = False) -> SetupResult:
        """Bring an existing tunnel up to date with the engine's networks.

        ``keys`` makes new certificates and keys as well. Raises `NotSetUp` without a tunnel.
        """
        if not self.paths.root.exists():
            raise NotSetUp("there is no tunnel yet", hint="`macnet setup` makes one")
        with self._changing():
            seen, plan = self._look(renew_keys=keys)
            if seen.helper.server is None and seen.profile is None:
                raise NotSetUp("there is no tunnel yet", hint="`macnet setup` makes one")
            self._warn(plan)
            self.client.require()
            return self._converge(seen, plan)

    def sync(self, engine: Engine | None = None) -> SetupResult | None:
        """Bring the running helper up to date without touching the client or its profile.

        On ``engine``, where that is connected already. A missing or stopped container is made
        again as long as the other one is there; where both are gone the tunnel was taken down,
        and None says so.
        """
        self.on(engine)
        if not self.paths.root.exists():
            return None
        if engine is None and not self.keep_carrier():
            return None
        with lock(self.paths.lock):
            self._require_settings_of_now()
            seen = self._observe(ask_client=False)
            if seen.helper.server is None and seen.helper.relay is None:
                return None
            if seen.pki is None or seen.state.token is None:
                raise NotSetUp(
                    f"the files of this tunnel in {self.paths.root} are gone or damaged",
                    hint="`macnet setup` makes new ones",
                )
            keys = Keys(seen.pki, seen.state.token, Action.KEEP)
            first = self._sync(seen, keys)
            if not seen.untold:
                return first
            return _as_one(seen, first, self._sync(self._observe(ask_client=False), keys))

    def _sync(self, seen: Observed, keys: Keys) -> SetupResult:
        plan = decide(self.settings, seen, keys, chosen=self.resolved.chosen, keep_profile=True)
        if plan.profile is not Action.KEEP:
            raise NotSetUp(
                "the profile does not fit the tunnel any more",
                hint="`macnet setup` makes a new one and connects with it",
            )
        return converge(plan, seen, self, touch_client=False)

    def keep_carrier(self) -> bool:
        """Start what carries the tunnel again if it has ended; False where it is to be down.

        Asks the user nothing. Raises `macnet.errors.EngineError`.
        """
        if self.carrier.way.kind is CarrierKind.SSH:
            if self.state().way is None:
                return False
            self.carrier.start(Silent(), ask=False)
            if self.state().way is None:  # disconnected meanwhile
                stop_ssh(self.paths.carrier, self.host.runner)
                return False
        return True

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """The lock; the engine is connected first, so that without one no folder is made.

        A folder that was made for the lock alone goes again.
        """
        self._start_carrier()
        self._engine = self.engine
        known = self.paths.root.exists()
        with lock(self.paths.lock, wait_s=_LOCK_WAIT_S):
            self._require_settings_of_now()
            try:
                yield
            finally:
                if not known and list(self.paths.root.iterdir()) == [self.paths.lock]:
                    remove_tunnel_files(self.paths.root)

    def _require_settings_of_now(self) -> None:
        """Raise `Busy` where another setup has stored settings since ours were read."""
        if self._opened is None:
            return
        now, before = self.state(), self._opened
        ours = (self.resolved.options, to_record(self.resolved))
        if (now.options, now.settings) not in [(before.options, before.settings), ours]:
            raise Busy(
                "another setup has just changed the settings of this tunnel",
                hint="try again: this command read them before that",
            )

    def _look(self, *, renew_keys: bool = False) -> tuple[Observed, Plan]:
        # First: the routes of such a client would count as somebody else's.
        self.client.kill_orphans(self.progress)
        with stage(self.progress, "looking at the engine"):
            return self._decide(self._observe(repair=True), renew_keys=renew_keys)

    def _start_carrier(self) -> None:
        """Bring the engine here, where that takes a carrier; the user may be asked."""
        if self.carrier.way.kind is CarrierKind.SSH:
            with stage(self.progress, f"connecting {self.carrier.way.machine} by ssh") as step:
                step.changed = self.carrier.start(self.progress, ask=True)

    def _stop_ssh(self) -> bool:
        """End the ssh, and know in the record that it is to stay away."""
        # First, or watch might start it again.
        if (state := self.state()).way is not None and state.way.kind is CarrierKind.SSH:
            save_state(self.paths.state, replace(state, way=None))
        return stop_ssh(self.paths.carrier, self.host.runner)

    def _say_what_runs_there(self, plan: Plan) -> None:
        """Before anything is made on a machine that others may use too, say what that is."""
        machine = plan.way.machine
        if machine is None or (plan.server, plan.relay) == (Action.KEEP, Action.KEEP):
            return
        server, relay = (container_name(self.settings.name, role) for role in (SERVER, RELAY))
        self.progress.warn(
            f"on {machine}, setup runs two containers as root: {server}, with NET_ADMIN and one "
            f"port on {plan.spec.publish}, and {relay}, in that machine's own network and with its "
            "list of processes, with NET_ADMIN and SYS_ADMIN; `macnet down` removes both"
        )

    def _without_client(self) -> Iterator[str]:
        """What a missing VPN client keeps setup from, and what to do."""
        try:
            self.client.require()
        except ClientMissing as error:
            yield f"{error.message}: setup makes all but the connection ({error.hint})"

    def _warn(self, plan: Plan) -> None:
        for warning in plan.warnings:
            self.progress.warn(warning)

    def _observe(self, *, repair: bool = False, ask_client: bool = True) -> Observed:
        return observe(
            engine=self.engine,
            helper=self.helper,
            client=self.client if ask_client else None,
            paths=self.paths,
            base_image=self.settings.base_image,
            also=self.settings.also,
            host=self.host,
            carrier=self.carrier,
            progress=self.progress,
            repair=repair,
        )

    def _decide(self, seen: Observed, *, renew_keys: bool = False) -> tuple[Observed, Plan]:
        keys = self._keys(seen, renew=renew_keys)
        return seen, decide(self.settings, seen, keys, chosen=self.resolved.chosen)

    def _keys(self, seen: Observed, *, renew: bool) -> Keys:
        """The stored ones, or new ones where there are none or they have expired.

        Each engine gets a token of its own: two of them may run on one kernel, and the relay
        finds its server by the token.
        """
        now = datetime.now(UTC)
        known = None if is_other_engine(seen) else seen.state.token
        token = known or secrets.token_hex(16)
        if seen.pki is None:
            return Keys(create_pki(self.settings.name, now=now), token, Action.CREATE)
        if renew or now >= seen.pki.expires:
            return Keys(create_pki(self.settings.name, now=now), token, Action.REPLACE)
        return Keys(seen.pki, token, Action.KEEP if known else Action.REPLACE)

    def _check(self, plan: Plan, *, strict: bool, offline: bool) -> None:
        """Refuse what was asked for just now and cannot be, before anything is changed."""
        if offline:
            require_image(self.engine, self.settings.base_image)
        if "networks" in self.resolved.given:
            every = [item.network for item in plan.networks]
            wanted = select_networks(every, include=self.settings.networks, exclude=())
            if not any(item.routed or item.left_out for item in wanted):
                names = ", ".join(sorted(network.name for network in every if network.subnets))
                raise BadValue(
                    f"--network {' '.join(self.settings.networks)}: no network has such a name",
                    hint=f"the networks are {names}; --network '*' routes all of them",
                )
        out: dict[str, list[str]] = {}
        for subnet, why in (pair for item in plan.networks for pair in item.left_out):
            out.setdefault(why, []).append(str(subnet.cidr))
        if strict and out:
            told = (
                f"{', '.join(nets)}, which overlap{'' if nets[1:] else 's'} {why}"
                for why, nets in out.items()
            )
            raise SubnetConflict(
                f"not routed: {'; '.join(told)}",
                hint="`macnet setup --remap auto` reaches them under other addresses, if any are "
                "free; without --strict the others are routed",
            )

    def why_not_needed(
        self,
        networks: Sequence[Selected],
        interfaces: Sequence[Interface],
        routes: Sequence[Route],
        *,
        own: str | None = None,
        prober: survey.Prober | None = None,
    ) -> str | None:
        """Why no tunnel is needed, in words; None where that is not proved.

        ``own`` is the interface of a tunnel whose record is gone.
        """
        if self.engine.address.orbstack and (
            why := survey.find_way_of_orbstack(networks, interfaces, routes)
        ):
            return why
        # Two engines may have the same subnets: the tunnel to another one is no way to this one.
        others = self._other_tunnels(interfaces)
        return survey.find_direct_way(
            networks,
            [interface for interface in interfaces if interface.name not in others],
            [route for route in routes if route.interface not in others],
            system=self.host.system,
            prober=prober or survey.SystemProber(self.host.runner),
            own=own,
        )

    def _direct_way(self, seen: Observed, plan: Plan, *, force: bool) -> str | None:
        """Why no tunnel is needed; None where one is here."""
        if force or _is_here(seen, plan) or plan.way.machine is not None:
            return None
        return self.why_not_needed(plan.networks, seen.interfaces, seen.routes)

    def _warn_of_absent(self, plan: Plan) -> None:
        """Say which pair of this command's ``--remap`` fits no network; one may come later."""
        known = {subnet.cidr for item in plan.networks for subnet in item.network.subnets}
        pairs = self.settings.remap.pairs if "remap" in self.resolved.given else ()
        for real, seen in pairs:
            if real not in known:
                self.progress.warn(
                    f"--remap {real}={seen} changes nothing now: no network has the subnet {real}; "
                    "`macnet networks` lists those that there are"
                )

    def _warn_of_strangers(self, seen: Observed, plan: Plan) -> None:
        """Say which containers' addresses answer already, from hosts that have them too."""
        if _is_here(seen, plan):
            return
        found = survey.find_strangers(plan.networks, survey.SystemProber(self.host.runner))
        ours = (plan.spec.tunnel_subnet, plan.spec.relay_subnet)
        taken = in_use(seen.networks, plan.networks, seen.interfaces, seen.routes, None, ours)
        for warning in strangers(plan.networks, found, taken, self.settings.remap):
            self.progress.warn(warning)

    def _other_tunnels(self, interfaces: Sequence[Interface]) -> set[str | None]:
        """The interfaces of macnet's tunnels to other engines."""
        states = (load_state(path, Silent()) for path in self.paths.other_records())
        return {own_interface(interfaces, state.tunnel_subnet) for state in states}

    def _untouched(self, plan: Plan, why: str) -> SetupResult:
        return SetupResult(
            changed=False,
            port=plan.spec.port,
            tunnel_subnet=plan.spec.tunnel_subnet,
            client=self.client.name,
            client_reason=self.client_reason,
            profile=str(self.paths.profile),
            networks=plan.networks,
            routes=RouteChanges((), (), ()),
            verified=None,
            warnings=plan.warnings,
            already_reachable=why,
            remembered=self.resolved.remembered,
        )

    # The client

    def connect(self) -> bool:
        """Connect the client with the stored profile; False if it was connected already."""
        self.profile_text()
        self._start_carrier()
        server = self.helper.status().server
        name = container_name(self.settings.name, SERVER)
        if server is None:
            raise NotSetUp(f"{name} is missing on the engine", hint="`macnet setup` makes it")
        if not server.running:
            raise HelperFailed(
                f"{name} does not run ({server.status})", hint="`macnet setup` starts it again"
            )
        with lock(self.paths.lock, wait_s=_LOCK_WAIT_S):
            self.client.require()
            state, _ = switch_client(self.state(), self)
            if self.carrier.way.kind is CarrierKind.SSH and state.port is not None:
                self.carrier.carry(state.port)
                save_state(self.paths.state, replace(state, way=self.carrier.way))
            with stage(self.progress, f"connecting {self.client.name}") as step:
                step.changed = self.client.connect(self.progress, timeout_s=CONNECT_TIMEOUT_S)
            return step.changed

    def disconnect(self) -> bool:
        """Disconnect the client and end the ssh; the helper goes on. False if none ran."""
        if not self.paths.root.exists():
            return self._leave()
        with lock(self.paths.lock, wait_s=_LOCK_WAIT_S):
            return self._leave()

    def _leave(self) -> bool:
        """End the clients and the ssh, that one whatever happens to those."""
        ended = False
        try:
            ended = self._disconnect()
        finally:
            ended |= self._stop_ssh()
        return ended

    def _disconnect(self) -> bool:
        """End every client of this tunnel, whichever was connected. Raises the first error."""
        changed = False
        errors: list[MacnetError] = []
        for client in (self.client, *self.former_clients(self.state())):
            try:
                with stage(self.progress, f"disconnecting {client.name}") as step:
                    step.changed = client.disconnect(self.progress)
                changed |= step.changed
            except MacnetError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return changed

    # What there is

    def networks(self) -> tuple[Selected, ...]:
        """Every network with the verdict on it; asks the engine for listings only."""
        return list_selected(
            self.settings,
            self.state(),
            list_networks(self.engine, self.helper, self.settings.also),
            self.host.interfaces(),
            self.host.routes(),
            chosen=self.resolved.chosen,
            orbstack=self.engine.address.orbstack,
        )

    def profile_text(self) -> str:
        """The stored profile. Raises `NotSetUp` where there is none."""
        text = read_profile(self.paths)
        if text is None:
            raise NotSetUp("there is no profile yet", hint="`macnet setup` makes one")
        return text

    def export_profile(self, target: Path) -> bool:
        """Write the profile to ``target`` with mode 0600; False if it had these bytes."""
        return write_private(target, self.profile_text().encode())

    def logs(self, source: str, *, tail: int, follow: bool) -> Iterator[str]:
        """The last lines of the server, the relay or the client, each without its newline.

        With ``follow`` it goes on with new lines and does not end by itself.
        """
        if source == "client":
            data = read_private(self.paths.client_log)
            if data is None:
                own = self.client.name == "openvpn"
                raise NotSetUp(
                    "the openvpn client has written no log yet"
                    if own
                    else f"macnet has no log of {self.client.name}, which keeps its own",
                    hint="`macnet connect` starts it" if own else "look into it there",
                )
            whole = data[: data.rfind(b"\n") + 1] if follow else data
            yield from whole.decode(errors="replace").splitlines()[-tail:]
            if follow:
                yield from new_lines(self.paths.client_log, len(whole))
            return
        name = container_name(self.settings.name, source)
        if self.engine.find_container(name) is None:
            raise NotSetUp(f"there is no container {name}", hint="`macnet setup` makes it")
        yield from map(_with_local_time, self.engine.logs(name, tail=tail, follow=follow))

    # Away

    def down(self, *, purge: bool = False) -> DownResult:
        """Remove the helper, by its label alone; with ``purge`` image, keys and profile too.

        Both sides are taken down whatever happens on the other one; the first error is raised
        after that.
        """
        if self.paths.root.exists():
            with lock(self.paths.lock, wait_s=_LOCK_WAIT_S):
                return self._down(purge=purge)
        return self._down(purge=purge)

    def _leftovers(self, *, purge: bool) -> tuple[str, ...]:
        """What a client keeps, also Tunnelblick as the one of an earlier setup."""
        clients = [self.client]
        if self.host.system == "macos" and self.client.name != "tunnelblick":
            clients.append(self.make_client("tunnelblick"))
        return tuple(note for client in clients for note in client.leftovers(purge=purge))

    def _down(self, *, purge: bool) -> DownResult:
        errors: list[MacnetError] = []
        disconnected = False
        notes: tuple[str, ...] = ()
        containers: tuple[str, ...] = ()
        images = 0
        try:
            disconnected = self._disconnect()
        except MacnetError as error:
            errors.append(error)
        try:
            notes = self._leftovers(purge=purge)
        except MacnetError as error:
            errors.append(error)
        client_failed = bool(errors)
        try:
            self._start_carrier()
            with stage(self.progress, "removing the helper") as step:
                containers = self.helper.remove()
                networks = self.engine.remove_networks(f"{LABEL_NAME}={self.settings.name}")
                images = remove_images(self.engine) if purge else 0
                step.changed = bool(containers or networks or images)
        except MacnetError as error:
            errors.append(error)
        self._stop_ssh()
        files: tuple[Path, ...] = ()
        # A client that still runs needs its files to be ended later.
        if purge and not client_failed:
            files = remove_tunnel_files(self.paths.root)
        if errors:
            raise errors[0]
        return DownResult(
            disconnected=disconnected,
            containers=containers,
            images=images,
            # The lock is there only because this has just taken it.
            files=tuple(str(path) for path in files if path != self.paths.lock),
            notes=notes,
        )


def _is_here(seen: Observed, plan: Plan) -> bool:
    """Whether this machine has the tunnel's interface, at its present or its planned address."""
    own = own_interface(seen.interfaces, plan.spec.tunnel_subnet) or present_interface(seen)
    return own is not None


def _as_one(before: Observed, first: SetupResult, second: SetupResult) -> SetupResult:
    """The result of two rounds, against what was there ``before`` both."""
    known = before.allowed or before.profile_routes
    return replace(
        second,
        changed=first.changed or second.changed,
        routes=diff_routes(known, routed_subnets(second.networks)),
        repaired=tuple(dict.fromkeys((*first.repaired, *second.repaired))),
        joined=(*first.joined, *second.joined),
        new_profile=first.new_profile or second.new_profile,
    )


def _with_local_time(line: str) -> str:
    """A line of the engine's log with this machine's time, in the form of openvpn's log."""
    stamp, space, text = line.partition(" ")
    try:
        when = datetime.fromisoformat(stamp)
    except ValueError:
        return line
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S}{space}{text}"
