"""What every way has in common: a file of root's, written and removed by one command each."""

from __future__ import annotations

import os
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol

from macnet.errors import ConfigError, MacnetError
from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.names.domain import parse_domain
from macnet.paths import Paths
from macnet.progress import Silent
from macnet.runner import Completed
from macnet.state import load_state

#: How the first line of macnet's own files begins, whatever the system.
MARK = "# macnet: "
_PORT = re.compile(r"^(?:port |DNS=127\.0\.0\.1:)([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """Which domains of which tunnel are answered on which port of 127.0.0.1.

    ``domain`` is the containers'; with ``cluster`` that of a cluster is answered too.
    """

    tunnel: str
    domain: str
    port: int
    cluster: bool = False

    @property
    def domains(self) -> tuple[str, ...]:
        """All of them, checked: files are called so. Raises `macnet.errors.BadValue`."""
        own = parse_domain(self.domain)
        return (own, CLUSTER_DOMAIN) if self.cluster else (own,)


def user_id() -> int:
    """The user whose home this is: under sudo a Mac keeps it, and with it the record."""
    try:
        return Path.home().stat().st_uid
    except (OSError, RuntimeError):
        return os.getuid()


def header(tunnel: str, user: int) -> str:
    """The first line of a file that belongs to this tunnel of this user."""
    return f"{_owner_mark(tunnel, user)}; `macnet names off` removes this file."


def _owner_mark(tunnel: str, user: int) -> str:
    # All users have a tunnel of that name; what they have not in common is the number.
    return f"{_mark_before(tunnel)} of user {user}"


def _mark_before(tunnel: str) -> str:
    """How the first line began until users were told apart."""
    return f"{MARK}names of containers, tunnel {tunnel}"


def is_owned(text: str, tunnel: str, user: int) -> bool:
    """Whether a file's text says that it is this tunnel's and this user's.

    One that names no user is where its port is the one in this user's record.
    """
    mark = text.partition(";")[0]
    if mark != _mark_before(tunnel):
        return mark == _owner_mark(tunnel, user)
    port = _recorded_port(tunnel)
    return port is not None and _PORT.findall(text) == [str(port)]


def _recorded_port(tunnel: str) -> int | None:
    try:
        names = load_state(Paths.default().tunnel(tunnel).state, Silent()).names
    except MacnetError:
        return None
    return names.port if names is not None else None


def whose(text: str) -> str:
    """Whose a file is that is not this tunnel's, in words that follow its path."""
    if text.startswith(MARK):
        return "belongs to another user or tunnel of macnet"
    return "is not macnet's"


class SystemState(StrEnum):
    """Whether this system asks macnet."""

    CURRENT = "current"
    ABSENT = "absent"
    OUTDATED = "outdated"
    #: A file that is not macnet's claims the domain, or has the name of macnet's file.
    FOREIGN = "foreign"
    #: macnet cannot tell this system; the user has to.
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """What was found, in words, and the file that it is about."""

    state: SystemState
    text: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class RootCommand:
    """A command for root, to be shown before it runs."""

    argv: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The command as it can be typed."""
        return shlex.join(["sudo", *self.argv])


class RunAsRoot(Protocol):
    """Runs a command as root and says so before; any exit status is returned."""

    def __call__(self, argv: Sequence[str]) -> Completed:
        """Raises `macnet.errors.PrivilegeError` where root's rights are not given."""


class NamesSystem(ABC):
    """One way to make a system ask macnet, which plans and changes nothing by itself.

    The defaults are those of a way that has no file.
    """

    name: ClassVar[str]

    @abstractmethod
    def status(self, entry: SystemEntry) -> SystemStatus:
        """Whether the system asks where it should."""

    def plan_install(self, _entry: SystemEntry) -> RootCommand | None:
        """What makes it so; None where nothing is to be done.

        Raises `macnet.errors.ConflictError` where somebody else's file is in the way.
        """
        return None

    def plan_remove(self, _tunnel: str) -> RootCommand | None:
        """What takes the tunnel's files away, of whatever domain; None where there is none."""
        return None

    def plan_flush(self) -> RootCommand | None:
        """What empties the system's cache of names; None where answers live for a second only."""
        return None

    def instructions(self, _entry: SystemEntry) -> tuple[str, ...]:
        """What the user has to do, one line each; empty where macnet does it."""
        return ()


def apply_command(command: RootCommand, run_as_root: RunAsRoot) -> None:
    """Run it. Raises `macnet.errors.ConfigError` where it fails."""
    done = run_as_root(command.argv)
    if not done.ok:
        said = done.stderr.strip() or f"status {done.returncode}"
        raise ConfigError(
            f"the system was not told where to ask for names: {said}",
            hint=f"run it yourself to see more: {command.shown}",
        )


def own_files(folder: Path, tunnel: str, user: int) -> tuple[Path, ...]:
    """The files in a folder that belong to a user's tunnel, by their first line, sorted."""
    return tuple(path for path, text in read_files(folder) if is_owned(text, tunnel, user))


def read_files(folder: Path) -> list[tuple[Path, str]]:
    """The text of every file in a folder; those that cannot be read have none."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [(path, _read(path)) for path in paths if not path.is_dir()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def remove_command(paths: Sequence[Path], after: str) -> RootCommand:
    """Remove files and make the system read its settings anew with the command ``after``."""
    script = f'for file do /bin/rm -f "$file"; done; {after}'
    return RootCommand(("/bin/sh", "-c", script, "sh", *map(str, paths)))


def install_command(files: Mapping[Path, str], old: Sequence[Path], after: str) -> RootCommand:
    """Write ``files`` of one folder, readable by all, remove ``old`` ones, and run ``after``."""
    script = (
        'umask 022; /bin/mkdir -p "${1%/*}" || exit; while [ "$1" != -- ]; do '
        '/bin/rm -f "$1" && printf %b "$2" >"$1" || exit; shift 2; done; shift; '
        f'for file do /bin/rm -f "$file"; done; {after}'
    )
    # In one line: it is shown, to be typed where macnet may not run it.
    written = [
        word
        for path, text in files.items()
        for word in (str(path), text.replace("\\", "\\\\").replace("\n", "\\n"))
    ]
    return RootCommand(("/bin/sh", "-c", script, "sh", *written, "--", *map(str, old)))
