"""Docker networks that are legal and rare, and containers without a network of their own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.world import assert_traffic, network
from tests.lab import BASE_IMAGE, Engine, Lab

#: Setup asks a silent bridge for 20 s; one that asks none is done long before.
QUICK_S = 15.0

WIDE = {
    # What engines tell of networks whose addresses somebody else gives out.
    "everything, never routed": ("--config-only", "--subnet", "0.0.0.0/0"),
    "192.168/16, never routed": ("--config-only", "--subnet", "192.168.0.0/16"),
    "192.168/16": ("--subnet", "192.168.0.0/16"),
    "10/8": ("--subnet", "10.0.0.0/8", "--gateway", "10.0.0.1"),
}


@contextmanager
def bare_network(lab: Lab, name: str, *options: str) -> Iterator[None]:
    """A network without a container while the block runs."""
    lab.docker("network", "create", *options, name)
    try:
        yield
    finally:
        lab.docker("network", "rm", name)


def listed(mac: Mac, name: str) -> dict[str, Any]:
    """What macnet says of a network."""
    rows = mac.json("networks")["networks"]
    [row] = [row for row in rows if row["network"]["name"] == name]
    found: dict[str, Any] = row
    return found


@pytest.mark.parametrize("what", WIDE)
def test_a_wide_network_stops_nothing(clean: Mac, what: str) -> None:
    with bare_network(clean.lab, "wide", *WIDE[what]):
        clean.macnet("setup")
        assert_traffic(clean)
        row = listed(clean, "wide")
        assert bool(row["subnets"]) is not what.endswith("never routed")
        assert row["subnets"] or row["reason"]
        assert clean.macnet("check").returncode == 0
    clean.macnet("regenerate")
    assert_traffic(clean)


def test_a_wide_network_that_comes_later_stops_no_watch(up: Mac, tmp_path: Path) -> None:
    file = tmp_path / "said"
    with file.open("w") as out:
        process = up.lab.popen([PROGRAM, "watch"], env=up.environment(), stdout=out, stderr=out)
    try:
        wait_until(lambda: "following the engine" in file.read_text(), 30, "watch")
        with (
            bare_network(up.lab, "wide", *WIDE["everything, never routed"]),
            network(up.lab, "later", "--subnet", "172.83.41.0/24") as address,
        ):
            wait_until(lambda: up.pings(address, wait_s=0.3), 30, "the network after it")
            up.macnet("regenerate")
            up.macnet("setup")
            assert_traffic(up)
        assert "free subnet" not in file.read_text()
    finally:
        process.kill()
        process.wait(10)


BRIDGES = {
    "--ip-range": ("--subnet", "172.28.0.0/16", "--ip-range", "172.28.5.0/24"),
    "a /31": ("--subnet", "10.200.1.0/31"),
}


@pytest.mark.parametrize("what", BRIDGES)
def test_nothing_is_judged_by_a_bridges_address_that_nobody_knows(clean: Mac, what: str) -> None:
    """With no container on it the engine does not tell the address, and setup does not guess."""
    with bare_network(clean.lab, "odd", *BRIDGES[what]):
        began = time.monotonic()
        done = clean.macnet("setup", "--network", "odd")
        assert time.monotonic() - began < QUICK_S
        assert "does not answer" not in done.stderr
        assert clean.macnet("check").returncode == 0


def test_the_container_on_such_a_network_is_reached(clean: Mac) -> None:
    with network(clean.lab, "odd", *BRIDGES["--ip-range"]) as address:
        began = time.monotonic()
        done = clean.macnet("setup")
        assert time.monotonic() - began < QUICK_S
        assert "does not answer" not in done.stderr
        assert clean.pings(address)
        report = clean.json("check")["check"]["results"]
        assert [one for one in report if one["outcome"] == "fail"] == []


@pytest.mark.parametrize("subnet", ["172.30.0.0/24", "192.168.77.0/31"])
def test_a_bridge_without_an_address_is_not_routed(clean: Mac, subnet: str) -> None:
    inhibited = ("-o", "com.docker.network.bridge.inhibit_ipv4=true", "--subnet", subnet)
    with bare_network(clean.lab, "quiet", *inhibited):
        began = time.monotonic()
        clean.macnet("setup")
        assert time.monotonic() - began < QUICK_S
        row = listed(clean, "quiet")
        assert row["subnets"] == []
        assert "its bridge has no address on the engine" in row["reason"]
        assert clean.macnet("check").returncode == 0


@pytest.fixture(scope="module")
def sharers(lab: Lab) -> Iterator[None]:
    """Containers that use another one's network, the engine's own, or none."""
    modes = {"side": "container:app-web", "hosty": "host", "lonely": "none"}
    for name, mode in modes.items():
        lab.docker(
            "run", "-d", "--init", "--name", name, "--network", mode, BASE_IMAGE, "sleep", "900"
        )
    yield
    lab.docker("rm", "-f", *modes)


@pytest.mark.usefixtures("sharers")
def test_a_container_in_anothers_network_is_checked_there(up: Mac) -> None:
    done = up.macnet("check", "side:80")
    assert "app-web" in done.stdout
    assert up.lab.sample.address("app-web") in done.stdout
    assert "docker network connect" not in done.stdout + done.stderr


@pytest.mark.usefixtures("sharers")
@pytest.mark.parametrize(
    ("name", "words"), [("hosty", "the engine's own addresses"), ("lonely", "no network")]
)
def test_a_container_without_a_network_of_its_own_is_explained(
    up: Mac, name: str, words: str
) -> None:
    done = up.macnet("check", name, check=False)
    said = done.stdout + done.stderr
    assert words in said
    # The engine would refuse to connect the first; the second may be connected.
    assert (f"docker network connect NETWORK {name}" in said) <= (name == "lonely")
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def nobridge(lab: Lab) -> Iterator[Engine]:
    """An engine without a default bridge, and on it a network whose name holds macnet's."""
    engine = lab.add_engine("nobridge", "nobridge")
    engine.docker("network", "create", "macnet_default")
    yield engine
    lab.remove_engine("nobridge")


def test_an_engine_without_a_default_bridge(clean: Mac, nobridge: Engine) -> None:
    env = {"DOCKER_HOST": nobridge.docker_host}
    clean.macnet("setup", env=env)
    found = json.loads(nobridge.docker("inspect", "macnet-server"))[0]
    assert list(found["NetworkSettings"]["Networks"]) == ["macnet"]
    assert clean.macnet("check", env=env).returncode == 0
    clean.macnet("down", "--purge", env=env)
    names = nobridge.docker("network", "ls", "--format", "{{.Name}}")
    assert re.search(r"^macnet_default$", names, re.MULTILINE)
    assert not re.search(r"^macnet$", names, re.MULTILINE)
