"""An engine on another machine: a link from the Mac's side, and a real ssh server there."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .delay import QUEUE, READY
from .engine import Engine
from .errors import LabError
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
_CUBIC = "cubic"
_CHOSEN = "net.ipv4.tcp_congestion_control"
_MAY_BE_CHOSEN = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
#: What Linux cuts a large packet into at most, unless told otherwise.
_MOST_PIECES = 65535


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
        for (netns, port), address in zip(self._ends(), (MAC_ADDRESS, ADDRESS), strict=True):
            run(["ip", "-n", netns, "addr", "add", f"{address}/24", "dev", port])
            run(["ip", "-n", netns, "link", "set", port, "up"])

    def cut(self) -> None:
        """The link goes down, on the machine's side: the Mac's packets go nowhere."""
        run(["ip", "-n", self._netns, "link", "set", _PORTS[1], "down"])

    def mend(self) -> None:
        """The link is up again."""
        run(["ip", "-n", self._netns, "link", "set", _PORTS[1], "up"])

    @contextmanager
    def distance(self, round_trip_ms: float, loss_percent: float = 0) -> Iterator[None]:
        """The machine is so far away, and some packets of both directions are lost.

        Connections made meanwhile have cubic, as between most machines; those of the containers
        need `cubic_in_containers`.
        """
        with ExitStack() as stack:
            for netns, port in self._ends():
                stack.enter_context(_cubic(netns))
                if loss_percent:
                    stack.enter_context(_single_packets(netns, port))
                log = self.folder / f"delay-{port}.log"
                stack.enter_context(_delayed(netns, round_trip_ms / 2, log))
                stack.enter_context(_rules(netns, port, loss_percent))
            yield

    def cubic_in_containers(self) -> None:
        """Have it in those that run now, for the connections that they make from now on."""
        numbers = self.engine.docker("ps", "-q").split()
        pids = self.engine.docker("inspect", "-f", "{{.State.Pid}}", *numbers).split()
        for pid in pids:
            _choose(["nsenter", "-t", pid, "-n"], _CUBIC)

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

    def configure(self, *, key: str = "user", user: str | None = None, extra: str = "") -> None:
        """What the user's ssh_config says of the machine."""
        lines = [
            f"Host {HOST}",
            f"HostName {ADDRESS}",
            *([f"User {user}"] if user else []),
            f"IdentityFile {self.folder / key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.folder / 'known'}",
            "GlobalKnownHostsFile none",
            extra,
        ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")

    def knows(self, key: str | None) -> None:
        """Which host key the Mac knows."""
        text = "" if key is None else (self.folder / f"{key}.pub").read_text()
        (self.folder / "known").write_text(f"{ADDRESS} {text}" if text else "")

    def _ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Network namespace and port of the Mac's side of the link, and of the machine's."""
        return (self.lab.paths.mac_netns, _PORTS[0]), (self._netns, _PORTS[1])

    def _listens(self) -> bool:
        words = ["ss", "-Hltn", "sport = :22"]
        return bool(self.engine.vm.run(words).stdout.strip())


@contextmanager
def _cubic(netns: str) -> Iterator[None]:
    enter = enter_netns(netns)
    before = run([*enter, "sysctl", "-n", _CHOSEN]).stdout.strip()
    _choose(enter, _CUBIC)
    try:
        yield
    finally:
        _choose(enter, before)


def _choose(enter: list[str], name: str) -> None:
    """A network namespace gets another congestion control.

    It may have the machine's own, and what the machine lets programs without rights choose.
    """
    allowed = _MAY_BE_CHOSEN.read_text()
    if name not in allowed.split():
        _MAY_BE_CHOSEN.write_text(f"{allowed.strip()} {name}")
    try:
        run([*enter, "sysctl", "-qw", f"{_CHOSEN}={name}"])
    finally:
        if name not in allowed.split():
            _MAY_BE_CHOSEN.write_text(allowed)


@contextmanager
def _single_packets(netns: str, port: str) -> Iterator[None]:
    """TCP hands over no packet that is many on a real line: one loss would take them all."""
    words = ["ip", "-n", netns, "link", "set", port, "gso_max_segs"]
    run([*words, "1"])
    try:
        yield
    finally:
        run([*words, str(_MOST_PIECES)])


@contextmanager
def _delayed(netns: str, delay_ms: float, log: Path) -> Iterator[None]:
    """A program holds the packets that the rules give it."""
    log.unlink(missing_ok=True)
    argv = [*enter_netns(netns), sys.executable, "-I", str(_DELAY), str(delay_ms)]
    program = spawn(argv, log)
    try:
        if not wait_until(lambda: READY in log.read_text(), 20):
            raise LabError("the packets cannot be delayed", log.read_text().strip()[-500:])
        yield
    finally:
        stop(program, grace_s=3)


@contextmanager
def _rules(netns: str, port: str, loss_percent: float) -> Iterator[None]:
    """What comes in there is lost, or waits in the queue.

    Not what goes out: it would still count as its sender's, and TCP sends no more while so much
    waits. The table is of iptables, as this kernel's nft has no queues, and nobody else uses it.
    """
    lose = ["-m", "statistic", "--mode", "random", "--probability", str(loss_percent / 100)]
    wait = ["-j", "NFQUEUE", "--queue-num", str(QUEUE)]
    enter = enter_netns(netns)
    try:
        for words in ([*lose, "-j", "DROP"], wait) if loss_percent else (wait,):
            run([*enter, "iptables-nft", "-t", "security", "-A", "INPUT", "-i", port, *words])
        yield
    finally:
        run([*enter, "nft", "delete", "table", "ip", "security"], check=False)


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
