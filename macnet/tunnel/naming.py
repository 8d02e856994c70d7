"""The names of a tunnel's containers: switch them on and off, and say which there are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from macnet import host
from macnet.engine import Engine
from macnet.errors import BadValue, ConfigError, EngineError, MacnetError, NotSetUp
from macnet.files import lock
from macnet.helper import LABEL_ROLE, Helper
from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.models import Network, ReachKind
from macnet.names import NamesView, Zone, add_names, default_domain, names_table, parse_domain
from macnet.names.claims import Json
from macnet.names.domain import DEFAULT_PORT
from macnet.names.ports import with_udp
from macnet.names.source import ZoneSource
from macnet.names.system import NamesSystem, RootCommand, SystemEntry, apply_command, choose_system
from macnet.names.upstream import is_label, list_upstreams
from macnet.names.view import NameRow
from macnet.networks import Selected
from macnet.privilege import run_as_root
from macnet.progress import Silent
from macnet.runner import CommandFailed, Completed
from macnet.state import NamesChoice, load_state, save_state
from macnet.tunnel.decide import list_selected, next_free_port
from macnet.tunnel.observe import list_elsewhere, list_networks
from macnet.tunnel.results import DownResult, NamesPlan, NamesSwitch, SetupResult
from macnet.tunnel.tunnel import Tunnel

_LOCK_WAIT_S = 5.0
#: In the place of a cluster's name: cluster.local is nobody's.
NO_CLUSTER = ""
#: Looks at the engine for a table; each one inspects containers for half a second.
_MOST_LOOKS = 60


@dataclass(frozen=True, slots=True)
class NamesReport:
    """The names of all running containers; ``port`` is None while names are off.

    ``cluster`` is the cluster whose own domain is answered too; ``cluster_reached`` says whether
    that can be, now.
    """

    on: bool
    domain: str
    port: int | None
    names: tuple[NameRow, ...]
    cluster: str | None = None
    cluster_reached: bool = False


def set_up(
    tunnel: Tunnel,
    *,
    domain: str | None = None,
    force: bool = False,
    strict: bool = False,
    offline: bool = False,
    system: NamesSystem | None = None,
) -> SetupResult:
    """`Tunnel.setup` and then `switch_on`; what that would refuse is refused before both.

    Where no tunnel is needed there are no names either.
    """
    plan_on(tunnel, domain=domain, system=system)
    done = tunnel.setup(force=force, strict=strict, offline=offline)
    if done.already_reachable is not None:
        return done
    return replace(done, names=switch_on(tunnel, domain=domain, system=system))


def plan_on(
    tunnel: Tunnel,
    *,
    domain: str | None = None,
    port: int | None = None,
    system: NamesSystem | None = None,
) -> NamesPlan:
    """What `switch_on` would do, also before there is a tunnel. Raises what it would raise."""
    before = tunnel.state().names
    wanted = _choose(tunnel, before, domain, port, None)
    _, command = _plan(tunnel, wanted, system or names_system(tunnel))
    return NamesPlan(
        domain=wanted.domain,
        port=wanted.port,
        cluster=wanted.cluster,
        changes=command is not None or wanted != before,
        command=command.shown if command is not None else None,
    )


def switch_on(
    tunnel: Tunnel,
    *,
    domain: str | None = None,
    port: int | None = None,
    cluster: str | None = None,
    system: NamesSystem | None = None,
) -> NamesSwitch:
    """Tell this machine to ask macnet for container names, and remember domain and port.

    With ``cluster`` also for the domain that a cluster has within itself; `NO_CLUSTER` takes that
    back. What is None stays as it was. Safe to repeat. Raises `NotSetUp` without a tunnel,
    `BadValue` for a domain, port or cluster that cannot be, and `macnet.errors.ConflictError`
    where somebody else's file has a domain.
    """
    if not tunnel.paths.state.exists():
        raise NotSetUp("there is no tunnel yet", hint="`macnet setup --names` makes one")
    system = system or names_system(tunnel)
    with lock(tunnel.paths.lock, wait_s=_LOCK_WAIT_S):
        state = tunnel.state()
        found = _choose(tunnel, state.names, domain, port, cluster)
        entry, command = _plan(tunnel, found, system)
        if command is not None:
            _apply(tunnel, command)
        changed = save_state(tunnel.paths.state, replace(state, names=found))
    steps = system.instructions(entry)
    changed |= command is not None
    return NamesSwitch(changed, True, found.domain, found.port, found.cluster, steps)


def _choose(
    tunnel: Tunnel,
    before: NamesChoice | None,
    domain: str | None,
    port: int | None,
    cluster: str | None,
) -> NamesChoice:
    """What is to be remembered, of what is wanted and what was before."""
    others = _others(tunnel)
    wanted = domain or (before.domain if before else default_domain(tunnel.settings.name))
    if cluster is None:
        owner = before.cluster if before else None
    else:
        owner = _find_owner(tunnel, cluster) if cluster != NO_CLUSTER else None
    if owner is not None:
        for name, choice in others.items():
            if choice.cluster is not None:
                raise BadValue(
                    f"the cluster {choice.cluster} of the tunnel {name} has {CLUSTER_DOMAIN}, and "
                    "one can have it",
                    hint="`macnet names on --no-cluster` in one of the two contexts",
                )
    return NamesChoice(
        parse_domain(wanted, others={choice.domain: name for name, choice in others.items()}),
        _choose_port(tunnel, port, before, [choice.port for choice in others.values()]),
        owner,
    )


def _find_owner(tunnel: Tunnel, cluster: str) -> str:
    """The name of a cluster that is reached and may have its own domain here."""
    known = {
        item.network.further.name: item
        for item in reversed(tunnel.networks())  # of two with one name the first
        if item.network.further is not None and item.network.further.kind is ReachKind.CLUSTER
    }
    item = known.get(cluster)
    if item is None:
        names = ", ".join(sorted(known))
        raise BadValue(
            f"the tunnel reaches no cluster {cluster}",
            hint=f"it reaches {names}" if names else "`macnet setup --also kubernetes` comes first",
        )
    further = item.network.further
    if item.reason is not None or further is None:
        raise BadValue(
            f"the cluster {cluster} is not reached: {item.reason}",
            hint="`macnet check` tells more",
        )
    if further.domain != CLUSTER_DOMAIN:
        raise BadValue(
            f"the cluster {cluster} calls its domain {further.domain}, and macnet answers for "
            f"{CLUSTER_DOMAIN} alone",
            hint="`macnet names on` gives its services names below the tunnel's own domain",
        )
    if not is_label(cluster):
        raise BadValue(
            f"the name of the cluster {cluster} is no label of DNS: its services have no names",
            hint="make it again under a name of letters, digits and hyphens",
        )
    if not list_upstreams([item], CLUSTER_DOMAIN):
        raise BadValue(
            f"the resolver of the cluster {cluster} is not known or not reached",
            hint="`macnet check` tells more",
        )
    return further.name


def _plan(
    tunnel: Tunnel, wanted: NamesChoice, system: NamesSystem
) -> tuple[SystemEntry, RootCommand | None]:
    """What this machine is to be told, and what tells it; None where it is told already."""
    entry = make_entry(tunnel.settings.name, wanted)
    return entry, system.plan_install(entry)


def make_entry(tunnel: str, choice: NamesChoice) -> SystemEntry:
    """What this machine is told for a tunnel."""
    return SystemEntry(tunnel, choice.domain, choice.port, cluster=choice.cluster is not None)


def switch_off(tunnel: Tunnel, *, system: NamesSystem | None = None) -> NamesSwitch:
    """Undo `switch_on`; without a tunnel and with nothing of it left, nothing happens."""
    system = system or names_system(tunnel)
    command = system.plan_remove(tunnel.settings.name)
    if command is not None:
        _apply(tunnel, command)
    before = None
    if tunnel.paths.state.exists():
        with lock(tunnel.paths.lock, wait_s=_LOCK_WAIT_S):
            state = tunnel.state()
            before = state.names
            if before is not None:
                save_state(tunnel.paths.state, replace(state, names=None))
    changed = before is not None or command is not None
    return NamesSwitch(changed, False, before.domain if before else None, None)


def take_down(tunnel: Tunnel, *, purge: bool) -> DownResult:
    """`Tunnel.down`, with the names; each is undone whatever happens to the other one."""
    refused: MacnetError | None = None
    changed = False
    try:
        changed = switch_off(tunnel).changed
    except MacnetError as error:
        refused = error
    done = tunnel.down(purge=purge)
    if refused is not None:
        raise refused
    return replace(done, names=changed)


def flush(tunnel: Tunnel, *, system: NamesSystem | None = None) -> bool:
    """Empty this machine's cache of names; False where it keeps none that needs it."""
    command = (system or names_system(tunnel)).plan_flush()
    if command is not None:
        _apply(tunnel, command)
    return command is not None


