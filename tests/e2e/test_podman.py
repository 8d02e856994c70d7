"""Podman instead of Docker, two versions of it: its containers are found, named and reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.names import PORT
from tests.e2e.steps import Mac, wait_until
from tests.e2e.test_watch import watch
from tests.lab import Lab
from tests.lab.images import SAMPLE_IMAGE
from tests.lab.members import Member
from tests.lab.podman import PODMAN_KINDS
from tests.lab.resolver_mac import NamesMac, ask

#: The first time, Debian trees are made for it.
pytestmark = pytest.mark.timeout(900)

CONTEXT = "pod"


@pytest.fixture(scope="module", params=PODMAN_KINDS)
def podman(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Member]:
    """A Podman beside the lab's engine, which has no tunnel meanwhile."""
    Mac(lab).macnet("down", "--purge")
    engine = lab.add_engine(CONTEXT, request.param, sample=True)
    lab.run(["docker", "context", "create", CONTEXT, "--docker", f"host={engine.docker_host}"])
    Mac(lab).macnet("setup", "--context", CONTEXT)
    yield lab.members[CONTEXT]
    Mac(lab).macnet("down", "--all", "--purge")
    lab.run(["docker", "context", "rm", "-f", CONTEXT])
    lab.remove_engine(CONTEXT)


def test_every_container_is_listed_on_its_networks(mac: Mac, podman: Member) -> None:
    rows = mac.json("networks", "--context", CONTEXT)["networks"]
    found = {
        (row["network"]["name"], one["container"]): set(one["addresses"])
        for row in rows
        for one in row["network"]["endpoints"]
    }
    sample = podman.sample
    for container, network in (
        ("redis", "app"),
        ("two-homes", "app"),
        ("two-homes", "extra"),
        ("sealed-web", "sealed"),
        ("noicc-web", "noicc"),
    ):
        assert found[network, container] == {sample.address(container, network)}
    six = {sample.address("six-web"), sample.address6("six-web")}
    assert found["six", "six-web"] == six
    # The default network has two names: bridge in Docker's words, podman in Podman's.
    default = {name for name, container in found if container == "web"}
    assert default in ({"bridge"}, {"podman"})
    chart = mac.json("map", "--context", CONTEXT)["map"]
    shown = {
        container["name"] for network in chart["networks"] for container in network["containers"]
    }
    assert {"redis", "web", "two-homes"} <= shown


def test_every_container_is_reached_and_checked(mac: Mac, podman: Member) -> None:
    for name in podman.sample.running_names:
        assert mac.pings(podman.sample.address(name)), name
    assert mac.pings(podman.sample.address6("six-web"))
    assert mac.http(podman.sample.address("web"))
    report = mac.json("check", "--context", CONTEXT)["check"]["results"]
    pinged = {one["subject"] for one in report if one["id"].startswith("reach.") and one["subject"]}
    assert any("two-homes" in subject for subject in pinged), pinged
    done = mac.macnet("check", "--context", CONTEXT, "redis:6379")
    assert podman.sample.address("redis") in done.stdout


def test_names_have_the_addresses_of_their_containers(
    mac: Mac, podman: Member, tmp_path: Path
) -> None:
    """In the list, in the table of networks, and asked for; also once a container has moved."""
    sample, docker, netns = podman.sample, podman.engine.docker, mac.lab.paths.mac_netns
    other, env = ("--context", CONTEXT), mac.environment()
    domain = f"docker-{CONTEXT}.test"

    def listed() -> dict[str, set[str]]:
        rows = mac.json("names", "list", *other)["names"]["names"]
        return {row["name"].removesuffix(f".{domain}"): set(row["addresses"]) for row in rows}

    found = listed()
    for name in sample.running_names:
        assert found[name], name
    homes = {network: sample.address("two-homes", network) for network in ("app", "extra")}
    assert found["two-homes"] == set(homes.values())
    assert {network: found[f"two-homes.{network}"] for network in homes} == {
        network: {address} for network, address in homes.items()
    }
    assert found["six-web"] == {sample.address("six-web"), sample.address6("six-web")}
    with NamesMac(mac.lab) as side:
        side.macnet("names", "on", *other, env=env)
        try:
            rows = mac.json("networks", *other)["networks"]
            shown = {
                one["container"]: one["names"]
                for row in rows
                for one in row["network"]["endpoints"]
            }
            assert f"web.{domain}" in shown["web"]
            with watch(mac, tmp_path / "said", *other) as watching:
                watching.wait_for(f"answering for {domain} on 127.0.0.1:{PORT}")
                assert ask(netns, PORT, f"redis.{domain}.") == sample.address("redis")
                alias = ("--network-alias", "store")
                docker("run", "-d", "--name", "moved", "--network", "app", *alias, SAMPLE_IMAGE)
                before = sample.address("moved", "app")
                assert ask(netns, PORT, f"store.app.{domain}.") == before
                docker("network", "connect", "--alias", "stock", "extra", "moved")
                docker("network", "disconnect", "app", "moved")
                after = sample.address("moved", "extra")
                wait_until(
                    lambda: ask(netns, PORT, f"stock.extra.{domain}.") == after, 20, "the alias"
                )
                wait_until(lambda: ask(netns, PORT, f"moved.{domain}.") == after, 20, "the name")
        finally:
            docker("rm", "-f", "moved")
            side.macnet("names", "off", *other, env=env)


def test_a_second_setup_changes_nothing(mac: Mac, podman: Member) -> None:
    assert podman.engine.healthy
    assert "Nothing had to change." in mac.macnet("setup", "--context", CONTEXT).stdout


def test_it_comes_back_after_a_reboot_of_the_machine(mac: Mac, podman: Member) -> None:
    podman.engine.reboot()
    podman.sample.wait_ready()
    mac.macnet("setup", "--context", CONTEXT)
    assert mac.http(podman.sample.address("app-web"))
