"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bed import Bed
from benchmarks.compare import compare
from benchmarks.machine import RESULTS
from benchmarks.traffic import SMALL, Sizes
from tests.lab import Lab


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; 1 if a goal is missed."""
    arguments = _parser().parse_args(argv)
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
    return compare(bed, sizes, arguments.rounds, arguments.folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure macnet in a lab; needs root, like it."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="macnet, the classic recipe and a published port")
    for command in (run,):
        command.add_argument("--name", default="bench", help="name of the lab (%(default)s)")
        command.add_argument("--keep", action="store_true", help="leave the lab up")
        command.add_argument("--small", action="store_true", help="little traffic, to try it")
        command.add_argument("--rounds", type=int, default=7, help="rounds (%(default)s)")
        command.add_argument(
            "--folder", type=Path, default=RESULTS, help="folder of the results (%(default)s)"
        )
    return parser
