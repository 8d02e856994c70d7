"""The calls to an engine, over HTTP against a fake one."""

from __future__ import annotations

import gc
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from netaddr import IPNetwork

from macnet.contexts import EngineAddress
from macnet.engine import ContainerSpec, Engine, connect_engine
from macnet.engine.archive import first_file, pack
from macnet.engine.events import parse_event
from macnet.engine.facts import DEFAULT_POOLS
from macnet.errors import EngineError, EngineRefused, EngineUnreachable, ImageBuildFailed, PortTaken
from macnet.models import Port
from tests.unit.engine.fake_http import FakeEngine
from tests.unit.engine.recorded import VERSIONS, recorded

# The SDK leaves sockets to the garbage collector, such as one that could not connect.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Such sockets end here, not in somebody else's test."""
    yield
    gc.collect()


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    folder = tempfile.mkdtemp(prefix="macnet-")  # short: a socket's path has 104 bytes at most
    server = FakeEngine(Path(folder) / "engine.sock")
    yield server
    server.close()
    shutil.rmtree(folder)


@pytest.fixture
def engine(fake: FakeEngine) -> Iterator[Engine]:
    engine = connect_engine(EngineAddress(fake.url, "a test"))
    yield engine
    engine._api.close()


SPEC = ContainerSpec(
    name="macnet-server",
    image="macnet-helper:1",
    labels={"io.macnet.role": "server"},
    environment={"A": "b"},
    command=["sh", "x"],
    cap_add=["NET_ADMIN"],
    network="bridge",
    devices=["/dev/net/tun:/dev/net/tun:rwm"],
    sysctls={"net.ipv4.ip_forward": "1"},
    publish={1194: ("127.0.0.1", 13194)},
    health=["sh", "health"],
)


def test_nobody_listens() -> None:
    with pytest.raises(EngineUnreachable, match=r"nowhere\.sock"):
        connect_engine(EngineAddress("unix:///nonexistent/nowhere.sock", "a test"))


@pytest.mark.parametrize("version", VERSIONS)
def test_info(fake: FakeEngine, engine: Engine, version: str) -> None:
    fake.on("GET /info", {**recorded("info", version), "ID": "one"})
    info = engine.info()
    assert info.version.startswith(version)
    assert info.api_version == "1.51"
    assert not info.rootless
    assert info.pools == DEFAULT_POOLS
    assert info.id == "one"


def test_info_of_a_rootless_engine_with_pools_of_its_own(fake: FakeEngine, engine: Engine) -> None:
    fake.on(
        "GET /info",
        {
            "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"],
            "DefaultAddressPools": [{"Base": "10.10.0.0/16", "Size": 24}],
        },
    )
    info = engine.info()
    assert info.rootless
    assert info.pools == (IPNetwork("10.10.0.0/16"),)
    assert info.version == "?"


def test_what_is_missing_is_none_or_false(fake: FakeEngine, engine: Engine) -> None:
    fake.on("GET /containers/there/json", recorded("server"))
    found = engine.find_container("there")
    assert found is not None and found.name == "macnet-server"
    assert engine.find_container("absent") is None
    assert engine.read_file("absent", "/x") is None
    assert engine.find_image("absent:1") is None
    assert not engine.remove_container("absent")
    assert not engine.remove_image("absent")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, "RWLayer of container 30195cda3ba4 is unexpectedly nil"),
        (409, "container 30195cda3ba4 is marked for removal and cannot be used"),
    ],
)
def test_a_container_that_is_just_removed_is_none(
    fake: FakeEngine, engine: Engine, status: int, message: str
) -> None:
    fake.on("GET /containers/going/json", {"message": message}, status)
    fake.on("GET /containers/going/archive", {"message": message}, status)
    assert engine.find_container("going") is None
    assert engine.read_file("going", "/x") is None
    fake.on("GET /containers/going/json", {"message": "broken"}, status)
    with pytest.raises(EngineError, match="broken"):
        engine.find_container("going")


def test_an_error_of_the_engine_is_ours(fake: FakeEngine, engine: Engine) -> None:
    fake.on("GET /networks", {"message": "broken"}, 500)
    with pytest.raises(EngineError, match="broken"):
        engine.networks()


