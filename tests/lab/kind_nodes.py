"""Nodes of a cluster as kind makes them, played by containers: no Kubernetes runs in them.

What macnet and a program's traffic see of kind is here: containers with kind's labels on a bridge
named ``kind``, kubeadm's files in them, pods behind veth pairs as kindnet's, and kube-proxy's
chains (iptables mode) in each node. A pod is a container without a network of its own that gets one
of the node's. The cluster's resolver is a real dnsmasq.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .engine import Engine
from .images import SAMPLE_IMAGE
from .process import ProcessId, run, spawn, stop

DATA = Path(__file__).parents[1] / "data" / "kubernetes"
NETWORK = "kind"
WEB_SERVICE, DNS_SERVICE = "10.96.0.100", "10.96.0.10"
DOMAIN = "cluster.local"
_PODS, _SERVICES = "10.244.0.0/16", "10.96.0.0/16"
_RULES = """\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-WEB1 - [0:0]
:KUBE-SEP-WEB2 - [0:0]
:KUBE-EXT-WEB - [0:0]
:KUBE-SVC-DNS - [0:0]
:KIND-MASQ-AGENT - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A POSTROUTING -m addrtype ! --dst-type LOCAL -j KIND-MASQ-AGENT
-A KIND-MASQ-AGENT -d {pods} -j RETURN
-A KIND-MASQ-AGENT -j MASQUERADE
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d {web}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -d {dns}/32 -p udp -m udp --dport 53 -j KUBE-SVC-DNS
-A KUBE-SERVICES -d {dns}/32 -p tcp -m tcp --dport 53 -j KUBE-SVC-DNS
-A KUBE-SERVICES -d {balancer}/32 -p tcp -m tcp --dport 80 -j KUBE-EXT-WEB
-A KUBE-EXT-WEB -j KUBE-MARK-MASQ
-A KUBE-EXT-WEB -j KUBE-SVC-WEB
-A KUBE-SVC-WEB ! -s {pods} -j KUBE-MARK-MASQ
-A KUBE-SVC-WEB -m statistic --mode random --probability 0.5 -j KUBE-SEP-WEB1
-A KUBE-SVC-WEB -j KUBE-SEP-WEB2
-A KUBE-SEP-WEB1 -p tcp -m tcp -j DNAT --to-destination {first}:80
-A KUBE-SEP-WEB2 -p tcp -m tcp -j DNAT --to-destination {second}:80
-A KUBE-SVC-DNS ! -s {pods} -j KUBE-MARK-MASQ
-A KUBE-SVC-DNS -p udp -m udp -j DNAT --to-destination {resolver}:53
-A KUBE-SVC-DNS -p tcp -m tcp -j DNAT --to-destination {resolver}:53
COMMIT
"""


class KindNodes:
    """A cluster of two nodes, with a pod ``web`` on each and the cluster's resolver on the first.

    `up` and `down` it; `play` does both.
    """

    def __init__(self, engine: Engine, name: str = "kind") -> None:
        self.name = name
        self.control, self.worker = f"{name}-control-plane", f"{name}-worker"
        #: Addresses of the pods, by node.
        self.pods = {self.control: "10.244.0.5", self.worker: "10.244.1.5"}
        self.resolver = "10.244.0.2"
        self._engine = engine
        self._dnsmasq: ProcessId | None = None

    @classmethod
    @contextmanager
    def play(cls, engine: Engine, name: str = "kind") -> Iterator[KindNodes]:
        """The cluster while the block runs."""
        nodes = cls(engine, name)
        try:
            nodes.up()
            yield nodes
        finally:
            nodes.down()

    def up(self) -> None:
        """Make network, nodes and pods."""
        self.down()
        self._engine.docker("network", "create", NETWORK)
        for node, role in ((self.control, "control-plane"), (self.worker, "worker")):
            self.make_node(node, role)
        for pod in self._pod_names():
            self._run(pod, "--network", "none")
        self._dress_all()

    def make_node(self, node: str, role: str, *, manifest: str | None = None) -> None:
        """Start a container that looks as one of kind's; ``manifest`` for one with another file."""
        labels = (f"io.x-k8s.kind.cluster={self.name}", f"io.x-k8s.kind.role={role}")
        words = [word for label in labels for word in ("--label", label)]
        self._engine.docker(
            # kind's are privileged. What that adds is not used here, and an engine 20.10 wants all
            # rights of the kernel for it, which a machine that is a container itself lacks.
            *("create", "--name", node, "--hostname", node, "--cap-add", "NET_ADMIN"),
            *("--restart", "on-failure:1", "--stop-signal", "SIGKILL", "--network", NETWORK),
            *(*words, SAMPLE_IMAGE),
        )
        tree = self._engine.vm.paths.home / f"files-{node}"
        files = {"var/lib/kubelet/config.yaml": (DATA / "kubelet-config.yaml").read_text()}
        if role == "control-plane":
            text = (DATA / "kube-controller-manager.yaml").read_text()
            path = "etc/kubernetes/manifests/kube-controller-manager.yaml"
            files[path] = text if manifest is None else manifest
        for path, content in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(content)
        self._engine.docker("cp", f"{tree}/.", f"{node}:/")
        shutil.rmtree(tree)
        self._engine.docker("start", node)

    def down(self) -> None:
        """Remove everything of it that is there."""
        self.stop_resolver()
        names = {self.control, self.worker, *self._pod_names()}
        listed = self._engine.docker("ps", "-a", "--format", "{{.Names}}").split()
        if there := sorted(names & set(listed)):
            self._engine.docker("rm", "-f", *there)
        if NETWORK in self._engine.docker("network", "ls", "--format", "{{.Name}}").split():
            self._engine.docker("network", "rm", NETWORK)

    def restart(self, node: str) -> None:
        """Restart a node: its network namespace is another one then."""
        self._engine.docker("restart", node)
        self.dress(node)

    def restart_engine(self) -> None:
        """Restart the engine, and wait until the cluster is whole again."""
        self._engine.restart()
        self._engine.wait_running([*self.pods, *self._pod_names()])
        self._dress_all()

    @property
    def balancer(self) -> str:
        """An address of the nodes' network that a load balancer of the cluster would answer at."""
        return self.address(self.control).rpartition(".")[0] + ".200"

    def address(self, node: str) -> str:
        """A node's own address."""
        found = self._engine.get(f"/containers/{node}/json")["NetworkSettings"]["Networks"]
        return str(found[NETWORK]["IPAddress"])

    def enter(self, container: str) -> list[str]:
        """Words to put before a command that shall run in the network of a container."""
        pid = self._engine.get(f"/containers/{container}/json")["State"]["Pid"]
        return ["nsenter", f"--net=/proc/{pid}/ns/net"]

    def rules(self, node: str) -> str:
        """Packet filter, routes, policy and addresses of a node."""
        enter = self.enter(node)
        saved = run([*enter, "iptables-nft-save"]).stdout.splitlines()
        looks = (["route", "show", "table", "all"], ["rule"], ["-brief", "address"])
        told = [run([*enter, "ip", *words]).stdout for words in looks]
        kept = (line.partition(" [")[0] for line in saved if not line.startswith("#"))
        return "\n".join([*kept, *told])

    def _pod_names(self) -> tuple[str, ...]:
        return (*(f"pod-{node}" for node in self.pods), f"pod-{self.name}-dns")

    def _run(self, name: str, *words: str) -> None:
        self._engine.docker(
            *("run", "-d", "--name", name, "--hostname", name, "--stop-signal", "SIGKILL"),
            *("--restart", "on-failure:1", *words, SAMPLE_IMAGE),
        )

    def _dress_all(self) -> None:
        for node in self.pods:
            self.dress(node)

    def dress(self, node: str) -> None:
        """Give a node its pods, its routes and its chains, as kindnet and kube-proxy would."""
        enter = self.enter(node)
        for key in ("ip_forward", "conf.all.rp_filter"):
            run([*enter, "sysctl", "-qw", f"net.ipv4.{key}=1"])
        self._connect(node, f"pod-{node}", self.pods[node])
        if node == self.control:
            self._connect(node, f"pod-{self.name}-dns", self.resolver)
            run([*enter, "ip", "address", "add", f"{self.balancer}/32", "dev", "eth0"])
            self.start_resolver()
        for other in self.pods:
            for one, its in ((node, other), (other, node)):
                if one != its:
                    self._route(one, its)
        rules = _RULES.format(
            pods=_PODS,
            web=WEB_SERVICE,
            dns=DNS_SERVICE,
            balancer=self.balancer,
            first=self.pods[self.control],
            second=self.pods[self.worker],
            resolver=self.resolver,
        )
        run([*enter, "iptables-nft-restore", "--noflush"], input=rules)

    def _route(self, node: str, other: str) -> None:
        """Send a node's packets for the other one's pods there."""
        pods = self.pods[other].rpartition(".")[0] + ".0/24"
        argv = ["ip", "route", "replace", pods, "via", self.address(other)]
        run([*self.enter(node), *argv])

    def _connect(self, node: str, pod: str, address: str) -> None:
        """A pair of interfaces as kindnet makes it: each end knows the other's address alone."""
        gateway = address.rpartition(".")[0] + ".1"
        inside, outside = self.enter(pod), self.enter(node)
        pid = inside[1].split("/")[2]
        link = f"veth{address.replace('.', '')}"
        run([*inside, "ip", "link", "delete", "eth0"], check=False)
        run([*outside, "ip", "link", "add", link, "type", "veth", "peer", "eth0", "netns", pid])
        run([*inside, "ip", "address", "add", f"{address}/32", "dev", "eth0"])
        run([*inside, "ip", "link", "set", "eth0", "up"])
        run([*inside, "ip", "route", "add", gateway, "dev", "eth0", "scope", "link"])
        run([*inside, "ip", "route", "add", "default", "via", gateway])
        # An address of IPv6 would come a moment later, and `rules` be another one.
        run([*outside, "ip", "link", "set", link, "addrgenmode", "none"])
        run([*outside, "ip", "address", "add", f"{gateway}/32", "dev", link])
        run([*outside, "ip", "link", "set", link, "up"])
        run([*outside, "ip", "route", "add", f"{address}/32", "dev", link, "scope", "host"])

    def stop_resolver(self) -> None:
        """End the cluster's resolver, where it runs."""
        if self._dnsmasq is not None:
            stop(self._dnsmasq)
            self._dnsmasq = None

    def start_resolver(self) -> None:
        """Start it, or once more."""
        self.stop_resolver()
        records = {
            f"kubernetes.default.svc.{DOMAIN}": "10.96.0.1",
            f"web.default.svc.{DOMAIN}": WEB_SERVICE,
        }
        long = ",".join("x" * 200 for _ in range(10))
        argv = [
            *self.enter(f"pod-{self.name}-dns"),
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-"),
            *("--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--bind-interfaces"),
            *(f"--listen-address={self.resolver}", f"--local=/{DOMAIN}/"),
            *(f"--host-record={name},{address}" for name, address in records.items()),
            *(f"--host-record=pods.default.svc.{DOMAIN},{pod}" for pod in self.pods.values()),
            f"--txt-record=long.default.svc.{DOMAIN},{long}",
        ]
        self._dnsmasq = spawn(argv, self._engine.vm.paths.home / f"dns-{self.name}.log")
