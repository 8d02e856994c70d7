"""The script that runs the main job on a real Mac, here in the lab."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.steps import PROGRAM, Mac
from tests.lab.images import SAMPLE_IMAGE

REACH = Path(__file__).parents[2] / ".ci/reach"


def test_the_main_job(clean: Mac) -> None:
    """Names are asked for on a Mac only: nothing on the lab's Mac side resolves them."""
    lab = clean.lab
    path = lab.mac_environment()["PATH"]
    # The script finds macnet on PATH, as a user's shell does.
    env = clean.environment({"PATH": f"{Path(PROGRAM).parent}:{path}"})
    done = lab.run([str(REACH), SAMPLE_IMAGE], env=env, check=False, timeout_s=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    steps = [line.removeprefix("== ") for line in done.stdout.splitlines() if "== " in line]
    assert steps[:4] == ["a container", "setup", "check", "curl by address"]
    assert steps[-1] == "down"
    assert "ci-" not in lab.docker("ps", "--all", "--format", "{{.Names}}")
