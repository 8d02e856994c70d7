"""Steps that change something, and take it back: the tunnel by each client, and the agent."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from netaddr import IPNetwork

from macnet import probe
from macnet.clients.openvpn import find_program
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces, find_installed, installed_profile
from macnet.clients.tunnelblick_script import Tunnelblick
from macnet.errors import ClientMissing
from macnet.models import Route
from macnet.paths import Paths
from macnet.runner import CommandRunner, Completed

from .reach import Target, find_target, reach
from .report import Seen, failed, judge, still_open, verified

#: An import waits for the user's password.
_TIMEOUT_S = 900.0
#: The user confirms in Tunnelblick's dialogs that a configuration goes away.
_UNINSTALL_S = 120.0
#: launchd starts an ended agent again not before its ThrottleInterval of 30 s.
_RESTART_S = 60.0


class Macnet:
    """macnet's own commands, as a user gives them."""

    def __init__(self, runner: CommandRunner) -> None:
        self._runner = runner

    def run(self, *words: str, interactive: bool = False) -> Completed:
        argv = [sys.executable, "-m", "macnet", *words]
        return self._runner.run(argv, check=False, timeout_s=_TIMEOUT_S, interactive=interactive)

    def json(self, *words: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.run(*words, "--json").stdout)
        return value


def round_trip(
    runner: CommandRunner,
    places: TunnelblickPlaces,
    system: str,
    *,
    uninstall_s: float = _UNINSTALL_S,
) -> Iterator[Seen]:
    """Import, connect, ping, replace, disconnect, connect again, take it down, uninstall.

    ``uninstall_s`` is how long the user may take to confirm the last.
    """
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
    said = ""
    try:
        yield from _trip(macnet, runner, places, system)
    finally:
        if not existed:
            said = macnet.run("down", "--purge").stdout
    if not existed:
        gone = macnet.json("status")["status"]["profile"] is None
        yield judge("down --purge", gone, said)
        yield uninstall(runner, places, said, timeout_s=uninstall_s)


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
    yield _has_profile(places, "Tunnelblick's copy has the profile's bytes")
    now = macnet.json("status")["status"]
    where = f"{now['client']['address']} on {now['client']['interface']}"
    yield judge("status finds the interface", now["client"]["interface"] is not None, where)
    yield judge("all routes are set", not now["missing_routes"], str(now["missing_routes"]))
    again = macnet.json("setup")
    yield judge("a second setup changes nothing", again["setup"]["changed"] is False, "")
    target = find_target(again["setup"])
    yield from reach(runner, target, now["client"]["interface"], system)
    yield from _replace(macnet, runner, places, target)
    yield judge("disconnect", macnet.json("disconnect")["disconnect"]["changed"] is True, "")
    if target is not None:
        answers = probe.ping_all([target.address], timeout_s=1, runner=runner)
        yield judge("after it the container is out of reach", not answers[0].ok, "")
    connected = macnet.json("connect")
    yield judge("connect again, without a password", "connect" in connected, json.dumps(connected))


def _has_profile(places: TunnelblickPlaces, what: str) -> Seen:
    profile = Paths.default().tunnel("macnet").profile.read_bytes()
    bundle = find_installed(places, "macnet")
    return judge(what, bundle is not None and installed_profile(bundle) == profile, "")


def _replace(
    macnet: Macnet, runner: CommandRunner, places: TunnelblickPlaces, target: Target | None
) -> Iterator[Seen]:
    """Replace the profile while it is connected: Tunnelblick quits if that goes wrong."""
    what = "a profile is replaced while it is connected"
    states, process = Tunnelblick(runner).listing().states, tunnelblick_pid(runner)
    done = macnet.json("regenerate", "--keys")
    yield judge(what, "error" not in done, json.dumps(done.get("error")))
    if "error" in done:
        return
    yield _has_profile(places, "after it Tunnelblick's copy has the new bytes")
    same = tunnelblick_pid(runner) == process
    yield judge("Tunnelblick has not quit meanwhile", same, "")
    now = Tunnelblick(runner).listing().states
    lost = sorted(name for name, state in states.items() if now.get(name) != state)
    yield judge("and all that was connected still is", not lost, f"{len(lost)} are not")
    if target is not None:
        answers = probe.ping_all([target.address], timeout_s=3, runner=runner)
        yield judge("and the container answers", answers[0].ok, "")


def tunnelblick_pid(runner: CommandRunner) -> str | None:
    """The process of the application, if it runs."""
    listed = runner.run(["ps", "-axww", "-o", "pid=,comm="], check=False).stdout
    found = re.search(r"^\s*(\d+) \S*/Tunnelblick\.app/\S*/Tunnelblick$", listed, re.MULTILINE)
    return found[1] if found else None


