"""Tunnelblick as its source has it: it quits, refuses and waits where one would not expect it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.steps import wait_until
from tests.e2e.test_tunnelblick import Mac
from tests.lab import Lab
from tests.lab.standin import Behaviour, Standin

OTHERS = {"work": "CONNECTED"}


@pytest.fixture
def connected(lab: Lab) -> Iterator[Mac]:
    """A tunnel by Tunnelblick, beside another VPN of the user's."""
    with Standin(lab) as app:
        mac = Mac(lab, app)
        mac.forget()
        app.behave(Behaviour(others=OTHERS))
        mac.macnet("setup", "--client", "tunnelblick")
        app.forget_history()
        try:
            yield mac
        finally:
            app.behave()
            if mac.macnet("down", check=False).returncode == 0:
                mac.remove_files()


def states(mac: Mac) -> str:
    """What Tunnelblick says of all configurations."""
    from macnet.render import template_text

    script = template_text("client/tunnelblick/configurations.applescript")
    return mac.app.run(["osascript", "-e", script]).stdout


@pytest.mark.parametrize(
    ("words", "fixed"),
    [
        (("regenerate", "--keys"), False),
        (("setup", "--tun-mtu", "1500"), False),
        (("setup", "--tun-mtu", "1500"), True),
    ],
    ids=["keys", "mtu", "mtu, fixed"],
)
def test_a_new_profile_costs_no_vpn(connected: Mac, words: tuple[str, ...], fixed: bool) -> None:
    connected.app.behave(Behaviour(others=OTHERS, replaces_connected=fixed))
    connected.macnet(*words)
    assert "CONNECTED\twork" in states(connected)
    assert connected.imports() == 1
    copied = (connected.copy / "Contents/Resources/config.ovpn").read_bytes()
    assert copied == (connected.root / "macnet.ovpn").read_bytes()
    assert connected.http(connected.lab.sample.address("app-web"))


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (Behaviour(others=OTHERS, password=False), "client_refused"),
        (Behaviour(others=OTHERS, shared=("macnet",)), "client_refused"),
    ],
    ids=["cancelled", "refused"],
)
def test_a_refused_import_leaves_the_old_profile_connected(
    connected: Mac, behaviour: Behaviour, code: str
) -> None:
    before = (connected.copy / "Contents/Resources/config.ovpn").read_bytes()
    connected.app.behave(behaviour)
    failed = connected.json("setup", "--tun-mtu", "1500", check=False)
    assert failed["error"]["code"] == code
    assert (connected.copy / "Contents/Resources/config.ovpn").read_bytes() == before
    wait_until(lambda: "CONNECTED\tmacnet" in states(connected), 20, "the old connection")
    assert "CONNECTED\twork" in states(connected)


def test_what_down_prints_removes_the_configuration(connected: Mac) -> None:
    done = connected.macnet("down", "--purge")
    [bundle] = re.findall(r"open '([^']+)'", done.stdout)
    connected.app.run(["open", bundle])
    assert connected.app.log() == ""
    assert not connected.copy.exists()
    held = b"".join(path.read_bytes() for path in Path(bundle).rglob("*") if path.is_file())
    assert b"PRIVATE KEY" not in held


def test_a_mac_without_a_network_is_named(connected: Mac) -> None:
    connected.macnet("disconnect")
    connected.app.behave(Behaviour(others=OTHERS, online=False))
    failed = connected.json("connect", check=False)["error"]
    assert failed["exit_code"] == 7
    told = f"{failed['message']} {failed['hint']}"
    assert "no network" in told
    assert "--client openvpn" in told
    # It does not go on waiting behind the user's back.
    assert "EXITING\tmacnet" in states(connected)
    connected.app.behave(Behaviour(others=OTHERS))
    connected.macnet("connect")
    assert connected.http(connected.lab.sample.address("app-web"))
