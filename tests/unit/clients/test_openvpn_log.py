from __future__ import annotations

from pathlib import Path

import pytest

from macnet.clients.openvpn import find_reason, read_log

TIME = "2026-11-24 18:20:36 "
BAD_CA = [
    "TLS: Initial packet from [AF_INET]127.0.0.1:11940, sid=5c5d5916 3191c3bd",
    "VERIFY ERROR: depth=1, error=self-signed certificate in certificate chain: CN=ca",
    "Sent fatal SSL alert: unknown CA",
    "OpenSSL: error:0A000086:SSL routines::certificate verify failed:",
    "TLS_ERROR: BIO read tls_read_plaintext error",
    "TLS Error: TLS handshake failed",
    "SIGUSR1[soft,tls-error] received, process restarting",
]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (BAD_CA, BAD_CA[1]),
        (
            ["TCP: connect to [AF_INET]127.0.0.1:1 failed: Connection refused", "Restart pause"],
            "TCP: connect to [AF_INET]127.0.0.1:1 failed: Connection refused",
        ),
        (
            ["ERROR: Cannot open TUN/TAP dev /dev/net/tun: Permission denied (errno=13)", "Exit"],
            "ERROR: Cannot open TUN/TAP dev /dev/net/tun: Permission denied (errno=13)",
        ),
        (
            ["AUTH: Received control message: AUTH_FAILED", "SIGTERM[soft,auth-failure] received"],
            "AUTH: Received control message: AUTH_FAILED",
        ),
        (
            ["ERROR: Endtag </ca> missing", "Exiting due to fatal error"],
            "ERROR: Endtag </ca> missing",
        ),
        (
            ["TCP/UDP: Socket bind failed on local address: Address already in use", "x"],
            "TCP/UDP: Socket bind failed on local address: Address already in use",
        ),
        (["something new", "and its end"], "and its end"),
        ([], None),
    ],
)
def test_find_reason(lines: list[str], reason: str | None) -> None:
    assert find_reason([TIME + line for line in lines]) == reason
    assert find_reason([TIME + "us=372107   " + line for line in lines]) == reason


def test_the_newest_of_equal_reasons() -> None:
    assert find_reason(["connect to a failed", "connect to b failed", "pause"]) == (
        "connect to b failed"
    )


def test_read_log_without_our_own_questions(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        f"{TIME}MANAGEMENT: Client connected from /x/openvpn.sock\n"
        f"{TIME}MANAGEMENT: CMD 'state'\n\n"
        f"{TIME}MANAGEMENT: >STATE:1795544436,WAIT,,,,,,\n"
        f"{TIME}Restart pause, 1 second(s)\n"
    )
    assert read_log(log) == [f"{TIME}Restart pause, 1 second(s)"]
    assert read_log(tmp_path / "none") == []