def uninstall(
    runner: CommandRunner, places: TunnelblickPlaces, said: str, *, timeout_s: float = _UNINSTALL_S
) -> Seen:
    """Open the bundle that uninstalls, which `down` names; Tunnelblick asks the user."""
    what = "the bundle that uninstalls removes the configuration"
    named = re.search(r"open '([^']+)'", said)
    if named is None:
        return failed(what, f"down names none: {said}")
    done = runner.run(["open", named[1]], check=False)
    if not done.ok:
        return failed(what, done.stderr)
    deadline = time.monotonic() + timeout_s
    while find_installed(places, "macnet") is not None:
        if time.monotonic() > deadline:
            return failed(what, f"it is still there after {timeout_s:g} s")
        time.sleep(0.5)
    return verified(what)


def has_network(routes: Iterable[Route]) -> bool:
    """Whether there is a default route, which is what Tunnelblick waits for."""
    return any(route.destination == IPNetwork("0.0.0.0/0") for route in routes)


def offline(runner: CommandRunner, places: TunnelblickPlaces) -> Iterator[Seen]:
    """Without any network Tunnelblick waits for one for ever, and macnet has to say so."""
    what = "Tunnelblick on a Mac without a network"
    if not places.app.exists() or find_installed(places, "macnet") is None:
        hint = "join a network, run macnet setup --client tunnelblick, and leave it again"
        yield still_open(what, hint)
        return
    macnet = Macnet(runner)
    macnet.json("disconnect")
    done = macnet.json("connect")
    error = done.get("error") or {}
    told = f"{error.get('message')} {error.get('hint')}"
    yield judge(what, "network" in told and "--client openvpn" in told, json.dumps(done))


def openvpn(
    runner: CommandRunner, system: str, *, terminal: Callable[[], bool] = sys.stdin.isatty
) -> Iterator[Seen]:
    """The openvpn of Homebrew, which sudo starts; sudo may ask for the password."""
    title = "setup with openvpn"
    macnet = Macnet(runner)
    try:
        find_program(runner)
    except ClientMissing as error:
        yield still_open(title, f"{error.message}: {error.hint}")
        return
    before = macnet.json("status")
    if "status" not in before or before["status"]["engine"]["error"]:
        yield still_open(title, "no engine answers")
        return
    if before["status"]["profile"] is not None:
        yield still_open(title, "there is a tunnel already: macnet down --purge")
        return
    if not terminal() and sudo_asks(runner):
        yield still_open(title, "sudo wants a password, and can ask in a terminal only")
        return
    try:
        done = macnet.run("setup", "--client", "openvpn", interactive=True)
        yield judge(f"{title}, through sudo", done.ok, f"exit code {done.returncode}")
        if not done.ok:
            return
        now = macnet.json("status")["status"]["client"]
        yield judge("openvpn is connected", now["state"] == "connected", str(now))
        listed = openvpn_processes(runner)
        yield judge("one openvpn of macnet's runs, and ps shows it", listed == 1, f"{listed} run")
        target = find_target(macnet.json("setup")["setup"])
        yield from reach(runner, target, now["interface"], system)
        gone = macnet.json("disconnect")
        yield judge("disconnect, without a password", "error" not in gone, json.dumps(gone))
        listed = openvpn_processes(runner)
        yield judge("after it none runs", listed == 0, f"{listed} run")
    finally:
        said = macnet.run("down", "--purge").stdout
    yield judge("down --purge", macnet.json("status")["status"]["profile"] is None, said)


def sudo_asks(runner: CommandRunner) -> bool:
    """Whether sudo wants a password; on a runner of CI it does not."""
    return not runner.run(["sudo", "-n", "true"], check=False).ok


def openvpn_processes(runner: CommandRunner) -> int:
    """How many processes run openvpn on the socket of the default tunnel; root's show too."""
    socket = str(Paths.default().tunnel("macnet").client_socket)
    listed = runner.run(["ps", "-axww", "-o", "pid=,args="]).stdout.splitlines()
    words = (line.split(maxsplit=1)[-1] for line in listed)
    found = (line for line in words if socket in line)
    return sum(Path(line.split()[0]).name == "openvpn" for line in found)


def agent(runner: CommandRunner) -> Iterator[Seen]:
    """Install it, see it run, kill it and see it run again, remove it."""
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
        if alive:
            yield _killed(macnet, now["pid"])
    finally:
        removed = macnet.json("agent", "uninstall")
    yield judge("agent uninstall", "error" not in removed, json.dumps(removed))


def _killed(macnet: Macnet, pid: int) -> Seen:
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    while (took := time.monotonic() - began) < _RESTART_S:
        now = macnet.json("agent", "status")["agent"]["status"]["pid"]
        if now not in (None, pid) and _alive(now):
            return verified("after kill -9 it runs again", f"{took:.0f} s later")
        time.sleep(1)
    return failed("after kill -9 it runs again", f"not within {_RESTART_S:g} s")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
