"""The engines of a lab, each with what belongs to it, and how processes remember them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .engine import DOCKER_KINDS, Engine
from .errors import LabError
from .forwarding import ForwarderControl
from .paths import LabPaths
from .podman import PODMAN_KINDS, Podman
from .sample import Sample
from .vm import Vm

KINDS = (*DOCKER_KINDS, *PODMAN_KINDS)
"""Engines that a lab can have."""


@dataclass(frozen=True)
class Member:
    """One engine of a lab with what belongs to it."""

    engine: Engine
    forwarder: ForwarderControl
    sample: Sample
    has_sample: bool


def make_member(paths: LabPaths, name: str, kind: str, *, has_sample: bool = False) -> Member:
    """The engine of that name in the lab, whether or not it runs."""
    if kind not in KINDS:
        raise LabError(f"no such engine: {kind}", f"one of {', '.join(KINDS)}")
    made = Podman if kind in PODMAN_KINDS else Engine
    engine = made(Vm(paths.vm(name), paths.home), kind, paths.cache)
    sample = Sample(engine, f"macnet.lab={paths.name}")
    return Member(engine, ForwarderControl(engine, paths.mac_netns), sample, has_sample)


def save_config(paths: LabPaths, client: str, members: Mapping[str, Member]) -> None:
    """Remember what the running lab is made of."""
    engines = {
        name: {"kind": one.engine.kind, "sample": one.has_sample} for name, one in members.items()
    }
    fresh = paths.config.with_suffix(".new")
    fresh.write_text(json.dumps({"client": client, "engines": engines}, indent=2) + "\n")
    fresh.replace(paths.config)


def load_config(paths: LabPaths) -> tuple[str, dict[str, Member]] | None:
    """Client and engines of the running lab; None if there is none."""
    try:
        data = json.loads(paths.config.read_text())
        members = {
            name: make_member(paths, name, one["kind"], has_sample=one["sample"])
            for name, one in data["engines"].items()
        }
        return str(data["client"]), members
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(
            f"unreadable: {paths.config}: {error}",
            "remove this file, then run: python -m tests.lab down",
        ) from error
