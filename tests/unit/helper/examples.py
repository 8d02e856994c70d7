"""A wanted helper and its keys, made once as keys take time."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from netaddr import IPNetwork

from macnet.choices import CompLzo
from macnet.helper import HelperSpec
from macnet.helper.spec import HelperRoutes
from macnet.pki import Pki, create_pki

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - a made-up one
APP, DEFAULT, SIX = (IPNetwork(text) for text in ("172.82.0.0/24", "172.17.0.0/16", "fd00:82::/64"))
ROUTES = HelperRoutes(subnets=(DEFAULT, APP, SIX))


@cache
def pki() -> Pki:
    """Keys that are valid now."""
    return create_pki("macnet", now=datetime.now(UTC))


SPEC = HelperSpec(
    name="macnet",
    image="macnet-helper:1",
    port=13194,
    tunnel_subnet=IPNetwork("192.168.255.0/24"),
    relay_subnet=IPNetwork("100.64.0.0/30"),
    tun_mtu=16000,
    comp_lzo=CompLzo.NO,
    token=TOKEN,
    network="bridge",
    pki_fingerprint="f" * 64,
    home="e" * 16,
)
