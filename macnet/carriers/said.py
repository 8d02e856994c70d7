"""Reads what ssh says when it fails, and what the other machine says of its engine. Pure.

The words are those of OpenSSH's ``sshconnect.c``, ``sshconnect2.c``, ``channels.c`` and ``mux.c``.
"""

from __future__ import annotations

import shlex

from macnet.contexts import SshTarget
from macnet.errors import (
    CarrierDenied,
    CarrierFailed,
    CarrierForbidden,
    CarrierHostKey,
    CarrierUnreachable,
    EngineError,
    EnginePermission,
    EngineUnreachable,
)

_HOST_KEY_WORDS = ("host key verification failed", "host identification has changed")
_CHANGED_WORDS = ("host identification has changed",)
_DENIED_WORDS = ("permission denied (", "too many authentication failures")
_SILENT_WORDS = (
    "connection timed out",
    "operation timed out",
    "no route to host",
    "network is unreachable",
    "connection refused",
    "could not resolve hostname",
    "host is down",
    "banner exchange",
    "connection closed by",
    "connection reset by",
    "kex_exchange_identification",
)
_FORBIDDEN_WORDS = ("administratively prohibited",)
#: Podman's VM is on this machine, and its socket is here too.
_PODMAN_HINT = (
    "this is Podman's machine: `podman machine start`, then instead of ssh name its socket here: "
    "`export DOCKER_HOST=unix://$(podman machine inspect --format "
    "'{{.ConnectionInfo.PodmanSocket.Path}}')`; macnet needs a machine that is rootful, "
    "`podman machine set --rootful`"
)
#: Ends the answer of `question`: without it a shell was not what answered.
_END = "macnet-end"


def failed_login(said: str, target: SshTarget) -> CarrierFailed:
    """The error of an ssh that did not get in, by what it said."""
    error = _failed_login(said, target)
    if target.podman_machine:
        error.hint = _PODMAN_HINT
    return error


def _failed_login(said: str, target: SshTarget) -> CarrierFailed:
    lower, host = said.lower(), target.host
    shown = _command(target)
    if any(word in lower for word in _CHANGED_WORDS):
        return CarrierHostKey(
            f"{host} has another host key than the one that ssh knows: it was installed anew, or "
            "another machine answers in its place",
            hint=f"if you know why, `ssh-keygen -R {host}`, then `{shown}`",
        )
    if any(word in lower for word in _HOST_KEY_WORDS):
        return CarrierHostKey(
            f"ssh does not know the host key of {host}",
            hint=f"compare and accept it once in a terminal: `{shown}`",
        )
    if any(word in lower for word in _DENIED_WORDS):
        return CarrierDenied(
            f"{host} does not let {target.user or 'this user'} in: no key was accepted",
            hint=f"`{shown}` has to work without a password: `ssh-copy-id`, and `ssh-add` for a "
            "key with a passphrase",
        )
    last = _last_line(said)
    if any(word in lower for word in _SILENT_WORDS):
        return CarrierUnreachable(
            f"{host} does not answer ssh: {last}",
            hint=f"is it on, and awake? `{shown}` shows the same",
        )
    return CarrierFailed(
        f"ssh to {host} failed: {last or 'it said nothing'}", hint=f"try `{shown}`"
    )


def forbidden(said: str, target: SshTarget) -> CarrierForbidden | None:
    """The error of a forwarding that the ssh server does not allow, if ``said`` tells that.

    It is what ssh said, or the answer to the `question` of an engine that is silent here.
    """
    lower = said.lower()
    if not any(word in lower for word in _FORBIDDEN_WORDS) and "answers" not in lower.split():
        return None
    return CarrierForbidden(
        f"the ssh server of {target.host} forbids forwarding",
        hint="its sshd_config has to allow AllowTcpForwarding and AllowStreamLocalForwarding",
    )


def question(socket: str) -> str:
    """A line for the other machine's shell that tells about the engine's socket.

    sshd refuses to forward a socket with the words that it has for one where nobody listens, so
    the docker command is asked too, if that machine has it.
    """
    path, url = shlex.quote(socket), shlex.quote(f"unix://{socket}")
    return (
        f"test -S {path} && echo there; test -w {path} && echo usable; "
        f"docker -H {url} version >/dev/null 2>&1 && echo answers; echo {_END}"
    )


def answered(said: str) -> bool:
    """Whether a shell has answered the `question`."""
    return _END in said


def silent_engine(said: str, target: SshTarget) -> EngineError:
    """Why the engine does not answer through ssh, by the answer to the `question`."""
    error = _silent_engine(said, target)
    if target.podman_machine:
        error.hint = _PODMAN_HINT
    return error


def _silent_engine(said: str, target: SshTarget) -> EngineError:
    socket, host = target.socket, target.host
    words = said.split()
    if _END in words and "there" not in words:
        return EngineUnreachable(
            f"there is no Docker socket {socket} on {host}",
            hint="start Docker there, or name its socket: ssh://USER@HOST/PATH/docker.sock",
        )
    if _END in words and "usable" not in words:
        return EnginePermission(
            f"{target.user or 'this user'} may not use the engine's socket {socket} on {host}",
            hint="there, `sudo usermod -aG docker USER`; that counts from the next login, so "
            "`macnet disconnect` before you try again",
        )
    if _END not in words:
        return CarrierUnreachable(
            f"{host} does not answer through the ssh that runs",
            hint="is it awake, and the network up? `macnet connect` starts another ssh",
        )
    return EngineUnreachable(
        f"the engine on {host} does not answer at {socket}", hint="start Docker there"
    )


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _command(target: SshTarget) -> str:
    port = [] if target.port is None else ["-p", str(target.port)]
    return shlex.join(["ssh", *port, target.destination])
