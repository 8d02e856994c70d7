"""One lab for all end-to-end tests of a process. Where it cannot start they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.steps import LANE, Mac
from tests.lab import Lab
from tests.side_by_side import claim, lab_name, release


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where pasta carries TCP, tests of the kernel's lane have nothing to look at."""
    if LANE == "kernel":
        return
    absent = [item for item in items if item.get_closest_marker("kernel_lane")]
    items[:] = [item for item in items if item not in absent]
    config.hook.pytest_deselected(items=absent)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, brought up once.

    MACNET_LAB_NAME names another one than the default; MACNET_LAB_ENGINE and MACNET_LAB_CLIENT
    choose a column of the version matrix (see `python -m tests.lab up --help`). With
    MACNET_LAB_LANE=pasta its kernel plays one that lacks what the TCP lane needs.
    """
    built = Lab(
        lab_name(),
        os.environ.get("MACNET_LAB_ENGINE"),
        os.environ.get("MACNET_LAB_CLIENT"),
    )
    claim(built.paths.name)
    built.up()
    yield built
    built.down()
    release(built.paths.name)


@pytest.fixture
def mac(lab: Lab) -> Mac:
    """The Mac side in whatever state the test before left it."""
    return Mac(lab)


@pytest.fixture
def clean(mac: Mac) -> Mac:
    """The Mac side without a tunnel and without files; the image is left where there is one.

    To build it for each test would take longer than most of them do.
    """
    mac.forget()
    return mac


@pytest.fixture
def purged(mac: Mac) -> Mac:
    """The Mac side without a tunnel, without files, without an image."""
    mac.macnet("down", "--purge")
    return mac


@pytest.fixture
def up(mac: Mac) -> Mac:
    """The Mac side with a tunnel of default settings that carries traffic."""
    # Options of a test before are remembered; they go with the files.
    options = mac.json("status", check=False)["status"]["settings"]
    if any(item["source"] == "last setup" for item in options):
        mac.forget()
    mac.macnet("setup")
    return mac
