"""Certificates have the form that both ends demand, and damaged ones are never used."""

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from macnet.errors import StateError
from macnet.pki import (
    DamagedPki,
    create_pki,
    days_left,
    load_pki,
    replace_pki,
    save_pki,
)
from macnet.progress import Silent

NOW = datetime(2026, 11, 24, 12, 0, 0, 5, tzinfo=UTC)
PKI = create_pki("macnet", now=NOW)
OTHER = create_pki("macnet", now=NOW)
PEMS = ("ca_cert", "server_cert", "server_key", "client_cert", "client_key", "tls_crypt")


class Warnings(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


def parsed(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def usages(cert: x509.Certificate) -> set[str]:
    usage = cert.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    words = (
        *("digital_signature", "content_commitment", "key_cert_sign", "crl_sign"),
        *("key_encipherment", "data_encipherment", "key_agreement"),
    )
    return {word for word in words if getattr(usage.value, word)}


def test_the_ca_signs_two_leaves_and_no_further_ca() -> None:
    ca = parsed(PKI.ca_cert)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usages(ca) == {"key_cert_sign", "crl_sign"}
    for pem in (PKI.server_cert, PKI.client_cert):
        leaf = parsed(pem)
        leaf.verify_directly_issued_by(ca)
        assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert usages(leaf) == {"digital_signature"}
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        subject = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert authority.key_identifier == subject.digest


def test_only_what_no_verifier_may_ignore_is_critical() -> None:
    # RFC 5280, 4.2.1.1, 4.2.1.2: the key identifiers must not be.
    for pem in (PKI.ca_cert, PKI.server_cert, PKI.client_cert):
        critical = [one.value for one in parsed(pem).extensions if one.critical]
        assert [type(value) for value in critical] == [x509.BasicConstraints, x509.KeyUsage]


def test_neither_leaf_serves_as_the_other() -> None:
    for pem, purpose in (
        (PKI.server_cert, ExtendedKeyUsageOID.SERVER_AUTH),
        (PKI.client_cert, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        extended = parsed(pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(extended) == [purpose]


def test_the_server_has_the_name_that_clients_verify() -> None:
    server = parsed(PKI.server_cert)
    assert PKI.server_name == "macnet-server"
    assert server.subject.rfc4514_string() == "CN=macnet-server"
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["macnet-server"]


def test_the_longest_tunnel_name_fits_into_a_certificate() -> None:
    assert create_pki("x" * 40, now=NOW).server_name == "x" * 40 + "-server"


def test_keys_are_p256_and_signatures_sha256() -> None:
    for pem in (PKI.ca_cert, PKI.server_cert, PKI.client_cert):
        cert = parsed(pem)
        key = cert.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)
        assert isinstance(cert.signature_hash_algorithm, hashes.SHA256)


def test_serial_numbers_and_keys_are_new_every_time() -> None:
    certs = [
        parsed(pem)
        for pki in (PKI, OTHER)
        for pem in (pki.ca_cert, pki.server_cert, pki.client_cert)
    ]
    assert len({cert.serial_number for cert in certs}) == 6
    assert len({PKI.server_key, PKI.client_key, OTHER.server_key, OTHER.client_key}) == 4
    assert PKI.tls_crypt != OTHER.tls_crypt
    assert PKI.fingerprint != OTHER.fingerprint


def test_validity_begins_a_day_early_and_ends_within_825_days() -> None:
    for pem in (PKI.ca_cert, PKI.server_cert, PKI.client_cert):
        cert = parsed(pem)
        assert cert.not_valid_before_utc == datetime(2026, 11, 23, 12, tzinfo=UTC)
        assert cert.not_valid_after_utc - cert.not_valid_before_utc == timedelta(days=825)
        assert cert.not_valid_after_utc == PKI.expires
    east = timezone(timedelta(hours=9))
    assert create_pki("macnet", now=NOW.astimezone(east)).expires == PKI.expires
    assert create_pki("macnet", now=NOW, days=2).expires == NOW.replace(microsecond=0) + timedelta(
        1
    )
    for days in (0, 1, 826):
        with pytest.raises(ValueError, match="days"):
            create_pki("macnet", now=NOW, days=days)


def test_the_static_key_has_openvpns_format() -> None:
    first, *lines, last = PKI.tls_crypt.splitlines()
    assert first == "-----BEGIN OpenVPN Static key V1-----"
    assert last == "-----END OpenVPN Static key V1-----"
    assert [len(bytes.fromhex(line)) for line in lines] == [16] * 16


def test_no_key_is_shown_by_accident() -> None:
    assert repr(PKI) == (
        f"Pki(expires={PKI.expires!r}, fingerprint={PKI.fingerprint!r}, "
        "server_name='macnet-server')"
    )


def test_days_left_counts_whole_days() -> None:
    assert days_left(PKI.expires, NOW) == 823
    assert days_left(PKI.expires, PKI.expires - timedelta(hours=47)) == 1
    assert days_left(PKI.expires, PKI.expires) == 0
    assert days_left(PKI.expires, PKI.expires + timedelta(seconds=1)) == -1


def test_it_is_read_back_from_private_files(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    assert load_pki(directory) is None
    save_pki(directory, PKI)
    assert load_pki(directory) == PKI
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_the_ca_key_is_not_written(tmp_path: Path) -> None:
    save_pki(tmp_path, PKI)
    stored = json.loads((tmp_path / "pki.json").read_text())
    authority = parsed(PKI.ca_cert).public_key()
    for name, pem in stored.items():
        if name.endswith("_key"):
            assert load_pem_private_key(pem.encode(), None).public_key() != authority


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_crash_while_saving_leaves_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    save_pki(tmp_path, PKI)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(step, crash)
        save_pki(tmp_path, OTHER)
    assert load_pki(tmp_path) == PKI


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ca_cert", "not signed by the CA"),
        ("server_cert", "not signed by the CA"),
        ("client_cert", "not signed by the CA"),
        ("server_key", "does not fit its certificate"),
        ("client_key", "does not fit its certificate"),
    ],
)
def test_a_mix_of_two_is_damage(tmp_path: Path, name: str, reason: str) -> None:
    save_pki(tmp_path, replace(PKI, **{name: getattr(OTHER, name)}))
    with pytest.raises(DamagedPki, match=reason):
        load_pki(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", json.dumps({"ca_cert": PKI.ca_cert}), "[" * 100_000],
)
def test_an_incomplete_file_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "pki.json").write_text(text)
    with pytest.raises(DamagedPki) as caught:
        load_pki(tmp_path)
    assert isinstance(caught.value, StateError)
    assert "BEGIN" not in caught.value.message


@given(st.sampled_from(PEMS), st.data())
def test_any_other_text_is_damage(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    whole: str = getattr(PKI, name)
    cut = whole[: data.draw(st.integers(0, len(whole) - 30))]
    changed: dict[str, Any] = {name: cut + data.draw(st.text(max_size=5))}
    directory = tmp_path_factory.getbasetemp() / "cut"
    save_pki(directory, replace(PKI, **changed))
    with pytest.raises(DamagedPki):
        load_pki(directory)


def test_others_take_their_place(tmp_path: Path) -> None:
    directory, progress = tmp_path / "pki", Warnings()
    for pki in (PKI, OTHER):
        replace_pki(directory, pki, progress)
        assert load_pki(directory) == pki
    assert not progress.texts


def test_damaged_ones_are_set_aside(tmp_path: Path) -> None:
    directory, progress = tmp_path / "pki", Warnings()
    directory.mkdir()
    (directory / "pki.json").write_text("half")
    (directory / "note").write_text("the user's")
    replace_pki(directory, PKI, progress)
    assert load_pki(directory) == PKI
    (aside,) = (path for path in tmp_path.iterdir() if path != directory)
    assert (aside / "pki.json").read_text() == "half"
    assert (aside / "note").exists()
    (warning,) = progress.texts
    assert aside.name in warning
