"""Programs are run to their end, and each way to fail is an error with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from macnet.runner import CommandFailed, SystemRunner

RUNNER = SystemRunner()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def script(path: Path, mode: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_what_a_program_says_is_kept() -> None:
    code = "import os, sys; print(os.environ['LC_ALL']); print('oops', file=sys.stderr)"
    done = RUNNER.run(python(code))
    assert (done.returncode, done.ok, done.argv) == (0, True, tuple(python(code)))
    assert (done.stdout, done.stderr) == ("C\n", "oops\n")


def test_bytes_that_are_no_text_are_replaced() -> None:
    done = RUNNER.run(python("import sys; sys.stdout.buffer.write(b'a\\xffb')"))
    assert done.stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_a_program_reads_what_it_is_given_and_never_the_terminal() -> None:
    code = "import sys; print(sys.stdin.read().upper(), end='')"
    assert RUNNER.run(python(code), stdin="secret").stdout == "SECRET"
    assert RUNNER.run(python(code)).stdout == ""


def test_an_interactive_program_has_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    done = RUNNER.run(python("print('Password:')"), interactive=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert capfd.readouterr().out == "Password:\n"


def test_a_status_is_an_error_unless_the_caller_judges_it() -> None:
    argv = python("import sys; print('one\\ntwo\\n', file=sys.stderr); sys.exit(3)")
    done = RUNNER.run(argv, check=False)
    assert (done.returncode, done.ok) == (3, False)
    with pytest.raises(CommandFailed) as caught:
        RUNNER.run(argv)
    assert caught.value.message.endswith("ended with status 3: two")
    assert (caught.value.argv, caught.value.stderr) == (tuple(argv), "one\ntwo\n\n")


def test_a_program_that_says_nothing_is_told_without_a_last_word() -> None:
    with pytest.raises(CommandFailed, match=r"` ended with status 1$"):
        RUNNER.run(python("raise SystemExit(1)"))


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CommandFailed, match=r"^`/nonexistent/program --x` is not installed$"):
        RUNNER.run(["/nonexistent/program", "--x"])


def test_a_program_that_may_not_be_run(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="may not be run by this user"):
        RUNNER.run([str(script(tmp_path / "program", 0o600))])


def test_a_program_that_does_not_end() -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.2 s"):
        RUNNER.run(python("import time; time.sleep(60)"), timeout_s=0.2)


def test_a_program_is_found_on_path_then_in_its_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = script(tmp_path / "bin" / "program", 0o755)
    elsewhere = script(tmp_path / "sbin" / "program", 0o755)
    locked = script(tmp_path / "locked", 0o600)
    monkeypatch.setenv("PATH", str(on_path.parent))
    places = (str(locked), str(elsewhere))
    assert RUNNER.find("program", *places) == str(on_path)
    on_path.unlink()
    assert RUNNER.find("program", *places) == str(elsewhere)
    assert RUNNER.find("program", str(locked)) is None


def test_what_goes_on_in_the_background_is_not_waited_for() -> None:
    done = SystemRunner().run(["sh", "-c", "sleep 30 & echo said; echo more >&2"], timeout_s=20)
    assert (done.stdout, done.stderr) == ("said\n", "more\n")
