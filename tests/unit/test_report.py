"""The archive for a bug report: secrets go, names get numbers, and what fails is told."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from macnet import __version__, checks, report
from macnet.carriers import Here
from macnet.choices import CarrierKind
from macnet.contexts import EngineAddress, SshTarget
from macnet.errors import EngineUnreachable, HelperFailed
from macnet.pki import create_pki, load_pki
from macnet.report import ReportPart, anonymizer, make_report, redactor, save_report
from macnet.settings import Settings
from macnet.state import NamesChoice, TunnelState, Way, save_state
from macnet.tunnel import EngineFound, Status, Tunnel, report_status
from macnet.values import AlsoRequest
from tests.unit.helper.model import ModelEngine
from tests.unit.tunnel.world import World

PKI = create_pki("macnet", now=datetime(2026, 1, 1, tzinfo=UTC))
KEYS = (PKI.server_key, PKI.client_key, PKI.tls_crypt, PKI.ca_cert, PKI.client_cert)


def test_keys_go_even_when_nobody_named_them() -> None:
    hide = redactor([], {})
    for key in KEYS:
        shown = hide(f"before\n{key}after")
        assert shown.startswith("before") and shown.endswith("after")
        for line in key.splitlines()[1:-1]:
            assert line not in shown


def test_a_key_that_is_cut_off_goes_to_the_end() -> None:
    half = PKI.client_key[: len(PKI.client_key) // 2]
    assert half[40:] not in redactor([], {})(f"log\n{half}")


def test_single_lines_of_known_keys_go() -> None:
    lines = [line for key in KEYS for line in key.splitlines() if not line.startswith("---")]
    shown = redactor(lines, {})("\n".join(f"openvpn: {line} ?" for line in lines))
    assert not any(line in shown for line in lines if len(line) >= 8)


def test_tokens_and_homes_go() -> None:
    hide = redactor([], {"/home/ada": "~"})
    assert hide("MACNET_SERVER=" + "0af1" * 8) == "MACNET_SERVER=(removed)"
    assert hide("/home/ada/x and 172.17.0.2") == "~/x and 172.17.0.2"


@given(st.text(st.characters(codec="ascii", exclude_characters="-/"), max_size=200))
def test_a_text_without_secrets_stays(text: str) -> None:
    if not any(len(word) >= 32 for word in text.split()):
        assert redactor(["A-secret-of-the-run"], {})(text) == text


def test_names_get_the_same_number_everywhere() -> None:
    rename = anonymizer([("shop", "network"), ("shop-db", "container"), ("db", "container")])
    assert rename("shop-db on shop, db too") == "container-1 on network-1, container-2 too"
    assert rename('"shop-db.local"') == '"container-1.local"'


def test_words_that_only_contain_a_name_stay() -> None:
    rename = anonymizer([("web", "container")])
    assert rename("cobweb webs web") == "cobweb webs container-1"


def test_our_own_names_and_no_names_stay() -> None:
    assert anonymizer([("macnet-server", "container")])("macnet-server") == "macnet-server"
    assert anonymizer([])("web") == "web"


def test_the_archive_is_this_users_alone(tmp_path: Path) -> None:
    target = tmp_path / "report.zip"
    save_report([ReportPart("a.txt", "ä")], target)
    assert target.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(target) as archive:
        assert archive.read("macnet-report/a.txt").decode() == "ä"


# The whole of it


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A tunnel whose checks fail and say too much."""

    def run(tunnel: Tunnel, *_: object, **__: object) -> None:
        raise HelperFailed(f"the token is {tunnel.state().token}", hint="look at web")

    monkeypatch.setattr(checks, "run", run)
    world = World(tmp_path, monkeypatch)
    monkeypatch.setattr("platform.node", lambda: "adas-mac.acme.example")
    world.tunnel().setup()
    world.paths.client_log.write_text("".join(f"line {number}\n" for number in range(3000)))
    return world


