"""How results read: the words that matter are there, and a terminal of 80 columns holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from netaddr import IPAddress, IPNetwork
from rich.table import Table

from macnet.checks import Report, Result
from macnet.checks.base import Outcome
from macnet.cli import views
from macnet.cli.output import Output
from macnet.models import Endpoint, Network, Subnet
from macnet.networks import Selected
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

APP, SIX = IPNetwork("172.82.0.0/24"), IPNetwork("fd00:82::/64")


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Reader:
    return Reader(capsys)


class Reader:
    """Gives what a person would read, line by line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, shown: Sequence[str | Table]) -> list[str]:
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
        ({"client": "none"}, "The helper runs. Give your VPN client this profile: "),
        ({"already_reachable": "172.17.0.2 answers"}, "No tunnel is needed: 172.17.0.2 answers."),
    ],
)
def test_other_ends_of_setup(read: Reader, changes: dict[str, object], first: str) -> None:
    done = replace(SETUP, networks=(), **changes)  # type: ignore[arg-type]
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
    assert read(views.regenerate(same)) == ["The routes stay."]
    assert read(views.regenerate(replace(same, changed=False))) == ["The routes are as they were."]


def test_networks(read: Reader) -> None:
    why = selected("docs", Subnet(APP), reason=f"{APP} overlaps the network of en0")
    remapped = selected("far", Subnet(APP, seen=IPNetwork("10.192.0.0/24")), endpoints=[REDIS])
    assert read(views.networks([why, remapped])) == [
        "network  subnet                          containers",
        "far      172.82.0.0/24 as 10.192.0.0/24  redis 10.192.0.100",
        "",
        "not routed  driver  why",
        "docs        bridge  172.82.0.0/24 overlaps the network of en0",
    ]
    assert read(views.networks([why]))[0] == "No network is routed."


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


def test_status(read: Reader) -> None:
    lines = read(views.status(STATUS, verbose=False))
    words = [" ".join(line.split()) for line in lines]
    assert words[:9] == [
        "tunnel macnet is down",
        "engine 28.5.2 at unix:///var/run/docker.sock",
        "chosen by DOCKER_HOST",
        "server macnet-server running, healthy",
        "relay macnet-relay missing, 3 restarts",
        "client openvpn 2.6.14 connected (CONNECTED), 192.168.255.2 on utun4",
        "chosen: it is installed",
        "port 127.0.0.1:13194",
        "addresses 192.168.255.0/24",
    ]
    assert "(40 days)" in words[10]
    routes = [f"route {APP} for 10.9.0.0/24", f"route {SIX} not set"]
    assert words[11:] == [*routes, "warning: careful"]


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
    assert not any(line.startswith(("port", "addresses", "certificates")) for line in words)


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


def test_lines_of_checks() -> None:
    few = [views.check_result(result, every=False) for result in RESULTS]
    assert few == [
        "ok    the engine answers: 28.5.2",
        None,
        None,
        "FAIL  old: no answer [ping]",
        "FAIL  older: no answer [ping]",
        None,
    ]
    every = [views.check_result(result, every=True) for result in RESULTS]
    assert every[1] == "ok    redis: 0.8 ms"
    assert every[5] == "skip  ports: not tried [tcp]"


def test_the_summary_tells_each_step_once(read: Reader) -> None:
    assert read(views.check_summary(Report(RESULTS), every=False)) == [
        "ok    containers answer: 2 of them",
        "",
        "fix: look at it",
        "",
        "3 ok, 2 fail, 1 skip",
    ]
    fine = Report(RESULTS[:1])
    assert read(views.check_summary(fine, every=True)) == ["", "1 ok"]
