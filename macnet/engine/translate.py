"""Turns the exceptions of the Docker SDK, and of the HTTP client below it, into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from macnet.contexts import EngineAddress
from macnet.errors import EngineError, EnginePermission, EngineRefused, EngineUnreachable, PortTaken

#: How engines say that a host port is in use (docker-proxy, Docker Desktop, VMs' forwarders).
_PORT_WORDS = ("port is already allocated", "address already in use", "ports are not available")
#: How an engine says that it is removing a container right now.
_GOING_WORDS = ("RWLayer", "marked for removal")
_REFUSAL_HINT = (
    "the helper needs host networking, the host's process list, NET_ADMIN and SYS_ADMIN; "
    "rootless engines and Docker Desktop's Enhanced Container Isolation refuse them"
)


def is_gone(error: Exception) -> bool:
    """Whether an error of the SDK says that there is no such container, or not much longer.

    One that is being removed has lost its file system already; asked for it, the engine
    answers 500 or 409.
    """
    from docker.errors import NotFound  # noqa: PLC0415, TID251

    return isinstance(error, NotFound) or any(word in str(error) for word in _GOING_WORDS)


@contextmanager
def translated(address: EngineAddress, *, refusable: bool = False) -> Iterator[None]:
    """Raise `macnet.errors` in place of foreign exceptions.

    ``refusable`` marks calls that an engine may forbid by policy: an error answer then is
    `EngineRefused` and carries what to do.
    """
    from docker.errors import APIError, DockerException  # noqa: PLC0415, TID251
    from requests.exceptions import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 (streams raise it bare)

    where = f"{address.url} (from {address.source})"
    try:
        yield
    except APIError as error:
        text = str(error.explanation or error).strip()
        if refusable and any(word in text.lower() for word in _PORT_WORDS):
            raise PortTaken(
                f"the engine cannot publish the port: {text}",
                hint="another program or container holds it: choose one with --port",
            ) from error
        if refusable:
            raise EngineRefused(f"the engine refused: {text}", hint=_REFUSAL_HINT) from error
        raise EngineError(f"the engine answered with an error: {text}") from error
    except (DockerException, RequestException, HTTPError, OSError) as error:
        if "Permission denied" in str(error):
            raise EnginePermission(
                f"this user may not use the engine's socket {where}",
                hint="on Linux join the group that owns the socket; on a Mac let the engine's "
                "app create its own socket and choose it with --context",
            ) from error
        raise EngineUnreachable(
            f"no Docker engine answers at {where}",
            hint="start the engine (Docker Desktop, Colima, OrbStack, Rancher Desktop), or name "
            "another with --context",
        ) from error
