"""``GET /containers/{id}/json`` as real engines answer it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from macnet.engine.objects import parse_container, parse_time
from tests.unit.engine.recorded import VERSIONS, recorded


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_server(version: str) -> None:
    server = parse_container(recorded("server", version))
    assert server.name == "macnet-server"
    assert server.status == "running"
    assert server.running
    assert server.health in {"starting", "healthy"}
    assert server.exit_code == 0
    assert server.restarts == 0
    assert server.labels["io.macnet.role"] == "server"
    assert server.image_id.startswith("sha256:")
    assert server.environment["MACNET_SERVER"] == "0123456789abcdef" * 2
    address, port = server.published[1194]
    assert address == "127.0.0.1"
    assert port in {13194, 13195}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_relay_publishes_nothing(version: str) -> None:
    relay = parse_container(recorded("relay", version))
    assert relay.labels["io.macnet.role"] == "relay"
    assert relay.published == {}
    assert relay.environment["MACNET_RELAY_ADDRESS"] == "100.64.0.2"


def test_a_container_that_has_never_run_and_says_little() -> None:
    found = parse_container(
        {
            "Id": "1",
            "Name": "/bare",
            "Image": "sha256:0",
            "State": {"Status": "created"},
            "Config": {"Labels": None, "Env": None},
            "HostConfig": {
                "PortBindings": {"80/tcp": None, "81/tcp": [{"HostIp": "", "HostPort": ""}]}
            },
        }
    )
    assert not found.running
    assert found.labels == {}
    assert found.health is None
    assert found.environment == {}
    assert found.published == {81: ("", 0)}


def test_values_of_variables_may_hold_equal_signs() -> None:
    raw = recorded("server")
    raw["Config"]["Env"] = ["A=b=c", "EMPTY=", "BARE"]
    assert parse_container(raw).environment == {"A": "b=c", "EMPTY": "", "BARE": ""}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01T12:00:00Z", 0),
        ("2026-03-01T12:00:00.5Z", 0.5),
        ("2026-03-01T14:00:00.000000001+02:00", 0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    begin = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert parse_time(text) == begin + timedelta(seconds=seconds)


@pytest.mark.parametrize("text", [None, "", "soon", "2026-03-01T12:00:00"])
def test_no_time(text: str | None) -> None:
    assert parse_time(text) is None
