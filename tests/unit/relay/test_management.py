"""What OpenVPN answers, and what counts as a failure."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from macnet.relay import management
from macnet.relay.management import Unanswered, ask


@contextmanager
def openvpn(tmp_path: Path, *answers: bytes) -> Iterator[str]:
    """Answers one client: a greeting, then for each command the next of ``answers``, then ends."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b">INFO:OpenVPN Management Interface\r\n")
                for answer in answers:
                    lines.readline()
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join()


def test_answers_without_news(tmp_path: Path) -> None:
    answers = b"TITLE\tx\r\n>CLIENT:news\r\nEND\r\n", b"SUCCESS: client-kill command succeeded\r\n"
    with openvpn(tmp_path, *answers) as path:
        assert list(ask(path, ["status 3", "client-kill 0"])) == [
            "TITLE\tx",
            "END",
            "SUCCESS: client-kill command succeeded",
        ]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"ERROR: client-kill command failed\r\n", "refused 'client-kill 0': ERROR: client-kill"),
        (b"", "ended while it answered"),
        (b"half a line", "ended while it answered"),
    ],
)
def test_an_error_and_an_end_are_failures(tmp_path: Path, answer: bytes, why: str) -> None:
    with openvpn(tmp_path, answer) as path, pytest.raises(Unanswered, match=why):
        list(ask(path, ["client-kill 0"]))


def test_nobody_there_and_nobody_who_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(management, "SOCKET", str(tmp_path / "none"))
    assert management.main(["state"]) == 1
    assert "does not answer: No such file" in capsys.readouterr().out
    monkeypatch.setattr(management, "_TIMEOUT_S", 0.05)
    monkeypatch.setattr(management, "SOCKET", str(tmp_path / "mute"))
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        assert management.main(["state"]) == 1
    assert "no answer from OpenVPN within 0.05 seconds" in capsys.readouterr().out


def test_answers_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with openvpn(tmp_path, b"1,CONNECTED\r\nEND\r\n") as path:
        monkeypatch.setattr(management, "SOCKET", path)
        assert management.main(["state"]) == 0
    assert capsys.readouterr().out == "1,CONNECTED\nEND\n"
