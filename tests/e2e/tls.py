"""An engine that speaks TLS only, as minikube's and those of contexts with certificates do."""

from __future__ import annotations

import datetime
import ipaddress
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.steps import Mac, wait_until
from tests.e2e.world import running
from tests.lab.namespaces import enter_netns
from tests.lab.process import DEVNULL, start
from tests.lab.remote import ADDRESS, Remote

_SERVER = Path(__file__).with_name("tls_server.py")


@dataclass(frozen=True)
class TlsEngine:
    """Where it listens, and the folder with ca.pem, cert.pem and key.pem for its clients."""

    url: str
    certificates: Path


@contextmanager
def tls_engine(mac: Mac, folder: Path, port: int = 23760) -> Iterator[TlsEngine]:
    """The lab's engine at 127.0.0.1 of the Mac, by TLS with certificates of both sides."""
    server, client = folder / "server", folder / "client"
    make_certificates("127.0.0.1", server, client)
    argv = [sys.executable, str(_SERVER), str(port), str(mac.lab.engine.socket), str(server)]
    with running(mac, argv):
        wait_until(lambda: mac.tcp("127.0.0.1", port) == "open", 20, "the engine's port")
        yield TlsEngine(f"tcp://127.0.0.1:{port}", client)


@contextmanager
def far_tls_engine(machine: Remote, folder: Path, port: int = 2376) -> Iterator[TlsEngine]:
    """The engine of another machine, by TLS, at that machine's address."""
    server, client = folder / "server", folder / "client"
    make_certificates(ADDRESS, server, client)
    argv = [*enter_netns(machine.engine.vm.paths.netns), sys.executable, str(_SERVER), str(port)]
    process = start(
        [*argv, str(machine.engine.socket), str(server), ADDRESS],
        dict(os.environ),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        cwd=None,
    )
    try:
        reached = partial(Mac(machine.lab).tcp, ADDRESS, port)
        wait_until(lambda: reached() == "open", 10, "the engine's port")
        yield TlsEngine(f"tcp://{ADDRESS}:{port}", client)
    finally:
        process.kill()
        process.wait(10)


def make_certificates(address: str, *folders: Path) -> None:
    """One authority, and for each folder a certificate of its own for the address."""
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("the lab's authority")
    root = _sign(issuer, authority.public_key(), issuer, authority, None)
    for folder in folders:
        folder.mkdir(parents=True)
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address(address))])
        signed = _sign(_name(folder.name), key.public_key(), issuer, authority, alternative)
        (folder / "ca.pem").write_bytes(root)
        (folder / "cert.pem").write_bytes(signed)
        (folder / "key.pem").touch(mode=0o600)
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    alternative: x509.SubjectAlternativeName | None,
) -> bytes:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=alternative is None, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(authority_key, False)
    )
    if alternative is not None:
        builder = builder.add_extension(alternative, False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
