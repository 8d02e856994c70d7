"""Debian trees: the base image's and those of newer engines, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .files import locked, remove_tree
from .process import run

BASE_SUITE = "forky"
_SCRIPTS = Path("/usr/share/debootstrap/scripts")
_TRIMMED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/bash-completion",
    "var/lib/apt/lists",
    "var/cache/apt",
    "var/cache/debconf",
    "var/log",
)
_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class TreeSpec:
    """What a tree holds."""

    name: str
    suite: str
    packages: tuple[str, ...]


def base_spec() -> TreeSpec:
    """Tree of the base image, and of the newer OpenVPN client."""
    return TreeSpec(
        f"base-{BASE_SUITE}",
        BASE_SUITE,
        ("openvpn", "passt", "iproute2", "iptables", "python3-minimal"),
    )


RESOLVED = TreeSpec(f"resolved-{BASE_SUITE}", BASE_SUITE, ("systemd-resolved", "dbus-daemon"))

KIND = TreeSpec(f"kind-{BASE_SUITE}", BASE_SUITE, ("kind",))

COMPOSE = TreeSpec(f"compose-{BASE_SUITE}", BASE_SUITE, ("docker-compose",))


def engine_spec(suite: str) -> TreeSpec:
    """Tree of an engine."""
    packages = (
        "docker.io",
        "containerd",
        "runc",
        "iptables",
        "iproute2",
        "kmod",
        "ca-certificates",
    )
    return TreeSpec(f"engine-{suite}", suite, packages)


def podman_spec(suite: str) -> TreeSpec:
    """Tree of a Podman; netavark, its network backend, programs iptables or nftables itself."""
    packages = (
        *("podman", "netavark", "aardvark-dns", "conmon", "runc", "catatonit"),
        *("iptables", "nftables", "iproute2", "procps", "ca-certificates"),
    )
    return TreeSpec(f"podman-{suite}", suite, packages)


def tree_path(cache: Path, spec: TreeSpec) -> Path:
    """Where the tree is once it is made; one with other packages is another one."""
    digest = hashlib.sha256(" ".join(spec.packages).encode()).hexdigest()[:8]
    return cache / "trees" / f"{spec.name}-{digest}"


def ensure_tree(cache: Path, spec: TreeSpec) -> Path:
    """Make the tree unless the cache has it. A half-made one is never taken for whole."""
    path = tree_path(cache, spec)
    if path.is_dir():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if path.is_dir():
            return path
        unfinished = path.with_suffix(".partial")
        remove_tree(unfinished)
        _debootstrap(spec, unfinished)
        _trim(unfinished)
        unfinished.rename(path)
    return path


def ensure_resolved(cache: Path) -> Path:
    """systemd-resolved and what it needs besides the base tree.

    To install it would replace the machine's resolv.conf, and it needs systemd, which need not run.
    """
    return _ensure_unpacked(cache, RESOLVED)


def ensure_kind(cache: Path) -> Path:
    """The program kind; it starts wherever glibc is 2.34 or later."""
    return _ensure_unpacked(cache, KIND) / "usr/bin/kind"


def ensure_compose(cache: Path) -> Path:
    """The program docker-compose (v2); it needs no more of a machine than `kind` does."""
    return _ensure_unpacked(cache, COMPOSE) / "usr/libexec/docker/cli-plugins/docker-compose"


def _ensure_unpacked(cache: Path, spec: TreeSpec) -> Path:
    """Packages with what they need besides the base tree: unpacked, not installed."""
    base = ensure_tree(cache, base_spec())
    path = tree_path(cache, spec)
    with locked(path.with_suffix(".lock")):
        if path.is_dir():
            return path
        unfinished, work = path.with_suffix(".partial"), path.with_suffix(".apt")
        for folder in (unfinished, work):
            remove_tree(folder)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (work / name).mkdir(parents=True)
        (work / "sources.list").write_text(f"deb {mirror()} {spec.suite} main\n")
        chosen = {
            "Dir::State": work / "state",
            "Dir::State::status": base / "var/lib/dpkg/status",
            "Dir::Cache": work / "cache",
            "Dir::Etc::sourcelist": work / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        apt = ["apt-get", "-q", *(word for one in chosen.items() for word in ("-o", _set(*one)))]
        run([*apt, "update"], timeout_s=_TIMEOUT_S)
        wanted = ["install", "-y", "--no-install-recommends", "--download-only"]
        run([*apt, *wanted, *spec.packages], timeout_s=_TIMEOUT_S)
        for package in sorted((work / "cache/archives").glob("*.deb")):
            run(["dpkg", "-x", package, unfinished])
        remove_tree(work)
        unfinished.rename(path)
    return path


def _set(name: str, value: object) -> str:
    return f"{name}={value}"


def ensure_tar(cache: Path, tree: Path) -> Path:
    """The tree as one tar file, as `docker import` wants it."""
    path = cache / "images" / f"{tree.name}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            unfinished = path.with_suffix(".partial")
            run(
                ["tar", "-C", tree, "-cf", unfinished, "--numeric-owner", "."], timeout_s=_TIMEOUT_S
            )
            unfinished.rename(path)
    return path


def mirror() -> str:
    """Debian mirror of this machine's apt; MACNET_LAB_MIRROR names another one."""
    chosen = os.environ.get("MACNET_LAB_MIRROR")
    if chosen:
        return chosen
    listed = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN)|$(CODENAME)|$(REPO_URI)",
            "Created-By: Packages",
        ]
    )
    for line in listed.stdout.splitlines():
        origin, codename, uri = line.split("|", 2)
        if origin == "Debian" and not codename.endswith(("-security", "-updates", "-backports")):
            return uri
    raise LabError(
        "apt knows no Debian mirror on this machine",
        "run apt-get update, or set MACNET_LAB_MIRROR to a mirror's address",
    )


def _debootstrap(spec: TreeSpec, target: Path) -> None:
    script = _SCRIPTS / spec.suite
    argv = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(spec.packages)}",
        spec.suite,
        str(target),
        mirror(),
    ]
    if not script.exists():
        argv.append(str(_SCRIPTS / "sid"))
    done = run(argv, check=False, timeout_s=_TIMEOUT_S)
    if done.returncode:
        log = target / "debootstrap" / "debootstrap.log"
        said = (done.stderr or done.stdout)[-500:]
        detail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
        raise LabError(
            f"debootstrap of {spec.suite} failed: {said.strip()}\n{detail}".strip(),
            "does the mirror have this release? MACNET_LAB_MIRROR names another mirror",
        )


def _trim(tree: Path) -> None:
    for name in _TRIMMED:
        folder = tree / name
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    (tree / "var/lib/apt/lists/partial").mkdir(parents=True, exist_ok=True)
    # The machine's own resolver and name have no business in an image.
    for name in ("etc/resolv.conf", "etc/hostname"):
        (tree / name).write_text("")
