"""Check on a real Mac what macnet takes for granted, and print a report to paste."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from macnet import __version__, host
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces
from macnet.routes import list_routes
from macnet.runner import SystemRunner

from . import looks, names, trips
from .report import Outcome, Step, run_steps, summary

TUNNELBLICK_LOGS = Path("/Library/Application Support/Tunnelblick/Logs")


def main(argv: Sequence[str] | None = None) -> int:
    """Run all; 0 if nothing failed, 1 if something did, 2 if this is no Mac."""
    parser = argparse.ArgumentParser(prog="python -m tests.mac", description=__doc__)
    parser.add_argument(
        "--look-only", action="store_true", help="set nothing up: no import, no agent"
    )
    parser.epilog = (
        "Run it once more with Wi-Fi and cables off, after `macnet setup --client tunnelblick`: "
        "then it looks at what Tunnelblick does without a network."
    )
    arguments = parser.parse_args(argv)
    system = host.system()
    if system != "macos":
        print(f"this is {system}: only a Mac can tell", file=sys.stderr)
        return 2
    runner, places = SystemRunner(), TunnelblickPlaces.of(Path.home())
    steps: list[tuple[str, Step]] = [
        ("This Mac", partial(looks.machine, runner, places)),
        ("Scripts", partial(looks.scripts, runner, places)),
        ("Property lists", partial(looks.property_lists, runner)),
        ("Routes", partial(looks.routing_table, runner)),
        ("Interfaces", looks.interfaces),
        ("Tunnelblick", partial(looks.tunnelblick_list, runner, places)),
    ]
    if not arguments.look_only:
        print("macOS may ask for consent and for an administrator's password, sudo for yours, and")
        print("Tunnelblick whether to remove the configuration macnet at the end: let it.")
        print("How names are kept takes about three minutes.")
        online = trips.has_network(list_routes(runner, system))
        steps += [
            ("Round trip", partial(trips.round_trip, runner, places, system))
            if online
            else ("Offline", partial(trips.offline, runner, places)),
            ("openvpn", partial(trips.openvpn, runner, system)),
            ("Agent", partial(trips.agent, runner)),
            ("Names", partial(names.names, names.Stage(runner))),
            ("Tunnelblick's log", partial(names.tunnelblick_log, TUNNELBLICK_LOGS)),
        ]
    print(f"# macnet {__version__} on a Mac")
    found = run_steps(steps, partial(print, flush=True))
    print(f"\n{summary(found)}")
    return 1 if any(seen.outcome is Outcome.FAILED for seen in found) else 0


if __name__ == "__main__":
    sys.exit(main())
