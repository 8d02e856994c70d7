"""Every location on this machine that macnet uses. ``MACNET_HOME`` moves them all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

#: The longest path of a Unix socket on macOS, in bytes (Linux: 107); ``sun_path`` in sys/un.h.
#: OpenVPN cuts a longer one off.
MAX_SOCKET_PATH = 103


@dataclass(frozen=True, slots=True)
class TunnelPaths:
    """Where one tunnel keeps its files. Directories are 0700, files 0600."""

    root: Path

    @property
    def state(self) -> Path:
        """What was chosen for the tunnel: port, subnets, remembered options."""
        return self.root / "tunnel.json"

    def other_records(self) -> tuple[Path, ...]:
        """The records of this user's other tunnels, each in a folder of the tunnel's name."""
        records = sorted(self.root.parent.glob(f"*/{self.state.name}"))
        return tuple(path for path in records if path != self.state)

    @property
    def home(self) -> str:
        """Tells this user's tunnel from that of another user, or of another ``MACNET_HOME``."""
        return hashlib.sha256(f"{os.geteuid()} {self.root}".encode()).hexdigest()[:16]

    @property
    def pki(self) -> Path:
        """Certificates and keys (the CA's key is never written)."""
        return self.root / "pki"

    @property
    def profile(self) -> Path:
        """The client's profile."""
        return self.root / "macnet.ovpn"

    @property
    def lock(self) -> Path:
        """Locked while a command changes the tunnel."""
        return self.root / "lock"

    @property
    def client_log(self) -> Path:
        """The log of the openvpn client."""
        return self.root / "openvpn.log"

    @property
    def client_pid(self) -> Path:
        """The pid file of the openvpn client."""
        return self.root / "openvpn.pid"

    @property
    def client_socket(self) -> Path:
        """The management socket of the openvpn client.

        It is in a private directory below /tmp where the tunnel's own path is too long for a
        socket; not in TMPDIR, which differs between a terminal and a login item.
        """
        path = self.root / "openvpn.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            return path
        return Path(f"/tmp/macnet-{os.geteuid()}") / f"{self._digest(path)}.sock"  # noqa: S108

    @property
    def carrier(self) -> Path:
        """The folder of the ssh to the engine's machine: its sockets, its log.

        Always below /tmp: ssh takes spaces and colons of a path for its own, and adds 17 bytes
        to a socket's name while it makes it. It is there before the first setup, too.
        """
        return Path(f"/tmp/macnet-{os.geteuid()}") / f"{self._digest(self.root)}-ssh"  # noqa: S108

    @staticmethod
    def _digest(path: Path) -> str:
        return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Paths:
    """The roots of state and configuration."""

    state: Path
    config_file: Path

    @classmethod
    def default(cls, environ: Mapping[str, str] = os.environ) -> Paths:
        """Below ``MACNET_HOME`` where it is set, else where the platform keeps such files."""
        if home := environ.get("MACNET_HOME"):
            root = Path(home).expanduser().absolute()
            return cls(state=root, config_file=root / "config.toml")
        return cls(
            state=Path(platformdirs.user_data_dir("macnet", appauthor=False)),
            config_file=Path(platformdirs.user_config_dir("macnet", appauthor=False))
            / "config.toml",
        )

    @property
    def watch_log(self) -> Path:
        """What `macnet watch` says when it was started at login."""
        return self.state / "watch.log"

    def tunnel(self, name: str) -> TunnelPaths:
        """The files of the tunnel ``name``."""
        return TunnelPaths(self.state / "tunnels" / name)
