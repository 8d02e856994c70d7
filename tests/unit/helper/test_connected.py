"""``status 3`` as OpenVPN 2.7.8 in a server has answered it."""

from __future__ import annotations

import pytest

from macnet.errors import HelperFailed
from macnet.helper.connected import ConnectedClient, parse_clients
from tests.unit.engine.recorded import recorded_text

RECORDED = recorded_text("status-3.txt")


def test_the_recorded_client() -> None:
    assert parse_clients(RECORDED) == (ConnectedClient(0, "macnet-client", "192.168.255.2"),)


def test_no_client() -> None:
    lines = [row for row in RECORDED.splitlines() if not row.startswith("CLIENT_LIST")]
    assert parse_clients("\n".join(lines)) == ()


def test_columns_are_found_by_name() -> None:
    text = (
        "HEADER\tCLIENT_LIST\tClient ID\tNew\tVirtual Address\tCommon Name\n"
        "CLIENT_LIST\t7\t?\t10.8.0.2\tone\nCLIENT_LIST\t8\t?\t\ttwo\nEND\n"
    )
    assert [c.cid for c in parse_clients(text)] == [7, 8]


@pytest.mark.parametrize("text", ["", "END", "ERROR: command not allowed", "\x00\x01"])
def test_what_is_no_status(text: str) -> None:
    with pytest.raises(HelperFailed, match="not readable"):
        parse_clients(text)
