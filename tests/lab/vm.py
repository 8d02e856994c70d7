"""One engine's VM: a network namespace and a mount namespace, held open by one sleeping process."""

from __future__ import annotations

from pathlib import Path

from .errors import LabError
from .namespaces import (
    create_netns,
    delete_netns,
    enter_netns,
    kill_in_cgroup,
    kill_in_mount_namespace,
    kill_in_netns,
    kill_rooted_below,
    netns_exists,
    remove_cgroup,
)
from .paths import VmPaths
from .process import Completed, ProcessId, run, spawn, wait_until

_SCRIPT = Path(__file__).with_name("vm_root.sh")
_SAVES = (
    "iptables-nft-save",
    "ip6tables-nft-save",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
)


class Vm:
    """What stands for the virtual machine in which Docker Desktop or Colima runs its engine."""

    def __init__(self, paths: VmPaths, lab_home: Path) -> None:
        self.paths = paths
        self._lab_home = lab_home
        self._anchor_file = paths.home / "vm.pid"

    @property
    def anchor(self) -> ProcessId | None:
        """The process that holds the mount namespace, if the VM is on."""
        return ProcessId.load(self._anchor_file)

    @property
    def on(self) -> bool:
        """Whether the VM is on, whatever runs in it."""
        return netns_exists(self.paths.netns) and self.anchor is not None

    def power_on(self, tree: Path) -> None:
        """Make fresh namespaces with the tree as the root file system."""
        self.paths.home.mkdir(parents=True, exist_ok=True)
        create_netns(self.paths.netns)
        log = self.paths.home / "vm.log"
        log.write_text("")
        anchor = spawn(
            [
                *enter_netns(self.paths.netns),
                *("unshare", "--mount", "--propagation", "private"),
                *("sh", str(_SCRIPT), str(tree), str(self._lab_home)),
            ],
            log,
        )
        anchor.save(self._anchor_file)
        wait_until(lambda: "ready" in log.read_text().splitlines() or not anchor.alive(), 20)
        if not anchor.alive() or "ready" not in log.read_text().splitlines():
            raise LabError(
                f"the file system of the VM could not be made: {log.read_text().strip()}",
                f"see {_SCRIPT}",
            )

    def power_off(self) -> None:
        """Kill everything in the VM at once; bridges, rules and mounts go with its namespaces."""
        if self.anchor is not None:
            kill_in_mount_namespace(self.anchor.pid)
        kill_in_netns(self.paths.netns)
        kill_in_cgroup(self.paths.netns)
        kill_rooted_below(self.paths.data)
        delete_netns(self.paths.netns)
        remove_cgroup(self.paths.netns)
        # Podman's containers are in groups below one that all labs share, and which stays.
        for container in self.paths.data.glob("storage/overlay-containers/*"):
            remove_cgroup(f"libpod_parent/libpod-{container.name}")
        self._anchor_file.unlink(missing_ok=True)

    def enter(self) -> list[str]:
        """Words to put before a command that shall run in the VM, with the VM's file system."""
        anchor = self.anchor
        if anchor is None:
            raise LabError(f"the VM {self.paths.netns} is off", "run: python -m tests.lab up")
        return [*enter_netns(self.paths.netns), f"--mount=/proc/{anchor.pid}/ns/mnt"]

    def run(
        self,
        argv: list[str],
        *,
        check: bool = True,
        timeout_s: float = 60,
        input: str | None = None,
    ) -> Completed:
        """Run one of this machine's programs in the VM's network namespace."""
        return run(
            [*enter_netns(self.paths.netns), *argv], check=check, timeout_s=timeout_s, input=input
        )

    def iptables_save(self) -> str:
        """All packet filter rules of the VM, of both backends and both IP versions."""
        return "".join(f"# {program}\n{self.run([program]).stdout}" for program in _SAVES)
