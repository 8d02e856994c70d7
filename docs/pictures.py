"""Makes the pictures of docs/ from a real run: `make pictures`.

In a lab of its own macnet runs in a real terminal (tmux), whose screen becomes an SVG. Times and
addresses are those of that run.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab import BASE_IMAGE, Lab  # noqa: E402

FOLDER = ROOT / "docs/pictures"
COLUMNS, LINES = 80, 60
_LAB = "macnet-pictures"
_SOCKET = "macnet-pictures"
#: What is typed for each picture.
SCREENS: Mapping[str, tuple[str, ...]] = {
    "setup": ("macnet setup", "redis-cli -h 172.82.0.100 ping", "curl -s 172.17.0.2"),
    "check": ("docker stop macnet-relay", "macnet check redis:6379"),
}


def main() -> int:
    """Write all pictures; 1 where the terminal is missing."""
    if shutil.which("tmux") is None:
        sys.stderr.write("error: tmux is missing\nhint: apt-get install tmux\n")
        return 1
    lab = Lab(_LAB)
    lab.up()
    try:
        # The image is made before: its first build is the engine's time, not the tunnel's.
        env = {"MACNET_BASE_IMAGE": BASE_IMAGE, "PATH": _path(lab)}
        lab.run(["macnet", "setup"], env=env, timeout_s=300)
        lab.run(["macnet", "down"], env=env)
        shutil.rmtree(lab.paths.mac_home)
        lab.paths.mac_home.mkdir()
        shown = {name: screen(lab, typed, env) for name, typed in SCREENS.items()}
        lab.run(["macnet", "setup"], env=env)
        lab.run(["macnet", "map", "-o", str(FOLDER / "map.svg")], env=env)
    finally:
        lab.down()
    for name, text in shown.items():
        (FOLDER / f"{name}.svg").write_text(draw(name, text), encoding="utf-8")
    return 0


def _path(lab: Lab) -> str:
    return f"{Path(sys.executable).parent}:{lab.mac_environment()['PATH']}"


def screen(lab: Lab, typed: tuple[str, ...], env: Mapping[str, str]) -> str:
    """What the terminal shows, with its colours, once all commands have ended."""
    prompt = "printf '\\033[32;1m$\\033[0m \\033[1m%s\\033[0m\\n' "
    lines = [f"{prompt}{shlex.quote(line)}; {line}" for line in typed]
    script = "; ".join([*lines, f"tmux -L {_SOCKET} wait-for -S done; exec sleep 600"])
    tmux = ["tmux", "-u", "-L", _SOCKET]
    size = ["-x", str(COLUMNS), "-y", str(LINES)]
    lab.run([*tmux, "new-session", "-d", *size, "sh", "-c", script], env=env)
    try:
        lab.run([*tmux, "wait-for", "done"], timeout_s=120)
        return str(lab.run([*tmux, "capture-pane", "-e", "-p"]).stdout).rstrip()
    finally:
        lab.run([*tmux, "kill-server"])


def draw(name: str, shown: str) -> str:
    """An SVG of a terminal with that text; it asks for nothing from outside."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown), soft_wrap=True)
    picture = console.export_svg(title=f"macnet {name}", unique_id=name)
    # The fonts come from a server there; a reader's own monospace font will do.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    return picture.replace("Fira Code", "ui-monospace, Menlo, DejaVu Sans Mono")


if __name__ == "__main__":
    sys.exit(main())
