"""Overlay networks of a real swarm of two engines, from the Mac's side of one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.names import names_on
from tests.e2e.steps import Mac, wait_until
from tests.e2e.test_watch import watch
from tests.e2e.world import network
from tests.lab import Lab
from tests.lab.compose import project
from tests.lab.engine import Engine
from tests.lab.images import SAMPLE_IMAGE
from tests.lab.process import run
from tests.lab.swarm import Swarm, swarm_of

#: Seconds for what a swarm or watch does by itself.
SOON = 60.0
SUBNETS = {"joinable": "10.40.1.0/24", "closed": "10.40.2.0/24", "locked": "10.40.3.0/24"}
#: A bridge for which watch takes a look.
LOOKED = "172.83.21.0/24"
_STACK = """
version: "3.8"
services:
  front:
    image: {image}
    networks: [back]
    stop_signal: SIGKILL
    deploy: {{mode: global, endpoint_mode: dnsrr}}
networks:
  back: {{driver: overlay, ipam: {{config: [{{subnet: 10.40.9.0/24}}]}}}}
"""


@pytest.fixture(scope="module")
def swarm(lab: Lab) -> Iterator[Swarm]:
    """Networks of each kind, with a service that has a task on each node."""
    Mac(lab).macnet("down", "--purge")
    options = {"joinable": ["--attachable"], "locked": ["--internal"]}
    with swarm_of(lab) as made:
        for name, subnet in SUBNETS.items():
            words = ["--driver", "overlay", "--subnet", subnet, *options.get(name, [])]
            made.manager.docker("network", "create", *words, name)
        for name in ("joinable", "closed"):
            made.service(f"on-{name}", name, "--replicas-max-per-node=1", replicas=2)
        made.service("on-locked", "locked", "--constraint=node.role==manager")
        yield made


@pytest.fixture(scope="module")
def reached(lab: Lab, swarm: Swarm) -> Iterator[Mac]:
    """The Mac side with a tunnel that reaches the swarm's networks."""
    assert swarm
    mac = Mac(lab)
    mac.macnet("setup", "--also", "overlays")
    yield mac
    mac.macnet("down", "--purge")


def routed(mac: Mac) -> dict[str, list[str]]:
    """The subnets of the routed networks by name."""
    rows = mac.json("networks")["networks"]
    return {one["network"]["name"]: [s["cidr"] for s in one["subnets"]] for one in rows}


def reason(mac: Mac, name: str) -> str:
    rows = mac.json("networks")["networks"]
    return str(next(one["reason"] for one in rows if one["network"]["name"] == name))


def gone(engine_docker: Callable[..., str], network: str) -> bool:
    return network not in engine_docker("network", "ls", "--format", "{{.Name}}").split()


def test_without_the_option_it_is_named(lab: Lab, swarm: Swarm) -> None:
    assert swarm
    mac = Mac(lab)
    assert "`macnet setup --also overlays`" in mac.macnet("setup").stdout
    assert "`macnet setup --also overlays`" in mac.macnet("networks").stdout
    assert "--also overlays" in reason(mac, "closed")
    assert "routing mesh" in reason(mac, "ingress")
    mac.macnet("down", "--purge")


def test_tasks_here_and_on_the_other_node_answer(reached: Mac, swarm: Swarm) -> None:
    for name in ("on-joinable", "on-closed"):
        for engine in (swarm.manager, swarm.worker):
            (address,) = swarm.addresses(name, engine)
            assert reached.http(address), f"{name} on {engine.name}"
            assert reached.pings(address)
            assert reached.udp(address)
    (locked,) = swarm.addresses("on-locked")
    assert reached.http(locked)


def test_a_single_container_on_an_attachable_network_answers(reached: Mac, swarm: Swarm) -> None:
    try:
        argv = ["run", "-d", "--name", "alone", "--network", "joinable", SAMPLE_IMAGE]
        swarm.worker.docker(*argv)
        found = swarm.worker.get("/containers/alone/json")["NetworkSettings"]["Networks"]
        address = str(found["joinable"]["IPAddress"])
        wait_until(lambda: reached.http(address), SOON, "an answer")
    finally:
        swarm.worker.docker("rm", "-f", "alone")


