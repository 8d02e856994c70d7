"""What the end-to-end tests do on the Mac side: run macnet, and send traffic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.json_schema import validate
from tests.lab import BASE_IMAGE, PASTA_IMAGE, UDP_ECHO_PORT, Lab
from tests.lab.process import Completed, ProcessId
from tests.lab.user import MacUser

#: What carries TCP in this run: the kernel, or pasta as where the kernel lacks what that needs.
LANE = os.environ.get("MACNET_LAB_LANE", "kernel")
HELPER_BASE = PASTA_IMAGE if LANE == "pasta" else BASE_IMAGE
PROGRAM = str(Path(sys.executable).with_name("macnet"))
#: Sends a datagram and prints the echo; exits 1 if none comes.
_UDP = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"hello")
sys.exit(s.recv(100) != b"hello")
"""
#: Connects and prints open, refused, unreachable or timeout.
_TCP = """
import errno, socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.settimeout(float(sys.argv[3]))
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.getpeername()
    print("open")
except TimeoutError:
    print("timeout")
except OSError as error:
    # Linux may call a socket connected just before it knows the ICMP error that ended it.
    lost = error.errno == errno.ENOTCONN
    code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if lost else error.errno
    unreachable = dict.fromkeys((errno.ENETUNREACH, errno.EHOSTUNREACH), "unreachable")
    print({errno.ECONNREFUSED: "refused", **unreachable}.get(code, error))
"""


@dataclass(frozen=True)
class Mac:
    """The lab's Mac side with macnet on it."""

    lab: Lab

    def macnet(
        self, *words: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run macnet; with ``check`` a failure is an error that shows what it said."""
        return self.lab.run(
            [PROGRAM, *words], check=check, env=self.environment(env), timeout_s=180
        )

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables for macnet; None of the lab's may be changed but by ``env``."""
        return {"MACNET_BASE_IMAGE": HELPER_BASE, **(env or {})}

    def json(self, *words: str, check: bool = True) -> dict[str, Any]:
        """Run macnet with --json and parse what it prints, which must be as documented."""
        return validate(json.loads(self.macnet(*words, "--json", check=check).stdout))

    def fails(
        self, code: int, *words: str, env: Mapping[str, str] | None = None, hint: bool = True
    ) -> str:
        """Run macnet, which must end with ``code``, an error and a hint; returns stderr."""
        done = self.macnet(*words, check=False, env=env)
        assert done.returncode == code, f"exit {done.returncode}: {done.stdout}{done.stderr}"
        assert "error: " in done.stderr
        assert not hint or "hint: " in done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    @property
    def root(self) -> Path:
        """The files of the default tunnel."""
        return self.lab.paths.mac_home / "tunnels/macnet"

    @property
    def config_file(self) -> Path:
        """config.toml, which the user may have."""
        return self.lab.paths.mac_home / "config.toml"

    def pings(self, address: str, *, wait_s: float = 5) -> bool:
        """Whether one ping is answered; who expects none need not wait so long."""
        argv = ["ping", "-n", "-c", "1", "-W", str(wait_s), address]
        return self.lab.run(argv, check=False).returncode == 0

    def http(self, address: str, port: int = 80, *, wait_s: float = 10) -> bool:
        """Whether an HTTP request is answered with 200."""
        host = f"[{address}]" if ":" in address else address
        argv = ["curl", "-gsS", "-m", str(wait_s), "-o", "/dev/null", "-w", "%{http_code}"]
        done = self.lab.run([*argv, f"http://{host}:{port}/"], check=False)
        return bool(done.stdout == "200")

    def udp(self, address: str, port: int = UDP_ECHO_PORT) -> bool:
        """Whether a datagram comes back."""
        argv = [sys.executable, "-c", _UDP, address, str(port)]
        return self.lab.run(argv, check=False).returncode == 0

    def tcp(self, address: str, port: int, *, wait_s: float = 5) -> str:
        """How a connect ends: open, refused, unreachable or timeout."""
        argv = [sys.executable, "-c", _TCP, address, str(port), str(wait_s)]
        return self.lab.run(argv).stdout.strip()

    def containers(self) -> dict[str, str]:
        """The ids of our running containers by name."""
        rows = self.lab.docker(
            "ps", "--no-trunc", "--filter", "label=io.macnet.role", "--format", "{{.Names}} {{.ID}}"
        )
        return dict(row.split() for row in rows.splitlines())

    def client_pid(self) -> int:
        """The pid of the openvpn client."""
        return int((self.root / "openvpn.pid").read_text())

    def clients(self) -> list[int]:
        """The pids of all openvpn processes on the Mac side, whoever has started them."""
        netns = Path("/run/netns", self.lab.paths.mac_netns).stat()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                name = (folder / "comm").read_text().strip()
                same = os.path.samestat((folder / "ns/net").stat(), netns)
            except OSError:
                continue
            if same and name == "openvpn":
                found.append(int(folder.name))
        return sorted(found)

    def files(self) -> dict[str, bytes]:
        """Everything below MACNET_HOME."""
        home = self.lab.paths.mac_home
        paths = [path for path in sorted(home.rglob("*")) if path.is_file()]
        return {str(path.relative_to(home)): path.read_bytes() for path in paths}

    def forget(self) -> None:
        """Take the tunnel down, and remove every file; the helper's image stays."""
        self.macnet("down")
        self.remove_files()

    def remove_files(self) -> None:
        """Remove everything below MACNET_HOME, as a user might."""
        shutil.rmtree(self.lab.paths.mac_home)
        self.lab.paths.mac_home.mkdir()

    def macnet_names(self) -> list[str]:
        """Names of containers of the engine, in any state, that look like macnet's."""
        names = self.lab.docker("ps", "-a", "--format", "{{.Names}}").split()
        return sorted(name for name in names if name.startswith("macnet"))


def wait_until(done: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Wait until ``done``; returns the seconds it took, and fails after ``timeout_s``."""
    began = time.monotonic()
    while True:
        if done():
            return time.monotonic() - began
        took = time.monotonic() - began
        assert took < timeout_s, f"{what} not within {timeout_s:g} s"
        time.sleep(0.05)


@contextmanager
def person(mac: Mac, within: Sequence[str] = ()) -> Iterator[MacUser]:
    """A user of the Mac side, and afterwards nothing of theirs; ``within`` is as in `MacUser`."""
    with MacUser(mac.lab, within=within) as user:
        yield user
        home = str(user.home / "macnet")
        mac.macnet("down", "--purge", env={"MACNET_HOME": home}, check=False)
        for pid in mac.clients():
            known = ProcessId.of(pid)
            os.kill(pid, signal.SIGKILL)
            assert known is None or known.wait_gone(5)
