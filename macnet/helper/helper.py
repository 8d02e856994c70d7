"""Makes the engine have the server and the relay, and changes them while they run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from netaddr import IPNetwork

from macnet.engine import Container, Engine
from macnet.errors import EngineRefused, HelperFailed
from macnet.helper.connected import ConnectedClient, parse_clients
from macnet.helper.containers import Containers, is_current
from macnet.helper.spec import (
    APPLIED_FILE,
    CLIENT_FILE,
    IPV6_SYSCTLS,
    JOINER,
    LABEL_NAME,
    LABEL_ROLE,
    LANE_FILE,
    RELAY,
    RELAY_HEALTH,
    SCRIPTS,
    SERVER,
    SERVER_HEALTH,
    WAYS_FOLDER,
    HelperRoutes,
    HelperSpec,
    Joiner,
    ServerRoutes,
    container_name,
    joiner_container,
    parse_lanes,
    parse_pushed,
    parse_remaps,
    parse_subnets,
    parse_tunnel_subnet,
    relay_container,
    render_client,
    render_subnets,
    route_files,
    server_container,
    server_files,
)
from macnet.models import Route
from macnet.networks import Json
from macnet.pki import Pki
from macnet.routes import default_pieces, parse_ip_route_json

#: The relay takes back what it changed in the engine's namespace when it is asked to end.
STOP_GRACE_S = 3


class LaneKind(StrEnum):
    """What carries TCP: the relay's lane with the kernel's help, or pasta without that."""

    KERNEL = "kernel"
    PASTA = "pasta"


@dataclass(frozen=True, slots=True)
class HelperStatus:
    """The containers as they are now; None where server or relay is missing."""

    server: Container | None
    relay: Container | None
    #: Asked for only where there may be some.
    joiners: tuple[Container, ...] = ()

    @property
    def running(self) -> bool:
        """Whether server and relay run."""
        return all(part is not None and part.running for part in (self.server, self.relay))


@dataclass(frozen=True, slots=True)
class RoutesApplied:
    """What was changed on the running server."""

    allowed: bool
    pushed: bool


class Helper:
    """The server and relay of the tunnel ``name`` on one engine."""

    def __init__(self, engine: Engine, name: str) -> None:
        """Nothing is asked of the engine yet."""
        self._engine = engine
        self._containers = Containers(engine, name)
        self.name = name

    def status(self) -> HelperStatus:
        """Both containers. Raises `ForeignContainer` if one of that name is not ours."""
        return HelperStatus(self._containers.find(SERVER), self._containers.find(RELAY))

    def has_joiner(self, containers: Iterable[Json]) -> bool:
        """Whether one of this tunnel runs, by the rows of ``GET /containers/json``."""
        labels = (row.get("Labels") or {} for row in containers)
        return any(
            one.get(LABEL_ROLE) == JOINER and one.get(LABEL_NAME) == self.name for one in labels
        )

    def host_routes(self) -> tuple[IPNetwork, ...] | None:
        """The routes of the engine's host but for its default ones; None without a relay.

        Raises `HelperFailed` where the relay cannot tell them.
        """
        relay = self._containers.find(RELAY)
        if relay is None or not relay.running:
            return None
        found: list[Route] = []
        for family in ("-4", "-6"):
            done = self._containers.execute(RELAY, ["ip", "-json", family, "route", "show"])
            if done.exit_code == 0:
                found += parse_ip_route_json(done.output, is_v6=family == "-6")
            elif family == "-4":  # a kernel may have no IPv6
                raise HelperFailed(
                    "the relay does not tell the routes of the engine's host", detail=done.output
                )
        beside = default_pieces(found)
        return tuple(
            route.destination
            for route in found
            if route.destination.prefixlen and route not in beside
        )

    def joiners(self) -> tuple[Container, ...]:
        """The joiners of this tunnel, in whatever state."""
        found = self._engine.find_labelled(f"{LABEL_ROLE}={JOINER}")
        return tuple(one for one in found if one.labels.get(LABEL_NAME) == self.name)

    def ensure_server(
        self, spec: HelperSpec, pki: Pki, routes: HelperRoutes, *, take_over: bool = False
    ) -> bool:
        """Create and start the server unless one of this spec runs. True if it did something.

        Raises `ForeignContainer` if the one that is there was made with another token, but with
        ``take_over`` replaces it.
        """
        current = self._containers.own(SERVER, spec, take_over=take_over)
        if is_current(current, spec):
            return False
        if current is not None:
            self._engine.remove_container(current.id)
        files = server_files(spec, pki, routes)
        wanted = server_container(spec)

        def fill(made: str) -> None:
            self._engine.put_files(made, "/etc", files)

        try:
            self._containers.create(wanted, fill)
        except EngineRefused as error:
            if "net.ipv6" not in error.message and "net/ipv6" not in error.message:
                raise
            rest = {key: v for key, v in wanted.sysctls.items() if key not in IPV6_SYSCTLS}
            self._containers.create(replace(wanted, sysctls=rest), fill)
        self._containers.wait(SERVER, SERVER_HEALTH)
        # It starts without the list of subnets if its kernel does not take that.
        self.apply_routes(spec, routes)
        return True

    def ensure_relay(self, spec: HelperSpec, *, take_over: bool = False) -> bool:
        """Create and start the relay unless one of this spec runs. True if it did something.

        ``take_over`` is as in `ensure_server`.
        """
        current = self._containers.own(RELAY, spec, take_over=take_over)
        changed = not is_current(current, spec)
        if changed:
            if current is not None:
                self._engine.remove_container(current.id, grace_s=STOP_GRACE_S)
            self._containers.create(relay_container(spec), lambda _: None)
        self._containers.wait(RELAY, RELAY_HEALTH)
        return changed

    def make_joiner(self, spec: HelperSpec, joiner: Joiner) -> None:
        """Create and start it. Raises `EngineError`, also where its donor does not run any more.

        Raises `ForeignContainer` if a container of its name is not macnet's.
        """
        current = self._containers.find(joiner.role)
        if current is not None:
            self._engine.remove_container(current.id)
        self._containers.create(joiner_container(spec, joiner), lambda _: None)

    def remove_joiner(self, container: Container) -> None:
        """Remove one."""
        self._engine.remove_container(container.id)

    def has_joined(self, joiner: Joiner) -> bool:
        """Whether the relay's lane into its namespace is there."""
        path = f"{WAYS_FOLDER}/{joiner.lane}"
        return self._engine.read_file(container_name(self.name, RELAY), path) == joiner.key.encode()

    def attached_lanes(self, lanes: Iterable[int]) -> frozenset[int]:
        """Those of these lanes of joiners that are there."""
        relay = container_name(self.name, RELAY)
        return frozenset(
            lane for lane in lanes if self._engine.read_file(relay, f"{WAYS_FOLDER}/{lane}")
        )

    def lane(self) -> LaneKind | None:
        """What carries TCP on this engine's kernel; None without a server."""
        data = self._engine.read_file(container_name(self.name, SERVER), LANE_FILE)
        said = (data or b"").decode(errors="replace").strip()
        return LaneKind(said) if said in set(LaneKind) else None

    def in_effect(self) -> ServerRoutes | None:
        """The routes that the running server has really taken; None without one.

        Its subnets are empty where it has refused the last list.
        """
        server = self._containers.find(SERVER)
        if server is None or not server.running:
            return None
        subnets, client = (
            (self._engine.read_file(server.name, path) or b"").decode(errors="replace")
            for path in (APPLIED_FILE, CLIENT_FILE)
        )
        return ServerRoutes(
            subnets=parse_subnets(subnets),
            remaps=parse_remaps(subnets),
            pushed=parse_pushed(client),
            tunnel_subnet=parse_tunnel_subnet(client),
            lanes=parse_lanes(subnets),
        )

    def apply_routes(self, spec: HelperSpec, routes: HelperRoutes) -> RoutesApplied:
        """Make the allowlist and the pushed routes of the running server these.

        What is compared is what is in effect, so that a change that has failed is tried again.
        Clients learn of other pushed routes when they connect again (`kick_clients`).
        """
        name = container_name(self.name, SERVER)
        subnets = render_subnets(routes).encode()
        client = render_client(spec.tunnel_subnet, routes).encode()
        applied = RoutesApplied(
            allowed=self._engine.read_file(name, APPLIED_FILE) != subnets,
            pushed=self._engine.read_file(name, CLIENT_FILE) != client,
        )
        if applied.allowed or applied.pushed:
            self._engine.put_files(name, "/etc", route_files(spec.tunnel_subnet, routes))
        if applied.allowed:
            done = self._containers.execute(SERVER, ["sh", f"{SCRIPTS}/subnets.sh"])
            if done.exit_code != 0:
                raise HelperFailed(
                    "the server did not take the new subnets",
                    hint="`macnet logs server` shows what it said",
                    detail=done.output,
                )
        return applied

    def clients(self) -> tuple[ConnectedClient, ...]:
        """The clients that the server serves now."""
        return parse_clients(self._manage("status 3"))

    def kick_clients(self) -> int:
        """Make every client connect again, which takes up the pushed routes; returns how many.

        Raises `HelperFailed` if one stays.
        """
        clients = self.clients()
        for client in clients:
            try:
                self._manage(f"client-kill {client.cid}")
            except HelperFailed:
                # One that has gone by itself meanwhile is no failure.
                if client.cid in {left.cid for left in self.clients()}:
                    raise
        return len(clients)

    def _manage(self, *commands: str) -> str:
        argv = ["python3", "-m", "macnet.relay.management", *commands]
        done = self._containers.execute(SERVER, argv)
        if done.exit_code != 0:
            raise HelperFailed(
                f"the server's OpenVPN does not answer: {done.output.strip()}",
                hint="`macnet logs server` shows what it said",
            )
        return done.output

    def remove(self) -> tuple[str, ...]:
        """Remove every container with this tunnel's label; returns their names."""
        found = self._engine.find_labelled(f"{LABEL_NAME}={self.name}")
        # The joiners first, then the relay: without a server it would only wait for one.
        order = (JOINER, RELAY)
        ordered = sorted(found, key=lambda c: _place(c.labels.get(LABEL_ROLE), order))
        for container in ordered:
            self._engine.remove_container(container.id, grace_s=STOP_GRACE_S)
        return tuple(container.name for container in ordered)


def _place(role: str | None, order: tuple[str, ...]) -> int:
    return order.index(role) if role in order else len(order)
