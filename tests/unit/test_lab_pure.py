"""Those parts of the lab that need no root."""

from __future__ import annotations

import os
import signal
import subprocess  # noqa: TID251 - a process to look at
import sys
from pathlib import Path

import pytest

from tests.lab import Lab, LabError
from tests.lab.files import locked, remove_tree
from tests.lab.images import libraries_of
from tests.lab.mac import foreign_program
from tests.lab.paths import LabPaths
from tests.lab.process import ProcessId, ancestors, run

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the lab is for Linux")


@pytest.fixture(autouse=True)
def _own_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACNET_LAB_DIR", "/var/lib/macnet-lab-unit")
    monkeypatch.setenv("MACNET_LAB_CACHE", str(tmp_path / "cache"))


def test_names_of_the_first_and_of_more_engines() -> None:
    paths = LabPaths.of("macnet-lab")
    assert paths.mac_netns == "macnet-lab-mac"
    assert paths.vm("default").netns == "macnet-lab-vm"
    assert paths.vm("old").netns == "macnet-lab-vm-old"
    assert paths.vm("default").socket == paths.home / "engine" / "docker.sock"
    assert paths.vm("old").socket == paths.home / "engine-old" / "docker.sock"


@pytest.mark.parametrize("name", ["", "../x", "A", "1a", "a/b", "a" * 33, "a b"])
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="not a lab or engine name"):
        LabPaths.of(name)


@pytest.mark.parametrize("folder", ["/run/lab", "relative", "/"])
def test_unusable_folders_are_refused(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACNET_LAB_DIR", folder)
    with pytest.raises(LabError):
        LabPaths.of("x")


def test_socket_paths_stay_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACNET_LAB_DIR", "/" + "long/" * 20)
    with pytest.raises(LabError, match="too long"):
        LabPaths.of("x")


@pytest.mark.parametrize(("engine", "client"), [("none", None), (None, "none")])
def test_unknown_kinds_are_refused(engine: str | None, client: str | None) -> None:
    with pytest.raises(LabError, match="no such"):
        Lab("x", engine, client)


def test_libraries_in_what_ldd_prints() -> None:
    printed = (
        "\tlinux-vdso.so.1 (0x00007ffd)\n"
        "\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007f01)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f02)\n"
    )
    assert libraries_of(printed) == [
        "/lib/x86_64-linux-gnu/libssl.so.3",
        "/lib64/ld-linux-x86-64.so.2",
    ]


def test_foreign_program_uses_the_trees_loader(tmp_path: Path) -> None:
    for folder in ("lib64", "usr/lib/x86_64-linux-gnu"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "lib64/ld-linux-x86-64.so.2").touch()
    words = foreign_program(tmp_path, "usr/sbin/openvpn")
    assert words[0] == str(tmp_path / "lib64/ld-linux-x86-64.so.2")
    assert words[-1] == str(tmp_path / "usr/sbin/openvpn")
    assert str(tmp_path / "usr/lib/x86_64-linux-gnu") in words[4]


@linux_only
def test_a_process_is_known_by_its_start_time(tmp_path: Path) -> None:
    me = ProcessId.of(os.getpid())
    assert me is not None
    file = tmp_path / "pid.json"
    me.save(file)
    assert ProcessId.load(file) == me
    ProcessId(me.pid, me.start + 1).save(file)
    assert ProcessId.load(file) is None
    file.write_text("{")
    assert ProcessId.load(file) is None


@linux_only
def test_a_signal_never_reaches_a_stranger() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        known = ProcessId.of(child.pid)
        assert known is not None
        ProcessId(known.pid, known.start + 1).send(signal.SIGKILL)
        assert known.alive()
        known.send(signal.SIGKILL)
        assert known.wait_gone(5)
    assert not known.alive()


@linux_only
def test_this_process_is_its_own_ancestor() -> None:
    assert {os.getpid(), os.getppid()} <= ancestors()


def test_a_lock_is_exclusive_and_may_be_removed_by_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "lock"
    with locked(path):
        with pytest.raises(LabError, match="another process"), locked(path, timeout_s=0):
            pass
        path.unlink()
        with locked(path, timeout_s=0):
            pass


def test_a_failed_command_says_what_it_said() -> None:
    with pytest.raises(LabError, match="code 3: no luck"):
        run(["sh", "-c", "echo no luck >&2; exit 3"])
    with pytest.raises(LabError, match="did not end in time"):
        run(["sleep", "5"], timeout_s=0.1)
    with pytest.raises(LabError, match="program not found"):
        run(["no-such-program-anywhere"])


@linux_only
def test_removing_a_folder_that_is_not_there(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")
    folder = tmp_path / "there"
    folder.mkdir()
    remove_tree(folder)
    assert not folder.exists()
