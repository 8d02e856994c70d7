"""One archive for a bug report: what there is, what is wrong, and nothing secret.

Each part is gathered by itself: where one fails, its error is what the report holds of it.
"""

from __future__ import annotations

import io
import json
import platform
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from macnet import __version__, checks
from macnet.contexts import EngineAddress
from macnet.errors import MacnetError
from macnet.files import write_private
from macnet.helper.spec import JOINER, RELAY, SERVER
from macnet.plain import to_plain
from macnet.tunnel import Status, Tunnel
from macnet.tunnel.observe import load_pki_or_none

LOG_LINES = 2000
#: Anything between these lines is a key or a certificate, whoever made it.
_PEM = re.compile(r"-----BEGIN ([^-]+)-----.*?(-----END \1-----|\Z)", re.DOTALL)
#: A line of a static key, or of anything as random.
_HEX = re.compile(r"\b[0-9a-fA-F]{32,}\b")
#: Names with no more letters and digits than this, and these, stay in a report: they tell nothing
#: of a user, and are in texts where they name nothing.
_FEW_LETTERS = 2
_COMMON = frozenset(
    {
        *("client", "container", "engine", "helper", "host", "kind", "names", "network", "none"),
        *("relay", "root", "server", "tun", "tunnel", "user", "vpn", "watch", "macnet"),
        *("default", "dev", "docker", "linux", "local", "localhost", "main", "proxy", "test"),
        *("colima", "desktop-linux", "docker-desktop", "docker.test", "lima", "minikube"),
        *("openvpn", "orbstack", "podman", "rancher-desktop", "tunnelblick", "ubuntu"),
    }
)
_ROLES = "|".join((SERVER, RELAY, JOINER))
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ReportPart:
    """One file of the archive."""

    name: str
    text: str


def make_report(
    tunnel: Tunnel, status: Callable[[], Status], *, anonymize: bool
) -> tuple[ReportPart, ...]:
    """Gather and redact all parts. With ``anonymize`` names get numbers, the same everywhere."""
    parts = [ReportPart(name, text) for name, text in _gather(tunnel, status)]
    hide = redactor(_secrets(tunnel), _private_words())
    parts = [ReportPart(part.name, hide(part.text)) for part in parts]
    if anonymize:
        rename = anonymizer(_names(tunnel))
        parts = [ReportPart(part.name, _anonymize(part, rename)) for part in parts]
    return tuple(parts)


def save_report(parts: Sequence[ReportPart], target: Path) -> None:
    """Write the archive (zip, mode 0600)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            archive.writestr(f"macnet-report/{part.name}", part.text)
    write_private(target, buffer.getvalue())


def _gather(tunnel: Tunnel, status: Callable[[], Status]) -> Iterator[tuple[str, str]]:
    def part(name: str, make: Callable[[], object]) -> tuple[str, str]:
        try:
            value = make()
        except MacnetError as error:
            value = f"error: {error}\nhint: {error.hint}\n"
        text = value if isinstance(value, str) else json.dumps(to_plain(value), indent=2) + "\n"
        return name, text

    yield part("versions.json", lambda: _versions(tunnel))
    yield part("status.json", status)
    yield part("networks.json", tunnel.networks)
    yield part("check.json", lambda: checks.run(tunnel, [], on_result=lambda _: None))
    yield part(
        "host.json",
        lambda: {"interfaces": tunnel.host.interfaces(), "routes": tunnel.host.routes()},
    )
    for source in ("server", "relay", "client"):
        yield part(f"log-{source}.txt", partial(_log, tunnel, source))


def _versions(tunnel: Tunnel) -> Mapping[str, object]:
    """What counts in every report, also while the engine is away."""
    engine: object
    try:
        engine = tunnel.engine.info()
    except MacnetError as error:
        engine = {"error": str(error), "hint": error.hint}
    return {
        "macnet": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "client": tunnel.client.name,
        "client_version": tunnel.client.version(),
        "engine": engine,
    }


def _log(tunnel: Tunnel, source: str) -> str:
    return "".join(f"{line}\n" for line in tunnel.logs(source, tail=LOG_LINES, follow=False))


def _secrets(tunnel: Tunnel) -> Iterator[str]:
    """Everything of this tunnel that must not leave, also line by line."""
    token = tunnel.state().token
    if token:
        yield token
    pki = load_pki_or_none(tunnel.paths)
    if pki is not None:
        for text in (
            pki.ca_cert,
            pki.server_cert,
            pki.server_key,
            pki.client_cert,
            pki.client_key,
            pki.tls_crypt,
        ):
            yield from (line for line in text.splitlines() if not line.startswith("-----"))


def _private_words() -> Mapping[str, str]:
    """The user's home and name: paths tell them, and no bug depends on them."""
    home = Path.home()
    return {str(home): "~", f"/{home.name}/": "/USER/"}


