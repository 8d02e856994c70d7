"""The record of a tunnel is read back, and damage never loses a file."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from macnet.choices import CarrierKind
from macnet.errors import StateError
from macnet.paths import Paths
from macnet.progress import Silent
from macnet.state import NamesChoice, TunnelState, Way, find_tunnel_name, load_state, save_state

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
    engine=names,
    client=names,
    options=st.dictionaries(st.text(), json_values, max_size=3),
    settings=st.none()
    | st.dictionaries(st.text(), st.dictionaries(st.text(), json_values, max_size=2), max_size=3),
    remaps=st.sampled_from([None, (), ((IPNetwork("10.1.0.0/16"), IPNetwork("10.2.0.0/16")),)]),
    moved_from=subnets,
    names=st.none() | st.builds(NamesChoice, domain=st.text(), port=st.integers(1, 65535)),
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
        '{"version": 2, "settings": []}',
        '{"version": 2, "settings": {"port": 1}}',
        '{"version": 2, "remaps": ["auto"]}',
        '{"version": 2, "remaps": "10.0.0.0/8"}',
        '{"version": 1, "options": ' + "[" * 100_000,
    ],
)
def test_a_damaged_state_is_set_aside_with_a_warning(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tunnel.json"
    path.write_text(text)
    progress = Warnings()
    assert load_state(path, progress, repair=True) == TunnelState()
    (aside,) = tmp_path.iterdir()
    assert aside != path
    assert aside.read_text() == text
    (warning,) = progress.texts
    assert str(path) in warning
    assert aside.name in warning


def test_whoever_only_looks_leaves_a_damaged_state_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "tunnel.json"
    path.write_text("{")
    progress = Warnings()
    assert load_state(path, progress) == TunnelState()
    assert names_in(tmp_path) == ["tunnel.json"]
    (warning,) = progress.texts
    assert "`macnet setup` sets it aside" in warning


def test_the_state_of_a_newer_macnet_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tunnel.json"
    path.write_text('{"version": 3, "port": "new form"}')
    with pytest.raises(StateError, match="newer macnet") as caught:
        load_state(path, Silent())
    assert "upgrade" in str(caught.value.hint)
    assert names_in(tmp_path) == ["tunnel.json"]


# Names


def test_each_context_has_a_tunnel_of_its_own(tmp_path: Path) -> None:
    """Also on a file system that ignores case, and whatever characters a context has."""
    paths = Paths(tmp_path, tmp_path / "config.toml")
    contexts = ["colima", "Colima", "macnet", "a+b", "a-b", "a.b", "x" * 40, "x" * 41, "x" * 60]
    names = [find_tunnel_name(context, paths) for context in contexts]
    assert names[0] == "colima"
    assert "macnet" not in names
    assert len({name.casefold() for name in names}) == len(contexts)
    assert all(len(name) <= 40 for name in names)
    assert find_tunnel_name(None, paths) == "macnet"


def test_a_tunnel_of_an_older_macnet_keeps_its_name(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "config.toml")
    save_state(paths.tunnel("a-b").state, TunnelState(context="a+b"))
    assert find_tunnel_name("a+b", paths) == "a-b"
    save_state(paths.tunnel("Foo").state, TunnelState(context="Foo"))
    assert find_tunnel_name("Foo", paths) == "Foo"
    assert find_tunnel_name("foo", paths) == "foo"


def test_records_of_an_older_macnet_are_read() -> None:
    """Written by 0.1.0: without settings, client and remaps, which count as not chosen yet."""
    state = load_state(Path("tests/data/state/tunnel-0.1.0.json"), Silent())
    assert state.port == 13195
    assert state.options == {"exclude": ["admin"], "tun_mtu": 1500}
    assert (state.settings, state.remaps, state.client) == (None, None, None)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (Way(), ""),
        (Way(CarrierKind.SSH, "build-box"), "by ssh to build-box"),
        (Way(CarrierKind.DIRECT, "build-box", "10.0.0.5", "10.0.0.5"), "published by build-box"),
    ],
)
def test_the_way_to_an_engine_in_words(way: Way, words: str) -> None:
    assert way.words == words
