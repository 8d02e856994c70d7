"""config.toml is the user's: read with clear errors, and never written."""

from __future__ import annotations

from pathlib import Path

import pytest

from macnet.config_file import read_config_file
from macnet.errors import BadValue


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_an_unknown_key_is_an_error_with_the_nearest_one(file: Path) -> None:
    file.write_text("tun-mtu = 1500\n")
    with pytest.raises(BadValue, match="no key 'tun-mtu'") as caught:
        read_config_file(file)
    assert caught.value.hint == "did you mean `tun_mtu`?"
    file.write_text("zzz = 1\n")
    with pytest.raises(BadValue) as caught:
        read_config_file(file)
    assert "base_image, client" in str(caught.value.hint)


@pytest.mark.parametrize("key", ["context", "name", "prot", "tunnels"])
def test_an_unknown_key_of_a_tunnel(file: Path, key: str) -> None:
    file.write_text(f"[tunnels.work]\n{key} = 1\n")
    with pytest.raises(BadValue, match=f"table tunnels.work: there is no key '{key}'"):
        read_config_file(file)


@pytest.mark.parametrize("text", ["tunnels = 5", "[tunnels]\nmacnet = 5", "[[tunnels]]\nport = 1"])
def test_what_should_be_a_table(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(BadValue, match="is not a table") as caught:
        read_config_file(file)
    assert "[tunnels." in str(caught.value.hint)


def test_a_damaged_file_is_told_with_its_line(file: Path) -> None:
    file.write_text("port = 1\nport 2\n")
    with pytest.raises(BadValue, match="line 2"):
        read_config_file(file)
    file.write_bytes(b'context = "\xff"\n')
    with pytest.raises(BadValue, match="UTF-8"):
        read_config_file(file)


def test_a_directory_in_the_files_place(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="cannot be read"):
        read_config_file(tmp_path)
