"""Names are switched on and off for one tunnel, and never at somebody else's cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from macnet.errors import BadValue, ConflictError, EngineUnreachable, NotSetUp
from macnet.models import Further
from macnet.names.system import NamesSystem, RootCommand
from macnet.names.system.linux import ByHand
from macnet.names.system.macos import MacResolver
from macnet.networks import select_networks, with_further
from macnet.progress import Silent
from macnet.runner import Completed
from macnet.state import NamesChoice, TunnelState, load_state, save_state
from macnet.tunnel import EngineFound, Tunnel, naming, report_status
from macnet.tunnel.naming import (
    NO_CLUSTER,
    flush,
    plan_on,
    set_up,
    switch_off,
    switch_on,
    take_down,
)
from tests.unit.names.test_upstream import KIND
from tests.unit.tunnel.world import World


class Root:
    """Runs what root would run, as this user, but for the message to mDNSResponder."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def __call__(self, tunnel: Tunnel, command: RootCommand) -> None:
        self.ran.append(command.shown)
        argv = [word.replace("/usr/bin/killall -HUP mDNSResponder", ":") for word in command.argv]
        if argv[0] == "/bin/sh":
            done: Completed = tunnel.host.runner.run(argv)
            assert done.ok


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Root:
    root = Root()
    monkeypatch.setattr(naming, "_apply", root)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "resolver"


@pytest.fixture
def system(folder: Path) -> NamesSystem:
    import os

    return MacResolver(folder, root=os.geteuid())


def test_on_and_off(world: World, root: Root, folder: Path, system: NamesSystem) -> None:
    tunnel = world.tunnel()
    tunnel.setup()
    done = switch_on(tunnel, system=system)
    assert (done.changed, done.on, done.domain, done.port) == (True, True, "docker.test", 13153)
    [file] = folder.iterdir()
    assert "domain docker.test\nnameserver 127.0.0.1\nport 13153\n" in file.read_text()
    assert tunnel.state().names == NamesChoice("docker.test", 13153)
    found = report_status(tunnel, EngineFound(tunnel.engine, "", ""))
    assert found.names == NamesChoice("docker.test", 13153)
    assert not switch_on(tunnel, system=system).changed
    assert len(root.ran) == 1

    assert switch_off(tunnel, system=system).changed
    assert list(folder.iterdir()) == []
    assert tunnel.state().names is None
    assert not switch_off(tunnel, system=system).changed


def test_setup_keeps_them(world: World, root: Root, system: NamesSystem) -> None:
    tunnel = world.tunnel()
    tunnel.setup()
    switch_on(tunnel, domain="docker.home.arpa", port=14000, system=system)
    world.tunnel().setup()
    assert world.tunnel().state().names == NamesChoice("docker.home.arpa", 14000)
    # A repetition without options keeps them too.
    assert not switch_on(world.tunnel(), system=system).changed


def test_setup_with_names_does_both_and_nothing_twice(
    world: World, root: Root, folder: Path, system: NamesSystem
) -> None:
    plan = plan_on(world.tunnel(), domain="box.test", system=system)
    assert (plan.domain, plan.port, plan.changes) == ("box.test", 13153, True)
    assert not folder.exists()
    done = set_up(world.tunnel(), domain="box.test", system=system)
    assert done.changed
    assert done.names is not None
    assert (done.names.changed, done.names.domain) == (True, "box.test")
    assert [file.name for file in folder.iterdir()] == ["macnet.box.test"]
    assert root.ran == [plan.command]

    again = set_up(world.tunnel(), system=system)
    assert not again.changed
    assert again.names is not None
    assert (again.names.changed, again.names.domain) == (False, "box.test")
    assert len(root.ran) == 1
    assert not plan_on(world.tunnel(), system=system).changes
    assert plan_on(world.tunnel(), port=14000, system=system).changes


def test_setup_with_a_domain_that_is_taken_makes_nothing(
    world: World, root: Root, folder: Path, system: NamesSystem
) -> None:
    folder.mkdir()
    (folder / "docker.test").write_text("nameserver 127.0.0.9\n")
    with pytest.raises(ConflictError, match="is not macnet's"):
        set_up(world.tunnel(), system=system)
    with pytest.raises(BadValue, match="multicast"):
        set_up(world.tunnel(), domain="box.local", system=system)
    assert world.engine.made == {}
    assert not world.tunnel().paths.state.exists()


def test_setup_where_no_tunnel_is_needed_has_no_names(
    world: World, root: Root, system: NamesSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tunnel, "_direct_way", lambda *_, **__: "the bridges are here")
    done = set_up(world.tunnel(), system=system)
    assert done.already_reachable
    assert done.names is None
    assert root.ran == []


def test_another_domain_replaces_the_file(
    world: World, root: Root, folder: Path, system: NamesSystem
) -> None:
    tunnel = world.tunnel()
    tunnel.setup()
    switch_on(tunnel, system=system)
    switch_on(tunnel, domain="box.test", system=system)
    assert [file.name for file in folder.iterdir()] == ["macnet.box.test"]


def test_a_foreign_file_is_not_touched(
    world: World, root: Root, folder: Path, system: NamesSystem
) -> None:
    folder.mkdir()
    (folder / "docker.test").write_text("nameserver 127.0.0.9\n")
    tunnel = world.tunnel()
    tunnel.setup()
    with pytest.raises(ConflictError, match="is not macnet's"):
        switch_on(tunnel, system=system)
    assert tunnel.state().names is None
    assert not switch_off(tunnel, system=system).changed
    assert (folder / "docker.test").read_text() == "nameserver 127.0.0.9\n"
    assert root.ran == []