def report_names(tunnel: Tunnel) -> NamesReport:
    """All names, from the engine itself. Raises `macnet.errors.EngineError`."""
    choice = tunnel.state().names
    zone = find_zone(tunnel)
    view: NamesView = names_table(zone)
    return NamesReport(
        on=choice is not None,
        domain=view.domain,
        port=choice.port if choice else None,
        names=view.names,
        cluster=zone.owner,
        cluster_reached=zone.find_upstream(CLUSTER_DOMAIN) is not None,
    )


def find_zone(tunnel: Tunnel) -> Zone:
    """Every name of this moment; those that there would be, while names are off.

    Raises `macnet.errors.EngineError`.
    """
    choice = tunnel.state().names
    domain = choice.domain if choice else default_domain(tunnel.settings.name)
    owner = choice.cluster if choice else None
    return _whole(zone_source(lambda: tunnel, tunnel.engine, domain, owner))


def _whole(look: Callable[[], Zone]) -> Zone:
    """Look until all containers have been inspected."""
    zone = look()
    for _ in range(_MOST_LOOKS):
        if zone.complete:
            break
        zone = look()
    return zone


def list_named_networks(tunnel: Tunnel) -> tuple[Selected, ...]:
    """`Tunnel.networks`, with the names of the containers while names are on."""
    found = tunnel.networks()
    return found if tunnel.state().names is None else add_names(found, find_zone(tunnel))


