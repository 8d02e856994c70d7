"""What is printed where: results on stdout, the rest on stderr, and nothing steers a terminal."""

from __future__ import annotations

import io
import json
import sys
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork
from rich.table import Table

from macnet.cli.output import JSON_VERSION, Line, Output, printable
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


def on_terminal(monkeypatch: pytest.MonkeyPatch, name: str = "stderr") -> Terminal:
    """Make a stream a terminal. Not a fixture: pytest sets them anew for the test itself."""
    for variable in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    monkeypatch.setattr(sys, name, stream)
    return stream


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def as_json() -> Output:
    output = Output()
    output.json = True
    return output


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("`macnet setup` makes one", "`macnet setup --context colima` makes one"),
        ("`macnet names on --port 1`", "`macnet names on --port 1 --context colima`"),
        ("`macnet setup`, then `macnet check`", None),
        ("`macnet agent install`", "`macnet agent install --context colima`"),
        ("`macnet down --all` and `docker ps` and `macnet agent status`", None),
        ("`macnet agent uninstall`", None),
        ("`macnet setup --context other`", None),
    ],
)
def test_commands_are_told_as_they_are_typed_for_the_context_of_an_option(
    output: Output, capsys: pytest.CaptureFixture[str], text: str, typed: str | None
) -> None:
    if typed is None:
        typed = text
        for verb in ("setup", "check"):
            typed = typed.replace(f"`macnet {verb}`", f"`macnet {verb} --context colima`")
    for context, wanted in ((None, text), ("colima", typed)):
        output.context = context
        output.line(Line("fix:", text))
        output.line(text)
        output.error(NotSetUp("no", hint=text))
        said = capsys.readouterr()
        assert said.out == f"fix: {wanted}\n{wanted}\n"
        assert said.err == f"error: no\nhint: {wanted}\n"
    output.json = True
    output.error(NotSetUp("no", hint=text))
    assert json.loads(capsys.readouterr().out)["error"]["hint"] == typed
    output.context = 'a"b'
    output.error(NotSetUp("no", hint="`macnet setup`"))
    assert json.loads(capsys.readouterr().out)["error"]["hint"] == "`macnet setup --context 'a\"b'`"


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
    output.line(Line("ok", EVIL))
    output.raw(EVIL)
    out, err = capsys.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 4
    assert not set(out) & set("\x1b\x07\r\x9b\u202e")


def test_a_long_line_goes_on_below_the_words_on_a_terminal_and_only_there(
    output: Output, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "shop: " + "no answer from the relay, " * 5 + "x" * 90
    output.line(Line("FAIL", words))
    assert capsys.readouterr().out == f"FAIL {words}\n"
    terminal = on_terminal(monkeypatch, "stdout")
    monkeypatch.setenv("NO_COLOR", "1")
    Output().line(Line("FAIL", words))
    first, *rest = terminal.getvalue().splitlines()
    assert all(line.startswith(" " * 5 + line.strip()[0]) for line in rest)
    assert [len(line) <= 80 for line in (first, *rest)] == [True, True, False]  # a word stays whole
    assert " ".join(line.strip() for line in (first, *rest)) == f"FAIL {words}"
    monkeypatch.delenv("NO_COLOR")
    Output().line(Line("FAIL", "shop"))
    assert terminal.getvalue().endswith("\x1b[1;31mFAIL\x1b[0m shop\n")


def test_errors_and_hints_wrap_at_words(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    message = "the helper image did not build because the engine could not reach its registry " * 2
    output.error(ImageBuildFailed(message.strip(), hint=message.strip()))
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()) == f"error: {message}hint: {message.strip()}"


def test_a_piped_table_has_no_blanks_at_the_end_of_its_lines(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table("short", "long", box=None)
    table.add_row("a", "b" * 30)
    table.add_row("a", "b")
    output.result("networks", [], [table])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert [line for line in lines if line != line.rstrip()] == []


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
    as_json.result("status", value, ["not shown"])
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "version": JSON_VERSION,
        "kind": "status",
        "status": {
            "time": "2026-03-01T00:00:00+00:00",
            "subnet": {
                "cidr": "10.0.0.0/24",
                "gateway": "10.0.0.1",
                "seen": None,
                "isolated": False,
            },
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


@pytest.mark.parametrize("resumes", [True, False])
def test_an_interruption(
    output: Output, as_json: Output, resumes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in (output, as_json):
        with pytest.raises(KeyboardInterrupt), stage(one, "starting the relay"):
            raise KeyboardInterrupt
        one.interrupted(resumes=resumes)
    out, err = capsys.readouterr()
    hint = ["hint: run the same command again to continue"]
    assert err.splitlines()[1:] == [
        "interrupted while starting the relay",
        *(hint if resumes else []),
    ]
    assert len(out.splitlines()) == 1  # it may come amid a stream of events
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
        assert any(line.endswith("making keys: nothing to do") for line in lines) is verbose


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
    for text, value in (("one", None), ("two", ""), ("three", "1")):
        if value is not None:
            monkeypatch.setenv("NO_COLOR", value)
        Output().warn(text)
    assert terminal.getvalue().splitlines() == [
        "\x1b[1;33mwarning:\x1b[0m one",
        "\x1b[1;33mwarning:\x1b[0m two",
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


def test_nothing_is_drawn_while_another_program_has_the_terminal(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    with stage(output, "connecting openvpn"):
        with output.pause():
            before = terminal.getvalue()
            terminal.write("Password:")
            time.sleep(0.3)  # several frames
            output.warn("said meanwhile")
            during = terminal.getvalue().removeprefix(before)
        time.sleep(0.2)
        after = terminal.getvalue().removeprefix(before + during)
    assert during.startswith("Password:\x1b[1;33mwarning:")
    assert "connecting openvpn" not in during
    assert "connecting openvpn" in after
    with output.pause():  # without a stage there is nothing to stop
        pass


def test_a_screen_is_redrawn_in_place_on_a_terminal_and_goes_on_below_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Output().screen() as show:
        show([Line("ok  ", "one"), "a" * 300])
        show(["two"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == ["ok   one", "a" * 300, ""]
    assert lines[5:] == ["two", ""]
    terminal = on_terminal(monkeypatch, "stdout")
    with Output().screen() as show:
        show([EVIL, "a" * 300])
        show(["two"])
    text = terminal.getvalue()
    assert not set(text) & set("\x07\x9b\u202e")
    assert "a" * 80 in text
    assert "a" * 81 not in text
    assert "\x1b[1A" in text  # up again, over the first picture


@pytest.mark.parametrize(
    ("typed", "meant"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_a_yes_is_a_yes(
    output: Output, monkeypatch: pytest.MonkeyPatch, typed: str, meant: bool
) -> None:
    shown = on_terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert output.ask("Run it now?") is meant
    assert shown.getvalue() == "Run it now? [y/N] "


def test_a_user_reads_along_at_a_terminal_alone(
    output: Output, as_json: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert not output.interactive
    on_terminal(monkeypatch)
    assert Output().interactive
    assert not as_json.interactive
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not Output().interactive


def test_a_note_is_told_once(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    output.note("remembered: --port")
    output.note("remembered: --port")
    assert capsys.readouterr().err == "remembered: --port\n"


def test_what_takes_a_while_is_named_on_a_terminal(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = on_terminal(monkeypatch)
    with output.working("asking the engine"):
        pass
    assert "asking the engine" in shown.getvalue()
