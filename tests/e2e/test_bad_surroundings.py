"""Whatever is wrong around macnet is said like bad input: engine, files, client, image.

And nothing has changed: not on the engine, not on the Mac side, not in macnet's files.
"""

from __future__ import annotations

import os
import shlex
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.proxy import EngineProxy
from tests.e2e.steps import PROGRAM, Mac
from tests.e2e.world import look, nothing_changes
from tests.lab.images import SAMPLE_IMAGE

NOBODY = 65534


ENGINE_COMMANDS = ["setup", "networks", "check"]


@contextmanager
def dead_socket(folder: Path, answer: bytes | None) -> Iterator[Path]:
    """A socket whose owner has ended, or one that is no engine and says ``answer``."""
    path = folder / "dead.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))

    def serve() -> None:
        try:
            while True:
                client, _ = listener.accept()
                with client:
                    client.recv(1 << 16)
                    client.sendall(answer or b"")
        except OSError:
            pass

    if answer is not None:
        listener.listen()
        threading.Thread(target=serve, daemon=True).start()
    else:
        listener.close()
    try:
        yield path
    finally:
        if answer is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        path.unlink()


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


@pytest.mark.parametrize("command", ENGINE_COMMANDS)
@pytest.mark.parametrize(
    "answer", [None, b"", b"SSH-2.0-OpenSSH\r\n", HELLO], ids=["ended", "silent", "ssh", "web"]
)
def test_a_socket_without_an_engine(up: Mac, command: str, answer: bytes | None) -> None:
    """Where there is a tunnel: that there is none would be one more failure."""
    with dead_socket(up.lab.paths.home, answer) as path, nothing_changes(up):
        env = {"DOCKER_HOST": f"unix://{path}"}
        if command == "check":
            done = up.macnet(command, env=env, check=False)
            assert done.returncode == 9
            assert "Traceback" not in done.stderr
            assert done.stdout.count("FAIL") == 1
        else:
            assert str(path) in up.fails(3, command, env=env)


@pytest.mark.parametrize("url", ["unix:///nonexistent.sock", "tcp://192.0.2.7:2375"])
def test_no_engine_at_all(mac: Mac, url: str) -> None:
    with nothing_changes(mac):
        for command in ("setup", "networks"):
            mac.fails(3, command, env={"DOCKER_HOST": url})
        assert mac.macnet("status", env={"DOCKER_HOST": url}, check=False).returncode == 3


def test_an_engine_address_of_an_unknown_kind(mac: Mac) -> None:
    with nothing_changes(mac):
        mac.fails(4, "setup", env={"DOCKER_HOST": "gopher://x"})


#: Words that take root's right to open everybody's files, as any other user lacks it.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def fails_in(mac: Mac, code: int, before: list[str], env: Mapping[str, str] | None = None) -> str:
    """Run setup with words before it, which must fail like `Mac.fails`."""
    done = mac.lab.run([*before, PROGRAM, "setup"], check=False, env=mac.environment(env))
    assert done.returncode == code, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    assert "error: " in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_socket_that_this_user_may_not_use(mac: Mac) -> None:
    path = mac.lab.paths.home / "others.sock"
    with EngineProxy(path, mac.lab.engine.socket) as proxy, nothing_changes(mac):
        os.chown(path, NOBODY, NOBODY)
        path.chmod(0o600)
        said = fails_in(mac, 3, UNPRIVILEGED, {"DOCKER_HOST": proxy.url})
    assert "may not use the engine's socket" in said


def test_files_that_this_user_may_not_read(up: Mac) -> None:
    os.chown(up.root / "tunnel.json", NOBODY, NOBODY)  # its mode is 0600
    try:
        with nothing_changes(up):
            said = fails_in(up, 4, UNPRIVILEGED)
    finally:
        os.chown(up.root / "tunnel.json", 0, 0)
    assert f"cannot read {up.root / 'tunnel.json'}" in said
    assert "chown" in said


