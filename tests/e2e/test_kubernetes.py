"""A cluster in containers: its pods, its services and its resolver, from the Mac's side.

kind's nodes are played (`tests.lab.kind_nodes`): labels, files, routes and chains are theirs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.names import DOMAIN, PORT, names_on
from tests.e2e.steps import Mac, wait_until
from tests.e2e.test_heal import main_process
from tests.e2e.test_security import rules
from tests.e2e.test_watch import watch
from tests.lab import Lab
from tests.lab.kind_nodes import DNS_SERVICE, NETWORK, WEB_SERVICE, KindNodes
from tests.lab.process import run
from tests.lab.trees import ensure_kind

#: Seconds for what watch does by itself; CI is slow, and a client may connect anew.
SOON = 30.0
#: Asks a server for a name, over UDP or TCP; prints what came.
_ASK = """
import sys, dns.message, dns.query, dns.flags
server, name, kind, how, port = sys.argv[1:]
query = dns.message.make_query(name, kind)
send = dns.query.tcp if how == "tcp" else dns.query.udp
reply = send(query, server, port=int(port), timeout=4)
words = sorted(item.to_text() for rows in reply.answer for item in rows)
print("TC" if reply.flags & dns.flags.TC else " ".join(words) or reply.rcode().name)
"""


def ask(
    mac: Mac,
    name: str,
    kind: str = "A",
    how: str = "udp",
    *,
    server: str = DNS_SERVICE,
    port: int = 53,
) -> str:
    """What the cluster's resolver answers; what went wrong, where nothing came."""
    argv = [sys.executable, "-c", _ASK, server, name, kind, how, str(port)]
    done = mac.lab.run(argv, check=False)
    return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]


def body(mac: Mac, address: str) -> str:
    """Which pod answers an HTTP request; nothing if none does."""
    argv = ["curl", "-gsS", "-m", "4", f"http://{address}/"]
    return mac.lab.run(argv, check=False).stdout.strip().removeprefix("macnet-lab ")


def answers(mac: Mac, address: str) -> bool:
    return bool(body(mac, address))


@pytest.fixture(scope="module")
def nodes(lab: Lab) -> Iterator[KindNodes]:
    """The cluster, and no tunnel yet."""
    Mac(lab).macnet("down", "--purge")
    with KindNodes.play(lab.engine) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def before(nodes: KindNodes, lab: Lab) -> dict[str, object]:
    """What VM and nodes have without a tunnel."""
    return look(nodes, Mac(lab))


@pytest.fixture(scope="module")
def reached(lab: Lab, nodes: KindNodes, before: dict[str, object]) -> Iterator[Mac]:
    """The Mac side with a tunnel that reaches the cluster."""
    assert before
    mac = Mac(lab)
    mac.macnet("setup", "--also", "kubernetes")
    yield mac
    mac.macnet("down", "--purge")


def look(nodes: KindNodes, mac: Mac) -> dict[str, object]:
    """Rules, routes and policies of the VM and of the nodes."""
    ip = [mac.lab.vm_run(["ip", *words]).stdout for words in (["route"], ["rule"])]
    return {
        "vm": (rules(mac), ip),
        **{node: nodes.rules(node) for node in (nodes.control, nodes.worker)},
    }


def row(mac: Mac, name: str = "kind") -> dict[str, Any]:
    """What `macnet networks` tells of the cluster."""
    found = mac.json("networks")["networks"]
    return next(one for one in found if one["network"]["name"] == f"kubernetes={name}")


def test_without_the_option_it_is_named_and_an_address_of_a_load_balancer_answers(
    nodes: KindNodes, lab: Lab, before: dict[str, object]
) -> None:
    mac = Mac(lab)
    said = mac.macnet("setup").stdout
    assert "cluster kind runs here" in said
    assert "`macnet setup --also kubernetes`" in said
    assert "`macnet setup --also kubernetes`" in mac.macnet("networks").stdout
    assert "`macnet setup --also kubernetes`" in mac.macnet("check").stdout
    assert "--also kubernetes" in mac.fails(4, "check", nodes.pods[nodes.worker])
    backends = {body(mac, nodes.balancer) for _ in range(20)}
    assert backends == {f"pod-{node}" for node in nodes.pods}
    assert body(mac, nodes.address(nodes.worker)) == nodes.worker
    assert mac.tcp(nodes.pods[nodes.control], 80, wait_s=1) != "open"
    mac.macnet("down", "--purge")
    assert look(nodes, mac) == before


