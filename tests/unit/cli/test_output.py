"""What is printed where: results on stdout, the rest on stderr, and nothing steers a terminal."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork
from rich.table import Table

from macnet.cli.output import JSON_VERSION, Output, printable
from macnet.clients.base import ClientState
from macnet.errors import ImageBuildFailed, NotSetUp, PortTaken
from macnet.models import Subnet
from macnet.progress import stage

EVIL = "net\x1b[2J\x07\r\x9b31m\u202e"


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal. Not a fixture: pytest sets stderr anew for the test itself."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def as_json() -> Output:
    output = Output()
    output.json = True
    return output


@given(text=st.text())
def test_printable_keeps_the_length_and_nothing_else_that_steers(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    assert all(a in (b, "\ufffd") for a, b in zip(shown, text, strict=True))


def test_a_line_cannot_steer_the_terminal(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    output.line(EVIL)
    output.event("watch", None, EVIL)
    output.live(EVIL)
    out, err = capsys.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 3
    assert not set(out) & set("\x1b\x07\r\x9b\u202e")


def test_a_long_line_goes_on_below_the_words_on_a_terminal_and_only_there(
    output: Output, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "FAIL  shop: " + "no answer from the relay, " * 5 + "x" * 90
    output.live(long, indent=6)
    assert capsys.readouterr().out == long + "\n"
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    output.live(long, indent=6)
    first, *rest = terminal.getvalue().splitlines()
    assert all(line.startswith(" " * 6 + line.strip()[0]) for line in rest)
    assert [len(line) <= 80 for line in (first, *rest)] == [True, True, False]  # a word stays whole
    assert " ".join(line.strip() for line in (first, *rest)) == long
    monkeypatch.delenv("NO_COLOR")
    output.live("FAIL  shop", indent=6)
    assert terminal.getvalue().endswith("\x1b[31;1mFAIL\x1b[0m  shop\n")


def test_notes_cannot_steer_the_terminal(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    output.verbose = True
    output.error(ImageBuildFailed(EVIL, hint=EVIL, detail=EVIL))
    output.warn(EVIL)
    output.detail(EVIL)
    output.failed(EVIL)
    text = terminal.getvalue()
    assert text.count("net\ufffd[2J") == 6
    assert not set(text) & set("\x07\r\x9b\u202e")


def test_tables_cannot_steer_the_terminal(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(EVIL)
    table.add_row(EVIL)
    output.result("networks", [], [table])
    out = capsys.readouterr().out
    assert out.count("net") == 2
    assert not set(out) & set("\x1b\x07\r\x9b\u202e")


def test_a_table_takes_no_markup_and_cuts_nothing_for_a_pipe(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(box=None, show_header=False)
    table.add_row("[red]name[/red]", "x" * 150)
    output.result("networks", [], ["first", table])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "first"
    assert second.split() == ["[red]name[/red]", "x" * 150]


def test_a_result_as_json(as_json: Output, capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "time": datetime(2026, 3, 1, tzinfo=UTC),
        "subnet": Subnet(IPNetwork("10.0.0.0/24"), IPAddress("10.0.0.1")),
        "state": ClientState.CONNECTED,
        "many": (1, 2.5, True, None, frozenset({"one"})),
        7: "key",
    }
    as_json.live("not now")
    as_json.result("status", value, ["not shown"])
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "version": JSON_VERSION,
        "kind": "status",
        "status": {
            "time": "2026-03-01T00:00:00+00:00",
            "subnet": {"cidr": "10.0.0.0/24", "gateway": "10.0.0.1", "seen": None},
            "state": "connected",
            "many": [1, 2.5, True, None, ["one"]],
            "7": "key",
        },
    }


def test_events_as_json_are_lines(as_json: Output, capsys: pytest.CaptureFixture[str]) -> None:
    as_json.event("watch", {"text": "a\nb"}, "text")
    as_json.event("watch", None, "text")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["watch"] for line in lines] == [{"text": "a\nb"}, None]


def test_an_error_with_its_detail_and_hint(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ImageBuildFailed("it did not build", hint="check the network", detail="one\ntwo")
    error.stage = "building the image"
    output.error(error)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "  | one",
        "  | two",
        "error: building the image: it did not build",
        "hint: check the network",
    ]


def test_an_error_without_a_hint(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    output.error(NotSetUp("there is no tunnel"))
    assert capsys.readouterr().err == "error: there is no tunnel\n"


def test_an_error_as_json(as_json: Output, capsys: pytest.CaptureFixture[str]) -> None:
    as_json.error(PortTaken("port 13194 is taken", hint="choose one"))
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "version": JSON_VERSION,
        "kind": "error",
        "error": {
            "code": "port_taken",
            "exit_code": 5,
            "message": "port 13194 is taken",
            "hint": "choose one",
            "detail": None,
        },
    }


def test_an_interruption(
    output: Output, as_json: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in (output, as_json):
        with pytest.raises(KeyboardInterrupt), stage(one, "starting the relay"):
            raise KeyboardInterrupt
        one.interrupted()
    out, err = capsys.readouterr()
    assert err.splitlines()[1:] == [
        "interrupted while starting the relay",
        "hint: the same command takes up where this one ended",
    ]
    error = json.loads(out)["error"]
    assert (error["code"], error["exit_code"]) == ("interrupted", 130)
    assert set(error) == {"code", "exit_code", "message", "hint", "detail"}


def test_stages_that_changed_nothing_are_told_only_with_verbose(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    for verbose in (False, True):
        output.verbose = verbose
        for changed in (True, False):
            with stage(output, "making keys") as step:
                output.detail("a line")
                step.changed = changed
        lines = capsys.readouterr().err.splitlines()
        assert "making keys (0.0 s)" in lines[1 if verbose else 0]
        assert len(lines) == (4 if verbose else 1)
        assert any(line.endswith("making keys: as it was") for line in lines) is verbose


def test_with_json_stderr_is_silent_unless_verbose(
    as_json: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    for verbose in (False, True):
        as_json.verbose = verbose
        with stage(as_json, "making keys") as step:
            step.changed = True
        as_json.warn("careful")
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == (2 if verbose else 0)


def test_a_warning_is_told_once(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("one", "two", "one"):
        output.warn(text)
    assert capsys.readouterr().err == "warning: one\nwarning: two\n"


def test_colour_is_for_terminals_and_can_be_switched_off(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    output.warn("one")
    monkeypatch.setenv("NO_COLOR", "")
    output.warn("two")
    monkeypatch.setenv("NO_COLOR", "1")
    output.warn("three")
    assert terminal.getvalue().splitlines() == [
        "\x1b[33;1mwarning:\x1b[0m one",
        "\x1b[33;1mwarning:\x1b[0m two",
        "warning: three",
    ]


def test_marks_are_words_where_the_terminal_has_no_such_signs(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    output.failed("one")
    terminal.encoding = "ascii"
    output.failed("two")
    assert terminal.getvalue() == "✗ one\nfailed two\n"


def test_a_spinner_runs_only_on_a_terminal_and_ends_with_its_stage(
    output: Output, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = on_terminal(monkeypatch)
    with stage(output, "building [the] image") as step:
        output.detail(f"[line] {EVIL}")
        output.warn("meanwhile")
        step.changed = True
    text = terminal.getvalue()
    assert "meanwhile\n" in text
    assert "building [the] image (" in text
    assert not set(text) & set("\x07\x9b\u202e")
    assert capsys.readouterr().out == ""
