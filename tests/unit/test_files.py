"""Private files are written whole or not at all, and one at a time changes a tunnel."""

import errno
import os
import signal
import stat
import subprocess  # noqa: TID251
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from macnet.errors import Busy, StateError
from macnet.files import (
    ensure_private_dir,
    lock,
    read_private,
    remove_file,
    remove_tunnel_files,
    set_aside,
    write_private,
)

CHECKOUT = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir())


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_directories_are_private_with_their_missing_parents(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ensure_private_dir(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    (tmp_path / "a" / "b").chmod(0o755)
    ensure_private_dir(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_directorys_place(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(StateError, match="Not a directory"):
            ensure_private_dir(path)


def test_a_write_tells_whether_it_changed_anything(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    assert read_private(path) is None
    assert write_private(path, b"one")
    assert not write_private(path, b"one")
    assert write_private(path, b"two")
    assert read_private(path) == b"two"
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert names_in(path.parent) == ["file"]


def test_a_readable_file_is_made_private_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    path.chmod(0o644)
    assert not write_private(path, b"one")
    assert mode(path) == 0o600
    path.chmod(0o644)
    assert write_private(path, b"two")
    assert mode(path) == 0o600


def test_a_folder_of_the_users_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write_private(tmp_path / "file", b"")
    assert mode(tmp_path) == 0o755


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "sudo"),
        (errno.EIO, "MACNET_HOME"),
    ],
)
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str, step: str
) -> None:
    path = tmp_path / "file"
    write_private(path, b"old")
    monkeypatch.setattr(step, failing(number))
    with pytest.raises(StateError) as caught:
        write_private(path, b"new")
    assert str(path) in caught.value.message
    assert hint in str(caught.value.hint)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    write_private(tmp_path / "file", b"old")
    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_private(tmp_path / "file", b"new")
    assert names_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_the_next_write_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".file.a.tmp", tmp_path / ".file.b.tmp"
    for path in (old, fresh, tmp_path / ".other.a.tmp"):
        path.touch()
    os.utime(old, (0, 0))
    write_private(tmp_path / "file", b"new")
    assert names_in(tmp_path) == [".file.b.tmp", ".other.a.tmp", "file"]


def test_what_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot read"):
        read_private(tmp_path)


def test_set_aside_never_overwrites(tmp_path: Path) -> None:
    kept = []
    for text in ("one", "two", "three"):
        (tmp_path / "file").write_text(text)
        kept.append(set_aside(tmp_path / "file"))
    assert [path.read_text() for path in kept] == ["one", "two", "three"]
    assert all(path.name.startswith("file.damaged-20") for path in kept)
    assert not (tmp_path / "file").exists()
    with pytest.raises(StateError):
        set_aside(tmp_path / "file")


def test_only_one_holds_the_lock_and_the_other_hears_who(tmp_path: Path) -> None:
    path = tmp_path / "root" / "lock"
    with lock(path):
        assert mode(path) == 0o600
        with pytest.raises(Busy, match=rf"pid {os.getpid()}\b"), lock(path):
            pass
    with lock(path):
        pass
    with pytest.raises(ZeroDivisionError), lock(path):
        raise ZeroDivisionError
    with lock(path):
        pass


def test_a_held_lock_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("macnet.files.time.sleep", lambda _: pytest.fail("it waited"))
    with lock(tmp_path / "lock"), pytest.raises(Busy), lock(tmp_path / "lock"):
        pass


def test_the_lock_ends_with_a_killed_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import pathlib, sys, time; from macnet.files import lock\n"
        "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match=rf"pid {holder.pid}\b"), lock(path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with lock(path):
            assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_waits_for_its_holder_if_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = ExitStack()
    holder.enter_context(lock(path))
    with pytest.raises(Busy), lock(path, wait_s=0.1):
        pass
    timer = threading.Timer(0.2, holder.close)
    timer.start()
    with lock(path, wait_s=5):
        timer.join()
        with pytest.raises(Busy), lock(path):
            pass


def test_a_lock_that_was_removed_with_the_tunnel_is_not_taken_for_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    real = os.open
    opened: list[int] = []

    def removed_once(*arguments: object, **options: object) -> int:
        descriptor = real(*arguments, **options)  # type: ignore[arg-type]
        if not opened:
            path.unlink()
        opened.append(descriptor)
        return descriptor

    monkeypatch.setattr("os.open", removed_once)
    with lock(path):
        assert path.exists()
    assert len(opened) == 2


def test_purge_removes_what_is_below_the_root_and_follows_no_link(tmp_path: Path) -> None:
    root, other = tmp_path / "tunnels" / "macnet", tmp_path / "other"
    other.mkdir()
    (other / "precious").touch()
    write_private(root / "pki" / "pki.json", b"")
    write_private(root / "tunnel.json", b"")
    (root / "link").symlink_to(other)
    with lock(root / "lock"):
        removed = remove_tunnel_files(root)
    assert [path.relative_to(root).as_posix() for path in removed] == [
        "link",
        "lock",
        "pki/pki.json",
        "tunnel.json",
    ]
    assert not root.exists()
    assert (other / "precious").exists()
    assert remove_tunnel_files(root) == ()


def test_purge_refuses_a_link_in_the_roots_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "other")
    with pytest.raises(StateError, match="is a link"):
        remove_tunnel_files(tmp_path / "root")
    assert (tmp_path / "other").exists()


def test_a_file_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine"
    path.write_text("old")
    remove_file(path)
    remove_file(path)
    assert names_in(tmp_path) == []
    monkeypatch.setattr(Path, "unlink", failing(errno.EPERM))
    with pytest.raises(StateError, match="cannot remove"):
        remove_file(path)


def test_a_file_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", failing(errno.EROFS))
    with pytest.raises(StateError, match="Read-only"):
        write_private(path, b"new")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["mine"]
