"""What remains when the engine, the disk or the user's own words refuse: what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.proxy import EngineProxy
from tests.e2e.steps import Mac
from tests.e2e.world import look
from tests.lab import Engine, Lab
from tests.lab.images import SAMPLE_IMAGE
from tests.lab.process import run


@pytest.fixture(scope="module")
def userns(lab: Lab) -> Iterator[Engine]:
    """A real engine that gives containers a user namespace, in which root is nobody outside."""
    yield lab.add_engine("userns", "userns")
    lab.remove_engine("userns")


def test_an_engine_that_remaps_users_carries_a_tunnel(clean: Mac, userns: Engine) -> None:
    env = {"DOCKER_HOST": userns.docker_host}
    assert "name=userns" in userns.docker("info", "--format", "{{.SecurityOptions}}")
    clean.macnet("setup", env=env)
    assert clean.pings("172.17.0.1")
    assert clean.macnet("check", env=env).returncode == 0
    clean.macnet("down", "--purge", env=env)
    assert userns.docker("ps", "-aq") == ""


@pytest.fixture
def refusing(clean: Mac, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An engine whose policy forbids containers in its own namespaces, as the relay is."""
    # A socket's path has at most 107 bytes, which a test's own folder may exceed.
    path = clean.lab.paths.home / "refusing.sock"
    refusal = (r"^POST \S*/containers/create\?name=macnet-relay", 403, "host mode is forbidden")
    with EngineProxy(path, clean.lab.engine.socket, refuse=refusal) as proxy:
        yield {"DOCKER_HOST": proxy.url}


def test_an_engine_that_forbids_the_relay_refuses_cleanly(
    clean: Mac, refusing: dict[str, str]
) -> None:
    engine = clean.lab.engine
    containers, networks = engine.docker("ps", "-aq"), engine.docker("network", "ls", "-q")
    said = clean.fails(3, "setup", env=refusing)
    assert "starting the relay: the engine refused: host mode is forbidden" in said
    assert "rootless" in said
    assert "Enhanced Container Isolation" in said
    assert engine.docker("ps", "-aq") == containers
    assert engine.docker("network", "ls", "-q") == networks
    assert clean.clients() == []
    clean.macnet("down", "--purge", env=refusing)
    assert "macnet-helper" not in engine.docker("images")
    assert clean.files() == {}


def test_another_engine_serves_after_one_that_refused(clean: Mac, refusing: dict[str, str]) -> None:
    clean.fails(3, "setup", env=refusing)
    clean.macnet("setup")
    assert clean.http(clean.lab.sample.address("app-web"))


@pytest.mark.parametrize("image", [SAMPLE_IMAGE, "no/such:image"])
def test_options_that_failed_are_not_remembered(clean: Mac, image: str) -> None:
    clean.fails(3, "setup", "--base-image", image)
    clean.macnet("setup")
    assert clean.http(clean.lab.sample.address("app-web"))


def test_an_image_that_fails_leaves_the_tunnel_as_it_is(up: Mac) -> None:
    before, pid = up.containers(), up.client_pid()
    said = up.fails(3, "setup", "--base-image", SAMPLE_IMAGE)
    assert "building the helper image" in said
    assert up.containers() == before
    assert up.client_pid() == pid
    assert up.http(up.lab.sample.address("app-web"))
    assert "Nothing had to change" in up.macnet("setup").stdout


@pytest.fixture
def small_disk(clean: Mac) -> Iterator[Path]:
    """A disk of 256 kB with the files of a tunnel on it."""
    home = clean.lab.paths.home / "small"
    home.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "macnet", home])
    try:
        clean.macnet("setup", env={"MACNET_HOME": str(home)})
        yield home
        clean.macnet("down", "--purge", env={"MACNET_HOME": str(home)})
    finally:
        run(["umount", "--lazy", home])
        home.rmdir()


def kept(home: Path) -> dict[str, bytes]:
    """The files that may not suffer: keys, profile and record."""
    names = ("pki.json", "macnet.ovpn", "tunnel.json")
    found = {path.name: path.read_bytes() for path in home.rglob("*") if path.name in names}
    assert sorted(found) == sorted(names)
    return found


