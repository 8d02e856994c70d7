"""The generated part of docs/reference/json.md: what each kind of object holds."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from netaddr import IPAddress, IPNetwork

from macnet.agent import AgentStatus
from macnet.chart import Chart
from macnet.checks import Report
from macnet.networks import Selected
from macnet.tunnel import DownResult, PlanReport, SetupResult, Status
from macnet.tunnel.naming import NamesReport
from macnet.tunnel.results import NamesSwitch
from macnet.watch import WatchLine


@dataclass(frozen=True)
class Note:
    """More about a field; one that is there only ``sometimes`` may be missing."""

    text: str
    sometimes: bool = False


_CHANGED = {"changed": bool}

#: kind -> (the command that prints it, what it holds). A list has one element of the class.
KINDS: dict[str, tuple[str, Any]] = {
    "setup": ("macnet setup", SetupResult),
    "plan": ("macnet setup --dry-run", PlanReport),
    "regenerate": ("macnet regenerate", SetupResult),
    "check": ("macnet check", Report),
    "status": ("macnet status", Status),
    "status_all": ("macnet status --all", [Status]),
    "networks": ("macnet networks", [Selected]),
    "map": ("macnet map", Chart),
    "map_served": ("macnet map --serve", {"url": str}),
    "report": ("macnet report", {"path": str, "parts": tuple[str, ...]}),
    "connect": ("macnet connect", _CHANGED),
    "disconnect": ("macnet disconnect", _CHANGED),
    "profile": (
        "macnet profile",
        {
            "profile": Annotated[str, Note("without `--output`", sometimes=True)],
            "path": Annotated[str, Note("with it", sometimes=True)],
            "changed": Annotated[bool, Note("with it", sometimes=True)],
        },
    ),
    "watch": ("macnet watch", WatchLine),
    "down": ("macnet down", DownResult),
    "down_all": (
        "macnet down --all",
        {
            "tunnels": tuple[DownResult, ...],
            "errors": [{"code": str, "message": str, "hint": str | None}],
        },
    ),
    "names": ("macnet names list", NamesReport),
    "names_switch": ("macnet names on, off", NamesSwitch),
    "names_flush": ("macnet names flush", _CHANGED),
    "agent": ("macnet agent install, uninstall, status", {**_CHANGED, "status": AgentStatus}),
    "error": (
        "any command that fails",
        {
            "code": Annotated[str, Note("one of the [error codes](exit-codes.md#error-codes)")],
            "exit_code": int,
            "message": str,
            "hint": str | None,
            "detail": str | None,
        },
    ),
}

_PLAIN: dict[Any, str] = {
    str: "string",
    bool: "true or false",
    int: "number",
    float: "number",
    IPNetwork: "subnet",
    IPAddress: "address",
    datetime: "time",
    type(None): "null",
}


def json_text() -> str:
    """Every kind, and then every object that they hold."""
    seen: list[type[Any]] = []
    parts = ["## Kinds\n"]
    for kind, (command, what) in KINDS.items():
        parts.append(f"### {kind}\n\n`{command}`\n")
        if isinstance(what, dict):
            parts += [f"- `{name}`: {_words(value, seen)}" for name, value in what.items()]
            parts.append("")
        elif isinstance(what, list):
            parts.append(f"A list of {_words(what[0], seen)}.\n")
        else:
            parts.append(f"One {_words(what, seen)}.\n")
    parts.append("## Objects\n")
    for item in seen:  # grows while it is walked
        parts += _object(item, seen)
    return "\n".join(parts)


def _object(item: type[Any], seen: list[type[Any]]) -> Iterator[str]:
    yield f"### {item.__name__}\n"
    text = (inspect.getdoc(item) or "").replace("``", "`").replace("None", "null")
    yield f"{text}\n"
    hints = get_type_hints(item)
    yield from (f"- `{field.name}`: {_words(hints[field.name], seen)}" for field in fields(item))
    yield ""


def _words(kind: object, seen: list[type[Any]]) -> str:
    """A type in words; dataclasses are noted in ``seen`` and linked."""
    if get_origin(kind) is Annotated:
        inner, note = get_args(kind)
        return f"{_words(inner, seen)}, {note.text}"
    if isinstance(kind, list):
        return f"list of objects with {', '.join(f'`{name}`' for name in kind[0])}"
    if isinstance(kind, type) and kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and is_dataclass(kind):
        if kind not in seen:
            seen.append(kind)
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(f'`{item.value}`' for item in kind)}"
    return _compound(kind, seen)


def _compound(kind: object, seen: list[type[Any]]) -> str:
    arguments = get_args(kind)
    words = [_words(item, seen) for item in arguments if item is not Ellipsis]
    if get_origin(kind) in (types.UnionType, Union):
        return " or ".join(words)
    if get_origin(kind) is tuple:
        return f"list of {words[0]}" if Ellipsis in arguments else f"[{', '.join(words)}]"
    raise TypeError(f"no words for {kind}")
