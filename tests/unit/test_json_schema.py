"""The schema is one, and what the tests hold against it can fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.json_schema import SCHEMA, validate

GOOD: dict[str, Any] = {"version": 1, "kind": "connect", "connect": {"changed": True}}


def test_it_is_a_schema() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(GOOD)


def test_readers_may_meet_fields_that_they_do_not_know() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate({**GOOD, "connect": {"changed": True, "new": 1}})


@pytest.mark.parametrize(
    "value",
    [
        {**GOOD, "connect": {}},
        {**GOOD, "connect": {"changed": "yes"}},
        {**GOOD, "connect": {"changed": True, "untold": 1}},
        {**GOOD, "version": 2},
        {"kind": "connect", "connect": {"changed": True}},
    ],
)
def test_what_is_not_as_told_is_an_error(value: dict[str, Any]) -> None:
    assert validate(GOOD) is GOOD
    with pytest.raises(ValidationError):
        validate(value)
