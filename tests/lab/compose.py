"""Projects of Docker Compose, with the real program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .engine import Engine
from .process import run
from .trees import ensure_compose


class Project:
    """A project that is up: `compose` runs the program on it."""

    def __init__(self, engine: Engine, cache: Path, name: str, folder: Path) -> None:
        self.name = name
        self._engine = engine
        self._file = folder / f"{name}.yaml"
        self._argv = [str(ensure_compose(cache)), "-p", name, "-f", str(self._file)]

    def compose(self, *words: str) -> str:
        """Run `docker compose`; raises `CommandError` where it fails."""
        return run([*self._argv, *words], env=self._engine.environment(), timeout_s=120).stdout

    def up(self, model: dict[str, object]) -> None:
        """Write the project's file and start it."""
        self._file.write_text(json.dumps(model))  # YAML has JSON in it
        self.compose("up", "-d")

    def containers(self, service: str) -> list[str]:
        """Names of a service's containers, by number."""
        found = self.compose("ps", "-q", service).split()
        rows = (self._engine.get(f"/containers/{one}/json") for one in found)
        return sorted(str(row["Name"]).lstrip("/") for row in rows)


@contextmanager
def project(
    engine: Engine, cache: Path, name: str, folder: Path, model: dict[str, object]
) -> Iterator[Project]:
    """A project while the block runs; ``folder`` gets its file."""
    made = Project(engine, cache, name, folder)
    try:
        made.up(model)
        yield made
    finally:
        made.compose("down", "--timeout", "1")