def redactor(secrets: Iterable[str], words: Mapping[str, str]) -> Callable[[str], str]:
    """A function that takes secrets, keys of any kind, and ``words`` out of a text."""
    known = sorted({secret for secret in secrets if len(secret) >= 8}, key=len, reverse=True)

    def hide(text: str) -> str:
        text = _PEM.sub(r"(\1 removed)", text)
        for secret in known:
            text = text.replace(secret, "(removed)")
        text = _HEX.sub("(removed)", text)
        for word, other in words.items():
            text = text.replace(word, other)
        return text

    return hide


def _names(tunnel: Tunnel) -> Iterator[tuple[str, str]]:
    """Names of the user's choosing, with what they name; also while the engine is away."""
    for name, kind in _other_names(tunnel):
        if _tells(name):
            yield name, kind
    for item in _found(tunnel.networks) or ():
        if item.network.name not in {"bridge", "host", "none"}:
            yield item.network.name, "network"
        yield from ((endpoint.container, "container") for endpoint in item.network.endpoints)
        yield from ((endpoint.node or "", "node") for endpoint in item.network.endpoints)
        yield from ((endpoint.cluster or "", "cluster") for endpoint in item.network.endpoints)
    yield from ((name, "filter") for name in _globs(tunnel) if _tells(name))


def _other_names(tunnel: Tunnel) -> Iterator[tuple[str, str]]:
    """Names of all but networks and containers."""
    here = platform.node()
    yield from ((name, "machine") for name in (here, here.partition(".")[0]))
    settings, state = tunnel.settings, tunnel.state()
    address = _found(lambda: tunnel.carrier.address) or EngineAddress("", "")
    yield address.machine or "", "machine"
    yield state.way.machine or "" if state.way else "", "machine"
    yield (address.ssh.user if address.ssh else None) or "", "user"
    yield settings.name, "tunnel"
    yield from ((record.parent.name, "tunnel") for record in tunnel.paths.other_records())
    for context in (settings.context, address.context, state.context):
        yield context or "", "context"
    engine = _found(lambda: tunnel.engine)
    info = _found(engine.info) if engine is not None else None
    if engine is not None and info is not None:
        yield info.name, "engine"
        nodes = _found(lambda: engine.swarm()[0]) if info.manager else None
        for row in nodes or ():
            yield str((row.get("Description") or {}).get("Hostname") or ""), "node"
    if state.names is not None:
        yield state.names.domain, "domain"
        yield state.names.cluster or "", "cluster"
    yield from ((name, "cluster") for name in settings.also.clusters)
    yield from ((name, "container") for _, name in settings.also.through)


def _globs(tunnel: Tunnel) -> tuple[str, ...]:
    return (*tunnel.settings.networks, *tunnel.settings.exclude)


def _found(ask: Callable[[], _T]) -> _T | None:
    try:
        return ask()
    except MacnetError:
        return None


def _tells(name: str) -> bool:
    """Whether a name says anything about its user; a short or common word is in many texts."""
    letters = sum(map(str.isalnum, name))
    return letters > _FEW_LETTERS and name.lower() not in _COMMON


def _anonymize(part: ReportPart, rename: Callable[[str], str]) -> str:
    """The part's text with other names. Keys of JSON stay: a container may be called "name"."""
    try:
        value = json.loads(part.text) if part.name.endswith(".json") else None
    except ValueError:  # the error of a part that could not be made
        value = None
    if value is None:
        return rename(part.text)
    return json.dumps(_map_strings(value, rename), indent=2) + "\n"


def _map_strings(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _map_strings(item, change) for key, item in value.items()}
    return value


def anonymizer(names: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """A function that gives each name a number of its kind, the same in every text."""
    numbers: dict[str, int] = {}
    chosen: dict[str, str] = {}
    for name, kind in names:
        ours = kind in {"container", "network"} and name.startswith("macnet-")
        if name and name not in chosen and not ours:
            numbers[kind] = numbers.get(kind, 0) + 1
            chosen[name] = f"{kind}-{numbers[kind]}"
    if not chosen:
        return lambda text: text
    longest = sorted(chosen, key=len, reverse=True)
    pattern = re.compile("|".join(_place(name, chosen[name]) for name in longest))
    return lambda text: pattern.sub(lambda found: chosen[found[0]], text)


def _place(name: str, number: str) -> str:
    """Where a name is taken for one: as a word of its own, mostly."""
    word = re.escape(name)
    match number.partition("-")[0]:
        case "domain":  # behind a container's name
            return rf"(?<![\w-]){word}(?![\w-])"
        case "tunnel":  # within the names of its containers
            return rf"(?:(?<![\w.-])|(?<=\bmacnet-)){word}(?:(?![\w-])|(?=-(?:{_ROLES})\b))"
        case _:
            return rf"(?<![\w.-]){word}(?![\w-])"
