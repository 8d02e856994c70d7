"""Images without a registry: from a Debian tree, and from binaries of this machine."""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
from pathlib import Path

from .engine import Engine
from .errors import LabError
from .packages import search_path
from .process import run
from .trees import BASE_SUITE, base_spec, ensure_tar, ensure_tree

BASE_IMAGE = f"macnet-lab/base:{BASE_SUITE}"
"""Debian with what the helper installs: enough to build on without a network."""
PASTA_IMAGE = "macnet-lab/base:pasta"
"""The same, with the helper's build option for kernels that lack the TCP lane."""
SAMPLE_IMAGE = "macnet-lab/sample:1"
"""busybox, socat and redis."""

_SAMPLE_PROGRAMS = ("socat", "redis-server", "redis-cli")
_WEB_SCRIPT = """\
#!/bin/busybox sh
# HTTP on 80, UDP echo on 9000, TCP that swallows what it gets on 9001.
mkdir -p /www
echo "macnet-lab $(hostname)" > /www/index.html
truncate -s 1G /www/big
socat UDP6-RECVFROM:9000,fork,ipv6only=0 PIPE &
socat -u -b 1048576 TCP6-LISTEN:9001,fork,reuseaddr,ipv6only=0,backlog=64 OPEN:/dev/null &
exec httpd -f -p 80 -h /www
"""
_RESTORE = """\
#!/bin/sh
rules=$(cat)
case $rules in *"-j {target} "*)
    echo "${{0##*/}}: line 1: RULE_APPEND failed (No such file or directory)" >&2
    exit 4 ;;
esac
case $0 in *nft*) multi=xtables-nft-multi ;; *) multi=xtables-legacy-multi ;; esac
echo "$rules" | "$multi" "${{0##*/}}" "$@"
"""
"""In place of iptables-restore: what a kernel says that has no such target."""
_FILES = {
    "bin/web": (_WEB_SCRIPT, 0o755),
    "etc/passwd": ("root:x:0:0:root:/:/bin/sh\n", 0o644),
    "etc/group": ("root:x:0:\n", 0o644),
}


def import_base(engine: Engine, cache: Path) -> None:
    """Give the engine the base image, and the other one where all of the lab has pasta for TCP."""
    tar = ensure_tar(cache, ensure_tree(cache, base_spec()))
    engine.docker("import", "--change", 'CMD ["/bin/sh"]', str(tar), BASE_IMAGE, timeout_s=300)
    if os.environ.get("MACNET_LAB_LANE") == "pasta":
        make_pasta_image(engine)


def make_pasta_image(engine: Engine) -> None:
    """Give an engine that has the base image the one whose helper carries TCP by pasta."""
    _derive(engine, PASTA_IMAGE, "ENV MACNET_LANE=pasta")


def make_lacking_image(engine: Engine, target: str) -> str:
    """A base image on whose kernel, as its programs tell it, iptables lacks a target; its name."""
    name = f"{PASTA_IMAGE}-{target.lower()}"
    script = _RESTORE.format(target=target).replace("\n", "\\n")
    lines = [
        f"RUN rm -f /usr/sbin/{one} && printf '%b' '{script}' >/usr/sbin/{one} && "
        f"chmod 755 /usr/sbin/{one}"
        for one in (f"ip{v}tables-{kind}-restore" for v in ("", "6") for kind in ("nft", "legacy"))
    ]
    _derive(engine, name, *lines)
    return name


def _derive(engine: Engine, name: str, *recipe: str) -> None:
    """Make an image from the base image, unless it is there."""
    if engine.docker("images", "--quiet", name).strip():
        return
    # Podman 4.3 does not commit as docker asks it to.
    argv = ["docker", "build", "--quiet", "--tag", name, "-"]
    text = "\n".join([f"FROM {BASE_IMAGE}", *recipe, ""])
    run(argv, env=engine.environment(), input=text, timeout_s=120)


def import_sample(engine: Engine) -> None:
    """Give the engine the sample's image."""
    tar = engine.vm.paths.home / "sample.tar"
    write_sample_tar(tar)
    engine.docker("import", "--change", 'CMD ["/bin/web"]', str(tar), SAMPLE_IMAGE)
    tar.unlink()


def write_sample_tar(path: Path) -> None:
    """Write the sample's root file system."""
    busybox = _program("busybox")
    if "not a dynamic executable" not in _ldd(busybox):
        raise LabError("busybox is not the static one", "install the package busybox-static")
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "etc", "tmp", "var", "usr", "usr/bin"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        _add_file(tar, busybox, "bin/busybox")
        for applet in run([busybox, "--list"]).stdout.split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        programs = [_program(name) for name in _SAMPLE_PROGRAMS]
        for program in programs:
            _add_file(tar, program, f"usr/bin/{program.name}")
        for library in sorted(
            {name for program in programs for name in libraries_of(_ldd(program))}
        ):
            _add_file(tar, Path(library), library.lstrip("/"))
        for name, (text, mode) in _FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), mode
            tar.addfile(entry, io.BytesIO(text.encode()))


def libraries_of(ldd_output: str) -> list[str]:
    """Paths in what ldd printed: libraries and the dynamic loader."""
    return re.findall(r"(?:=>\s*|^\s*)(/\S+)\s+\(0x", ldd_output, re.MULTILINE)


def _ldd(program: Path) -> str:
    done = run(["ldd", program], check=False)
    return done.stdout + done.stderr


def _program(name: str) -> Path:
    found = shutil.which(name, path=search_path())
    if found is None:
        raise LabError(f"program not found: {name}", "run: python -m tests.lab install")
    return Path(found)


def _add_file(tar: tarfile.TarFile, source: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    with source.resolve().open("rb") as content:
        entry.size, entry.mode = source.stat().st_size, 0o755
        tar.addfile(entry, content)
