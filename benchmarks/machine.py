"""What the numbers were taken on, and where they are kept."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from macnet import __version__
from tests.lab import Lab

RESULTS = Path(__file__).parent.parent / "docs/benchmarks"


def describe(lab: Lab) -> dict[str, Any]:
    """The machine, the versions, and how busy it was."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "macnet": __version__,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "engine": lab.engine.version,
        "client": lab.run(["openvpn", "--version"]).stdout.split(" [", 1)[0],
        "load_average": round(os.getloadavg()[0], 2),
    }


def save_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write results for programs to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1, **record}, indent=1) + "\n")
