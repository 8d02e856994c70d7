"""How results look to a person: each function makes lines and tables of one result."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from netaddr import IPNetwork
from rich.table import Table
from rich.text import Text

from macnet.choices import ClientChoice
from macnet.cli.output import Line
from macnet.donors import list_hints
from macnet.helper import LaneKind
from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.networks import Selected, seen_addresses
from macnet.state import Way, show_domains
from macnet.tunnel import Action, DownResult, PlanReport, RouteChanges, SetupResult, Status, Tunnel

if TYPE_CHECKING:
    from macnet.checks import Report, Result
    from macnet.errors import ClientMissing
    from macnet.tunnel.naming import NamesReport
    from macnet.tunnel.results import NamesSwitch

Shown = list[str | Line | Table]
Lines = list[str | Line]


def setup(done: SetupResult) -> Shown:
    """What `macnet setup` has reached."""
    if done.already_reachable is not None:
        return [
            f"No tunnel is needed: {done.already_reachable}.",
            "Nothing was created; --force makes the tunnel all the same.",
        ]
    shown: Shown = [] if done.changed else ["Nothing had to change."]
    if done.client == "none":
        shown.append(f"The helper runs. Give your VPN client this profile: {done.profile}")
    elif done.verified is not None:
        shown.append(f"The tunnel is up: {done.verified} answers.")
    elif any(item.routed for item in done.networks):
        # Networks without an IPv4 address of a bridge are not tried by setup.
        shown.append("The tunnel is up; `macnet check` tries it.")
    else:
        shown.append("The tunnel is up; there is no network to route yet.")
    table = _network_table([item for item in done.networks if item.routed])
    if table.row_count:
        shown += ["", table]
    shown += _hints(done.networks)
    if done.names is not None:
        shown += ["", *names_switch(done.names)]
    return shown


def _hints(found: Iterable[Selected]) -> Lines:
    """What else is there, and how to reach it."""
    hints = list_hints(item.network for item in found)
    return ["", *map(_sentence, hints)] if hints else []


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def regenerate(done: SetupResult) -> Shown:
    """How the routes changed."""
    shown: Shown = [*_route_lines(done.routes)]
    if not done.routes.changed:
        shown.append("No routes changed.")
    if done.new_profile:
        again = f"give it to your VPN client again: {done.profile}"
        taken = f"{done.client} has the new one."
        shown.append(f"The profile changed; {again if done.client == 'none' else taken}")
    elif done.routes.changed:
        shown.append("The profile stays: the server tells the client what changed.")
    if done.verified is not None:
        shown.append(f"The tunnel is up: {done.verified} answers.")
    return shown


def _route_lines(routes: RouteChanges) -> Iterable[str]:
    yield from (f"- {net}" for net in routes.removed)
    yield from (f"+ {net}" for net in routes.added)


_PLAN_WORDS = {action: action.value for action in Action}


def plan(wanted: PlanReport, tunnel: Tunnel) -> Shown:
    """What setup would do."""
    table = _table("part", "action", "what")
    rows = (
        ("keys", wanted.keys, str(tunnel.paths.pki)),
        ("image", wanted.image, wanted.image_tag),
        ("server", wanted.server, f"container on network {wanted.server_network}"),
        ("", None, f"{wanted.publish}:{wanted.port}, tunnel {wanted.tunnel_subnet}"),
        ("relay", wanted.relay, "container in the engine's own network namespace"),
        ("profile", wanted.profile, str(tunnel.paths.profile)),
    )
    for part, action, what in rows:
        table.add_row(part, _PLAN_WORDS[action] if action is not None else "", what)
    table.add_row("client", "connect" if wanted.connect else "keep", tunnel.client.name)
    for former in wanted.disconnect:
        table.add_row("client", "disconnect", former)
    for joiner in wanted.joiners:
        through = f"{' '.join(map(str, joiner.subnets))} through {joiner.donor}"
        table.add_row("joiner", joiner.action.value, through if joiner.donor else joiner.name)
    for net in wanted.routes.removed:
        table.add_row("route", "remove", str(net))
    for net in wanted.routes.added:
        table.add_row("route", "add", str(net))
    for net in wanted.routes.kept:
        table.add_row("route", "keep", str(net))
    if wanted.names is not None:
        switch = "switch on" if wanted.names.changes else "keep"
        told = show_domains(wanted.names.domain, wanted.names.cluster)
        table.add_row("names", switch, f"{told}, 127.0.0.1:{wanted.names.port}")
    shown: Shown = [table]
    if wanted.names is not None and wanted.names.command is not None:
        shown += ["", f"For names root would run: {wanted.names.command}", ""]
    shown += [Line("warning:", warning) for warning in wanted.warnings]
    shown.append("Nothing was changed." if wanted.changes else "There is nothing to do.")
    return shown


def networks(found: Sequence[Selected], *, every: bool) -> Shown:
    """All networks, the routed ones first; ``every`` also shows every name of each container."""
    routed = [item for item in found if item.routed]
    others = [item for item in found if not item.routed]
    shown: Shown = [_network_table(routed, names=every)] if routed else ["No network is routed."]
    named = [p.names[0] for i in routed for p in i.network.user_endpoints if p.names]
    if named and not every:
        shown += ["", f"Containers have names, such as {named[0]}; --verbose shows them."]
    if others:
        table = _table("not routed", "driver", "why")
        for item in others:
            table.add_row(item.network.name, item.network.driver, item.reason or "")
        shown += ["", table]
    return [*shown, *_hints(found)]


def _network_table(found: Sequence[Selected], *, names: bool = False) -> Table:
    """With ``names`` each container has a line of its own, with its names below it."""
    table = _table("network", "subnet", "containers")
    for item in found:
        containers = [
            f"{endpoint.container} {' '.join(map(str, seen_addresses(item, endpoint)))}"
            + (f" (on {endpoint.node})" if endpoint.node else "")
            + "".join(f"\n  {name}" for name in endpoint.names if names)
            for endpoint in item.network.user_endpoints
        ]
        subnets = "\n".join(
            f"{subnet.cidr} as {subnet.seen}" if subnet.seen else str(subnet.cidr)
            for subnet in item.subnets
        )
        shown = ("\n" if names else ", ").join(containers)
        table.add_row(item.network.name, subnets, shown or _way(item))
    return table


def _way(item: Selected) -> str:
    """Where there are no containers to name: how what is beyond the bridges is reached."""
    further = item.network.further
    if further is None:
        return "-"
    return f"through {further.donor.container}" if further.donor else "through the engine's host"


def status(now: Status, *, verbose: bool) -> Shown:
    """The state of every part, one line each."""
    table = _table("", "", header=False)
    engine = now.engine
    table.add_row("tunnel", Text.assemble(f"{now.name} is ", _state(now), _next_step(now)))
    table.add_row("engine", _engine(now))
    if engine.source:
        table.add_row("", f"chosen by {engine.source}")
    for helper in now.helpers:
        health = f", {helper.health}" if helper.health else ""
        restarts = f", {_many(helper.restarts, 'restart')}" if helper.restarts else ""
        table.add_row(helper.role, f"{helper.name} {helper.state}{health}{restarts}")
    for joiner in now.joiners:
        lane = "" if joiner.attached else ", no lane"
        table.add_row("joiner", f"{joiner.name} {joiner.state}{lane}")
        table.add_row("", f"{' '.join(map(str, joiner.subnets))} through {joiner.donor}")
    if now.lane is LaneKind.PASTA:
        table.add_row("", "TCP goes through pasta, which is slower: see `macnet check`")
    client = now.client
    where = f", {client.address} on {client.interface}" if client.interface else ""
    detail = f" ({client.detail})" if client.detail else ""
    table.add_row("client", f"{_client(now)}{detail}{where}")
    table.add_row("", f"chosen: {'by a setting' if client.reason == 'chosen' else client.reason}")
    if now.port is not None:
        way = now.way or Way()
        table.add_row("port", ", ".join(filter(None, (f"{way.remote}:{now.port}", way.words))))
    if now.tunnel_subnet is not None:
        table.add_row("tunnel subnet", str(now.tunnel_subnet))
    table.add_row("profile", now.profile or "none yet")
    if now.names is not None:
        port = f"127.0.0.1:{now.names.port}"
        table.add_row("names", f"{now.names.shown}, answered on {port} while watch runs")
    if now.certificates_expire is not None:
        days = (now.certificates_expire - datetime.now(UTC)).days
        table.add_row("certificates", f"{now.certificates_expire:%Y-%m-%d} ({_many(days, 'day')})")
    if chosen := _filter(now):
        table.add_row("filter", chosen)
    for net in now.subnets:
        real = next((f" for {one.subnet}" for one in now.remaps if one.seen == net), "")
        table.add_row("route", f"{net}{real}{_missing(net, now)}")
    if verbose:
        for setting in now.settings:
            table.add_row(setting.name, f"{setting.value or '-'} ({setting.source})")
    return [table, *(Line("warning:", warning) for warning in now.warnings)]


def overview(now: Status) -> Shown:
    """The tunnel's state in a few lines, and the next command."""
    table = _table("", "", header=False)
    made = now.profile is not None or any(helper.state != "missing" for helper in now.helpers)
    state = Text.assemble(f"{now.name} is ", _state(now)) if made else Text("not set up yet")
    table.add_row("tunnel", state)
    table.add_row("engine", _engine(now))
    table.add_row("client", _client(now))
    if now.up:
        table.add_row("routes", ", ".join(map(str, now.subnets)) or "none")
        table.add_row("names", f"in {now.names.shown}" if now.names is not None else "off")
    shown: Shown = [table, ""]
    shown += [Line("warning:", warning) for warning in now.warnings]
    return [*shown, Line("next:", _next(now, made=made)), "`macnet --help` lists all commands."]


