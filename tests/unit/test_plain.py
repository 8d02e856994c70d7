"""Every kind of value in a result becomes JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.plain import to_plain


class Word(StrEnum):
    ONE = "one"


class Number(IntEnum):
    TWO = 2


@dataclass(frozen=True)
class Inner:
    net: IPNetwork


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    kind: type[Inner]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("text", "text"),
        (Word.ONE, "one"),
        (Number.TWO, 2),
        (IPAddress("10.0.0.1"), "10.0.0.1"),
        (Path("/x"), "/x"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        ((1, [2], {3}, frozenset({4})), [1, [2], [3], [4]]),
        ({IPNetwork("10.0.0.0/8"): (Word.ONE,)}, {"10.0.0.0/8": ["one"]}),
        (
            Outer((Inner(IPNetwork("10.0.0.0/8")),), Inner),
            {"inner": [{"net": "10.0.0.0/8"}], "kind": str(Inner)},
        ),
    ],
)
def test_plain(value: object, expected: object) -> None:
    plain = to_plain(value)
    assert plain == expected
    assert type(plain) is type(expected)
    assert json.loads(json.dumps(plain)) == expected
