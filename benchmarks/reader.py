"""Swallows what it gets, at a rate. Runs beside the target, alone: only the standard library.

`python -I reader.py PORT BYTES_PER_SECOND` (0: as fast as it can) says "ready" and never ends. Of
each connection it prints, as JSON, bytes, seconds, and the longest wait between two pieces of data.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

#: A database or a broker reads in pieces of about this size.
CHUNK = 1 << 16


def read_all(stream: socket.socket, rate: float) -> dict[str, float]:
    """Read to the end, never ahead of the rate for longer than a chunk takes."""
    began, count, longest = time.monotonic(), 0, 0.0
    last = began
    with stream:
        asked = began
        while piece := len(stream.recv(CHUNK)):
            last = time.monotonic()
            # Nothing can be there before the first byte.
            longest = max(longest, last - asked) if count else 0.0
            count += piece
            early = count / rate - (last - began) if rate else 0.0
            if early > 0:
                time.sleep(early)
            asked = time.monotonic()
    return {"bytes": count, "seconds": last - began, "longest_wait": longest}


def serve(stream: socket.socket, rate: float) -> None:
    """Read all of a connection, and print what became of it."""
    print(json.dumps(read_all(stream, rate)), flush=True)


def main() -> None:
    """Serve for ever."""
    port, rate = int(sys.argv[1]), float(sys.argv[2])
    listener = socket.create_server(("", port), backlog=64)
    print("ready", flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream, rate), daemon=True).start()


if __name__ == "__main__":
    main()
