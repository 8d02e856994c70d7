"""Looks that change nothing: scripts, property lists, the parsers, Tunnelblick's list."""

from __future__ import annotations

import itertools
import plistlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from netaddr import IPAddress, IPNetwork

from macnet.agent import plan_job
from macnet.agent.launchd import launchd_plist
from macnet.clients.tunnelblick_bundle import (
    TunnelblickPlaces,
    app_version,
    info_plist,
    uninstall_plist,
)
from macnet.clients.tunnelblick_script import KNOWN_STATES, Tunnelblick
from macnet.host import list_interfaces
from macnet.models import Route
from macnet.render import template_names, template_text
from macnet.routes import compare_routes, list_routes, parse_netstat
from macnet.runner import CommandRunner

from .reach import interface_of
from .report import Seen, judge, still_open, verified

_ROUTES_ASKED = 25


def machine(runner: CommandRunner, places: TunnelblickPlaces) -> Iterator[Seen]:
    """What it was seen on."""
    words = [["sw_vers", "-productVersion"], ["uname", "-m"]]
    system = " ".join(runner.run(argv).stdout.strip() for argv in words)
    yield verified("macOS", system)
    version = app_version(places)
    what = "Tunnelblick's version can be read"
    if places.app.exists():
        yield judge(what, version is not None, version or "no CFBundleShortVersionString")
    else:
        yield still_open(what, f"{places.app} is not there")


def scripts(runner: CommandRunner, places: TunnelblickPlaces) -> Iterator[Seen]:
    """Compile each script; that needs Tunnelblick's dictionary, and runs nothing."""
    for name in template_names("client/tunnelblick"):
        what = f"osacompile {Path(name).name}"
        if not places.app.exists():
            yield still_open(what, "Tunnelblick, whose words it uses, is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            argv = ["osacompile", "-o", f"{folder}/out.scpt", "-e", template_text(name)]
            done = runner.run(argv, check=False)
        yield judge(what, done.ok, done.stderr)


def property_lists(runner: CommandRunner) -> Iterator[Seen]:
    """Let Apple's own parser read what macnet writes."""
    job = plan_job(context=None, log=Path("/tmp/a b/watch.log"), environ={}, runner=runner)
    plists = {
        "Info.plist": info_plist("macnet"),
        "Info.plist that uninstalls": uninstall_plist("macnet"),
        "LaunchAgent": launchd_plist(job),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, plist in plists.items():
            path = Path(folder) / "some.plist"
            path.write_bytes(plistlib.dumps(plist))
            done = runner.run(["plutil", "-lint", str(path)], check=False)
            yield judge(f"plutil -lint {name}", done.ok, done.stdout + done.stderr)


def routing_table(runner: CommandRunner) -> Iterator[Seen]:
    """Parse the live tables, and ask the kernel for what they say."""
    for family in ("inet", "inet6"):
        text = runner.run(["netstat", "-rn", "-f", family]).stdout
        # The table follows a line that begins with its first column's name.
        lines = text.splitlines()
        start = next((i for i, row in enumerate(lines) if row.startswith("Destination")), None)
        rows = [row for row in lines[start + 1 :] if row.strip()] if start is not None else []
        parsed = parse_netstat(text)
        good = 0 < len(parsed) <= len(rows)
        yield judge(f"netstat -rn -f {family}", good, f"{len(parsed)} of {len(rows)} rows")
        left_out = len(rows) - len(parsed)
        if left_out > 0:
            yield still_open(f"{left_out} rows of {family} that were left out", "look at them")
    routes = list_routes(runner, "macos")
    asked, wrong = 0, []
    for route in itertools.islice(_plain(routes), _ROUTES_ASKED):
        address = IPAddress(route.destination.first + (route.destination.size > 2))
        asked += 1
        done = runner.run(["route", "-n", "get", str(address)], check=False)
        answer = interface_of(done.stdout)
        if answer is None or not compare_routes([IPNetwork(address)], routes, answer).present:
            wrong.append(f"{address}: route says {answer}, netstat another interface")
    what = "route -n get agrees with netstat"
    yield judge(what, bool(asked) and not wrong, "; ".join(wrong) or f"{asked} asked")


def _plain(routes: tuple[Route, ...]) -> Iterator[Route]:
    """Those that ordinary sockets use, and that are no multicast."""
    return (
        route
        for route in routes
        if not route.scoped
        and route.destination.version == 4
        and route.destination.prefixlen
        and not route.destination.ip.is_multicast()
        and str(route.destination.broadcast or "") != "255.255.255.255"
    )


def interfaces() -> Iterator[Seen]:
    """The interfaces and their addresses."""
    found = list_interfaces()
    loopback = next((i for i in found if i.name == "lo0"), None)
    has_it = loopback is not None and any(str(n.ip) == "127.0.0.1" for n in loopback.addresses)
    yield judge("lo0 has 127.0.0.1", has_it, ", ".join(i.name for i in found))


def tunnelblick_list(runner: CommandRunner, places: TunnelblickPlaces) -> Iterator[Seen]:
    """Ask Tunnelblick for its configurations; names are not shown."""
    if not places.app.exists():
        yield still_open("Tunnelblick's list of configurations", "it is not installed")
        return
    listing = Tunnelblick(runner).listing()
    if not listing.running:
        yield verified("a Tunnelblick that does not run is not started by the question")
        return
    unknown = sorted(set(listing.states.values()) - KNOWN_STATES)
    evidence = f"{len(listing.states)} configurations" + (
        f", unknown states {unknown}" if unknown else ""
    )
    yield judge("Tunnelblick's list of configurations", not unknown, evidence)
