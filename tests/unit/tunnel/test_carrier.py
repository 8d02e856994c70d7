"""An engine on another machine: what the tunnel's commands do with the way there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from macnet.carriers import Carrier, Direct, Ssh
from macnet.choices import CarrierKind
from macnet.contexts import EngineAddress, SshTarget
from macnet.engine import ContainerSpec
from macnet.errors import CarrierDown, MacnetError, PortTaken
from macnet.paths import TunnelPaths
from macnet.progress import Silent
from macnet.state import Way, load_state
from macnet.tunnel import Tunnel
from macnet.values import DEFAULT_PORT
from tests.unit.carriers.fake_ssh import FakeSsh
from tests.unit.tunnel.world import World

TARGET = SshTarget("box")
ADDRESS = EngineAddress("ssh://box", "DOCKER_HOST", machine="box", ssh=TARGET)
WAY = Way(CarrierKind.SSH, "box")


class FarWorld:
    """The world with its engine on another machine, behind an ssh."""

    def __init__(self, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.ssh = FakeSsh()
        self.folder = folder
        monkeypatch.setattr(TunnelPaths, "carrier", property(lambda _: folder))
        world.find_carrier = self._find
        world.runner = self.ssh
        self.carrier: Carrier = Ssh(ADDRESS, TARGET, folder=folder, runner=self.ssh, terminal=False)

    def _find(self) -> Carrier:
        return self.carrier

    @property
    def way(self) -> Way | None:
        return load_state(self.world.paths.state, Silent()).way

    def tunnel(self) -> Tunnel:
        return self.world.stored_tunnel()


@pytest.fixture
def far(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarWorld]:
    with tempfile.TemporaryDirectory(prefix="macnet-", dir="/tmp") as folder:
        found = FarWorld(world, Path(folder) / "ssh", monkeypatch)
        yield found
        found.ssh.dies()


def test_setup_carries_the_port_and_says_what_runs_there(far: FarWorld) -> None:
    far.world.setup_tunnel().setup()
    assert far.ssh.ports == [DEFAULT_PORT]
    assert far.way == WAY
    [told] = [text for text in far.world.diary.warnings if "two containers" in text]
    assert told.startswith("on box, setup runs two containers as root: macnet-server")
    relay = far.world.engine.find_container("macnet-relay")
    assert relay is not None
    assert relay.environment["MACNET_RELAY_FOREIGN"] == "1"
    far.world.diary.warnings.clear()
    far.tunnel().setup()
    assert far.world.diary.warnings == []
    assert far.ssh.logins == 1


def test_a_dry_run_leaves_no_ssh(far: FarWorld) -> None:
    far.world.setup_tunnel().plan()
    assert far.ssh.logins == 1
    assert not far.folder.exists()
    # One that is there for the tunnel stays.
    far.world.setup_tunnel().setup()
    far.tunnel().plan()
    assert far.ssh.ports == [DEFAULT_PORT]


def test_disconnect_ends_it_and_connect_starts_it(far: FarWorld) -> None:
    far.world.setup_tunnel().setup()
    assert far.tunnel().disconnect()
    assert not far.folder.exists()
    assert far.way is None
    # Watch does not bring back what was taken down.
    assert not far.tunnel().keep_carrier()
    assert far.tunnel().sync() is None
    assert far.ssh.logins == 1
    assert far.tunnel().connect()
    assert far.ssh.ports == [DEFAULT_PORT]
    assert far.way == WAY


def test_watch_starts_one_that_has_ended(far: FarWorld) -> None:
    far.world.setup_tunnel().setup()
    far.ssh.dies()
    assert far.tunnel().keep_carrier()
    assert far.ssh.ports == [DEFAULT_PORT]


def test_down_ends_it_whatever_fails(far: FarWorld) -> None:
    far.world.setup_tunnel().setup()
    far.world.engine_error = CarrierDown("gone", hint="none")
    with pytest.raises(MacnetError):
        far.tunnel().down()
    assert not far.folder.exists()
    far.world.engine_error = None
    far.tunnel().down(purge=True)
    assert not far.folder.exists()
    assert far.world.engine.find_container("macnet-server") is None


def test_an_exposed_port_is_in_the_profile(far: FarWorld) -> None:
    far.carrier = Direct(ADDRESS, "192.0.2.7")
    far.world.setup_tunnel(expose=["192.0.2.7:1200"]).setup()
    server = far.world.engine.find_container("macnet-server")
    assert server is not None
    assert server.published == {1194: ("192.0.2.7", 1200)}
    assert "remote 192.0.2.7 1200" in far.world.paths.profile.read_text()
    assert far.way == Way(CarrierKind.DIRECT, "box", "192.0.2.7", "192.0.2.7")
    assert far.ssh.logins == 0


@pytest.mark.parametrize("known", [True, False])
def test_a_port_that_ssh_cannot_have_is_not_kept(far: FarWorld, known: bool) -> None:
    """On the engine's machine it was free, so a server has it now."""
    if known:
        far.world.setup_tunnel().setup()
    far.ssh.taken_ports.add(80)
    with pytest.raises(PortTaken, match="ssh cannot listen on port 80"):
        far.world.setup_tunnel(port=80).setup()
    assert load_state(far.world.paths.state, Silent()).port == (DEFAULT_PORT if known else None)
    if known:
        assert far.tunnel().sync() is not None
        assert far.ssh.ports == [DEFAULT_PORT]
    assert far.world.setup_tunnel().setup().port == DEFAULT_PORT
    assert far.ssh.ports == [DEFAULT_PORT]


def test_a_port_that_was_exposed_once_is_given_up_with_it(far: FarWorld) -> None:
    """ssh may have no right to it here."""
    ssh, far.carrier = far.carrier, Direct(ADDRESS, "192.0.2.7")
    far.world.setup_tunnel(expose=["192.0.2.7:443"]).setup()
    far.carrier = ssh
    assert far.world.setup_tunnel(expose=[""]).setup().port == DEFAULT_PORT


def test_a_port_that_macnet_has_chosen_stays_when_its_address_goes(far: FarWorld) -> None:
    ssh, far.carrier = far.carrier, Direct(ADDRESS, "192.0.2.7")

    def taken(spec: ContainerSpec) -> None:
        if spec.publish.get(1194) == ("192.0.2.7", DEFAULT_PORT):
            raise PortTaken("port is already allocated")

    far.world.engine.start = taken
    assert far.world.setup_tunnel(expose=["192.0.2.7"]).setup().port == DEFAULT_PORT + 1
    far.carrier = ssh
    assert far.world.setup_tunnel(expose=[""]).setup().port == DEFAULT_PORT + 1


def test_a_dry_run_beside_one_that_ended_does_not_take_the_tunnel_down(far: FarWorld) -> None:
    far.world.setup_tunnel().setup()
    far.ssh.dies()
    far.tunnel().plan()
    assert far.way == WAY
    assert far.tunnel().keep_carrier()
