"""The record of a tunnel is read back, and damage never loses a file."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from macnet.errors import StateError
from macnet.progress import Silent
from macnet.state import TunnelState, load_state, save_state

CHECKOUT = Path(__file__).parents[2]


class Warnings(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir())


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
subnets = st.none() | st.builds(
    lambda value, bits: IPNetwork((value, bits), version=4).cidr,
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
names = st.none() | st.text()
states = st.builds(
    TunnelState,
    port=st.none() | st.integers(1, 65535),
    tunnel_subnet=subnets,
    relay_subnet=subnets,
    token=names,
    context=names,
    options=st.dictionaries(st.text(), json_values, max_size=3),
)


@given(state=states)
def test_a_state_is_read_back(tmp_path_factory: pytest.TempPathFactory, state: TunnelState) -> None:
    path = tmp_path_factory.getbasetemp() / "read-back.json"
    save_state(path, state)
    assert not save_state(path, state)
    assert load_state(path, Silent()) == state


@given(data=st.binary() | json_values.map(lambda value: str(value).encode()))
def test_any_bytes_are_read_or_set_aside(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("state") / "tunnel.json"
    path.write_bytes(data)
    assert load_state(path, Silent()) == TunnelState()


def test_no_state_is_an_empty_one(tmp_path: Path) -> None:
    assert load_state(tmp_path / "none.json", Silent()) == TunnelState()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"version": true}',
        '{"version": 0}',
        '{"version": "1"}',
        '{"version": 1, "port": 0}',
        '{"version": 1, "port": true}',
        '{"version": 1, "port": "80"}',
        '{"version": 1, "tunnel_subnet": "ten"}',
        '{"version": 1, "relay_subnet": 5}',
        '{"version": 1, "token": []}',
        '{"version": 1, "options": []}',
        '{"version": 1, "options": ' + "[" * 100_000,
    ],
)
def test_a_damaged_state_is_set_aside_with_a_warning(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tunnel.json"
    path.write_text(text)
    progress = Warnings()
    assert load_state(path, progress) == TunnelState()
    (aside,) = tmp_path.iterdir()
    assert aside.read_text() == text
    (warning,) = progress.texts
    assert str(path) in warning
    assert aside.name in warning


def test_the_state_of_a_newer_macnet_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tunnel.json"
    path.write_text('{"version": 2, "port": "new form"}')
    with pytest.raises(StateError, match="newer macnet") as caught:
        load_state(path, Silent())
    assert "Upgrade" in str(caught.value.hint)
    assert names_in(tmp_path) == ["tunnel.json"]
