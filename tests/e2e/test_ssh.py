"""An engine on another machine, reached by a real ssh server over a link that can fail."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.names import DOMAIN, names_on
from tests.e2e.steps import LANE, PROGRAM, Mac, wait_until
from tests.e2e.world import answers, conversation, listener
from tests.lab import Lab, Sample
from tests.lab.images import SAMPLE_IMAGE
from tests.lab.process import Completed, run
from tests.lab.remote import GUEST, HOST, Remote, remote
from tests.lab.sockets import sends_at_once
from tests.lab.swarm import swarm_of

#: Sends what opens an OpenVPN connection, without the tunnel's key, and prints what comes back.
_STRANGER = """
import socket
s = socket.create_connection(("127.0.0.1", {port}), 5)
s.settimeout(3)
packet = bytes([7 << 3]) + bytes(8) + bytes(5)
s.sendall(len(packet).to_bytes(2, "big") + packet)
try:
    print(s.recv(100))
except TimeoutError:
    print(b"")
"""
#: Seconds for what watch does by itself.
SOON = 90.0
PING_GROUPS = "net.ipv4.ping_group_range"
#: Runs a program on a terminal of its own, types an answer after each expected question, and
#: prints what the terminal showed: ``[[QUESTION, ANSWER], ...] PROGRAM...``.
_TERMINAL = """
import json, os, pty, select, sys
answers = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if not pid:
    os.execvp(sys.argv[2], sys.argv[2:])
shown = since = ""
status = None
while status is None:
    ended, found = os.waitpid(pid, os.WNOHANG)
    status = found if ended else None
    while select.select([terminal], [], [], 0.1)[0]:
        try:
            data = os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            break
        shown, since = shown + data, since + data
        if answers and answers[0][0] in since:
            os.write(terminal, answers.pop(0)[1].encode() + b"\\n")
            since = ""
print(shown)
sys.exit(os.waitstatus_to_exitcode(status))
"""
_HOST_KEY, _PASSPHRASE = "continue connecting (yes/no", "Enter passphrase for key"


@dataclass(frozen=True)
class Far:
    """The Mac's side with a Docker context whose engine is on another machine."""

    mac: Mac
    machine: Remote
    docker_config: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"DOCKER_CONFIG": str(self.docker_config)}

    @property
    def sample(self) -> Sample:
        return self.mac.lab.members[self.machine.engine.name].sample

    @property
    def folder(self) -> Path:
        """Of the tunnel's ssh."""
        root = self.mac.lab.paths.mac_home / "tunnels/far"
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        return Path(f"/tmp/macnet-{os.geteuid()}/{digest}-ssh")

    def macnet(
        self, *words: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        where = ["--context", "far"]
        return self.mac.macnet(
            words[0], *where, *words[1:], check=check, env={**self.environment, **(env or {})}
        )

    def json(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.macnet(*words, "--json", check=False).stdout)
        return found

    def failed_checks(self) -> dict[str, str]:
        """The checks that fail, with what they saw."""
        results = self.json("check")["check"]["results"]
        return {one["id"]: one["evidence"] for one in results if one["outcome"] == "fail"}

    def reached(self, *, wait_s: float = 10) -> bool:
        return self.mac.http(self.sample.address("web"), wait_s=wait_s)

    def containers(self) -> list[str]:
        return sorted(self.machine.engine.docker("ps", "-a", "--format", "{{.Names}}").split())

    def nothing_left(self) -> bool:
        ours = [name for name in self.containers() if name.startswith("macnet")]
        return not (ours or self.machine.ssh_processes() or self.folder.exists())


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Remote]:
    with remote(lab) as found:
        # As systemd has it; a kernel alone lets nobody ping without rights.
        found.engine.vm.run(["sysctl", "-qw", f"{PING_GROUPS}=0 2147483647"])
        yield found


@pytest.fixture
def far(lab: Lab, machine: Remote, tmp_path: Path) -> Iterator[Far]:
    mac = Mac(lab)
    mac.macnet("down", "--purge")
    meta = tmp_path / "contexts/meta" / hashlib.sha256(b"far").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": machine.url, "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": "far", "Endpoints": {"docker": endpoint}}))
    found = Far(mac, machine, tmp_path)
    yield found
    machine.mend()
    machine.docker_socket(there=True)
    machine.knows("host")
    machine.configure()
    machine.serve()
    found.macnet("down", "--purge")
    assert found.nothing_left()


