"""A tunnel's own table in config.toml goes before what holds for every tunnel."""

from __future__ import annotations

from pathlib import Path

import pytest
from netaddr import IPNetwork

from macnet.config import Config, RemapWish, explain
from macnet.config_file import read_config_file
from macnet.errors import BadValue
from tests.unit.test_config import load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_a_tunnel_has_settings_of_its_own(file: Path) -> None:
    file.write_text(
        """
        port = 1001
        remap = ["auto"]

        [tunnels.colima]
        port = 1002
        remap = ["172.17.0.0/16=10.201.0.0/16"]
        remap_auto = ["172.18.0.0/16=10.202.0.0/16"]

        [tunnels.macnet]
        exclude = ["web"]
        """
    )
    assert load(file).port == 1001
    assert load(file).remap == RemapWish(auto=True)
    first = load(file, flags={"name": "macnet"})
    assert (first.port, first.exclude, first.remap) == (1001, ("web",), RemapWish(auto=True))
    other: dict[str, object] = {"name": "colima"}
    config = load(file, flags=other)
    pair = (IPNetwork("172.17.0.0/16"), IPNetwork("10.201.0.0/16"))
    chosen = (IPNetwork("172.18.0.0/16"), IPNetwork("10.202.0.0/16"))
    assert config.port == 1002
    assert config.remap == RemapWish(pairs=(pair,), chosen=(chosen,))
    # It goes before what holds for every tunnel, and behind what was asked for last.
    assert load(file, environ={"MACNET_PORT": "7"}, flags=other).port == 1002
    assert load(file, remembered={"port": 8}, flags=other).port == 8
    asked = load(file, flags={**other, "remap": ["auto"]})
    assert asked.remap == RemapWish(auto=True, chosen=(chosen,))
    found = explain(read_config_file(file), {}, {}, other)
    assert found["port"] == found["remap"] == f"{file}, table tunnels.colima"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("port = -1", "key port: -1 is not a port"),
        ('remap_auto = ["auto"]', "key remap_auto: ['auto'] is not a list of pairs"),
        ('remap_auto = ["10.0.0.0/8"]', "key remap_auto: ['10.0.0.0/8'] is not"),
        ("remap_auto = 5", "key remap_auto: 5 is not"),
    ],
)
def test_a_bad_value_of_a_tunnel_is_told_with_its_table(file: Path, line: str, told: str) -> None:
    file.write_text(f"[tunnels.macnet]\n{line}\n")
    with pytest.raises(BadValue) as caught:
        load(file, flags={"name": "macnet"})
    assert caught.value.message.startswith(f"{file}, table tunnels.macnet, {told}")
    assert caught.value.hint
    assert load(file, flags={"name": "other"}) == Config(name="other")
