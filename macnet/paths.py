"""Every location on this machine that macnet uses. ``MACNET_HOME`` moves them all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True, slots=True)
class TunnelPaths:
    """Where one tunnel keeps its files. Directories are 0700, files 0600."""

    root: Path

    @property
    def state(self) -> Path:
        """What was chosen for the tunnel: port, subnets, remembered options."""
        return self.root / "tunnel.json"

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
        """The management socket of the openvpn client."""
        return self.root / "openvpn.sock"


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
