"""Where a lab keeps its files, and how its things are named."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

DEFAULT_NAME = "macnet-lab"
DEFAULT_ENGINE_NAME = "default"
"""Name of the engine that every lab has."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SOCKET_PATH_LIMIT = 100


def state_root() -> Path:
    """Folder of all labs' state; MACNET_LAB_DIR moves it."""
    return _root("MACNET_LAB_DIR", "/var/lib/macnet-lab")


def cache_root() -> Path:
    """Folder of what is slow to make and outlives a lab; MACNET_LAB_CACHE moves it."""
    return _root("MACNET_LAB_CACHE", "/var/cache/macnet-lab")


def _root(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable) or default)
    if not path.is_absolute():
        raise LabError(f"{variable} is not an absolute path: {path}")
    path = path.resolve()
    if path.is_relative_to("/run") or path == Path("/"):
        raise LabError(f"the lab cannot live in {path}", f"set {variable} to a folder of its own")
    return path


def check_name(name: str) -> str:
    """Return the name if it can name namespaces, control groups and folders."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"not a lab or engine name: {name!r}",
            "use a-z, 0-9 and -, starting with a letter, 32 characters at most",
        )
    return name


@dataclass(frozen=True)
class VmPaths:
    """Files and names of one engine's VM."""

    lab: str
    name: str
    home: Path

    @property
    def netns(self) -> str:
        """Network namespace; also the name of the control group of its containers."""
        return (
            f"{self.lab}-vm" if self.name == DEFAULT_ENGINE_NAME else f"{self.lab}-vm-{self.name}"
        )

    @property
    def socket(self) -> Path:
        """Engine API socket, reachable from the Mac side."""
        return self.home / "docker.sock"

    @property
    def data(self) -> Path:
        """Data root of the engine: outlives restart and reboot."""
        return self.home / "data"


@dataclass(frozen=True)
class LabPaths:
    """Files and names of one lab."""

    name: str
    home: Path
    cache: Path

    @classmethod
    def of(cls, name: str) -> LabPaths:
        """Paths of the lab of that name, below the state and cache roots."""
        paths = cls(check_name(name), state_root() / name, cache_root())
        if len(str(paths.home)) > _SOCKET_PATH_LIMIT - 40:
            raise LabError(
                f"path too long for a socket in it: {paths.home}",
                "set MACNET_LAB_DIR to a shorter one",
            )
        return paths

    @property
    def lock(self) -> Path:
        """Held while the lab is brought up or down."""
        return self.home.parent / f"{self.name}.lock"

    @property
    def config(self) -> Path:
        """Which engines and which client the running lab has."""
        return self.home / "lab.json"

    @property
    def mac_netns(self) -> str:
        """Network namespace of the Mac side."""
        return f"{self.name}-mac"

    @property
    def mac_home(self) -> Path:
        """MACNET_HOME of the Mac side."""
        return self.home / "mac-home"

    @property
    def mac_user(self) -> Path:
        """HOME of the Mac side."""
        return self.home / "mac-user"

    @property
    def bin(self) -> Path:
        """First on PATH on the Mac side."""
        return self.home / "bin"

    def vm(self, engine_name: str) -> VmPaths:
        """Paths of one engine's VM."""
        if engine_name == DEFAULT_ENGINE_NAME:
            return VmPaths(self.name, engine_name, self.home / "engine")
        return VmPaths(self.name, engine_name, self.home / f"engine-{check_name(engine_name)}")

    def known_vms(self) -> list[VmPaths]:
        """VMs that left a folder, whether or not they run."""
        names = [
            path.name.removeprefix("engine-")
            for path in self.home.glob("engine-*")
            if path.is_dir()
        ]
        return [self.vm(DEFAULT_ENGINE_NAME), *(self.vm(name) for name in sorted(names))]
