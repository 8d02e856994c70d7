"""Projects of Docker Compose beside a tunnel: reached, named, and in nobody's way."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.names import DOMAIN, names_on
from tests.e2e.steps import Mac, wait_until
from tests.e2e.test_watch import SOON, watch
from tests.lab import Lab
from tests.lab.compose import Project, project
from tests.lab.images import SAMPLE_IMAGE

SUBNET, BEHIND = "172.83.60.0/24", "10.26.0.0/24"
_SERVICE = {"image": SAMPLE_IMAGE, "pull_policy": "never", "stop_signal": "SIGKILL"}
MODEL = {
    "services": {
        "web": {**_SERVICE, "deploy": {"replicas": 2}},
        "db": {**_SERVICE, "networks": {"default": {"aliases": ["store"]}}},
    },
    "networks": {"default": {"ipam": {"config": [{"subnet": SUBNET}]}}},
}


@pytest.fixture
def shop(lab: Lab, mac: Mac, tmp_path: Path) -> Iterator[Project]:
    """Two replicas of one service and one of another, and a tunnel that was there before."""
    mac.macnet("setup", "--reset")
    with project(lab.engine, lab.paths.cache, "shop", tmp_path, MODEL) as made:
        yield made


def address(lab: Lab, container: str) -> str:
    """The only IPv4 address of a container."""
    found = lab.engine.get(f"/containers/{container}/json")["NetworkSettings"]["Networks"]
    (endpoint,) = found.values()
    return str(endpoint["IPAddress"])


def test_up_scale_and_down_under_watch(mac: Mac, shop: Project, tmp_path: Path) -> None:
    with watch(mac, tmp_path / "said") as watching:
        watching.wait_for(f"+ {SUBNET} shop_default")
        for container in shop.containers("web"):
            there = address(mac.lab, container)
            wait_until(partial(mac.http, there, wait_s=1), SOON, "an answer")
        shop.compose("up", "-d", "--scale", "web=3")
        assert mac.http(address(mac.lab, shop.containers("web")[2]))
        shop.compose("restart", "--timeout", "1", "db")
        wait_until(lambda: mac.http(address(mac.lab, "shop-db-1")), SOON, "an answer")
        shop.compose("down", "--timeout", "1")
        watching.wait_for(f"- {SUBNET}")
        wait_until(lambda: SUBNET not in mac.lab.run(["ip", "route"]).stdout, SOON, "no route")


def test_services_replicas_and_aliases_have_names(mac: Mac, shop: Project, tmp_path: Path) -> None:
    with names_on(mac, tmp_path) as names:
        replicas = [address(mac.lab, one) for one in shop.containers("web")]
        names.wait("web.shop", *replicas)
        assert names.ask("shop-web-2") == replicas[1]
        db = address(mac.lab, "shop-db-1")
        assert {names.ask(name) for name in ("db.shop", "shop-db-1", "store.shop-default")} == {db}
        with names.side.macos():
            env = mac.environment()
            said = names.side.macnet("check", f"web.shop.{DOMAIN}:80", env=env).stdout
            assert all(one in said for one in replicas)
            url = f"http://web.shop.{DOMAIN}/"
            assert "macnet-lab" in names.side.run(["curl", "-sS", "-m", "9", url]).stdout
            # One that comes is right at once, and not kept as missing.
            with names.side.looker() as look_up:
                shop.compose("up", "-d", "--scale", "web=3")
                third = look_up(f"shop-web-3.{DOMAIN}")
            assert third == address(mac.lab, shop.containers("web")[2])
        # A replica that goes is not answered with.
        shop.compose("up", "-d", "--scale", "web=1")
        names.wait("web.shop", replicas[0])


def test_a_joiner_at_a_service_does_not_keep_down_from_its_end(mac: Mac, shop: Project) -> None:
    mac.macnet("setup", "--also", f"{BEHIND}=shop-db-1")
    assert [name for name in mac.containers() if "joiner" in name]
    shop.compose("down", "--timeout", "1")
    listed = mac.lab.docker("network", "ls", "--format", "{{.Name}}").split()
    assert "shop_default" not in listed
    mac.macnet("setup", "--unset", "also")
    assert not [name for name in mac.containers() if "joiner" in name]
