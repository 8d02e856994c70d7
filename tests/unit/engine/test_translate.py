"""Each exception of the SDK, and of the HTTP client below it, becomes one of ours."""

from __future__ import annotations

import docker.errors  # noqa: TID251 - its exceptions are what is translated
import pytest
import requests
from urllib3.exceptions import ProtocolError

from macnet.contexts import EngineAddress
from macnet.engine.translate import build_failure, translated
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


def wrapping(cause: Exception) -> Exception:
    """What the SDK makes of an exception."""
    error = docker.errors.DockerException(f"it failed: {cause}")
    error.__cause__ = cause
    return error


def answer(text: str, status: int = 500) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError(str(status), response=response, explanation=text)


@pytest.mark.parametrize(
    "error",
    [
        wrapping(requests.exceptions.ConnectionError("refused")),
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
        wrapping(requests.exceptions.ConnectionError(PermissionError(13, "Permission denied"))),
        requests.exceptions.ConnectionError(
            ProtocolError("aborted", PermissionError(13, "Permission denied"))
        ),
    ],
)
def test_the_socket_refuses_this_user(error: Exception) -> None:
    assert type(caught(error)) is EnginePermission


def test_silence_is_told_with_the_systems_reason() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    ours = caught(requests.exceptions.ConnectionError(ProtocolError("aborted", refused)))
    assert ours.message.endswith(": Connection refused")
    assert caught(requests.exceptions.ReadTimeout("late")).message.endswith(": it is silent")


@pytest.mark.parametrize(
    "error",
    [
        docker.errors.DockerException("no such option"),
        docker.errors.StreamParseError("no such option"),
    ],
)
def test_a_fault_of_the_sdk_is_no_silence(error: Exception) -> None:
    ours = caught(error)
    assert type(ours) is EngineError
    assert "no such option" in ours.message


def test_a_certificate_that_does_not_fit_names_the_variables() -> None:
    ours = caught(requests.exceptions.SSLError("certificate verify failed"))
    assert type(ours) is EngineUnreachable
    assert "certificate verify failed" in ours.message
    assert "DOCKER_CERT_PATH" in str(ours.hint)


def test_an_engine_that_wants_tls_says_so() -> None:
    ours = caught(answer("Client sent an HTTP request to an HTTPS server.\n", 400))
    assert type(ours) is EngineUnreachable
    assert "wants TLS" in ours.message
    assert "DOCKER_TLS_VERIFY" in str(ours.hint)


@pytest.mark.parametrize("refusable", [False, True])
@pytest.mark.parametrize(
    ("text", "status", "message", "hint"),
    [
        ("open /var/lib/docker/x: no space left on device", 500, "disk is full", "system prune"),
        (
            'Conflict. The container name "/macnet-relay" is already in use by container "1a2b"',
            409,
            "of that name already",
            "another macnet",
        ),
        ("layer does not exist", 500, "layer does not exist", ""),
    ],
)
def test_an_answer_with_an_error_keeps_its_cause(
    text: str, status: int, message: str, hint: str, *, refusable: bool
) -> None:
    ours = caught(answer(text, status), refusable=refusable)
    assert type(ours) is EngineError
    assert message in ours.message
    assert text in ours.message
    assert hint in str(ours.hint)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("privileged mode is not allowed", 500),
        ("authorization denied by plugin", 403),
        ("anything", 403),
        ("cannot share the host's network namespace when user namespaces are enabled", 400),
        ("mount namespace: operation not permitted", 500),
        ("open /proc/sys/net/ipv6/conf/all/forwarding: no such file or directory", 500),
    ],
)
def test_an_answer_to_a_call_that_is_refused(text: str, status: int) -> None:
    ours = caught(answer(text, status), refusable=True)
    assert type(ours) is EngineRefused
    assert text in ours.message
    assert "SYS_ADMIN" in str(ours.hint)


def test_a_kernel_without_tun_is_named_with_the_command() -> None:
    text = (
        'error gathering device information while adding custom device "/dev/net/tun": '
        "no such file or directory"
    )
    ours = caught(answer(text), refusable=True)
    assert type(ours) is EngineRefused
    assert "rdctl shell sudo modprobe tun" in str(ours.hint)
    assert "limactl shell NAME sudo modprobe tun" in str(ours.hint)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("E: At least one invalid signature was encountered.", "disk is full", "system df"),
        ("write /usr/bin/x: no space left on device", "disk is full", "system prune"),
        (
            "E: Release file for http://mirror.example/debian is not valid yet (invalid for "
            "another 7h 39min 41s)",
            "clock is behind",
            "restart the engine",
        ),
        ("pull access denied for corp/base", "code: 100", "docker pull"),
        ("E: Unable to locate package passt", "code: 100", "--base-image"),
    ],
)
def test_a_build_that_fails_names_the_cause(line: str, message: str, hint: str) -> None:
    ours = build_failure("The command returned a non-zero code: 100", ["Step 2", line])
    assert message in ours.message
    assert hint in str(ours.hint)
    assert line in str(ours.detail)


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
