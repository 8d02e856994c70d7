"""How results look to a person: each function makes lines and tables of one result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from netaddr import IPNetwork
from rich.table import Table

from macnet.networks import Selected, seen_addresses
from macnet.tunnel import Action, DownResult, Plan, RouteChanges, SetupResult, Status, Tunnel

if TYPE_CHECKING:
    from macnet.checks import Report, Result

Shown = list[str | Table]


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
    else:
        shown.append("The tunnel is up; there is no network to route yet.")
    table = _network_table([item for item in done.networks if item.routed])
    return [*shown, "", table] if table.row_count else shown


def regenerate(done: SetupResult) -> Shown:
    """How the routes changed."""
    shown: Shown = [*_route_lines(done.routes)]
    if not done.routes.changed:
        shown.append("The routes are as they were." if not done.changed else "The routes stay.")
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


_PLAN_WORDS = {Action.KEEP: "keep", Action.CREATE: "create", Action.REPLACE: "replace"}


def plan(wanted: Plan, tunnel: Tunnel) -> Shown:
    """What setup would do."""
    table = _table("part", "action", "what")
    rows = (
        ("keys", wanted.keys, str(tunnel.paths.pki)),
        ("image", wanted.image, wanted.image_tag),
        ("server", wanted.server, f"container on network {wanted.server_network}"),
        ("", None, f"127.0.0.1:{wanted.port}, tunnel {wanted.tunnel_subnet}"),
        ("relay", wanted.relay, "container in the engine's own network namespace"),
        ("profile", wanted.profile, str(tunnel.paths.profile)),
    )
    for part, action, what in rows:
        table.add_row(part, _PLAN_WORDS[action] if action is not None else "", what)
    table.add_row("client", "connect" if wanted.connect else "keep", tunnel.client.name)
    for net in wanted.routes.removed:
        table.add_row("route", "remove", str(net))
    for net in wanted.routes.added:
        table.add_row("route", "add", str(net))
    for net in wanted.routes.kept:
        table.add_row("route", "keep", str(net))
    shown: Shown = [table]
    shown += [f"warning: {warning}" for warning in wanted.warnings]
    shown.append("Nothing was changed." if wanted.changes else "There is nothing to do.")
    return shown


def networks(found: Sequence[Selected]) -> Shown:
    """All networks, the routed ones first."""
    routed = [item for item in found if item.routed]
    others = [item for item in found if not item.routed]
    shown: Shown = [_network_table(routed)] if routed else ["No network is routed."]
    if others:
        table = _table("not routed", "driver", "why")
        for item in others:
            table.add_row(item.network.name, item.network.driver, item.reason or "")
        shown += ["", table]
    return shown


def _network_table(found: Sequence[Selected]) -> Table:
    table = _table("network", "subnet", "containers")
    for item in found:
        names = ", ".join(
            f"{endpoint.container} {' '.join(map(str, seen_addresses(item, endpoint)))}"
            for endpoint in item.network.endpoints
        )
        subnets = "\n".join(
            f"{subnet.cidr} as {subnet.seen}" if subnet.seen else str(subnet.cidr)
            for subnet in item.subnets
        )
        table.add_row(item.network.name, subnets, names or "-")
    return table


def status(now: Status, *, verbose: bool) -> Shown:
    """The state of every part, one line each."""
    table = _table("", "", header=False)
    engine = now.engine
    table.add_row("tunnel", f"{now.name} is {'up' if now.up else 'down'}")
    table.add_row("engine", engine.error or f"{engine.version} at {engine.url}")
    if engine.source:
        table.add_row("", f"chosen by {engine.source}")
    for helper in now.helpers:
        health = f", {helper.health}" if helper.health else ""
        restarts = f", {helper.restarts} restarts" if helper.restarts else ""
        table.add_row(helper.role, f"{helper.name} {helper.state}{health}{restarts}")
    client = now.client
    where = f", {client.address} on {client.interface}" if client.interface else ""
    detail = f" ({client.detail})" if client.detail else ""
    table.add_row("client", f"{client.name} {client.version or ''} {client.state}{detail}{where}")
    table.add_row("", f"chosen: {client.reason}")
    if now.port is not None:
        table.add_row("port", f"127.0.0.1:{now.port}")
    if now.tunnel_subnet is not None:
        table.add_row("addresses", str(now.tunnel_subnet))
    table.add_row("profile", now.profile or "none yet")
    if now.certificates_expire is not None:
        days = (now.certificates_expire - datetime.now(UTC)).days
        table.add_row("certificates", f"{now.certificates_expire:%Y-%m-%d} ({days} days)")
    for net in now.subnets:
        real = next((f" for {one.subnet}" for one in now.remaps if one.seen == net), "")
        table.add_row("route", f"{net}{real}{_missing(net, now)}")
    if verbose:
        for setting in now.settings:
            table.add_row(setting.name, f"{setting.value or '-'} ({setting.source})")
    return [table, *(f"warning: {warning}" for warning in now.warnings)]


def _missing(net: IPNetwork, now: Status) -> str:
    return " not set" if net in now.missing_routes else ""


def down(done: DownResult, *, purged: bool) -> Shown:
    """What was removed."""
    shown: Shown = [f"removed {name}" for name in done.containers]
    if done.disconnected:
        shown.insert(0, "disconnected")
    if done.images:
        shown.append(f"removed {done.images} image{'s' if done.images > 1 else ''}")
    if done.files:
        shown.append(f"removed {len(done.files)} file{'s' if len(done.files) > 1 else ''}")
    if not shown:
        shown.append("There was nothing to remove.")
    elif not purged:
        shown.append("Keys, profile and helper image are kept; --purge removes them.")
    return [*shown, *done.notes]


_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL", "skip": "skip"}


def check_result(result: Result, *, every: bool) -> str | None:
    """One line of a check as it ends; None for what only counts.

    Skips, and what is well with a single container or network, are shown with ``every``.
    """
    counts = result.outcome == "skip" or (result.outcome == "ok" and result.subject is not None)
    if counts and not every:
        return None
    what = result.subject or result.title
    line = f"{_MARKS[result.outcome]}  {what}: {result.evidence}"
    return line if result.outcome == "ok" else f"{line} [{result.id}]"


def check_summary(report: Report, *, every: bool) -> Shown:
    """What was only counted, what to do about each failure, and the totals."""
    shown: Shown = []
    if not every:
        fine = Counter(r.title for r in report.results if r.outcome == "ok" and r.subject)
        shown += [f"{_MARKS['ok']}  {title}: {count} of them" for title, count in fine.items()]
    bad = [r for r in report.results if r.fix and r.outcome in ("fail", "warn")]
    if bad:
        shown.append("")
        shown += [f"fix: {fix}" for fix in dict.fromkeys(r.fix for r in bad) if fix]
    shown.append("")
    shown.append(", ".join(f"{count} {name}" for name, count in report.counts.items() if count))
    return shown


def _table(*columns: str, header: bool = True) -> Table:
    table = Table(box=None, show_header=header, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", header_style="bold")
    return table
