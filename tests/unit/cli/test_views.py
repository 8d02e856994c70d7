"""How results read: the words that matter are there, and a terminal of 80 columns holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork
from rich.table import Table

from macnet.checks import Report, Result
from macnet.checks.base import Outcome
from macnet.choices import ClientChoice
from macnet.cli import views
from macnet.cli.output import Line, Output
from macnet.errors import ClientMissing
from macnet.helper import LaneKind
from macnet.models import Endpoint, Network, Subnet
from macnet.networks import Selected
from macnet.settings import Settings
from macnet.state import NamesChoice
from macnet.tunnel import (
    ClientReport,
    DownResult,
    EngineReport,
    HelperReport,
    RemapReport,
    RouteChanges,
    Setting,
    SetupResult,
    Status,
)
from tests.unit.tunnel.world import World

APP, SIX = IPNetwork("172.82.0.0/24"), IPNetwork("fd00:82::/64")


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Reader:
    return Reader(capsys)


class Reader:
    """Gives what a person would read, line by line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, shown: Sequence[str | Line | Table]) -> list[str]:
        Output().result("any", None, shown)
        lines = [line.rstrip() for line in self._capsys.readouterr().out.splitlines()]
        assert max(map(len, lines), default=0) <= 80
        return lines


def endpoint(name: str, network: str, *addresses: str) -> Endpoint:
    return Endpoint(name, f"id-{name}", network, tuple(map(IPAddress, addresses)))


def selected(
    name: str, *subnets: Subnet, endpoints: Sequence[Endpoint] = (), reason: str | None = None
) -> Selected:
    network = Network(
        f"id-{name}",
        name,
        "bridge",
        "local",
        internal=False,
        subnets=subnets,
        endpoints=(*endpoints,),
    )
    return Selected(network, () if reason else subnets, reason)


REDIS = endpoint("redis", "app", "172.82.0.100")
NETWORKS = (
    selected("app", Subnet(APP), endpoints=[REDIS]),
    selected("six", Subnet(SIX), Subnet(IPNetwork("172.82.6.0/24"))),
)
SETUP = SetupResult(
    changed=True,
    port=13194,
    tunnel_subnet=IPNetwork("192.168.255.0/24"),
    client="tunnelblick",
    client_reason="it is installed",
    profile="/home/me/macnet.ovpn",
    networks=NETWORKS,
    routes=RouteChanges((APP,), (), (SIX,)),
    verified="172.17.0.1",
    warnings=(),
)


def test_setup(read: Reader) -> None:
    assert read(views.setup(SETUP)) == [
        "The tunnel is up: 172.17.0.1 answers.",
        "",
        "network  subnet         containers",
        "app      172.82.0.0/24  redis 172.82.0.100",
        "six      fd00:82::/64   -",
        "         172.82.6.0/24",
    ]


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"changed": False}, "Nothing had to change."),
        ({"verified": None}, "The tunnel is up; there is no network to route yet."),
        (
            {"verified": None, "networks": NETWORKS[1:]},
            "The tunnel is up; `macnet check` tries it.",
        ),
        ({"client": "none"}, "The helper runs. Give your VPN client this profile: "),
        ({"already_reachable": "172.17.0.2 answers"}, "No tunnel is needed: 172.17.0.2 answers."),
    ],
)
def test_other_ends_of_setup(read: Reader, changes: dict[str, object], first: str) -> None:
    done = replace(SETUP, **{"networks": (), **changes})  # type: ignore[arg-type]
    assert read(views.setup(done))[0].startswith(first)


def test_regenerate(read: Reader) -> None:
    done = replace(SETUP, routes=RouteChanges((APP,), (SIX,), ()))
    assert read(views.regenerate(done))[:3] == [
        f"- {SIX}",
        f"+ {APP}",
        "The profile stays: the server tells the client what changed.",
    ]
    new = replace(done, new_profile=True)
    assert "The profile changed; tunnelblick has the new one." in read(views.regenerate(new))
    own = read(views.regenerate(replace(new, client="none")))
    assert f"The profile changed; give it to your VPN client again: {done.profile}" in own
    same = replace(SETUP, routes=RouteChanges((), (), (APP,)), verified=None)
    assert read(views.regenerate(same)) == ["No routes changed."]
    assert read(views.regenerate(replace(same, changed=False))) == ["No routes changed."]