def test_neither_the_mesh_nor_the_bridge_of_tasks_goes_through_a_joiner(
    reached: Mac, swarm: Swarm
) -> None:
    assert swarm
    assert reached.json("networks")
    assert routed(reached)["ingress"] == []
    lanes = reached.lab.docker("exec", "macnet-server", "cat", "/etc/macnet/subnets.applied")
    with_lane = [line.split()[0] for line in lanes.splitlines() if len(line.split()) > 1]
    assert set(with_lane) <= set(SUBNETS.values())
    assert with_lane


def test_joiners_have_no_rights_and_no_endpoint(reached: Mac, swarm: Swarm) -> None:
    names = [one for one in reached.containers() if "joiner" in one]
    assert names
    for name in names:
        found = json.loads(reached.lab.docker("inspect", name))[0]
        assert found["HostConfig"]["NetworkMode"].startswith("container:")
        assert not found["NetworkSettings"]["Networks"]
        status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
        assert set(re.findall(r"^Cap\w+:\s*([0-9a-f]+)$", status, re.M)) == {"0" * 16}
        for one in SUBNETS:
            assert name not in swarm.manager.docker("network", "inspect", one)


def test_networks_map_and_check_tell_of_tasks_elsewhere(reached: Mac, swarm: Swarm) -> None:
    (far,) = swarm.addresses("on-closed", swarm.worker)
    for command in ("networks", "map"):
        text = reached.macnet(command).stdout
        assert far in text, command
        assert "on-closed.1." in text
        assert "on-closed.2." in text
        assert f"on {swarm.node(swarm.worker)}" in text.replace("on node", "on")
    reached.macnet("check", *(f"{target}:80" for target in (far, "on-closed", "2.on-closed")))
    results = {one["id"]: one for one in reached.json("check")["check"]["results"]}
    assert results["also.joiner"]["outcome"] == "ok"
    assert results["swarm.nodes"]["outcome"] == "ok"
    assert "2 nodes" in results["swarm.nodes"]["evidence"]


def test_services_have_names(reached: Mac, swarm: Swarm, tmp_path: Path) -> None:
    with names_on(reached, tmp_path) as names:
        names.wait("on-closed", *swarm.addresses("on-closed"))
        both = {names.ask(f"{number}.on-closed") for number in (1, 2)}
        assert both == set(swarm.addresses("on-closed"))


