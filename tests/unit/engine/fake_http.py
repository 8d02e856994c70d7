"""An engine that answers over HTTP on a unix socket what a test tells it to."""

from __future__ import annotations

import ipaddress
import json
import socketserver
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from macnet.contexts import TlsFiles

Json = Any
"""What a body holds."""
API = "1.51"


@dataclass
class Request:
    """What came in; ``path`` has no version."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Json:
        """The body."""
        return json.loads(self.body)


@dataclass
class Answer:
    """What goes out; with ``stream`` a list goes out object by object."""

    body: object = None
    status: int = 200
    stream: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves ``answers``: "GET /networks" -> answer, or 404 as Docker says it."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        """Listen on ``path``."""
        self.answers: dict[str, Answer] = {
            "GET /version": Answer({"ApiVersion": API, "Version": "28.5.2"}),
            "GET /_ping": Answer(b"OK"),
        }
        self.requests: list[Request] = []
        super().__init__(str(path), _Handler)
        self.url = f"unix://{path}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def on(
        self,
        what: str,
        body: object = None,
        status: int = 200,
        *,
        stream: bool = False,
        **headers: str,
    ) -> None:
        """Answer ``what`` with this from now on."""
        self.answers[what] = Answer(body, status, stream, headers)

    def last(self, what: str) -> Request:
        """The last request of this kind."""
        return next(r for r in reversed(self.requests) if f"{r.method} {r.path}" == what)

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _TcpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    answers: dict[str, Answer]
    requests: list[Request]

    def handle_error(self, *_: object) -> None:
        """A client that does not trust this engine goes away."""


class TcpEngine:
    """The same engine on a port of 127.0.0.1, with TLS where it gets certificates."""

    def __init__(self, engine: FakeEngine, tls: TlsFiles | None = None) -> None:
        """Answer as ``engine`` does; clients need a certificate of the same CA."""
        self._server = server = _TcpServer(("127.0.0.1", 0), _Handler)
        server.answers, server.requests = engine.answers, engine.requests
        self._url = f"tcp://127.0.0.1:{server.server_address[1]}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(str(tls.cert), str(tls.key))
            context.load_verify_locations(str(tls.ca))
            context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return self._url

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def make_certificates(folder: Path) -> TlsFiles:
    """A certificate for 127.0.0.1 that is its own CA, for server and client."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "engine")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    (folder / "cert.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class _Handler(BaseHTTPRequestHandler):
    server: FakeEngine | _TcpServer
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix(f"/v{API}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        request = Request(self.command, path, parse_qs(parts.query), body, dict(self.headers))
        self.server.requests.append(request)
        missing = Answer({"message": f"No such image or other thing: {path}"}, 404)
        answer = self.server.answers.get(f"{self.command} {path}", missing)
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        for name, value in answer.headers.items():
            self.send_header(name.replace("_", "-"), value)
        if answer.stream and isinstance(answer.body, list):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for one in answer.body:
                data = json.dumps(one).encode() + b"\r\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")
            return
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.status == 204:
            data = b""
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve
