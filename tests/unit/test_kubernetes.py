"""Clusters among containers, and the ranges in their nodes' files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from macnet.kubernetes import (
    K3S,
    KUBELET,
    MANIFEST,
    Cluster,
    Ranges,
    ReadFile,
    find_node,
    has_other_node,
    list_clusters,
    read_ranges,
)

DATA = Path(__file__).parents[1] / "data" / "kubernetes"
MANIFEST_TEXT = (DATA / "kube-controller-manager.yaml").read_text()
KUBELET_TEXT = (DATA / "kubelet-config.yaml").read_text()
Row = dict[str, Any]


def kind(name: str, role: str, created: int, cluster: str = "kind", **more: object) -> Row:
    labels = {"io.x-k8s.kind.cluster": cluster, "io.x-k8s.kind.role": role}
    return row(name, created, labels, **more)


def minikube(name: str, created: int) -> Row:
    labels = {
        "created_by.minikube.sigs.k8s.io": "true",
        "mode.minikube.sigs.k8s.io": name,
        "name.minikube.sigs.k8s.io": name,
        "role.minikube.sigs.k8s.io": "",
    }
    return row(name, created, labels)


def k3d(name: str, role: str, created: int, command: str = "/bin/k3d-entrypoint.sh") -> Row:
    labels = {"app": "k3d", "k3d.cluster": "dev", "k3d.role": role}
    return row(name, created, labels, Command=command)


def row(name: str, created: int, labels: Mapping[str, str], **more: object) -> Row:
    return {
        "Id": f"id-{name}",
        "Names": [f"/{name}"],
        "Created": created,
        "Labels": labels,
        "State": "running",
        **more,
    }


def names(rows: tuple[Any, ...]) -> list[str]:
    return [str(one["Id"]).removeprefix("id-") for one in rows]


def one(*rows: Row) -> Cluster:
    (cluster,) = list_clusters(rows)
    return cluster


def files(**given: str) -> ReadFile:
    """``manifest``, ``kubelet`` and ``k3s``, the same in every container."""
    known = {"manifest": MANIFEST, "kubelet": KUBELET, "k3s": K3S}
    contents = {known[key]: text.encode() for key, text in given.items()}
    return lambda identity, path: contents.get(path)


KUBEADM = files(manifest=MANIFEST_TEXT, kubelet=KUBELET_TEXT)


def test_nodes_come_with_the_control_plane_first_and_then_the_oldest() -> None:
    rows = [
        kind("b-worker", "worker", 1),
        kind("b-worker2", "worker", 0),
        kind("b-control-plane2", "control-plane", 3),
        kind("b-control-plane", "control-plane", 2),
    ]
    wanted = ["b-control-plane", "b-control-plane2", "b-worker2", "b-worker"]
    assert names(one(*rows).nodes) == wanted
    assert names(one(*reversed(rows)).nodes) == wanted


def test_load_balancers_and_registries_are_no_nodes() -> None:
    balancer = kind("kind-external-load-balancer", "external-load-balancer", 0)
    assert names(one(balancer, kind("kind-control-plane", "control-plane", 1)).nodes) == [
        "kind-control-plane"
    ]
    rows = [
        k3d("k3d-dev-serverlb", "loadbalancer", 0),
        k3d("k3d-registry", "registry", 0),
        k3d("k3d-dev-agent-0", "agent", 1),
        k3d("k3d-dev-server-0", "server", 2),
    ]
    cluster = one(*rows)
    assert (cluster.name, cluster.program) == ("dev", "k3d")
    assert names(cluster.nodes) == ["k3d-dev-server-0", "k3d-dev-agent-0"]


def test_further_nodes_of_minikube_belong_to_the_first_one() -> None:
    cluster = one(minikube("minikube-m02", 2), minikube("minikube", 1))
    assert names(cluster.control) == ["minikube"]
    assert names(cluster.workers) == ["minikube-m02"]
    # A profile may have such a name of its own.
    alone = one(minikube("lab-m02", 1))
    assert (alone.name, names(alone.control)) == ("lab-m02", ["lab-m02"])


def test_a_further_node_of_minikube_is_another_one_when_the_first_has_ended() -> None:
    second = minikube("minikube-m02", 2)
    assert has_other_node("minikube", "id-minikube", [second])
    assert not has_other_node("minikube", "id-minikube-m02", [second])
    assert not has_other_node("mini", "id-mini", [second])


def test_nodes_that_do_not_run_are_told_apart() -> None:
    cluster = one(
        kind("kind-control-plane", "control-plane", 1, State="exited"),
        kind("kind-worker", "worker", 2),
    )
    assert names(cluster.running) == ["kind-worker"]
    assert names(cluster.nodes) == ["kind-control-plane", "kind-worker"]


def test_clusters_are_told_apart_and_come_oldest_first() -> None:
    rows = [
        kind("b-control-plane", "control-plane", 5, cluster="b"),
        kind("a-control-plane", "control-plane", 7, cluster="a"),
        minikube("minikube", 6),
        row("web", 1, {"com.docker.compose.service": "web"}),
    ]
    found = [(cluster.name, cluster.program) for cluster in list_clusters(rows)]
    assert found == [("b", "kind"), ("minikube", "minikube"), ("a", "kind")]


@pytest.mark.parametrize(
    "labels",
    [
        None,
        {},
        {"io.x-k8s.kind.cluster": ""},
        {"io.x-k8s.kind.cluster": "kind"},
        {"io.x-k8s.kind.cluster": "kind", "io.x-k8s.kind.role": "something-new"},
        {"created_by.minikube.sigs.k8s.io": "false", "name.minikube.sigs.k8s.io": "x"},
        {"created_by.minikube.sigs.k8s.io": "true"},
        {"k3d.cluster": "dev"},
    ],
)
def test_odd_labels_make_no_node(labels: Mapping[str, str] | None) -> None:
    assert find_node(labels) is None


def test_what_kubeadm_wrote_gives_ranges_and_resolver() -> None:
    cluster = one(kind("kind-control-plane", "control-plane", 1))
    assert read_ranges(cluster, KUBEADM) == Ranges(
        (IPNetwork("10.244.0.0/16"),),
        (IPNetwork("10.96.0.0/16"),),
        IPAddress("10.96.0.10"),
        "cluster.local",
        f"kind-control-plane:{MANIFEST}",
    )


def test_both_ip_versions_are_read() -> None:
    text = MANIFEST_TEXT.replace("10.244.0.0/16", "10.244.0.0/16,fd00:10:244::/56")
    text = text.replace("10.96.0.0/16", "10.96.0.0/16,fd00:10:96::/112")
    found = read_ranges(one(minikube("minikube", 1)), files(manifest=text))
    assert isinstance(found, Ranges)
    assert found.pods == (IPNetwork("10.244.0.0/16"), IPNetwork("fd00:10:244::/56"))
    assert found.services == (IPNetwork("10.96.0.0/16"), IPNetwork("fd00:10:96::/112"))
    assert (found.dns, found.domain) == (None, "cluster.local")


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ("dev.local", "dev.local"),
        ("Dev.Local.", "dev.local"),
        ("a..b", "cluster.local"),
        ("x" * 70, "cluster.local"),
        (".".join(["y" * 60] * 4), "cluster.local"),
        ("-a.b", "cluster.local"),
        ("a\\300", "cluster.local"),
    ],
)
def test_only_a_domain_of_dns_is_taken(written: str, domain: str) -> None:
    text = KUBELET_TEXT.replace("clusterDomain: cluster.local", f"clusterDomain: {written}")
    found = read_ranges(one(minikube("m", 1)), files(manifest=MANIFEST_TEXT, kubelet=text))
    command = f"server --cluster-domain={written}"
    other = read_ranges(one(k3d("s", "server", 1, command)), files())
    assert isinstance(found, Ranges)
    assert isinstance(other, Ranges)
    assert found.domain == other.domain == domain


def test_the_files_of_a_stopped_control_plane_still_tell() -> None:
    cluster = one(
        kind("kind-control-plane", "control-plane", 1, State="exited"),
        kind("kind-worker", "worker", 2),
    )
    asked = []

    def read(identity: str, path: str) -> bytes | None:
        asked.append(identity)
        return KUBEADM(identity, path)

    assert isinstance(read_ranges(cluster, read), Ranges)
    assert set(asked) == {"id-kind-control-plane"}


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (None, "there is no kind-control-plane:/etc"),
        ("", "no --cluster-cidr"),
        ("\x00\xff{{{", "no --cluster-cidr"),
        (MANIFEST_TEXT.replace("10.244.0.0/16", "ten/16"), "no --cluster-cidr"),
        (MANIFEST_TEXT.replace("10.244.0.0/16", "10.244.0.0/16,"), "no --cluster-cidr"),
        (MANIFEST_TEXT.replace("10.244.0.0/16", "0.0.0.0/0"), "no --cluster-cidr"),
        (MANIFEST_TEXT.replace("10.96.0.0/16", "10.96.0.1"), "no --service-cluster-ip-range"),
        (MANIFEST_TEXT.replace("--service-cluster-ip-range", "-x"), "no --service-cluster"),
    ],
)
def test_what_cannot_be_read_is_a_reason(manifest: str | None, words: str) -> None:
    cluster = one(kind("kind-control-plane", "control-plane", 1))
    read = files() if manifest is None else files(manifest=manifest, kubelet=KUBELET_TEXT)
    found = read_ranges(cluster, read)
    assert isinstance(found, str)
    assert words in found


def test_a_cluster_without_a_control_plane_is_a_reason() -> None:
    found = read_ranges(one(kind("kind-worker", "worker", 1)), KUBEADM)
    assert isinstance(found, str)
    assert "control plane of kind" in found


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_file_makes_it_fail(manifest: bytes, kubelet: bytes) -> None:
    contents = {MANIFEST: b"--cluster-cidr=" + manifest, KUBELET: b"clusterDNS:" + kubelet}
    for cluster in (one(minikube("m", 1)), one(k3d("s", "server", 1, manifest.decode("latin-1")))):
        read_ranges(cluster, lambda identity, path: contents.get(path, kubelet))


@given(st.ip_addresses(), st.one_of(st.integers(1, 128), st.integers(28, 32)))
@example("255.255.255.248", 29)
def test_no_range_of_services_makes_it_fail(address: object, prefix: int) -> None:
    command = f"server --service-cidr={address}/{prefix}"
    found = read_ranges(one(k3d("s", "server", 1, command)), files())
    if isinstance(found, Ranges):
        assert found.dns is None or found.dns in found.services[0]


@pytest.mark.parametrize("net", ["255.255.255.248/29", f"{'ffff:' * 7}fff8/125", "10.7.0.0/29"])
def test_services_too_few_for_a_tenth_one_have_no_known_resolver(net: str) -> None:
    """Anybody may start a container with such a command."""
    command = f"server --service-cidr={net}"
    found = read_ranges(one(k3d("s", "server", 1, command)), files())
    assert isinstance(found, Ranges)
    assert found.dns is None
    told = read_ranges(one(k3d("s", "server", 1, f"{command} --cluster-dns=10.7.0.2")), files())
    assert isinstance(told, Ranges)
    assert told.dns == IPAddress("10.7.0.2")


def test_k3s_without_arguments_has_its_own_ranges() -> None:
    assert read_ranges(one(k3d("k3d-dev-server-0", "server", 1)), files()) == Ranges(
        (IPNetwork("10.42.0.0/16"),),
        (IPNetwork("10.43.0.0/16"),),
        IPAddress("10.43.0.10"),
        "cluster.local",
        "the defaults of k3s",
    )


def test_arguments_of_k3s_come_before_its_file() -> None:
    command = "/bin/k3d-entrypoint.sh server --cluster-cidr=10.118.0.0/17 --cluster-dns 10.7.0.53"
    text = "cluster-cidr: 10.1.0.0/16\nservice-cidr: '10.7.0.0/16'\ncluster-domain: dev.local\n"
    found = read_ranges(one(k3d("s", "server", 1, command)), files(k3s=text))
    assert found == Ranges(
        (IPNetwork("10.118.0.0/17"),),
        (IPNetwork("10.7.0.0/16"),),
        IPAddress("10.7.0.53"),
        "dev.local",
        f"the command of s and s:{K3S}",
    )


@pytest.mark.parametrize(
    "text",
    [
        "cluster-cidr:\n  - 10.50.0.0/16\n  - fd00:50::/56\nother: x\n",
        "cluster-cidr: # pods\n\n- '10.50.0.0/16'\n# - a\n- fd00:50::/56 # 2\nx:\n- y\n",
        "cluster-cidr: [10.50.0.0/16, 'fd00:50::/56']\n- x\n",
        "cluster-cidr: [\n  10.50.0.0/16,\n  fd00:50::/56,\n]\n",
        '"cluster-cidr": 10.50.0.0/16,fd00:50::/56\n',
        "a: b\r\n'cluster-cidr' : '10.50.0.0/16, fd00:50::/56'\r\nc: d\r\n",
        "# cluster-cidr: 10.1.0.0/16\ncluster-cidr: 10.50.0.0/16,fd00:50::/56 # both\n",
    ],
)
def test_lists_in_the_file_of_k3s(text: str) -> None:
    found = read_ranges(one(k3d("s", "server", 1)), files(k3s=text))
    assert isinstance(found, Ranges)
    assert found.pods == (IPNetwork("10.50.0.0/16"), IPNetwork("fd00:50::/56"))
    assert found.services == (IPNetwork("10.43.0.0/16"),)
    assert found.source == f"s:{K3S}"


@pytest.mark.parametrize(
    "text",
    [
        "cluster-cidr:\n",
        "cluster-cidr: ''\n",
        "cluster-cidr: &pods 10.50.0.0/16\n",
        "cluster-cidr: |\n  10.50.0.0/16\n",
        "cluster-cidr: [10.50.0.0/16\nother: x\n",
        "cluster-cidr:\n  -10.50.0.0/16\n",
        "cluster-cidr:10.50.0.0/16\n",
        "  cluster-cidr: 10.50.0.0/16\n",
        "cluster-cidr+: 10.50.0.0/16\n",
        "{cluster-cidr: 10.50.0.0/16}\n",
        "cluster-cidr: 10.50.0.0/16\ncluster-cidr: 10.51.0.0/16\n",
    ],
)
def test_what_the_file_of_k3s_says_in_another_way_is_never_the_default(text: str) -> None:
    found = read_ranges(one(k3d("s", "server", 1)), files(k3s=text))
    assert found == f"s:{K3S}: the pods have a range nobody can read"


def test_repeated_flags_of_k3s_make_a_list() -> None:
    command = "server --cluster-cidr=10.50.0.0/16 --cluster-cidr fd00:50::/56 --cluster-domain=a"
    found = read_ranges(one(k3d("s", "server", 1, f"{command} --cluster-domain=b")), files())
    assert isinstance(found, Ranges)
    assert found.pods == (IPNetwork("10.50.0.0/16"), IPNetwork("fd00:50::/56"))
    assert found.domain == "b"
    lost = read_ranges(one(k3d("s", "server", 1, "server --cluster-cidr")), files())
    assert lost == "the command of s: the pods have a range nobody can read"


@given(st.text(max_size=60))
def test_no_file_of_k3s_makes_it_fail(text: str) -> None:
    for before in ("cluster-cidr:", "cluster-dns: [", "cluster-domain:\n-"):
        read_ranges(one(k3d("s", "server", 1)), files(k3s=f"{before}{text}"))


def test_a_range_of_k3s_that_cannot_be_read_is_a_reason() -> None:
    found = read_ranges(one(k3d("s", "server", 1, "server --service-cidr=x")), files())
    assert isinstance(found, str)
    assert "services" in found
