"""Clusters and overlays among what `--also` reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from macnet import survey
from macnet.cli import views
from macnet.donors import find, has_spare, list_hints
from macnet.helper.spec import MAX_JOINERS
from macnet.kubernetes import MANIFEST
from macnet.models import Donor, Further, ReachKind
from macnet.names.zone import build_zone
from macnet.networks import parse_networks, select_networks, with_further
from macnet.overlays import MANY
from macnet.swarm import NODE
from macnet.values import AlsoRequest
from tests.unit.test_kubernetes import KUBEADM, MANIFEST_TEXT, k3d, kind, minikube

Row = dict[str, Any]
KUBERNETES = AlsoRequest(kubernetes=True)
OVERLAYS = AlsoRequest(overlays=True)


class FakeEngine:
    """Containers with their files; counts the calls."""

    def __init__(self, *rows: Row, files: Mapping[tuple[str, str], str] | None = None) -> None:
        self.rows = rows
        self.files = files
        self.calls: list[str] = []

    def containers(self, *, everything: bool = False) -> Sequence[Row]:
        """See `macnet.donors.Source`."""
        self.calls.append("containers")
        return [row for row in self.rows if everything or row["State"] == "running"]

    def inspect(self, identity: str) -> Row | None:
        """See `macnet.donors.Source`."""
        self.calls.append("inspect")
        row = next(row for row in self.rows if row["Id"] == identity)
        return {
            "State": {"Running": row["State"] == "running", "StartedAt": f"since {row['Created']}"},
            "HostConfig": row.get("HostConfig"),
        }

    def read_file(self, identity: str, path: str) -> bytes | None:
        """See `macnet.donors.Source`."""
        self.calls.append("read")
        if self.files is not None:
            text = self.files.get((identity, path))
            return None if text is None else text.encode()
        return KUBEADM(identity, path)

    def find(self, also: AlsoRequest, *networks: Row) -> tuple[Further, ...]:
        """`find` with the running ones, as `observe` calls it."""
        running = [row for row in self.rows if row["State"] == "running"]
        return find(also, networks, running, self, ())


def overlay(name: str, subnet: str, **more: object) -> Row:
    return {
        "Id": f"net-{name}",
        "Name": name,
        "Driver": "overlay",
        "Scope": "swarm",
        "IPAM": {"Config": [{"Subnet": subnet}]},
        **more,
    }


def task(name: str, created: int, *networks: str, service: bool = True, **more: object) -> Row:
    labels = {"com.docker.swarm.task.id": f"task-{name}"} if service else {}
    settings = {
        net: {"NetworkID": f"net-{net}", "IPAddress": f"10.9.{n}.{created}"}
        for n, net in enumerate(networks)
    }
    return {
        "Id": f"id-{name}",
        "Names": [f"/{name}"],
        "Created": created,
        "Labels": labels,
        "State": "running",
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": settings},
        **more,
    }


CONTROL = kind("kind-control-plane", "control-plane", 1)
WORKER = kind("kind-worker", "worker", 2)
SPREAD = overlay("spread", "10.0.1.0/24")
DONOR = Donor("id-router", "router", "then")
_BOTH = (("kind", ReachKind.CLUSTER), ("spread", ReachKind.OVERLAY))


def test_a_cluster_is_reached_through_its_control_plane() -> None:
    engine = FakeEngine(WORKER, CONTROL)
    assert engine.find(KUBERNETES) == (
        Further(
            "kind",
            ReachKind.CLUSTER,
            (IPNetwork("10.244.0.0/16"), IPNetwork("10.96.0.0/16")),
            Donor("id-kind-control-plane", "kind-control-plane", "since 1"),
            dns=IPAddress("10.96.0.10"),
            domain="cluster.local",
            source=f"kind-control-plane:{MANIFEST}",
        ),
    )
    assert "containers" not in engine.calls


def test_when_the_control_plane_stops_a_worker_lends_the_way() -> None:
    (found,) = FakeEngine(WORKER, CONTROL | {"State": "exited"}).find(KUBERNETES)
    assert found.donor is not None
    assert found.donor.container == "kind-worker"
    assert found.subnets == (IPNetwork("10.244.0.0/16"), IPNetwork("10.96.0.0/16"))


@pytest.mark.parametrize("also", [KUBERNETES, AlsoRequest(clusters=("minikube",))])
def test_when_the_first_node_of_minikube_stops_another_lends_the_way(also: AlsoRequest) -> None:
    files = {("id-minikube", MANIFEST): MANIFEST_TEXT}
    first = minikube("minikube", 1) | {"State": "exited"}
    engine = FakeEngine(first, minikube("minikube-m02", 2), files=files)
    (found,) = engine.find(also)
    assert (found.name, found.reason) == ("minikube", "")
    assert found.donor is not None
    assert found.donor.container == "minikube-m02"
    assert found.subnets == (IPNetwork("10.244.0.0/16"), IPNetwork("10.96.0.0/16"))


def test_a_cluster_that_has_stopped_is_none() -> None:
    engine = FakeEngine(CONTROL | {"State": "exited"})
    assert engine.find(KUBERNETES) == ()
    (found,) = engine.find(AlsoRequest(clusters=("kind",)))
    assert (found.name, found.donor, found.subnets) == ("kind", None, ())
    assert found.reason


def test_single_clusters_may_be_named() -> None:
    other = kind("b-control-plane", "control-plane", 5, cluster="b")
    files = {
        ("id-b-control-plane", MANIFEST): MANIFEST_TEXT.replace("10.244", "10.1").replace(
            "10.96", "10.2"
        )
    }
    engine = FakeEngine(CONTROL, other, files=files)
    (found,) = engine.find(AlsoRequest(clusters=("b",)))
    assert found.name == "b"
    assert found.donor is not None


def test_of_two_clusters_with_equal_ranges_the_older_one_is_reached() -> None:
    other = kind("b-control-plane", "control-plane", 0, cluster="b")
    further = with_further((), FakeEngine(CONTROL, other).find(KUBERNETES))
    first, second = select_networks(further, include=("*",), exclude=())
    assert (first.network.name, first.routed) == ("kubernetes=b", True)
    assert (second.network.name, second.routed) == ("kubernetes=kind", False)
    assert "overlaps kubernetes=b" in (second.reason or "")


def test_a_cluster_that_is_left_out_is_in_nobodys_way() -> None:
    other = kind("b-control-plane", "control-plane", 0, cluster="b")
    further = with_further((), FakeEngine(CONTROL, other).find(KUBERNETES))
    first, second = select_networks(further, include=("*",), exclude=("kubernetes=b",))
    assert (first.routed, second.routed) == (False, True)


def test_a_cluster_without_files_gives_its_ranges_to_nobody() -> None:
    server = k3d("k3d-dev-server-0", "server", 3)
    first, second = FakeEngine(CONTROL, server, files={}).find(KUBERNETES)
    assert first.reason.startswith("there is no kind-control-plane:/etc")
    assert (second.name, second.reason) == ("dev", "")
    assert second.source == "the defaults of k3s"


@pytest.mark.parametrize("public", ["8.8.0.0/16", "10.0.0.0/7", "2001:db8::/56"])
def test_a_node_that_claims_public_addresses_gets_none(public: str) -> None:
    """Labels and files may come with an image."""
    text = MANIFEST_TEXT.replace("10.244.0.0/16", f"10.244.0.0/16,{public}")
    engine = FakeEngine(CONTROL, files={("id-kind-control-plane", MANIFEST): text})
    (found,) = engine.find(KUBERNETES)
    assert found.donor is not None
    assert found.subnets == (IPNetwork("10.244.0.0/16"), IPNetwork("10.96.0.0/16"))
    assert found.source.endswith(f" (without {IPNetwork(public).cidr}, which is no private range)")
    text = MANIFEST_TEXT.replace("10.244.0.0/16", public).replace("10.96.0.0/16", public)
    engine = FakeEngine(CONTROL, files={("id-kind-control-plane", MANIFEST): text})
    (found,) = engine.find(KUBERNETES)
    assert found.donor is None
    assert "no private range: name it" in found.reason
    assert "without" not in found.source


def test_public_ranges_of_ipv6_do_not_lose_those_of_ipv4() -> None:
    """As in the example of K3s itself; what is named already needs no note."""
    command = (
        "server --cluster-cidr=10.42.0.0/16,2001:cafe:42::/56 "
        "--service-cidr=10.43.0.0/16,2001:cafe:43::/112"
    )
    engine = FakeEngine(k3d("s", "server", 1, command))
    (found,) = engine.find(KUBERNETES)
    assert found.subnets == (IPNetwork("10.42.0.0/16"), IPNetwork("10.43.0.0/16"))
    assert "2001:cafe:42::/56" in found.source
    assert "2001:cafe:43::/112" in found.source
    named = ((IPNetwork("2001:cafe:42::/56"), "s"), (IPNetwork("2001:cafe:43::/112"), "s"))
    *_, found = engine.find(AlsoRequest(kubernetes=True, through=named))
    assert found.source == "the command of s"
    assert found.donor is not None


def test_an_overlay_is_reached_through_its_oldest_task() -> None:
    engine = FakeEngine(
        task("alone", 1, "spread", service=False),
        task("web.2", 3, "spread"),
        task("web.1", 2, "spread"),
    )
    (found,) = engine.find(OVERLAYS, SPREAD)
    assert found == Further(
        "spread",
        ReachKind.OVERLAY,
        (IPNetwork("10.0.1.0/24"),),
        Donor("id-web.1", "web.1", "since 2"),
    )


def test_an_overlay_without_a_container_here_has_a_reason() -> None:
    engine = FakeEngine(task("web", 1, "back"))
    _, found = engine.find(OVERLAYS, overlay("back", "10.0.2.0/24"), SPREAD)
    assert (found.donor, found.reason) == (None, "no container of this engine is on it")


def test_who_lends_no_way_into_an_overlay() -> None:
    own = task("macnet", 1, "spread") | {"Labels": {"io.macnet.name": "macnet"}}
    inside = task("sidecar", 2, "spread", HostConfig={"NetworkMode": "container:id-x"})
    host = task("host", 3, "spread", HostConfig={"NetworkMode": "host"})
    (found,) = FakeEngine(own, inside, host).find(OVERLAYS, SPREAD)
    assert found.donor is None
    assert found.reason


def test_one_container_may_lend_the_way_into_several_overlays() -> None:
    engine = FakeEngine(task("web", 1, "spread", "back"))
    found = engine.find(OVERLAYS, SPREAD, overlay("back", "10.0.2.0/24"))
    assert [(one.name, one.donor and one.donor.container) for one in found] == [
        ("back", "web"),
        ("spread", "web"),
    ]


@pytest.mark.parametrize("service", [True, False])
def test_where_networks_are_many_one_container_opens_them_all(service: bool) -> None:
    """As a proxy that is on every network of a swarm; there may be no more donors than that."""
    assert MANY == MAX_JOINERS
    for number in (MANY, MANY + 1):
        names = [f"net{n}" for n in range(number)]
        apps = [task(f"app{n}", 1 + n, name) for n, name in enumerate(names)]
        proxy = task("proxy", 100, *names, service=service)
        networks = [overlay(name, f"10.0.{n}.0/24") for n, name in enumerate(names)]
        found = FakeEngine(*apps, proxy).find(OVERLAYS, *networks)
        donors = {one.donor.container for one in found if one.donor is not None}
        assert len(found) == number
        # A choice of before stays as long as each may have its own.
        assert donors == ({row["Names"][0][1:] for row in apps} if number == MANY else {"proxy"})


def test_neither_the_routing_mesh_nor_the_bridge_of_tasks_are_overlays() -> None:
    engine = FakeEngine(task("web", 1, "ingress", "my-ingress", "docker_gwbridge", "old"))
    rows = (
        overlay("ingress", "10.0.0.0/24"),
        overlay("my-ingress", "10.11.0.0/16", Ingress=True),
        overlay("docker_gwbridge", "172.18.0.0/16", Driver="bridge", Scope="local"),
        overlay("old", "10.0.9.0/24", Scope="global"),
    )
    assert engine.find(OVERLAYS, *rows) == ()


def test_only_what_was_asked_for_is_looked_for() -> None:
    engine = FakeEngine(CONTROL, task("web", 1, "spread"))
    assert engine.find(AlsoRequest(), SPREAD) == ()
    assert engine.calls == []


def test_hints_name_what_is_there_and_the_option() -> None:
    settings = {"NetworkSettings": {"Networks": {"kind": {"IPAddress": "172.18.0.2"}}}}
    bridge = overlay("kind", "172.18.0.0/16", Driver="bridge", Scope="local")
    rows = [CONTROL | settings, task("web", 1, "spread")]
    networks = parse_networks([bridge, SPREAD, overlay("idle", "10.0.3.0/24")], rows)
    cluster, swarm = list_hints(networks)
    assert "cluster kind" in cluster
    assert "`macnet setup --also kubernetes`" in cluster
    assert "(spread)" in swarm
    assert "`macnet setup --also overlays`" in swarm
    further = [Further(name, kind, ()) for name, kind in _BOTH]
    assert list_hints(with_further(networks, further)) == ()


def on_kind(row: Row, number: int) -> Row:
    """A row of the listing with an address on kind's network."""
    address = f"172.18.{number // 250}.{number % 250 + 2}"
    return row | {
        "HostConfig": {"NetworkMode": "kind"},
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"kind": {"NetworkID": "net-kind", "IPAddress": address}}},
    }


