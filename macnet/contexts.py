"""Which engine to talk to: resolves Docker contexts, variables and sockets like the docker CLI.

The SDK's own context reader is not used: it cannot tell where its answer came from, and
without a config.json it looks for contexts below the working directory.

Source for the order and the file layout: the docker CLI's documentation of contexts
(``docker context --help``) and its store in ``~/.docker/contexts/meta``.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from macnet.errors import ConfigError, EngineRefused, EngineUnreachable, UnknownContext

#: Sockets that engines create, relative to the home directory, the most common first.
HOME_SOCKETS = (
    ".docker/run/docker.sock",
    ".orbstack/run/docker.sock",
    ".colima/default/docker.sock",
    ".colima/docker.sock",
    ".config/colima/default/docker.sock",
    ".rd/docker.sock",
    # The template "docker" is rootless, which macnet cannot use.
    ".lima/docker-rootful/sock/docker.sock",
    ".lima/docker/sock/docker.sock",
    ".local/share/containers/podman/machine/podman.sock",
)
#: Folders that a variable moves, each with the socket in it.
_MOVED_SOCKETS = (
    ("COLIMA_HOME", "default/docker.sock"),
    ("XDG_CONFIG_HOME", "colima/default/docker.sock"),
    ("LIMA_HOME", "docker-rootful/sock/docker.sock"),
)
#: These variables.
MOVED_BY = tuple(name for name, _ in _MOVED_SOCKETS)
#: Podman 5, below TMPDIR: one for each machine.
_PODMAN_SOCKETS = "podman/*-api.sock"
#: Seconds for a socket on this machine to accept.
_ACCEPT_TIMEOUT_S = 1.0
SYSTEM_SOCKET = Path("/var/run/docker.sock")
#: The same on another machine.
FAR_SOCKET = "/var/run/docker.sock"
DEFAULT_CONTEXT = "default"
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
#: What an engine listens on, and what people copy from it; as an address it is this machine.
_ANY_HOSTS = {
    None: "127.0.0.1",
    "": "127.0.0.1",
    "0.0.0.0": "127.0.0.1",  # noqa: S104 - nothing binds it here
    "::": "[::1]",
}
_PLAIN_PORT, _TLS_PORT = 2375, 2376
#: The docker command's form, in which a word that begins with "-" is no host: ssh would take it
#: for an option.
_SSH_URL = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_.+][A-Za-z0-9_.+-]*)@)?"
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*))"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^?#:\s]*)?"
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificates for an engine that wants TLS; without ``ca`` the system's own count."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Another machine as ssh knows it, and the engine's socket there."""

    host: str
    user: str | None = None
    port: int | None = None
    socket: str = FAR_SOCKET

    @property
    def destination(self) -> str:
        """What ssh takes: ``user@host``."""
        return self.host if self.user is None else f"{self.user}@{self.host}"

    @property
    def podman_machine(self) -> bool:
        """Whether it is Podman's VM on this machine, as `podman system connection ls` shows it.

        Its key is Podman's own, which ssh does not offer by itself.
        """
        return self.host in _LOOPBACK_HOSTS and "podman" in self.socket


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine listens, which context names it, and what decided that.

    ``machine`` is the other machine that it is on, None for this one. ``ssh`` is how that one is
    reached, and ``via`` the address here to which a carrier has brought the engine's socket.
    """

    url: str
    source: str
    context: str | None = None
    tls: TlsFiles | None = None
    machine: str | None = None
    ssh: SshTarget | None = None
    via: str | None = None

    @property
    def orbstack(self) -> bool:
        """Whether it is OrbStack's engine: by its context, or its socket, also through a link."""
        scheme, _, path = self.url.partition("://")
        if scheme != "unix":
            return False
        return self.context == "orbstack" or ".orbstack" in Path(path).resolve().parts


def resolve_engine(context: str | None, environ: Mapping[str, str], home: Path) -> EngineAddress:
    """Find the engine: ``--context``, DOCKER_HOST, DOCKER_CONTEXT, current context, sockets.

    Raises `UnknownContext` for a name that is not in the store, `ConfigError` for a damaged
    store or address, `EngineUnreachable` where nothing names an engine, and `EngineRefused` for
    one whose published ports do not reach this machine.
    """
    folder = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else home / ".docker"
    sockets = _socket_paths(environ, home)
    if context:
        return _from_context(context, f"--context {context}", folder, sockets)
    if url := environ.get("DOCKER_HOST"):
        found = EngineAddress(url, "DOCKER_HOST", tls=_tls_of_environ(environ, folder))
        return _outside_minikube(_understood(found), environ)
    if name := environ.get("DOCKER_CONTEXT"):
        return _from_context(name, "DOCKER_CONTEXT", folder, sockets)
    if name := _current_context(folder):
        return _from_context(name, f"current context in {folder / 'config.json'}", folder, sockets)
    return _from_sockets(sockets)


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
    if not text.strip():  # the docker command takes it for no configuration
        return None
    try:
        name = json.loads(text).get("currentContext")
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not valid JSON ({error})",
            hint="correct the file, or name the engine with --context or DOCKER_HOST",
        ) from error
    return str(name) if name and name != DEFAULT_CONTEXT else None


