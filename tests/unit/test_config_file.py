"""config.toml is the user's: what macnet keeps in it stands beside the rest, which stays."""

from __future__ import annotations

import stat
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macnet import config_file
from macnet.config_file import RemapTable, read_config_file
from macnet.errors import BadValue, StateError

ONE, TWO = "172.17.0.0/16=10.192.0.0/16", "172.18.0.0/16=10.193.0.0/16"
MINE = """\
# my settings
port   = 13195   # beside the other one

[tunnels.colima]
networks = [
    "shop_*",  # the shop
]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def table(file: Path, wish: object = None, tunnel: str = "macnet") -> RemapTable:
    return RemapTable(file, tunnel, wish)


def says(file: Path, tunnel: str = "macnet") -> dict[str, object]:
    return dict(read_config_file(file).table(tunnel))


# Reading.


def test_an_unknown_key_is_an_error_with_the_nearest_one(file: Path) -> None:
    file.write_text("tun-mtu = 1500\n")
    with pytest.raises(BadValue, match="no key 'tun-mtu'") as caught:
        read_config_file(file)
    assert caught.value.hint == "Did you mean `tun_mtu`?"
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


# Writing.


def test_it_is_made_where_there_is_none_and_goes_when_it_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    kept = table(file, ["auto"])
    assert kept.keep([ONE, TWO])
    assert says(file) == {"remap": ["auto"], "remap_auto": [ONE, TWO]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "--remap ''` ends it" in file.read_text()
    assert not kept.keep([ONE, TWO])
    assert kept.forget()
    assert not kept.forget()
    assert list(file.parent.iterdir()) == []


def test_nothing_to_keep_makes_no_file(file: Path) -> None:
    assert not table(file).keep([])
    assert not file.exists()


def test_all_else_stays_byte_for_byte(file: Path) -> None:
    file.write_text(MINE)
    assert table(file, ["auto"]).keep([ONE])
    assert file.read_text().startswith(MINE)
    assert says(file) == {"remap": ["auto"], "remap_auto": [ONE]}
    assert table(file, ["auto"]).keep([ONE, TWO])
    assert says(file)["remap_auto"] == [ONE, TWO]
    assert table(file, [TWO]).keep([])
    assert says(file) == {"remap": [TWO]}
    assert table(file, []).keep([])
    assert says(file) == {"remap": []}
    assert table(file).forget()
    assert file.read_text().rstrip("\n") == MINE.rstrip("\n")


def test_it_ends_with_a_whole_line(file: Path) -> None:
    file.write_text("port = 1\n")
    for _ in range(3):
        assert table(file, ["auto"]).keep([ONE])
        assert file.read_text().endswith("free\n")
        assert table(file).forget()
        assert file.read_text() == "port = 1\n"


def test_other_tunnels_and_their_settings_stay(file: Path) -> None:
    file.write_text(MINE)
    assert table(file, ["auto"], "colima").keep([ONE])
    assert table(file, ["auto"], "a.b").keep([TWO])
    assert says(file, "colima") == {"networks": ["shop_*"], "remap": ["auto"], "remap_auto": [ONE]}
    assert '[tunnels."a.b"]' in file.read_text()
    assert table(file, tunnel="colima").forget()
    assert table(file, tunnel="a.b").forget()
    assert file.read_text().rstrip("\n") == MINE.rstrip("\n")


def test_a_table_with_a_comment_is_not_dropped(file: Path) -> None:
    mine = "[tunnels.macnet]\n# nothing yet\n"
    file.write_text(mine)
    assert table(file, ["auto"]).keep([])
    assert table(file).forget()
    assert file.read_text() == mine


def test_what_the_user_wrote_alike_keeps_its_form(file: Path) -> None:
    mine = '[tunnels.macnet]\nremap = [ # mine\n  "auto", # why\n]\n'
    file.write_text(mine)
    assert not table(file, ["auto"]).keep([])
    assert table(file, ["auto"]).keep([ONE])
    assert file.read_text().startswith(mine)


def test_a_link_stays_a_link_and_the_mode_what_it_is(file: Path) -> None:
    """As those have it who keep such files in a repository."""
    real = file.with_name("dotfiles.toml")
    real.write_text(MINE)
    real.chmod(0o644)
    file.symlink_to(real)
    assert table(file, ["auto"]).keep([ONE])
    assert file.is_symlink()
    assert says(real) == {"remap": ["auto"], "remap_auto": [ONE]}
    assert stat.S_IMODE(real.stat().st_mode) == 0o644
    real.write_text("")
    assert table(file, ["auto"]).keep([ONE])
    assert table(file).forget()
    assert file.is_symlink()
    assert real.read_text() == ""


def test_a_form_that_cannot_be_added_to_is_left_alone(file: Path) -> None:
    mine = "tunnels.colima.port = 1\nport = 3\n"  # the new table would swallow the second line
    file.write_text(mine)
    with pytest.raises(StateError, match="has a form that macnet cannot change") as caught:
        table(file, ["auto"]).keep([ONE])
    assert caught.value.hint == (
        f'By hand, put `remap = ["auto"]`, `remap_auto = ["{ONE}"]` into its table '
        "[tunnels.macnet]."
    )
    with pytest.raises(StateError) as caught:
        table(file, ["auto"]).keep([])
    assert caught.value.hint == 'By hand, put `remap = ["auto"]` into its table [tunnels.macnet].'
    assert file.read_text() == mine
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_form_that_nothing_can_be_taken_out_of(file: Path) -> None:
    mine = f'[tunnels]\nmacnet.port = 3\nmacnet.remap = ["{ONE}"]\nmacnet.remap_auto = ["{TWO}"]\n'
    file.write_text(mine)
    with pytest.raises(StateError) as caught:
        table(file).forget()
    assert "take `remap`, `remap_auto` out of its table [tunnels.macnet]" in str(caught.value.hint)
    assert file.read_text() == mine


def test_a_damaged_file_is_not_written_over(file: Path) -> None:
    file.write_text("port 1\n")
    with pytest.raises(BadValue):
        table(file, ["auto"]).keep([ONE])
    assert file.read_text() == "port 1\n"


def test_an_error_takes_it_back(file: Path) -> None:
    file.write_text(MINE)
    with pytest.raises(ZeroDivisionError), table(file, ["auto"]).tried([ONE]):
        assert says(file) == {"remap": ["auto"], "remap_auto": [ONE]}
        raise ZeroDivisionError
    assert file.read_text() == MINE
    file.unlink()
    with pytest.raises(ZeroDivisionError), table(file, ["auto"]).tried([ONE]):
        raise ZeroDivisionError
    assert not file.exists()


def test_what_another_wrote_meanwhile_is_not_taken_back(file: Path) -> None:
    with pytest.raises(ZeroDivisionError), table(file, ["auto"]).tried([ONE]):
        table(file, ["auto"], "colima").keep([TWO])
        raise ZeroDivisionError
    assert says(file, "colima") == {"remap": ["auto"], "remap_auto": [TWO]}


def test_two_at_once_lose_nothing(file: Path) -> None:
    names = [f"t{number}" for number in range(12)]
    start = threading.Barrier(len(names))

    def keep(name: str) -> None:
        start.wait()
        table(file, ["auto"], name).keep([ONE])

    threads = [threading.Thread(target=keep, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_config_file(file).tunnels) == set(names)
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_full_disk_leaves_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StateError("cannot write: no space is left")

    file.write_text(MINE)
    monkeypatch.setattr(config_file, "replace_file", full)
    with pytest.raises(StateError, match="no space"):
        table(file, ["auto"]).keep([ONE])
    assert file.read_text() == MINE


words = st.lists(st.sampled_from(["auto", ONE, TWO]), unique=True, max_size=3)


@given(
    texts=st.lists(st.tuples(st.sampled_from(["macnet", "colima", "x y"]), words, words)),
    mine=st.sampled_from(["", MINE, "# c", "port = 1", MINE.replace("\n", "\r\n")]),
)
def test_any_order_of_changes(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[tuple[str, list[str], list[str]]],
    mine: str,
) -> None:
    file = tmp_path_factory.mktemp("any") / "config.toml"
    file.write_bytes(mine.encode())
    expected: dict[str, tuple[list[str], list[str]]] = {}
    for tunnel, wish, chosen in texts:
        table(file, wish, tunnel).keep(chosen)
        expected[tunnel] = (wish, chosen)
    for tunnel, (wish, chosen) in expected.items():
        now = says(file, tunnel)
        assert now["remap"] == wish
        assert now.get("remap_auto", []) == chosen
        table(file, tunnel=tunnel).forget()
    left = tomllib.loads(file.read_text()) if file.exists() else {}
    assert left == tomllib.loads(mine)