def test_a_container_is_created_with_no_more_than_it_asks_for(
    fake: FakeEngine, engine: Engine
) -> None:
    fake.on("POST /containers/create", {"Id": "c1", "Warnings": []}, 201)
    assert engine.create_container(SPEC) == "c1"
    request = fake.last("POST /containers/create")
    assert request.query["name"] == ["macnet-server"]
    asked = request.json
    host = asked["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] == ["NET_ADMIN"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["PortBindings"] == {"1194/tcp": [{"HostIp": "127.0.0.1", "HostPort": "13194"}]}
    assert host["RestartPolicy"]["Name"] == "always"
    assert host["LogConfig"]["Config"] == {"max-size": "1m", "max-file": "2"}
    assert host.get("Privileged", False) is False
    assert not host.get("Binds")
    assert asked["Healthcheck"]["Test"] == ["CMD", "sh", "health"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [("port is already allocated", PortTaken), ("privileged mode is not allowed", EngineRefused)],
)
def test_a_container_that_does_not_start(
    fake: FakeEngine, engine: Engine, said: str, kind: type[Exception]
) -> None:
    fake.on("POST /containers/c1/start", {"message": said}, 500)
    with pytest.raises(kind, match=said):
        engine.start_container("c1")


def test_declared_ports(fake: FakeEngine, engine: Engine) -> None:
    exposed: dict[str, dict[str, str]] = {"80/tcp": {}, "53/udp": {}, "8000-8010/tcp": {}, "81": {}}
    fake.on("GET /containers/c1/json", {"Config": {"ExposedPorts": exposed}})
    assert engine.exposed_ports("c1") == (Port(53, "udp"), Port(80), Port(81))
    fake.on("GET /containers/c2/json", {"Config": {"ExposedPorts": None}})
    assert engine.exposed_ports("c2") == ()


def test_files_go_in_as_an_archive_owned_by_root(fake: FakeEngine, engine: Engine) -> None:
    fake.on("PUT /containers/c1/archive")
    engine.put_files("c1", "/etc", {"macnet/key": (b"secret", 0o600), "macnet/a": (b"", 0o644)})
    request = fake.last("PUT /containers/c1/archive")
    assert request.query["path"] == ["/etc"]
    with tarfile.open(fileobj=io.BytesIO(request.body)) as archive:
        members = {m.name: (m.mode, m.uid, m.gid) for m in archive.getmembers()}
    assert members == {"macnet/a": (0o644, 0, 0), "macnet/key": (0o600, 0, 0)}


def test_a_file_comes_out(fake: FakeEngine, engine: Engine) -> None:
    data = pack({"subnets": (b"172.17.0.0/16\n", 0o644)})
    fake.on("GET /containers/c1/archive", data, X_Docker_Container_Path_Stat="e30=")
    assert engine.read_file("c1", "/etc/macnet/subnets") == b"172.17.0.0/16\n"


def test_equal_files_make_equal_archives() -> None:
    assert pack({"b": (b"2", 0o644), "a": (b"1", 0o644)}) == pack(
        {"a": (b"1", 0o644), "b": (b"2", 0o644)}
    )


def test_an_archive_that_begins_with_a_folder_has_no_file() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("folder")
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    assert first_file(buffer.getvalue()) is None


def build(fake: FakeEngine, engine: Engine, events: list[dict[str, str]]) -> list[str]:
    fake.on("POST /build", events, stream=True)
    lines: list[str] = []
    engine.build_image("t:1", {"Dockerfile": (b"FROM x", 0o644)}, {"l": "v"}, lines.append)
    return lines


def test_a_build_tells_its_lines(fake: FakeEngine, engine: Engine) -> None:
    said = build(fake, engine, [{"stream": "Step 1\n"}, {"stream": "\n"}, {"status": "Pulling"}])
    assert said == ["Step 1", "Pulling"]
    assert fake.last("POST /build").query["t"] == ["t:1"]


def test_a_build_that_fails_keeps_the_end_of_its_log(fake: FakeEngine, engine: Engine) -> None:
    events = [{"stream": f"line {n}\n"} for n in range(100)]
    with pytest.raises(ImageBuildFailed, match="no network") as caught:
        build(fake, engine, [*events, {"error": "no network"}])
    kept = str(caught.value.detail).splitlines()
    assert kept[-2:] == ["line 99", "no network"]
    assert len(kept) == 30


def test_a_network_is_made_once(fake: FakeEngine, engine: Engine) -> None:
    fake.on("GET /networks", [])
    fake.on("POST /networks/create", {"Id": "n1"}, 201)
    assert engine.ensure_network("macnet", {"l": "v"})
    fake.on("GET /networks", [{"Name": "macnet", "Id": "n1"}])
    assert not engine.ensure_network("macnet", {"l": "v"})
    fake.on("DELETE /networks/n1", status=204)
    assert engine.remove_networks("l=v") == 1


def test_events_are_read() -> None:
    raw = {
        "Type": "network",
        "Action": "create",
        "Actor": {"ID": "1", "Attributes": {"name": "app", "type": "bridge"}},
    }
    event = parse_event(raw)
    assert (event.type, event.action, event.name) == ("network", "create", "app")
    assert parse_event({}).name == ""
    assert parse_event({"Actor": None}).labels == {}


def test_followed_events_come_and_the_end_is_an_error(fake: FakeEngine, engine: Engine) -> None:
    raw = {"Type": "network", "Action": "create", "Actor": {"Attributes": {"name": "app"}}}
    fake.on("GET /events", [raw], stream=True)
    with engine.follow(["network"]) as stream:
        event = stream.get(5)
        assert event is not None and event.name == "app"
        with pytest.raises(EngineUnreachable):
            stream.get(5)
    assert "network" in fake.last("GET /events").query["filters"][0]
