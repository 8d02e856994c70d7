"""Makes the engine have the server and the relay, and changes them while they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from netaddr import IPNetwork

from macnet.engine import Container, ContainerSpec, Engine
from macnet.errors import EngineRefused, ForeignContainer, HelperFailed
from macnet.helper.management import ConnectedClient, parse_clients
from macnet.helper.spec import (
    CLIENT_FILE,
    IPV6_SYSCTLS,
    LABEL_NAME,
    LABEL_ROLE,
    LABEL_SPEC,
    RELAY,
    SERVER,
    SUBNETS_FILE,
    HelperRoutes,
    HelperSpec,
    container_name,
    parse_pushed,
    parse_subnets,
    parse_tunnel_subnet,
    relay_container,
    render_client,
    render_subnets,
    route_files,
    server_container,
    server_files,
)
from macnet.pki import Pki

#: Seconds that a started container gets until it answers.
READY_TIMEOUT_S = 20.0
#: The relay takes back what it changed in the engine's namespace when it is asked to end.
STOP_GRACE_S = 3
_LIB = "/usr/local/lib/macnet"


@dataclass(frozen=True, slots=True)
class HelperStatus:
    """The two containers as they are now; None where one is missing."""

    server: Container | None
    relay: Container | None

    @property
    def running(self) -> bool:
        """Whether both run."""
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
        self.name = name

    def status(self) -> HelperStatus:
        """Both containers. Raises `ForeignContainer` if one of that name is not ours."""
        return HelperStatus(self._find(SERVER), self._find(RELAY))

    def _find(self, role: str) -> Container | None:
        name = container_name(self.name, role)
        found = self._engine.find_container(name)
        if found is not None and found.labels.get(LABEL_ROLE) != role:
            raise ForeignContainer(
                f"a container named {name} exists that macnet did not create",
                hint=f"rename it (`docker rename {name} NEW-NAME`) or remove it, then try again",
            )
        return found

    def ensure_server(self, spec: HelperSpec, pki: Pki, routes: HelperRoutes) -> bool:
        """Create and start the server unless one of this spec runs. True if it did something."""
        current = self._find(SERVER)
        if _is_current(current, spec):
            return False
        if current is not None:
            self._engine.remove_container(current.id)
        files = server_files(spec, pki, routes)
        wanted = server_container(spec)

        def fill(made: str) -> None:
            self._engine.put_files(made, "/etc", files)

        try:
            self._create(wanted, fill)
        except EngineRefused as error:
            if "net.ipv6" not in error.message and "net/ipv6" not in error.message:
                raise
            rest = {key: v for key, v in wanted.sysctls.items() if key not in IPV6_SYSCTLS}
            self._create(replace(wanted, sysctls=rest), fill)
        self._wait(SERVER, ["sh", f"{_LIB}/server-health.sh"])
        return True

    def ensure_relay(self, spec: HelperSpec) -> bool:
        """Create and start the relay unless one of this spec runs. True if it did something."""
        current = self._find(RELAY)
        if not _is_current(current, spec):
            if current is not None:
                self._engine.remove_container(current.id)
            self._create(relay_container(spec), lambda _: None)
            changed = True
        else:
            changed = False
        self._wait(RELAY, ["sh", f"{_LIB}/relay-health.sh"])
        return changed

    def _create(self, wanted: ContainerSpec, prepare: Callable[[str], None]) -> None:
        """Create, prepare, start; a container that does not start is not left behind."""
        identity = self._engine.create_container(wanted)
        try:
            prepare(identity)
            self._engine.start_container(identity)
        except BaseException:
            self._engine.remove_container(identity)
            raise

    def _wait(self, role: str, health: Sequence[str]) -> None:
        """Wait until the health command answers. Raises `HelperFailed` with the log's end."""
        name = container_name(self.name, role)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            found = self._engine.find_container(name)
            if found is not None and found.running:
                if self._engine.execute(name, health).exit_code == 0:
                    return
            elif found is None or found.status in {"exited", "dead"}:
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        lines = list(self._engine.logs(name, tail=20)) if found is not None else []
        raise HelperFailed(
            f"the {role} did not become ready within {READY_TIMEOUT_S:g} s"
            if found is not None and found.running
            else f"the {role} stopped (status {found.exit_code if found else 'removed'})",
            hint=f"`macnet logs {role}` shows what it said",
            detail="\n".join(lines),
        )

    def allowed_subnets(self) -> tuple[IPNetwork, ...]:
        """The Docker subnets that the server lets through now; none without a server."""
        data = self._engine.read_file(container_name(self.name, SERVER), SUBNETS_FILE)
        return parse_subnets(data.decode(errors="replace")) if data is not None else ()

    def pushed_routes(self) -> tuple[IPNetwork, ...]:
        """The routes that the server pushes now; none without a server."""
        data = self._engine.read_file(container_name(self.name, SERVER), CLIENT_FILE)
        return parse_pushed(data.decode(errors="replace")) if data is not None else ()

    def tunnel_subnet(self) -> IPNetwork | None:
        """The tunnel's subnet as the server was made with; None without a server."""
        data = self._engine.read_file(container_name(self.name, SERVER), CLIENT_FILE)
        return parse_tunnel_subnet(data.decode(errors="replace")) if data is not None else None

    def apply_routes(self, spec: HelperSpec, routes: HelperRoutes) -> RoutesApplied:
        """Change the allowlist and the pushed routes of the running server.

        Clients learn of other pushed routes when they connect again (`kick_clients`).
        """
        name = container_name(self.name, SERVER)
        subnets = render_subnets(routes).encode()
        client = render_client(spec.tunnel_subnet, routes).encode()
        applied = RoutesApplied(
            allowed=self._engine.read_file(name, SUBNETS_FILE) != subnets,
            pushed=self._engine.read_file(name, CLIENT_FILE) != client,
        )
        if applied.allowed or applied.pushed:
            self._engine.put_files(name, "/etc", route_files(spec.tunnel_subnet, routes))
        if applied.allowed:
            done = self._engine.execute(name, ["sh", f"{_LIB}/subnets.sh"])
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
        """Make every client connect again, which takes up the pushed routes; returns how many."""
        clients = self.clients()
        if clients:
            self._manage(*(f"client-kill {client.cid}" for client in clients))
        return len(clients)

    def _manage(self, *commands: str) -> str:
        name = container_name(self.name, SERVER)
        done = self._engine.execute(name, ["perl", f"{_LIB}/management.pl", *commands])
        if done.exit_code != 0:
            raise HelperFailed(
                f"the server's OpenVPN does not answer: {done.output.strip()}",
                hint="`macnet logs server` shows what it said",
            )
        return done.output

    def remove(self) -> tuple[str, ...]:
        """Remove every container with this tunnel's label; returns their names."""
        found = self._engine.find_labelled(f"{LABEL_NAME}={self.name}")
        # The relay first: without a server it would only wait for one.
        for container in sorted(found, key=lambda c: c.labels.get(LABEL_ROLE) != RELAY):
            self._engine.remove_container(container.id, grace_s=STOP_GRACE_S)
        return tuple(container.name for container in found)


def _is_current(container: Container | None, spec: HelperSpec) -> bool:
    return (
        container is not None
        and container.running
        and container.labels.get(LABEL_SPEC) == spec.digest()
    )
