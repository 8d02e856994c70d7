"""The calls to an engine, over HTTP against a fake one."""

from __future__ import annotations

import base64
import errno
import gc
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from netaddr import IPNetwork

from macnet.contexts import EngineAddress
from macnet.engine import ContainerSpec, Engine, ExecResult, connect_engine, require_rootful
from macnet.engine.api import MOST_BYTES
from macnet.engine.archive import first_file, pack
from macnet.engine.events import parse_event
from macnet.engine.objects import DEFAULT_POOLS, parse_info
from macnet.errors import EngineError, EngineRefused, EngineUnreachable, ImageBuildFailed, PortTaken
from macnet.models import Port
from tests.unit.engine.fake_http import FakeEngine, TcpEngine, make_certificates
from tests.unit.engine.recorded import VERSIONS, recorded

# The SDK leaves sockets to the garbage collector, such as one that could not connect.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Such sockets end here, not in somebody else's test."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that fails wherever it is used, as Docker Desktop leaves it behind."""
    path = tmp_path / "docker" / "config.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps(
            {
                "auths": {"registry.example": {"auth": "c29tZWJvZHk6c2VjcmV0"}},
                "credsStore": "gone",
                "credHelpers": {"registry.example": "gone-too"},
                "proxies": {"default": {"httpProxy": "http://proxy.example:3128"}},
            }
        )
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(path.parent))
    return path


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    folder = tempfile.mkdtemp(prefix="macnet-")  # short: a socket's path has 104 bytes at most
    server = FakeEngine(Path(folder) / "engine.sock")
    server.on("GET /info", {"Architecture": "aarch64"})
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


@pytest.mark.parametrize(
    ("url", "info", "command"),
    [
        ("unix:///podman.sock", {}, "podman machine set --rootful"),
        ("unix:///var/run/docker.sock", {"BuildahVersion": "1.28.2"}, "podman machine set"),
        ("unix:///Users/me/.lima/docker/sock/docker.sock", {}, "template:docker-rootful"),
        ("unix:///var/run/docker.sock", {"Name": "lima-docker"}, "template:docker-rootful"),
        ("unix:///run/user/1000/docker.sock", {}, "--context"),
    ],
)
def test_a_rootless_engine_is_refused_with_the_command_that_helps(
    url: str, info: dict[str, object], command: str
) -> None:
    address = EngineAddress(url, "a test")
    found = parse_info({"SecurityOptions": ["name=rootless"], **info}, "1.41")
    with pytest.raises(EngineRefused, match="is rootless") as caught:
        require_rootful(found, address)
    assert command in str(caught.value.hint)
    require_rootful(parse_info(info, "1.41"), address)


def test_what_podman_says_of_itself() -> None:
    info = parse_info(recorded("info", "podman-4.3.1"), "1.41")
    assert (info.podman, info.rootless, info.remapped) == (True, False, False)
    assert (info.version, info.platform, info.pools) == ("4.3.1", "linux/amd64", DEFAULT_POOLS)
    assert not parse_info(recorded("info"), "1.51").podman


def test_the_engines_clock() -> None:
    info = parse_info({"SystemTime": "2026-11-26T18:58:53.279686421Z"}, "1.41")
    assert info.system_time == datetime(2026, 11, 26, 18, 58, 53, 279686, UTC)
    for text in (None, "", "late", "2026-11-26T18:58:53"):
        assert parse_info({"SystemTime": text}, "1.41").system_time is None


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
    assert host["UsernsMode"] == "host"
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


def test_on_a_remapped_engine_a_container_may_use_its_files(
    fake: FakeEngine, engine: Engine
) -> None:
    """They belong to another user than the container's root there."""
    fake.on("GET /info", {"SecurityOptions": ["name=seccomp", "name=userns"]})
    fake.on("POST /containers/create", {"Id": "c1", "Warnings": []}, 201)
    engine.create_container(SPEC)
    host = fake.last("POST /containers/create").json["HostConfig"]
    assert host["UsernsMode"] == "host"
    assert host["CapAdd"] == ["NET_ADMIN", "DAC_OVERRIDE"]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (409, "container 30195cda3ba4 is not running"),
        (409, "Container 30195cda3ba4 is restarting, wait until the container is running"),
        (409, "can only create exec sessions on running containers: container state improper"),
        (404, "No such container: 30195cda3ba4"),
    ],
)
def test_a_command_in_a_container_that_has_ended_fails(
    fake: FakeEngine, engine: Engine, status: int, message: str
) -> None:
    fake.on("POST /containers/c1/exec", {"message": message}, status)
    assert engine.execute("c1", ["true"]) == ExecResult(-1, message)
    fake.on("POST /containers/c1/exec", {"message": "broken"}, 500)
    with pytest.raises(EngineError, match="broken"):
        engine.execute("c1", ["true"])


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


