"""A port is free for names where neither TCP nor UDP has it."""

from __future__ import annotations

import socket

import pytest

from macnet.host import find_port_owner
from macnet.models import PortOwner
from macnet.names.ports import find_udp_holder, with_udp


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_holder_of_udp_is_seen(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((address, 0))
        port = other.getsockname()[1]
        assert find_port_owner(port) is None
        assert with_udp(find_port_owner)(port) == find_udp_holder(port) == PortOwner(port)
    assert find_udp_holder(port) is None
    # Of TCP more is known.
    assert with_udp(lambda port: PortOwner(port, 42, "named"))(port) == PortOwner(port, 42, "named")


def test_a_port_that_may_not_be_bound_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert find_udp_holder(53) is None