def test_the_main_job(far: Far, tmp_path: Path) -> None:
    groups = far.machine.engine.vm.run(["sysctl", PING_GROUPS]).stdout
    before = far.containers()
    said = far.macnet("setup")
    assert f"on {HOST}, setup runs two containers as root: macnet-far-server" in said.stderr
    assert far.reached()
    assert far.mac.pings(far.sample.address("app-web"))
    assert far.mac.udp(far.sample.address("web"))
    assert far.failed_checks() == {}
    assert f"by ssh to {HOST}" in far.macnet("status").stdout
    page = tmp_path / "map.html"
    far.macnet("map", "--output", str(page))
    assert f"by ssh to {HOST}" in page.read_text()
    assert "172.82.0.0/24" in far.macnet("networks").stdout
    assert "Nothing had to change." in far.macnet("setup").stdout
    assert len(far.machine.masters()) == 1
    assert far.machine.engine.vm.run(["sysctl", PING_GROUPS]).stdout == groups
    published = far.json("status")["status"]["port"]
    listeners = far.machine.engine.vm.run(["ss", "-Hltn", f"sport = :{published}"]).stdout
    assert listeners.split()[3] == f"127.0.0.1:{published}"

    # A user of that machine gets no answer without the tunnel's key.
    stranger = [sys.executable, "-c", _STRANGER.format(port=published)]
    assert far.machine.engine.vm.run(stranger).stdout.strip() == "b''"

    # Disconnected, nothing of it runs here, and nothing starts it by itself.
    far.macnet("disconnect")
    assert far.machine.ssh_processes() == []
    assert "there is no tunnel" in far.macnet("watch", "--once").stdout
    assert far.failed_checks().keys() == {"carrier.ssh"}
    assert "no ssh of macnet's" in far.macnet("status", check=False).stdout
    far.macnet("connect")
    assert far.reached()

    far.macnet("down")
    assert far.nothing_left()
    assert far.containers() == before


def test_the_machine_sends_small_packets_at_once(far: Far) -> None:
    """What a login without a session lacks: a request would wait for acknowledgements."""
    far.macnet("setup")
    assert [pid for pid in far.machine.sessions() if sends_at_once(pid, port=22)]
    far.macnet("disconnect")
    far.macnet("connect")
    assert [pid for pid in far.machine.sessions() if sends_at_once(pid, port=22)]


def test_ports_in_use_on_either_side(far: Far) -> None:
    with listener(far.mac, 13194):
        far.macnet("setup")
        assert far.json("status")["status"]["port"] == 13195
        assert far.reached()
    far.macnet("down", "--purge")
    far.machine.engine.docker(
        *("run", "-d", "--name", "holder", "-p", "127.0.0.1:13194:80"),
        SAMPLE_IMAGE,
    )
    try:
        said = far.macnet("setup").stderr
        assert "the engine cannot publish port 13194; the tunnel uses 13195" in said
        assert far.reached()
    finally:
        far.machine.engine.docker("rm", "-f", "holder")


def _kill_session(far: Far) -> None:
    assert far.machine.kill_sessions()


def _kill_ssh(far: Far) -> None:
    [pid] = far.machine.masters()
    os.kill(pid, 9)


def _cut_the_link(far: Far) -> None:
    """For 20 seconds: longer than ssh waits for a sign of life."""
    [before] = far.machine.masters()
    far.machine.cut()
    time.sleep(20)
    # There may be one that tries.
    assert before not in far.machine.masters()
    far.machine.mend()


def _restart_the_engine(far: Far) -> None:
    far.machine.engine.restart()
    far.sample.wait_ready()


def _count(file: Path, words: str, times: int) -> bool:
    return file.read_text().count(words) >= times


@pytest.mark.alone
def test_watch_keeps_it(far: Far, tmp_path: Path) -> None:
    far.macnet("setup")
    said = tmp_path / "said"
    environment = {**far.mac.environment(), **far.environment}
    with said.open("w") as out:
        watch = far.mac.lab.popen(
            [PROGRAM, "watch", "--context", "far"], env=environment, stdout=out, stderr=out
        )
    try:
        wait_until(lambda: "following the engine" in said.read_text(), SOON, "watch")
        with conversation(far.mac) as talk:
            assert answers(talk)  # or the first fault may meet a connection that is half made
            for number, fault in enumerate(
                (_kill_session, _kill_ssh, _cut_the_link, _restart_the_engine), start=1
            ):
                fault(far)
                # In short tries: a SYN that was lost is sent again after 1, 3 and 7 s.
                again = partial(far.reached, wait_s=0.7)
                took = wait_until(again, SOON, f"an answer after {fault.__name__}")
                print(f"{fault.__name__}: back after {took:.1f} s")
                assert took <= 5, fault.__name__
                wait_until(partial(_count, said, "the engine is back", number), SOON, "watch")
                if fault is _kill_ssh:
                    # The connection through the tunnel outlives the ssh that carried it.
                    assert answers(talk)
        assert len(far.machine.masters()) == 1
        far.macnet("down")
        wait_until(far.nothing_left, SOON, "nothing left")
        assert "Traceback" not in said.read_text()
    finally:
        watch.kill()
        watch.wait(10)


