"""sudo asks for a password on a real terminal while a spinner turns there."""

from __future__ import annotations

import os
import pty
import select
import subprocess  # noqa: TID251 - a session with a terminal of its own
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
COMMAND = """
import os, sys
from pathlib import Path
os.close(os.open(os.ttyname(0), os.O_RDWR))  # the session's terminal, as in a shell
from macnet.cli.output import Output
from macnet.clients.openvpn import OpenVpnClient
from macnet.errors import PrivilegeError
from macnet.paths import TunnelPaths
from macnet.progress import stage
from macnet.runner import SystemRunner
paths = TunnelPaths(Path(sys.argv[1]))
client = OpenVpnClient(paths, SystemRunner(), root=False, user="ann")
output = Output()
try:
    with stage(output, "connecting openvpn"):
        client.connect(output, timeout_s=5)
except PrivilegeError as error:
    print("THE END:", error.message)
"""
SUDO = """#!/bin/sh
if [ "$1" = -n ]; then echo "sudo: a password is required" >&2; exit 1; fi
printf 'Password:' >/dev/tty
read -r word </dev/tty
printf 'got %s\\n' "$word" >/dev/tty
exit 1
"""


def read_until(master: int, word: str, timeout_s: float) -> str:
    """What arrives on the terminal until ``word`` is there, or the time is up."""
    seen = b""
    deadline = time.monotonic() + timeout_s
    while word.encode() not in seen and (left_s := deadline - time.monotonic()) > 0:
        if not select.select([master], [], [], left_s)[0]:
            break
        try:
            seen += os.read(master, 4096)
        except OSError:
            break  # on Linux: nobody holds the other end any more
    return seen.decode(errors="replace")


def test_nothing_is_drawn_over_the_question_of_sudo(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = short_path / "bin"
    programs.mkdir()
    for name, text in {"sudo": SUDO, "openvpn": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (short_path / "macnet.ovpn").write_text("client\n")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(short_path)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        try:
            before = read_until(master, "Password:", 30)
            assert "connecting openvpn" in before
            assert before.endswith("Password:")
            # Several pictures of a spinner would have been drawn in this time.
            assert read_until(master, "never", 0.5) == ""
            os.write(master, b"secret\n")
            after = read_until(master, "THE END:", 10)
            assert "got secret" in after
            assert "THE END:" in after
        finally:
            process.kill()
            os.close(master)