def test_kind_takes_the_played_nodes_for_its_own(nodes: KindNodes, lab: Lab) -> None:
    """The real program, which knows its nodes by the same labels."""
    kind = str(ensure_kind(lab.paths.cache))
    env = {**lab.engine.environment(), "KIND_EXPERIMENTAL_PROVIDER": "docker"}
    assert run([kind, "get", "clusters"], env=env).stdout.split() == [nodes.name]
    listed = run([kind, "get", "nodes", "--name", nodes.name], env=env).stdout.split()
    assert sorted(listed) == sorted(nodes.pods)


def test_pods_on_both_nodes_answer(reached: Mac, nodes: KindNodes) -> None:
    for node, address in nodes.pods.items():
        assert body(reached, address) == f"pod-{node}"
        assert reached.pings(address)
        assert reached.udp(address)


def test_a_service_is_carried_to_all_of_its_pods(reached: Mac, nodes: KindNodes) -> None:
    seen = [body(reached, WEB_SERVICE) for _ in range(20)]
    assert set(seen) == {f"pod-{node}" for node in nodes.pods}


def test_the_clusters_resolver_answers_over_udp_and_tcp(reached: Mac, nodes: KindNodes) -> None:
    for how in ("udp", "tcp"):
        assert ask(reached, "web.default.svc.cluster.local", how=how) == WEB_SERVICE
        assert ask(reached, "nobody.default.svc.cluster.local", how=how) == "NXDOMAIN"
    pods = " ".join(sorted(nodes.pods.values()))
    assert ask(reached, "pods.default.svc.cluster.local") == pods
    assert ask(reached, "long.default.svc.cluster.local", "TXT") == "TC"
    assert "xxx" in ask(reached, "long.default.svc.cluster.local", "TXT", "tcp")


def test_bridges_go_on_as_before(reached: Mac, nodes: KindNodes) -> None:
    assert reached.http(reached.lab.sample.address("app-web"))
    assert body(reached, nodes.address(nodes.worker)) == nodes.worker
    assert {body(reached, nodes.balancer) for _ in range(20)} == {
        f"pod-{node}" for node in nodes.pods
    }


def test_neither_vm_nor_nodes_get_a_rule_or_route(
    reached: Mac, nodes: KindNodes, before: dict[str, object]
) -> None:
    now = look(nodes, reached)
    for node in (nodes.control, nodes.worker):
        assert now[node] == before[node]
    # In the VM there is what Docker writes for the server's published port, as without a cluster.
    text = json.dumps(now["vm"])
    for word in ("10.96.", "10.244.", "relay", "macnet"):
        assert word not in text


def test_the_joiner_has_no_rights_and_no_endpoint(reached: Mac, nodes: KindNodes) -> None:
    (name,) = [one for one in reached.containers() if one not in {"macnet-server", "macnet-relay"}]
    found = json.loads(reached.lab.docker("inspect", name))[0]
    control = json.loads(reached.lab.docker("inspect", nodes.control))[0]
    assert found["HostConfig"]["NetworkMode"] == f"container:{control['Id']}"
    assert not found["NetworkSettings"]["Networks"]
    status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
    assert set(re.findall(r"^Cap\w+:\s*([0-9a-f]+)$", status, re.M)) == {"0" * 16}
    assert name not in reached.lab.docker("network", "inspect", NETWORK)


def test_networks_map_and_check_tell_of_the_cluster(reached: Mac, nodes: KindNodes) -> None:
    told = row(reached)
    assert [one["cidr"] for one in told["subnets"]] == ["10.244.0.0/16", "10.96.0.0/16"]
    text = reached.macnet("networks").stdout
    assert nodes.control in text
    assert "10.244.0.0/16" in text
    assert "--also kubernetes" not in text
    assert "10.96.0.0/16" in reached.macnet("map").stdout
    results = {one["id"]: one for one in reached.json("check")["check"]["results"]}
    for identity in ("kubernetes.cluster", "also.joiner", "kubernetes.dns"):
        assert results[identity]["outcome"] == "ok", results[identity]
    assert "/etc/kubernetes/manifests" in results["kubernetes.cluster"]["evidence"]
    reached.macnet("check", *(f"{address}:80" for address in (*nodes.pods.values(), WEB_SERVICE)))


