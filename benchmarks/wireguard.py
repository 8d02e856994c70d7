"""WireGuard in user space on both ends, over UDP that the lab forwards.

The data plane of tools that put WireGuard beside Docker Desktop: one end on the Mac, the other in
the VM's own network namespace, behind a firewall rule and masquerading.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.lab import Lab
from tests.lab.mac import foreign_program
from tests.lab.namespaces import enter_netns, netns_path
from tests.lab.process import ProcessId, run, spawn, stop, wait_until
from tests.lab.trees import BASE_SUITE, TreeSpec, ensure_tree

DEVICE = "wgbench-mac"
PORT = 13196
_VM_DEVICE = "wgbench-vm"
_TREE = TreeSpec(f"wireguard-{BASE_SUITE}", BASE_SUITE, ("wireguard-go", "wireguard-tools"))
_SUBNET, _MAC, _VM = "192.168.253.0/24", "192.168.253.2", "192.168.253.1"
_DATAGRAMS = Path(__file__).with_name("datagrams.py")
#: Past Docker's own rules: forwarding, its guard of addresses since 28, and the source.
_RULES = (
    ("filter", "FORWARD", "-i", _VM_DEVICE, "-j", "ACCEPT"),
    ("filter", "FORWARD", "-o", _VM_DEVICE, "-j", "ACCEPT"),
    ("raw", "PREROUTING", "-i", _VM_DEVICE, "-j", "ACCEPT"),
    ("nat", "POSTROUTING", "-s", _SUBNET, "-j", "MASQUERADE"),
)


class WireGuard:
    """Both ends and the forwarder of their datagrams, in a lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folder = lab.paths.home / "wireguard"

    def up(self) -> None:
        """Start everything, and wait until the tunnel is there."""
        self.down()
        self._folder.mkdir(mode=0o700)
        self._tree = ensure_tree(self._lab.paths.cache, _TREE)
        mac, vm = self._lab.mac.enter(), enter_netns(self._lab.engine.vm.paths.netns)
        keys = [self._wg("genkey").strip() for _ in range(2)]
        publics = [self._wg("pubkey", text=key).strip() for key in keys]
        ends = (
            ("mac", mac, DEVICE, _MAC, keys[0], publics[1], f"Endpoint = 127.0.0.1:{PORT}\n"),
            ("vm", vm, _VM_DEVICE, _VM, keys[1], publics[0], ""),
        )
        for name, enter, device, address, key, peer, endpoint in ends:
            argv = [*enter, *foreign_program(self._tree, "usr/bin/wireguard-go"), "-f", device]
            self._start(name, argv)
            listen = "" if endpoint else f"ListenPort = {PORT}\n"
            allowed = "0.0.0.0/0" if endpoint else f"{_MAC}/32"
            config = self._folder / f"{name}.conf"
            config.touch(mode=0o600)
            config.write_text(
                f"[Interface]\nPrivateKey = {key}\n{listen}\n"
                f"[Peer]\nPublicKey = {peer}\nAllowedIPs = {allowed}\n{endpoint}"
            )
            socket = Path(f"/var/run/wireguard/{device}.sock")
            if not wait_until(socket.exists, 10):
                raise RuntimeError((self._folder / f"{name}.log").read_text()[-2000:])
            run([*enter, *foreign_program(self._tree, "usr/bin/wg"), "setconf", device, config])
            run([*enter, "ip", "address", "add", f"{address}/24", "dev", device])
            run([*enter, "ip", "link", "set", device, "mtu", "1420", "up"])
        for rule in _RULES:
            self._rule("-I", rule)
        vm_netns = str(netns_path(self._lab.engine.vm.paths.netns))
        self._start("forwarder", [*mac, sys.executable, "-I", str(_DATAGRAMS), vm_netns, str(PORT)])
        ping = ["ping", "-n", "-c", "1", "-W", "1", _VM]
        if not wait_until(lambda: self._lab.run(ping, check=False).returncode == 0, 20):
            raise RuntimeError("WireGuard does not carry a ping")

    def down(self) -> None:
        """Take away whatever `up` has made."""
        for file in sorted(self._folder.glob("*.json")):
            if process := ProcessId.load(file):
                stop(process, grace_s=3)
        for rule in _RULES:
            self._rule("-D", rule)
        for path in sorted(self._folder.glob("*")):
            path.unlink()
        if self._folder.is_dir():
            self._folder.rmdir()

    def pids(self, name: str) -> list[int]:
        """The process of one end ("mac", "vm"), or of the forwarder."""
        process = ProcessId.load(self._folder / f"{name}.json")
        return [process.pid] if process else []

    def _start(self, name: str, argv: list[str]) -> None:
        process = spawn(argv, self._folder / f"{name}.log", env=self._lab.mac_environment())
        process.save(self._folder / f"{name}.json")

    def _rule(self, what: str, rule: tuple[str, ...]) -> None:
        table, chain, *words = rule
        argv = ["iptables", "-t", table, what, chain, *words]
        self._lab.vm_run(argv, check=what == "-I")

    def _wg(self, *words: str, text: str | None = None) -> str:
        return run([*foreign_program(self._tree, "usr/bin/wg"), *words], input=text).stdout
