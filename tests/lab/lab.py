"""The whole lab: a Mac side, one or more engines, and their published ports."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .engine import Engine
from .errors import LabError
from .forwarding import ForwarderControl
from .images import import_base
from .mac import CLIENTS, MacSide
from .namespaces import mounts_below
from .packages import check_requirements
from .paths import DEFAULT_ENGINE_NAME, DEFAULT_NAME, LabPaths
from .process import run, wait_until
from .sample import Sample
from .trees import base_spec, ensure_tar, ensure_tree, locked, tree_path
from .vm import Vm

DEFAULT_ENGINE = "forky"
DEFAULT_CLIENT = "host"


@dataclass(frozen=True)
class EngineStatus:
    """State of one engine."""

    name: str
    kind: str
    healthy: bool
    version: str
    docker_host: str
    pid: int | None
    forwarder_pid: int | None
    sample_running: bool | None
    """None if this engine has no sample application."""


@dataclass(frozen=True)
class LabStatus:
    """State of a lab."""

    name: str
    healthy: bool
    client: str
    mac_netns: str
    engines: tuple[EngineStatus, ...]


@dataclass(frozen=True)
class Member:
    """One engine of a lab with what belongs to it."""

    engine: Engine
    forwarder: ForwarderControl
    sample: Sample
    has_sample: bool


class Lab:
    """A lab of one name. Objects of several processes may stand for the same lab.

    `engine` and `client` say what `up` builds; left out, they are those of the lab that runs, or the defaults.
    """

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        engine: str | None = None,
        client: str | None = None,
        *,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.paths = LabPaths.of(name)
        self.mac = MacSide(self.paths)
        self._say = say or (lambda message: None)
        self._wanted_engine = engine
        self._wanted_client = client
        if client is not None and client not in CLIENTS:
            raise LabError(f"no such client: {client}", f"one of {', '.join(CLIENTS)}")
        self.client = client or DEFAULT_CLIENT
        self.members: dict[str, Member] = {}
        self._load()
        if DEFAULT_ENGINE_NAME not in self.members:
            self._add_member(DEFAULT_ENGINE_NAME, engine or DEFAULT_ENGINE, has_sample=True)

    @property
    def name(self) -> str:
        """Name of the lab."""
        return self.paths.name

    @property
    def engine(self) -> Engine:
        """The engine that every lab has."""
        return self.members[DEFAULT_ENGINE_NAME].engine

    @property
    def forwarder(self) -> ForwarderControl:
        """Port publishing of that engine."""
        return self.members[DEFAULT_ENGINE_NAME].forwarder

    @property
    def sample(self) -> Sample:
        """Sample application in that engine."""
        return self.members[DEFAULT_ENGINE_NAME].sample

    def up(self) -> bool:
        """Bring the lab up with everything in it; False if it was up and healthy already."""
        with locked(self.paths.lock):
            self._load()
            cached = tree_path(self.paths.cache, base_spec()).is_dir() and self.engine.tree_cached()
            check_requirements(
                host_engine=(self._wanted_engine or self.engine.kind) == "host",
                host_client=(self._wanted_client or self.client) == "host",
                builds_trees=not cached,
            )
            if self.status().healthy:
                self._refuse_other_wishes()
                return False
            self._clean()
            self.members.clear()
            self.client = self._wanted_client or DEFAULT_CLIENT
            self._add_member(DEFAULT_ENGINE_NAME, self._wanted_engine or DEFAULT_ENGINE, has_sample=True)
            self._build_trees(self.engine)
            self.paths.home.mkdir(parents=True)
            self.paths.home.chmod(0o755)
            self.mac.power_on(self.client)
            self._bring_up(self.members[DEFAULT_ENGINE_NAME])
            self._save()
            return True

    def add_engine(self, name: str, engine: str = "host", *, sample: bool = False) -> Engine:
        """Put one more engine into the running lab: its own VM, socket and port publishing."""
        with locked(self.paths.lock):
            self._load()
            if name in self.members:
                member = self.members[name]
                if member.engine.kind != engine:
                    raise LabError(f"engine {name} of lab {self.name} is {member.engine.kind}, not {engine}")
                if member.engine.healthy:
                    return member.engine
            if not self.mac.on:
                raise LabError(f"the lab {self.name} is down", "bring it up first")
            self._remove_engine(name)
            member = self._add_member(name, engine, has_sample=sample)
            self._build_trees(member.engine)
            self._bring_up(member)
            self._save()
            return member.engine

    def remove_engine(self, name: str) -> None:
        """Take an added engine out of the lab again."""
        with locked(self.paths.lock):
            self._load()
            if name == DEFAULT_ENGINE_NAME:
                raise LabError("the lab's first engine cannot be removed", "bring the lab down")
            self._remove_engine(name)
            self._save()

    def down(self, purge: bool = False) -> None:
        """Remove the lab: processes, namespaces, files; with `purge` also the cache that all labs share."""
        with locked(self.paths.lock):
            self._clean()
        self.paths.lock.unlink(missing_ok=True)
        if purge and self.paths.cache.exists():
            if mounts_below(self.paths.cache):
                raise LabError(f"something is mounted in {self.paths.cache}", "unmount it first")
            shutil.rmtree(self.paths.cache)

    def status(self) -> LabStatus:
        """What runs and whether it is well."""
        engines = tuple(self._status_of(member) for member in self.members.values())
        well = all(
            one.healthy and one.forwarder_pid is not None and one.sample_running is not False for one in engines
        )
        healthy = self.paths.config.exists() and self.mac.on and well
        return LabStatus(self.name, healthy, self.client, self.paths.mac_netns, engines)

    def run(
        self,
        argv: Sequence[str],
        check: bool = True,
        timeout_s: float = 60,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        engine: str = DEFAULT_ENGINE_NAME,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the Mac side; with `check`, CommandError if it fails or takes too long."""
        environment = self.mac_environment(env, engine)
        return self.mac.run(argv, environment, check=check, timeout_s=timeout_s, input=input, cwd=cwd)

    def popen(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        engine: str = DEFAULT_ENGINE_NAME,
        stdin: int | IO[str] | None = subprocess.DEVNULL,
        stdout: int | IO[str] | None = subprocess.PIPE,
        stderr: int | IO[str] | None = subprocess.PIPE,
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command on the Mac side."""
        environment = self.mac_environment(env, engine)
        return self.mac.popen(argv, environment, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd)

    def mac_environment(
        self, extra: Mapping[str, str] | None = None, engine: str = DEFAULT_ENGINE_NAME
    ) -> dict[str, str]:
        """Environment of a command on the Mac side."""
        return self.mac.environment(self.members[engine].engine.docker_host, extra)

    def vm_run(
        self, argv: list[str], check: bool = True, timeout_s: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of this machine's programs in the VM's network namespace."""
        return self.engine.vm.run(argv, check=check, timeout_s=timeout_s, input=input)

    def docker(self, *args: str, timeout_s: float = 120) -> str:
        """Run the docker command against the lab's engine; what it printed."""
        return self.engine.docker(*args, timeout_s=timeout_s)

    def iptables_save(self) -> str:
        """All packet filter rules of the VM."""
        return self.engine.vm.iptables_save()

    def _bring_up(self, member: Member) -> None:
        engine = member.engine
        self._say(f"starting the engine {engine.name} ({engine.kind})")
        engine.start()
        member.forwarder.start()
        self._say("importing the base image")
        import_base(engine, self.paths.cache)
        if member.has_sample:
            self._say("starting the sample application")
            member.sample.deploy()
            if not wait_until(member.sample.running, 20):
                raise LabError("the sample application does not run", f"docker -H {engine.docker_host} ps -a")

    def _build_trees(self, engine: Engine) -> None:
        if not engine.tree_cached() or not tree_path(self.paths.cache, base_spec()).is_dir():
            self._say("building Debian trees, once, about a minute")
        with ThreadPoolExecutor(2) as pool:
            engine_tree = pool.submit(engine.tree)
            base_tree = pool.submit(ensure_tree, self.paths.cache, base_spec())
            ensure_tar(self.paths.cache, base_tree.result())
            engine_tree.result()

    def _clean(self) -> None:
        """Remove whatever a lab of this name has or left behind."""
        vms = [Vm(paths, self.paths.home) for paths in self.paths.known_vms()]
        for vm in vms:
            self._member_of(vm).forwarder.stop()
        for vm in vms:
            vm.power_off()
        self.mac.power_off()
        self._remove_files(self.paths.home)

    def _remove_engine(self, name: str) -> None:
        vm = Vm(self.paths.vm(name), self.paths.home)
        self._member_of(vm).forwarder.stop()
        vm.power_off()
        self._remove_files(vm.paths.home)
        self.members.pop(name, None)

    def _remove_files(self, folder: Path) -> None:
        for point in mounts_below(folder):
            run(["umount", "--lazy", point], check=False)
        if folder.exists():
            shutil.rmtree(folder)

    def _member_of(self, vm: Vm, kind: str = DEFAULT_ENGINE, has_sample: bool = False) -> Member:
        engine = Engine(vm, kind, self.paths.cache)
        sample = Sample(engine, f"macnet.lab={self.name}")
        return Member(engine, ForwarderControl(engine, self.paths.mac_netns), sample, has_sample)

    def _add_member(self, name: str, kind: str, *, has_sample: bool) -> Member:
        self.members[name] = self._member_of(Vm(self.paths.vm(name), self.paths.home), kind, has_sample)
        return self.members[name]

    def _status_of(self, member: Member) -> EngineStatus:
        engine = member.engine
        healthy = engine.healthy
        return EngineStatus(
            engine.name,
            engine.kind,
            healthy,
            engine.version if healthy else "",
            engine.docker_host,
            engine.pid,
            member.forwarder.pid,
            (healthy and member.sample.running()) if member.has_sample else None,
        )

    def _refuse_other_wishes(self) -> None:
        wishes = ((self._wanted_engine, self.engine.kind, "engine"), (self._wanted_client, self.client, "client"))
        for wanted, actual, what in wishes:
            if wanted is not None and wanted != actual:
                raise LabError(
                    f"the lab {self.name} is up with {what} {actual}, not {wanted}",
                    "bring it down first, or give the new one another --name",
                )

    def _save(self) -> None:
        engines = {name: {"kind": one.engine.kind, "sample": one.has_sample} for name, one in self.members.items()}
        fresh = self.paths.config.with_suffix(".new")
        fresh.write_text(json.dumps({"client": self.client, "engines": engines}, indent=2) + "\n")
        fresh.replace(self.paths.config)

    def _load(self) -> None:
        try:
            data = json.loads(self.paths.config.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise LabError(f"unreadable: {self.paths.config}: {error}", "run: python -m tests.lab down") from error
        self.client = data["client"]
        self.members.clear()
        for name, one in data["engines"].items():
            self._add_member(name, one["kind"], has_sample=one["sample"])
