"""One lab for all end-to-end tests. Where it cannot start they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.steps import Mac
from tests.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, brought up once.

    MACNET_LAB_NAME names another one than the default; MACNET_LAB_ENGINE and MACNET_LAB_CLIENT
    choose a column of the version matrix (see `python -m tests.lab up --help`).
    """
    built = Lab(
        os.environ.get("MACNET_LAB_NAME", "macnet-e2e"),
        os.environ.get("MACNET_LAB_ENGINE"),
        os.environ.get("MACNET_LAB_CLIENT"),
    )
    built.up()
    yield built
    built.down()


@pytest.fixture
def mac(lab: Lab) -> Mac:
    """The Mac side in whatever state the test before left it."""
    return Mac(lab)


@pytest.fixture
def clean(mac: Mac) -> Mac:
    """The Mac side without a tunnel, without files, without an image."""
    mac.macnet("down", "--purge")
    return mac


@pytest.fixture
def up(mac: Mac) -> Mac:
    """The Mac side with a tunnel of default settings that carries traffic."""
    # Options of a test before are remembered; they go with the files.
    options = mac.json("status", check=False)["status"]["settings"]
    if any(item["source"] == "last setup" for item in options):
        mac.macnet("down", "--purge")
    mac.macnet("setup")
    return mac
