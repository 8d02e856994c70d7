"""TLS in front of a socket: what asks without TLS gets the answer that Go's servers give.

usage: tls_server.py PORT SOCKET FOLDER, where FOLDER has ca.pem, cert.pem and key.pem
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading

_PLAIN = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
_HANDSHAKE = b"\x16"


def main(port: int, engine: str, folder: str, address: str = "127.0.0.1") -> None:
    """Serve for ever."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{folder}/ca.pem")
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server((address, port), reuse_port=False) as server:
        while True:
            client, _ = server.accept()
            arguments = (client, engine, context)
            threading.Thread(target=_serve, args=arguments, daemon=True).start()


def _serve(client: socket.socket, engine: str, context: ssl.SSLContext) -> None:
    with client, contextlib.suppress(OSError):
        client.settimeout(10)
        if client.recv(1, socket.MSG_PEEK) != _HANDSHAKE:
            client.recv(1 << 16)
            client.sendall(_PLAIN)
            return
        with context.wrap_socket(client, server_side=True) as secure:
            secure.settimeout(0.02)
            with socket.socket(socket.AF_UNIX) as behind:
                behind.connect(engine)
                behind.settimeout(0.02)
                while _pass(secure, behind) and _pass(behind, secure):
                    pass


def _pass(source: socket.socket, target: socket.socket) -> bool:
    """Pass on what has come; False at the end. One thread alone may use a TLS connection."""
    try:
        data = source.recv(1 << 16)
    except TimeoutError:
        return True
    if data:
        target.sendall(data)
    return bool(data)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
