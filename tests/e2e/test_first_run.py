"""The first minutes: a machine without a VPN client, and commands before there is a tunnel."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.steps import PROGRAM, Mac, person
from tests.lab.user import NAME, PASSWORD, MacUser

#: Words that take the machine's openvpn away, for the command alone.
WITHOUT_OPENVPN = (
    *("unshare", "-m", "--propagation", "private", "sh", "-c"),
    'for p in $(which -a openvpn) /usr/sbin/openvpn /usr/local/sbin/openvpn; do [ ! -e "$p" ]'
    ' || mount --bind /dev/null "$p" || exit 99; done; exec "$@"',
    "sh",
)
#: Installs what Homebrew would, from a place where the test has put it.
BREW = (
    '#!/bin/sh\n[ "$*" = "install openvpn" ] && install -m 755 "$HOME/cellar" "$HOME/bin/openvpn"\n'
)


@pytest.fixture
def user(clean: Mac) -> Iterator[MacUser]:
    """A user of a machine without openvpn, who has a folder for programs."""
    with person(clean, within=WITHOUT_OPENVPN) as user:
        openvpn = shutil.which("openvpn", path=clean.lab.mac_environment()["PATH"])
        assert openvpn is not None
        user.adopt(Path(openvpn), "cellar")
        user.adopt(Path("/dev/null"), "bin/nothing")
        yield user


def environment(mac: Mac, user: MacUser) -> dict[str, str]:
    path = f"{user.home}/bin:{mac.lab.mac_environment()['PATH']}"
    return mac.environment({"PATH": path})


def test_setup_offers_a_client_and_goes_on(purged: Mac, user: MacUser) -> None:
    brew = user.home / "bin/brew"
    brew.write_text(BREW)
    brew.chmod(0o755)
    with user.terminal([PROGRAM, "setup"], environment(purged, user)) as terminal:
        terminal.wait_for("openvpn. now", 60)
        assert "openvpn is not installed." in terminal.text()
        assert re.search(r"building the helper image: step \d of \d", terminal.text())
        # All but the connection is made.
        assert sorted(purged.containers()) == ["macnet-relay", "macnet-server"]
        terminal.type("y\n")
        terminal.wait_for(f"password for {NAME}")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0, terminal.text()
        assert "The tunnel is up: " in terminal.text()
        assert terminal.text().count("starting the server (") == 1
    assert purged.http(purged.lab.sample.address("app-web"))


def test_setup_waits_for_a_client_until_ctrl_c_and_the_next_one_goes_on(
    clean: Mac, user: MacUser
) -> None:
    with user.terminal([PROGRAM, "setup"], environment(clean, user)) as terminal:
        terminal.wait_for("waiting for a VPN client", 60)
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert "run the same command again to continue" in terminal.text()
        assert "Traceback" not in terminal.text()
    with user.terminal([PROGRAM, "setup"], environment(clean, user)) as terminal:
        terminal.wait_for("waiting for a VPN client", 60)
        assert "starting the server (" not in terminal.text()
        shutil.copy(user.home / "cellar", user.home / "bin/openvpn")
        (user.home / "bin/openvpn").chmod(0o755)
        terminal.wait_for(f"password for {NAME}")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0, terminal.text()


def test_without_a_terminal_all_but_the_connection_is_made(clean: Mac) -> None:
    done = clean.lab.run([*WITHOUT_OPENVPN, PROGRAM, "setup"], check=False, env=clean.environment())
    assert done.returncode == 7, done.stderr
    assert "error: openvpn is not installed" in done.stderr
    assert "brew install openvpn" in done.stderr
    assert "`macnet setup` goes on" in done.stderr
    made = clean.containers()
    assert sorted(made) == ["macnet-relay", "macnet-server"]
    said = clean.macnet("setup").stderr
    assert "connecting openvpn" in said
    assert "building" not in said
    assert clean.containers() == made
    assert clean.http(clean.lab.sample.address("app-web"))


def test_macnet_alone_leads_from_step_to_step(clean: Mac) -> None:
    first = clean.macnet().stdout
    assert "not set up yet" in first
    assert "next: `macnet setup` makes the tunnel" in first
    before = clean.macnet("check", check=False)
    assert before.returncode == 9
    assert before.stdout.count("FAIL") == 1
    assert "fix: `macnet setup`" in before.stdout
    assert clean.files() == {}
    clean.macnet("setup")
    up = clean.macnet().stdout
    assert "macnet is up" in up
    assert "next: `macnet networks` lists the containers" in up
    clean.macnet("disconnect")
    assert "next: `macnet connect` connects it" in clean.macnet().stdout
    away = clean.macnet(env={"DOCKER_HOST": "unix:///nonexistent.sock"})
    assert "next: " in away.stdout
