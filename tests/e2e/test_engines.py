"""Two engines at once, with the same subnets on both: every container of both is reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.steps import Mac
from tests.lab import Lab

CONTEXT = "second"


@pytest.fixture(scope="module")
def second(lab: Lab) -> Iterator[str]:
    """Another engine of an older version beside the first, named by a Docker context."""
    kind = "host" if lab.engine.kind != "host" else "forky"
    engine = lab.add_engine(CONTEXT, kind, sample=True)
    lab.run(["docker", "context", "create", CONTEXT, "--docker", f"host={engine.docker_host}"])
    yield CONTEXT
    Mac(lab).macnet("down", "--all", "--purge")
    lab.run(["docker", "context", "rm", "-f", CONTEXT])
    lab.remove_engine(CONTEXT)


def containers(chart: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (network["name"], container["name"]): container
        for network in chart["networks"]
        for container in network["containers"]
    }


def test_every_container_of_both_is_reached(up: Mac, second: str) -> None:
    done = up.json("setup", "--context", second, "--remap", "auto")["setup"]
    real = {s["cidr"] for item in done["networks"] for s in item["subnets"]}
    assert {"172.17.0.0/16", "172.82.0.0/24"} <= real
    charts = [
        containers(up.json("map")["map"]),
        containers(up.json("map", "--context", second)["map"]),
    ]
    assert charts[0].keys() == charts[1].keys()
    assert ("app", "redis") in charts[0]
    kept = json.loads((up.root.with_name(second) / "tunnel.json").read_text())["remaps"]
    assert any(pair.startswith("172.17.0.0/16=") for pair in kept)
    assert not json.loads((up.root / "tunnel.json").read_text())["remaps"]
    assert not up.config_file.exists()
    addresses = [
        [address for container in chart.values() for address in container["addresses"]]
        for chart in charts
    ]
    assert set(addresses[0]).isdisjoint(addresses[1])
    for address in (*addresses[0], *addresses[1]):
        assert up.pings(address), address
    for chart in charts:
        redis = chart["app", "redis"]["addresses"][0]
        assert up.lab.run(["redis-cli", "-h", redis, "ping"]).stdout.strip() == "PONG"


def test_they_are_two_engines(up: Mac, second: str) -> None:
    """The same question at both addresses gets two answers."""
    up.macnet("setup", "--context", second, "--remap", "auto")
    charts = [up.json("map")["map"], up.json("map", "--context", second)["map"]]
    for number, chart in enumerate(charts):
        redis = containers(chart)["app", "redis"]["addresses"][0]
        up.lab.run(["redis-cli", "-h", redis, "set", "engine", str(number)])
    for number, chart in enumerate(charts):
        redis = containers(chart)["app", "redis"]["addresses"][0]
        got = up.lab.run(["redis-cli", "-h", redis, "get", "engine"]).stdout.strip()
        assert got == str(number)


def test_status_and_down_of_all(up: Mac, second: str) -> None:
    up.macnet("setup", "--context", second, "--remap", "auto")
    found = up.json("status", "--all")["status_all"]
    assert {(one["name"], one["up"]) for one in found} == {("macnet", True), (second, True)}
    assert len({one["engine"]["version"] for one in found}) == 2
    assert len({one["port"] for one in found}) == 2
    # Also where the environment names one of them.
    up.macnet("down", "--all", env={"MACNET_CONTEXT": second})
    for name in ("default", second):
        engine = up.lab.members[name].engine
        listed = engine.docker("ps", "-aq", "--filter", "label=io.macnet.role")
        assert listed.split() == []


def test_without_a_remap_it_says_so_and_the_first_goes_on(up: Mac, second: str) -> None:
    up.macnet("down", "--context", second, "--purge")
    done = up.macnet("setup", "--context", second)
    assert "172.82.0.0/24) is not routed: it overlaps" in done.stderr
    assert "--remap auto" in done.stderr
    assert up.http(up.lab.sample.address("app-web"))
    assert up.macnet("setup", "--context", second, "--strict", check=False).returncode == 5


def test_another_engine_under_the_same_name_is_told(up: Mac, second: str) -> None:
    """By DOCKER_HOST alone there is one tunnel: what stays on the engine before must be said."""
    up.macnet("down", "--context", second, "--purge")
    other = {"DOCKER_HOST": up.lab.members[second].engine.docker_host}
    done = up.macnet("setup", "--client", "none", env=other)
    assert "the last setup was on another engine, where its helper stays" in done.stderr
    assert up.macnet_names() == ["macnet-relay", "macnet-server"]
    up.macnet("down", env=other)
    up.macnet("down", "--purge")
    assert up.macnet_names() == []
