"""What is allowed, and where a remapped address really is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from macnet.relay.allowlist import VM, Allowlist, Applied, Home, pack_list, parse_rules, unpack_list

LIST = "172.17.0.0/16\n10.200.1.0/24=172.82.0.0/24\nfd00:82::/64\n"


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY)
    yield opened
    os.close(opened)


def put(tmp_path: Path, text: str) -> None:
    """As subnets.sh does."""
    (tmp_path / "subnets.new").write_text(text)
    (tmp_path / "subnets.new").rename(tmp_path / "subnets.applied")


@pytest.mark.parametrize(
    ("seen", "real"),
    [
        ("172.17.0.2", "172.17.0.2"),
        ("172.17.255.255", "172.17.255.255"),
        ("10.200.1.7", "172.82.0.7"),
        ("fd00:82::2", "fd00:82::2"),
        ("172.18.0.2", None),
        # Only under the addresses that the client sees.
        ("172.82.0.7", None),
        ("fd00:83::2", None),
        ("127.0.0.1", None),
        ("::ffff:172.17.0.2", None),
    ],
)
def test_real_addresses(seen: str, real: str | None) -> None:
    assert Allowlist(LIST).real(packed(seen)) == (packed(real) if real else None)


def test_it_follows_the_file(tmp_path: Path, folder: int) -> None:
    applied, other = Applied(folder), "172.18.0.0/16\n"
    assert applied.text() is None
    put(tmp_path, LIST)
    assert applied.text() == LIST
    (tmp_path / "subnets.applied").unlink()
    assert applied.text() == LIST, "the server is changing its rules"
    put(tmp_path, other)
    assert applied.text() == other


def test_the_empty_list_allows_nothing() -> None:
    assert Allowlist().real(packed("172.17.0.2")) is None


@pytest.mark.parametrize("text", [LIST, ""])
def test_a_message_is_never_the_end(text: str) -> None:
    assert pack_list(text)
    assert unpack_list(pack_list(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("x\n", "172.17.0.0/16=10.0.0.0/8\n", "172.17.0.2/16\n", "a=b=c\n", "\n"),
        *("172.17.0.0/16 1\n", "172.17.0.0/16 x ab\n", "172.17.0.0/16 0 ab\n"),
        "172.17.0.0/16 1 ab more\n",
    ],
)
def test_what_is_no_list(tmp_path: Path, folder: int, text: str) -> None:
    with pytest.raises(ValueError):
        parse_rules(text)
    put(tmp_path, text)
    assert Applied(folder).text() is None


def test_a_link_is_not_followed(tmp_path: Path, folder: int) -> None:
    (tmp_path / "other").write_text(LIST)
    (tmp_path / "subnets.applied").symlink_to(tmp_path / "other")
    assert Applied(folder).text() is None


def test_each_lane_has_its_own_subnets() -> None:
    further = "10.20.0.0/16 1 ab\n10.9.0.0/24=10.30.0.0/24 2 cd\nfd00:20::/64 1 ab\n"
    allowlist, one, two = Allowlist(LIST + further), Home(1, "ab"), Home(2, "cd")
    assert allowlist.real(packed("10.20.0.1"), one) == packed("10.20.0.1")
    assert allowlist.real(packed("10.9.0.1"), two) == packed("10.30.0.1")
    for home, address in [
        *((VM, "10.20.0.1"), (VM, "10.9.0.1"), (one, "10.9.0.1"), (one, "172.17.0.2")),
        *((two, "10.20.0.1"), (two, "fd00:20::1")),
        # A joiner that has the number now is not the one that the list means.
        *((Home(1, "cd"), "10.20.0.1"), (Home(1, ""), "10.20.0.1")),
    ]:
        assert allowlist.real(packed(address), home) is None
    assert {home: list(map(str, nets)) for home, nets in allowlist.homes().items()} == {
        one: ["10.20.0.0/16", "fd00:20::/64"],
        two: ["10.30.0.0/24"],
    }
