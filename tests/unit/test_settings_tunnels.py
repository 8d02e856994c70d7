"""A tunnel's own table in config.toml goes before what holds for every tunnel."""

from __future__ import annotations

from pathlib import Path

import pytest
from netaddr import IPNetwork

from macnet.config_file import read_config_file
from macnet.errors import BadValue
from macnet.settings import Settings, chosen_remaps
from macnet.values import RemapRequest
from tests.unit.test_settings import load, whole


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
    first = load(file)
    assert (first.port, first.exclude, first.remap) == (1001, ("web",), RemapRequest(auto=True))
    settings = load(file, name="colima")
    pair = (IPNetwork("172.17.0.0/16"), IPNetwork("10.201.0.0/16"))
    assert settings.port == 1002
    assert settings.remap == RemapRequest(pairs=(pair,))
    # It goes before what holds for every tunnel, and behind all that is not in the file.
    assert load(file, environ={"MACNET_PORT": "7"}, name="colima").port == 7
    assert load(file, remembered={"port": 8}, name="colima").port == 8
    asked = load(file, flags={"remap": ["auto"]}, name="colima")
    assert asked.remap == RemapRequest(auto=True)
    found = whole(file, name="colima").sources
    assert found["port"] == found["remap"] == f"{file}, table tunnels.colima"


def test_the_ranges_that_an_older_macnet_wrote_are_read(file: Path) -> None:
    file.write_text('[tunnels.colima]\nremap_auto = ["172.18.0.0/16=10.202.0.0/16"]\n')
    read = read_config_file(file)
    chosen = (IPNetwork("172.18.0.0/16"), IPNetwork("10.202.0.0/16"))
    assert chosen_remaps(read, "colima") == (chosen,)
    assert chosen_remaps(read, "macnet") == ()


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
        load(file)
        chosen_remaps(read_config_file(file), "macnet")
    assert caught.value.message.startswith(f"{file}, table tunnels.macnet, {told}")
    assert caught.value.hint
    assert load(file, name="other") == Settings(name="other")
