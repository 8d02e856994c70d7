"""Holds what a command prints with ``--json`` against docs/reference/schema.json."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[1] / "docs/reference/schema.json"


@cache
def validator(kind: str) -> Draft202012Validator:
    """For one kind alone, so that an error names the field; fields that are not told are errors."""
    whole = json.loads(SCHEMA.read_text(encoding="utf-8"))
    (one,) = (one for one in whole["oneOf"] if one["properties"]["kind"]["const"] == kind)
    return Draft202012Validator({**_strict(one), "$defs": _strict(whole["$defs"])})


def _strict(schema: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    return {**strict, "additionalProperties": False} if "required" in schema else strict


def validate(value: dict[str, Any]) -> dict[str, Any]:
    """The value itself. Raises jsonschema's ``ValidationError`` where it is not as told."""
    validator(value["kind"]).validate(value)
    return value
