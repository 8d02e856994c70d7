"""The image of the classic recipe: the OpenVPN and the socat of this machine's Debian."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

from tests.lab import Lab, LabError
from tests.lab.images import libraries_of
from tests.lab.packages import search_path
from tests.lab.process import run

CLASSIC_IMAGE = "macnet-lab/classic:1"
_PROGRAMS = ("openvpn", "socat")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}


def import_classic(lab: Lab) -> None:
    """Give the lab's engine the image.

    Not macnet's own OpenVPN: newer ones set TCP_NODELAY by themselves, those of the recipe's
    time do not, and that is most of the difference that a user feels.
    """
    path = lab.paths.home / "classic.tar"
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "etc", "tmp", "usr", "usr/bin", "usr/sbin"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        libraries: set[str] = set()
        for name in _PROGRAMS:
            found = shutil.which(name, path=search_path())
            if found is None:
                raise LabError(f"program not found: {name}", "run: python -m tests.lab install")
            _add(tar, Path(found), f"usr/bin/{name}")
            libraries.update(libraries_of(run(["ldd", found]).stdout))
        for library in sorted(libraries):
            _add(tar, Path(library), library.lstrip("/"))
        for name, text in _FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    lab.docker("import", "--change", "ENV PATH=/usr/bin", str(path), CLASSIC_IMAGE)
    path.unlink()


def _add(tar: tarfile.TarFile, source: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    with source.resolve().open("rb") as content:
        entry.size, entry.mode = source.stat().st_size, 0o755
        tar.addfile(entry, content)