@pytest.mark.parametrize("words", [("regenerate", "--keys"), ("setup", "--tun-mtu", "9000")])
def test_a_disk_that_fills_up_costs_no_tunnel(
    clean: Mac, small_disk: Path, words: tuple[str, ...]
) -> None:
    env = {"MACNET_HOME": str(small_disk)}
    before, containers = kept(small_disk), clean.containers()
    ballast = small_disk / "ballast"
    run(["sh", "-c", f"cat /dev/zero >{ballast}"], check=False)
    said = clean.fails(4, *words, env=env)
    assert "No space left on device" in said
    assert "free some space" in said
    assert kept(small_disk) == before
    assert clean.containers() == containers
    assert clean.http(clean.lab.sample.address("app-web"))
    assert list(small_disk.rglob("*.tmp")) == []
    ballast.unlink()
    clean.macnet(*words, env=env)
    assert clean.http(clean.lab.sample.address("app-web"))


def test_a_disk_that_turns_read_only_costs_no_tunnel(clean: Mac, small_disk: Path) -> None:
    env = {"MACNET_HOME": str(small_disk)}
    before, containers = kept(small_disk), clean.containers()
    # On top of itself, as openvpn holds its log open.
    run(["mount", "--bind", small_disk, small_disk])
    try:
        run(["mount", "-o", "remount,bind,ro", small_disk])
        for words in (["regenerate", "--keys"], ["setup"], ["down", "--purge"]):
            assert "read-only" in clean.fails(4, *words, env=env)
        # What only looks still works.
        for command in ("status", "networks", "check", "profile"):
            clean.macnet(command, env=env)
        assert kept(small_disk) == before
        assert clean.containers() == containers
        assert clean.http(clean.lab.sample.address("app-web"))
    finally:
        run(["umount", small_disk])


def test_a_stopped_engine(up: Mac) -> None:
    files = up.files()
    up.lab.engine.stop()
    try:
        for words in (["setup"], ["regenerate"], ["networks"]):
            said = up.fails(3, *words)
            assert "no Docker engine answers" in said
            assert "start the engine" in said
        assert up.macnet("status", check=False).returncode == 3
        report = up.json("check", check=False)["check"]
        failed = [one["id"] for one in report["results"] if one["outcome"] == "fail"]
        assert failed == ["engine.reachable"]
    finally:
        up.lab.engine.start()
        up.lab.sample.wait_ready()
    after = up.files()
    assert {name: after[name] for name in files if "openvpn" not in name and name in after} == {
        name: files[name] for name in files if "openvpn" not in name
    }


def test_an_engine_on_another_machine(mac: Mac) -> None:
    before = look(mac)
    said = mac.fails(3, "setup", env={"DOCKER_HOST": "ssh://me@build.example"})
    assert "build.example does not answer ssh" in said
    said = mac.fails(3, "setup", env={"DOCKER_HOST": "tcp://192.0.2.7:2375"})
    assert "is on another machine" in said
    assert "DOCKER_HOST=ssh://USER@192.0.2.7" in said
    assert look(mac) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"currentContext": "gone"}'])
def test_dockers_own_configuration_is_damaged(mac: Mac, tmp_path: Path, text: str) -> None:
    """DOCKER_HOST would win over it, so it is empty here."""
    (tmp_path / "config.json").write_text(text)
    before = look(mac)
    env = {"DOCKER_HOST": "", "DOCKER_CONFIG": str(tmp_path)}
    said = mac.fails(4, "setup", env=env)
    assert str(tmp_path / "config.json") in said
    assert look(mac) == before


def test_a_name_that_is_nearly_right(up: Mac) -> None:
    assert "did you mean app-web" in up.fails(4, "check", "app-wep")
    assert "did you mean redis?" in up.fails(4, "check", "redi:6379")
    # As in DNS, capitals make no other name.
    assert "web" in up.macnet("check", "-v", "WEB").stdout


@pytest.mark.parametrize(
    ("code", "words"),
    [
        # Two networks cannot be at the same addresses.
        (4, ["--remap", "172.17.0.0/16=10.77.0.0/16", "--remap", "172.18.0.0/16=10.77.0.0/16"]),
        # A network cannot be seen where another one of this engine is.
        (5, ["--remap", "172.17.0.0/16=172.18.0.0/16"]),
        # The tunnel's own addresses cannot be those of a network behind it.
        (5, ["--tunnel-subnet", "172.82.0.0/24"]),
        (5, ["--tunnel-subnet", "10.77.0.0/24", "--remap", "172.82.0.0/24=10.77.0.0/24"]),
    ],
)
def test_wishes_that_contradict_each_other(clean: Mac, code: int, words: list[str]) -> None:
    before = look(clean)
    clean.fails(code, "setup", *words)
    assert look(clean) == before
    clean.macnet("setup")
