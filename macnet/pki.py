"""The tunnel's certificates: one CA, one server, one client, and the tls-crypt key.

The CA's key signs the two leaves and is forgotten: nobody can issue a further certificate.
Everything is in one file, so a reader sees either the old keys or the new ones, never a mix.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from macnet.errors import StateError
from macnet.files import ensure_private_dir, read_private, set_aside, write_private
from macnet.progress import Progress

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

#: When to begin telling the user that the certificates end.
EXPIRY_WARNING = timedelta(days=30)
#: The longest validity that Apple's platforms accept for a server certificate.
MAX_DAYS = 825
#: The clock of an engine's VM may lag behind after the Mac has slept.
CLOCK_SKEW = timedelta(days=1)

_FILE = "pki.json"
_PEMS = ("ca_cert", "server_cert", "server_key", "client_cert", "client_key", "tls_crypt")
#: When the first of the certificates ends, for readers that need nothing else of them.
_EXPIRES = "expires"
# "--genkey" and "--secret" in the OpenVPN manual: 2048 bits, in hex, between these lines.
_STATIC_KEY = re.compile(
    r"-----BEGIN OpenVPN Static key V1-----\n"
    r"(?:[0-9a-f]{32}\n){16}"
    r"-----END OpenVPN Static key V1-----\n"
)


class DamagedPki(StateError):
    """The stored certificates are incomplete, unreadable or don't belong together."""

    code = "damaged_pki"


@dataclass(frozen=True, slots=True)
class Pki:
    """Certificates and keys as PEM text, and what they say.

    ``expires`` is the earliest end of a certificate, in UTC; ``fingerprint`` the SHA-256 of the
    certificates, in hex; ``server_name`` the common name that a client verifies.
    """

    ca_cert: str = field(repr=False)
    server_cert: str = field(repr=False)
    server_key: str = field(repr=False)
    client_cert: str = field(repr=False)
    client_key: str = field(repr=False)
    tls_crypt: str = field(repr=False)
    expires: datetime
    fingerprint: str
    server_name: str


@dataclass(frozen=True, slots=True)
class _Issuer:
    """Who signs, and the validity of what is signed."""

    name: str
    key: ec.EllipticCurvePrivateKey
    begin: datetime
    end: datetime


def create_pki(name: str, *, now: datetime, days: int = MAX_DAYS) -> Pki:
    """Make new keys and certificates for the tunnel ``name``, valid for ``days`` in all.

    They begin a day before ``now``, which needs a time zone.
    """
    # Imported late everywhere in this module: it takes 60 ms, and most commands need no keys.
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if not 1 < days <= MAX_DAYS:
        raise ValueError(f"days is {days}")
    ca_key, server_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    begin = now.astimezone(UTC).replace(microsecond=0) - CLOCK_SKEW
    ca = _Issuer(f"{name}-ca", ca_key, begin, begin + timedelta(days=days))
    server = _issue(ca, f"{name}-server", server_key, ExtendedKeyUsageOID.SERVER_AUTH)
    client = _issue(ca, f"{name}-client", client_key, ExtendedKeyUsageOID.CLIENT_AUTH)
    return _assemble(
        {
            "ca_cert": _cert_pem(_issue(ca, ca.name, ca_key)),
            "server_cert": _cert_pem(server),
            "server_key": _key_pem(server_key),
            "client_cert": _cert_pem(client),
            "client_key": _key_pem(client_key),
            "tls_crypt": _new_static_key(),
        }
    )


