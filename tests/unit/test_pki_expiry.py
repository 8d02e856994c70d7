"""`read_expiry`: when certificates end, told without loading them."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from macnet.pki import create_pki, load_pki, read_expiry, save_pki
from macnet.runner import SystemRunner

PKI = create_pki("macnet", now=datetime(2026, 11, 24, 12, tzinfo=UTC))


def test_it_is_what_the_certificates_say(tmp_path: Path) -> None:
    assert read_expiry(tmp_path) is None
    save_pki(tmp_path, PKI)
    loaded = load_pki(tmp_path)
    assert loaded is not None
    assert read_expiry(tmp_path) == loaded.expires
    assert read_expiry(tmp_path).utcoffset() == timedelta(0)  # type: ignore[union-attr]


def test_the_certificates_are_not_loaded(tmp_path: Path) -> None:
    save_pki(tmp_path, PKI)
    code = (
        "import sys; from pathlib import Path; from macnet.pki import read_expiry\n"
        "print(read_expiry(Path(sys.argv[1])).isoformat(), 'cryptography' in sys.modules)"
    )
    done = SystemRunner().run([sys.executable, "-c", code, str(tmp_path)])
    assert done.stdout.split() == [PKI.expires.isoformat(), "False"]


@pytest.mark.parametrize("noted", [None, "soon", 5])
def test_without_a_usable_note_the_certificates_are_asked(tmp_path: Path, noted: object) -> None:
    save_pki(tmp_path, PKI)
    record = json.loads((tmp_path / "pki.json").read_text())
    del record["expires"]
    (tmp_path / "pki.json").write_text(json.dumps(record | ({"expires": noted} if noted else {})))
    # A note that is not text makes the whole file damaged, as any such value does.
    assert read_expiry(tmp_path) == (None if noted == 5 else PKI.expires)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "[" * 100_000])
def test_damage_is_no_expiry(tmp_path: Path, text: str) -> None:
    (tmp_path / "pki.json").write_text(text)
    assert read_expiry(tmp_path) is None
