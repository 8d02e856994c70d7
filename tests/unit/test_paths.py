"""Everything is below MACNET_HOME where it is set, else where the platform keeps such files."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from macnet.paths import Paths


def test_one_variable_moves_everything(tmp_path: Path) -> None:
    paths = Paths.default({"MACNET_HOME": str(tmp_path)})
    assert paths.config_file == tmp_path / "config.toml"
    assert paths.watch_log == tmp_path / "watch.log"
    tunnel = paths.tunnel("colima")
    assert tunnel.root == tmp_path / "tunnels" / "colima"
    assert {
        path.relative_to(tunnel.root).as_posix()
        for path in (
            *(tunnel.state, tunnel.pki, tunnel.profile, tunnel.lock),
            *(tunnel.client_log, tunnel.client_pid, tunnel.client_socket),
        )
    } == {
        *("tunnel.json", "pki", "macnet.ovpn", "lock"),
        *("openvpn.log", "openvpn.pid", "openvpn.sock"),
    }


def test_the_variable_may_be_relative_to_here_or_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert Paths.default({"MACNET_HOME": "here"}).state == tmp_path / "here"
    assert Paths.default({"MACNET_HOME": "~/x"}).state == Path("/home/someone/x")


@pytest.mark.parametrize("environ", [{}, {"MACNET_HOME": ""}])
def test_without_it_the_platform_decides(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder(kind: str) -> object:
        return lambda name, *, appauthor: f"/{kind}/{name}/{appauthor}"

    monkeypatch.setattr(platformdirs, "user_data_dir", folder("data"))
    monkeypatch.setattr(platformdirs, "user_config_dir", folder("config"))
    paths = Paths.default(environ)
    assert paths.state == Path("/data/macnet/False")
    assert paths.config_file == Path("/config/macnet/False/config.toml")
