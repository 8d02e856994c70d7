"""The engine is found as the docker CLI finds it, and only if it runs on this machine."""

import hashlib
import json
import socket
import tempfile
from pathlib import Path

import pytest

from macnet import contexts
from macnet.contexts import EngineAddress, SshTarget, TlsFiles, list_contexts, resolve_engine
from macnet.errors import (
    ConfigError,
    EngineRefused,
    EngineUnreachable,
    MacnetError,
    UnknownContext,
)

SOCKET = "unix:///run/one.sock"


@pytest.fixture(autouse=True)
def no_system_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine may run an engine; the tests' machine has none until they make one."""
    path = tmp_path / "system" / "docker.sock"
    path.parent.mkdir()
    monkeypatch.setattr(contexts, "SYSTEM_SOCKET", path)
    return path


def meta_path(folder: Path, name: str) -> Path:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return folder / "contexts" / "meta" / digest / "meta.json"


def add_context(folder: Path, name: str, host: str) -> None:
    path = meta_path(folder, name)
    path.parent.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    path.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))


def write_config(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(text)


def make_socket(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return f"unix://{path}"


def test_each_source_gives_way_to_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / ".docker"
    for name in ("option", "variable", "current"):
        add_context(folder, name, f"unix:///run/{name}.sock")
    write_config(folder, '{"auths": {}, "currentContext": "current"}')
    socket = make_socket(folder / "run" / "docker.sock")
    environ = {"DOCKER_HOST": SOCKET, "DOCKER_CONTEXT": "variable"}

    assert resolve_engine("option", environ, tmp_path) == EngineAddress(
        "unix:///run/option.sock", "--context option", "option"
    )
    assert resolve_engine(None, environ, tmp_path) == EngineAddress(SOCKET, "DOCKER_HOST")
    del environ["DOCKER_HOST"]
    assert resolve_engine(None, environ, tmp_path) == EngineAddress(
        "unix:///run/variable.sock", "DOCKER_CONTEXT", "variable"
    )
    del environ["DOCKER_CONTEXT"]
    assert resolve_engine(None, environ, tmp_path) == EngineAddress(
        "unix:///run/current.sock", f"current context in {folder / 'config.json'}", "current"
    )
    write_config(folder, "{}")
    assert resolve_engine(None, environ, tmp_path) == EngineAddress(socket, "default socket")


def test_empty_variables_count_as_unset(tmp_path: Path, no_system_socket: Path) -> None:
    socket = make_socket(no_system_socket)
    environ = {"DOCKER_HOST": "", "DOCKER_CONTEXT": "", "DOCKER_CONFIG": ""}
    assert resolve_engine("", environ, tmp_path).url == socket


def test_the_store_moves_with_docker_config(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    add_context(folder, "one", SOCKET)
    write_config(folder, '{"currentContext": "one"}')
    environ = {"DOCKER_CONFIG": str(folder)}
    assert resolve_engine(None, environ, tmp_path).context == "one"
    assert list_contexts(environ, tmp_path) == ("default", "one")
    assert list_contexts({}, tmp_path) == ("default",)


@pytest.mark.parametrize("environ", [{}, {"DOCKER_CONTEXT": "default"}])
def test_default_means_the_sockets(
    tmp_path: Path, environ: dict[str, str], no_system_socket: Path
) -> None:
    write_config(tmp_path / ".docker", '{"currentContext": "default"}')
    home_socket = make_socket(tmp_path / ".colima" / "default" / "docker.sock")
    assert resolve_engine(None, environ, tmp_path).url == home_socket
    assert resolve_engine("default", {"DOCKER_HOST": SOCKET}, tmp_path) == EngineAddress(
        home_socket, "--context default", "default"
    )
    assert resolve_engine(None, environ, tmp_path).url != make_socket(no_system_socket)
    assert resolve_engine(None, environ, tmp_path).url == f"unix://{no_system_socket}"


def test_sockets_are_tried_in_their_order(tmp_path: Path) -> None:
    for part in reversed(contexts.HOME_SOCKETS):
        socket = make_socket(tmp_path / part)
        assert resolve_engine(None, {}, tmp_path).url == socket


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("COLIMA_HOME", "default/docker.sock"),
        ("XDG_CONFIG_HOME", "colima/default/docker.sock"),
        ("LIMA_HOME", "docker-rootful/sock/docker.sock"),
        ("TMPDIR", "podman/podman-machine-default-api.sock"),
    ],
)
def test_sockets_are_found_where_variables_move_them(
    tmp_path: Path, variable: str, path: str
) -> None:
    url = make_socket(tmp_path / "moved" / path)
    assert resolve_engine(None, {variable: str(tmp_path / "moved")}, tmp_path / "home").url == url


def test_a_socket_that_an_engine_left_behind_is_passed_over() -> None:
    with tempfile.TemporaryDirectory(prefix="macnet-") as folder:  # a socket's path is short
        home = Path(folder)
        left = home / ".docker" / "run" / "docker.sock"
        left.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as ended:
            ended.bind(str(left))
        assert resolve_engine(None, {}, home).url == f"unix://{left}"
        alive = home / ".rd" / "docker.sock"
        alive.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(alive))
            server.listen()
            assert resolve_engine(None, {}, home).url == f"unix://{alive}"


