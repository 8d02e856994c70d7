"""`macnet report` after a whole run: the archive tells what there is, and not one secret of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.e2e.steps import Mac

#: Files of the server that hold certificates and keys.
_FILES = "/etc/macnet/*.crt /etc/macnet/*.key"


def secrets(mac: Mac) -> set[str]:
    """Every line of every key and certificate there is now, and the token; read at the source."""
    texts = [
        *json.loads((mac.root / "pki/pki.json").read_text()).values(),
        (mac.root / "macnet.ovpn").read_text().partition("<ca>")[2],
        mac.lab.docker("exec", "macnet-server", "sh", "-c", f"cat {_FILES}"),
    ]
    lines = {line for text in texts for line in text.splitlines()}
    found = {line for line in lines if len(line) >= 16 and line[0] not in "<-#" and " " not in line}
    inspected = json.loads(mac.lab.docker("inspect", "macnet-server", "macnet-relay"))
    env = [pair.partition("=") for one in inspected for pair in one["Config"]["Env"]]
    tokens = {value for name, _, value in env if name == "MACNET_SERVER"}
    assert len(tokens) == 1
    return found - {json.loads((mac.root / "pki/pki.json").read_text())["expires"]} | tokens


def archive(mac: Mac, target: Path, *words: str) -> dict[str, str]:
    """The parts of a fresh archive."""
    mac.macnet("report", "-o", str(target), *words)
    assert target.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(target) as found:
        return {name: found.read(name).decode() for name in found.namelist()}


@pytest.mark.parametrize("words", [(), ("--anonymize",)])
def test_no_secret_of_the_run_is_in_it(up: Mac, tmp_path: Path, words: tuple[str, ...]) -> None:
    before = secrets(up)
    up.macnet("regenerate", "--keys")
    everything = before | secrets(up)
    assert len(everything) > 1.5 * len(before)
    up.macnet("check")
    profile = (up.root / "macnet.ovpn").read_text()
    with (up.root / "openvpn.log").open("a") as log:
        # What a client might say at a high verbosity: whole, and a line of it on its own.
        log.write(profile + f"\nread: {profile.partition('<key>')[2].splitlines()[3]}\n")
    parts = archive(up, tmp_path / "report.zip", *words)
    for name, text in parts.items():
        assert [secret for secret in everything if secret in text] == [], name
    whole = "".join(parts.values())
    assert "PRIVATE KEY removed" in whole
    assert "read: (removed)" in whole


def test_it_tells_what_there_is(up: Mac, tmp_path: Path) -> None:
    parts = archive(up, tmp_path / "report.zip")
    whole = "".join(parts.values())
    for word in ("172.82.0.0/24", "redis", "Initialization Sequence Completed", "macnet-relay"):
        assert word in whole
    for name, text in parts.items():
        assert text, name
        assert not text.startswith("error:"), name


def test_names_can_be_left_out(up: Mac, tmp_path: Path) -> None:
    parts = archive(up, tmp_path / "report.zip", "--anonymize")
    whole = "".join(parts.values())
    listed = json.loads(parts["macnet-report/networks.json"])
    names = set(up.lab.docker("network", "ls", "--format", "{{.Name}}").split())
    names = names - {"bridge", "host", "none"}
    names |= set(up.lab.docker("ps", "--format", "{{.Names}}").split()) - set(up.macnet_names())
    assert len(names) > 8
    told = {item["network"]["name"] for item in listed}
    told |= {end["container"] for item in listed for end in item["network"]["endpoints"]}
    assert not told & names
    # The same number everywhere: what check says fits what the list of networks says.
    redis = next(
        end["container"]
        for item in listed
        for end in item["network"]["endpoints"]
        if end["addresses"] == ["172.82.0.100"]
    )
    assert redis.startswith("container-")
    assert redis in parts["macnet-report/check.json"]
    assert "172.82.0.100" in whole
