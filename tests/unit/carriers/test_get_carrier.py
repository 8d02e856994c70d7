"""Which way there is to an engine, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from macnet.carriers import Carrier, get_carrier
from macnet.choices import CarrierKind
from macnet.contexts import EngineAddress, SshTarget, TlsFiles
from macnet.errors import BadValue, EngineUnreachable
from macnet.state import Way
from macnet.values import ANY_ADDRESS
from tests.unit.carriers.fake_ssh import FakeSsh

HERE = EngineAddress("unix:///var/run/docker.sock", "default socket")
SSH = EngineAddress("ssh://box", "DOCKER_HOST", machine="box", ssh=SshTarget("box"))
TLS = EngineAddress("tcp://box:2376", "DOCKER_HOST", machine="box", tls=TlsFiles(Path("ca.pem")))
PLAIN = EngineAddress("tcp://box:2375", "DOCKER_HOST", machine="box")


def get(address: EngineAddress, expose: str | None = None) -> Carrier:
    folder = Path("/nowhere")
    return get_carrier(address, expose=expose, folder=folder, runner=FakeSsh(), terminal=False)


def test_each_engine_has_one_way() -> None:
    assert get(HERE).way == Way()
    assert get(SSH).way == Way(CarrierKind.SSH, "box")
    assert get(TLS, "10.0.0.5").way == Way(CarrierKind.DIRECT, "box", "10.0.0.5", "10.0.0.5")
    assert get(TLS, ANY_ADDRESS).way == Way(
        CarrierKind.DIRECT,
        "box",
        ANY_ADDRESS,
        "box",
    )


@pytest.mark.parametrize("address", [TLS, PLAIN])
def test_without_expose_both_ways_are_told(address: EngineAddress) -> None:
    with pytest.raises(EngineUnreachable, match="is on another machine") as caught:
        get(address)
    assert "DOCKER_HOST=ssh://USER@box" in str(caught.value.hint)
    assert "--expose ADDRESS" in str(caught.value.hint)


def test_no_engine_is_commanded_in_plain_text_over_a_network() -> None:
    with pytest.raises(EngineUnreachable, match="without TLS"):
        get(PLAIN, "10.0.0.5")


@pytest.mark.parametrize("address", [HERE, SSH])
def test_expose_is_of_no_use_elsewhere(address: EngineAddress) -> None:
    with pytest.raises(BadValue, match="--expose is for"):
        get(address, "10.0.0.5")
