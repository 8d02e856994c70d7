"""One real engine in a VM, with everything a tester may do to it: stop, kill, restart, reboot."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from .errors import LabError
from .packages import search_path
from .process import ProcessId, run, spawn, stop, wait_until
from .trees import TreeSpec, engine_spec, ensure_tree, tree_path
from .vm import Vm

Json = Any
"""What an engine answers."""
DOCKER_KINDS = ("forky", "trixie", "host", "userns", "nobridge")
"""Docker engines: of two newer Debian releases, the one installed on this machine, and forky's
with user namespaces (root is remapped to a user of its own), and without a default bridge."""
_FORKYS = ("userns", "nobridge")
_SUBORDINATES = "echo daemon:100000:65536 | tee /etc/subuid /etc/subgid"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Engine:
    """The engine of one VM: dockerd, unless a subclass runs another one."""

    program = "dockerd"
    restarts_containers = True
    """Whether a start of the engine begins with a start of its containers."""

    def __init__(self, vm: Vm, kind: str, cache: Path) -> None:
        self.vm = vm
        self.kind = kind
        self._cache = cache
        self._pid_file = vm.paths.home / f"{self.program}.json"
        self._own_pid_file = vm.paths.home / f"{self.program}.pid"
        self.log = vm.paths.home / f"{self.program}.log"

    @property
    def name(self) -> str:
        """Name of the engine in its lab."""
        return self.vm.paths.name

    @property
    def socket(self) -> Path:
        """Socket of the engine's API."""
        return self.vm.paths.socket

    @property
    def docker_host(self) -> str:
        """Value for DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def process(self) -> ProcessId | None:
        """The engine's process, if it runs."""
        return ProcessId.load(self._pid_file)

    @property
    def pid(self) -> int | None:
        """Process id of the engine, if it runs."""
        process = self.process
        return process.pid if process else None

    @property
    def version(self) -> str:
        """Version that the engine reports."""
        return str(self.get("/version")["Version"])

    @property
    def healthy(self) -> bool:
        """Whether the engine runs in a VM that is on, and answers."""
        return self.vm.on and self.process is not None and self._answers()

    def tree_cached(self) -> bool:
        """Whether the engine can be started without building anything."""
        spec = self._tree_spec()
        return spec is None or tree_path(self._cache, spec).is_dir()

    def tree(self) -> Path:
        """Root of the system the engine comes from; built if it is not in the cache."""
        spec = self._tree_spec()
        return Path("/") if spec is None else ensure_tree(self._cache, spec)

    def get(self, path: str, timeout_s: float = 10) -> Json:
        """Ask the engine's API; the answer's JSON."""
        connection = _UnixConnection(self.socket, timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except OSError as error:
            raise LabError(
                f"the engine {self.name} does not answer: {error}", f"see {self.log}"
            ) from error
        finally:
            connection.close()
        if answer.status >= 400:
            reason = body.decode(errors="replace").strip()
            raise LabError(f"the engine answers {answer.status} to {path}: {reason}")
        return json.loads(body)

    def docker(self, *args: str, timeout_s: float = 120) -> str:
        """Run the docker command against this engine; what it printed."""
        return run(["docker", *args], env=self.environment(), timeout_s=timeout_s).stdout

    def environment(self) -> dict[str, str]:
        """This process's environment with this engine as Docker's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return {
            **kept,
            "PATH": search_path(),
            "DOCKER_HOST": self.docker_host,
            "DOCKER_BUILDKIT": "0",
        }

    def start(self, timeout_s: float = 60) -> None:
        """Start the engine, unless it runs; in a new VM if that is off. Wait until it answers."""
        if self.process is not None:
            return
        if not self.vm.on:
            self.vm.power_off()
            self.vm.power_on(self.tree())
        self.vm.paths.data.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self._prepare()
        process = spawn([*self.vm.enter(), *self._argv()], self.log, env=self._daemon_environment())
        process.save(self._pid_file)
        wait_until(lambda: self._answers() or not process.alive(), timeout_s)
        if not self._answers():
            self.kill()
            raise LabError(
                f"{self.program} ({self.kind}) did not start: {self._last_words()}",
                f"see {self.log}",
            )

    def stop(self) -> None:
        """Stop the engine in order; dockerd's containers stop with it."""
        process = self.process
        if process is not None:
            stop(process, grace_s=30)
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL the engine alone: the containers stay, as after a crash."""
        process = self.process
        if process is not None:
            process.send(signal.SIGKILL)
            process.wait_gone(10)
        self._pid_file.unlink(missing_ok=True)

    def restart(self) -> None:
        """Stop and start the engine, as after an update of it."""
        self.stop()
        self.start()

    def reboot(self) -> None:
        """Cut the VM's power and start it again: only what is on its disk is left."""
        self.vm.power_off()
        self._pid_file.unlink(missing_ok=True)
        self.start()

    def wait_running(self, names: list[str], timeout_s: float = 30) -> None:
        """Wait until all the named containers run."""
        deadline = time.monotonic() + timeout_s
        while True:
            running = {
                name.lstrip("/") for one in self.get("/containers/json") for name in one["Names"]
            }
            lacking = sorted(set(names) - running)
            if not lacking:
                return
            if time.monotonic() > deadline:
                raise LabError(f"containers do not run: {', '.join(lacking)}", f"see {self.log}")
            time.sleep(0.1)

    def _tree_spec(self) -> TreeSpec | None:
        """Tree the engine comes from; None for this machine's own file system."""
        if self.kind == "host":
            return None
        return engine_spec("forky" if self.kind in _FORKYS else self.kind)

    def _prepare(self) -> None:
        """What has to be in the VM before the engine starts."""
        self._config.write_text("{}\n")
        self._forget_old_ids()
        if self.kind == "userns":
            run([*self.vm.enter(), "sh", "-c", _SUBORDINATES])

    @property
    def _config(self) -> Path:
        return self.vm.paths.home / "daemon.json"

    def _forget_old_ids(self) -> None:
        """After a crash dockerd takes a zombie, or a stranger with an old id, for its own."""
        self._own_pid_file.unlink(missing_ok=True)
        anchor = self.vm.anchor
        if anchor is not None:
            containerd = Path(f"/proc/{anchor.pid}/root/run/docker/containerd/containerd.pid")
            with contextlib.suppress(OSError, ValueError):
                if ProcessId.of(int(containerd.read_text())) is None:
                    containerd.unlink()

    def _answers(self) -> bool:
        try:
            self.get("/version", timeout_s=2)
        except (LabError, OSError, ValueError, http.client.HTTPException):
            return False
        return True

    def _argv(self) -> list[str]:
        flags = {
            "config-file": str(self._config),
            "data-root": str(self.vm.paths.data),
            "exec-root": "/run/docker",
            "pidfile": str(self._own_pid_file),
            "host": self.docker_host,
            "group": "root",
            "storage-driver": "overlay2",
            "exec-opt": "native.cgroupdriver=cgroupfs",
            "cgroup-parent": f"/{self.vm.paths.netns}",
            "shutdown-timeout": "5",
        }
        if self.kind == "userns":
            flags["userns-remap"] = "daemon"
        if self.kind == "nobridge":
            flags["bridge"] = "none"
        return ["dockerd", *(f"--{name}={value}" for name, value in flags.items())]

    def _daemon_environment(self) -> dict[str, str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8"}

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-8:]) or "it said nothing"