def _next(now: Status, *, made: bool) -> str:
    if now.engine.error is not None:
        return now.engine.hint or "start the engine"
    if not made:
        return "`macnet setup` makes the tunnel; `macnet check` shows what is missing"
    if now.up:
        return "`macnet networks` lists the containers, `macnet check` tries them"
    return _next_step(now).removeprefix(": ")


def _state(now: Status) -> Text:
    return Text("up", "green") if now.up else Text("down", "bold red")


def _engine(now: Status) -> str:
    return now.engine.error or f"{now.engine.version} at {now.engine.url}"


def _client(now: Status) -> str:
    client = now.client
    if client.version is None and client.name != "none" and client.state != "connected":
        return f"{client.name} is not installed"
    return f"{client.name} {client.version or ''} {client.state}"


def _next_step(now: Status) -> str:
    """What to do about a tunnel that is down."""
    if now.up:
        return ""
    if now.engine.error is not None:
        return ": the engine does not answer"
    if now.profile is None or any(helper.state != "running" for helper in now.helpers):
        return ": `macnet setup` brings it up"
    if "not installed" in _client(now):
        return f": install {now.client.name}, then `macnet setup` goes on"
    if now.client.state != "connected" and now.client.name == ClientChoice.NONE:
        return f": connect your VPN client with {now.profile}"
    if now.client.state != "connected":
        return ": `macnet connect` connects it"
    return ": `macnet check` finds out why"


