"""The wheel holds what a checkout has: an installed macnet runs, and finds its templates."""

import subprocess  # noqa: TID251
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import macnet

CHECKOUT = Path(__file__).parents[2]


def run(*argv: str | Path, cwd: Path) -> str:
    done = subprocess.run(argv, cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_an_installed_wheel_runs_and_has_all_its_files(tmp_path: Path) -> None:
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path)
    run(*build, CHECKOUT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("macnet-*.whl")
    sources = {
        f"macnet/templates/{path.relative_to(CHECKOUT / 'templates').as_posix()}"
        for path in (CHECKOUT / "templates").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    with zipfile.ZipFile(wheel) as archive:
        assert sources <= set(archive.namelist())

    venv.create(tmp_path / "venv", with_pip=False, system_site_packages=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, *install, wheel, cwd=tmp_path)
    # "system" is the base interpreter; the dependencies may be in a venv around this test.
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = (
        "import macnet.render as r; print(r.__file__); print(r.template_names('client'));"
        "r.render('client/profile.ovpn.j2', remote='127.0.0.1', port=1, server_name='s',"
        " tun_mtu=1500, comp_lzo='no', routes=(), ca_cert='',"
        " client_cert='', client_key='', tls_crypt='')"
    )
    place, names = run(python, "-I", "-c", code, cwd=tmp_path).splitlines()
    assert Path(place).is_relative_to(packages)
    assert "client/profile.ovpn.j2" in names

    said = run(tmp_path / "venv/bin/macnet", "--version", cwd=tmp_path)
    assert said == f"macnet {macnet.__version__}\n"
    for source in (CHECKOUT / "share").rglob("*"):
        assert (tmp_path / "venv" / source.relative_to(CHECKOUT)).exists(), source

    completions = tmp_path / "venv/share/bash-completion/completions/macnet"
    tab = f". '{completions}'; COMP_WORDS=(macnet agent un) COMP_CWORD=2"
    tab += f"; _macnet_completion '{tmp_path}/venv/bin/macnet'; echo ${{COMPREPLY[@]}}"
    assert run("bash", "-c", tab, cwd=tmp_path) == "uninstall\n"
