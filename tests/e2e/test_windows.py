"""The server bounds the TCP windows of both ends, whatever they promise."""

from __future__ import annotations

import json
import sys

import pytest

from tests.e2e.steps import Mac
from tests.lab import HTTP_PORT, SINK_PORT

#: What templates/server/server.sh gives to windows.sh, at the default MTU.
LIMIT, SMALL = 32 * 16_000, 2 * 16_000
#: Watches an interface for some seconds; prints the largest window, in bytes, that came in there
#: and the largest and last that went out, of connections whose SYNs it saw.
_WATCH = """
import json, socket, struct, sys, time
name, seconds = sys.argv[1], float(sys.argv[2])
ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
# ETH_P_ALL: it alone sees what goes out.
ear.bind((name, 0))
ear.settimeout(0.2)
print("listening", flush=True)
scales, most, end = {}, {"in": 0, "out": 0, "last": 0}, time.monotonic() + seconds
while time.monotonic() < end:
    try:
        data, where = ear.recvfrom(200)
    except TimeoutError:
        continue
    head = (data[0] & 15) * 4
    if where[1] != 0x0800 or data[9] != 6:
        continue
    flow = data[12:20] + data[head : head + 4]
    bits, window = data[head + 13], struct.unpack("!H", data[head + 14 : head + 16])[0]
    if bits & 2:
        scales[flow] = 0
        rest = data[head + 20 : head + (data[head + 12] >> 4) * 4]
        while rest and rest[0]:
            if rest[0] == 3:
                scales[flow] = rest[2]
            rest = rest[1:] if rest[0] == 1 else rest[rest[1] :]
    elif flow in scales:
        way = "out" if where[2] == socket.PACKET_OUTGOING else "in"
        most[way] = max(most[way], window << scales[flow])
        if way == "out":
            most["last"] = window << scales[flow]
print(json.dumps(most))
"""
#: Moves data for a while, up or down, and prints how many bytes.
_MOVE = """
import socket, sys, time
way, host, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
side = socket.create_connection((host, port), 10)
end, moved = time.monotonic() + seconds, 0
if way == "down":
    side.sendall(b"GET /big HTTP/1.0\\r\\n\\r\\n")
while time.monotonic() < end:
    moved += side.send(bytes(1 << 20)) if way == "up" else len(side.recv(1 << 20))
print(moved)
"""


def watched(mac: Mac, interface: str, way: str) -> dict[str, int]:
    """The largest windows at the server's interface while data moves for a second."""
    pid = mac.lab.docker("inspect", "--format", "{{.State.Pid}}", "macnet-server").strip()
    address = mac.lab.sample.address("web")
    port = HTTP_PORT if way == "down" else SINK_PORT
    watch = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", _WATCH, interface, "2"]
    with mac.lab.popen(watch) as ear:
        assert ear.stdout is not None
        assert ear.stdout.readline() == "listening\n"
        moved = int(mac.lab.run([sys.executable, "-c", _MOVE, way, address, str(port), "1"]).stdout)
        found: dict[str, int] = json.loads(ear.communicate(timeout=20)[0])
    assert moved > LIMIT
    return found


@pytest.mark.parametrize(
    ("way", "comes_in", "goes_out", "least"),
    # An upload's may be small from early on, when the container falls behind.
    [("down", "macnet0", "relay0", LIMIT // 2), ("up", "relay0", "macnet0", SMALL // 2)],
)
def test_windows_are_bounded(up: Mac, way: str, comes_in: str, goes_out: str, least: int) -> None:
    # What the end promised is more: else the test would show nothing.
    assert watched(up, comes_in, way)["in"] > LIMIT
    assert least < watched(up, goes_out, way)["out"] <= LIMIT


#: Loses the first large packet of an upload.
_LOSS = """
add table inet test_loss
add chain inet test_loss forward { type filter hook forward priority -300; }
add rule inet test_loss forward iifname "macnet0" tcp dport 9001 meta length > 4000 \
limit rate 1/day burst 1 packets drop
"""


def test_a_container_that_falls_behind_gets_little_at_once(up: Mac) -> None:
    """As pasta tells that: by repeating an acknowledgement. A lost packet makes it do the same."""
    up.lab.docker("exec", "macnet-server", "nft", _LOSS)
    try:
        assert SMALL // 2 < watched(up, "macnet0", "up")["last"] <= SMALL
    finally:
        up.lab.docker("exec", "macnet-server", "nft", "delete", "table", "inet", "test_loss")
    # For a while.
    late = up.lab.docker("exec", "macnet-server", "nft", "list set inet macnet_behind late")
    assert "expires" in late


def test_they_follow_the_mtu(up: Mac) -> None:
    """Queues count packets, so small packets leave less room for each connection."""
    up.macnet("setup", "--tun-mtu", "1500")
    for way, goes_out in (("down", "relay0"), ("up", "macnet0")):
        assert 32 * 1500 / 2 < watched(up, goes_out, way)["out"] <= 32 * 1500


def test_a_connection_without_scaling_keeps_its_windows(up: Mac) -> None:
    """Its field counts bytes: taken for scaled, the bound would leave next to nothing of it."""
    setting = "net.ipv4.tcp_window_scaling"
    up.lab.run(["sysctl", "-qw", f"{setting}=0"])
    try:
        assert 16_384 < watched(up, "relay0", "down")["out"] < 65_536
    finally:
        up.lab.run(["sysctl", "-qw", f"{setting}=1"])