def test_services_have_names_below_the_clusters(
    reached: Mac, nodes: KindNodes, tmp_path: Path
) -> None:
    with names_on(reached, tmp_path) as names:
        names.wait("web.default.svc.kind", WEB_SERVICE)
        assert names.ask("pods.default.svc.kind") == " ".join(sorted(nodes.pods.values()))
        long = (reached, f"long.default.svc.kind.{DOMAIN}", "TXT")
        assert ask(*long, server="127.0.0.1", port=PORT) == "TC"
        assert "xxx" in ask(*long, "tcp", server="127.0.0.1", port=PORT)
        assert names.ask("nobody.default.svc.kind") == "NXDOMAIN"
        assert names.ask("web.default.svc.other") == "NXDOMAIN"
        nodes.stop_resolver()
        try:
            assert names.ask("web.default.svc.kind") == "SERVFAIL"
            results = {
                one["id"]: one for one in reached.json("check", check=False)["check"]["results"]
            }
            assert results["kubernetes.dns"]["outcome"] == "fail"
        finally:
            nodes.start_resolver()
        names.wait("web.default.svc.kind", WEB_SERVICE)


def test_one_cluster_has_its_own_domain(reached: Mac, nodes: KindNodes, tmp_path: Path) -> None:
    name, env = "web.default.svc.cluster.local", reached.environment()
    with names_on(reached, tmp_path) as names, names.side.macos(), names.side.looker() as look_up:
        side = names.side
        assert names.ask(f"{name}.") == "REFUSED"
        refused = side.macnet("names", "on", "--cluster", "nobody", check=False, env=env)
        assert refused.returncode == 4
        assert "it reaches kind" in refused.stderr
        said = side.macnet("names", "on", "--cluster", "kind", env=env).stdout
        assert f"{DOMAIN}, cluster.local (the cluster kind)" in said
        names.watching.wait_for("cluster.local (the cluster kind)")
        wait_until(lambda: names.heard(f"{name}.") == WEB_SERVICE, SOON, "the name")
        assert names.ask("nobody.default.svc.cluster.local.") == "NXDOMAIN"
        assert names.ask("printer.local.") == "REFUSED"
        # As programs do, by both names.
        assert look_up(name) == look_up(f"web.default.svc.kind.{DOMAIN}") == WEB_SERVICE
        assert look_up("printer.local") != WEB_SERVICE
        page = side.run(["curl", "-gsS", "-m", "4", f"http://{name}/"]).stdout
        assert "pod-kind-" in page
        assert "cluster.local (the cluster kind)" in reached.macnet("status").stdout
        assert "The cluster kind answers for cluster.local." in reached.macnet("names").stdout
        checked = side.macnet("check", "--json", env=env).stdout
        results = {one["id"]: one for one in json.loads(checked)["check"]["results"]}
        for identity in ("names.file", "names.port", "names.system"):
            assert results[identity]["outcome"] == "ok"
            assert "cluster.local" in results[identity]["evidence"]
        side.macnet("names", "on", "--no-cluster", env=env)
        assert set(side.files()) == {f"macnet.{DOMAIN}"}
        wait_until(lambda: names.heard(f"{name}.") == "REFUSED", SOON, "it is nobody's again")
        side.macnet("names", "on", "--cluster", "kind", env=env)
        assert set(side.files()) == {f"macnet.{DOMAIN}", "macnet.cluster.local"}
        side.macnet("names", "off", env=env)
        assert side.files() == {}


def test_an_older_cluster_keeps_its_ranges(reached: Mac, nodes: KindNodes) -> None:
    try:
        second = KindNodes(reached.lab.engine, "second")
        second.make_node(second.control, "control-plane")
        reached.macnet("setup")
        assert "overlaps kubernetes=kind" in str(row(reached, "second")["reason"])
        assert body(reached, nodes.pods[nodes.control]) == f"pod-{nodes.control}"
    finally:
        reached.lab.docker("rm", "-f", second.control)


@pytest.mark.parametrize("manifest", ["", "spec: {{{", "- --cluster-cidr=10.1.0.0/99\n"])
def test_a_broken_file_is_a_reason(reached: Mac, nodes: KindNodes, manifest: str) -> None:
    try:
        broken = KindNodes(reached.lab.engine, "broken")
        broken.make_node(broken.control, "control-plane", manifest=manifest)
        done = reached.macnet("setup")
        assert "Traceback" not in done.stderr
        assert "kube-controller-manager.yaml" in str(row(reached, "broken")["reason"])
        assert body(reached, nodes.pods[nodes.control]) == f"pod-{nodes.control}"
    finally:
        reached.lab.docker("rm", "-f", broken.control)


