"""Steps that change something, and take it back: the tunnel by Tunnelblick, and the agent."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from netaddr import IPAddress

from macnet import probe
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces, find_installed, installed_profile
from macnet.paths import Paths
from macnet.routes import parse_route_get
from macnet.runner import CommandRunner, Completed

from .report import Seen, failed, judge, still_open

#: An import waits for the user's password.
_TIMEOUT_S = 900.0


class Macnet:
    """macnet's own commands, as a user gives them."""

    def __init__(self, runner: CommandRunner) -> None:
        self._runner = runner

    def run(self, *words: str) -> Completed:
        argv = [sys.executable, "-m", "macnet", *words]
        return self._runner.run(argv, check=False, timeout_s=_TIMEOUT_S)

    def json(self, *words: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.run(*words, "--json").stdout)
        return value


def round_trip(runner: CommandRunner, places: TunnelblickPlaces, system: str) -> Iterator[Seen]:
    """Import, connect, ping, disconnect, connect again, and take it down."""
    title = "setup with Tunnelblick"
    macnet = Macnet(runner)
    before = macnet.json("status")
    if "status" not in before or before["status"]["engine"]["error"]:
        yield still_open(title, "no engine answers")
        return
    if not places.app.exists():
        yield still_open(title, "Tunnelblick is not installed")
        return
    existed = before["status"]["profile"] is not None
    if existed:
        # The user's own tunnel may use another client, which the options would change for good.
        client = before["status"]["client"]["name"]
        if client != "tunnelblick":
            yield still_open(title, f"there is a tunnel by {client} already: macnet down --purge")
            return
    try:
        yield from _trip(macnet, runner, places, system)
    finally:
        said = "" if existed else macnet.run("down", "--purge").stdout
    if not existed:
        gone = macnet.json("status")["status"]["profile"] is None
        yield judge("down --purge", gone, said)


def _trip(
    macnet: Macnet, runner: CommandRunner, places: TunnelblickPlaces, system: str
) -> Iterator[Seen]:
    began = time.monotonic()
    done = macnet.json("setup", "--client", "tunnelblick")
    if "error" in done:
        yield failed("setup with Tunnelblick", json.dumps(done["error"]))
        return
    yield judge(
        "setup with Tunnelblick", True, f"{time.monotonic() - began:.0f} s with the password"
    )
    profile = Paths.default().tunnel("macnet").profile.read_bytes()
    bundle = find_installed(places, "macnet")
    same = bundle is not None and installed_profile(bundle) == profile
    yield judge("Tunnelblick's copy has the profile's bytes", same, "")
    now = macnet.json("status")["status"]
    where = f"{now['client']['address']} on {now['client']['interface']}"
    yield judge("status finds the interface", now["client"]["interface"] is not None, where)
    yield judge("all routes are set", not now["missing_routes"], str(now["missing_routes"]))
    again = macnet.json("setup")
    yield judge("a second setup changes nothing", again["setup"]["changed"] is False, "")
    address = _container(again["setup"])
    if address is None:
        yield still_open("ping a container", "none runs")
    else:
        yield from _reach(runner, address, now["client"]["interface"], system)
    yield judge("disconnect", macnet.json("disconnect")["disconnect"]["changed"] is True, "")
    if address is not None:
        answers = probe.ping_all([address], timeout_s=1, runner=runner)
        yield judge("after it the container is out of reach", not answers[0].ok, "")
    connected = macnet.json("connect")
    yield judge("connect again, without a password", "connect" in connected, json.dumps(connected))


def _reach(
    runner: CommandRunner, address: IPAddress, interface: str | None, system: str
) -> Iterator[Seen]:
    answers = probe.ping_all([address], timeout_s=3, runner=runner)
    yield judge(f"ping the container {address}", answers[0].ok, "")
    if system == "macos":
        said = runner.run(["route", "-n", "get", str(address)], check=False).stdout
        route = parse_route_get(said)
        good = route is not None and route.interface == interface
        yield judge("route -n get shows the tunnel's interface", good, said)


def _container(setup: dict[str, Any]) -> IPAddress | None:
    for item in setup["networks"]:
        if item["reason"] is None:
            for endpoint in item["network"]["endpoints"]:
                for text in endpoint["addresses"]:
                    if ":" not in text and not endpoint["container"].startswith("macnet-"):
                        return IPAddress(text)
    return None


def agent(runner: CommandRunner) -> Iterator[Seen]:
    """Install it, see it run, remove it."""
    macnet = Macnet(runner)
    if macnet.json("agent", "status")["agent"]["status"]["installed"]:
        yield still_open("the agent", "it is installed already, and stays as it is")
        return
    try:
        done = macnet.json("agent", "install")
        if "error" in done:
            yield failed("agent install", json.dumps(done["error"]))
            return
        time.sleep(5)
        now = macnet.json("agent", "status")["agent"]["status"]
        alive = now["pid"] is not None and _alive(now["pid"])
        yield judge("the agent runs after 5 s", alive, str(now))
        again = macnet.json("agent", "install")["agent"]["changed"]
        yield judge("a second install changes nothing", again is False, "")
    finally:
        removed = macnet.json("agent", "uninstall")
    yield judge("agent uninstall", "error" not in removed, json.dumps(removed))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