def pod_like(number: int) -> Row:
    """A container in the network of a node, as pods are: it has no address of its own."""
    mode = {"NetworkMode": f"container:{CONTROL['Id']}"}
    return task(f"pod-{number}", 200 + number, service=False, HostConfig=mode)


def test_fifty_of_everything_costs_as_many_calls_as_one() -> None:
    """Nodes, containers beside them, and containers in their networks; up to what is shown."""
    nodes = [kind(f"kind-worker{number}", "worker", 10 + number) for number in range(50)]
    beside = [task(f"web-{number}", 100 + number, service=False) for number in range(50)]
    rows = [on_kind(row, number) for number, row in enumerate((CONTROL, *nodes, *beside))]
    rows += [pod_like(number) for number in range(50)]
    one, many = FakeEngine(rows[0]), FakeEngine(*rows)
    one.find(KUBERNETES)
    (found,) = many.find(KUBERNETES)
    assert found.donor is not None
    assert found.donor.container == "kind-control-plane"
    assert many.calls == one.calls
    bridge = overlay("kind", "172.18.0.0/16", Driver="bridge", Scope="local")
    networks = with_further(parse_networks([bridge], rows), [found])
    selected = select_networks(networks, include=("*",), exclude=())
    assert [item.network.name for item in selected if item.routed] == ["kind", "kubernetes=kind"]
    targets = survey.merge(
        survey.containers(selected, survey.bridges(selected), read_ports=lambda _: ())
    )
    assert len({target.address for target in targets}) == 101
    zone = build_zone("docker.test", selected, rows, {})
    assert {f"web-{number}.docker.test" for number in range(50)} <= set(zone.names)
    assert views.networks(selected, every=True)


