"""Kubernetes clusters whose nodes are containers of the engine: kind, minikube, k3d. Pure.

Nodes are known by the labels that these programs give them, a cluster's ranges are read from its
nodes' own files. Nothing runs in a node, and no credential of the cluster is touched.

Labels: kind ``pkg/cluster/internal/providers/docker/constants.go``; minikube
``pkg/drivers/kic/oci/types.go`` and ``kic.go``; k3d ``pkg/types/labels.go``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netaddr import AddrFormatError, IPAddress, IPNetwork

Json = Mapping[str, Any]
#: The content of a file of a container; None if it or the container is missing.
ReadFile = Callable[[str, str], bytes | None]

#: What kubeadm writes on each node of the control plane, and on every node.
MANIFEST = "/etc/kubernetes/manifests/kube-controller-manager.yaml"
KUBELET = "/var/lib/kubelet/config.yaml"
#: The settings of k3s, where there is such a file.
K3S = "/etc/rancher/k3s/config.yaml"
#: What nearly every cluster calls its domain; one of them may have it on this machine.
CLUSTER_DOMAIN = "cluster.local"
#: What k3s takes where nothing else is said (its documentation, "Networking").
_K3S_PODS, _K3S_SERVICES = "10.42.0.0/16", "10.43.0.0/16"
#: What k3s takes as a list, whose flag may be repeated (its ``pkg/cli/cmds/server.go``).
_LISTS = frozenset({"cluster-cidr", "service-cidr", "cluster-dns"})
#: What begins a value in YAML that is no plain one; "" is none at all.
_OTHER_YAML = frozenset(["", *"{&*!|>%@`"])
#: kubeadm and k3s give the cluster's resolver the tenth address of the services.
_TENTH = 10

_KIND, _KIND_ROLE = "io.x-k8s.kind.cluster", "io.x-k8s.kind.role"
_MINIKUBE = "created_by.minikube.sigs.k8s.io"
_MINIKUBE_NAME = "name.minikube.sigs.k8s.io"
_K3D, _K3D_ROLE = "k3d.cluster", "k3d.role"
#: A label of DNS, and the longest domain that leaves room for names of services in it.
_LABEL, _MAX_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"), 189
#: minikube names further nodes after the first one.
_MINIKUBE_FURTHER = re.compile(r"(.+)-m\d{2,}")
#: The roles that nodes have; kind's and k3d's load balancers and registries are none.
_ROLES = {"control-plane": True, "worker": False, "server": True, "agent": False}


@dataclass(frozen=True, slots=True)
class Node:
    """What a container's labels say of it as a node; ``control`` is one of the control plane."""

    cluster: str
    program: str
    control: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster with its nodes, as rows of ``GET /containers/json``.

    Nodes of the control plane come first, then the oldest, so that the choice of one stays.
    """

    name: str
    program: str
    control: tuple[Json, ...]
    workers: tuple[Json, ...]

    @property
    def nodes(self) -> tuple[Json, ...]:
        """All nodes, those of the control plane first."""
        return (*self.control, *self.workers)

    @property
    def running(self) -> tuple[Json, ...]:
        """The nodes that run."""
        return tuple(row for row in self.nodes if is_running(row))


@dataclass(frozen=True, slots=True)
class Ranges:
    """A cluster's ranges, its resolver (None where it is not known) and the resolver's domain.

    ``source`` says where they were read.
    """

    pods: tuple[IPNetwork, ...]
    services: tuple[IPNetwork, ...]
    dns: IPAddress | None
    domain: str
    source: str


def is_running(row: Json) -> bool:
    """Whether a row of ``GET /containers/json`` is of a container that runs."""
    return str(row.get("State") or "running") == "running"


def find_node(labels: Json | None) -> Node | None:
    """The node that a container is by its labels, None for any other container."""
    given = {str(key): str(value) for key, value in (labels or {}).items()}
    if name := given.get(_KIND):
        control = _ROLES.get(given.get(_KIND_ROLE, ""))
        return None if control is None else Node(name, "kind", control)
    if given.get(_MINIKUBE) == "true" and (name := given.get(_MINIKUBE_NAME)):
        return Node(name, "minikube", _MINIKUBE_FURTHER.fullmatch(name) is None)
    if name := given.get(_K3D):
        control = _ROLES.get(given.get(_K3D_ROLE, ""))
        return None if control is None else Node(name, "k3d", control)
    return None


def find_cluster(row: Json) -> str | None:
    """The cluster of whose control plane a container is, None for any other container."""
    node = find_node(row.get("Labels"))
    return node.cluster if node is not None and node.control else None


def list_clusters(containers: Iterable[Json]) -> tuple[Cluster, ...]:
    """The clusters of an engine, the oldest first. ``containers`` are rows of its listing."""
    rows = sorted(containers, key=lambda row: (row.get("Created") or 0, str(row["Id"])))
    known = [(node, row) for row in rows if (node := find_node(row.get("Labels"))) is not None]
    first = {node.cluster for node, _ in known if node.program == "minikube" and node.control}
    nodes: dict[tuple[str, str], tuple[list[Json], list[Json]]] = {}
    for node, row in known:
        name, control = node.cluster, node.control
        further = _MINIKUBE_FURTHER.fullmatch(name) if node.program == "minikube" else None
        if further is not None:
            # Another profile may have such a name of its own.
            name, control = (further[1], False) if further[1] in first else (name, True)
        control_rows, worker_rows = nodes.setdefault((node.program, name), ([], []))
        (control_rows if control else worker_rows).append(row)
    return tuple(
        Cluster(name, program, tuple(control), tuple(workers))
        for (program, name), (control, workers) in nodes.items()
    )


def lacks_first(cluster: Cluster) -> bool:
    """Whether the node that tells a cluster's ranges may be missing among the rows it is made of.

    A further node of minikube looks like a cluster of its own without the first one.
    """
    return not cluster.control or _stem(cluster) != cluster.name


def _stem(cluster: Cluster) -> str:
    """The name that minikube would have given a cluster's first node."""
    further = _MINIKUBE_FURTHER.fullmatch(cluster.name) if cluster.program == "minikube" else None
    return cluster.name if further is None else further[1]


