"""Templates are complete or an error; they are found in the checkout."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from macnet import render as module
from macnet.errors import MacnetError
from macnet.render import TemplateError, render, template_names, template_text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Templates of the test's own."""
    monkeypatch.setattr(module, "_folder", lambda: tmp_path)
    module._environment.cache_clear()
    (tmp_path / "a").mkdir()
    yield tmp_path / "a"
    module._environment.cache_clear()


def test_blocks_leave_no_trace_and_the_last_newline_stays(folder: Path) -> None:
    (folder / "x.j2").write_text(
        "begin\n  {% for n in names %}\n{{ n }} & co\n  {% endfor %}\nend\n"
    )
    assert render("a/x.j2", names=["one", "<two>"]) == "begin\none & co\n<two> & co\nend\n"


def test_a_missing_value_is_an_error(folder: Path) -> None:
    (folder / "x.j2").write_text("port {{ port }}\n")
    with pytest.raises(TemplateError, match="'port' is undefined"):
        render("a/x.j2")


@pytest.mark.parametrize("text", ["{% if %}", "{{ port.missing }}"])
def test_a_broken_template_is_an_error_of_ours(folder: Path, text: str) -> None:
    (folder / "x.j2").write_text(text)
    with pytest.raises(MacnetError, match=r"a/x\.j2"):
        render("a/x.j2", port=1)


def test_an_absent_template_is_an_error_of_ours(folder: Path) -> None:
    with pytest.raises(TemplateError, match="nothing"):
        render("a/nothing.j2")
    with pytest.raises(TemplateError, match="nothing"):
        template_text("a/nothing.j2")
    with pytest.raises(TemplateError, match="nothing"):
        template_names("nothing")


def test_names_are_sorted_and_hidden_files_left_out(folder: Path) -> None:
    for name in ("b.sh", "a.j2", ".DS_Store"):
        (folder / name).write_text(name)
    (folder / "sub").mkdir()
    assert template_names("a") == ("a/a.j2", "a/b.sh")
    assert template_text("a/b.sh") == "b.sh"


def test_the_checkouts_templates_are_found() -> None:
    assert "client/profile.ovpn.j2" in template_names("client")
    assert "{{ port }}" in template_text("client/profile.ovpn.j2")