def client_missing(missing: ClientMissing, tunnel: Tunnel) -> list[str]:
    """What to install, and why, where setup has done all else."""
    mac = tunnel.host.system == "macos"
    why = f"{missing.message}. {'This Mac' if mac else 'This machine'} needs a VPN client"
    shown = [f"{why} for its routes to the containers; all else is ready."]
    if mac and tunnel.settings.client is ClientChoice.AUTO and tunnel.client.name == "openvpn":
        return [
            *shown,
            "  brew install openvpn             the short way: a program that macnet starts",
            "  brew install --cask tunnelblick  or an app with a menu",
        ]
    return [*shown, f"  {missing.hint}"]


def _filter(now: Status) -> str:
    """Which networks are routed, where that is not all of them."""
    values = {setting.name: setting.value for setting in now.settings}
    only, without = values.get("networks", "*"), values.get("exclude", "")
    parts = [f"--network {only}"] if only != "*" else []
    parts += [f"--exclude {without}"] if without else []
    return ", ".join(parts)


def _missing(net: IPNetwork, now: Status) -> str:
    return " not set" if net in now.missing_routes else ""


def names(found: NamesReport) -> Shown:
    """All names, the refused ones last."""
    table = _table("name", "addresses", "network", "why not")
    for row in found.names:
        addresses = " ".join(map(str, row.addresses))
        table.add_row(row.name, addresses, ", ".join(row.networks), row.why or "")
    shown: Shown = [table] if table.row_count else ["No running container has a name."]
    if found.cluster is not None:
        state = "answers for" if found.cluster_reached else "is not reached, and has"
        shown += ["", f"The cluster {found.cluster} {state} {CLUSTER_DOMAIN}."]
    if not found.on:
        shown += ["", "Names are off: `macnet names on` makes this machine ask for them."]
    return shown


