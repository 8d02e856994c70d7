"""TCP by the kernel: connections are as they would be without a tunnel, and leave nothing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from netaddr import IPNetwork

from tests.e2e.steps import Mac, wait_until
from tests.e2e.test_heal import lane, main_process
from tests.e2e.world import answers, conversation
from tests.lab import BASE_IMAGE, HTTP_PORT
from tests.lab.process import PIPE, Running

pytestmark = pytest.mark.kernel_lane

#: Many connections, so many at a time; prints how many failed.
_MANY = """
import socket, sys, threading
host, port, count, at_once = sys.argv[1], *map(int, sys.argv[2:])
turns, failed, lock = iter(range(count)), [], threading.Lock()
def work():
    while True:
        with lock:
            if next(turns, None) is None:
                return
        try:
            with socket.create_connection((host, port), 10) as s:
                s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                data = b""
                while piece := s.recv(65536):
                    data += piece
            assert data.startswith(b"HTTP/1.0 200") or data.startswith(b"HTTP/1.1 200"), data
        except (OSError, AssertionError) as error:
            failed.append(repr(error))
threads = [threading.Thread(target=work) for _ in range(at_once)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(failed), failed[:3])
"""
#: Opens many connections, says so, and keeps them until its input ends.
_IDLE = """
import socket, sys
host, port, count = sys.argv[1], *map(int, sys.argv[2:])
held = [socket.create_connection((host, port), 10) for _ in range(count)]
print("open", flush=True)
sys.stdin.read()
"""
#: A service in the VM: sends what it gets back in capitals once the client has ended its half;
#: a client that sends "reset" gets a reset.
_SERVICE = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        data = b""
        while piece := connection.recv(1000):
            data += piece
            if data == b"reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1" + bytes(7))
                break
        else:
            connection.sendall(data.upper())
"""
#: Talks to it; prints what came, or that it was reset.
_TALK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
    s.sendall(sys.argv[3].encode())
    if sys.argv[3] != "reset":
        s.shutdown(socket.SHUT_WR)
    try:
        print(s.recv(1000).decode())
    except ConnectionResetError:
        print("was reset")
"""
#: Sends for some seconds; prints how many bytes the other side took.
_SEND = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
    end, sent = time.monotonic() + float(sys.argv[3]), 0
    s.settimeout(1)
    while time.monotonic() < end:
        try:
            sent += s.send(bytes(1 << 16))
        except TimeoutError:
            pass
print(sent)
"""
#: A SYN with another source address than the tunnel's, straight to the interface.
_SPOOFED = """
import socket, struct, sys
source, destination = map(socket.inet_aton, sys.argv[1:3])
port = int(sys.argv[3])
def total(data):
    words = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    words = (words >> 16) + (words & 0xFFFF)
    return ~(words + (words >> 16)) & 0xFFFF
tcp = struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 5 << 4, 2, 64000, 0, 0)
check = total(source + destination + struct.pack("!HH", 6, len(tcp)) + tcp)
tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + source + destination
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
    for _ in range(3):
        s.sendto(ip + tcp, (sys.argv[2], 0))
"""


def python(mac: Mac, program: str, *words: object) -> str:
    """Run a program on the Mac side to its end; what it printed."""
    return mac.lab.run([sys.executable, "-c", program, *map(str, words)]).stdout.strip()


