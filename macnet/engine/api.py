"""Calls to one Docker engine through the SDK's low-level client (``docker.APIClient``).

The SDK is imported on first use, so that commands which need no engine don't pay for it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from macnet.contexts import EngineAddress
from macnet.engine.archive import first_file, pack
from macnet.engine.build import BuildReader
from macnet.engine.create import creation_arguments
from macnet.engine.events import EventStream
from macnet.engine.objects import (
    Container,
    ContainerSpec,
    EngineInfo,
    ExecResult,
    parse_container,
    parse_info,
)
from macnet.engine.sdk import open_client
from macnet.engine.translate import build_failure, has_ended, is_gone, translated
from macnet.errors import CarrierDown, EngineError
from macnet.models import Port

if TYPE_CHECKING:
    from docker import APIClient

#: What a listing gives.
Rows = Sequence[Mapping[str, Any]]
#: Seconds to wait for an answer of the engine. Image builds stream, so this bounds silence.
TIMEOUT_S = 60
#: Seconds to wait for the first answer, when the API version is negotiated.
FIRST_TIMEOUT_S = 5
#: The most bytes of a file that is read from a container.
MOST_BYTES = 1 << 20
#: Lines of a failed build that are kept for the error.
BUILD_LOG_LINES = 30


class Engine:
    """One engine, reached at one address."""

    def __init__(self, address: EngineAddress, api: APIClient) -> None:
        """Use `connect_engine`."""
        self.address = address
        self._api = api

    def info(self) -> EngineInfo:
        """Version and properties, from ``GET /info`` and the negotiated API version."""
        with self._translated():
            return parse_info(self._api.info(), str(self._api.api_version))

    def ping(self) -> None:
        """Ask for a sign of life. Raises `macnet.errors.EngineError` without one."""
        with self._translated():
            self._api.ping()

    def follow(self, types: Sequence[str]) -> EventStream:
        """Follow the engine's events of these types ("network", "container")."""
        return EventStream(self.address, str(self._api.api_version), types)

    def networks(self) -> Sequence[Mapping[str, Any]]:
        """``GET /networks``: every network with its IPAM configuration, in one call."""
        with self._translated():
            return list(self._api.networks())

    def containers(self, *, everything: bool = False) -> Sequence[Mapping[str, Any]]:
        """``GET /containers/json``: the running containers, or all, in one call."""
        with self._translated():
            return list(self._api.containers(all=everything))

    def swarm(self) -> tuple[Rows, Rows, Rows]:
        """``GET /nodes``, ``/services`` and ``/tasks``, which only a manager answers."""
        with self._translated():
            api: Any = self._api  # two of the three have no types
            return api.nodes(), api.services(), api.tasks()

    def find_container(self, name: str) -> Container | None:
        """The container of that name or id, running or not; None for one that is just going."""
        from docker.errors import APIError

        with self._translated():
            try:
                return parse_container(self._api.inspect_container(name))
            except APIError as error:
                if is_gone(error):
                    return None
                raise

    def inspect(self, identity: str) -> Mapping[str, Any] | None:
        """``GET /containers/ID/json`` as it is; None for a container that is gone."""
        from docker.errors import APIError

        with self._translated():
            try:
                found: Mapping[str, Any] = self._api.inspect_container(identity)
            except APIError as error:
                if is_gone(error):
                    return None
                raise
            return found

    def find_labelled(self, label: str) -> tuple[Container, ...]:
        """All containers that carry the label, sorted by name."""
        with self._translated():
            rows = self._api.containers(all=True, filters={"label": label})
        found = (self.find_container(str(row["Id"])) for row in rows)
        return tuple(sorted((c for c in found if c is not None), key=lambda c: c.name))

    def exposed_ports(self, identity: str) -> tuple[Port, ...]:
        """The ports that a container declares; listings leave them out on internal networks."""
        with self._translated():
            config = self._api.inspect_container(identity)["Config"]
        pairs = (port.partition("/") for port in config.get("ExposedPorts") or ())
        # Docker keeps a range that was not expanded as "8000-8010/tcp"; only numbers are ports.
        return tuple(
            sorted(
                Port(int(number), kind or "tcp") for number, _, kind in pairs if number.isdigit()
            )
        )

    def create_container(self, spec: ContainerSpec) -> str:
        """Create, don't start. Raises `EngineRefused` where the engine forbids what it needs."""
        remapped = self.info().remapped
        with self._translated(refusable=True):
            asked = creation_arguments(self._api, spec, remapped=remapped)
            created = self._api.create_container(**asked)
        return str(created["Id"])

    def start_container(self, identity: str) -> None:
        """Start a created or stopped container."""
        with self._translated(refusable=True):
            self._api.start(identity)

    def remove_container(self, identity: str, *, grace_s: int = 0) -> bool:
        """Remove with its anonymous volumes; False if it was not there.

        Its main process gets SIGTERM first and ``grace_s`` seconds to clean up; 0 kills at once.
        """
        from docker.errors import NotFound

        with self._translated():
            try:
                if grace_s:
                    self._api.stop(identity, timeout=grace_s)
                self._api.remove_container(identity, force=True, v=True)
            except NotFound:
                return False
        return True

    def put_files(self, identity: str, folder: str, files: Mapping[str, tuple[bytes, int]]) -> None:
        """Write files (name -> content, mode) into a folder of a container, owned by root."""
        with self._translated():
            if not self._api.put_archive(identity, folder, pack(files)):
                raise EngineError(f"the engine did not take the files for {folder}")

    def read_file(self, identity: str, path: str) -> bytes | None:
        """The content of a file in a container; None if the file or container is missing.

        None for a file of more than `MOST_BYTES` too: no file that macnet reads is so large.
        """
        from docker.errors import APIError

        with self._translated():
            try:
                chunks, stat = self._api.get_archive(identity, path)
                if int((stat or {}).get("size") or 0) > MOST_BYTES:
                    return None
                data = b"".join(chunks)
            except APIError as error:
                if is_gone(error):
                    return None
                raise
        return first_file(data)

    def execute(self, identity: str, argv: Sequence[str]) -> ExecResult:
        """Run a command in a container and wait for its end; status -1 if that runs no more."""
        from docker.errors import APIError

        with self._translated():
            try:
                job = self._api.exec_create(identity, list(argv))
                output: bytes = self._api.exec_start(job["Id"])
                code = self._api.exec_inspect(job["Id"]).get("ExitCode")
            except APIError as error:
                if has_ended(error):
                    return ExecResult(-1, str(error.explanation or error))
                raise
        return ExecResult(int(code if code is not None else -1), output.decode(errors="replace"))

    def logs(self, identity: str, *, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """The lines that a container wrote, oldest first."""
        with self._translated():
            stream = self._api.logs(
                identity, stream=True, follow=follow, tail=tail, timestamps=True
            )
            rest = b""
            for chunk in stream:
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
            if rest:
                yield rest.decode(errors="replace")

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> bool:
        """Create a bridge network with labels unless one of that name exists."""
        with self._translated():
            # The engine's filter takes a part of a name for the name.
            if any(row["Name"] == name for row in self._api.networks(names=[name])):
                return False
            self._api.create_network(name, driver="bridge", labels=dict(labels))
        return True

    def remove_networks(self, label: str) -> int:
        """Remove every network that carries the label; returns how many."""
        with self._translated():
            found = self._api.networks(filters={"label": label})
            for network in found:
                self._api.remove_network(network["Id"])
        return len(found)

    def find_image(self, tag: str) -> str | None:
        """The id of an image, None if the engine has no such image."""
        from docker.errors import ImageNotFound

        with self._translated():
            try:
                return str(self._api.inspect_image(tag)["Id"])  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return None

    def list_images(self, label: str) -> Mapping[str, Mapping[str, str]]:
        """The ids of all images that carry the label, each with all of its labels."""
        with self._translated():
            rows = self._api.images(filters={"label": label})
        return {str(row["Id"]): row.get("Labels") or {} for row in rows}

    def remove_image(self, identity: str, *, force: bool = True) -> bool:
        """Remove an image and its untagged parents; False if it was not there.

        Without ``force`` one that something else uses is an `EngineError`.
        """
        from docker.errors import ImageNotFound

        with self._translated():
            try:
                self._api.remove_image(identity, force=force)
            except ImageNotFound:
                return False
        return True

    def build_image(
        self,
        tag: str,
        files: Mapping[str, tuple[bytes, int]],
        labels: Mapping[str, str],
        on_line: Callable[[str], None],
        *,
        offline: bool = False,
    ) -> None:
        """Build ``files`` (with a Dockerfile) into ``tag``, for the engine's own platform.

        What the build does goes to ``on_line``, line by line, with the number of its step. With
        ``offline`` the build has no network and the argument ``OFFLINE``; the caller sees to the
        base image. Raises `ImageBuildFailed` with the end of the log as its detail.
        """
        reader = BuildReader()
        # A base image of another platform may be there already; it would be taken otherwise.
        platform = self.info().platform
        with self._translated():
            stream = self._api.build(
                fileobj=io.BytesIO(pack(files)),
                custom_context=True,
                tag=tag,
                labels=dict(labels),
                rm=True,
                forcerm=True,
                decode=True,
                platform=platform,
                network_mode="none" if offline else None,
                buildargs={"OFFLINE": "1"} if offline else None,
            )
            for event in stream:
                for line in reader.read(event):
                    on_line(line)
                if failure := event.get("error"):
                    raise build_failure(str(failure), reader.log[-BUILD_LOG_LINES:])

    def _translated(self, *, refusable: bool = False) -> AbstractContextManager[None]:
        return translated(self.address, refusable=refusable)


def connect_engine(address: EngineAddress) -> Engine:
    """Connect and negotiate the API version.

    Raises `EngineUnreachable` where nobody answers, `EnginePermission` where the socket refuses
    this user, and `CarrierDown` for one that only ssh reaches.
    """
    if address.ssh is not None and address.via is None:
        raise CarrierDown(f"no ssh to {address.machine} runs", hint="`macnet connect` starts it")
    with translated(address):
        # An engine that hangs is found out by the first call, and not after a minute.
        api = open_client(address, timeout_s=FIRST_TIMEOUT_S)
        api.timeout = TIMEOUT_S
        return Engine(address, api)