def test_no_engine_at_all(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable, match="no Docker engine found") as caught:
        resolve_engine(None, {}, tmp_path)
    assert "--context" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("context", "environ", "source"),
    [
        ("nobody", {}, "--context nobody"),
        (None, {"DOCKER_CONTEXT": "nobody"}, "DOCKER_CONTEXT"),
        (None, {}, "current context in .*config.json"),
    ],
)
def test_an_unknown_context_says_who_named_it(
    tmp_path: Path, context: str | None, environ: dict[str, str], source: str
) -> None:
    write_config(tmp_path / ".docker", '{"currentContext": "nobody"}')
    with pytest.raises(UnknownContext, match=rf"named 'nobody' \(from {source}\)"):
        resolve_engine(context, environ, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '"name"', "null", "\xff"])
def test_a_damaged_config_is_an_error_but_only_where_it_is_needed(
    tmp_path: Path, text: str
) -> None:
    folder = tmp_path / ".docker"
    folder.mkdir()
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"config\.json is not valid JSON"):
        resolve_engine(None, {}, tmp_path)
    assert resolve_engine(None, {"DOCKER_HOST": SOCKET}, tmp_path).url == SOCKET


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_config_names_no_context(tmp_path: Path, text: str) -> None:
    write_config(tmp_path / ".docker", text)
    url = make_socket(tmp_path / ".colima" / "default" / "docker.sock")
    assert resolve_engine(None, {}, tmp_path).url == url


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"Endpoints": {}}', '{"Endpoints": {"docker": {}}}'],
)
def test_a_damaged_context_is_an_error_and_is_not_listed(tmp_path: Path, text: str) -> None:
    folder = tmp_path / ".docker"
    add_context(folder, "good", SOCKET)
    add_context(folder, "bad", SOCKET)
    meta_path(folder, "bad").write_text(text)
    with pytest.raises(ConfigError, match="'bad' is damaged") as caught:
        resolve_engine("bad", {}, tmp_path)
    assert "docker context create" in str(caught.value.hint)
    assert list_contexts({}, tmp_path) == ("default", "good")


def test_a_context_that_cannot_be_read(tmp_path: Path) -> None:
    meta_path(tmp_path / ".docker", "one").mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot read"):
        resolve_engine("one", {}, tmp_path)
    assert list_contexts({}, tmp_path) == ("default",)


@pytest.mark.parametrize(
    "url",
    [
        "tcp://127.0.0.1:2375",
        "tcp://localhost:2375",
        "http://127.0.0.1:2375",
        "https://localhost:2376",
        "tcp://[::1]:2375",
        "unix:///var/run/docker.sock",
    ],
)
def test_engines_on_this_machine_are_taken(tmp_path: Path, url: str) -> None:
    assert resolve_engine(None, {"DOCKER_HOST": url}, tmp_path).url == url


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("tcp://:2375", "tcp://127.0.0.1:2375"),
        ("tcp://0.0.0.0:2375", "tcp://127.0.0.1:2375"),
        ("tcp://[::]:2375", "tcp://[::1]:2375"),
        ("tcp://localhost", "tcp://localhost:2375"),
    ],
)
def test_addresses_that_mean_this_machine(tmp_path: Path, url: str, meant: str) -> None:
    assert resolve_engine(None, {"DOCKER_HOST": url}, tmp_path).url == meant


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ssh://build-box", SshTarget("build-box")),
        ("ssh://build-box/", SshTarget("build-box")),
        ("ssh://me@Build.example:2222", SshTarget("Build.example", "me", 2222)),
        (
            "ssh://core@127.0.0.1:54321/run/user/501/podman/podman.sock",
            SshTarget("127.0.0.1", "core", 54321, "/run/user/501/podman/podman.sock"),
        ),
        ("ssh://[fd00::7]:22", SshTarget("fd00::7", None, 22)),
    ],
)
def test_engines_that_ssh_reaches(tmp_path: Path, url: str, target: SshTarget) -> None:
    add_context(tmp_path / ".docker", "far", url)
    for context, environ in (("far", {}), (None, {"DOCKER_HOST": url})):
        found = resolve_engine(context, environ, tmp_path)
        assert (found.ssh, found.machine, found.url) == (target, target.host, url)