def test_networks(read: Reader) -> None:
    why = selected("docs", Subnet(APP), reason=f"{APP} overlaps the network of en0")
    remapped = selected("far", Subnet(APP, seen=IPNetwork("10.192.0.0/24")), endpoints=[REDIS])
    assert read(views.networks([why, remapped], every=False)) == [
        "network  subnet                          containers",
        "far      172.82.0.0/24 as 10.192.0.0/24  redis 10.192.0.100",
        "",
        "not routed  driver  why",
        "docs        bridge  172.82.0.0/24 overlaps the network of en0",
    ]
    assert read(views.networks([why], every=False))[0] == "No network is routed."


def test_networks_with_names(read: Reader) -> None:
    named = replace(REDIS, names=("redis.docker.test", "db.app.docker.test"))
    found = [selected("app", Subnet(APP), endpoints=[named, replace(named, container="two")])]
    assert read(views.networks(found, every=False))[1:] == [
        "app      172.82.0.0/24  redis 172.82.0.100, two 172.82.0.100",
        "",
        "Containers have names, such as redis.docker.test; --verbose shows them.",
    ]
    assert read(views.networks(found, every=True))[1:] == [
        "app      172.82.0.0/24  redis 172.82.0.100",
        *[" " * 26 + name for name in named.names],
        " " * 24 + "two 172.82.0.100",
        *[" " * 26 + name for name in named.names],
    ]


STATUS = Status(
    name="macnet",
    up=False,
    engine=EngineReport("unix:///var/run/docker.sock", "DOCKER_HOST", "28.5.2", None),
    helpers=(
        HelperReport("server", "macnet-server", "running", "healthy", 0),
        HelperReport("relay", "macnet-relay", "missing", None, 3),
    ),
    client=ClientReport(
        "openvpn",
        "it is installed",
        "2.6.14",
        "connected",
        "CONNECTED",
        IPAddress("192.168.255.2"),
        "utun4",
    ),
    port=13194,
    tunnel_subnet=IPNetwork("192.168.255.0/24"),
    profile="/home/me/macnet.ovpn",
    subnets=(APP, SIX),
    remaps=(RemapReport(IPNetwork("10.9.0.0/24"), APP),),
    missing_routes=(SIX,),
    certificates_expire=datetime.now(UTC) + timedelta(days=40, hours=12),
    warnings=("careful",),
    settings=(Setting("port", "", "default"), Setting("networks", "app*", "MACNET_NETWORKS")),
)


@pytest.mark.parametrize("lane", [LaneKind.KERNEL, LaneKind.PASTA, None])
def test_a_kernel_without_the_lane_is_named(read: Reader, lane: LaneKind | None) -> None:
    shown = " ".join(read(views.status(replace(STATUS, lane=lane), verbose=False)))
    slower = "TCP goes through pasta, which is slower: see `macnet check`"
    assert (slower in " ".join(shown.split())) is (lane is LaneKind.PASTA)


def test_status(read: Reader) -> None:
    lines = read(views.status(STATUS, verbose=False))
    words = [" ".join(line.split()) for line in lines]
    assert words[:9] == [
        "tunnel macnet is down: `macnet setup` brings it up",
        "engine 28.5.2 at unix:///var/run/docker.sock",
        "chosen by DOCKER_HOST",
        "server macnet-server running, healthy",
        "relay macnet-relay missing, 3 restarts",
        "client openvpn 2.6.14 connected (CONNECTED), 192.168.255.2 on utun4",
        "chosen: it is installed",
        "port 127.0.0.1:13194",
        "tunnel subnet 192.168.255.0/24",
    ]
    assert "(40 days)" in words[10]
    routes = [f"route {APP} for 10.9.0.0/24", f"route {SIX} not set"]
    assert words[11:] == ["filter --network app*", *routes, "warning: careful"]


