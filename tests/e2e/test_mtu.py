"""The tunnel's MTU: large where such packets get through, else smaller by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from macnet.values import DEFAULT_TUN_MTU, FALLBACK_TUN_MTU
from tests.e2e.steps import Mac

_LOSES = f"""
table ip large_is_lost {{
    chain out {{
        type filter hook output priority 0
        ip protocol icmp meta length > {FALLBACK_TUN_MTU} drop
    }}
}}
"""


@pytest.fixture
def lossy(clean: Mac) -> Iterator[Mac]:
    """A Mac that loses what is larger than the smaller of the two MTUs."""
    clean.lab.run(["nft", "--file", "-"], input=_LOSES)
    yield clean
    clean.lab.run(["nft", "delete", "table", "ip", "large_is_lost"])


def device_mtu(mac: Mac) -> int:
    """The MTU of the tunnel's interface on the Mac side."""
    interface = mac.json("status")["status"]["client"]["interface"]
    (found,) = json.loads(mac.lab.run(["ip", "-json", "link", "show", interface]).stdout)
    return int(found["mtu"])


def large_packets(mac: Mac) -> dict[str, Any]:
    """What `check` says of them."""
    results = mac.json("check", check=False)["check"]["results"]
    (found,) = [one for one in results if one["id"] == "tunnel.mtu"]
    return dict(found)


def test_a_large_packet_gets_through(up: Mac) -> None:
    assert device_mtu(up) == DEFAULT_TUN_MTU
    assert large_packets(up)["outcome"] == "ok"


def test_a_large_packet_that_is_lost_makes_the_mtu_smaller(lossy: Mac) -> None:
    said = lossy.macnet("setup").stderr
    assert f"a packet of {DEFAULT_TUN_MTU} bytes does not get through" in said
    assert device_mtu(lossy) == FALLBACK_TUN_MTU
    assert lossy.http(lossy.lab.sample.address("web"))
    assert large_packets(lossy)["outcome"] == "ok"

    again = lossy.json("setup")["setup"]
    assert (again["changed"], again["remembered"]) == (False, [f"--tun-mtu {FALLBACK_TUN_MTU}"])

    # `check` finds it where it comes later, and its way out can be taken.
    lossy.macnet("setup", "--tun-mtu", str(DEFAULT_TUN_MTU))
    found = large_packets(lossy)
    assert (found["outcome"], found["fix"]) == (
        "fail",
        f"`macnet setup --tun-mtu {FALLBACK_TUN_MTU}`",
    )
