"""What is offered at the Tab key for names; `tests/e2e/test_completion.py` presses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from macnet import contexts
from macnet import engine as engine_module
from macnet.cli import options
from macnet.errors import EngineUnreachable
from macnet.paths import Paths
from macnet.state import NamesChoice, TunnelState, save_state
from tests.unit.names.samples import container, service

ROWS = [
    container("shop-web-1", "app=172.20.0.2", labels=service("shop", "web")),
    container("shop-web-2", "app=172.20.0.3", labels=service("shop", "web")),
    container("my_blog", "app=172.20.0.4", labels={"io.macnet.names": "blog,*.blog,no name"}),
]


class Engine:
    def __init__(self) -> None:
        self.away = False

    def containers(self) -> list[dict[str, Any]]:
        if self.away:
            raise EngineUnreachable("away")
        return ROWS


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    found = Engine()
    monkeypatch.setattr(contexts, "resolve_engine", lambda *_: None)
    monkeypatch.setattr(engine_module, "connect_engine", lambda _: found)
    monkeypatch.setenv("MACNET_HOME", str(tmp_path))
    monkeypatch.delenv("MACNET_CONTEXT", raising=False)
    return found


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["blog", "my_blog", "shop-web-1", "shop-web-2", "web.shop"]),
        ("sh", ["shop-web-1", "shop-web-2"]),
        ("w", ["web.shop"]),
        ("shop-web-1.", ["shop-web-1.app"]),
        ("nobody", []),
    ],
)
def test_targets_of_check(engine: Engine, typed: str, offered: list[str]) -> None:
    assert options.complete_targets(typed) == offered
    engine.away = True
    assert options.complete_targets(typed) == []


def test_full_names_while_names_are_on(engine: Engine) -> None:
    record = Paths.default().tunnel("macnet").state
    record.parent.mkdir(parents=True, mode=0o700)
    save_state(record, TunnelState(names=NamesChoice("docker.test", 13153)))
    assert options.complete_targets("blog.") == ["blog.docker.test"]
    assert options.complete_targets("web.shop.") == ["web.shop.docker.test"]
    assert options.complete_targets("blog") == ["blog"]
    record.write_text('{"version": 99}')
    assert options.complete_targets("blog.") == []


def test_domains() -> None:
    assert options.complete_domains("docker.h") == ["docker.home.arpa"]
    assert len(options.complete_domains("")) == 2
