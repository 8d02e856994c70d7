"""The lab as a person uses it: `make run`, `make shell`, and Ctrl-C while it comes up."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.e2e.steps import Mac, wait_until
from tests.lab.process import PIPE, Completed, Running, run

CHECKOUT = Path(__file__).parents[2]


def lab(*words: str, name: str, **more: str) -> Completed:
    """Run the lab's command line; ``more`` are variables."""
    argv = [sys.executable, "-m", "tests.lab", "--name", name, *words]
    return run(argv, check=False, env={**os.environ, **more}, cwd=CHECKOUT)


def test_commands_on_the_macs_side_find_this_macnet(up: Mac) -> None:
    said = lab("run", "macnet", "networks", name=up.lab.name)
    assert said.returncode == 0, said.stderr
    assert "172.82.0.0/24" in said.stdout
    where = lab("run", "sh", "-c", "command -v macnet; echo $MACNET_BASE_IMAGE", name=up.lab.name)
    program, image = where.stdout.splitlines()
    assert Path(program) == Path(sys.executable).with_name("macnet")
    assert image


def test_a_shell_on_the_macs_side(up: Mac) -> None:
    script = "ping -c 1 172.82.0.100 && exit 7\n"
    argv = [sys.executable, "-m", "tests.lab", "--name", up.lab.name, "shell"]
    done = run(argv, check=False, cwd=CHECKOUT, input=script)
    assert done.returncode == 7, done.stderr
    assert f"({up.lab.name}, the Mac's side)" in done.stderr


def test_ctrl_c_while_a_lab_comes_up_is_no_traceback(up: Mac) -> None:
    name = f"{up.lab.name}-ctrl-c"
    argv = [sys.executable, "-m", "tests.lab", "--name", name, "up"]
    coming = Running(argv, cwd=CHECKOUT, stderr=PIPE, text=True)
    try:
        home = Path(up.lab.paths.home).with_name(name)
        wait_until(home.exists, 20, "the lab begins")
        coming.send_signal(signal.SIGINT)
        _, said = coming.communicate(timeout=60)
        assert coming.returncode == 130, said
        assert said.splitlines()[-1] == "interrupted: what has started goes on; `make down` ends it"
        assert "Traceback" not in said
    finally:
        coming.kill()
        down = lab("down", name=name)
    assert down.returncode == 0, down.stderr
    assert not home.exists()
