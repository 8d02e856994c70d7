"""Which engine to talk to: resolves Docker contexts, variables and sockets like the docker CLI.

The SDK's own context reader is not used: it cannot tell where its answer came from, and
without a config.json it looks for contexts below the working directory.

Source for the order and the file layout: the docker CLI's documentation of contexts
(``docker context --help``) and its store in ``~/.docker/contexts/meta``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from macnet.errors import ConfigError, EngineUnreachable, UnknownContext

#: Sockets that engines create, relative to the home directory, the most common first.
HOME_SOCKETS = (
    ".docker/run/docker.sock",
    ".orbstack/run/docker.sock",
    ".colima/default/docker.sock",
    ".colima/docker.sock",
    ".rd/docker.sock",
    ".lima/docker/sock/docker.sock",
    ".local/share/containers/podman/machine/podman.sock",
)
SYSTEM_SOCKET = Path("/var/run/docker.sock")
DEFAULT_CONTEXT = "default"
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine listens, which context names it, and what decided that."""

    url: str
    source: str
    context: str | None = None


def resolve_engine(context: str | None, environ: Mapping[str, str], home: Path) -> EngineAddress:
    """Find the engine: ``--context``, DOCKER_HOST, DOCKER_CONTEXT, current context, sockets.

    Raises `UnknownContext` for a name that is not in the store, `ConfigError` for a damaged
    store, and `EngineUnreachable` where nothing names an engine or the engine is remote.
    """
    folder = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else home / ".docker"
    if context:
        return _from_context(context, f"--context {context}", folder, home)
    if url := environ.get("DOCKER_HOST"):
        return _local(EngineAddress(url, "DOCKER_HOST"))
    if name := environ.get("DOCKER_CONTEXT"):
        return _from_context(name, "DOCKER_CONTEXT", folder, home)
    if name := _current_context(folder):
        return _from_context(name, f"current context in {folder / 'config.json'}", folder, home)
    return _from_sockets(home)


def list_contexts(environ: Mapping[str, str], home: Path) -> tuple[str, ...]:
    """The names in the context store, ``default`` first; unreadable entries are left out."""
    folder = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else home / ".docker"
    names = []
    for meta in sorted((folder / "contexts" / "meta").glob("*/meta.json")):
        try:
            names.append(str(json.loads(meta.read_bytes())["Name"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return (DEFAULT_CONTEXT, *sorted(names))


def _current_context(folder: Path) -> str | None:
    path = folder / "config.json"
    try:
        text = path.read_bytes()
    except OSError:
        return None
    try:
        name = json.loads(text).get("currentContext")
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not valid JSON ({error})",
            hint="mend the file, or name the engine with --context or DOCKER_HOST",
        ) from error
    return str(name) if name and name != DEFAULT_CONTEXT else None


def _from_context(name: str, source: str, folder: Path, home: Path) -> EngineAddress:
    if name == DEFAULT_CONTEXT:
        address = _from_sockets(home)
        return EngineAddress(address.url, source, DEFAULT_CONTEXT)
    digest = hashlib.sha256(name.encode()).hexdigest()
    path = folder / "contexts" / "meta" / digest / "meta.json"
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise UnknownContext(
            f"there is no Docker context named {name!r} (from {source})",
            hint="`docker context ls` lists the contexts of this user",
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    try:
        url = json.loads(text)["Endpoints"]["docker"]["Host"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the Docker context {name!r} is damaged ({path})",
            hint="create it again with `docker context create`",
        ) from error
    return _local(EngineAddress(str(url), source, name))


def _from_sockets(home: Path) -> EngineAddress:
    for path in (SYSTEM_SOCKET, *(home / part for part in HOME_SOCKETS)):
        if path.exists():
            return EngineAddress(f"unix://{path}", "default socket")
    raise EngineUnreachable(
        "no Docker engine found: no context, no DOCKER_HOST, none of the usual sockets exists",
        hint="start Docker Desktop, Colima, OrbStack or Rancher Desktop, or name an engine "
        "with --context",
    )


def _local(address: EngineAddress) -> EngineAddress:
    """Refuse an engine on another machine: its published ports are not on this loopback."""
    try:
        parts = urlsplit(address.url)
    except ValueError:  # a bracket without its other half
        parts = urlsplit("")
    if parts.scheme == "unix":
        return address
    if parts.scheme in {"tcp", "http", "https"} and parts.hostname in _LOOPBACK_HOSTS:
        return address
    if parts.scheme in {"tcp", "http", "https", "ssh"}:
        raise EngineUnreachable(
            f"the engine at {parts.scheme}://{parts.hostname} (from {address.source}) is on "
            "another machine",
            hint="macnet reaches engines that run on this machine; choose one with --context",
        )
    raise ConfigError(
        f"{address.url!r} (from {address.source}) is not an engine address",
        hint="an address looks like unix:///var/run/docker.sock",
    )
