"""An engine in memory that keeps containers, files, images and networks, as a real one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, cast

from macnet.contexts import EngineAddress
from macnet.engine import Container, ContainerSpec, Engine, EngineInfo, ExecResult
from macnet.errors import EngineError, MacnetError
from macnet.helper.spec import APPLIED_FILE, LANE_FILE, SUBNETS_FILE
from tests.unit.engine.recorded import recorded, recorded_text

Json = Mapping[str, Any]
INFO = EngineInfo("28.5.2", "1.51", "lab", "Debian", "x86_64", rootless=False)
#: What OpenVPN in the server says while one client is connected.
ONE_CLIENT = recorded_text("status-3.txt")
NO_CLIENT = "".join(
    line for line in ONE_CLIENT.splitlines(keepends=True) if not line.startswith("CLIENT_LIST")
)


@dataclass
class Made:
    """A container with what it was made from."""

    spec: ContainerSpec
    found: Container
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class ModelEngine:
    """``refuse`` is called with each container that shall be created, and may raise.

    ``says`` maps a word of a command to its result; other commands end well.
    """

    made: dict[str, Made] = field(default_factory=dict)
    images: dict[str, Json] = field(default_factory=dict)
    images_in_use: set[str] = field(default_factory=set)
    own_networks: dict[str, Json] = field(default_factory=dict)
    networks_: list[Json] = field(default_factory=lambda: list(recorded("networks")))
    log: list[str] = field(default_factory=list)
    commands: list[tuple[str, ...]] = field(default_factory=list)
    says: dict[str, ExecResult] = field(default_factory=dict)
    refuse: Callable[[ContainerSpec], None] = lambda _: None
    start: Callable[[ContainerSpec], None] = lambda _: None
    build_error: MacnetError | None = None
    #: What becomes of a container that is started.
    starts_as: str = "running"
    info_: EngineInfo = INFO
    address: EngineAddress = field(
        default_factory=lambda: EngineAddress("unix:///docker.sock", "DOCKER_HOST")
    )
    #: What OpenVPN says of its clients.
    status: Callable[[], str] = lambda: ONE_CLIENT
    #: Seconds that a removed container got to clean up.
    graces: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def as_engine(self) -> Engine:
        """The same, for code that wants the real type."""
        return cast(Engine, self)

    def info(self) -> EngineInfo:
        return self.info_

    def networks(self) -> list[Json]:
        return self.networks_

    def containers(self) -> list[Json]:
        return list(recorded("containers"))

    def inspect(self, identity: str) -> Json | None:
        """``GET /containers/ID/json`` of a container of `containers`."""
        return next((row for row in self.containers() if row["Id"] == identity), None)

    def find_container(self, name: str) -> Container | None:
        for one in self.made.values():
            if name in (one.found.name, one.found.id):
                return one.found
        return None

    def find_labelled(self, label: str) -> tuple[Container, ...]:
        key, _, value = label.partition("=")
        return tuple(
            one.found
            for one in self.made.values()
            if key in one.found.labels and value in ("", one.found.labels[key])
        )

    def create_container(self, spec: ContainerSpec) -> str:
        self.refuse(spec)
        assert self.find_container(spec.name) is None, "the engine would answer with a conflict"
        self.log.append(f"create {spec.name}")
        identity = f"id{next(self._numbers)}"
        self.made[identity] = Made(
            spec,
            Container(
                id=identity,
                name=spec.name,
                image_id=spec.image,
                labels=dict(spec.labels),
                status="created",
                health=None,
                exit_code=0,
                restarts=0,
                environment=dict(spec.environment),
                published=dict(spec.publish),
            ),
        )
        return identity

    def start_container(self, identity: str) -> None:
        one = self.made[identity]
        self.start(one.spec)
        one.found = replace(one.found, status=self.starts_as)
        one.files[LANE_FILE] = b"kernel\n"
        self._take_subnets(one)
        self.log.append(f"start {one.found.name}")

    def remove_container(self, identity: str, *, grace_s: int = 0) -> bool:
        one = self.made.pop(identity, None)
        if one is not None:
            self.log.append(f"remove {one.found.name}")
            self.graces[one.found.name] = grace_s
        return one is not None

    def stop(self, name: str) -> None:
        """End a container from outside."""
        one = self._one(name)
        one.found = replace(one.found, status="exited", exit_code=137)

    def put_files(self, name: str, folder: str, files: Mapping[str, tuple[bytes, int]]) -> None:
        one = self._one(name)
        one.files.update({f"{folder}/{path}": data for path, (data, _) in files.items()})
        self.log.append(f"files {one.found.name}")

    def read_file(self, name: str, path: str) -> bytes | None:
        found = self.find_container(name)
        return self.made[found.id].files.get(path) if found else None

    def execute(self, name: str, argv: Sequence[str]) -> ExecResult:
        if not self._one(name).found.running:
            raise EngineError(f"conflict: container {name} is not running")
        self.commands.append(tuple(argv))
        for word, result in self.says.items():
            if any(word in part for part in argv):
                return result
        if any("subnets.sh" in part for part in argv):
            self._take_subnets(self._one(name))
        return ExecResult(0, self.status() if "status 3" in argv else "")

    def logs(self, name: str, *, tail: int = 100, follow: bool = False) -> Iterator[str]:
        return iter([f"{name} said this"][-tail:])

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> bool:
        new = name not in self.own_networks
        self.own_networks.setdefault(name, dict(labels))
        return new

    def remove_networks(self, label: str) -> int:
        found = len(self.own_networks)
        self.own_networks.clear()
        return found

    def find_image(self, tag: str) -> str | None:
        return f"sha256:{tag}" if tag in self.images else None

    def list_images(self, label: str) -> Mapping[str, Mapping[str, str]]:
        return {tag: labels for tag, labels in self.images.items() if label in labels}

    def remove_image(self, tag: str, *, force: bool = True) -> bool:
        if tag in self.images_in_use and not force:
            raise EngineError(f"conflict: unable to remove {tag}")
        return self.images.pop(tag, None) is not None

    def build_image(
        self,
        tag: str,
        files: Mapping[str, tuple[bytes, int]],
        labels: Mapping[str, str],
        on_line: Callable[[str], None],
        *,
        offline: bool = False,
    ) -> None:
        assert "Dockerfile" in files
        on_line("Step 1")
        if self.build_error is not None:
            raise self.build_error
        self.images[tag] = labels
        base = files["Dockerfile"][0].decode().partition("FROM ")[2].split()[0]
        self.images.setdefault(base, {})  # fetched
        self.log.append("build offline" if offline else "build")

    def _take_subnets(self, one: Made) -> None:
        """What subnets.sh writes at its end."""
        if SUBNETS_FILE in one.files and "subnets.sh" not in self.says:
            one.files[APPLIED_FILE] = one.files[SUBNETS_FILE]

    def _one(self, name: str) -> Made:
        found = self.find_container(name)
        assert found is not None, f"the engine would answer: no such container: {name}"
        return self.made[found.id]
