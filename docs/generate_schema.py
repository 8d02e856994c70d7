"""docs/reference/schema.json: what `--json` prints, as a JSON Schema (draft 2020-12)."""

from __future__ import annotations

import json
import types
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from generate_json import KINDS, Note
from netaddr import IPAddress, IPNetwork

from macnet.cli.output import JSON_VERSION

Schema = dict[str, Any]
_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    IPNetwork: {"type": "string"},
    IPAddress: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    type(None): {"type": "null"},
}


def schema_text() -> str:
    """One schema for all kinds: the object of a command is the one of its `kind`."""
    objects: dict[str, Schema] = {}
    kinds = [
        {
            "title": command,
            "properties": {
                "version": {"const": JSON_VERSION},
                "kind": {"const": kind},
                kind: _schema(what, objects),
            },
            "required": ["version", "kind", kind],
        }
        for kind, (command, what) in KINDS.items()
    ]
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What macnet prints with --json",
        "type": "object",
        "oneOf": kinds,
        "$defs": dict(sorted(objects.items())),
    }
    return json.dumps(whole, indent=1) + "\n"


def _schema(kind: Any, objects: dict[str, Schema]) -> Schema:  # noqa: ANN401 - any annotation
    """The schema of a type; those of dataclasses go into ``objects``."""
    if isinstance(kind, dict):
        return _object(kind, objects)
    if isinstance(kind, list):
        return {"type": "array", "items": _schema(kind[0], objects)}
    if isinstance(kind, type):
        return _PLAIN[kind] if kind in _PLAIN else _named(kind, objects)
    return _compound(kind, objects)


def _named(kind: type[Any], objects: dict[str, Schema]) -> Schema:
    """A class of macnet: an enumeration or a dataclass."""
    if issubclass(kind, Enum):
        return {"enum": [item.value for item in kind]}
    if kind.__name__ not in objects:
        objects[kind.__name__] = {}  # it may hold itself
        hints = get_type_hints(kind)
        held = {item.name: hints[item.name] for item in fields(kind)}
        objects[kind.__name__] = _object(held, objects)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _object(hints: dict[str, Any], objects: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": {name: _schema(hint, objects) for name, hint in hints.items()},
        "required": [name for name, hint in hints.items() if not _is_optional(hint)],
    }


def _is_optional(hint: object) -> bool:
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return any(isinstance(note, Note) and note.sometimes for note in notes)


def _compound(kind: Any, objects: dict[str, Schema]) -> Schema:  # noqa: ANN401 - any annotation
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        return _schema(arguments[0], objects)
    if get_origin(kind) in (types.UnionType, Union):
        return {"anyOf": [_schema(item, objects) for item in arguments]}
    if get_origin(kind) is tuple:
        if Ellipsis in arguments:
            return {"type": "array", "items": _schema(arguments[0], objects)}
        return {"type": "array", "prefixItems": [_schema(item, objects) for item in arguments]}
    raise TypeError(f"no schema for {kind}")
