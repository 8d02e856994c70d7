"""`setup --also`: what lies behind a container, and what the engine's own host has a route for.

A container, `router`, has a second interface that Docker knows nothing of; behind it are the
subnets FAR and SHUT with one machine, `island`, which has an address in each.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.proxy import EngineProxy
from tests.e2e.steps import LANE, Mac, wait_until
from tests.e2e.test_heal import main_process
from tests.e2e.test_watch import SOON, watch
from tests.e2e.world import assert_traffic, look
from tests.lab import BASE_IMAGE, HTTP_PORT, UDP_ECHO_PORT, Lab
from tests.lab.images import SAMPLE_IMAGE
from tests.lab.process import DEVNULL

FAR, SHUT, HOME = "10.20.0.0/24", "10.21.0.0/24", "172.83.50.0/24"
THERE, CLOSED = "10.20.0.2", "10.21.0.2"
ALSO = ("--also", f"{FAR}=router")
#: Sends a datagram and prints "unreachable" if that is the answer. Linux tells of it only whoever
#: asks for such errors (IP_RECVERR).
_UDP_ERROR = """
import errno, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 11, 1)
s.settimeout(3)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"hello")
try:
    print(s.recv(100))
except OSError as error:
    print("unreachable" if error.errno == errno.EHOSTUNREACH else error)
"""
#: A kernel sends one host few errors of ICMP at once (icmp_ratelimit).
_MORE_ERRORS_S = 2.0
#: Such a container comes back with its engine.
_STAYS = ("--restart", "unless-stopped", "--stop-signal", "SIGKILL")


@dataclass(frozen=True)
class Behind:
    """The two containers."""

    lab: Lab

    def start(self) -> None:
        """Make them, and the wire between them."""
        self.stop()
        self.lab.docker("network", "create", "--subnet", HOME, "routers")
        self.router()
        words = ["--name", "island", "--network", "none", SAMPLE_IMAGE]
        self.lab.docker("run", "-d", *_STAYS, *words)
        self.wire()

    def router(self) -> None:
        """Make the router, as a program that only waits."""
        words = ["--init", "--name", "router", "--network", "routers", BASE_IMAGE]
        self.lab.docker("run", "-d", *_STAYS, *words, "sleep", "3600")

    def wire(self) -> None:
        """A wire of before is in a namespace that is gone, or goes with its joiner."""
        router, island = (str(self.lab.sample.pid(name)) for name in ("router", "island"))
        run = self.lab.vm_run
        run(["nsenter", f"--net=/proc/{island}/ns/net", "ip", "link", "del", "far0"], check=False)
        near = ["ip", "link", "add", "far0", "netns", router, "type", "veth"]
        run([*near, "peer", "name", "far0", "netns", island])
        for pid, host in ((router, 1), (island, 2)):
            inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
            for subnet in ("10.20.0", "10.21.0"):
                run([*inside, "addr", "add", f"{subnet}.{host}/24", "dev", "far0"])
            run([*inside, "link", "set", "far0", "up"])

    def stop(self) -> None:
        """Take all away."""
        self.lab.docker("rm", "-f", "router", "island")
        if "routers" in self.lab.docker("network", "ls", "--format", "{{.Name}}").split():
            self.lab.docker("network", "rm", "routers")


@pytest.fixture(scope="module")
def behind(lab: Lab) -> Iterator[Behind]:
    made = Behind(lab)
    made.start()
    yield made
    Mac(lab).macnet("down", "--purge")
    made.stop()


@pytest.fixture
def far(behind: Behind, mac: Mac) -> Mac:
    """The Mac side with a tunnel that also reaches FAR."""
    mac.macnet("setup", "--reset", *ALSO)
    assert mac.http(THERE)
    return mac


def inspect(mac: Mac, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mac.lab.docker("inspect", name))[0]
    return found


def joiners(mac: Mac) -> dict[str, str]:
    return {name: one for name, one in mac.containers().items() if "joiner" in name}


def routed(mac: Mac) -> str:
    return str(mac.lab.run(["ip", "route"]).stdout)


def in_server(mac: Mac, *argv: str) -> str:
    """A program in the server's network namespace."""
    pid = main_process(mac, "macnet-server").pid
    return str(mac.lab.run(["nsenter", f"--net=/proc/{pid}/ns/net", *argv]).stdout)


