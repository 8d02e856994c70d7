"""What real engines answered: see tests/data/engine/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from macnet.models import Network
from macnet.networks import parse_networks

Json = Any
"""What an engine answers."""
VERSIONS = ("28.5.2", "20.10.24")
_FOLDER = Path(__file__).parents[2] / "data" / "engine"


def recorded(name: str, version: str = VERSIONS[0]) -> Json:
    """The answer to one request (``networks``, ``containers``, ``server``, ``relay``, ``info``)."""
    return json.loads((_FOLDER / f"{name}-{version}.json").read_text())


def recorded_text(name: str) -> str:
    """A file that is no JSON."""
    return (_FOLDER / name).read_text()


def recorded_networks(version: str = VERSIONS[0]) -> dict[str, Network]:
    """All networks of an engine by name."""
    found = parse_networks(recorded("networks", version), recorded("containers", version))
    return {network.name: network for network in found}
