"""What Docker's own files and variables may hold on a Mac, leftovers above all."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.tls import tls_engine
from tests.e2e.world import running

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
#: Nothing listens there.
PROXY = "http://127.0.0.1:9"


@contextmanager
def docker_config(mac: Mac, text: str) -> Iterator[None]:
    """~/.docker/config.json while the block runs."""
    folder = mac.lab.paths.mac_user / ".docker"
    before = folder.exists()
    folder.mkdir(exist_ok=True)
    file = folder / "config.json"
    try:
        file.write_text(text)
        yield
    finally:
        file.unlink()
        if not before:
            folder.rmdir()


@contextmanager
def failing_helper(mac: Mac, name: str) -> Iterator[Path]:
    """A credential helper that is there and fails; the file that tells whether it was called."""
    called = mac.lab.paths.home / f"{name}-called"
    program = mac.lab.paths.bin / f"docker-credential-{name}"
    program.write_text(
        f"#!/bin/sh\ntouch {shlex.quote(str(called))}\necho connection refused\nexit 1\n"
    )
    program.chmod(0o755)
    try:
        yield called
    finally:
        program.unlink()
        called.unlink(missing_ok=True)


STORES: dict[str, Mapping[str, Any]] = {
    "a store that is gone": {"auths": {}, "credsStore": "desktop"},
    "a store that fails": {"credsStore": "failing"},
    "helpers that are gone": {"credHelpers": {REGISTRY: "ecr-login", "eu.gcr.io": "gcloud"}},
    "a helper that fails": {"credHelpers": {REGISTRY: "failing"}},
}


@pytest.mark.parametrize("what", STORES)
def test_no_credential_store_is_asked(clean: Mac, what: str) -> None:
    """The base image is public: setup builds the image without any of the user's passwords."""
    with docker_config(clean, json.dumps(STORES[what])), failing_helper(clean, "failing") as called:
        clean.macnet("setup")
        assert not called.exists()
    assert clean.http(clean.lab.sample.address("app-web"))


def test_proxies_of_the_configuration_stay_out_of_the_helper(clean: Mac) -> None:
    proxies = {"proxies": {"default": {"httpProxy": PROXY, "httpsProxy": PROXY}}}
    with docker_config(clean, json.dumps(proxies)):
        clean.macnet("setup")
        for name in ("macnet-server", "macnet-relay"):
            variables = clean.lab.docker("inspect", "-f", "{{.Config.Env}}", name)
            assert PROXY not in variables
    assert "Nothing had to change." in clean.macnet("setup").stdout
    assert clean.http(clean.lab.sample.address("app-web"))


@pytest.mark.parametrize("text", ["", "\n"], ids=["empty", "a newline"])
def test_an_empty_configuration_is_none(up: Mac, text: str) -> None:
    """As for the docker command: the engine is found by its socket."""
    link = up.lab.paths.mac_user / ".docker/run/docker.sock"
    link.parent.mkdir(parents=True)
    link.symlink_to(up.lab.engine.socket)
    # This machine's own engine must not be found first.
    hide = 'mount -t tmpfs macnet-lab /run && exec "$@"'
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh"]
    try:
        with docker_config(up, text):
            done = up.lab.run(
                [*words, PROGRAM, "networks"],
                env=up.environment({"DOCKER_HOST": ""}),
                check=False,
            )
    finally:
        link.unlink()
        link.parent.rmdir()
    assert done.returncode == 0, done.stderr
    assert "app-web" in done.stdout


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_an_engine_on_loopback_goes_through_no_proxy(up: Mac, variable: str) -> None:
    port = 23750
    engine = f"UNIX-CONNECT:{up.lab.engine.socket}"
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
    with running(up, ["socat", listen, engine]):
        wait_until(lambda: up.tcp("127.0.0.1", port) == "open", 20, "the engine's port")
        env = {"DOCKER_HOST": f"tcp://127.0.0.1:{port}", variable: PROXY}
        done = up.macnet("networks", env=env, check=False)
        assert done.returncode == 0, done.stderr
        assert "app-web" in done.stdout


def test_an_engine_that_wants_tls_named_by_variables(up: Mac, tmp_path: Path) -> None:
    """As an engine behind TLS on this machine wants them."""
    with tls_engine(up, tmp_path) as engine:
        env = {"DOCKER_HOST": engine.url, "DOCKER_TLS_VERIFY": "1"}
        env["DOCKER_CERT_PATH"] = str(engine.certificates)
        done = up.macnet("networks", env=env, check=False)
        assert done.returncode == 0, done.stderr
        assert "app-web" in done.stdout


def test_an_engine_that_wants_tls_named_by_a_context(up: Mac, tmp_path: Path) -> None:
    with tls_engine(up, tmp_path) as engine:
        files = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        material = [f"{word}={engine.certificates / name}" for word, name in files.items()]
        told = ",".join([f"host={engine.url}", *material])
        up.lab.run(["docker", "context", "create", "secure", "--docker", told])
        try:
            done = up.macnet("networks", "--context", "secure", check=False)
            assert done.returncode == 0, done.stderr
            assert "app-web" in done.stdout
        finally:
            up.lab.run(["docker", "context", "rm", "-f", "secure"])


def test_an_engine_that_wants_tls_is_not_called_absent(up: Mac, tmp_path: Path) -> None:
    with tls_engine(up, tmp_path) as engine:
        said = up.fails(3, "networks", env={"DOCKER_HOST": engine.url})
        assert "TLS" in said
        assert "start the engine" not in said