def gathered(world: World, *, anonymize: bool = False) -> dict[str, str]:
    tunnel = world.stored_tunnel()

    def status() -> Status:
        engine = tunnel.engine if world.engine_error is None else None
        found = EngineFound(engine, "unix:///docker.sock", "a test", world.engine_error)
        return report_status(tunnel, found)

    parts = make_report(tunnel, status, anonymize=anonymize)
    return {part.name: part.text for part in parts}


def test_a_report_has_every_part(world: World) -> None:
    found = gathered(world)
    assert list(found) == [
        *("versions.json", "status.json", "networks.json", "check.json", "host.json"),
        *("log-server.txt", "log-relay.txt", "log-client.txt"),
    ]
    versions = json.loads(found["versions.json"])
    assert (versions["macnet"], versions["client"]) == (__version__, "openvpn")
    assert versions["engine"]["version"] == "28.5.2"
    assert json.loads(found["status.json"])["up"] is False
    assert "app" in {item["network"]["name"] for item in json.loads(found["networks.json"])}
    assert json.loads(found["host.json"])["interfaces"][0]["name"] == "lo0"
    # Logs end some time ago, and are not followed.
    assert found["log-client.txt"].splitlines()[0] == "line 1000"
    assert found["log-client.txt"].endswith("line 2999\n")


def test_a_part_that_fails_is_told_and_the_others_are_there(world: World) -> None:
    world.paths.client_log.unlink()
    found = gathered(world)
    assert found["check.json"] == "error: the token is (removed)\nhint: look at web\n"
    assert found["log-client.txt"].startswith("error: the openvpn client has written no log yet\n")


def test_versions_are_there_while_the_engine_is_away(world: World) -> None:
    world.engine_error = EngineUnreachable("no engine answers", hint="start it")
    versions = json.loads(gathered(world)["versions.json"])
    assert (versions["macnet"], versions["client_version"]) == (__version__, "2.6.14")
    assert versions["python"] and versions["system"]
    assert versions["engine"] == {"error": "no engine answers", "hint": "start it"}


def test_no_secret_of_the_tunnel_is_in_it(world: World) -> None:
    pki, token = load_pki(world.paths.pki), world.tunnel().state().token
    assert pki is not None and token is not None
    lines = [*pki.client_key.splitlines(), *pki.tls_crypt.splitlines(), *pki.ca_cert.splitlines()]
    world.paths.client_log.write_text("\n".join([token, *lines]) + f"\n{Path.home()}/x\n")
    text = "".join(gathered(world).values())
    assert token not in text
    assert not [line for line in lines if len(line) >= 8 and "-----" not in line and line in text]
    assert str(Path.home()) not in text


def test_names_have_numbers_if_asked_for(world: World) -> None:
    assert '"name": "app"' in gathered(world)["networks.json"]
    found = gathered(world, anonymize=True)
    assert '"name": "app"' not in found["networks.json"]
    assert '"name": "network-1"' in found["networks.json"]
    assert '"name": "bridge"' in found["networks.json"]
    assert "container-1" in found["networks.json"]


def test_a_container_called_like_a_key_renames_no_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = json.loads(gathered(world)["networks.json"])
    names = [("name", "container"), ("network", "container"), ("web", "container")]
    monkeypatch.setattr(report, "_names", lambda _: names)
    found = gathered(world, anonymize=True)
    after = json.loads(found["networks.json"])
    assert [item.keys() for item in after] == [item.keys() for item in before]
    assert [item["network"].keys() for item in after] == [item["network"].keys() for item in before]
    assert '"container": "web"' not in found["networks.json"]
    assert found["check.json"].endswith("hint: look at container-3\n")


