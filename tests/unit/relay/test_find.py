"""Server and joiners are known by the token, and the interface is that of the default route."""

from __future__ import annotations

from pathlib import Path

from macnet.relay.find import default_interface, find_joiner, find_server


def process(proc: Path, pid: int, name: str, *environment: str) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "comm").write_text(f"{name}\n")
    (folder / "environ").write_bytes(b"".join(f"{one}\0".encode() for one in environment))


def test_only_name_and_token_together_count(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "7").mkdir()  # it has ended
    process(tmp_path, 10, "openvpn", "PATH=/", "MACNET_SERVER=other")
    process(tmp_path, 11, "sh", "MACNET_SERVER=token")
    process(tmp_path, 12, "openvpn", "X=MACNET_SERVER=token", "MACNET_SERVER=token1")
    assert find_server("token", tmp_path) is None
    process(tmp_path, 13, "openvpn", "PATH=/", "MACNET_SERVER=token", "HOME=/")
    assert find_server("token", tmp_path) == 13
    assert find_server("", tmp_path) is None


def test_a_joiner_is_known_by_token_and_key(tmp_path: Path) -> None:
    process(tmp_path, 10, "sh", "MACNET_JOINER=token.other")
    process(tmp_path, 11, "sleep", "MACNET_JOINER=token.key")
    process(tmp_path, 12, "sh", "MACNET_JOINER=stranger.key", "MACNET_SERVER=token.key")
    assert find_joiner("token", "key", tmp_path) is None
    process(tmp_path, 13, "sh", "MACNET_JOINER=token.key")
    assert find_joiner("token", "key", tmp_path) == 13


def test_the_interface_of_the_default_route(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    rows = [
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0",
        "half\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0",
    ]
    (tmp_path / "net/route").write_text("\n".join(rows) + "\n")
    assert default_interface(tmp_path) is None
    rows.append("eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0")
    (tmp_path / "net/route").write_text("\n".join(rows) + "\n")
    assert default_interface(tmp_path) == "eth0"
