"""`tool`: how long macnet's own commands take, beside what they cannot do without."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.bed import Bed
from benchmarks.crowd import Crowd
from benchmarks.machine import describe, save_json
from benchmarks.stats import ratios, slope, summarize
from benchmarks.table import align, spread
from benchmarks.text import number
from tests.lab import BASE_IMAGE

#: Parts of all networks with which setup is timed too, to see how the time grows.
PARTS = (8, 4, 2, 1)
#: Time that grows with the number of networks at most like this power of it counts as linear.
LINEAR = 1.15
#: Commands that only look, and what their time goes to beyond the yardstick's.
_SLOW = {
    "networks": "Typer loads pydantic to read options (45 ms), data classes are made (19 ms)",
    "status": "as networks, and five more questions to the engine, one to the client's program",
}
_PYTHON = sys.executable
_MACNET = str(Path(sys.executable).with_name("macnet"))


@dataclass(frozen=True)
class Line:
    """One result: what was measured, the figure, and what is wanted of it."""

    title: str
    figure: str
    limit: str
    met: bool
    #: What is known of the reason where it is missed.
    why: str = ""

    @property
    def verdict(self) -> str:
        """What to say of the goal."""
        return "met" if self.met else f"MISSED{f': {self.why}' if self.why else ''}"


def tool(bed: Bed, rounds: int, folder: Path, *, containers: int, networks: int) -> bool:
    """Measure everything, print a table; whether all goals are met."""
    lines = [*_starting(bed, rounds), *_looking(bed, rounds), *_setting_up(bed, rounds)]
    lines += [_checking(bed, containers), *_growing(bed, networks)]
    cells = [["measured", "figure", "goal", ""]]
    cells += [[one.title, one.figure, one.limit, one.verdict] for one in lines]
    print(align(cells))
    record = [
        {"what": one.title, "figure": one.figure, "goal": one.limit, "verdict": one.verdict}
        for one in lines
    ]
    save_json(folder / "tool.json", {"machine": describe(bed.lab), "lines": record})
    return all(one.met for one in lines)


def _starting(bed: Bed, rounds: int) -> Iterator[Line]:
    base = _command(bed, _PYTHON, "-c", "import typer")
    for words in (("--version",), ("--help",)):
        title = f"macnet {words[0]}, times `import typer`"
        yield _beside(title, _command(bed, _MACNET, *words), base, 1.3, rounds)


def _looking(bed: Bed, rounds: int) -> Iterator[Line]:
    bed.macnet("setup")
    imports = _command(bed, _PYTHON, "-c", "import typer, docker")
    ask = _command(bed, "docker", "network", "ls")

    def base() -> None:
        imports()
        ask()

    for command, why in _SLOW.items():
        title = f"macnet {command}, times `import typer, docker` and one `docker network ls`"
        line = _beside(title, _command(bed, _MACNET, command), base, 1.5, rounds)
        yield replace(line, why=why)


def _setting_up(bed: Bed, rounds: int) -> Iterator[Line]:
    again = [timed(lambda: bed.macnet("setup")) for _ in range(rounds)]
    yield _at_most("macnet setup when nothing changes", again, 2)
    first = []
    for _ in range(rounds):
        # Without --purge, so that the image stays.
        bed.macnet("down")
        first.append(timed(lambda: bed.macnet("setup")))
    yield _at_most("macnet setup, the helper's image is there", first, 6)


def _checking(bed: Bed, count: int) -> Line:
    with Crowd(bed).containers(count, silent=count // 2):
        bed.macnet("setup")
        times = [timed(lambda: bed.macnet("check", check=False)) for _ in range(3)]
    return _at_most(f"macnet check, {count} containers of which {count // 2} are silent", times, 5)


def _growing(bed: Bed, networks: int) -> Iterator[Line]:
    points: dict[str, list[tuple[float, float]]] = {"setup": [], "networks": []}
    crowd = Crowd(bed)
    with crowd.networks() as grow:
        for count in (networks // part for part in PARTS):
            grow(count)
            bed.macnet("down")
            points["setup"].append((count, timed(lambda: bed.macnet("setup"))))
            points["networks"].append((count, timed(lambda: bed.macnet("networks"))))
            crowd.expect_routes(count)
    for command, taken in points.items():
        exponent = slope(taken)
        figure = ", ".join(f"{count:.0f}: {number(seconds)} s" for count, seconds in taken)
        yield Line(
            f"macnet {command} by the number of networks",
            f"{figure}; exponent {number(max(exponent, 0))}",
            f"<= {LINEAR:g}",
            exponent <= LINEAR,
        )


def _command(bed: Bed, *argv: str) -> Callable[[], None]:
    env = {"MACNET_BASE_IMAGE": BASE_IMAGE}

    def run() -> None:
        bed.lab.run(argv, env=env)

    return run


def _beside(
    title: str, ours: Callable[[], None], theirs: Callable[[], None], limit: float, rounds: int
) -> Line:
    """Both in turns; the ratio is the figure."""
    ours()
    theirs()
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    mine, other = ([pair[side] for pair in pairs] for side in (0, 1))
    ratio = ratios(mine, other)
    figure = f"{spread(ratio)}; {_ms(mine)} beside {_ms(other)} ms"
    return Line(title, figure, f"<= {limit:g}", ratio.median <= limit)


def _at_most(title: str, times: list[float], limit: float) -> Line:
    taken = summarize(times)
    return Line(title, f"{spread(taken)} s", f"<= {limit:g} s", taken.median <= limit)


def _ms(times: list[float]) -> str:
    return number(median(times) * 1e3)


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