def test_a_stack_goes_while_the_tunnel_is_up(reached: Mac, swarm: Swarm, tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(_STACK.format(image=SAMPLE_IMAGE))
    deploy = ["stack", "deploy", "--resolve-image", "never", "-c", str(file), "shop"]
    swarm.manager.docker(*deploy)
    swarm.wait_tasks("shop_front", 2)
    reached.macnet("setup")
    for address in swarm.addresses("shop_front"):
        assert reached.http(address)
    swarm.manager.docker("stack", "rm", "shop")
    for engine in (swarm.manager, swarm.worker):
        wait_until(partial(gone, engine.docker, "shop_back"), 15, "no network")
    reached.macnet("setup")
    assert "shop_back" not in routed(reached)


def test_a_compose_project_goes_while_the_tunnel_is_up(
    reached: Mac, swarm: Swarm, tmp_path: Path
) -> None:
    """Its network is an overlay; its containers are no tasks."""
    ipam = {"config": [{"subnet": "10.40.8.0/24"}]}
    model: dict[str, object] = {
        "services": {"web": {"image": SAMPLE_IMAGE, "stop_signal": "SIGKILL"}},
        "networks": {"default": {"driver": "overlay", "attachable": True, "ipam": ipam}},
    }
    cache = reached.lab.paths.cache
    with project(swarm.manager, cache, "kiosk", tmp_path, model) as kiosk:
        reached.macnet("setup")
        endpoints = swarm.manager.get("/containers/kiosk-web-1/json")["NetworkSettings"]
        address = str(endpoints["Networks"]["kiosk_default"]["IPAddress"])
        assert reached.http(address)
        kiosk.compose("down", "--timeout", "1")
        # Compose 2.40 leaves a swarm's network there, with macnet or without.
        if not gone(swarm.manager.docker, "kiosk_default"):
            swarm.manager.docker("network", "rm", "kiosk_default")
        wait_until(partial(gone, swarm.manager.docker, "kiosk_default"), 15, "no network")
    reached.macnet("setup")
    assert "kiosk_default" not in routed(reached)


@pytest.mark.alone
def test_watch_follows_tasks_that_are_replaced(reached: Mac, swarm: Swarm, tmp_path: Path) -> None:
    def answers() -> bool:
        found = swarm.addresses("on-closed", swarm.worker)
        return bool(found) and reached.http(found[0])

    with watch(reached, tmp_path / "said") as watching:
        (before,) = swarm.addresses("on-closed", swarm.manager)
        words = ["--detach", "--no-resolve-image", "--force", "on-closed"]
        swarm.manager.docker("service", "update", *words)
        wait_until(
            lambda: before not in swarm.addresses("on-closed"), SOON, "another task for the donor"
        )
        took = wait_until(answers, SOON, f"an answer through another donor: {watching.said}")
        print(f"another donor: back after {took:.1f} s")
        assert took <= 3
        swarm.manager.docker("service", "scale", "--detach", "on-closed=0")
        watching.wait_for(f"- {SUBNETS['closed']}")
        swarm.manager.docker("service", "scale", "--detach", "on-closed=2")
        swarm.wait_tasks("on-closed", 2)
        wait_until(answers, SOON, f"an answer again: {watching.said}")


def starts(mac: Mac) -> set[str]:
    """Our running containers, each with its id and every start that it has had."""
    form = "{{.Name}} {{.Id}} {{.RestartCount}} {{.State.StartedAt}}"
    return set(mac.lab.docker("inspect", "--format", form, *mac.containers()).splitlines())


def test_the_cable_breaks_and_comes_back(reached: Mac, swarm: Swarm, tmp_path: Path) -> None:
    """Nothing is started again, neither then nor when it is back."""
    reached.macnet("setup")
    (near,), (far,) = (
        swarm.addresses("on-joinable", engine) for engine in (swarm.manager, swarm.worker)
    )
    before = starts(reached)
    assert any("joiner" in one for one in before)

    def answers() -> bool:
        # A node that was away for long gets another task, with another address.
        return any(map(reached.http, swarm.addresses("on-joinable", swarm.worker)))

    with watch(reached, tmp_path / "said") as watching, ExitStack() as later:
        swarm.cable("down")
        try:
            assert reached.http(near)
            assert not reached.http(far)
            # Makes watch look now, and again when it goes: no question of time.
            later.enter_context(network(reached.lab, "looked", "--subnet", LOOKED))
            watching.wait_for(f"+ {LOOKED} looked")
            assert starts(reached) == before
        finally:
            swarm.cable("up")
        wait_until(answers, SOON, "an answer from the other node")
        swarm.wait_tasks("on-joinable", 2)
        later.close()
        watching.wait_for(f"- {LOOKED}")
        assert starts(reached) == before
        # The client takes up the routes anew, which takes a moment.
        wait_until(partial(reached.http, near, wait_s=1), SOON, "an answer from here")
        for words in ("started again", "joined the network"):
            assert words not in watching.said


def test_a_worker_opens_the_swarm_as_well(reached: Mac, swarm: Swarm) -> None:
    """As the engine of another tunnel."""
    swarm.wait_tasks("on-joinable", 2)
    reached.macnet("down", "--purge")
    env = {"DOCKER_HOST": swarm.worker.docker_host}
    try:
        reached.macnet("setup", "--also", "overlays", env=env)
        for engine in (swarm.manager, swarm.worker):

            def answers(engine: Engine = engine) -> bool:
                return any(map(reached.http, swarm.addresses("on-joinable", engine)))

            # The nodes tell each other where tasks are: after a while without the cable, slowly.
            wait_until(answers, SOON, f"an answer from {engine.name}")
    finally:
        reached.macnet("down", "--purge", env=env)
    names = swarm.worker.docker("ps", "-a", "--format", "{{.Names}}").split()
    assert [name for name in names if name.startswith("macnet")] == []


def test_down_leaves_nothing(reached: Mac, swarm: Swarm) -> None:
    reached.macnet("setup", "--also", "overlays")
    assert any("joiner" in name for name in reached.macnet_names())
    reached.macnet("down")
    assert reached.macnet_names() == []
    routes = run(["ip", "-n", reached.lab.paths.mac_netns, "route"]).stdout
    assert "10.40." not in routes
    assert swarm.worker.docker("ps", "-aq", "--filter", "label=io.macnet.name") == ""