def parts(mac: Mac, joiner: str) -> dict[int, str]:
    """The processes of the relay that are in the namespace of a joiner: "pasta" and "lane"."""
    pid = inspect(mac, joiner)["State"]["Pid"]
    inode = Path(f"/proc/{pid}/ns/net").stat().st_ino
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            same = (folder / "ns/net").stat().st_ino == inode
            text = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if same and ("pasta" in text or "macnet.relay.lane" in text):
            found[int(folder.name)] = "pasta" if "pasta" in text else "lane"
    return found


def kill_pasta(mac: Mac, joiner: str) -> None:
    """End what carries UDP and ping; the relay starts it again at once."""
    for pid, part in parts(mac, joiner).items():
        if part == "pasta":
            mac.lab.vm_run(["kill", "-9", str(pid)], check=False)


@contextmanager
def stopped(mac: Mac, container: str) -> Iterator[None]:
    """The main process of a container does nothing while the block runs."""
    pid = str(main_process(mac, container).pid)
    mac.lab.vm_run(["kill", "-STOP", pid])
    try:
        yield
    finally:
        mac.lab.vm_run(["kill", "-CONT", pid])


def refuses_at_once(mac: Mac, address: str) -> bool:
    """Whether a ping and a datagram are answered with an error, and not lost."""
    ping = mac.lab.run(["ping", "-n", "-c", "1", "-W", "3", address], check=False)
    datagram = mac.lab.run([sys.executable, "-c", _UDP_ERROR, address, str(UDP_ECHO_PORT)])
    return "Unreachable" in ping.stdout and datagram.stdout.strip() == "unreachable"


@contextmanager
def counted(mac: Mac, subnet: str, tap: str) -> Iterator[list[int]]:
    """Counts what leaves for ``subnet`` by ``tap`` while the block runs."""
    backend = mac.lab.docker("exec", "macnet-server", "cat", "/run/macnet/iptables").strip()
    table = [f"iptables-{backend}", "-t", "mangle"]
    rule = ["POSTROUTING", "-o", tap, "-d", subnet]
    in_server(mac, *table, "-A", *rule)
    found: list[int] = []
    try:
        yield found
        rows = in_server(mac, *table, "-nvxL", "POSTROUTING").splitlines()
        found += [int(row.split()[0]) for row in rows if f" {tap} " in row]
    finally:
        in_server(mac, *table, "-D", *rule)


def rules(lab: Lab) -> dict[str, str]:
    """Every rule and route of the VM and of the router, without counters."""
    router = f"--net=/proc/{lab.sample.pid('router')}/ns/net"
    asked = [[tool] for tool in ("iptables-nft-save", "iptables-legacy-save")]
    asked += [["ip", *words] for words in (("route",), ("-6", "route"), ("rule",), ("addr",))]
    asked += [["sysctl", "net.ipv4.ping_group_range", "net.ipv4.ip_forward"]]
    found = {}
    for argv in asked:
        for where, prefix in (("vm", []), ("router", ["nsenter", router])):
            text = lab.vm_run([*prefix, *argv]).stdout
            kept = [line for line in text.splitlines() if not line.startswith("#")]
            kept = [line.partition("[")[0] if line.startswith(":") else line for line in kept]
            found[f"{where}: {' '.join(argv)}"] = "\n".join(
                # How long an address of IPv6 stays is counted down.
                line
                for line in kept
                if "valid_lft" not in line and "expires" not in line
            )
    return found


def test_tcp_udp_and_ping_reach_what_is_behind_a_container(far: Mac) -> None:
    assert far.pings(THERE)
    assert far.udp(THERE)
    assert far.tcp(THERE, HTTP_PORT + 1) == "refused"
    if LANE == "kernel":  # pasta tells a client that nobody is there as it tells a closed port
        assert far.tcp("10.20.0.77", HTTP_PORT, wait_s=8) == "unreachable"
    assert_traffic(far)
    argv = ["curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{size_download}"]
    size = far.lab.run([*argv, "-r", "0-67108863", f"http://{THERE}/big"]).stdout
    assert int(size) == 64 << 20
    # A second setup changes nothing; a dry run says so.
    before = look(far)
    assert far.json("setup")["setup"]["changed"] is False
    assert look(far) == before
    plan = far.json("setup", "--dry-run")["plan"]
    assert [(one["donor"], one["action"]) for one in plan["joiners"]] == [("router", "keep")]


def test_it_is_told_in_every_place(far: Mac) -> None:
    [row] = [row for row in far.json("networks")["networks"] if row["network"]["name"] == FAR]
    assert row["network"]["further"]["donor"]["container"] == "router"
    assert f"{FAR}" in far.macnet("networks").stdout
    assert "through router" in far.macnet("networks").stdout
    status = far.json("status")["status"]
    [joiner] = status["joiners"]
    assert [joiner["name"]] == list(joiners(far))
    assert (joiner["donor"], joiner["subnets"]) == ("router", [FAR])
    assert (joiner["state"], joiner["attached"]) == ("running", True)
    assert f"{FAR} through router" in far.macnet("status").stdout
    assert FAR in routed(far)


