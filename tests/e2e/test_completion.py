"""What a shell gets at the Tab key: commands, options, and the engine's own names."""

from __future__ import annotations

import pytest

from tests.e2e.steps import Mac
from tests.lab.process import Completed


def press_tab(mac: Mac, line: str, **env: str) -> Completed:
    """Complete the last word of a line as bash does; the protocol is Typer's."""
    words = {
        "_MACNET_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    return mac.macnet(env={**words, **env})


def completed(mac: Mac, line: str) -> list[str]:
    """What is offered."""
    return press_tab(mac, line).stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("macnet s", ["setup", "status"]),
        ("macnet agent un", ["uninstall"]),
        ("macnet setup --tun", ["--tunnel-subnet", "--tun-mtu"]),
        ("macnet setup --comp-lzo a", ["adaptive"]),
        ("macnet check two", ["two-homes"]),
        ("macnet setup --network ex", ["extra"]),
        ("macnet setup --exclude sea", ["sealed"]),
        ("macnet check nobody", []),
    ],
)
def test_the_last_word(mac: Mac, line: str, offered: list[str]) -> None:
    assert completed(mac, line) == offered


def test_contexts(mac: Mac) -> None:
    host = f"host={mac.lab.engine.docker_host}"
    mac.lab.run(["docker", "context", "create", "offered", "--docker", host])
    try:
        assert completed(mac, "macnet status --context off") == ["offered"]
    finally:
        mac.lab.run(["docker", "context", "rm", "-f", "offered"])


def test_an_engine_that_is_away_offers_nothing_and_says_nothing(mac: Mac) -> None:
    done = press_tab(mac, "macnet check re", DOCKER_HOST="unix:///nowhere.sock")
    assert (done.stdout.strip(), done.stderr) == ("", "")