@contextmanager
def started(mac: Mac, program: str, *words: object, vm: bool = False) -> Iterator[Running]:
    """Run a program that says so when it is ready, on the Mac side or in the VM."""
    argv = [sys.executable, "-c", program, *map(str, words)]
    if vm:
        pid = main_process(mac, "macnet-relay").pid
        argv = ["nsenter", f"--net=/proc/{pid}/ns/net", *argv]
    with mac.lab.popen(argv, stdin=PIPE, stdout=PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline(), process.stderr.read()
            yield process
        finally:
            process.kill()


@pytest.fixture
def gateway(up: Mac) -> str:
    """An address of the VM on a network that is routed."""
    listed = json.loads(up.lab.docker("network", "inspect", "app"))
    return str(IPNetwork(listed[0]["IPAM"]["Config"][0]["Subnet"])[1])


def descriptors(mac: Mac) -> int:
    return len(list(Path(f"/proc/{lane(mac).pid}/fd").iterdir()))


def memory_kb(mac: Mac) -> int:
    lines = Path(f"/proc/{lane(mac).pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_tcp_goes_by_the_kernel_and_the_log_says_so(up: Mac) -> None:
    assert up.lab.docker("exec", "macnet-server", "cat", "/run/macnet/lane") == "kernel\n"
    assert "TCP by the kernel" in up.macnet("logs", "relay").stdout


def test_many_connections_leave_nothing_behind(up: Mac) -> None:
    address = up.lab.sample.address("web")
    python(up, _MANY, address, HTTP_PORT, 100, 16)
    before = descriptors(up), memory_kb(up)
    assert python(up, _MANY, address, HTTP_PORT, 3000, 64).split()[0] == "0"
    # To another address, from ports that were in use a moment ago: the kernel must change some.
    other = up.lab.sample.address("app-web")
    assert python(up, _MANY, other, HTTP_PORT, 3000, 64).split()[0] == "0"
    # Some pipes wait for their next use.
    wait_until(lambda: descriptors(up) <= before[0] + 8, 20, "descriptors are closed")
    assert memory_kb(up) < before[1] + 8_000


def test_idle_connections_take_little(up: Mac, gateway: str) -> None:
    before = descriptors(up), memory_kb(up)
    listening = "import socket, sys; s = socket.create_server((sys.argv[1], 9102), backlog=2000)"
    listening += "; print(1, flush=True); sys.stdin.read()"
    with (
        started(up, listening, gateway, vm=True),
        started(up, _IDLE, gateway, 9102, 1000),
    ):
        assert 2000 <= descriptors(up) - before[0] <= 2000 + 8
        assert memory_kb(up) < before[1] + 8_000
        assert up.http(up.lab.sample.address("app-web"))
    wait_until(lambda: descriptors(up) <= before[0] + 8, 20, "descriptors are closed")


def test_ends_of_a_connection_arrive_as_they_are(up: Mac, gateway: str) -> None:
    with started(up, _SERVICE, gateway, 9100, vm=True):
        assert python(up, _TALK, gateway, 9100, "half closed") == "HALF CLOSED"
        assert python(up, _TALK, gateway, 9100, "reset") == "was reset"


def test_what_a_slow_reader_does_not_take_waits(up: Mac, gateway: str) -> None:
    """It is neither lost nor piled up in the relay."""
    service = _SERVICE.replace("data = b", "import time; time.sleep(60); data = b", 1)
    before = memory_kb(up)
    with started(up, service, gateway, 9101, vm=True):
        taken = int(python(up, _SEND, gateway, 9101, 3))
    assert 0 < taken < 32 << 20
    assert memory_kb(up) < before + 8_000


def test_the_lane_has_one_right(up: Mac) -> None:
    status = Path(f"/proc/{lane(up).pid}/status").read_text().splitlines()
    found = {key: value.strip() for key, _, value in (line.partition(":") for line in status)}
    net_admin = 1 << 12
    for which in ("CapPrm", "CapEff"):
        assert int(found[which], 16) == net_admin
    assert int(found["CapInh"], 16) & ~net_admin == 0
    assert int(found["CapAmb"], 16) == 0
    assert found["NoNewPrivs"] == "1"


def test_an_open_connection_ends_with_its_permission(up: Mac) -> None:
    """And goes on while the list changes elsewhere."""

    def onward() -> str:
        argv = ["ss", "-Htn", "state", "established", "dst", "172.82.0.100"]
        return up.lab.vm_run(argv).stdout

    try:
        with conversation(up) as talk:
            assert answers(talk)
            up.macnet("setup", "--exclude", "noicc")
            assert answers(talk)
            assert onward()
            up.macnet("setup", "--exclude", "app")
            wait_until(lambda: not onward(), 20, "the connection to the container ends")
            with suppress(BrokenPipeError):
                assert not answers(talk)
    finally:
        up.macnet("setup", "--exclude", "")


def test_openvpn_has_room_and_each_connection_little(up: Mac) -> None:
    """With too little room OpenVPN stops reading, and then the tunnel can stand still."""
    server = up.lab.docker("inspect", "-f", "{{.State.Pid}}", "macnet-server").strip()
    sockets = up.lab.vm_run(["nsenter", f"--net=/proc/{server}/ns/net", "ss", "-tanmH"]).stdout
    found = re.findall(
        r"^(LISTEN|ESTAB)\s+\d+\s+\d+\s+\S+:(\d+).*\n.*rb(\d+),t\d+,tb(\d+)", sockets, re.M
    )
    lane = {(read, write) for _, port, read, write in found if port != "1194"}
    openvpn = {write for state, port, _, write in found if (state, port) == ("ESTAB", "1194")}
    assert lane == {("1048576", "1048576")}
    assert openvpn == {str(16 << 20)}


def test_the_listener_is_for_announced_connections_only(up: Mac) -> None:
    """Neither from within the tunnel nor from a container beside the server."""
    state = json.loads((up.root / "tunnel.json").read_text())
    server = state["tunnel_subnet"].replace(".0/24", ".1")
    assert up.tcp(server, 1195, wait_s=1) == "timeout"
    beside = json.loads(up.lab.docker("inspect", "macnet-server"))[0]["NetworkSettings"]
    address = beside["Networks"]["bridge"]["IPAddress"]
    connect = f"timeout 2 bash -c '</dev/tcp/{address}/1195' && echo open"
    argv = ["run", "--rm", BASE_IMAGE, "bash", "-c", f"{connect}; true"]
    assert "open" not in up.lab.docker(*argv)


def test_a_spoofed_source_opens_nothing(up: Mac) -> None:
    tunnel = json.loads((up.root / "tunnel.json").read_text())["tunnel_subnet"]
    address = up.lab.sample.address("web")

    def seen() -> int:
        """Packets of new TCP connections that came out of the tunnel to an allowed subnet."""
        pid = main_process(up, "macnet-server").pid
        backend = up.lab.docker("exec", "macnet-server", "cat", "/run/macnet/iptables").strip()
        argv = ["nsenter", f"--net=/proc/{pid}/ns/net", f"iptables-{backend}", "-t", "mangle"]
        rows = up.lab.run([*argv, "-nvxL", "HOLD"]).stdout.splitlines()
        return next(int(row.split()[0]) for row in rows if "NFQUEUE" in row)

    before = seen()
    own = tunnel.replace(".0/24", ".2")
    python(up, _SPOOFED, own, address, HTTP_PORT)
    wait_until(lambda: seen() > before, 20, "a packet with the right source")
    before = seen()
    for source in ("10.9.9.9", tunnel.replace(".0/24", ".3"), address):
        python(up, _SPOOFED, source, address, HTTP_PORT)
    assert up.http(address)
    assert seen() == before + 1, "only that request"
