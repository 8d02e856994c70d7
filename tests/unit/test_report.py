"""The archive for a bug report: secrets go, names get numbers, and what fails is told."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from macnet.pki import create_pki
from macnet.report import ReportPart, anonymizer, redactor, save_report

PKI = create_pki("macnet", now=datetime(2026, 1, 1, tzinfo=UTC))
KEYS = (PKI.server_key, PKI.client_key, PKI.tls_crypt, PKI.ca_cert, PKI.client_cert)


def test_keys_go_even_when_nobody_named_them() -> None:
    hide = redactor([], {})
    for key in KEYS:
        shown = hide(f"before\n{key}after")
        assert shown.startswith("before") and shown.endswith("after")
        for line in key.splitlines()[1:-1]:
            assert line not in shown


def test_a_key_that_is_cut_off_goes_to_the_end() -> None:
    half = PKI.client_key[: len(PKI.client_key) // 2]
    assert half[40:] not in redactor([], {})(f"log\n{half}")


def test_single_lines_of_known_keys_go() -> None:
    lines = [line for key in KEYS for line in key.splitlines() if not line.startswith("---")]
    shown = redactor(lines, {})("\n".join(f"openvpn: {line} ?" for line in lines))
    assert not any(line in shown for line in lines if len(line) >= 8)


def test_tokens_and_homes_go() -> None:
    hide = redactor([], {"/home/ada": "~"})
    assert hide("MACNET_SERVER=" + "0af1" * 8) == "MACNET_SERVER=(removed)"
    assert hide("/home/ada/x and 172.17.0.2") == "~/x and 172.17.0.2"


@given(st.text(st.characters(codec="ascii", exclude_characters="-/"), max_size=200))
def test_a_text_without_secrets_stays(text: str) -> None:
    if not any(len(word) >= 32 for word in text.split()):
        assert redactor(["A-secret-of-the-run"], {})(text) == text


def test_names_get_the_same_number_everywhere() -> None:
    rename = anonymizer([("shop", "network"), ("shop-db", "container"), ("db", "container")])
    assert rename("shop-db on shop, db too") == "container-1 on network-1, container-2 too"
    assert rename('"shop-db.local"') == '"container-1.local"'


def test_words_that_only_contain_a_name_stay() -> None:
    rename = anonymizer([("web", "container")])
    assert rename("cobweb webs web") == "cobweb webs container-1"


def test_our_own_names_and_no_names_stay() -> None:
    assert anonymizer([("macnet-server", "container")])("macnet-server") == "macnet-server"
    assert anonymizer([])("web") == "web"


def test_the_archive_is_this_users_alone(tmp_path: Path) -> None:
    target = tmp_path / "report.zip"
    save_report([ReportPart("a.txt", "ä")], target)
    assert target.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(target) as archive:
        assert archive.read("macnet-report/a.txt").decode() == "ä"
