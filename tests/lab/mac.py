"""The Mac side: a network namespace that sees no Docker network, with a home of its own."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LabError
from .namespaces import create_netns, delete_netns, enter_netns, kill_in_netns, netns_exists
from .packages import search_path
from .paths import LabPaths
from .process import DEVNULL, PIPE, Completed, Running, Stream, run, start
from .trees import base_spec, ensure_tree

CLIENTS = ("host", "forky")
"""OpenVPN clients there are: the one installed on this machine, and the base tree's newer one."""


class MacSide:
    """Runs commands as they would run on a Mac."""

    def __init__(self, paths: LabPaths) -> None:
        self.paths = paths

    @property
    def on(self) -> bool:
        """Whether the Mac side is there."""
        return netns_exists(self.paths.mac_netns)

    def power_on(self, client: str) -> None:
        """Make the namespace, the folders, and the chosen OpenVPN's command."""
        create_netns(self.paths.mac_netns)
        for folder in (self.paths.mac_home, self.paths.mac_user, self.paths.bin):
            folder.mkdir(parents=True, exist_ok=True)
        if client == "forky":
            tree = ensure_tree(self.paths.cache, base_spec())
            wrapper = self.paths.bin / "openvpn"
            wrapper.write_text(
                f'#!/bin/sh\nexec {shlex.join(foreign_program(tree, "usr/sbin/openvpn"))} "$@"\n'
            )
            wrapper.chmod(0o755)

    def power_off(self) -> None:
        """Kill everything on the Mac side and drop its namespace."""
        kill_in_netns(self.paths.mac_netns)
        delete_netns(self.paths.mac_netns)

    def enter(self) -> list[str]:
        """Words to put before a command."""
        if not self.on:
            raise LabError(f"the lab {self.paths.name} is down", "run: python -m tests.lab up")
        return enter_netns(self.paths.mac_netns)

    def environment(
        self, docker_host: str, extra: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Environment of a command: this process's, with the lab's engine, homes and programs."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DOCKER_", "MACNET_"))
        }
        return {
            **kept,
            "DOCKER_HOST": docker_host,
            "MACNET_HOME": str(self.paths.mac_home),
            "HOME": str(self.paths.mac_user),
            "PATH": f"{self.paths.bin}:{search_path()}",
            **(extra or {}),
        }

    def run(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        check: bool = True,
        timeout_s: float = 60,
        input: str | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        """Run a command to its end."""
        words = [*self.enter(), *argv]
        return run(words, check=check, timeout_s=timeout_s, input=input, env=environment, cwd=cwd)

    def popen(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: Stream = DEVNULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        cwd: Path | None = None,
    ) -> Running:
        """Start a command; the caller ends it."""
        return start(
            [*self.enter(), *argv], environment, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd
        )

    def replace_process(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Become a command, terminal and all; does not return."""
        nsenter = shutil.which("nsenter", path=search_path()) or "nsenter"
        os.execve(nsenter, [*self.enter(), *argv], dict(environment))  # noqa: S606 - no shell is wanted


def foreign_program(tree: Path, program: str) -> list[str]:
    """Words that run a tree's program with the tree's libraries but this machine's files."""
    loaders = sorted(tree.glob("lib64/ld-linux*.so.*")) or sorted(tree.glob("lib/ld-linux*.so.*"))
    if not loaders:
        raise LabError(f"no dynamic loader in {tree}")
    folders = [str(path) for path in sorted(tree.glob("usr/lib/*-linux-gnu*")) if path.is_dir()]
    path = str(tree / program)
    return [
        str(loaders[0]),
        "--argv0",
        path,
        "--library-path",
        ":".join([*folders, str(tree / "usr/lib")]),
        path,
    ]