def test_status_tells_the_next_step(read: Reader) -> None:
    def first(**changes: object) -> str:
        now = replace(STATUS, **changes)  # type: ignore[arg-type]
        return " ".join(read(views.status(now, verbose=False))[0].split())

    running = tuple(replace(helper, state="running") for helper in STATUS.helpers)
    apart = replace(STATUS.client, state="disconnected", reason="chosen")
    assert first(up=True) == "tunnel macnet is up"
    assert first(helpers=running) == "tunnel macnet is down: `macnet check` finds out why"
    assert first(helpers=running, client=apart).endswith("down: `macnet connect` connects it")
    away = EngineReport("", "", None, "no Docker engine answers")
    assert first(engine=away) == "tunnel macnet is down: the engine does not answer"
    shown = read(views.status(replace(STATUS, client=apart), verbose=False))
    assert any(line.strip() == "chosen: by a setting" for line in shown)

    own = replace(STATUS.client, name="none", version=None, state="unknown")
    told = "tunnel macnet is down: connect your VPN client with /home/me/macnet.ovpn"
    assert first(helpers=running, client=own) == told

    bare = replace(STATUS.client, version=None, state="disconnected")
    assert "down: install openvpn, then `macnet setup` goes on" in first(
        helpers=running, client=bare
    )


def test_the_overview_leads_to_the_next_command(read: Reader) -> None:
    def lines(**changes: object) -> list[str]:
        now = replace(STATUS, warnings=(), **changes)  # type: ignore[arg-type]
        return [" ".join(line.split()) for line in read(views.overview(now))]

    running = tuple(replace(helper, state="running") for helper in STATUS.helpers)
    missing = tuple(replace(helper, state="missing") for helper in STATUS.helpers)
    apart = replace(STATUS.client, state="disconnected")
    assert lines(up=True, helpers=running) == [
        "tunnel macnet is up",
        "engine 28.5.2 at unix:///var/run/docker.sock",
        "client openvpn 2.6.14 connected",
        f"routes {APP}, {SIX}",
        "names off",
        "",
        "next: `macnet networks` lists the containers, `macnet check` tries them",
        "`macnet --help` lists all commands.",
    ]
    assert "names in docker.test" in lines(up=True, names=NamesChoice("docker.test", 13153))
    fresh = lines(helpers=missing, profile=None, client=replace(apart, version=None))
    assert fresh[0] == "tunnel not set up yet"
    assert fresh[2] == "client openvpn is not installed"
    assert fresh[4].startswith("next: `macnet setup` makes the tunnel; `macnet check` shows")
    assert "next: `macnet setup` brings it up" in lines()
    assert "next: `macnet connect` connects it" in lines(helpers=running, client=apart)
    away = EngineReport("", "", None, "no Docker engine answers", "start Colima")
    assert lines(engine=away, helpers=())[-2:] == ["next: start Colima", fresh[-1]]
    assert "warning: careful" in read(views.overview(STATUS))


@pytest.mark.parametrize(
    ("system", "client", "expected"),
    [
        ("macos", ClientChoice.AUTO, ["brew install openvpn", "brew install --cask tunnelblick"]),
        ("macos", ClientChoice.OPENVPN, ["use your package manager"]),
        ("linux", ClientChoice.AUTO, ["use your package manager"]),
    ],
)
def test_a_missing_client_is_told_in_three_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    client: ClientChoice,
    expected: list[str],
) -> None:
    world = World(tmp_path, monkeypatch)
    world.system = system
    missing = ClientMissing("openvpn is not installed", hint="use your package manager")
    first, *ways = views.client_missing(missing, world.tunnel(Settings(client=client)))
    where = "This Mac" if system == "macos" else "This machine"
    assert first == (
        f"openvpn is not installed. {where} needs a VPN client for its routes to the containers; "
        "all else is ready."
    )
    assert [way.strip().partition("  ")[0] for way in ways] == expected


