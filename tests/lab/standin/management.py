"""What the openvpn of a connection says of its own state."""

from __future__ import annotations

import socket
from pathlib import Path


def ask_state(management: Path) -> str:
    """The last state of a running openvpn; SLEEP while it does not answer yet."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(2)
            link.connect(str(management))
            with link.makefile("rw", newline="") as stream:
                stream.write("state\n")
                stream.flush()
                state = "SLEEP"
                for line in stream:
                    if line.startswith("END"):
                        return state
                    fields = line.strip().split(",")
                    if len(fields) > 2 and not line.startswith(">"):
                        state = fields[1]
    except OSError:
        pass
    return "SLEEP"
