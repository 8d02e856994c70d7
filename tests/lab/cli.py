"""Command line of the lab."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError
from .images import BASE_IMAGE
from .lab import DEFAULT_CLIENT, DEFAULT_ENGINE, Lab
from .mac import CLIENTS
from .members import KINDS
from .packages import install, require_root
from .paths import DEFAULT_ENGINE_NAME, DEFAULT_NAME, cache_root
from .status import LabStatus

_ACTIONS = ("start", "stop", "kill", "restart", "reboot")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return _dispatch(arguments)
    except LabError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what has started goes on; `make down` ends it", file=sys.stderr)
        return 130


def _dispatch(arguments: argparse.Namespace) -> int:
    require_root()
    if arguments.command == "install":
        done = install(_say, browser=arguments.browser)
        _say(f"installed: {', '.join(done)}" if done else "nothing to install")
        return 0
    if arguments.command == "up":
        lab = Lab(arguments.name, arguments.engine, arguments.client, say=_say)
        made = lab.up()
        _say(f"the lab {lab.name} is up" if made else f"the lab {lab.name} is up already")
        _print(lab.status())
        return 0
    lab = Lab(arguments.name, say=_say)
    if arguments.command == "down":
        lab.down(purge=arguments.purge)
        _say(f"the lab {lab.name} is down")
        if not arguments.purge:
            _say(f"{cache_root()} stays for the next time (0.5 GB); `down --purge` removes it too")
        return 0
    if arguments.command == "status":
        status = lab.status()
        if arguments.json:
            print(json.dumps(dataclasses.asdict(status), indent=2))
        else:
            _print(status)
        return 0 if status.healthy else 1
    if arguments.command == "engine":
        return _engine(lab, arguments)
    if arguments.command == "shell":
        words = ["bash", "--norc", "-i"]
    else:
        words = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not words:
        raise LabError("no command to run", "python -m tests.lab run COMMAND...")
    if arguments.engine not in lab.members:
        raise LabError(
            f"no such engine in the lab: {arguments.engine}", f"it has {', '.join(lab.members)}"
        )
    environment = lab.mac_environment({"MACNET_BASE_IMAGE": BASE_IMAGE}, arguments.engine)
    # macnet of this checkout, by its name; the prompt says where it runs.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PS1"] = f"({lab.name}, the Mac's side) \\W $ "
    lab.mac.replace_process(words, environment)
    return 0


def _engine(lab: Lab, arguments: argparse.Namespace) -> int:
    if arguments.action == "add":
        engine = lab.add_engine(arguments.engine, arguments.kind, sample=arguments.sample)
        _say(f"engine {engine.name} {engine.version}: {engine.docker_host}")
        return 0
    if arguments.action == "remove":
        lab.remove_engine(arguments.engine)
        return 0
    if arguments.engine not in lab.members:
        raise LabError(
            f"no such engine in the lab: {arguments.engine}", f"it has {', '.join(lab.members)}"
        )
    getattr(lab.members[arguments.engine].engine, arguments.action)()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description="A Mac and an engine's VM on one machine, for end-to-end tests.",
    )
    parser.add_argument(
        "--name", default=DEFAULT_NAME, help="name of the lab (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("install", help="install the Debian packages that the lab needs")
    add.add_argument("--browser", action="store_true", help="and Chromium, for `macnet map`")
    up = commands.add_parser("up", help="bring the lab up")
    up.add_argument(
        "--engine", choices=KINDS, help=f"which engine, and from where (default: {DEFAULT_ENGINE})"
    )
    up.add_argument(
        "--client",
        choices=CLIENTS,
        help=f"which OpenVPN the Mac side has (default: {DEFAULT_CLIENT})",
    )
    down = commands.add_parser("down", help="remove the lab")
    down.add_argument("--purge", action="store_true", help="remove the cached Debian trees too")
    status = commands.add_parser("status", help="say what runs; exit code 1 unless all is well")
    status.add_argument("--json", action="store_true", help="print JSON")
    run = commands.add_parser("run", help="run a command on the Mac side")
    shell = commands.add_parser("shell", help="open a shell on the Mac side")
    for one in (run, shell):
        one.add_argument(
            "--engine", default=DEFAULT_ENGINE_NAME, help="engine that DOCKER_HOST names"
        )
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND...")
    engine = commands.add_parser(
        "engine", help="stop, kill, restart or reboot an engine; add or remove one"
    )
    engine.add_argument("action", choices=(*_ACTIONS, "add", "remove"))
    engine.add_argument(
        "engine", nargs="?", default=DEFAULT_ENGINE_NAME, help="its name (default: %(default)s)"
    )
    engine.add_argument(
        "--kind", choices=KINDS, default="host", help="for add: which engine, and from where"
    )
    engine.add_argument(
        "--sample", action="store_true", help="for add: with the sample application"
    )
    for command in (up, down, status, run, shell, engine):
        command.add_argument("--name", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _print(status: LabStatus) -> None:
    health = "healthy" if status.healthy else "not healthy"
    print(f"lab {status.name}: {health}, OpenVPN client {status.client}")
    for one in status.engines:
        state = f"{one.version}, pid {one.pid}" if one.healthy else "does not run"
        sample = {None: "none", True: "runs", False: "does not run"}[one.sample_running]
        print(f"engine {one.name} ({one.kind}): {state}")
        print(f"  {one.docker_host}")
        print(f"  forwarder pid {one.forwarder_pid}, sample application {sample}")