def has_other_node(name: str, identity: str, containers: Iterable[Json]) -> bool:
    """Whether a node of the cluster ``name`` runs besides the container with that id.

    ``containers`` may be the running ones alone, so without minikube's first node.
    """
    return any(
        str(row["Id"]) != identity
        for cluster in list_clusters(containers)
        if name in {cluster.name, _stem(cluster)}
        for row in cluster.running
    )


def read_ranges(cluster: Cluster, read_file: ReadFile) -> Ranges | str:
    """A cluster's ranges from the files of its nodes, also of one that has stopped.

    The reason in words where they cannot be read. ``read_file`` may raise what a call to the
    engine raises.
    """
    if not cluster.control:
        return f"no node of the control plane of {cluster.name} is there to read its ranges from"
    read = _read_k3s if cluster.program == "k3d" else _read_kubeadm
    return read(cluster.control[0], read_file)


def _read_kubeadm(node: Json, read_file: ReadFile) -> Ranges | str:
    where = f"{_name(node)}:{MANIFEST}"
    manifest = _text(read_file(str(node["Id"]), MANIFEST))
    if manifest is None:
        return f"there is no {where}"
    pods = _ranges(_argument(manifest, "cluster-cidr"))
    services = _ranges(_argument(manifest, "service-cluster-ip-range"))
    if not pods or not services:
        lacking = "--cluster-cidr" if not pods else "--service-cluster-ip-range"
        return f"{where} has no {lacking} that can be read"
    kubelet = _text(read_file(str(node["Id"]), KUBELET)) or ""
    listed = re.search(r"^clusterDNS:\s*\[?\s*(?:-\s*)?['\"]?([0-9a-fA-F.:]+)", kubelet, re.M)
    return Ranges(
        pods,
        services,
        _address(listed[1]) if listed else None,
        _domain(_setting(kubelet, "clusterDomain")),
        where,
    )