def test_a_large_file_is_not_read(fake: FakeEngine, engine: Engine) -> None:
    data = pack({"manifest": (b"--cluster-cidr=10.0.0.0/8", 0o644)})
    stat = base64.b64encode(json.dumps({"size": MOST_BYTES + 1}).encode()).decode()
    fake.on("GET /containers/c1/archive", data, X_Docker_Container_Path_Stat=stat)
    assert engine.read_file("c1", "/manifest") is None


def test_equal_files_make_equal_archives() -> None:
    assert pack({"b": (b"2", 0o644), "a": (b"1", 0o644)}) == pack(
        {"a": (b"1", 0o644), "b": (b"2", 0o644)}
    )


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, None])
def test_an_archive_that_begins_with_no_file_has_none(kind: bytes | None) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("folder")
        if kind is not None:
            member.type, member.linkname = kind, "elsewhere"
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
    request = fake.last("POST /build")
    assert request.query["t"] == ["t:1"]
    assert request.query["platform"] == ["linux/arm64"]


def test_a_build_asks_no_credential_store_and_sends_no_password(
    fake: FakeEngine, engine: Engine
) -> None:
    assert build(fake, engine, [{"stream": "Step 1\n"}]) == ["Step 1"]
    assert "X-Registry-Config" not in fake.last("POST /build").headers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "[]",
        "{",
        '{"auths": {"a": 1}}',
        '{"auths": {"a": {"auth": "?"}}}',
        '{"proxies": 1}',
        '{"proxies": {"default": 1}}',
    ],
)
def test_no_configuration_of_the_user_stops_a_build(
    fake: FakeEngine, docker_config: Path, text: str
) -> None:
    docker_config.write_text(text)
    engine = connect_engine(EngineAddress(fake.url, "a test"))
    assert build(fake, engine, [{"stream": "Step 1\n"}]) == ["Step 1"]
    engine._api.close()


def test_proxies_of_the_user_are_for_the_build_alone(fake: FakeEngine, engine: Engine) -> None:
    build(fake, engine, [])
    assert "proxy.example" in fake.last("POST /build").query["buildargs"][0]
    fake.on("POST /containers/create", {"Id": "c1", "Warnings": []}, 201)
    engine.create_container(SPEC)
    assert fake.last("POST /containers/create").json["Env"] == ["A=b"]


def test_no_proxy_gets_requests_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, fake: FakeEngine
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with TcpEngine(fake) as url:
        engine = connect_engine(EngineAddress(url, "a test"))
        engine.ping()
        engine._api.close()


def test_a_socket_whose_path_has_a_space_is_reached_beside_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:7890")
    with tempfile.TemporaryDirectory(prefix="mac net-") as folder:
        server = FakeEngine(Path(folder) / "engine.sock")
        engine = connect_engine(EngineAddress(server.url, "a test"))
        engine.ping()
        engine._api.close()
        server.close()


def test_a_build_that_fails_keeps_the_end_of_its_log(fake: FakeEngine, engine: Engine) -> None:
    events = [{"stream": f"line {n}\n"} for n in range(100)]
    with pytest.raises(ImageBuildFailed, match="no network") as caught:
        build(fake, engine, [*events, {"error": "no network"}])
    kept = str(caught.value.detail).splitlines()
    assert kept[-2:] == ["line 99", "no network"]
    assert len(kept) == 30


def test_another_network_that_has_our_name_in_its_own_is_not_ours(
    fake: FakeEngine, engine: Engine
) -> None:
    fake.on("GET /networks", [{"Name": "macnet_default", "Id": "n2"}])
    fake.on("POST /networks/create", {"Id": "n1"}, 201)
    assert engine.ensure_network("macnet", {"l": "v"})


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


def test_closing_a_stream_that_the_engine_has_ended_is_no_error(
    fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS says ENOTCONN there."""
    fake.on("GET /events", [], stream=True)
    stream = engine.follow(["network"])

    def close() -> None:
        raise OSError(errno.ENOTCONN, "Socket is not connected")

    monkeypatch.setattr(stream._stream, "close", close)
    stream.close()


def test_what_is_no_docker_engine_is_said_to_be_none(fake: FakeEngine) -> None:
    bodies: tuple[object, ...] = ({"message": "hello"}, [], {"ApiVersion": None})
    for body in bodies:
        fake.on("GET /version", body)
        with pytest.raises(EngineUnreachable, match="is no Docker engine"):
            connect_engine(EngineAddress(fake.url, "a test"))


def test_an_engine_with_tls_is_talked_to_with_its_certificates(
    fake: FakeEngine, tmp_path: Path
) -> None:
    files, other = make_certificates(tmp_path / "one"), make_certificates(tmp_path / "two")
    with TcpEngine(fake, files) as url:
        engine = connect_engine(EngineAddress(url, "a test", tls=files))
        engine.ping()
        with engine.follow(["network"]):
            pass
        engine._api.close()
        # A certificate of somebody else, and no client certificate.
        for wrong in (other, replace(files, cert=None, key=None)):
            with pytest.raises(EngineUnreachable):
                connect_engine(EngineAddress(url, "a test", tls=wrong))
