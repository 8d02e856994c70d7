"""Each exception of the SDK, and of the HTTP client below it, becomes one of ours."""

from __future__ import annotations

import docker.errors  # noqa: TID251 - its exceptions are what is translated
import pytest
import requests
from urllib3.exceptions import ProtocolError

from macnet.contexts import EngineAddress
from macnet.engine.translate import translated
from macnet.errors import (
    EngineError,
    EnginePermission,
    EngineRefused,
    EngineUnreachable,
    MacnetError,
    PortTaken,
)

ADDRESS = EngineAddress("unix:///x.sock", "--context x", "x")


def caught(error: Exception, *, refusable: bool = False) -> MacnetError:
    with pytest.raises(MacnetError) as info, translated(ADDRESS, refusable=refusable):
        raise error
    assert info.value.__cause__ is error
    return info.value


@pytest.mark.parametrize(
    "error",
    [
        docker.errors.DockerException("Error while fetching server API version"),
        requests.exceptions.ConnectionError("refused"),
        requests.exceptions.ReadTimeout("late"),
        ProtocolError("broken"),
        FileNotFoundError(2, "No such file or directory"),
        ConnectionResetError("reset"),
    ],
)
def test_nobody_answers(error: Exception) -> None:
    ours = caught(error)
    assert type(ours) is EngineUnreachable
    assert "unix:///x.sock (from --context x)" in ours.message
    assert ours.hint


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"),
        docker.errors.DockerException("('aborted', PermissionError(13, 'Permission denied'))"),
    ],
)
def test_the_socket_refuses_this_user(error: Exception) -> None:
    assert type(caught(error)) is EnginePermission


def test_an_answer_with_an_error() -> None:
    ours = caught(docker.errors.APIError("500", explanation="disk full"))
    assert type(ours) is EngineError
    assert "disk full" in ours.message


def test_an_answer_to_a_call_that_may_be_refused() -> None:
    error = docker.errors.APIError("403", explanation="privileged mode is not allowed")
    ours = caught(error, refusable=True)
    assert type(ours) is EngineRefused
    assert "not allowed" in ours.message
    assert "SYS_ADMIN" in str(ours.hint)


@pytest.mark.parametrize(
    "text",
    [
        "Bind for 127.0.0.1:13194 failed: port is already allocated",
        "listen tcp4 127.0.0.1:13194: bind: address already in use",
        "Ports are not available: exposing port TCP 127.0.0.1:13194",
    ],
)
def test_a_port_that_the_engine_cannot_publish(text: str) -> None:
    error = docker.errors.APIError("500", explanation=text)
    assert type(caught(error, refusable=True)) is PortTaken
    assert type(caught(error)) is EngineError


def test_errors_of_ours_and_bugs_pass() -> None:
    with pytest.raises(PortTaken), translated(ADDRESS):
        raise PortTaken("ours")
    with pytest.raises(ZeroDivisionError), translated(ADDRESS):
        raise ZeroDivisionError
