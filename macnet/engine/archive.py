"""Tar archives, the form in which files go to and come from the engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def pack(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Make an archive of files (name -> content, mode), owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in sorted(files.items()):
            # Fixed owner and time: equal files give equal archives, so builds can be cached.
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def first_file(data: bytes) -> bytes | None:
    """The content of an archive's first member; None if that is no regular file."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.next()
        # A link leads out of the archive, whatever it leads to.
        content = archive.extractfile(member) if member is not None and member.isreg() else None
        return content.read() if content is not None else None