def list_containers(engine: Engine) -> list[Json]:
    """The running containers that may have names: all but the helper's own."""
    return [row for row in engine.containers() if LABEL_ROLE not in (row.get("Labels") or {})]


def zone_source(
    open_tunnel: Callable[[], Tunnel], engine: Engine, domain: str, owner: str | None = None
) -> ZoneSource:
    """Where the zone comes from, with ``engine`` to itself; ``owner`` as in `Zone`.

    ``open_tunnel`` gives the tunnel with the settings of now, each time that it is to be decided
    which networks are routed.
    """

    also = open_tunnel().settings.also

    def select(networks: tuple[Network, ...]) -> tuple[Selected, ...]:
        nonlocal also
        tunnel = open_tunnel()
        also = tunnel.settings.also
        helper = Helper(engine, tunnel.settings.name)
        return list_selected(
            tunnel.settings,
            tunnel.state(),
            list_networks(engine, helper, also) if also else networks,
            tunnel.host.interfaces(),
            tunnel.host.routes(),
            chosen=tunnel.resolved.chosen,
            orbstack=engine.address.orbstack,
        )

    def containers() -> list[Json]:
        return [*list_containers(engine), *list_elsewhere(engine, also)]

    return ZoneSource(
        domain,
        list_networks=engine.networks,
        list_containers=containers,
        inspect=engine.inspect,
        select=select,
        owner=owner,
    )


class FreshZone:
    """Asks the engine of a tunnel over a connection of its own, made anew after an error."""

    def __init__(
        self, open_tunnel: Callable[[], Tunnel], domain: str, owner: str | None = None
    ) -> None:
        """Nothing is asked yet; ``open_tunnel`` makes a tunnel with the settings of now."""
        self._open_tunnel = open_tunnel
        self._domain = domain
        self._owner = owner
        self._source: ZoneSource | None = None

    def __call__(self) -> Zone:
        """The zone of this moment. Raises `macnet.errors.MacnetError`."""
        try:
            if self._source is None:
                engine = self._open_tunnel().open_engine()
                self._source = zone_source(self._open_tunnel, engine, self._domain, self._owner)
            return self._source()
        except EngineError:
            self._source = None
            raise

    def forget_selection(self) -> None:
        """See `ZoneSource.forget_selection`."""
        if (source := self._source) is not None:
            source.forget_selection()


class NamedNetworks:
    """`list_named_networks` again and again: each container is inspected once."""

    def __init__(self, open_tunnel: Callable[[], Tunnel]) -> None:
        """``open_tunnel`` makes a tunnel with the settings of now."""
        self._open_tunnel = open_tunnel
        self._domain: str | None = None
        self._zone: FreshZone | None = None

    def __call__(self, tunnel: Tunnel) -> tuple[Selected, ...]:
        """The networks of this moment. Raises `macnet.errors.MacnetError`."""
        found, choice = tunnel.networks(), tunnel.state().names
        if choice is None:
            return found
        if self._zone is None or choice.domain != self._domain:
            self._domain = choice.domain
            self._zone = FreshZone(self._open_tunnel, choice.domain)
        self._zone.forget_selection()
        return add_names(found, _whole(self._zone))


def names_system(tunnel: Tunnel) -> NamesSystem:
    """How this machine can be told."""
    return choose_system(tunnel.host.system, runner=tunnel.host.runner)


def _others(tunnel: Tunnel) -> dict[str, NamesChoice]:
    """What the other tunnels of this user have, by their names."""
    found: dict[str, NamesChoice] = {}
    for record in tunnel.paths.other_records():
        try:
            names = load_state(record, Silent()).names
        except MacnetError:
            continue
        if names is not None:
            found[record.parent.name] = names
    return found


def _choose_port(
    tunnel: Tunnel, port: int | None, before: NamesChoice | None, others: Sequence[int]
) -> int:
    if port in others:
        raise BadValue(f"port {port} answers for another tunnel's names", hint="choose another")
    if port is not None:
        return port
    if before is not None:
        return before.port
    owner_of = with_udp(tunnel.host.port_owner)
    free: int | None = DEFAULT_PORT
    while free is not None and (free in others or owner_of(free) is not None):
        free = next_free_port(free, owner_of)
    if free is None:
        raise BadValue("no port is free for names", hint="choose one with --port")
    return free


def _apply(tunnel: Tunnel, command: RootCommand) -> None:
    def run(argv: Sequence[str]) -> Completed:
        try:
            return run_as_root(
                argv,
                runner=tunnel.host.runner,
                progress=tunnel.progress,
                root=host.is_root(),
                terminal=sys.stdin.isatty(),
                who="the setting for names",
                shown=command.shown,
                announce=True,
            )
        except CommandFailed as error:
            raise ConfigError(str(error), hint=f"run it yourself: {command.shown}") from error

    apply_command(command, run)
