"""config.toml, the user's own file: macnet reads it and never writes it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from macnet.errors import BadValue
from macnet.values import DEFAULT_TUNNEL, PARSERS

TUNNELS = "tunnels"
#: What macnet 0.1 wrote beside ``remap``: the ranges that "auto" chose. `setup` takes it over.
REMAP_AUTO = "remap_auto"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says, its values unchecked: for all tunnels, and for single ones."""

    path: Path
    settings: Mapping[str, object] = field(default_factory=dict)
    tunnels: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def table(self, tunnel: str) -> Mapping[str, object]:
        """The settings of one tunnel."""
        return self.tunnels.get(tunnel, {})


def read_config_file(path: Path) -> ConfigFile:
    """Read ``path``, which may be absent. Raises `BadValue` if it is not such a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ConfigFile(path)
    except OSError as error:
        raise BadValue(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadValue(f"{path} is not UTF-8 text", hint="save it as UTF-8") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadValue(
            f"{path} is not valid TOML: {error}",
            hint='a line reads like `port = 13194` or `networks = ["web*"]`',
        ) from error
    tunnels = values.pop(TUNNELS, {})
    known = PARSERS.keys()
    _check_keys(str(path), values, {*known, TUNNELS})
    if not isinstance(tunnels, dict):
        raise BadValue(
            f"{path}: {TUNNELS} is not a table", hint=f"write `[{TUNNELS}.{DEFAULT_TUNNEL}]`"
        )
    for name, table in tunnels.items():
        place = f"{path}, table {TUNNELS}.{name}"
        if not isinstance(table, dict):
            raise BadValue(
                f"{place}: it is not a table",
                hint=f"write `[{TUNNELS}.NAME]` and below it the settings of that tunnel",
            )
        _check_keys(place, table, {*known - {"context"}, REMAP_AUTO})
    return ConfigFile(path, values, tunnels)


def _check_keys(place: str, values: Mapping[str, object], known: set[str]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            all_keys = f"the keys are {', '.join(sorted(known))}"
            hint = f"did you mean `{near[0]}`?" if near else all_keys
            raise BadValue(f"{place}: there is no key {key!r}", hint=hint)