def test_who_else_is_on_an_overlay_is_a_spare() -> None:
    rows = [task("web.1", 1, "spread", "back"), task("web.2", 2, "spread")]
    networks = [SPREAD, overlay("back", "10.0.2.0/24")]

    def spare(*, ended: str, rows: Sequence[Row]) -> bool:
        found = FakeEngine(*rows).find(OVERLAYS, *networks)
        listed = with_further(parse_networks(networks, rows), found)
        selected = select_networks(listed, include=("*",), exclude=())
        return has_spare(selected, ended, lambda: [])

    assert not spare(ended="id-web.1", rows=rows)
    rows.append(task("job", 3, "back", service=False))
    assert spare(ended="id-web.1", rows=rows)
    # It opens nothing, so nothing needs another one.
    assert not spare(ended="id-web.2", rows=rows)
    # A task of another node lends no way.
    away = rows[2] | {NODE: "other"}
    assert not spare(ended="id-web.1", rows=[*rows[:2], away])


def test_behind_a_named_container_there_is_no_other_one() -> None:
    further = Further("10.20.0.0/24", ReachKind.CIDR, (IPNetwork("10.20.0.0/24"),), DONOR)
    selected = select_networks(with_further((), [further]), include=("*",), exclude=())
    assert not has_spare(selected, DONOR.container_id, lambda: [CONTROL, WORKER])