def _issue(
    issuer: _Issuer,
    name: str,
    key: ec.EllipticCurvePrivateKey,
    purpose: x509.ObjectIdentifier | None = None,
) -> x509.Certificate:
    """Return a certificate for ``purpose``; without one it is the CA's own.

    The extensions are those that "--remote-cert-tls" in the OpenVPN manual asks for, and the
    ones that RFC 5280, section 4.2.1, wants in every certificate of its kind.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def common_name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    is_ca = purpose is None
    public = key.public_key()
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(common_name(issuer.name))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.begin)
        .not_valid_after(issuer.end)
        .add_extension(x509.BasicConstraints(is_ca, 0 if is_ca else None), critical=True)
        .add_extension(_key_usage(is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority, critical=False)
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if purpose == ExtendedKeyUsageOID.SERVER_AUTH:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def _key_usage(is_ca: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _cert_pem(cert: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return cert.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _new_static_key() -> str:
    digits = secrets.token_hex(2048 // 8)
    lines = [digits[start : start + 32] for start in range(0, len(digits), 32)]
    head, tail = "-----BEGIN OpenVPN Static key V1-----", "-----END OpenVPN Static key V1-----"
    return "\n".join([head, *lines, tail, ""])


def _assemble(pems: dict[str, str]) -> Pki:
    """Return the `Pki` of the texts in ``pems``; raise ValueError where they don't fit."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509.oid import NameOID

    if not _STATIC_KEY.fullmatch(pems["tls_crypt"]):
        raise ValueError("the tls-crypt key has not the form of one")
    certs = {
        role: x509.load_pem_x509_certificate(pems[f"{role}_cert"].encode())
        for role in ("ca", "server", "client")
    }
    for role, cert in certs.items():
        try:
            cert.verify_directly_issued_by(certs["ca"])
        except (InvalidSignature, TypeError) as error:
            raise ValueError(f"the {role} certificate is not signed by the CA") from error
    for role in ("server", "client"):
        key = load_pem_private_key(pems[f"{role}_key"].encode(), password=None)
        if key.public_key() != certs[role].public_key():
            raise ValueError(f"the {role} key does not fit its certificate")
    names = certs["server"].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        raise ValueError("the server certificate has no name")
    return Pki(
        **pems,
        expires=min(cert.not_valid_after_utc for cert in certs.values()),
        fingerprint=hashlib.sha256(b"".join(map(_der, certs.values()))).hexdigest(),
        server_name=str(names[0].value),
    )


def _der(cert: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return cert.public_bytes(Encoding.DER)


def save_pki(directory: Path, pki: Pki) -> None:
    """Write ``pki`` into ``directory``, in one step: it is a single file."""
    ensure_private_dir(directory)
    record = {name: getattr(pki, name) for name in _PEMS}
    record[_EXPIRES] = pki.expires.isoformat()
    write_private(directory / _FILE, (json.dumps(record, indent=2) + "\n").encode())


def load_pki(directory: Path) -> Pki | None:
    """Return what `save_pki` wrote, None where there is nothing; raise `DamagedPki`."""
    path = directory / _FILE
    data = read_private(path)
    if data is None:
        return None
    try:
        record = json.loads(data.decode())
        if not isinstance(record, dict) or set(record) - {_EXPIRES} != set(_PEMS):
            raise ValueError("it is not complete")
        if not all(isinstance(value, str) for value in record.values()):
            raise ValueError("it holds something else than text")
        return _assemble({name: record[name] for name in _PEMS})
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedPki(
            f"the certificates in {path} are damaged: {reason}",
            hint="`macnet setup` sets them aside and makes new ones",
        ) from error


def read_expiry(directory: Path) -> datetime | None:
    """When the stored certificates end, in UTC; None where there are none or no usable ones.

    Does not look into the certificates where `save_pki` has noted it: that would take 60 ms.
    """
    data = read_private(directory / _FILE)
    if data is None:
        return None
    try:
        return datetime.fromisoformat(json.loads(data.decode())[_EXPIRES]).astimezone(UTC)
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    try:
        pki = load_pki(directory)
    except DamagedPki:
        return None
    return pki.expires if pki is not None else None


def replace_pki(directory: Path, pki: Pki, progress: Progress) -> None:
    """Store ``pki`` in place of what is there; damaged files are set aside, as they may be wanted.

    Clients then need a new profile.
    """
    try:
        load_pki(directory)
    except DamagedPki as error:
        aside = set_aside(directory)
        progress.warn(f"{error.message}; they are now in {aside.name} and new ones are made")
    save_pki(directory, pki)


def days_left(expires: datetime, now: datetime) -> int:
    """Return the whole days until certificates expire; negative when they have."""
    return (expires - now) // timedelta(days=1)