def _read_k3s(node: Json, read_file: ReadFile) -> Ranges | str:
    """What k3s was told by its arguments, else by its file, else what it takes by itself."""
    command = str(node.get("Command") or "")
    settings = _text(read_file(str(node["Id"]), K3S))
    sources: list[str] = []

    def find(key: str) -> str | None:
        if (told := _argument(command, key, many=key in _LISTS)) is not None:
            sources.append(f"the command of {_name(node)}")
            return told
        if (told := _setting(settings or "", key)) is not None:
            sources.append(f"{_name(node)}:{K3S}")
            return told
        return None

    told_pods, told_services = find("cluster-cidr"), find("service-cidr")
    pods = _ranges(_K3S_PODS if told_pods is None else told_pods)
    services = _ranges(_K3S_SERVICES if told_services is None else told_services)
    source = " and ".join(dict.fromkeys(sources)) or "the defaults of k3s"
    if not pods or not services:
        return f"{source}: the {'pods' if not pods else 'services'} have a range nobody can read"
    told = find("cluster-dns")
    dns = _tenth(services[0]) if told is None else _address(told.split(",")[0])
    return Ranges(pods, services, dns, _domain(find("cluster-domain")), source)


def _tenth(services: IPNetwork) -> IPAddress | None:
    """The resolver's address where nothing else is said; None in a range that is too small."""
    if services.size <= _TENTH:
        return None
    return IPAddress(services.first + _TENTH, services.version)


def _name(row: Json) -> str:
    names: Sequence[object] = row.get("Names") or ()
    return str(names[0]).lstrip("/") if names else str(row["Id"])[:12]


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(errors="replace")


def _argument(text: str, name: str, *, many: bool = False) -> str | None:
    """The value of an argument in a command, or in a list of arguments in YAML.

    Of several the last one counts, or all of them where it takes ``many``. None where it is not
    there, "" where its value is not.
    """
    found = re.findall(rf"--{name}(?:=|\s+)['\"]?([^\s'\"]+)", text)
    if not found:
        return "" if re.search(rf"--{name}(?![\w-])", text) else None
    return ",".join(found) if many else str(found[-1])


def _setting(text: str, key: str) -> str | None:
    """The value of a key at the left edge of YAML; the items of a list are joined by commas.

    None where the key is not there, "" where it is there twice, or it or its value is written in
    another way than a list or one line.
    """
    found = list(re.finditer(rf"^(['\"]?){key}\1[ \t]*:(?=\s|$)", text, re.M))
    if not found:
        return "" if re.search(rf"^[^#\n]*(?<![\w-]){key}['\"]?\+?\s*:", text, re.M) else None
    if len(found) > 1:
        return ""
    head, *lines = text[found[0].end() :].splitlines() or [""]
    value = _bare(head)
    if value.startswith("["):
        return _flow(value, lines)
    if value[:1] in _OTHER_YAML:  # also where there is no value
        return _items(lines) if not value else ""
    return value.strip("'\"")


def _bare(line: str) -> str:
    """A line of YAML without its comment."""
    return re.sub(r"(^|\s)#.*", "", line).strip()


def _items(lines: Iterable[str]) -> str:
    """The items of a list in YAML, which has one on each line."""
    found = []
    for line in map(_bare, lines):
        if line and not line.startswith("- "):
            if line.startswith("-"):
                return ""
            break
        found += [line[2:].strip().strip("'\"")] if line else []
    return ",".join(found)


def _flow(first: str, lines: Iterable[str]) -> str:
    """The items of a list in YAML that is in brackets; "" where these are not closed."""
    text = " ".join([first, *map(_bare, lines)])
    inside, closed, _ = text[1:].partition("]")
    items = (item.strip().strip("'\"") for item in inside.split(","))
    return ",".join(filter(None, items)) if closed else ""


def _ranges(text: str | None) -> tuple[IPNetwork, ...]:
    """The ranges in "10.244.0.0/16,fd00:10:244::/56"; none if one of them is no range."""
    found = []
    for word in (text or "").split(","):
        try:
            net = IPNetwork(word.strip()).cidr
        except (AddrFormatError, ValueError):
            return ()
        if "/" not in word or not net.prefixlen:
            return ()
        found.append(net)
    return tuple(found)


def _domain(text: str | None) -> str:
    """A domain in lower case; `CLUSTER_DOMAIN` for what is none, since names are made of it."""
    domain = (text or "").lower().removesuffix(".")
    whole = len(domain) <= _MAX_DOMAIN and all(map(_LABEL.fullmatch, domain.split(".")))
    return domain if whole else CLUSTER_DOMAIN


def _address(text: str) -> IPAddress | None:
    try:
        return IPAddress(text.strip())
    except (AddrFormatError, ValueError):
        return None