def _from_context(name: str, source: str, folder: Path, sockets: Iterable[Path]) -> EngineAddress:
    if name == DEFAULT_CONTEXT:
        address = _from_sockets(sockets)
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
        endpoint = json.loads(text)["Endpoints"]["docker"]
        url = endpoint["Host"]
        unchecked = bool(endpoint.get("SkipTLSVerify"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the Docker context {name!r} is damaged ({path})",
            hint="create it again with `docker context create`",
        ) from error
    tls = _tls_files(folder / "contexts" / "tls" / digest / "docker")
    address = _understood(EngineAddress(str(url), source, name, tls))
    if unchecked and (address.tls is not None or address.url.startswith("https://")):
        raise ConfigError(
            f"the Docker context {name!r} does not check the engine's certificate, and macnet "
            "talks to no engine without that",
            hint=f"`docker context update {name} --docker host={url},ca=FILE,cert=FILE,key=FILE`",
        )
    return address


def _tls_of_environ(environ: Mapping[str, str], folder: Path) -> TlsFiles | None:
    """The certificates that DOCKER_TLS_VERIFY asks for; the docker command has them there too."""
    if not environ.get("DOCKER_TLS_VERIFY"):
        return None
    place = Path(environ["DOCKER_CERT_PATH"]) if environ.get("DOCKER_CERT_PATH") else folder
    found = _tls_files(place)
    if found is None or found.ca is None:
        raise ConfigError(
            f"DOCKER_TLS_VERIFY is set, but {place} has no ca.pem",
            hint="DOCKER_CERT_PATH names the folder with ca.pem, cert.pem and key.pem",
        )
    return found


def _outside_minikube(address: EngineAddress, environ: Mapping[str, str]) -> EngineAddress:
    """The address, unless it is that of the engine inside minikube's container.

    On a Mac ``minikube docker-env`` names a port of 127.0.0.1 that leads to that one engine. What
    the engine publishes is published in the container, which the Mac does not reach.
    """
    inside = environ.get("MINIKUBE_ACTIVE_DOCKERD") and address.tls is not None
    if not inside or address.machine is not None:
        return address
    raise EngineRefused(
        f"the engine at {address.url} is the one inside minikube's container, and this machine "
        "reaches no port that it publishes",
        hint="use the engine outside, where minikube's container runs: "
        "`eval $(minikube docker-env -u)`, then `macnet setup --also kubernetes`",
    )


def _tls_files(folder: Path) -> TlsFiles | None:
    """The certificates in a folder, None where there are none."""
    ca, cert, key = (
        path if (path := folder / name).is_file() else None
        for name in ("ca.pem", "cert.pem", "key.pem")
    )
    return TlsFiles(ca, cert, key) if ca or cert else None


def _socket_paths(environ: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Where engines make their sockets: the system's, those of variables, those at home."""
    moved = [Path(environ[name]) / part for name, part in _MOVED_SOCKETS if environ.get(name)]
    podman = sorted(Path(environ.get("TMPDIR") or "/tmp").glob(_PODMAN_SOCKETS))  # noqa: S108
    return (SYSTEM_SOCKET, *moved, *(home / part for part in HOME_SOCKETS), *podman)


def _from_sockets(paths: Iterable[Path]) -> EngineAddress:
    """The first socket that accepts: an engine that has quit leaves its own behind."""
    there = [path for path in paths if path.exists()]
    for path in (*filter(_accepts, there), *there):
        return EngineAddress(f"unix://{path}", "default socket")
    raise EngineUnreachable(
        "no Docker engine found: no context, no DOCKER_HOST, none of the usual sockets exists",
        hint="start Docker Desktop, Colima, OrbStack or Rancher Desktop, or name an engine "
        "with --context",
    )


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(_ACCEPT_TIMEOUT_S)
        try:
            trial.connect(str(path))
        except OSError:
            return False
    return True


def _understood(address: EngineAddress) -> EngineAddress:
    """The address in one form; with ``machine`` where it is another one than this."""
    if address.url.startswith("ssh://"):
        return _by_ssh(address)
    try:
        parts = urlsplit(address.url)
        port = parts.port
    except ValueError:  # a bracket without its other half, a port that is no number
        parts, port = urlsplit(""), None
    if parts.scheme == "unix":
        return replace(address, tls=None)
    if parts.scheme in {"tcp", "http", "https"}:
        here = _ANY_HOSTS.get(parts.hostname)
        if here is not None or (parts.scheme == "tcp" and port is None):
            host = here or parts.netloc
            default = _PLAIN_PORT if address.tls is None else _TLS_PORT
            address = replace(address, url=f"{parts.scheme}://{host}:{port or default}")
        if here is not None or parts.hostname in _LOOPBACK_HOSTS:
            return address
        return replace(address, machine=parts.hostname)
    raise ConfigError(
        f"{address.url!r} (from {address.source}) is not an engine address",
        hint="an address begins with its kind: "
        f"unix://{address.url if address.url.startswith('/') else '/var/run/docker.sock'}",
    )


def _by_ssh(address: EngineAddress) -> EngineAddress:
    """An engine that ssh reaches; the user of the address is not part of any message."""
    found = _SSH_URL.fullmatch(address.url)
    port = int(found["port"]) if found is not None and found["port"] else None
    if found is None or (port is not None and not 0 < port < 65536):
        raise ConfigError(
            f"the ssh address of the engine (from {address.source}) is not one that macnet takes",
            hint="give ssh://[USER@]HOST[:PORT][/SOCKET]; passwords and the rest belong to ssh's "
            "own ~/.ssh/config and agent",
        )
    path = found["path"]
    target = SshTarget(
        host=found["six"] or found["host"],
        user=found["user"],
        port=port,
        socket=path if path and path != "/" else FAR_SOCKET,
    )
    return replace(address, tls=None, machine=target.host, ssh=target)
