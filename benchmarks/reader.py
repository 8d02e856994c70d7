"""Swallows what it gets, at a rate. Runs beside the target, alone: only the standard library.

`python -I reader.py PORT BYTES_PER_SECOND` (0: as fast as it can) says "ready" and never ends.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

#: A database or a broker reads in pieces of about this size.
CHUNK = 1 << 16


def read_all(stream: socket.socket, rate: float) -> None:
    """Read to the end, never ahead of the rate for longer than a chunk takes."""
    began, count = time.monotonic(), 0
    with stream:
        while piece := len(stream.recv(CHUNK)):
            count += piece
            early = count / rate - (time.monotonic() - began) if rate else 0.0
            if early > 0:
                time.sleep(early)


def main() -> None:
    """Serve for ever."""
    port, rate = int(sys.argv[1]), float(sys.argv[2])
    listener = socket.create_server(("", port), backlog=64)
    print("ready", flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=read_all, args=(stream, rate), daemon=True).start()


if __name__ == "__main__":
    main()
