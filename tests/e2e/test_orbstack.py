"""An engine that reaches its containers from the Mac by itself, as OrbStack does."""

from __future__ import annotations

from tests.e2e.steps import Mac
from tests.e2e.world import assert_traffic, look
from tests.lab import hostile

#: All of the sample's networks, and the default bridge.
NETWORKS = ("bridge", "app", "extra", "sealed", "noicc", "six")


def test_no_tunnel_is_needed_where_the_engine_has_its_own_way(clean: Mac) -> None:
    with hostile.orbstack(clean.lab, *NETWORKS) as bridges:
        assert_traffic(clean)
        before = look(clean)
        done = clean.macnet("setup")
        assert "No tunnel is needed" in done.stdout
        assert "OrbStack" in done.stdout
        assert bridges[0] in done.stdout
        assert "--remap" not in done.stdout + done.stderr
        assert look(clean) == before
    clean.macnet("setup")
    assert_traffic(clean)


def test_it_is_found_where_pings_are_not_answered(clean: Mac) -> None:
    """A Mac may forget to let the terminal ping its local network: the subnets tell as well."""
    lab = clean.lab
    with hostile.orbstack(lab, *NETWORKS) as bridges:
        for name in bridges:
            lab.run(["ip", "neigh", "flush", "dev", name])
            lab.run(["ip", "link", "set", name, "arp", "off"])
        assert not clean.pings(lab.sample.address("web"), wait_s=1)
        before = look(clean)
        assert "OrbStack" in clean.macnet("setup").stdout
        assert look(clean) == before
