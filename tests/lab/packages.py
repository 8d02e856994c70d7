"""What the lab needs from the machine: checking it, and installing it from the machine's Debian."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .errors import LabError
from .process import run, run_visibly

PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "pivot_root": "util-linux",
    "tar": "tar",
    "ldd": "libc-bin",
    "iptables-nft-save": "iptables",
    "iptables-legacy-save": "iptables",
    "nft": "nftables",
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
    "busybox": "busybox-static",
    "socat": "socat",
    "debootstrap": "debootstrap",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "containerd": "containerd",
    "runc": "runc",
    "openvpn": "openvpn",
    "curl": "curl",
    "nc": "netcat-openbsd",
    "ping": "iputils-ping",
    "ps": "procps",
    "sudo": "sudo",
    "dnsmasq": "dnsmasq-base",
    "ld-musl-config": "musl",
    "tcc": "tcc",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
}
"""Program to Debian package."""

BROWSER = {"chromium": "chromium", "chromedriver": "chromium-driver"}
"""What the tests of the page need besides: program to Debian package."""

_ONLY_INSTALLED_ON_REQUEST = {"debootstrap", "dockerd", "containerd", "runc", "openvpn"}
_POLICY = Path("/usr/sbin/policy-rc.d")
_UNITS = {
    "docker.io": ["docker.service", "docker.socket"],
    "containerd": ["containerd.service"],
    "redis-server": ["redis-server.service"],
    "openvpn": ["openvpn.service"],
    "openssh-server": ["ssh.service", "ssh.socket"],
}


def search_path() -> str:
    """PATH with the system folders that a person's PATH may lack."""
    words = os.environ.get("PATH", "").split(":")
    return ":".join([*words, *(folder for folder in ("/usr/sbin", "/sbin") if folder not in words)])


def missing_programs(names: set[str]) -> list[str]:
    """Which of the programs are not there."""
    return sorted(name for name in names if shutil.which(name, path=search_path()) is None)


def require_root() -> None:
    """Raise LabError unless this process may do anything."""
    if os.geteuid() != 0:
        raise LabError("the lab makes namespaces and mounts, which needs root", "run it with sudo")


def check_requirements(*, host_engine: bool, host_client: bool, builds_trees: bool) -> None:
    """Raise LabError for the first thing that the machine lacks; nothing is skipped silently."""
    require_root()
    if not Path("/dev/net/tun").exists():
        raise LabError(
            "/dev/net/tun is missing",
            "run: modprobe tun; in a container pass --device /dev/net/tun",
        )
    names = set(PROGRAMS) - _ONLY_INSTALLED_ON_REQUEST
    if host_engine:
        names |= {"dockerd", "containerd", "runc"}
    if host_client:
        names |= {"openvpn"}
    if builds_trees:
        names |= {"debootstrap"}
    missing = missing_programs(names)
    if missing:
        raise LabError(
            f"programs are missing: {', '.join(missing)}", "run: python -m tests.lab install"
        )
    tried = run(["unshare", "--net", "--mount", "true"], check=False)
    if tried.returncode:
        raise LabError(
            f"this machine does not let root make namespaces: {tried.stderr.strip()}",
            "run on a machine or VM of your own, or in a privileged container",
        )


def install(say: Callable[[str], None] = print, *, browser: bool = False) -> list[str]:
    """Install the missing packages without starting a service; returns their names."""
    require_root()
    programs = {**PROGRAMS, **(BROWSER if browser else {})}
    if shutil.which("apt-get") is None:
        raise LabError(
            "this is not Debian: apt-get is missing",
            "install by hand: " + " ".join(sorted(set(programs.values()))),
        )
    wanted = sorted({programs[name] for name in missing_programs(set(programs))})
    if "docker.io" in wanted and _exists("docker-cli"):
        wanted.append("docker-cli")
    if not wanted:
        return []
    say(f"installing {' '.join(wanted)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    own_policy = not _POLICY.exists()
    if own_policy:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        _apt(["apt-get", "-q", "update"], environment)
        _apt(["apt-get", "-q", "-y", "--no-install-recommends", "install", *wanted], environment)
    finally:
        if own_policy:
            _POLICY.unlink(missing_ok=True)
    if shutil.which("systemctl"):
        for unit in (unit for package in wanted for unit in _UNITS.get(package, [])):
            # Not at the next boot either; only units that came with what was installed just now.
            run(["systemctl", "disable", unit], check=False)
    still = missing_programs(set(programs))
    if still:
        raise LabError(
            f"still missing after the installation: {', '.join(still)}", "install them by hand"
        )
    return wanted


def _exists(package: str) -> bool:
    return run(["apt-cache", "show", package], check=False).returncode == 0


def _apt(argv: list[str], environment: dict[str, str]) -> None:
    code = run_visibly(argv, environment)
    if code:
        raise LabError(f"{' '.join(argv)} failed with code {code}", "see its messages above")
