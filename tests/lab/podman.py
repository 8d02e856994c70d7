"""A rootful Podman that serves Docker's API, as in a `podman machine set --rootful`."""

from __future__ import annotations

from pathlib import Path

from .engine import Engine
from .process import run
from .trees import TreeSpec, podman_spec

PODMAN_KINDS = ("podman-bookworm", "podman-forky")
"""Podman 4.3, and a 5.x."""

# crun refuses hybrid control groups, and the default limits are more than some machines allow.
_CONFIG = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{networks}"
"""


class Podman(Engine):
    """Podman's service. It is no parent of its containers, which go on when it ends."""

    program = "podman"
    restarts_containers = False

    def start(self, timeout_s: float = 60) -> None:
        """Start the service, and the containers that it shall always run.

        Those are started by a unit of its own, podman-restart.service, when the VM boots.
        """
        booted = not self.vm.on
        super().start(timeout_s)
        if booted:
            words = ["start", "--all", "--filter", "restart-policy=always"]
            run([*self.vm.enter(), *self._podman(), *words], env=self._daemon_environment())

    def _tree_spec(self) -> TreeSpec:
        return podman_spec(self.kind.removeprefix("podman-"))

    def _prepare(self) -> None:
        networks = self.vm.paths.data / "networks"
        networks.mkdir(exist_ok=True)
        self._config.write_text(_CONFIG.format(networks=networks))

    @property
    def _config(self) -> Path:
        return self.vm.paths.home / "containers.conf"

    def _podman(self) -> list[str]:
        return [
            *("podman", "--root", str(self.vm.paths.data / "storage")),
            *("--runroot", "/run/containers/storage", "--storage-driver", "overlay"),
        ]

    def _argv(self) -> list[str]:
        return [*self._podman(), "system", "service", "--time=0", self.docker_host]

    def _daemon_environment(self) -> dict[str, str]:
        # Version 5 wants to be asked twice where control groups are of the first kind.
        return {
            **super()._daemon_environment(),
            "CONTAINERS_CONF": str(self._config),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }
