"""What answers, on a real engine: targets of every kind, a tunnel that is down, ways beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.steps import Mac
from tests.lab.process import run


@contextmanager
def containers(mac: Mac, **networks: str) -> Iterator[None]:
    """Containers of these names, each with its network mode."""
    image = mac.lab.docker("inspect", "-f", "{{.Config.Image}}", "redis").strip()
    try:
        for name, mode in networks.items():
            argv = ["--name", name, "--network", mode, image, "sleep", "600"]
            mac.lab.docker("run", "-d", *argv)
        yield
    finally:
        mac.lab.docker("rm", "-f", *networks)


@contextmanager
def neighbour(mac: Mac, interface: str, address: str, *held: str) -> Iterator[None]:
    """A host behind ``interface`` of the Mac, which has ``address`` there; it holds ``held``."""
    lab, netns = mac.lab, f"{mac.lab.name}-side"
    run(["ip", "netns", "add", netns])
    try:
        link = ["ip", "link", "add", interface, "netns", lab.paths.mac_netns]
        run([*link, "type", "veth", "peer", "name", "side1", "netns", netns])
        lab.run(["ip", "addr", "add", address, "dev", interface])
        lab.run(["ip", "link", "set", interface, "up"])
        for one in held:
            run(["ip", "-n", netns, "addr", "add", one, "dev", "side1"])
        run(["ip", "-n", netns, "link", "set", "side1", "up"])
        run(["ip", "-n", netns, "route", "add", "default", "dev", "side1"])
        yield
    finally:
        lab.run(["ip", "link", "del", interface], check=False)
        run(["ip", "netns", "del", netns])


def results(mac: Mac, *targets: str) -> list[dict[str, Any]]:
    """What `macnet check` finds."""
    found: list[dict[str, Any]] = mac.json("check", *targets, check=False)["check"]["results"]
    return found


def failure(mac: Mac, *targets: str) -> dict[str, Any]:
    """The one thing that fails."""
    [failed] = [one for one in results(mac, *targets) if one["outcome"] == "fail"]
    return failed


def test_containers_without_a_network_of_their_own(up: Mac) -> None:
    modes = {"side": "container:redis", "hosty": "host", "lonely": "none"}
    with containers(up, **modes):
        found = results(up, "side:6379")
        assert not [one for one in found if one["outcome"] == "fail"]
        [port] = [one["subject"] for one in found if one["id"] == "reach.tcp"]
        assert port == f"redis {up.lab.sample.address('redis')}:6379"
        for name in ("hosty", "lonely"):
            failed = failure(up, name)
            assert (failed["id"], failed["subject"]) == ("reach.targets", name)
            assert f"network mode {modes[name].split(':')[0]}" in failed["evidence"]


@pytest.mark.parametrize("target", ["app", "redis://redis:6379", "http://redis:6379/x"])
def test_networks_and_urls_are_targets(up: Mac, target: str) -> None:
    found = {one["subject"] for one in results(up, target) if one["id"] == "reach.tcp"}
    assert f"redis {up.lab.sample.address('redis')}:6379" in found
    assert up.macnet("check", target).returncode == 0


def test_an_address_of_nobody_is_refused_at_once(up: Mac) -> None:
    assert "9.9.9.9 is outside every network" in up.fails(4, "check", "9.9.9.9")


def test_a_stopped_relay_is_said_once_by_map_and_rightly_by_check(up: Mac) -> None:
    up.lab.docker("stop", "--time", "1", "macnet-relay")
    try:
        shown = up.macnet("map").stdout
        assert shown.count("the tunnel is down, macnet-relay does not run: `macnet setup`") == 1
        assert "closed" not in shown
        assert "no answer" not in shown
        failed = failure(up)
        assert (failed["id"], failed["title"]) == ("helper.relay", "Relay")
        assert "NDP" not in failed["evidence"]
        assert "macnet logs relay" in failed["fix"]
    finally:
        up.macnet("setup")
    assert "the tunnel is down" not in up.macnet("map").stdout


def test_another_host_with_a_containers_address_proves_nothing(clean: Mac) -> None:
    """It is behind the default route, as a host of a company's network is."""
    redis = clean.lab.sample.address("redis")
    with neighbour(clean, "wan0", "10.250.0.1/24", "10.250.0.2/24", f"{redis}/32"):
        clean.lab.run(["ip", "route", "add", "default", "via", "10.250.0.2"])
        assert clean.pings(redis)
        assert "No tunnel is needed" not in clean.macnet("setup").stdout
        assert clean.tcp(redis, 6379) == "open"


def test_an_address_of_a_docker_network_alone_proves_nothing(clean: Mac) -> None:
    with neighbour(clean, "bridge101", "172.82.0.254/24"):
        done = clean.macnet("setup", "--network", "app")
        assert "No tunnel is needed" not in done.stdout


def test_an_engine_that_gives_the_mac_a_way_needs_no_tunnel(clean: Mac) -> None:
    """As OrbStack: its bridge on the Mac holds another address of the network."""
    redis = clean.lab.sample.address("redis")
    with neighbour(clean, "bridge101", "172.82.0.254/24", f"{redis}/24"):
        done = clean.macnet("setup", "--network", "app")
        assert f"No tunnel is needed: {redis} answers by bridge101" in done.stdout
        assert "OrbStack" in done.stdout
        assert "macnet-server" not in clean.containers()
