"""The helper's containers as such: finding, making, waiting, running commands in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from macnet.engine import Container, ContainerSpec, Engine, ExecResult
from macnet.errors import (
    EngineError,
    EnginePermission,
    EngineUnreachable,
    ForeignContainer,
    HelperFailed,
)
from macnet.helper.spec import (
    LABEL_HOME,
    LABEL_OWNER,
    LABEL_ROLE,
    LABEL_SPEC,
    HelperSpec,
    container_name,
    owner,
)

#: Seconds that a started container gets until it answers.
READY_TIMEOUT_S = 20.0


class Containers:
    """The containers of the tunnel ``name`` on one engine, by their role."""

    def __init__(self, engine: Engine, name: str) -> None:
        """Nothing is asked of the engine yet."""
        self._engine = engine
        self.name = name

    def find(self, role: str) -> Container | None:
        """The container, in whatever state. Raises `ForeignContainer` if it is not macnet's."""
        name = container_name(self.name, role)
        found = self._engine.find_container(name)
        # A joiner's role has its number in the name only.
        if found is not None and found.labels.get(LABEL_ROLE) != role.partition("-")[0]:
            raise ForeignContainer(
                f"a container named {name} exists that macnet did not create",
                hint=f"rename it (`docker rename {name} NEW-NAME`) or remove it, then try again",
            )
        return found

    def own(self, role: str, spec: HelperSpec, *, take_over: bool) -> Container | None:
        """As `find`, but raises `ForeignContainer` for one that was made with another token.

        With ``take_over`` only where another user, or another ``MACNET_HOME``, has made it.
        """
        found = self.find(role)
        if found is None:
            return None
        # Without a label it is of a version that knew none.
        if take_over and found.labels.get(LABEL_HOME, spec.home) == spec.home:
            return found
        if found.labels.get(LABEL_OWNER, owner(spec.token)) != owner(spec.token):
            raise ForeignContainer(
                f"{found.name} belongs to another macnet on this engine: another user's, or of "
                "another MACNET_HOME",
                hint="use that one, or remove its tunnel with `macnet down` and set up your own",
            )
        return found

    def create(self, wanted: ContainerSpec, prepare: Callable[[str], None]) -> None:
        """Create, prepare, start; a container that does not start is not left behind."""
        identity = self._engine.create_container(wanted)
        try:
            prepare(identity)
            self._engine.start_container(identity)
        except BaseException:
            self._engine.remove_container(identity)
            raise

    def wait(self, role: str, health: Sequence[str]) -> None:
        """Wait until the health command answers. Raises `HelperFailed` with the log's end."""
        name = container_name(self.name, role)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            found = self._engine.find_container(name)
            if found is not None and found.running:
                if self.execute(role, health).exit_code == 0:
                    return
            elif found is None or found.status in {"exited", "dead"}:
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        raise self._failure(role, found)

    def execute(self, role: str, argv: Sequence[str]) -> ExecResult:
        """Run a command in a container. Raises `HelperFailed` with the log if that has ended."""
        name = container_name(self.name, role)
        try:
            return self._engine.execute(name, argv)
        except (EngineUnreachable, EnginePermission):
            raise
        except EngineError as error:
            found = self._engine.find_container(name)
            if found is not None and found.running:
                raise
            raise self._failure(role, found) from error

    def _failure(self, role: str, found: Container | None) -> HelperFailed:
        """What to say of a container that does not run, or not as it should."""
        lines = list(self._engine.logs(found.name, tail=20)) if found is not None else []
        return HelperFailed(
            f"the {role} did not become ready within {READY_TIMEOUT_S:g} s"
            if found is not None and found.running
            else f"the {role} stopped (status {found.exit_code if found else 'removed'})",
            hint=f"`macnet logs {role}` shows what it said",
            detail="\n".join(lines),
        )


def is_current(container: Container | None, spec: HelperSpec) -> bool:
    """Whether the container runs and is of this spec."""
    return container is not None and container.running and has_spec(container, spec)


def has_spec(container: Container, spec: HelperSpec) -> bool:
    """Whether the container, running or not, was made of this spec."""
    return container.labels.get(LABEL_SPEC) == spec.digest()
