"""Turns the exceptions of the Docker SDK, and of the HTTP client below it, into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from macnet.contexts import EngineAddress
from macnet.errors import (
    EngineError,
    EnginePermission,
    EngineRefused,
    EngineUnreachable,
    ImageBuildFailed,
    PortTaken,
)

if TYPE_CHECKING:
    from docker.errors import APIError

#: How engines say that a host port is in use (docker-proxy, Docker Desktop, VMs' forwarders).
_PORT_WORDS = ("port is already allocated", "address already in use", "ports are not available")
#: How an engine says that it is removing a container right now.
_GOING_WORDS = ("RWLayer", "marked for removal")
#: How an engine says that a container has no processes to join (Docker; Podman).
_ENDED_WORDS = ("is not running", "is restarting", "container state improper")
#: How engines, their policies and kernels say that a container may not have what it asks for.
_REFUSAL_WORDS = (
    "privileged mode",
    "not allowed",
    "not permitted",
    "permission denied",
    "forbidden",
    "denied by",
    "cannot share the host",
    "user namespace",
    "enhanced container isolation",
    "rootless",
    "net.ipv6",
    "net/ipv6",
)
_DISK_WORDS = ("no space left on device", "disk quota exceeded")
#: apt's words where a full disk has cut a list of packages.
_APT_DISK_WORDS = "at least one invalid signature was encountered"
_CLOCK_WORDS = ("is not valid yet", "certificate is not yet valid")
_LOGIN_WORDS = ("pull access denied", "unauthorized", "authentication required", "no basic auth")
_FORBIDDEN = 403
_TLS_WORDS = "http request to an https server"
_REFUSAL_HINT = (
    "the helper needs host networking, the host's process list, NET_ADMIN and SYS_ADMIN; "
    "rootless engines and Docker Desktop's Enhanced Container Isolation refuse them"
)
_DISK_HINT = "`docker system df` shows what fills it, `docker system prune` removes what is unused"
_TUN_HINT = (
    "load it in the engine's VM: Rancher Desktop `rdctl shell sudo modprobe tun`, Lima "
    "`limactl shell NAME sudo modprobe tun`, Colima `colima ssh -- sudo modprobe tun`"
)
_TLS_HINT = (
    "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH as for the docker command, or name a context "
    "that has the certificates"
)


def is_gone(error: Exception) -> bool:
    """Whether an error of the SDK says that there is no such container, or not much longer.

    One that is being removed has lost its file system already; asked for it, the engine
    answers 500 or 409.
    """
    from docker.errors import NotFound

    return isinstance(error, NotFound) or any(word in str(error) for word in _GOING_WORDS)


def has_ended(error: Exception) -> bool:
    """Whether an error of the SDK says that a container runs no more."""
    return is_gone(error) or any(word in str(error) for word in _ENDED_WORDS)


@contextmanager
def translated(address: EngineAddress, *, refusable: bool = False) -> Iterator[None]:
    """Raise `macnet.errors` in place of foreign exceptions.

    ``refusable`` marks calls that an engine may forbid by policy: a refusal then is
    `EngineRefused` and carries what to do.
    """
    from docker.errors import (
        APIError,
        DockerException,
        StreamParseError,
    )
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError  # streams raise it bare

    where = f"{address.url} (from {address.source})"
    try:
        yield
    except APIError as error:
        raise _of_answer(error, where, refusable=refusable) from error
    except (RequestException, HTTPError, OSError) as error:
        raise _of_silence(error, where) from error
    except (DockerException, StreamParseError) as error:
        # The SDK wraps what the connection raised; anything else is a fault of its own.
        if any(isinstance(link, RequestException | HTTPError | OSError) for link in _chain(error)):
            raise _of_silence(error, where) from error
        raise EngineError(f"talking to the engine at {where} failed: {error}") from error


def _of_answer(error: APIError, where: str, *, refusable: bool) -> EngineError | PortTaken:
    """Our error for an engine that has answered with one."""
    text = str(error.explanation or error).strip()
    lower = text.lower()
    if _TLS_WORDS in lower:
        return EngineUnreachable(f"the engine at {where} wants TLS", hint=_TLS_HINT)
    if any(word in lower for word in _DISK_WORDS):
        return EngineError(f"the engine's disk is full: {text}", hint=_DISK_HINT)
    if "is already in use by" in lower and error.status_code in {None, 409, 500}:
        return EngineError(
            f"the engine has a container of that name already: {text}",
            hint="another macnet may be at work: wait until it has ended, then try again",
        )
    refusal = _of_refusal(text, error.status_code) if refusable else None
    return refusal or EngineError(f"the engine answered with an error: {text}")


def _of_refusal(text: str, status: int | None) -> EngineRefused | PortTaken | None:
    """Our error where the engine does not let a container have what it asks for, else None."""
    lower = text.lower()
    if "/dev/net/tun" in lower and ("no such" in lower or "not exist" in lower):
        return EngineRefused("the engine's kernel has not loaded tun", hint=_TUN_HINT)
    if any(word in lower for word in _PORT_WORDS):
        return PortTaken(
            f"the engine cannot publish the port: {text}",
            hint="another program or container holds it: choose one with --port",
        )
    if status == _FORBIDDEN or any(word in lower for word in _REFUSAL_WORDS):
        return EngineRefused(f"the engine refused: {text}", hint=_REFUSAL_HINT)
    return None


def _of_silence(error: Exception, where: str) -> EngineError:
    """Our error for an engine with which there is no connection."""
    from requests.exceptions import SSLError, Timeout

    chain = list(_chain(error))
    if any(isinstance(link, PermissionError) for link in chain):
        return EnginePermission(
            f"this user may not use the engine's socket {where}",
            hint="on Linux join the group that owns the socket; on a Mac let the engine's "
            "app create its own socket and choose it with --context",
        )
    if any(isinstance(link, SSLError) for link in chain):
        return EngineUnreachable(
            f"no TLS connection with the engine at {where}: {error}", hint=_TLS_HINT
        )
    reasons = [link.strerror for link in chain if isinstance(link, OSError) and link.strerror]
    if any(isinstance(link, Timeout) for link in chain):
        reasons = ["it is silent"]
    reason = f": {reasons[-1]}" if reasons else ""
    return EngineUnreachable(
        f"no Docker engine answers at {where}{reason}",
        hint="start the engine (Docker Desktop, Colima, OrbStack, Rancher Desktop), or name "
        "another with --context",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then those that it wraps: as its cause, context, reason or arguments."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        link = waiting.pop(0)
        if any(link is other for other in seen):
            continue
        seen.append(link)
        yield link
        inner = [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
        waiting += [item for item in inner if isinstance(item, BaseException)]


def build_failure(failure: str, log: list[str]) -> ImageBuildFailed:
    """Our error for a build that ended with ``failure`` after these lines."""
    lower = "\n".join([*log, failure]).lower()
    reason = failure.strip()
    hint = (
        "the build downloads packages: check the engine's network, or give an image that has "
        "them with --base-image; `macnet setup --offline` says how to bring the image in by hand"
    )
    if any(word in lower for word in (*_DISK_WORDS, _APT_DISK_WORDS)):
        reason, hint = f"the engine's disk is full ({reason})", _DISK_HINT
    elif any(word in lower for word in _CLOCK_WORDS):
        reason = f"the engine's clock is behind ({reason})"
        hint = "restart the engine: that sets the clock of its VM"
    elif any(word in lower for word in _LOGIN_WORDS):
        hint = "`docker pull` the base image first: macnet sends no passwords of registries"
    return ImageBuildFailed(f"the build failed: {reason}", hint=hint, detail="\n".join(log))
