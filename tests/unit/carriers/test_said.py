"""What ssh says, and the one sentence that macnet makes of it."""

from __future__ import annotations

import pytest

from macnet.carriers.said import failed_login, forbidden, question, silent_engine
from macnet.contexts import SshTarget
from macnet.errors import (
    CarrierDenied,
    CarrierFailed,
    CarrierHostKey,
    CarrierUnreachable,
    EngineError,
    EnginePermission,
    EngineUnreachable,
)

TARGET = SshTarget("box", "me", 2222)
CHANGED = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Host key for box has changed and you have requested strict checking.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("me@box: Permission denied (publickey).", CarrierDenied, "does not let me in"),
        ("Host key verification failed.", CarrierHostKey, "does not know the host key of box"),
        (CHANGED, CarrierHostKey, "has another host key"),
        (
            "ssh: connect to host box port 22: Connection timed out",
            CarrierUnreachable,
            "box does not answer ssh: ssh: connect to host box port 22: Connection timed out",
        ),
        (
            "ssh: Could not resolve hostname box: Name or service not known",
            CarrierUnreachable,
            "does not answer ssh",
        ),
        ("Bad owner or permissions on config", CarrierFailed, "failed: Bad owner"),
        ("", CarrierFailed, "it said nothing"),
    ],
)
def test_a_login_that_failed(text: str, kind: type[CarrierFailed], message: str) -> None:
    error = failed_login(text, TARGET)
    assert type(error) is kind
    assert message in error.message
    assert "ssh -p 2222 me@box" in str(error.hint)
    assert error.exit_code == 3


PODMAN = SshTarget("127.0.0.1", "core", 54321, "/run/user/501/podman/podman.sock")


@pytest.mark.parametrize(
    "error",
    [
        failed_login("core@127.0.0.1: Permission denied (publickey).", PODMAN),
        failed_login("Host key verification failed.", PODMAN),
        failed_login("ssh: connect to host 127.0.0.1 port 54321: Connection refused", PODMAN),
        silent_engine("macnet-end\n", PODMAN),
        silent_engine("there\nmacnet-end\n", PODMAN),
    ],
)
def test_podmans_machine_is_to_be_named_by_its_socket_here(error: EngineError) -> None:
    """`podman system connection ls` shows an ssh address, with a key that is Podman's own."""
    hint = str(error.hint)
    assert "podman machine inspect --format '{{.ConnectionInfo.PodmanSocket.Path}}'" in hint
    assert "`podman machine set --rootful`" in hint
    assert "ssh-copy-id" not in hint


@pytest.mark.parametrize(
    "target",
    [
        SshTarget("127.0.0.1", "core", 54321),
        SshTarget("box", "core", socket="/run/podman/podman.sock"),
    ],
)
def test_another_machine_with_podman_is_none_of_podmans(target: SshTarget) -> None:
    error = failed_login("core@box: Permission denied (publickey).", target)
    assert "ssh-copy-id" in str(error.hint)


def test_a_forwarding_that_is_forbidden() -> None:
    said = "channel 2: open failed: administratively prohibited: open failed"
    assert "forbids forwarding" in str(forbidden(said, TARGET))
    assert forbidden("channel 2: open failed: connect failed: open failed", TARGET) is None
    # Its own docker command reaches the engine.
    assert forbidden("there\nusable\nanswers\nmacnet-end\n", TARGET) is not None
    assert forbidden("there\nusable\nmacnet-end\n", TARGET) is None


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("macnet-end\n", EngineUnreachable, "there is no Docker socket /run/d.sock on box"),
        ("there\nmacnet-end\n", EnginePermission, "me may not use the engine's socket"),
        ("there\nusable\nmacnet-end\n", EngineUnreachable, "does not answer at /run/d.sock"),
        # No shell has answered: that says nothing of the socket.
        ("This account is not available.\n", CarrierUnreachable, "does not answer through"),
        ("", CarrierUnreachable, "does not answer through the ssh"),
    ],
)
def test_an_engine_that_is_silent(text: str, kind: type[EngineError], message: str) -> None:
    error = silent_engine(text, SshTarget("box", "me", socket="/run/d.sock"))
    assert type(error) is kind
    assert message in error.message


def test_a_path_is_one_word_of_the_shell_there() -> None:
    assert "test -S '/a;reboot' && echo there" in question("/a;reboot")
