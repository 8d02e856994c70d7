"""The whole lab: a Mac side, one or more engines, and their published ports."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .engine import Engine
from .errors import LabError
from .files import locked, remove_tree
from .forwarding import ForwarderControl
from .images import import_base
from .mac import CLIENTS, MacSide
from .members import Member, load_config, make_member, save_config
from .packages import check_requirements, require_root
from .paths import DEFAULT_ENGINE_NAME, DEFAULT_NAME, LabPaths
from .process import DEVNULL, PIPE, Completed, Running, Stream
from .sample import Sample
from .status import LabStatus, engine_status
from .trees import base_spec, ensure_tar, ensure_tree, tree_path

DEFAULT_ENGINE = "forky"
DEFAULT_CLIENT = "host"


class Lab:
    """A lab of one name. Objects of several processes may stand for the same lab.

    `engine` and `client` say what `up` builds; left out, they are those of the lab that runs, or
    the defaults.
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
        require_root()
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
            self._add_member(
                DEFAULT_ENGINE_NAME, self._wanted_engine or DEFAULT_ENGINE, has_sample=True
            )
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
                    raise LabError(
                        f"engine {name} of lab {self.name} is {member.engine.kind}, not {engine}"
                    )
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
        """Remove the lab: processes, namespaces, files; `purge`: the shared cache too."""
        with locked(self.paths.lock):
            self._clean()
            self.paths.lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.paths.lock.parent.rmdir()
        if purge:
            others = sorted(path.parent.name for path in self.paths.home.parent.glob("*/engine"))
            if others:
                raise LabError(
                    f"other labs use the cache: {', '.join(others)}", "bring them down first"
                )
            remove_tree(self.paths.cache)

    def status(self) -> LabStatus:
        """What runs and whether it is well."""
        engines = tuple(engine_status(member) for member in self.members.values())
        healthy = self.paths.config.exists() and self.mac.on and all(one.well for one in engines)
        return LabStatus(self.name, healthy, self.client, self.paths.mac_netns, engines)

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 60,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        engine: str = DEFAULT_ENGINE_NAME,
        cwd: Path | None = None,
    ) -> Completed:
        """Run a command on the Mac side; CommandError if it fails or takes too long."""
        environment = self.mac_environment(env, engine)
        return self.mac.run(
            argv, environment, check=check, timeout_s=timeout_s, input=input, cwd=cwd
        )

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        engine: str = DEFAULT_ENGINE_NAME,
        stdin: Stream = DEVNULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        cwd: Path | None = None,
    ) -> Running:
        """Start a command on the Mac side."""
        environment = self.mac_environment(env, engine)
        return self.mac.popen(argv, environment, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd)

    def mac_environment(
        self, extra: Mapping[str, str] | None = None, engine: str = DEFAULT_ENGINE_NAME
    ) -> dict[str, str]:
        """Environment of a command on the Mac side."""
        return self.mac.environment(self.members[engine].engine.docker_host, extra)

    def vm_run(
        self,
        argv: list[str],
        *,
        check: bool = True,
        timeout_s: float = 60,
        input: str | None = None,
    ) -> Completed:
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
            member.sample.wait_ready()

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
        for vm in self.paths.known_vms():
            member = make_member(self.paths, vm.name, DEFAULT_ENGINE)
            member.forwarder.stop()
            member.engine.vm.power_off()
        self.mac.power_off()
        remove_tree(self.paths.home)

    def _remove_engine(self, name: str) -> None:
        member = make_member(self.paths, name, DEFAULT_ENGINE)
        member.forwarder.stop()
        member.engine.vm.power_off()
        remove_tree(member.engine.vm.paths.home)
        self.members.pop(name, None)

    def _add_member(self, name: str, kind: str, *, has_sample: bool) -> Member:
        self.members[name] = make_member(self.paths, name, kind, has_sample=has_sample)
        return self.members[name]

    def _refuse_other_wishes(self) -> None:
        wishes = (
            (self._wanted_engine, self.engine.kind, "engine"),
            (self._wanted_client, self.client, "client"),
        )
        for wanted, actual, what in wishes:
            if wanted is not None and wanted != actual:
                raise LabError(
                    f"the lab {self.name} is up with {what} {actual}, not {wanted}",
                    "bring it down first, or give the new one another --name",
                )

    def _save(self) -> None:
        save_config(self.paths, self.client, self.members)

    def _load(self) -> None:
        config = load_config(self.paths)
        if config is not None:
            self.client, self.members = config