def mounted(mac: Mac, options: str, then: str = "true") -> list[str]:
    """Words that put a file system of its own at MACNET_HOME, for the command alone."""
    home = shlex.quote(str(mac.lab.paths.mac_home))
    script = f'mount -t tmpfs -o {options} macnet {home} && {{ {then} ; }} && exec "$@"'
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]


def test_a_read_only_state_directory(mac: Mac) -> None:
    mac.forget()
    with nothing_changes(mac):
        assert "read-only" in fails_in(mac, 4, mounted(mac, "ro"))


def test_a_full_disk(mac: Mac) -> None:
    mac.forget()
    fill = f"! cat /dev/zero > {shlex.quote(str(mac.lab.paths.mac_home))}/full 2> /dev/null"
    with nothing_changes(mac):
        said = fails_in(mac, 4, mounted(mac, "size=64k", fill))
    assert "preparing keys" in said
    assert "free some space" in said


def test_a_record_of_a_newer_macnet(up: Mac) -> None:
    text = '{"version": 99}'
    record = (up.root / "tunnel.json").read_text()
    (up.root / "tunnel.json").write_text(text)
    try:
        with nothing_changes(up):
            for command in ("setup", "regenerate", "networks"):
                assert "newer macnet" in up.fails(4, command)
        assert (up.root / "tunnel.json").read_text() == text
    finally:
        (up.root / "tunnel.json").write_text(record)


def test_a_directory_in_the_place_of_a_file(mac: Mac) -> None:
    mac.forget()
    (mac.root / "tunnel.json").mkdir(parents=True)
    try:
        with nothing_changes(mac):
            assert "tunnel.json" in mac.fails(4, "setup")
    finally:
        (mac.root / "tunnel.json").rmdir()


def test_an_image_that_does_not_build(mac: Mac) -> None:
    mac.macnet("down", "--purge")
    images = look(mac).images
    said = mac.fails(3, "setup", "--base-image", SAMPLE_IMAGE)
    assert "building the helper image: " in said
    assert "  | " in said
    assert "apt-get" in said
    assert mac.macnet_names() == []
    mac.macnet("down", "--purge")
    assert look(mac).images == images
    assert mac.files() == {}


def test_an_image_that_is_not_there(mac: Mac) -> None:
    mac.macnet("down", "--purge")
    assert "no/such:image" in mac.fails(3, "setup", "--base-image", "no/such:image")
    assert mac.macnet_names() == []
    mac.macnet("down", "--purge")


@pytest.mark.parametrize("name", ["macnet-server", "macnet-relay"])
def test_a_container_of_our_name_that_is_not_ours(mac: Mac, name: str) -> None:
    mac.forget()
    mac.lab.docker("create", "--name", name, SAMPLE_IMAGE)
    try:
        with nothing_changes(mac):
            for words in (["setup"], ["setup", "--dry-run"]):
                said = mac.fails(5, *words)
                assert name in said
                assert "docker rename" in said
            mac.macnet("down", "--purge", check=False)
    finally:
        mac.lab.docker("rm", "-f", name)


REFUSALS = [
    # What engines say that remap users, run rootless, or are locked down by an administrator.
    (r"POST .*/create\?name=macnet-relay", 400, "cannot share the host's network namespace when"),
    (r"POST .*/create\?name=macnet-relay", 403, "authorization denied by plugin: pid=host"),
    (r"POST .*/create\?name=macnet-server", 403, "capability NET_ADMIN is not allowed"),
    (r"POST .*/containers/\w+/start", 500, "operation not permitted: unknown"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_an_engine_that_refuses_what_the_helper_needs(
    mac: Mac, refusal: tuple[str, int, str]
) -> None:
    mac.macnet("down")
    path = mac.lab.paths.home / "refusing.sock"
    with EngineProxy(path, mac.lab.engine.socket, refuse=refusal) as proxy:
        said = mac.fails(3, "setup", env={"DOCKER_HOST": proxy.url})
    assert "starting the " in said
    assert refusal[2] in said
    assert "rootless" in said
    assert "macnet-relay" not in mac.macnet_names()
    mac.macnet("down")
    assert mac.macnet_names() == []