def _wrong_key(machine: Remote) -> None:
    machine.configure(key="stranger")


def _unknown_host_key(machine: Remote) -> None:
    machine.knows(None)


def _other_host_key(machine: Remote) -> None:
    machine.knows("other-host")


def _no_rights(machine: Remote) -> None:
    (machine.folder / "config").write_text(
        (machine.folder / "config").read_text().replace("HostName", f"User {GUEST}\nHostName")
    )


def _no_docker(machine: Remote) -> None:
    machine.docker_socket(there=False)


def _no_socket_forwarding(machine: Remote) -> None:
    machine.serve(AllowStreamLocalForwarding="no")


def _no_forwarding(machine: Remote) -> None:
    machine.serve(AllowTcpForwarding="no")


def _asleep(machine: Remote) -> None:
    machine.cut()


@pytest.mark.parametrize(
    ("fault", "sentence", "check"),
    [
        (_wrong_key, f"{HOST} does not let root in: no key was accepted", "carrier.ssh"),
        (_unknown_host_key, f"ssh does not know the host key of {HOST}", "carrier.ssh"),
        (_other_host_key, f"{HOST} has another host key", "carrier.ssh"),
        (_asleep, f"{HOST} does not answer ssh", "carrier.ssh"),
        (_no_docker, f"there is no Docker socket /var/run/docker.sock on {HOST}", None),
        (_no_socket_forwarding, f"the ssh server of {HOST} forbids forwarding", None),
        (_no_forwarding, f"the ssh server of {HOST} forbids forwarding", None),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    far: Far, fault: Callable[[Remote], None], sentence: str, check: str | None
) -> None:
    fault(far.machine)
    done = far.macnet("setup", check=False)
    assert done.returncode == 3, done.stderr
    assert sentence in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    if check is not None:
        assert sentence in far.failed_checks()[check]
    if fault is not _no_forwarding:  # that shows only when the server is there
        assert not far.machine.ssh_processes()


def test_a_user_who_may_not_use_docker(far: Far) -> None:
    env = {"DOCKER_HOST": f"ssh://{GUEST}@{HOST}"}
    said = far.mac.fails(3, "setup", env=env)
    assert f"{GUEST} may not use the engine's socket /var/run/docker.sock on {HOST}" in said
    assert not far.machine.ssh_processes()


def test_check_finds_what_broke_since_setup(far: Far) -> None:
    far.macnet("setup")
    far.machine.docker_socket(there=False)
    assert far.failed_checks().keys() == {"carrier.socket"}
    far.machine.docker_socket(there=True)
    [pid] = far.machine.masters()
    os.kill(pid, 9)
    failed = far.failed_checks()
    assert failed == {"carrier.ssh": f"no ssh of macnet's to {HOST} runs"}
    # Setup finds what an interrupted one has left, and makes no second ssh.
    far.macnet("setup")
    (far.folder / "target").unlink()
    far.macnet("setup")
    assert len(far.machine.masters()) == 1
    assert far.reached()


def test_words_that_ssh_would_take_for_options(far: Far, tmp_path: Path) -> None:
    made = tmp_path / "made"
    for host in (f"-oProxyCommand=touch\t{made}", f"-oProxyCommand=touch${{IFS}}{made}", "-w"):
        said = far.mac.fails(4, "setup", env={"DOCKER_HOST": f"ssh://{host}"})
        assert "the ssh address of the engine" in said
    assert not made.exists()


def test_forwardings_of_the_users_own_ssh_stay_out(far: Far) -> None:
    """Those that the configuration has for this machine: the user's own ssh holds one already."""
    there, here = 22898, 22899
    far.machine.configure(
        extra=f"LocalForward {here} 127.0.0.1:22\nLocalForward {here + 1} 127.0.0.1:22\n"
        f"RemoteForward {there} 127.0.0.1:22\nDynamicForward {here + 2}\nControlMaster yes"
    )
    with listener(far.mac, here):
        far.macnet("setup")
        port = far.json("status")["status"]["port"]
        far.macnet("setup", "--port", str(port + 1))  # takes one back, and asks for another
        assert far.reached()
        assert far.failed_checks() == {}
        assert len(far.machine.ssh_processes()) == 1
        ours = far.mac.lab.run(["ss", "-Hltnp"]).stdout
        assert re.findall(r":(\d+) .*\(\(\"ssh\"", ours) == [str(port + 1)]
        held = far.machine.engine.vm.run(["ss", "-Hltn", f"sport = :{there}"]).stdout
        assert held == ""
        # Whatever the configuration says by now, it is found and ended.
        far.machine.configure(extra="NoSuchWord yes")
        far.macnet("disconnect")
        assert far.machine.ssh_processes() == []


def test_beside_an_engine_here_with_the_same_subnets(far: Far) -> None:
    """Both have 172.17.0.0/16: the second tunnel reaches its own under other addresses."""
    far.mac.macnet("setup")
    try:
        said = far.macnet("setup").stderr
        assert "172.17.0.0/16" in said
        assert "--remap auto" in said
        far.macnet("setup", "--remap", "auto")
        remaps = {one["subnet"]: one["seen"] for one in far.json("status")["status"]["remaps"]}
        seen = remaps["172.17.0.0/16"]
        here, there = far.mac.lab.sample.address("web"), far.sample.address("web")
        mapped = ".".join(seen.split(".")[:2] + there.split(".")[2:])
        assert far.mac.http(here)
        assert far.mac.http(mapped)
        assert len(far.machine.masters()) == 1
        env = far.environment
        assert far.mac.macnet("down", "--all", env=env).returncode == 0
        assert far.nothing_left()
    finally:
        far.mac.macnet("down")


class ThroughManager(Mac):
    """The Mac's side whose engine is another machine's, by DOCKER_HOST."""

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        return super().environment({"DOCKER_HOST": f"ssh://root@{HOST}", **(env or {})})


def test_a_swarm_through_one_manager(far: Far, tmp_path: Path) -> None:
    """The task on the other node, by its address and by its name."""
    mac = ThroughManager(far.mac.lab)
    with swarm_of(mac.lab, manager=far.machine.engine) as swarm:
        words = ["--driver", "overlay", "--subnet", "10.40.1.0/24", "back"]
        swarm.manager.docker("network", "create", *words)
        swarm.service("shop", "back", "--replicas-max-per-node=1", replicas=2)
        (there,) = swarm.addresses("shop", swarm.worker)
        try:
            mac.macnet("setup", "--also", "overlays")
            assert mac.http(there)
            with names_on(mac, tmp_path) as names:
                names.wait("shop", *swarm.addresses("shop"))
                both = {number: names.ask(f"{number}.shop") for number in (1, 2)}
                [number] = [number for number, address in both.items() if address == there]
                url = f"http://{number}.shop.{DOMAIN}/"
                with names.side.macos():
                    said = names.side.run(["curl", "-sS", "-m", "20", url]).stdout
                assert "macnet-lab" in said
        finally:
            mac.macnet("down", "--purge")


def test_ssh_asks_on_a_terminal(far: Far) -> None:
    """For what only a person knows, once; without a terminal nothing asks, and nothing hangs."""
    locked = far.machine.folder / "locked"
    locked.write_bytes((far.machine.folder / "user").read_bytes())
    locked.chmod(0o600)
    run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(locked)])
    far.machine.configure(key="locked")
    far.machine.knows(None)

    def setup(*answers: tuple[str, str]) -> Completed:
        words = [PROGRAM, "setup", "--context", "far"]
        argv = [sys.executable, "-c", _TERMINAL, json.dumps(answers), *words]
        env = far.mac.environment(far.environment)
        return far.mac.lab.run(argv, env=env, check=False, timeout_s=180)

    refused = setup((_HOST_KEY, "no"))
    assert refused.returncode == 3, refused.stdout
    assert f"ssh does not know the host key of {HOST}" in refused.stdout
    assert not far.machine.ssh_processes()

    done = setup((_HOST_KEY, "yes"), (_PASSPHRASE, "open sesame"))
    assert done.returncode == 0, done.stdout
    assert f"ssh asks for {HOST}" in done.stdout
    assert "open sesame" not in done.stdout
    assert far.reached()

    far.macnet("disconnect")
    said = far.macnet("connect", check=False)
    assert said.returncode == 3, said.stdout
    assert f"{HOST} does not let root in: no key was accepted" in said.stderr


def send_buffers(far: Far) -> list[int]:
    """Of the open connections of the TCP lane."""
    engine = far.machine.engine
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "macnet-far-server").strip()
    shown = run(["nsenter", "-t", pid, "-n", "ss", "-Htmn", "sport >= :1195"]).stdout
    return [int(size) for size in re.findall(r"\btb(\d+)", shown)]


def test_over_a_long_line_that_loses_packets(far: Far) -> None:
    with far.machine.distance(100, loss_percent=1):
        far.macnet("setup")
        assert far.reached()
        url = f"http://{far.sample.address('app-web')}/big"
        argv = ["curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{size_download}"]
        # That line carries 1 to 2 Mbit/s.
        assert int(far.mac.lab.run([*argv, "-r", "0-1048575", url]).stdout) == 1 << 20
        # A connection gets what a line so long holds; the kernel reports twice the size.
        with conversation(far.mac) as talk:
            assert answers(talk)
            if LANE == "kernel":
                assert max(send_buffers(far)) == 2 * (2 << 20)