@pytest.mark.parametrize(
    "url",
    [
        "ssh://-oProxyCommand=touch",
        "ssh://-l@host",
        "ssh://me:secret@host",
        "ssh://host:0",
        "ssh://host:65536",
        "ssh://host/sock?x=1",
        "ssh://ho st",
        "ssh://host/a b",
        "ssh://host/a:b",
        "ssh://",
    ],
)
def test_what_is_no_ssh_address(tmp_path: Path, url: str) -> None:
    """No word that ssh would take for an option; no password, which would be in a list."""
    with pytest.raises(ConfigError, match="ssh address of the engine") as caught:
        resolve_engine(None, {"DOCKER_HOST": url}, tmp_path)
    assert "secret" not in str(caught.value)
    assert "ssh://[USER@]HOST" in str(caught.value.hint)


def certificates(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.pem").touch()
    return folder


def test_certificates_of_the_environment(tmp_path: Path) -> None:
    place = certificates(tmp_path / "minikube", "ca", "cert", "key")
    environ = {
        "DOCKER_HOST": "tcp://127.0.0.1:55002",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(place),
    }
    files = TlsFiles(place / "ca.pem", place / "cert.pem", place / "key.pem")
    assert resolve_engine(None, environ, tmp_path).tls == files
    assert resolve_engine(None, {**environ, "DOCKER_TLS_VERIFY": ""}, tmp_path).tls is None
    # Without a path they are beside config.json; a socket needs none.
    del environ["DOCKER_CERT_PATH"]
    with pytest.raises(ConfigError, match=r"has no ca\.pem"):
        resolve_engine(None, environ, tmp_path)
    certificates(tmp_path / ".docker", "ca")
    found = resolve_engine(None, environ, tmp_path).tls
    assert found == TlsFiles(tmp_path / ".docker" / "ca.pem")
    assert resolve_engine(None, {**environ, "DOCKER_HOST": SOCKET}, tmp_path).tls is None


@pytest.mark.parametrize(
    ("url", "context", "expected"),
    [
        ("unix:///Users/ann/.orbstack/run/docker.sock", None, True),
        ("unix:///elsewhere.sock", "orbstack", True),
        ("unix:///Users/ann/.colima/default/docker.sock", "colima", False),
        ("tcp://box:2376", "orbstack", False),
    ],
)
def test_orbstack_is_known_by_context_and_socket(
    url: str, context: str | None, expected: bool
) -> None:
    assert EngineAddress(url, "test", context).orbstack is expected


def test_orbstack_is_known_through_the_systems_socket(no_system_socket: Path) -> None:
    no_system_socket.symlink_to("/Users/ann/.orbstack/run/docker.sock")
    assert EngineAddress(f"unix://{no_system_socket}", "default socket").orbstack


def minikube(tmp_path: Path, url: str = "tcp://127.0.0.1:55002") -> dict[str, str]:
    """What `eval $(minikube docker-env)` sets."""
    return {
        "DOCKER_HOST": url,
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(certificates(tmp_path / "certs", "ca", "cert", "key")),
        "MINIKUBE_ACTIVE_DOCKERD": "minikube",
    }


def test_the_engine_inside_minikubes_container_is_refused_with_the_way_to_the_outer(
    tmp_path: Path,
) -> None:
    environ = minikube(tmp_path)
    with pytest.raises(EngineRefused, match="inside minikube") as caught:
        resolve_engine(None, environ, tmp_path)
    assert "`eval $(minikube docker-env -u)`" in str(caught.value.hint)
    assert "`macnet setup --also kubernetes`" in str(caught.value.hint)
    # Its variables may be left over while another engine is named.
    assert resolve_engine(None, {**environ, "DOCKER_HOST": SOCKET}, tmp_path).url == SOCKET
    add_context(tmp_path / ".docker", "other", SOCKET)
    assert resolve_engine("other", environ, tmp_path).url == SOCKET


def test_minikube_in_a_vm_of_its_own_is_reached_at_its_address(tmp_path: Path) -> None:
    environ = minikube(tmp_path, "tcp://192.168.64.7:2376")
    assert resolve_engine(None, environ, tmp_path).machine == "192.168.64.7"


def test_certificates_of_a_context(tmp_path: Path) -> None:
    folder = tmp_path / ".docker"
    add_context(folder, "tls", "tcp://127.0.0.1:2376")
    digest = hashlib.sha256(b"tls").hexdigest()
    place = certificates(folder / "contexts" / "tls" / digest / "docker", "ca", "cert", "key")
    assert resolve_engine("tls", {}, tmp_path).tls == TlsFiles(
        place / "ca.pem", place / "cert.pem", place / "key.pem"
    )
    text = meta_path(folder, "tls").read_text().replace("false", "true")
    meta_path(folder, "tls").write_text(text)
    with pytest.raises(ConfigError, match="does not check the engine's certificate"):
        resolve_engine("tls", {}, tmp_path)


@pytest.mark.parametrize("url", ["tcp://10.0.0.5:2376", "https://10.0.0.5:2376"])
def test_engines_on_another_machine(tmp_path: Path, url: str) -> None:
    found = resolve_engine(None, {"DOCKER_HOST": url}, tmp_path)
    assert (found.machine, found.ssh, found.url) == ("10.0.0.5", None, url)


@pytest.mark.parametrize(
    "url", ["docker.sock", "/var/run/docker.sock", "ftp://localhost", "npipe:////./pipe/x"]
)
def test_what_is_no_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="is not an engine address"):
        resolve_engine(None, {"DOCKER_HOST": url}, tmp_path)


