"""Whatever is wrong is said in one sentence with what to do, by the documented exit code.

And nothing has changed: not on the engine, not on the Mac side, not in macnet's files.
"""

from __future__ import annotations

import json

import pytest

from tests.e2e.steps import Mac
from tests.e2e.world import nothing_changes

NOBODY = 65534


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--port", "65536"), "--port"),
        (("--port", "-1"), "--port"),
        (("--tun-mtu", "576"), "--tun-mtu"),
        (("--tun-mtu", "70000"), "--tun-mtu"),
        (("--tunnel-subnet", "home"), "--tunnel-subnet"),
        (("--tunnel-subnet", "192.168.255.0"), "--tunnel-subnet"),
        (("--tunnel-subnet", "192.168.255.0/33"), "--tunnel-subnet"),
        (("--tunnel-subnet", "192.168.255.7/24"), "192.168.255.0/24"),
        (("--tunnel-subnet", "127.0.0.0/24"), "reserved"),
        (("--tunnel-subnet", "fd00::/64"), "--tunnel-subnet"),
        (("--network", "a b"), "--network"),
        (("--base-image", "x; rm -rf /"), "--base-image"),
        (("--remap", "172.17.0.0/16=10.0.0.0/24"), "--remap"),
        (("--context", "nosuch"), "nosuch"),
        (("--context", "../../etc"), "--context"),
    ],
)
def test_a_bad_option(mac: Mac, words: tuple[str, ...], named: str) -> None:
    with nothing_changes(mac):
        assert named in mac.fails(4, "setup", *words)


@pytest.mark.parametrize(
    "words",
    [
        ("setup", "--comp-lzo", "maybe"),
        ("setup", "--port", "http"),
        ("setup", "--no-such-option"),
        ("nosuch",),
        ("logs", "nobody"),
    ],
)
def test_wrong_usage(mac: Mac, words: tuple[str, ...]) -> None:
    with nothing_changes(mac):
        done = mac.macnet(*words, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert "\nhint: " in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "http"), ("TUN_MTU", "1"), ("COMP_LZO", "maybe"), ("CLIENT", "telnet")],
)
def test_a_bad_variable(mac: Mac, name: str, value: str) -> None:
    with nothing_changes(mac):
        said = mac.fails(4, "setup", env={f"MACNET_{name}": value})
    assert f"MACNET_{name}" in said
    assert value in said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"port = ", "TOML"),
        (b"prot = 13194\n", "`port`"),
        (b'port = "x"\n', "key port"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_bad_configuration_file(mac: Mac, text: bytes, named: str) -> None:
    path = mac.config_file
    path.write_bytes(text)
    try:
        with nothing_changes(mac):
            said = mac.fails(4, "setup")
    finally:
        path.unlink()
    assert str(path) in said
    assert named in said


@pytest.mark.parametrize(
    "words",
    [
        ("regenerate",),
        ("connect",),
        ("profile",),
        ("logs", "relay"),
        ("logs", "client"),
    ],
)
def test_without_a_tunnel(mac: Mac, words: tuple[str, ...]) -> None:
    mac.macnet("down")
    mac.remove_files()
    with nothing_changes(mac):
        assert "macnet" in mac.fails(8, *words)


def test_a_target_that_does_not_exist(up: Mac) -> None:
    with nothing_changes(up):
        assert "nosuch" in up.fails(4, "check", "nosuch")
        assert "0" in up.fails(4, "check", "web:0")


def test_errors_as_json(mac: Mac) -> None:
    for words, code in (
        (["setup", "--port", "65536", "--json"], 4),
        (["setup", "--json", "--context", "nosuch"], 4),
    ):
        done = mac.macnet(*words, check=False)
        assert done.returncode == code
        error = json.loads(done.stdout)
        assert error["version"] == 1
        assert error["error"]["exit_code"] == code
        assert error["error"]["hint"]
        assert done.stderr == ""
