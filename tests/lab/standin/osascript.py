"""``osascript`` and ``open`` of the lab's Mac side: play Tunnelblick, and nothing else."""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .application import AppleError, Application
from .behaviour import Places
from .scripts import ARGUMENTS, recognise


def main(argv: Sequence[str]) -> int:
    """Answer one script. The first word is the stand-in's folder, put there by the wrapper."""
    places = Places(Path(argv[0]))
    if len(argv) < 3 or argv[1] != "-e" or (command := recognise(argv[2])) is None:
        print(f"osascript: not a script of macnet's: {argv[1:]}", file=sys.stderr)
        return 2
    arguments = argv[3:]
    if len(arguments) != ARGUMENTS[command]:
        print(f"osascript: {command} with {len(arguments)} arguments", file=sys.stderr)
        return 2
    with places.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not Path("/Applications/Tunnelblick.app").exists():
                raise AppleError(-1728, "Can't get application id.")
            application = Application(places, Path.home())
            answer = getattr(application, command)(*arguments)
        except AppleError as error:
            _remember(places, command, arguments, str(error.number))
            where = len(argv[2]) // 2
            print(
                f"{where}:{where}: execution error: {error.message} ({error.number})",
                file=sys.stderr,
            )
            return 1
        _remember(places, command, arguments, answer)
    print(answer)
    return 0


def open_bundle(argv: Sequence[str]) -> int:
    """Answer ``open PATH``, which ends before the application has done anything."""
    places = Places(Path(argv[0]))
    if len(argv) != 2 or Path(argv[1]).suffix != ".tblk":
        print(f"open: not a bundle of macnet's: {argv[1:]}", file=sys.stderr)
        return 2
    with places.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = Application(places, Path.home()).open(argv[1])
        _remember(places, "open", argv[1:], answer)
    return 0


def _remember(places: Places, command: str, arguments: Sequence[str], answer: str) -> None:
    with places.history.open("a") as history:
        history.write(json.dumps([command, *arguments, answer]) + "\n")


if __name__ == "__main__":
    answer_of = {"osascript": main, "open": open_bundle}[sys.argv[1]]
    sys.exit(answer_of(sys.argv[2:]))