def test_the_joiner_may_nothing_and_is_nowhere(far: Mac) -> None:
    [name] = joiners(far)
    found = inspect(far, name)
    host = found["HostConfig"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    assert host["ReadonlyRootfs"] and not host["Privileged"] and not host["Binds"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["RestartPolicy"]["Name"] == "no"
    assert not found["NetworkSettings"]["Networks"] and not found["NetworkSettings"]["Ports"]
    pid = found["State"]["Pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    rights = [line.split()[1] for line in status.splitlines() if line.startswith("Cap")]
    assert {int(one, 16) for one in rights} == {0}
    routers = json.loads(far.lab.docker("network", "inspect", "routers"))[0]
    assert [one["Name"] for one in routers["Containers"].values()] == ["router"]
    # The relay has no more than without a joiner, and what moves bytes only what verdicts need.
    relay = inspect(far, "macnet-relay")["HostConfig"]
    added = {one.removeprefix("CAP_") for one in relay["CapAdd"]}
    assert added == {"NET_ADMIN", "SYS_ADMIN"}
    if LANE == "kernel":
        main = main_process(far, "macnet-relay").pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        lanes = [
            Path("/proc", child)
            for child in children
            if b"macnet.relay.lane" in Path("/proc", child, "cmdline").read_bytes()
        ]
        assert len(lanes) == 2
        for lane in lanes:
            told = (lane / "status").read_text().splitlines()
            [effective] = [row.split()[1] for row in told if row.startswith("CapEff")]
            assert int(effective, 16) == 1 << 12, "CAP_NET_ADMIN alone"


def test_only_what_was_asked_for_is_open_behind_it(far: Mac) -> None:
    """Neither another subnet of the same container nor its address on Docker's own network."""
    tap = far.json("status")["status"]["client"]["interface"]
    far.lab.run(["ip", "route", "add", SHUT, "dev", tap])
    try:
        assert far.tcp(CLOSED, HTTP_PORT) in {"refused", "unreachable"}
        assert not far.udp(CLOSED)
        assert not far.pings(CLOSED, wait_s=1)
    finally:
        far.lab.run(["ip", "route", "del", SHUT, "dev", tap])
    # The bridge of the router is reached through the VM, as ever.
    with counted(far, HOME, "relay1") as by_joiner:
        assert far.pings(far.lab.sample.address("router", "routers"))
    assert by_joiner == [0]


def test_a_lane_that_ends_is_unreachable_and_nothing_takes_another(far: Mac) -> None:
    [name] = joiners(far)
    with counted(far, FAR, "relay0") as by_vm:
        far.lab.docker("kill", "--signal", "KILL", name)
        wait_until(
            lambda: far.tcp(THERE, HTTP_PORT) == "unreachable", SOON, "an answer that it has gone"
        )
        # A packet that is lost would end as "timeout".
        for _ in range(5):
            assert far.tcp(THERE, HTTP_PORT) == "unreachable"
        assert not far.udp(THERE)
        assert not far.pings(THERE, wait_s=1)
        assert_traffic(far)
    assert by_vm == [0]
    [told] = far.json("status", check=False)["status"]["joiners"]
    assert (told["state"], told["attached"]) == ("exited", False)
    far.macnet("regenerate")
    assert far.http(THERE) and far.udp(THERE) and far.pings(THERE)


def test_without_its_pasta_a_subnet_is_unreachable_and_nothing_takes_another(far: Mac) -> None:
    """While the relay cannot start it again, and while it does so over and over."""
    [name] = joiners(far)
    tries = ["ping", "-n", "-i", "0.02", "-c", "100", "-W", "1", THERE]
    with counted(far, FAR, "relay0") as by_vm:
        with stopped(far, "macnet-relay"):
            kill_pasta(far, name)
            wait_until(lambda: refuses_at_once(far, THERE), SOON, "an answer that it has gone")
            for _ in range(2):
                time.sleep(_MORE_ERRORS_S)
                assert refuses_at_once(far, THERE)
            if LANE == "pasta":
                assert far.tcp(THERE, HTTP_PORT) == "unreachable"
        wait_until(lambda: far.udp(THERE), SOON, "a datagram that comes back")
        pinging = far.lab.popen(tries, stdout=DEVNULL, stderr=DEVNULL)
        while pinging.poll() is None:
            kill_pasta(far, name)
            time.sleep(0.1)
        wait_until(lambda: far.udp(THERE) and far.pings(THERE), SOON, "an answer again")
        assert_traffic(far)
    assert by_vm == [0]
    assert far.http(THERE)


def test_each_part_of_a_lane_comes_back(far: Mac) -> None:
    [name] = joiners(far)
    wanted = {"pasta", "lane"} if LANE == "kernel" else {"pasta"}
    assert set(parts(far, name).values()) == wanted
    for part in parts(far, name):
        far.lab.vm_run(["kill", "-9", str(part)])
    wait_until(lambda: far.http(THERE) and far.udp(THERE), SOON, "an answer")
    assert set(parts(far, name).values()) == wanted
    for container in ("macnet-relay", "macnet-server"):
        far.lab.docker("restart", "-t", "3", container)
        wait_until(lambda: far.http(THERE) and far.udp(THERE), 30, f"an answer after {container}")


def test_watch_follows_the_container(far: Mac, behind: Behind, tmp_path: Path) -> None:
    first = joiners(far)
    with watch(far, tmp_path / "said") as watching:
        far.lab.docker("restart", "-t", "1", "router")
        behind.wire()
        wait_until(lambda: far.http(THERE), SOON, "an answer after its restart")
        watching.wait_for("joined the network of router")
        assert set(joiners(far).values()).isdisjoint(first.values())
        # A joiner is in the way of nothing.
        far.lab.docker("rm", "-f", "router")
        far.lab.docker("network", "rm", "routers")
        watching.wait_for(f"- {FAR}")
        wait_until(lambda: not joiners(far), SOON, "no joiner")
        watching.wait_for(f"{FAR} is not reached: no container router runs")
        assert far.json("status", check=False)["status"]["joiners"] == []
        far.lab.docker("network", "create", "--subnet", HOME, "routers")
        behind.router()
        behind.wire()
        watching.wait_for(f"+ {FAR}")
        wait_until(lambda: far.http(THERE) and far.udp(THERE), SOON, "an answer again")
        assert_traffic(far)


def test_watch_follows_an_engine_that_restarts(far: Mac, behind: Behind, tmp_path: Path) -> None:
    with watch(far, tmp_path / "said") as watching:
        far.lab.engine.restart()
        far.lab.engine.wait_running(["router", "island"])
        behind.wire()
        far.lab.sample.wait_ready()
        wait_until(lambda: far.http(THERE) and far.udp(THERE), SOON, "an answer after its restart")
        assert joiners(far)
        assert_traffic(far)
        assert "Traceback" not in watching.said


def test_a_setup_beside_watch_is_followed(behind: Behind, mac: Mac, tmp_path: Path) -> None:
    mac.macnet("setup", "--reset")
    with watch(mac, tmp_path / "said") as watching:
        mac.macnet("setup", *ALSO)
        assert mac.http(THERE)
        mac.lab.docker("restart", "-t", "1", "router")
        behind.wire()
        watching.wait_for("joined the network of router")
        wait_until(lambda: mac.http(THERE), SOON, "an answer after its restart")


def test_a_container_that_does_not_run_costs_nothing_else(mac: Mac, behind: Behind) -> None:
    done = mac.macnet("setup", "--reset", *ALSO, "--also", "10.30.0.0/24=nobody")
    assert "10.30.0.0/24 is not reached: no container nobody runs" in done.stderr
    assert mac.http(THERE)
    assert_traffic(mac)
    rows = {row["network"]["name"]: row for row in mac.json("networks")["networks"]}
    assert rows["10.30.0.0/24"]["reason"] == "no container nobody runs"
    for bad in ("web=10.0.0.0/8", "10.20.0.7/24=router", "everything"):
        assert "--also" in mac.fails(4, "setup", "--also", bad)
    # What lies behind a container that has no network of its own is not its.
    mac.lab.docker(
        "run", "-d", "--init", "--name", "hosted", "--net", "host", BASE_IMAGE, "sleep", "99"
    )
    try:
        done = mac.macnet("setup", "--reset", "--also", f"{FAR}=hosted")
        assert "has the engine's own network" in done.stderr
        assert FAR not in routed(mac)
    finally:
        mac.lab.docker("rm", "-f", "hosted")


def test_conflicts_and_remaps_are_as_for_networks(mac: Mac, behind: Behind) -> None:
    mac.macnet("setup", "--reset")
    mac.lab.run(["ip", "addr", "add", "10.20.0.9/24", "dev", "lo"])
    try:
        done = mac.macnet("setup", *ALSO, check=False)
        assert f"{FAR} is not routed: it overlaps" in done.stderr
        assert "--remap auto" in done.stderr
        assert not joiners(mac)
        mac.macnet("setup", "--remap", f"{FAR}=10.120.0.0/24")
        seen = THERE.replace("10.20", "10.120")
        assert mac.http(seen) and mac.udp(seen) and mac.pings(seen)
    finally:
        mac.lab.run(["ip", "addr", "del", "10.20.0.9/24", "dev", "lo"])
    # There is one way to each address of the engine.
    done = mac.macnet("setup", "--reset", "--also", "172.82.0.0/24=router", "--remap", "auto")
    assert "which goes first" in done.stderr
    assert not joiners(mac)
    assert_traffic(mac)


def test_a_range_of_the_engines_host(clean: Mac, behind: Behind) -> None:
    """Also in the first setup, when no relay runs yet that could tell."""
    web = clean.lab.sample
    there = ["nsenter", f"--net=/proc/{web.pid('web')}/ns/net", "ip", "addr"]
    clean.lab.vm_run([*there, "add", "10.40.0.2/32", "dev", "lo"])
    clean.lab.vm_run(["ip", "route", "add", "10.40.0.0/24", "via", web.address("web")])
    try:
        asked = ("--also", "10.40.0.0/16", "--also", "10.41.0.0/24")
        assert "only a running relay can tell" in clean.macnet("setup", "--dry-run", *asked).stdout
        done = clean.macnet("setup", *asked)
        assert clean.http("10.40.0.2") and clean.pings("10.40.0.2")
        assert "10.40.0.0/24" in routed(clean) and "10.40.0.0/16" not in routed(clean)
        assert "10.41.0.0/24 is not reached: the engine's host has no route" in done.stderr
        assert not joiners(clean)
        assert clean.json("setup")["setup"]["changed"] is False
        clean.lab.docker("stop", "-t", "3", "macnet-relay")
        said = clean.macnet("watch", "--once").stdout
        assert "macnet-relay did not run" in said and "10.40.0.0/24" not in said
        assert clean.http("10.40.0.2") and clean.pings("10.40.0.2")
    finally:
        clean.lab.vm_run(["ip", "route", "del", "10.40.0.0/24"])
        clean.lab.vm_run([*there, "del", "10.40.0.2/32", "dev", "lo"])
    clean.macnet("setup", "--unset", "also")
    assert "10.40.0.0/24" not in routed(clean)


def test_nothing_is_written_anywhere_and_down_leaves_nothing(clean: Mac, behind: Behind) -> None:
    before = rules(clean.lab)
    clean.macnet("setup", *ALSO)
    assert clean.http(THERE) and clean.udp(THERE) and clean.pings(THERE)
    now = rules(clean.lab)
    changed = {what for what in before if before[what] != now[what]}
    # The engine's own: the published port and the server's interface. The relay's: who may ping.
    assert {what for what in changed if what.startswith("router")} == set()
    clean.macnet("setup", "--unset", "also")
    assert not joiners(clean) and FAR not in routed(clean)
    wait_until(lambda: "relay1" not in in_server(clean, "ip", "-o", "link"), SOON, "no tap")
    clean.macnet("setup", *ALSO)
    done = clean.macnet("down")
    order = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("removed mac")]
    assert "joiner" in order[0] and order[1:] == ["macnet-relay", "macnet-server"]
    assert clean.macnet_names() == []
    assert rules(clean.lab) == before


def test_without_it_the_engine_is_asked_nothing_more(clean: Mac) -> None:
    """Of listings there are two, and no container is asked about but macnet's own."""
    folder = Path(tempfile.mkdtemp(prefix="also-"))
    engine = Path(clean.lab.engine.docker_host.removeprefix("unix://"))
    try:
        with EngineProxy(folder / "s", engine) as proxy:
            env = {"DOCKER_HOST": proxy.url}
            clean.macnet("networks", env=env)
            assert [
                line for line in proxy.asked if "/info" not in line and "version" not in line
            ] == [
                "GET /networks",
                "GET /containers/json",
            ]
            del proxy.asked[:]
            clean.macnet("setup", "--force", env=env)
            named = {line for line in proxy.asked if "/containers/" in line}
            assert not [line for line in named if "joiner" in line]
            listed = [line for line in proxy.asked if line == "GET /containers/json"]
            assert len(listed) == 1
    finally:
        shutil.rmtree(folder)
    clean.macnet("down", "--purge", env=None)