def names_switch(done: NamesSwitch) -> Shown:
    """What `macnet names on` and `off` did."""
    if not done.on:
        return ["names are off" if done.changed else "names were off already"]
    already = "" if done.changed else " already"
    domains = show_domains(done.domain, done.cluster)
    return [
        f"names in {domains} are on{already}; 127.0.0.1:{done.port} answers while "
        "`macnet watch` runs",
        "`macnet agent install` starts it now and at each login",
        *done.steps,
    ]


def down(done: DownResult, *, purged: bool) -> Shown:
    """What was removed."""
    shown: Shown = [f"removed {name}" for name in done.containers]
    if done.disconnected:
        shown.insert(0, "disconnected")
    if done.images:
        shown.append(f"removed {_many(done.images, 'image')}")
    if done.files:
        shown.append(f"removed {_many(len(done.files), 'file')}")
    if done.names:
        shown.append("names are off")
    if not shown:
        shown.append("There was nothing to remove.")
    elif not purged:
        shown.append("Keys, profile and helper image are kept; --purge removes them.")
    return [*shown, *done.notes]


_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL", "skip": "skip"}


def check(report: Report, *, every: bool, subjects: bool = False) -> Lines:
    """What is well, then what was not looked at, then each fault with its step, and the totals.

    What is well is counted by group; ``every`` shows each result, and ``subjects`` those about a
    single network, container or port.
    """
    shown: Lines = []
    offers: list[str] = []
    counted: Counter[str] = Counter()
    causes: defaultdict[str, int] = defaultdict(int)
    for result in report.results:
        quiet = result.outcome in ("ok", "skip")
        if result.offer:
            offers.append(_sentence(result.evidence))
        elif quiet and (every or (subjects and result.outcome == "ok" and result.subject)):
            shown.append(_check_line(result))
        elif result.outcome == "ok":
            counted[result.id.partition(".")[0]] += 1
        elif result.outcome == "skip":
            causes[result.cause or ""] += 1
    folded: Lines = [
        Line(_MARKS["ok"], f" {group}: {_many(n, 'check')}") for group, n in counted.items()
    ]
    shown = [*folded, *shown]
    for cause, count in causes.items():
        why = f"because of {cause}" if cause else "nothing to look at"
        shown.append(Line(_MARKS["skip"], f" {_many(count, 'check')}: {why}"))
    bad = [result for result in report.results if result.outcome in ("warn", "fail")]
    bad.sort(key=lambda result: result.outcome == "fail")
    if bad and shown:
        shown.append("")
    for number, result in enumerate(bad):
        shown.append(_check_line(result))
        following = bad[number + 1].fix if number + 1 < len(bad) else None
        if result.fix and result.fix != following:
            shown.append(Line(" " * 6 + "fix:", result.fix))
    total = ", ".join(f"{count} {name}" for name, count in report.counts.items() if count)
    return [*shown, "", total, *offers]


def _check_line(result: Result) -> Line:
    text = f" {result.subject or result.title}: {result.evidence}"
    return Line(_MARKS[result.outcome], text if result.outcome == "ok" else f"{text} [{result.id}]")


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _table(*columns: str, header: bool = True) -> Table:
    table = Table(box=None, show_header=header, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", header_style="bold")
    return table
