"""`macnet --client tunnelblick` in the lab, with the stand-in that starts a real openvpn."""

from __future__ import annotations

import json
import plistlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import steps
from tests.lab import BASE_IMAGE, Lab
from tests.lab.process import Completed
from tests.lab.standin import Behaviour, Standin

pytestmark = pytest.mark.timeout(600)

NETWORK = "tb-changes"


@dataclass(frozen=True)
class Mac(steps.Mac):
    """The Mac side with the stand-in on it."""

    app: Standin

    def macnet(
        self, *words: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        argv = [steps.PROGRAM, *words]
        return self.app.run(argv, check=check, env=self.environment(env), timeout_s=180)

    def setup(self) -> dict[str, Any]:
        done: dict[str, Any] = self.json("setup", "--client", "tunnelblick")["setup"]
        return done

    def imports(self) -> int:
        """Successful and refused imports since the history began."""
        return len(self.app.history("install"))

    @property
    def copy(self) -> Path:
        return self.app.private / "macnet.tblk"

    def openvpn(self) -> bool:
        """Whether an openvpn runs that the stand-in has started."""
        done = self.app.run(["pgrep", "-f", str(self.app.places.shadow)], check=False)
        return done.returncode == 0


@pytest.fixture
def mac(lab: Lab) -> Iterator[Mac]:
    """Nothing set up before and after."""
    with Standin(lab) as app:
        mac = Mac(lab, app)
        mac.forget()
        app.forget_history()
        try:
            yield mac
        finally:
            app.install_app()
            app.behave()
            if mac.macnet("down", check=False).returncode == 0:
                mac.remove_files()


@pytest.fixture
def network(lab: Lab) -> Iterator[None]:
    """A network of 172.83.0.0/24 with a container; the test may replace it."""
    replace_network(lab, "172.83.0.0/24")
    yield
    remove_network(lab)


def replace_network(lab: Lab, subnet: str) -> str:
    remove_network(lab)
    lab.docker("network", "create", "--subnet", subnet, NETWORK)
    lab.docker("run", "-d", "--name", NETWORK, "--network", NETWORK, BASE_IMAGE, "sleep", "600")
    found = json.loads(lab.docker("inspect", NETWORK))[0]
    address: str = found["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
    return address


def remove_network(lab: Lab) -> None:
    lab.docker("rm", "-f", NETWORK)
    if NETWORK in lab.docker("network", "ls", "--format", "{{.Name}}").split():
        lab.docker("network", "rm", NETWORK)


def test_first_setup_second_setup_and_down(mac: Mac) -> None:
    web = mac.lab.sample.address("web")
    assert not mac.pings(web, wait_s=1)
    mac.app.behave(Behaviour(install_s=1.5))  # the user types the password
    done = mac.macnet("setup", "--client", "tunnelblick")
    assert "administrator's password" in done.stderr
    assert mac.pings(web)
    assert mac.imports() == 1
    copied = (mac.copy / "Contents/Resources/config.ovpn").read_bytes()
    assert copied == (mac.root / "macnet.ovpn").read_bytes()
    assert not (mac.root / "tunnelblick").exists()
    now = mac.json("status")["status"]
    assert now["up"]
    assert now["client"]["state"] == "connected"
    assert now["client"]["interface"].startswith("tun")
    assert now["client"]["version"] == "8.0.3"

    mac.app.forget_history()
    again = mac.setup()
    assert again["changed"] is False
    assert {row[0] for row in mac.app.history()} == {"configurations"}

    done = mac.macnet("down")
    assert "Remove it with: open" in done.stdout
    assert not mac.openvpn()
    assert not mac.pings(web, wait_s=1)
    assert mac.copy.exists()
    bundle = Path(done.stdout.partition("open '")[2].partition("'")[0])
    plist = plistlib.loads((bundle / "Contents/Info.plist").read_bytes())
    assert "TBUninstall" in plist

    # It still has the profile: setting up again asks for no password.
    mac.app.forget_history()
    mac.setup()
    assert mac.pings(web)
    assert mac.imports() == 0


@pytest.mark.usefixtures("network")
def test_regenerate_imports_only_when_the_profile_changed(mac: Mac) -> None:
    mac.setup()
    mac.app.forget_history()
    assert mac.json("regenerate")["regenerate"]["changed"] is False
    assert mac.imports() == 0

    address = replace_network(mac.lab, "172.84.0.0/24")
    assert address.startswith("172.84.")
    assert not mac.pings(address, wait_s=1)
    told = mac.json("regenerate")["regenerate"]
    assert (told["changed"], told["new_profile"]) == (True, True)
    # It is disconnected first: Tunnelblick quits when it replaces a connected configuration.
    assert [row[0] for row in mac.app.history("disconnect", "install", "connect")] == [
        "disconnect",
        "install",
        "connect",
    ]
    assert mac.pings(address)
    assert b"172.84.0.0" in (mac.copy / "Contents/Resources/config.ovpn").read_bytes()

    mac.app.forget_history()
    assert mac.json("regenerate")["regenerate"]["changed"] is False
    assert mac.imports() == 0


def test_an_added_network_needs_no_import(mac: Mac) -> None:
    mac.setup()
    mac.app.forget_history()
    try:
        address = replace_network(mac.lab, "172.85.0.0/24")
        assert "The profile stays" in mac.macnet("regenerate").stdout
        assert mac.pings(address)
        assert mac.imports() == 0
    finally:
        remove_network(mac.lab)


@pytest.mark.parametrize(
    ("behaviour", "code", "hint", "imported"),
    [
        (Behaviour(consent=False), "client_denied", "Automation", False),
        (Behaviour(password=False), "client_refused", "password", False),
        (Behaviour(keeps_copy=False), "client_refused", "Diagnostic Info", False),
        (Behaviour(shared=("macnet",)), "client_refused", "VPN Details", False),
        (Behaviour(launches=False), "client_failed", "start it yourself", False),
        (Behaviour(silent=("install",)), "client_busy", "dialog", False),
        (Behaviour(silent=("connect",)), "client_busy", "dialog", True),
        (
            Behaviour(others={"work": "CONNECTED"}, confirms_others=False),
            "client_busy",
            "Tunnelblick's dialog",
            True,
        ),
        (Behaviour(stuck="WARP"), "client_timeout", "log", True),
    ],
)
def test_refusals(mac: Mac, behaviour: Behaviour, code: str, hint: str, imported: bool) -> None:
    if not behaviour.consent:
        # Consent is asked for only where it runs.
        mac.app.run(["osascript", "-e", _script("launch")])
    mac.app.behave(behaviour)
    failed = mac.json("setup", "--client", "tunnelblick", check=False)
    assert (failed["error"]["exit_code"], failed["error"]["code"]) == (7, code)
    assert failed["error"]["message"].startswith("connecting tunnelblick: ")
    assert hint in failed["error"]["hint"]
    assert mac.copy.exists() is imported
    assert not (mac.root / "tunnelblick").exists()
    assert not mac.openvpn()
    touched = {row[1] for row in mac.app.history("connect", "disconnect")}
    assert touched <= {"macnet"}

    mac.app.behave()
    mac.app.forget_history()
    mac.setup()
    assert mac.imports() == (0 if imported else 1)
    assert mac.pings(mac.lab.sample.address("web"))


@pytest.mark.parametrize("version", [None, "3.8.8g"])
def test_with_a_missing_or_old_application_setup_makes_all_but_the_connection(
    mac: Mac, version: str | None
) -> None:
    mac.app.install_app(version) if version else mac.app.remove_app()
    failed = mac.json("setup", "--client", "tunnelblick", check=False)
    assert (failed["error"]["exit_code"], failed["error"]["code"]) == (7, "client_missing")
    assert "macnet-server" in mac.lab.docker("ps", "--format", "{{.Names}}").split()
    assert mac.app.history("install", "connect", "launch") == []
    if not version:
        assert "brew install --cask tunnelblick" in failed["error"]["hint"]
    mac.macnet("down")


def test_beside_another_vpn_that_the_user_keeps(mac: Mac) -> None:
    mac.app.behave(Behaviour(others={"work": "CONNECTED", "home": "EXITING"}))
    done = mac.macnet("setup", "--client", "tunnelblick")
    assert "connected to work too" in done.stderr
    assert mac.pings(mac.lab.sample.address("web"))
    mac.macnet("down")
    assert {row[1] for row in mac.app.history("connect", "disconnect")} == {"macnet"}


def test_a_folder_out_of_which_tunnelblick_takes_nothing(mac: Mac) -> None:
    """Characters in its path are refused, so the bundle is handed over from elsewhere."""
    home = mac.lab.paths.mac_user / "R&D's [1]"
    env = {"MACNET_HOME": str(home)}
    try:
        mac.macnet("setup", "--client", "tunnelblick", env=env)
        assert mac.pings(mac.lab.sample.address("web"))
        assert mac.app.log() == ""
        [[_, bundle, _]] = mac.app.history("install")
        assert not bundle.startswith(str(home)) and not Path(bundle).exists()
        # From there it would not have come in.
        refused = str(shutil.copytree(mac.copy, home / "macnet.tblk"))
        mac.app.run(["osascript", "-e", _script("install"), refused])
        assert "characters that are not allowed" in mac.app.log()
        done = mac.macnet("down", env=env)
        mac.app.run(["open", done.stdout.partition("open '")[2].partition("'")[0]])
        assert not mac.copy.exists()
    finally:
        mac.macnet("down", env=env, check=False)
        shutil.rmtree(home, ignore_errors=True)


def test_after_the_user_quit_or_renamed_it(mac: Mac) -> None:
    mac.setup()
    mac.app.quit()
    assert (
        mac.json("status", check=False)["status"]["client"]["detail"] == "Tunnelblick does not run"
    )
    mac.app.rename("macnet", "docker")
    mac.app.forget_history()
    mac.setup()
    assert mac.imports() == 0
    assert mac.app.history("connect") == [["connect", "docker", "true"]]
    assert mac.pings(mac.lab.sample.address("web"))


def test_purge_leaves_no_file_of_the_tunnel(mac: Mac) -> None:
    mac.setup()
    done = mac.macnet("down", "--purge")
    assert not mac.root.exists()
    bundle = Path(done.stdout.partition("open '")[2].partition("'")[0])
    assert (bundle / "Contents/Info.plist").exists()
    assert b"PRIVATE KEY" not in b"".join(p.read_bytes() for p in bundle.rglob("*") if p.is_file())


def _script(name: str) -> str:
    from macnet.render import template_text

    return template_text(f"client/tunnelblick/{name}.applescript")


def test_the_round_trip_of_the_check_for_a_mac(mac: Mac) -> None:
    """``python -m tests.mac`` runs these steps on a Mac; here they run beside the stand-in."""
    script = (
        "from pathlib import Path\n"
        "from macnet.clients.tunnelblick_bundle import TunnelblickPlaces\n"
        "from macnet.runner import SystemRunner\n"
        "from tests.mac import report, trips\n"
        "places = TunnelblickPlaces.of(Path.home())\n"
        "step = lambda: trips.round_trip(SystemRunner(), places, 'linux', uninstall_s=5)\n"
        "report.run_steps([('trip', step)], print)\n"
    )
    checkout = Path(__file__).parents[2]
    done = mac.app.run(
        [sys.executable, "-c", script],
        env={"MACNET_BASE_IMAGE": BASE_IMAGE, "PYTHONPATH": str(checkout)},
    )
    assert "- VERIFIED ping the container" in done.stdout
    assert "- VERIFIED down --purge" in done.stdout
    assert "- VERIFIED the bundle that uninstalls" in done.stdout
    assert "FAILED" not in done.stdout
    # The second one replaces the profile while it is connected.
    assert mac.imports() == 2