def test_without_watch_check_finds_the_way_that_is_gone(reached: Mac, nodes: KindNodes) -> None:
    nodes.restart(nodes.control)
    target = f"{nodes.pods[nodes.worker]}:80"
    results = reached.json("check", target, check=False)["check"]["results"]
    (failed,) = [one for one in results if one["outcome"] == "fail"]
    assert (failed["id"], failed["fix"]) == ("also.joiner", "`macnet regenerate`")
    # It ends at once, and leaves by no other way; pasta, where it carries TCP, says "refused".
    assert reached.tcp(nodes.pods[nodes.worker], 80) in {"unreachable", "refused"}
    reached.macnet("regenerate")
    reached.macnet("check", target)


def test_watch_follows_nodes_that_restart_and_die(
    reached: Mac, nodes: KindNodes, tmp_path: Path
) -> None:
    far = nodes.pods[nodes.worker]
    reached.macnet("setup")
    with watch(reached, tmp_path / "said") as watching:
        nodes.restart(nodes.control)
        for address in nodes.pods.values():
            wait_until(partial(answers, reached, address), SOON, f"{address}: {watching.said}")
        reached.lab.docker("kill", nodes.control)
        wait_until(lambda: body(reached, far) != "", SOON, f"through a worker: {watching.said}")
        reached.lab.docker("kill", nodes.worker)
        watching.wait_for("- 10.244.0.0/16")
        reached.lab.docker("start", nodes.worker, nodes.control)
        for node in nodes.pods:
            nodes.restart(node)
        wait_until(lambda: body(reached, far) != "", SOON, f"after all of it: {watching.said}")


def _restart_a_node(_: Mac, nodes: KindNodes) -> None:
    nodes.restart(nodes.control)


def _kill_the_node(mac: Mac, nodes: KindNodes) -> None:
    mac.lab.docker("kill", nodes.control)


def _start_the_node(mac: Mac, nodes: KindNodes) -> None:
    mac.lab.docker("start", nodes.control)
    nodes.dress(nodes.control)


def _restart_the_engine(_: Mac, nodes: KindNodes) -> None:
    nodes.restart_engine()


def _kill_the_relay(mac: Mac, _: KindNodes) -> None:
    mac.lab.vm_run(["kill", "-9", str(main_process(mac, "macnet-relay").pid)])


@pytest.mark.alone
def test_each_fault_is_over_within_five_seconds(
    reached: Mac, nodes: KindNodes, tmp_path: Path
) -> None:
    """With watch, from the end of its cause on."""
    first, second = nodes.pods[nodes.control], nodes.pods[nodes.worker]
    reached.macnet("setup")
    with watch(reached, tmp_path / "said") as watching:
        for fault, expected in (
            (_restart_a_node, (first, second)),
            (_kill_the_node, (second,)),
            (_start_the_node, (first, second)),
            (_restart_the_engine, (first, second)),
            (_kill_the_relay, (first, second)),
        ):
            fault(reached, nodes)
            took = 0.0
            for address in expected:
                again = partial(answers, reached, address)
                took += wait_until(again, SOON, f"{fault.__name__}: {watching.said}")
            print(f"{fault.__name__}: back after {took:.1f} s")
            assert took <= 5, fault.__name__


def test_its_network_can_be_removed_while_the_tunnel_is_up(reached: Mac, nodes: KindNodes) -> None:
    assert reached.pings(nodes.pods[nodes.control])
    reached.lab.docker("rm", "-f", nodes.control, nodes.worker)
    reached.lab.docker("network", "rm", NETWORK)
    reached.macnet("setup")
    assert [one for one in reached.containers() if "join" in one] == []
    wait_until(lambda: "10.96." not in reached.lab.run(["ip", "route"]).stdout, SOON, "no route")
    nodes.up()
    reached.macnet("setup")
    assert body(reached, nodes.pods[nodes.control]) == f"pod-{nodes.control}"


def test_down_leaves_nothing(reached: Mac, nodes: KindNodes) -> None:
    now = {node: nodes.rules(node) for node in nodes.pods}
    reached.macnet("down")
    assert reached.macnet_names() == []
    assert "10.244." not in reached.lab.run(["ip", "route"]).stdout
    assert {node: nodes.rules(node) for node in nodes.pods} == now
