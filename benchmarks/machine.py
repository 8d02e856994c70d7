"""What the numbers were taken on, and where they are kept."""

from __future__ import annotations

import json
import os
import platform
import time
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


def busy_share(seconds: float) -> float:
    """The share of all cores' time in which this machine did something, over some seconds."""
    began, idle = time.monotonic(), _idle_seconds()
    time.sleep(seconds)
    spare = (_idle_seconds() - idle) / ((time.monotonic() - began) * (os.cpu_count() or 1))
    return min(max(1 - spare, 0.0), 1.0)


def wait_for_quiet(at_most_s: float, *, share: float = 0.15) -> None:
    """Wait until other programs of this machine leave it alone, but not for ever."""
    deadline = time.monotonic() + at_most_s
    while time.monotonic() < deadline and busy_share(1) > share:
        time.sleep(1)


def _idle_seconds() -> float:
    # "cpu user nice system idle iowait ..." (proc(5)).
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
