"""Files that are this user's alone, and the lock on them.

Every write is atomic and every file is 0600 in a directory of 0700. A damaged file is renamed,
never deleted: it is the user's. Errors of the file system leave here as `StateError`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from macnet.errors import Busy, StateError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM)
_LOCK_POLL_S = 0.05


def ensure_private_dir(path: Path) -> None:
    """Make the directory ``path`` and its missing parents with mode 0700; repair its mode."""
    try:
        for directory in reversed([path, *path.parents]):
            if not directory.exists():
                directory.mkdir(mode=0o700, exist_ok=True)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        if path.stat().st_mode & 0o777 != 0o700:
            path.chmod(0o700)
    except OSError as error:
        raise _translated(error, "make the directory", path) from error


def write_private(path: Path, data: bytes) -> bool:
    """Make ``data`` the content of ``path``, with mode 0600; tell whether the bytes changed.

    Whoever reads ``path``, at any time and after any crash, sees the old bytes or the new ones.
    A missing directory is made; one that exists keeps its mode, as it may be any folder.
    """
    try:
        if not path.parent.exists():
            ensure_private_dir(path.parent)
        if path.is_file() and path.read_bytes() == data:
            if path.stat().st_mode & 0o777 != 0o600:
                path.chmod(0o600)
            return False
        _replace(path, data)
    except OSError as error:
        raise _translated(error, "write", path) from error
    return True


def remove_file(path: Path) -> None:
    """Remove the file ``path``, if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _translated(error, "remove", path) from error


def _replace(path: Path, data: bytes) -> None:
    _sweep(path)
    # A rename is atomic within one file system only, hence the same directory.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's own mode follows the umask.
        temporary.chmod(0o600)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)


def _sweep(path: Path) -> None:
    """Remove what killed writers of ``path`` have left: it may hold keys. No write takes 600 s."""
    with suppress(OSError):
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            if time.time() - leftover.stat().st_mtime > 600:
                leftover.unlink()


def _sync_directory(directory: Path) -> None:
    # Some file systems refuse it. The rename is atomic all the same, only not durable yet.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_private(path: Path) -> bytes | None:
    """Return the content of ``path``, or None where there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _translated(error, "read", path) from error


#: Seconds between two looks at a file that grows.
FOLLOW_S = 0.3


def new_lines(path: Path, position: int) -> Iterator[str]:
    """Each line as it is written after ``position``; from the start of a file that is new.

    Does not end by itself.
    """
    rest = b""
    while True:
        time.sleep(FOLLOW_S)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < position:
                    position, rest = 0, b""
                file.seek(position)
                data = file.read()
        except FileNotFoundError:
            continue  # between two clients
        except OSError as error:
            raise _translated(error, "read", path) from error
        position += len(data)
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)


def set_aside(path: Path) -> Path:
    """Rename the damaged file or directory ``path`` and return its new place."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    count = 1
    while os.path.lexists(target):  # a rename would overwrite it
        count += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{count}")
    try:
        return path.rename(target)
    except OSError as error:
        raise _translated(error, "rename", path) from error


@contextmanager
def lock(path: Path, *, wait_s: float = 0) -> Iterator[None]:
    """Hold the lock file ``path``; raise `Busy` where another process holds it after ``wait_s``.

    The kernel drops the lock with the process, however that ends, so the file itself means
    nothing; the pid in it only serves the message.
    """
    ensure_private_dir(path.parent)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            descriptor = _locked(path)
            break
        except Busy:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOCK_POLL_S)
        except OSError as error:
            raise _translated(error, "lock", path) from error
    try:
        with suppress(OSError):  # a full disk; the lock holds without the pid
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # `down --purge` may have removed the file between the two calls, and a lock on a
            # file that has lost its name excludes nobody.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            who = f" (pid {holder})" if holder.isdigit() else ""
            raise Busy(
                f"another macnet{who} is changing this tunnel",
                hint="wait until it has ended, then try again",
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def remove_tunnel_files(root: Path) -> tuple[Path, ...]:
    """Remove everything below the tunnel's own directory ``root``, and ``root``.

    Returns the files that are gone. Links are removed, not followed. The lock goes with the
    directory: call this last while holding it.
    """
    try:
        if root.is_symlink():
            raise StateError(
                f"{root} is a link, so macnet does not remove what is behind it",
                hint="remove it yourself, if it is not needed any more",
            )
        if not root.exists():
            return ()
        files = tuple(sorted(p for p in root.rglob("*") if p.is_symlink() or not p.is_dir()))
        shutil.rmtree(root)
    except OSError as error:
        raise _translated(error, "remove", Path(error.filename or root)) from error
    return files


def _translated(error: OSError, action: str, path: Path) -> StateError:
    if error.errno in _FULL:
        hint = "free some space on this disk, then try again; what was there is unchanged"
    elif error.errno == errno.EROFS:
        hint = "the file system is read-only; MACNET_HOME moves macnet's files elsewhere"
    elif error.errno in _DENIED:
        hint = (
            f'see who owns it with `ls -ld "{path}" "{path.parent}"`; what macnet made under '
            "sudo belongs to root, and `sudo chown` gives it back to you"
        )
    else:
        hint = "MACNET_HOME moves macnet's files elsewhere"
    return StateError(f"cannot {action} {path}: {error.strerror or error}", hint=hint)