def test_verbose_status_tells_where_settings_come_from(read: Reader) -> None:
    words = [" ".join(line.split()) for line in read(views.status(STATUS, verbose=True))]
    assert "port - (default)" in words
    assert "networks app* (MACNET_NETWORKS)" in words


def test_status_while_the_engine_is_away(read: Reader) -> None:
    away = replace(
        STATUS,
        engine=EngineReport("", "", None, "no Docker engine answers"),
        helpers=(),
        port=None,
        tunnel_subnet=None,
        profile=None,
        certificates_expire=None,
    )
    words = [" ".join(line.split()) for line in read(views.status(away, verbose=False))]
    assert words[1] == "engine no Docker engine answers"
    assert "profile none yet" in words
    assert not any(line.startswith(("port", "tunnel subnet", "certificates")) for line in words)


def test_down(read: Reader) -> None:
    done = DownResult(
        disconnected=True,
        containers=("macnet-relay", "macnet-server"),
        images=1,
        files=("a", "b"),
        notes=("remove it in the app",),
    )
    assert read(views.down(done, purged=True)) == [
        "disconnected",
        "removed macnet-relay",
        "removed macnet-server",
        "removed 1 image",
        "removed 2 files",
        "remove it in the app",
    ]
    kept = replace(done, images=0, files=(), notes=())
    assert "--purge" in read(views.down(kept, purged=False))[-1]
    nothing = DownResult(disconnected=False, containers=(), images=0, files=())
    assert read(views.down(nothing, purged=False)) == ["There was nothing to remove."]


RESULTS = (
    Result("engine", "the engine answers", Outcome.OK, "28.5.2"),
    Result("ping", "containers answer", Outcome.OK, "0.8 ms", subject="redis"),
    Result("ping", "containers answer", Outcome.OK, "0.9 ms", subject="web"),
    Result("ping", "containers answer", Outcome.FAIL, "no answer", "look at it", subject="old"),
    Result("ping", "containers answer", Outcome.FAIL, "no answer", "look at it", subject="older"),
    Result("tcp", "ports", Outcome.SKIP, "not tried", cause="ping"),
)


def test_checks_fold_what_is_well_and_end_with_the_faults(read: Reader) -> None:
    assert read(views.check(Report(RESULTS), every=False)) == [
        "ok    engine: 1 check",
        "ok    ping: 2 checks",
        "skip  1 check: because of ping",
        "",
        "FAIL  old: no answer [ping]",
        "FAIL  older: no answer [ping]",
        "      fix: look at it",
        "",
        "3 ok, 2 fail, 1 skip",
    ]


def test_every_result_of_checks(read: Reader) -> None:
    lines = read(views.check(Report(RESULTS), every=True))
    assert lines[:4] == [
        "ok    the engine answers: 28.5.2",
        "ok    redis: 0.8 ms",
        "ok    web: 0.9 ms",
        "skip  ports: not tried [tcp]",
    ]
    assert lines[-1] == "3 ok, 2 fail, 1 skip"
    assert read(views.check(Report(RESULTS[:1]), every=True))[1:] == ["", "1 ok"]


def test_checks_of_targets_show_those(read: Reader) -> None:
    lines = read(views.check(Report(RESULTS), every=False, subjects=True))
    assert lines[:4] == [
        "ok    engine: 1 check",
        "ok    redis: 0.8 ms",
        "ok    web: 0.9 ms",
        "skip  1 check: because of ping",
    ]


def test_warnings_come_before_failures_each_with_its_step(read: Reader) -> None:
    results = (
        Result("a", "one", Outcome.FAIL, "broken", "mend it"),
        Result("b", "two", Outcome.WARN, "old", "renew it"),
        Result("c", "three", Outcome.SKIP, "no container"),
    )
    assert read(views.check(Report(results), every=False)) == [
        "skip  1 check: nothing to look at",
        "",
        "warn  two: old [b]",
        "      fix: renew it",
        "FAIL  one: broken [a]",
        "      fix: mend it",
        "",
        "1 warn, 1 fail, 1 skip",
    ]
