"""config.toml: the user's own file. It is read whole; of it macnet writes only a tunnel's remaps.

They stand in the table of the tunnel, ``[tunnels.NAME]``: ``remap`` is what `--remap` asked for,
``remap_auto`` what "auto" chose. All else in the file stays as it is, byte for byte.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from macnet.errors import BadValue, StateError
from macnet.files import lock, read_private, remove_file, replace_file
from macnet.values import PARSERS

TUNNELS = "tunnels"
REMAP = "remap"
REMAP_AUTO = "remap_auto"

#: Seconds to wait while another macnet writes the file, which takes it an instant.
_LOCK_WAIT_S = 5.0
#: What stands behind the keys that macnet writes.
_COMMENTS = {
    REMAP: "asked for by --remap; `macnet setup --remap ''` ends it",
    REMAP_AUTO: "chosen by --remap auto, kept while they are free",
}


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says, its values unchecked: for all tunnels, and for each one of its own."""

    path: Path
    settings: Mapping[str, object] = field(default_factory=dict)
    tunnels: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def table(self, tunnel: str) -> Mapping[str, object]:
        """The settings of one tunnel."""
        return self.tunnels.get(tunnel, {})


def read_config_file(path: Path) -> ConfigFile:
    """Read ``path``, which may be absent. Raises `BadValue` where it is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ConfigFile(path)
    except OSError as error:
        raise BadValue(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadValue(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from error
    import tomllib  # noqa: PLC0415 - most users have no such file

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadValue(
            f"{path} is not valid TOML: {error}",
            hint='A line reads like `port = 13194` or `networks = ["web*"]`.',
        ) from error
    tunnels = values.pop(TUNNELS, {})
    # A tunnel's name follows from its context.
    known = PARSERS.keys() - {"name"}
    _check_keys(str(path), values, {*known, TUNNELS})
    if not isinstance(tunnels, dict):
        raise BadValue(f"{path}: {TUNNELS} is not a table", hint=f"Write `[{TUNNELS}.macnet]`.")
    for name, table in tunnels.items():
        place = f"{path}, table {TUNNELS}.{name}"
        if not isinstance(table, dict):
            raise BadValue(
                f"{place}: it is not a table",
                hint=f"Write `[{TUNNELS}.NAME]` and below it the settings of that tunnel.",
            )
        _check_keys(place, table, {*known - {"context"}, REMAP_AUTO})
    return ConfigFile(path, values, tunnels)


def _check_keys(place: str, values: Mapping[str, object], known: set[str]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            all_keys = f"The keys are {', '.join(sorted(known))}."
            hint = f"Did you mean `{near[0]}`?" if near else all_keys
            raise BadValue(f"{place}: there is no key {key!r}", hint=hint)


@dataclass(frozen=True, slots=True)
class RemapTable:
    """The place of one tunnel's remaps.

    ``wish`` is what ``remap`` says after the next write; None where there is to be no such key.
    """

    path: Path
    tunnel: str
    wish: object = None

    @contextmanager
    def tried(self, chosen: Sequence[str]) -> Iterator[None]:
        """Keep the wish and ``chosen``; undone if an error comes."""
        before = read_private(self.path)
        if not self.keep(chosen):
            yield
            return
        written = read_private(self.path)
        try:
            yield
        # Whatever it is, a bug too: the file is the user's. What another wrote meanwhile stays.
        except Exception:
            if read_private(self.path) == written:
                self._write(before)
            raise

    def keep(self, chosen: Sequence[str]) -> bool:
        """Make the table say the wish and ``chosen`` ("REAL=SEEN"); tell whether that was new.

        Raises `StateError` where the file cannot be written.
        """
        return self._update({REMAP: self.wish, REMAP_AUTO: list(chosen) or None})

    def forget(self) -> bool:
        """Take the remaps of the tunnel out; tell whether there were any."""
        return self._update({REMAP: None, REMAP_AUTO: None})

    def _update(self, wanted: Mapping[str, object]) -> bool:
        if not self._differs(wanted):
            return False
        held = self.path.with_name(f".{self.path.name}.lock")
        with lock(held, wait_s=_LOCK_WAIT_S):
            try:
                # Again, as another tunnel's command may have written it meanwhile.
                if self._differs(wanted):
                    self._write(self._edited(wanted))
            finally:
                remove_file(held)
        return True

    def _differs(self, wanted: Mapping[str, object]) -> bool:
        table = read_config_file(self.path).table(self.tunnel)
        return any(table.get(key) != value for key, value in wanted.items())

    def _edited(self, wanted: Mapping[str, object]) -> bytes | None:
        """The new text; None where nothing would be left."""
        import tomllib  # noqa: PLC0415

        text = (read_private(self.path) or b"").decode()
        expected = tomllib.loads(text)
        present = {*expected.get(TUNNELS, {}).get(self.tunnel, {})}
        _set(expected, self.tunnel, wanted)
        edited = _edit(text, self.tunnel, wanted)
        # The file is the user's: rather no change than one that says anything else.
        if edited is None or not _says(tomllib.loads(edited), self.tunnel, expected):
            given = [f"`{k} = {json.dumps(v)}`" for k, v in wanted.items() if v is not None]
            gone = [f"`{k}`" for k, v in wanted.items() if v is None and k in present]
            steps = [f"put {', '.join(given)} into"] if given else []
            steps += [f"take {', '.join(gone)} out of"] if gone else []
            raise StateError(
                f"{self.path} has a form that macnet cannot change",
                hint=f"By hand, {' and '.join(steps)} its table [{TUNNELS}.{self.tunnel}].",
            )
        return edited.encode() if edited.strip() else None

    def _write(self, data: bytes | None) -> None:
        if data is not None:
            replace_file(self.path, data)
        elif self.path.is_symlink():
            replace_file(self.path, b"")
        else:
            remove_file(self.path)


def _edit(text: str, tunnel: str, wanted: Mapping[str, object]) -> str | None:
    """The same change to the ``text``, the rest of which keeps its form; None if that fails."""
    import tomlkit  # noqa: PLC0415, TID251 - slow to load, and remaps change seldom
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415, TID251

    try:
        document = tomlkit.parse(text)
        _set(document, tunnel, {key: _item(key, value) for key, value in wanted.items()})
        edited = tomlkit.dumps(document)
    except (TOMLKitError, ValueError, LookupError, TypeError):
        return None  # it does not know every form of dotted keys
    if TUNNELS not in document:  # the blank line that was put before it stays behind
        edited = edited.rstrip("\n")
    return edited if edited.endswith("\n") else f"{edited}\n"


def _item(key: str, value: object) -> object:
    import tomlkit  # noqa: PLC0415, TID251

    if value is None:
        return None
    item = tomlkit.item(value)
    if isinstance(item, tomlkit.items.Array):
        item.multiline(len(item) > 1)
    return item.comment(_COMMENTS[key])


def _says(values: dict[str, Any], tunnel: str, expected: Mapping[str, object]) -> bool:
    _set(values, tunnel, {})
    return values == expected


def _set(document: MutableMapping[str, Any], tunnel: str, wanted: Mapping[str, object]) -> None:
    """Change the table of ``tunnel``; tables go that are empty then and have no comments."""
    tables = document.setdefault(TUNNELS, {})
    table = tables.setdefault(tunnel, {})
    for key, value in wanted.items():
        if value is None:
            table.pop(key, None)
        elif table.get(key) != value:
            table[key] = value
    if not table and not _commented(table):
        tables.pop(tunnel)
    if not tables and not _commented(tables):
        document.pop(TUNNELS)


def _commented(table: object) -> bool:
    text = getattr(table, "as_string", None)
    return text is not None and "#" in text()