def test_without_a_tunnel(world: World, root: Root, system: NamesSystem) -> None:
    with pytest.raises(NotSetUp):
        switch_on(world.tunnel(), system=system)


def test_two_tunnels_have_two_domains_and_ports(
    world: World, root: Root, system: NamesSystem
) -> None:
    tunnel = world.tunnel()
    tunnel.setup()
    other = tunnel.paths.root.parent / "other"
    other.mkdir()
    save_state(other / tunnel.paths.state.name, TunnelState(names=NamesChoice("box.test", 13153)))
    with pytest.raises(BadValue, match="the domain of the tunnel other"):
        switch_on(tunnel, domain="box.test", system=system)
    with pytest.raises(BadValue, match="answers for another tunnel's names"):
        switch_on(tunnel, port=13153, system=system)
    assert switch_on(tunnel, system=system).port == 13154


def reach(monkeypatch: pytest.MonkeyPatch, *further: Further) -> None:
    """Let tunnels reach these clusters."""
    found = select_networks(with_further((), further), include=("*",), exclude=())
    monkeypatch.setattr(Tunnel, "networks", lambda _: found)


def test_one_cluster_gets_its_own_domain(
    world: World,
    root: Root,
    folder: Path,
    system: NamesSystem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach(monkeypatch, KIND)
    tunnel = world.tunnel()
    tunnel.setup()
    done = switch_on(tunnel, cluster="kind", system=system)
    assert (done.changed, done.domain, done.cluster) == (True, "docker.test", "kind")
    files = {"macnet.docker.test", "macnet.cluster.local"}
    assert {file.name for file in folder.iterdir()} == files
    assert tunnel.state().names == NamesChoice("docker.test", 13153, "kind")
    # It stays, also while the cluster is not there; nothing is asked of it.
    reach(monkeypatch)
    assert not switch_on(world.tunnel(), system=system).changed
    assert plan_on(world.tunnel(), system=system).cluster == "kind"
    moved = switch_on(world.tunnel(), domain="box.test", system=system)
    assert moved.cluster == "kind"
    assert {file.name for file in folder.iterdir()} == {"macnet.box.test", "macnet.cluster.local"}
    back = switch_on(world.tunnel(), cluster=NO_CLUSTER, system=system)
    assert (back.changed, back.cluster) == (True, None)
    assert [file.name for file in folder.iterdir()] == ["macnet.box.test"]
    assert not switch_on(world.tunnel(), cluster=NO_CLUSTER, system=system).changed
    reach(monkeypatch, KIND)
    switch_on(world.tunnel(), cluster="kind", system=system)
    assert switch_off(world.tunnel(), system=system).changed
    assert list(folder.iterdir()) == []
    assert tunnel.state().names is None


@pytest.mark.parametrize(
    ("further", "said", "hint"),
    [
        ((), "reaches no cluster kind", "macnet setup --also kubernetes"),
        ((replace(KIND, name="other"),), "reaches no cluster kind", "it reaches other"),
        ((replace(KIND, donor=None, reason="it is asleep"),), "it is asleep", "macnet check"),
        ((replace(KIND, dns=None),), "resolver of the cluster kind", "macnet check"),
        ((replace(KIND, domain="example.com"),), "its domain example.com", "own domain"),
    ],
)
def test_a_cluster_that_cannot_have_it_is_refused(
    world: World,
    root: Root,
    system: NamesSystem,
    monkeypatch: pytest.MonkeyPatch,
    further: tuple[Further, ...],
    said: str,
    hint: str,
) -> None:
    reach(monkeypatch, *further)
    tunnel = world.tunnel()
    tunnel.setup()
    with pytest.raises(BadValue, match=said) as caught:
        switch_on(tunnel, cluster="kind", system=system)
    assert hint in (caught.value.hint or "")
    assert tunnel.state().names is None
    assert root.ran == []


def test_another_tunnels_cluster_has_it_already(
    world: World, root: Root, system: NamesSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, KIND)
    tunnel = world.tunnel()
    tunnel.setup()
    other = tunnel.paths.root.parent / "other"
    other.mkdir()
    names = NamesChoice("box.test", 13154, "dev")
    save_state(other / tunnel.paths.state.name, TunnelState(names=names))
    with pytest.raises(BadValue, match="dev of the tunnel other has"):
        switch_on(tunnel, cluster="kind", system=system)
    assert switch_on(tunnel, system=system).cluster is None


def test_a_system_that_macnet_cannot_tell_gives_the_steps(world: World, root: Root) -> None:
    tunnel = world.tunnel()
    tunnel.setup()
    done = switch_on(tunnel, system=ByHand(resolved=False))
    assert "server=/docker.test/127.0.0.1#13153" in done.steps[0]
    assert not flush(tunnel, system=ByHand(resolved=False))


def test_down_takes_them_away_also_without_the_engine(
    world: World, root: Root, monkeypatch: pytest.MonkeyPatch, folder: Path, system: NamesSystem
) -> None:
    monkeypatch.setattr(naming, "names_system", lambda tunnel: system)
    tunnel = world.tunnel()
    tunnel.setup()
    switch_on(tunnel)
    monkeypatch.setattr(
        Tunnel, "down", lambda self, purge: (_ for _ in ()).throw(EngineUnreachable("away"))
    )
    with pytest.raises(EngineUnreachable):
        take_down(tunnel, purge=False)
    assert list(folder.iterdir()) == []
    assert tunnel.state().names is None


def test_the_record_keeps_them(tmp_path: Path) -> None:
    for cluster in (None, "kind"):
        state = replace(TunnelState(), names=NamesChoice("docker.test", 13153, cluster))
        save_state(tmp_path / "tunnel.json", state)
        assert load_state(tmp_path / "tunnel.json", Silent()) == state
