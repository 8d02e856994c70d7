"""How the stand-in shall behave, and where it keeps its things. Tests write it, osascript reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Behaviour:
    """A well-behaved Tunnelblick whose user confirms everything, unless told otherwise.

    `consent`: whether macOS lets the caller send Apple events. `password`: whether the user gives
    the administrator's password. `keeps_copy`: False makes an import end well and leave nothing.
    `silent`: the commands that answer nothing until they time out. `install_s`: how long the user
    takes for the password. `launches`: False makes it never start. `others`: the user's other
    configurations with their states; `confirms_others`: whether the user clicks "Connect" in the
    question about them. `shared`: names of configurations for all users. `stuck`: a state in which
    each connection stays. `online`: whether the Mac has a default route, without which a connection
    waits for ever in NETWORK_ACCESS; the lab's Mac never has one itself. `replaces_connected`: True
    for the versions that can replace a configuration that is connected; all releases up to 8.0.3
    quit instead.
    """

    consent: bool = True
    password: bool = True
    keeps_copy: bool = True
    silent: tuple[str, ...] = ()
    install_s: float = 0.0
    launches: bool = True
    others: dict[str, str] = field(default_factory=dict)
    confirms_others: bool = True
    shared: tuple[str, ...] = ()
    stuck: str | None = None
    online: bool = True
    replaces_connected: bool = False


@dataclass(frozen=True)
class Places:
    """The stand-in's own folder, outside of the user's home."""

    root: Path

    @property
    def applications(self) -> Path:
        """What the Mac side sees as /Applications."""
        return self.root / "Applications"

    @property
    def app(self) -> Path:
        """The application."""
        return self.applications / "Tunnelblick.app"

    @property
    def behaviour(self) -> Path:
        """How it shall behave."""
        return self.root / "behaviour.json"

    @property
    def state(self) -> Path:
        """Whether it runs, and its connections."""
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """Held while a script runs: an application answers one event after the other."""
        return self.root / "lock"

    @property
    def history(self) -> Path:
        """One JSON line for each script that was run."""
        return self.root / "history"

    @property
    def log(self) -> Path:
        """Why it refused something."""
        return self.root / "log"

    @property
    def shadow(self) -> Path:
        """Root's copies of the private configurations; a connection uses these."""
        return self.root / "Users"

    def write_behaviour(self, wanted: Behaviour) -> None:
        """Behave like this from now on."""
        self.behaviour.write_text(json.dumps(asdict(wanted)))

    def read_behaviour(self) -> Behaviour:
        """What was written last."""
        values = json.loads(self.behaviour.read_text())
        for name in ("silent", "shared"):
            values[name] = tuple(values[name])
        return Behaviour(**values)