def test_a_socket_without_its_kind_is_told_with_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_engine(None, {"DOCKER_HOST": "/Users/ann/.colima/default/docker.sock"}, tmp_path)
    assert str(caught.value.hint).endswith(" unix:///Users/ann/.colima/default/docker.sock")


@pytest.mark.parametrize(
    "part",
    [
        ".docker/run/docker.sock",
        ".orbstack/run/docker.sock",
        ".colima/default/docker.sock",
        ".config/colima/default/docker.sock",
        ".rd/docker.sock",
        ".lima/docker-rootful/sock/docker.sock",
    ],
)
def test_engines_are_found_where_they_make_their_sockets(tmp_path: Path, part: str) -> None:
    url = make_socket(tmp_path / part)
    assert resolve_engine(None, {}, tmp_path).url == url


def test_limas_usable_socket_goes_before_its_rootless_one(tmp_path: Path) -> None:
    make_socket(tmp_path / ".lima/docker/sock/docker.sock")
    url = make_socket(tmp_path / ".lima/docker-rootful/sock/docker.sock")
    assert resolve_engine(None, {}, tmp_path).url == url


def test_a_byte_order_mark_is_no_damage(tmp_path: Path) -> None:
    """As editors of Windows write it."""
    folder = tmp_path / ".docker"
    add_context(folder, "one", SOCKET)
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + b'{"currentContext": "one"}')
    assert resolve_engine(None, {}, tmp_path).context == "one"


@pytest.mark.parametrize("url", ["tcp://[::1", "http://[bad]/", "tcp://[v.x]:1"])
def test_an_address_that_cannot_be_split_is_an_error_of_ours(tmp_path: Path, url: str) -> None:
    with pytest.raises(MacnetError):
        resolve_engine(None, {"DOCKER_HOST": url}, tmp_path)


def test_the_list_is_sorted_and_begins_with_default(tmp_path: Path) -> None:
    for name in ("zeta", "alpha", "with space"):
        add_context(tmp_path / ".docker", name, SOCKET)
    assert list_contexts({}, tmp_path) == ("default", "alpha", "with space", "zeta")
