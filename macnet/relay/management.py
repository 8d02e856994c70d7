"""Sends commands to OpenVPN's management socket and prints the answers.

Protocol: an answer ends with END, SUCCESS: or ERROR:; lines that begin with > are news
(OpenVPN's management-notes.txt). The exit code is not 0 unless each command was answered, and
none with an error.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence

SOCKET = "/run/macnet/management.sock"
_TIMEOUT_S = 4.0


class Unanswered(Exception):
    """OpenVPN did not do what it was asked for; the text says why."""


def ask(path: str, commands: Sequence[str]) -> Iterator[str]:
    """The lines of all answers. Raises `Unanswered`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        try:
            connection.connect(path)
            with connection.makefile("rb") as lines:
                for command in commands:
                    connection.sendall(f"{command}\n".encode())
                    yield from _answer(command, lines)
        except TimeoutError as error:
            raise Unanswered(f"no answer from OpenVPN within {_TIMEOUT_S:g} seconds") from error
        except OSError as error:
            raise Unanswered(
                f"OpenVPN's management socket does not answer: {error.strerror}"
            ) from error


def _answer(command: str, lines: Iterator[bytes]) -> Iterator[str]:
    for data in lines:
        line = data.decode(errors="replace").rstrip("\r\n")
        if line.startswith(">"):
            continue
        if line.startswith("ERROR:"):
            raise Unanswered(f"OpenVPN refused {command!r}: {line}")
        yield line
        if line == "END" or line.startswith("SUCCESS:"):
            return
    raise Unanswered(f"OpenVPN ended while it answered {command!r}")


def main(commands: Sequence[str]) -> int:
    """Print the answers; the exit code."""
    try:
        for line in ask(SOCKET, commands):
            print(line)
    except Unanswered as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
