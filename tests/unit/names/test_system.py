"""How a system is told: which file, by which command, and never over somebody else's."""

from __future__ import annotations

import os
import shlex
import subprocess  # noqa: TID251 - plays root's shell
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from macnet.errors import BadValue, ConfigError, ConflictError
from macnet.names.system import (
    RootCommand,
    SystemEntry,
    SystemState,
    apply_command,
    choose_system,
    fill_interface,
)
from macnet.names.system.base import user_id
from macnet.names.system.linux import ByHand, Delegate, render_delegate
from macnet.names.system.macos import MacResolver, claimed_domain, render_file
from macnet.paths import Paths
from macnet.runner import CommandFailed, Completed
from macnet.state import NamesChoice, TunnelState, save_state

ENTRY = SystemEntry("macnet", "docker.test", 13153)
OTHER = SystemEntry("work", "docker-work.test", 13154)
BOTH = SystemEntry("macnet", "docker.test", 13153, cluster=True)
#: How files began until users were told apart.
BEFORE = "# macnet: names of containers, tunnel macnet"


class Root:
    """Runs the commands for real, but not what the whole system would notice."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def __call__(self, argv: Sequence[str]) -> Completed:
        words = [
            word.replace("/usr/bin/killall -HUP mDNSResponder", "true").replace(
                "systemctl reload systemd-resolved", "true"
            )
            for word in argv
        ]
        self.commands.append(shlex.join(argv))
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this user's records are."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MACNET_HOME", str(folder))
    return folder


def mac(folder: Path, user: int | None = None) -> MacResolver:
    return MacResolver(folder / "resolver", root=os.getuid(), user=user)


def linux(folder: Path, user: int | None = None) -> Delegate:
    return Delegate(folder / "delegates", user=user)


def remember(home: Path, port: int) -> None:
    """A record with names on this port."""
    path = Paths(home, home / "config.toml").tunnel("macnet").state
    path.parent.mkdir(parents=True, exist_ok=True)
    save_state(path, TunnelState(names=NamesChoice("docker.test", port)))


def install(system: MacResolver | Delegate, entry: SystemEntry = ENTRY) -> bool:
    command = system.plan_install(entry)
    if command is not None:
        apply_command(command, Root())
    return command is not None


def test_the_file_says_all_that_macos_has_to_know() -> None:
    assert render_file(ENTRY, 501) == (
        f"{BEFORE} of user 501; `macnet names off` removes this file.\n"
        "domain docker.test\n"
        "nameserver 127.0.0.1\n"
        "port 13153\n"
        "timeout 2\n"
        "flags a aaaa\n"
    )


def test_on_twice_writes_once_and_off_leaves_nothing(tmp_path: Path) -> None:
    system = mac(tmp_path)
    assert system.status(ENTRY).state is SystemState.ABSENT
    assert system.plan_remove("macnet") is None
    assert install(system)
    path = tmp_path / "resolver" / "macnet.docker.test"
    assert path.read_text() == render_file(ENTRY)
    assert path.stat().st_mode & 0o777 == 0o644
    assert system.status(ENTRY).state is SystemState.CURRENT
    assert not install(system)
    assert install(system, OTHER)
    command = system.plan_remove("macnet")
    assert command is not None
    apply_command(command, Root())
    assert [file.name for file in path.parent.iterdir()] == ["macnet.docker-work.test"]
    assert system.plan_remove("macnet") is None


@pytest.mark.parametrize("change", ["port", "text", "mode", "link"])
def test_a_file_that_is_not_as_it_should_be_is_written_anew(tmp_path: Path, change: str) -> None:
    system = mac(tmp_path)
    install(system, SystemEntry("macnet", "docker.test", 1) if change == "port" else ENTRY)
    path = tmp_path / "resolver" / "macnet.docker.test"
    if change == "text":
        path.write_text(path.read_text() + "search docker.test\n")
    if change == "mode":
        path.chmod(0o666)
    if change == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    assert system.status(ENTRY).state is SystemState.OUTDATED
    assert install(system)
    assert system.status(ENTRY).state is SystemState.CURRENT
    assert not path.is_symlink()


def test_a_file_of_another_user_is_not_good_enough(tmp_path: Path) -> None:
    install(mac(tmp_path))
    status = MacResolver(tmp_path / "resolver", root=os.getuid() + 1).status(ENTRY)
    assert status.state is SystemState.OUTDATED
    assert "not a file of root" in status.text


@pytest.mark.parametrize("make", [mac, linux])
def test_two_users_have_each_their_own_file(
    tmp_path: Path, make: Callable[[Path, int], MacResolver | Delegate]
) -> None:
    """The tunnel of each is called macnet, unless somebody says otherwise."""
    first, second = make(tmp_path, 501), make(tmp_path, 502)
    assert install(first)
    theirs = SystemEntry("macnet", "docker.test", 13154)
    assert second.status(theirs).state is SystemState.FOREIGN
    with pytest.raises(ConflictError, match="belongs to another user"):
        second.plan_install(theirs)
    assert second.plan_remove("macnet") is None
    other = SystemEntry("macnet", "docker-two.test", 13154)
    assert install(second, other)
    command = second.plan_remove("macnet")
    assert command is not None
    apply_command(command, Root())
    assert first.status(ENTRY).state is SystemState.CURRENT
    assert second.status(other).state is SystemState.ABSENT


@pytest.mark.parametrize("make", [mac, linux])
def test_a_file_that_names_no_user_is_that_of_the_port(
    tmp_path: Path, home: Path, make: Callable[[Path, int], MacResolver | Delegate]
) -> None:
    system = make(tmp_path, 501)
    install(system)
    path = system.status(ENTRY).path
    assert path is not None
    old = path.with_name(path.name.replace("-501", ""))
    text = path.read_text().replace(" of user 501", "")
    path.unlink()
    old.write_text(text)
    assert text.startswith(f"{BEFORE};")
    # Without a record, and with another port in it, it is somebody else's.
    for port in (None, 13154):
        if port is not None:
            remember(home, port)
        assert system.status(ENTRY).state is SystemState.FOREIGN
        assert system.plan_remove("macnet") is None
    remember(home, ENTRY.port)
    assert system.plan_remove("macnet") is not None
    assert install(system, SystemEntry("macnet", "docker.test", 14000))
    assert install(system)
    assert system.status(ENTRY).state is SystemState.CURRENT
    assert list(path.parent.iterdir()) == [path]
    assert "of user 501" in path.read_text()


def test_who_runs_this_is_told_by_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Mac sudo keeps it, and with it the record."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert user_id() == tmp_path.stat().st_uid
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert user_id() == 12345


def test_another_domain_of_the_same_tunnel_takes_the_place_of_the_first(tmp_path: Path) -> None:
    system = mac(tmp_path)
    install(system)
    moved = SystemEntry("macnet", "docker.home.arpa", 13153)
    assert install(system, moved)
    assert [file.name for file in (tmp_path / "resolver").iterdir()] == ["macnet.docker.home.arpa"]
    (tmp_path / "resolver" / "macnet.docker.test").write_text(render_file(ENTRY))
    assert system.status(moved).state is SystemState.OUTDATED
    assert install(system, moved)
    assert system.status(moved).state is SystemState.CURRENT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docker.test", "nameserver 127.0.0.1\nport 5353\n"),
        ("Docker.Test", "nameserver 10.0.0.1\n"),
        ("other", "# mine\nnameserver 10.0.0.1\ndomain docker.test. # really\n"),
        ("macnet.docker.test", "nameserver 10.0.0.1\n"),
        ("macnet.docker.test", render_file(OTHER)),
    ],
)
def test_a_file_of_others_is_never_touched(tmp_path: Path, name: str, text: str) -> None:
    system = mac(tmp_path)
    path = tmp_path / "resolver" / name
    path.parent.mkdir()
    path.write_text(text)
    status = system.status(ENTRY)
    assert (status.state, status.path) == (SystemState.FOREIGN, path)
    with pytest.raises(ConflictError) as caught:
        system.plan_install(ENTRY)
    assert str(path) in (caught.value.hint or "")
    assert system.plan_remove("macnet") is None
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test", "nameserver 127.0.0.1\n"),
        ("docker.test", "domain example.test\nnameserver 127.0.0.1\n"),
        ("a.docker.test", "nameserver 127.0.0.1\n"),
    ],
)
def test_files_for_other_domains_are_no_hindrance(tmp_path: Path, name: str, text: str) -> None:
    system = mac(tmp_path)
    (tmp_path / "resolver").mkdir()
    (tmp_path / "resolver" / name).write_text(text)
    assert install(system)
    assert (tmp_path / "resolver" / name).read_text() == text


def test_the_domain_of_a_file() -> None:
    assert claimed_domain("x.test", "") == "x.test"
    assert claimed_domain("x.test", "#domain a\n;domain b\ndomain\ndomain C.\n") == "c"


def test_a_domain_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    for domain in ("../passwd", "a/b", "a\nb"):
        with pytest.raises(BadValue):
            mac(tmp_path).plan_install(SystemEntry("macnet", domain, 1))
        with pytest.raises(BadValue):
            render_delegate(SystemEntry("macnet", domain, 1))


def test_the_command_is_shown_as_it_can_be_typed(tmp_path: Path) -> None:
    command = mac(tmp_path).plan_install(ENTRY)
    assert command is not None
    assert "\n" not in command.shown
    shown = command.shown.replace("sudo ", "").replace(
        "/usr/bin/killall -HUP mDNSResponder", "true"
    )
    subprocess.run(["/bin/sh", "-c", shown], check=True)
    assert mac(tmp_path).status(ENTRY).state is SystemState.CURRENT
    assert MacResolver().plan_flush() == RootCommand(("/usr/bin/killall", "-HUP", "mDNSResponder"))
    assert RootCommand(("a", "b c")).shown == "sudo a 'b c'"


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "resolver").write_text("a file where the folder should be")
    command = mac(tmp_path).plan_install(ENTRY)
    assert command is not None
    with pytest.raises(ConfigError, match="resolver") as caught:
        apply_command(command, Root())
    assert command.shown in (caught.value.hint or "")


def test_a_delegate_of_systemd(tmp_path: Path) -> None:
    system = Delegate(tmp_path)
    assert render_delegate(ENTRY).splitlines()[1:] == [
        "[Delegate]",
        "DNS=127.0.0.1:13153",
        "Domains=~docker.test",
    ]
    assert install(system)
    assert not install(system)
    assert install(system, SystemEntry("macnet", "docker.test", 2))
    assert system.status(ENTRY).state is SystemState.OUTDATED
    command = system.plan_remove("macnet")
    assert command is not None
    apply_command(command, Root())
    assert system.status(ENTRY).state is SystemState.ABSENT
    system.path("macnet").write_text("[Delegate]\n")
    with pytest.raises(ConflictError):
        system.plan_install(ENTRY)
    assert system.plan_remove("macnet") is None


def test_a_clusters_domain_has_a_file_of_its_own(tmp_path: Path) -> None:
    system = mac(tmp_path)
    install(system)
    assert system.status(BOTH).state is SystemState.ABSENT
    assert install(system, BOTH)
    assert not install(system, BOTH)
    folder = tmp_path / "resolver"
    own, cluster = folder / "macnet.docker.test", folder / "macnet.cluster.local"
    assert sorted(folder.iterdir()) == [cluster, own]
    assert own.read_text() == render_file(ENTRY)
    assert cluster.read_text() == own.read_text().replace("docker.test", "cluster.local")
    assert str(cluster) in system.status(BOTH).text
    # Without it the file is one too many; with another port both are written anew.
    assert system.status(ENTRY).state is SystemState.OUTDATED
    cluster.write_text(cluster.read_text().replace("13153", "1"))
    assert system.status(BOTH).state is SystemState.OUTDATED
    assert install(system, BOTH)
    assert install(system, ENTRY)
    assert list(folder.iterdir()) == [own]
    assert install(system, BOTH)
    command = system.plan_remove("macnet")
    assert command is not None
    apply_command(command, Root())
    assert list(folder.iterdir()) == []


def test_a_clusters_domain_of_others_is_never_touched(tmp_path: Path) -> None:
    system = mac(tmp_path)
    (tmp_path / "resolver").mkdir()
    path = tmp_path / "resolver" / "cluster.local"
    path.write_text("nameserver 10.96.0.10\n")
    with pytest.raises(ConflictError, match="and answers for cluster") as caught:
        system.plan_install(BOTH)
    assert "`macnet names on --no-cluster`" in (caught.value.hint or "")
    assert install(system, ENTRY)
    assert path.read_text() == "nameserver 10.96.0.10\n"


def test_linux_is_told_of_a_clusters_domain_too() -> None:
    assert render_delegate(BOTH).splitlines()[3] == "Domains=~docker.test ~cluster.local"
    steps = ByHand(resolved=True).instructions(BOTH)
    assert steps[1] == "sudo resolvectl domain INTERFACE '~docker.test' '~cluster.local'"
    steps = ByHand(resolved=False).instructions(BOTH)
    assert "server=/docker.test/127.0.0.1#13153" in steps[0]
    assert "server=/cluster.local/127.0.0.1#13153" in steps[1]


def test_what_is_to_be_typed_on_linux_has_the_interface() -> None:
    steps = ByHand(resolved=True).instructions(ENTRY)
    assert fill_interface(steps, "tun3") == (
        "sudo resolvectl dns tun3 127.0.0.1:13153",
        "sudo resolvectl domain tun3 '~docker.test'",
        "both again after each connect, as they end with the interface",
    )
    # Before the tunnel is connected there is none.
    assert fill_interface(steps, None) == steps
    assert "`macnet status` shows" in steps[-1]
    other = ByHand(resolved=False).instructions(ENTRY)
    assert fill_interface(other, "tun3") == other


class Runner:
    """A system with a systemd of some version, or none."""

    def __init__(self, said: str | None) -> None:
        self.said = said

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        if self.said is None:
            raise CommandFailed(argv, "is not installed")
        return Completed(tuple(argv), 0, self.said, "")

    def find(self, program: str, *_: str) -> str | None:
        return program


@pytest.mark.parametrize(
    ("system", "said", "running", "name"),
    [
        ("macos", None, False, "/etc/resolver"),
        ("linux", "systemd 258 (258.1)\n", True, "systemd-resolved"),
        ("linux", "systemd 258~rc1\n", True, "systemd-resolved"),
        ("linux", "systemd 257 (257.9)\n", True, "by hand"),
        ("linux", None, True, "by hand"),
        ("linux", "?", True, "by hand"),
        ("linux", "systemd 258\n", False, "by hand"),
        ("freebsd", None, False, "by hand"),
    ],
)
def test_the_way_of_each_system(
    tmp_path: Path, system: str, said: str | None, running: bool, name: str
) -> None:
    resolved = tmp_path if running else tmp_path / "none"
    chosen = choose_system(system, runner=Runner(said), resolved=resolved)
    assert chosen.name == name
    if name not in {"/etc/resolver", "systemd-resolved"}:
        assert chosen.status(ENTRY).state is SystemState.MANUAL
        assert chosen.plan_install(ENTRY) is chosen.plan_remove("macnet") is None
        assert chosen.plan_flush() is None
        assert chosen.instructions(ENTRY)
    if name == "by hand" and running:
        assert "resolvectl dns INTERFACE 127.0.0.1:13153" in chosen.instructions(ENTRY)[0]
