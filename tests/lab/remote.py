"""An engine on another machine: a link from the Mac's side, and a real ssh server there."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .engine import Engine
from .files import remove_tree
from .lab import Lab
from .namespaces import enter_netns, netns_path
from .packages import search_path
from .process import ProcessId, run, spawn, stop, wait_until

MAC_ADDRESS, ADDRESS = "10.99.0.1", "10.99.0.2"
HOST = "build-box"
"""How the Mac's ssh_config calls the machine."""
GUEST = "guest"
"""A user of that machine who may not use Docker."""
_SCRIPT = Path(__file__).with_name("sshd_root.sh")
_DELAY = Path(__file__).with_name("delay.py")
_PORTS = "mac0", "far0"


class Remote:
    """The machine of one of the lab's engines: ports are published on its own 127.0.0.1 alone."""

    def __init__(self, lab: Lab, engine: Engine) -> None:
        self.lab = lab
        self.engine = engine
        self.folder = lab.paths.home / f"ssh-{engine.name}"
        self._netns = engine.vm.paths.netns
        self._sshd: ProcessId | None = None
        self._options: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Value for DOCKER_HOST."""
        return f"ssh://root@{HOST}"

    @property
    def log(self) -> str:
        """What the ssh server has written."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def start(self) -> None:
        """Make the link, the keys, the server, and the Mac's configuration of ssh."""
        remove_tree(self.folder)
        self.folder.mkdir(mode=0o755)
        self.link()
        for name in ("host", "user", "stranger", "other-host"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            run(key)
        (self.folder / "authorized").write_text((self.folder / "user.pub").read_text())
        passwd = Path("/etc/passwd").read_text()
        (self.folder / "passwd").write_text(f"{passwd}{GUEST}:*:4243:4243::/tmp:/bin/sh\n")
        self.docker_socket(there=True)
        self.knows("host")
        self.configure()
        words = " ".join(
            (
                f"exec /usr/bin/ssh -F {shlex.quote(str(self.folder / 'config'))}",
                '"$@"',
            )
        )
        wrapper = self.lab.paths.bin / "ssh"
        wrapper.write_text(f"#!/bin/sh\n{words}\n")
        wrapper.chmod(0o755)
        self.serve()

    def stop(self) -> None:
        """Take it all away again."""
        if self._sshd is not None:
            self.kill_sessions()
            stop(self._sshd, grace_s=3)
            self._sshd = None
        (self.lab.paths.bin / "ssh").unlink(missing_ok=True)
        run(["ip", "-n", self.lab.paths.mac_netns, "link", "del", _PORTS[0]], check=False)
        remove_tree(self.folder)

    # The machine

    def link(self) -> None:
        """Join the Mac's side and the machine."""
        mac = self.lab.paths.mac_netns
        ends = ["type", "veth", "peer", "name", _PORTS[1], "netns", self._netns]
        run(["ip", "-n", mac, "link", "add", _PORTS[0], *ends])
        for netns, port, address in (
            (mac, _PORTS[0], MAC_ADDRESS),
            (self._netns, _PORTS[1], ADDRESS),
        ):
            run(["ip", "-n", netns, "addr", "add", f"{address}/24", "dev", port])
            run(["ip", "-n", netns, "link", "set", port, "up"])

    def cut(self) -> None:
        """The link goes down, on the machine's side: the Mac's packets go nowhere."""
        run(["ip", "-n", self._netns, "link", "set", _PORTS[1], "down"])

    def mend(self) -> None:
        """The link is up again."""
        run(["ip", "-n", self._netns, "link", "set", _PORTS[1], "up"])

    @contextmanager
    def loss(self, percent: int) -> Iterator[None]:
        """Some packets of both directions are lost."""
        chance = f"numgen random mod 100 < {percent} drop"
        rules = "".join(
            f"add chain inet lossy {hook} {{ type filter hook {hook} priority 0; }}\n"
            f"add rule inet lossy {hook} {way} {_PORTS[1]} {chance}\n"
            for hook, way in (("input", "iif"), ("output", "oif"))
        )
        self.engine.vm.run(["nft", "-f", "-"], input=f"add table inet lossy\n{rules}")
        try:
            yield
        finally:
            self.engine.vm.run(["nft", "delete", "table", "inet", "lossy"])

    def docker_socket(self, *, there: bool) -> None:
        """Whether /var/run/docker.sock is there."""
        link = self.folder / "docker.sock"
        link.unlink(missing_ok=True)
        if there:
            link.symlink_to(self.engine.socket)

    # Its ssh server

    def serve(self, **options: str) -> None:
        """Start the server, or give the running one other options."""
        self._options = options
        settings = {
            "ListenAddress": ADDRESS,
            "Port": "22",
            "HostKey": str(self.folder / "host"),
            "AuthorizedKeysFile": str(self.folder / "authorized"),
            "PidFile": "none",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "StrictModes": "no",
            "LogLevel": "VERBOSE",
            "UseDNS": "no",
            **options,
        }
        file = self.folder / "sshd_config"
        file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        if self._sshd is not None and self._sshd.alive():
            stop(self._sshd, grace_s=3)  # its sessions go on, with the options of before
        self._sshd = spawn(
            [
                *enter_netns(self._netns),
                *("unshare", "--mount", "--propagation", "private", "sh", str(_SCRIPT)),
                *(str(self.folder / "docker.sock"), str(self.folder / "passwd")),
                *("/usr/sbin/sshd", "-D", "-f", str(file), "-E", str(self.folder / "sshd.log")),
            ],
            self.folder / "sshd.out",
            env={**os.environ, "PATH": search_path()},
        )
        wait_until(self._listens, 10)

    def kill_sessions(self) -> int:
        """Kill what serves each login; how many."""
        found = self.sessions()
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)

    def sessions(self) -> list[int]:
        """The processes of the logins."""
        main = self._sshd.pid if self._sshd is not None else 0
        return [pid for pid in _named("sshd", self._netns) if pid != main]

    def ssh_processes(self) -> list[int]:
        """The ssh programs on the Mac's side."""
        return _named("ssh", self.lab.paths.mac_netns)

    def masters(self) -> list[int]:
        """Those that carry, without the short ones that ask them."""
        return [
            pid
            for pid in self.ssh_processes()
            if b"-M" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]

    # The Mac's ssh

    def configure(
        self, *, key: str = "user", user: str | None = None, delay_ms: float = 0, extra: str = ""
    ) -> None:
        """What the user's ssh_config says of the machine; ``delay_ms`` is of one direction."""
        words = [sys.executable, str(_DELAY), ADDRESS, "22", str(delay_ms)]
        lines = [
            f"Host {HOST}",
            f"HostName {ADDRESS}",
            *([f"User {user}"] if user else []),
            f"IdentityFile {self.folder / key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.folder / 'known'}",
            "GlobalKnownHostsFile none",
            *([f"ProxyCommand {shlex.join(words)}"] if delay_ms else []),
            extra,
        ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")

    def knows(self, key: str | None) -> None:
        """Which host key the Mac knows."""
        text = "" if key is None else (self.folder / f"{key}.pub").read_text()
        (self.folder / "known").write_text(f"{ADDRESS} {text}" if text else "")

    def _listens(self) -> bool:
        words = ["ss", "-Hltn", "sport = :22"]
        return bool(self.engine.vm.run(words).stdout.strip())


@contextmanager
def remote(lab: Lab, name: str = "far", kind: str = "forky") -> Iterator[Remote]:
    """One more engine, on another machine, with the sample application, while the block runs."""
    engine = lab.add_engine(name, kind, sample=True)
    # It plays published ports that appear on this machine, as those of a VM here do.
    lab.members[name].forwarder.stop()
    far = Remote(lab, engine)
    try:
        far.start()
        yield far
    finally:
        far.stop()
        lab.remove_engine(name)


def _named(program: str, netns: str) -> list[int]:
    """Processes of a name in a network namespace."""
    wanted = netns_path(netns).stat()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text().strip()
            same = os.path.samestat((folder / "ns/net").stat(), wanted)
        except OSError:
            continue
        if same and name == program:
            found.append(int(folder.name))
    return sorted(found)