def test_another_machine_and_its_user_have_numbers(world: World) -> None:
    ssh = SshTarget("build-box", "ada")
    url = "ssh://ada@build-box"
    world.find_carrier = lambda: Here(EngineAddress(url, "x", machine=ssh.host, ssh=ssh))
    names = report._names(world.setup_tunnel())
    assert anonymizer(names)(f"the engine at {url}") == "the engine at ssh://user-1@machine-3"
    world.find_carrier = lambda: Here(
        EngineAddress("tcp://192.0.2.7:2376", "x", machine="192.0.2.7")
    )
    names = report._names(world.setup_tunnel())
    assert anonymizer(names)("tcp://192.0.2.7:2376") == "tcp://machine-3:2376"
    # Also one that no address names any more.
    world.find_carrier = None
    state = replace(world.tunnel().state(), way=Way(CarrierKind.SSH, "old-box"))
    save_state(world.paths.state, state)
    assert anonymizer(report._names(world.tunnel()))("by ssh to old-box") == "by ssh to machine-3"


def own_names(world: World) -> Tunnel:
    """A tunnel with a name of the user's in each place that can have one."""
    world.setup_tunnel().setup()
    state = world.tunnel().state()
    names = NamesChoice("acme.test", 13153, "acme-cluster")
    save_state(world.paths.state, replace(state, context="acme-prod", names=names))
    folder = world.paths.root.with_name("acme-old")
    save_state(folder / "tunnel.json", TunnelState())
    world.engine.info_ = replace(world.engine.info_, name="acme-vm")
    also = AlsoRequest(through=((IPNetwork("10.7.0.0/16"), "acme-router"),))
    return world.tunnel(
        Settings(
            context="acme-prod",
            name="acme-prod",
            networks=("acme_*", "web?", "*", "a*"),
            exclude=("*-acme",),
            also=also,
        )
    )


TEXT = (
    "acme-prod: macnet-acme-prod-server, macnet-acme-prod-joiner-1, network macnet-acme-prod, "
    "tunnels/acme-prod/macnet.ovpn, tunnels/acme-old; --context acme-prod; "
    "--network acme_* web? * a* --exclude *-acme; web.acme.test; 10.7.0.0/16=acme-router; "
    "the cluster acme-cluster; adas-mac.acme.example, adas-mac.local, macnet-server"
)
HIDDEN = (
    "tunnel-1: macnet-tunnel-1-server, macnet-tunnel-1-joiner-1, network macnet-tunnel-1, "
    "tunnels/tunnel-1/macnet.ovpn, tunnels/tunnel-2; --context tunnel-1; "
    "--network filter-1 filter-2 * a* --exclude filter-3; web.domain-1; 10.7.0.0/16=container-1; "
    "the cluster cluster-1; machine-1, machine-2.local, macnet-server"
)


def test_whatever_a_user_has_named_has_a_number_also_without_an_engine(world: World) -> None:
    tunnel = own_names(world)
    assert "engine-1 on container" in anonymizer(report._names(tunnel))("acme-vm on acme-router")
    world.engine_error = EngineUnreachable("no engine answers", hint="start it")
    rename = anonymizer(report._names(world.tunnel(tunnel.settings)))
    assert rename(TEXT) == HIDDEN


def test_the_nodes_of_a_swarm_have_numbers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"Description": {"Hostname": "acme-node"}}, {"Description": {}}]
    monkeypatch.setattr(ModelEngine, "swarm", lambda _: (nodes, [], []), raising=False)
    world.engine.info_ = replace(world.engine.info_, manager=True)
    assert anonymizer(report._names(world.tunnel()))("not ready: acme-node") == "not ready: node-1"


@pytest.mark.parametrize(
    "word", ["macnet", "default", "colima", "server", "dev", "root", "ci", "*", "**", "a?", "10"]
)
def test_common_words_stay(world: World, word: str) -> None:
    tunnel = world.tunnel(Settings(context=word, name=word, networks=(word,)))
    world.engine.info_ = replace(world.engine.info_, name=word)
    rename = anonymizer(report._names(tunnel))
    assert rename(f"{word} and macnet-server") == f"{word} and macnet-server"
