"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.bed import Bed
from benchmarks.compare import compare
from benchmarks.machine import RESULTS
from benchmarks.names import names
from benchmarks.readers import readers
from benchmarks.remote import SECONDS, remote
from benchmarks.soak import soak
from benchmarks.sweep import GROUPS, sweep
from benchmarks.tool import tool
from benchmarks.traffic import SMALL, SWEEP, Sizes
from tests.lab import Lab


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; 1 if a goal is missed."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "names":
        return 0 if names(arguments.rounds, arguments.folder) else 1
    if arguments.command == "remote":
        lab = Lab(arguments.name)
        lab.up()
        try:
            seconds = SMALL.seconds if arguments.small else SECONDS
            return 0 if remote(lab, arguments.rounds, seconds, arguments.folder) else 1
        finally:
            if not arguments.keep:
                lab.down()
    # The engine on which the classic recipe still reaches containers.
    bed = Bed(Lab(arguments.name, "host", "host"))
    try:
        bed.up()
        met = _dispatch(arguments, bed)
    finally:
        if not arguments.keep:
            bed.down()
    return 0 if met else 1


def _dispatch(arguments: argparse.Namespace, bed: Bed) -> bool:
    sizes = SMALL if arguments.small else Sizes()
    sizes = replace(sizes, patience_s=arguments.patience)
    folder, rounds = arguments.folder, arguments.rounds
    if arguments.command == "run":
        return compare(bed, sizes, rounds, folder)
    if arguments.command == "sweep":
        sizes = replace(SMALL if arguments.small else SWEEP, patience_s=arguments.patience)
        return sweep(bed, sizes, rounds, arguments.groups or list(GROUPS), folder)
    if arguments.command == "soak":
        return soak(bed, arguments.seconds, arguments.connections, folder)
    if arguments.command == "readers":
        return readers(bed, sizes.seconds, rounds, folder)
    return tool(bed, rounds, folder, containers=arguments.containers, networks=arguments.networks)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure macnet in a lab; needs root, like it."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="macnet, the classic recipe and a published port")
    other = commands.add_parser("sweep", help="macnet's tunnel with other settings")
    other.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)} (all)")
    long = commands.add_parser("soak", help="eight streams for a long time: no stall, no leak")
    long.add_argument("--seconds", type=float, default=600, help="how long (%(default)s)")
    long.add_argument(
        "--connections", type=int, default=10_000, help="short ones after that (%(default)s)"
    )
    slow = commands.add_parser("readers", help="uploads to programs that read slowly")
    dns = commands.add_parser("names", help="how fast names are answered; needs no lab")
    far = commands.add_parser("remote", help="an engine on another machine, beside ssh -L")
    own = commands.add_parser("tool", help="how long macnet's own commands take")
    own.add_argument("--containers", type=int, default=200, help="for check (%(default)s)")
    own.add_argument("--networks", type=int, default=200, help="for setup (%(default)s)")
    for command in (run, other, long, slow, dns, far, own):
        command.add_argument("--name", default="bench", help="name of the lab (%(default)s)")
        command.add_argument("--keep", action="store_true", help="leave the lab up")
        command.add_argument("--small", action="store_true", help="little traffic, to try it")
        command.add_argument(
            "--patience",
            type=float,
            default=0,
            metavar="SECONDS",
            help="wait so long for a quiet machine before each measurement (%(default)s)",
        )
        command.add_argument("--rounds", type=int, default=7, help="rounds (%(default)s)")
        command.add_argument(
            "--folder", type=Path, default=RESULTS, help="folder of the results (%(default)s)"
        )
    return parser
