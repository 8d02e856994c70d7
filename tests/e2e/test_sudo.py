"""A user who is not root, in a terminal, with a sudo that asks for the password."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.steps import PROGRAM, Mac, person
from tests.lab.process import ProcessId
from tests.lab.user import NAME, PASSWORD, MacUser

PROMPT = rf"password for {NAME}: ?"


@pytest.fixture
def user(clean: Mac) -> Iterator[MacUser]:
    """The user, and afterwards nothing of theirs."""
    with person(clean) as user:
        yield user


def test_setup_waits_for_the_password_and_draws_nothing_over_the_prompt(
    clean: Mac, user: MacUser
) -> None:
    env = clean.environment()
    with user.terminal([PROGRAM, "setup"], env) as terminal:
        terminal.wait_for(PROMPT)
        before = terminal.shown(0.3)
        assert not terminal.echoes()
        # Several frames of anything that moves.
        assert terminal.shown(1.5) == before
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0
        assert "The tunnel is up: " in terminal.shown()
        assert PASSWORD not in terminal.shown()
        assert terminal.echoes()
    assert clean.http(clean.lab.sample.address("app-web"))
    [pid] = clean.clients()
    # What follows needs no password: the socket obeys this user.
    for words in (["setup"], ["status"], ["check"], ["disconnect"]):
        with user.terminal([PROGRAM, *words], env) as terminal:
            assert terminal.wait() == 0, terminal.shown()
            assert "password" not in terminal.shown()
    assert clean.clients() == []
    assert ProcessId.of(pid) is None


def test_a_wrong_password(clean: Mac, user: MacUser) -> None:
    with user.terminal([PROGRAM, "setup"], clean.environment()) as terminal:
        for attempt in range(3):
            terminal.wait_for(rf"(?s)({PROMPT}.*){{{attempt + 1}}}")
            terminal.type("wrong\n")
        assert terminal.wait() == 6
        shown = terminal.text()
        assert "error: " in shown
        assert "hint: " in shown
        assert "Traceback" not in shown
        assert terminal.echoes()
    assert clean.clients() == []


def test_ctrl_c_at_the_prompt(clean: Mac, user: MacUser) -> None:
    with user.terminal([PROGRAM, "setup"], clean.environment()) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("\x03")
        assert terminal.wait() != 0
        assert "Traceback" not in terminal.shown()
        assert terminal.echoes()
    assert clean.clients() == []
    # It resumes where it was.
    with user.terminal([PROGRAM, "setup"], clean.environment()) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0, terminal.shown()
    assert clean.http(clean.lab.sample.address("app-web"))
