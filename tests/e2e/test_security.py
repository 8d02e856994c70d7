"""What macnet leaves lying about: keys, ports, rights, rules, secrets in words."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.steps import PROGRAM, Mac
from tests.e2e.test_heal import lane, main_process
from tests.lab import BASE_IMAGE

CONTAINERS = ["macnet-server", "macnet-relay"]


def inspect(mac: Mac, container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mac.lab.docker("inspect", container))[0]
    return found


def secrets(mac: Mac) -> dict[str, str]:
    """A line of each secret that nobody else may see, by what it is."""
    pki = json.loads((mac.root / "pki/pki.json").read_text())
    state = json.loads((mac.root / "tunnel.json").read_text())
    return {
        "token": state["token"],
        "client key": pki["client_key"].splitlines()[1],
        "server key": pki["server_key"].splitlines()[1],
        "tls-crypt key": pki["tls_crypt"].splitlines()[3],
    }


def assert_silent(mac: Mac, where: str, text: str) -> None:
    assert text, f"{where} is empty"
    told = [what for what, secret in secrets(mac).items() if secret in text]
    assert not told, f"{where} tells the {told}"


def test_every_file_is_the_users_alone(clean: Mac) -> None:
    # Other tests put files of their own there; what is looked at is all macnet's.
    home = clean.lab.paths.mac_home
    shutil.rmtree(home)
    home.mkdir(mode=0o700)
    # Even with a umask that takes nothing away.
    clean.lab.run(
        ["sh", "-c", f"umask 0; exec {PROGRAM} setup"], env=clean.environment(), timeout_s=180
    )
    modes = {
        path: stat.S_IMODE(path.lstat().st_mode)
        for path in home.rglob("*")
        # openvpn writes its own pid, which is no secret, and in a folder that is closed.
        if not path.is_socket() and path.name != "openvpn.pid"
    }
    folders = {path for path in modes if path.is_dir()}
    assert {path.name for path in modes} >= {"pki.json", "macnet.ovpn", "tunnel.json", "pki"}
    assert [
        str(path) for path in modes if modes[path] != (0o700 if path in folders else 0o600)
    ] == []


def test_keys_in_the_server_are_roots_alone(up: Mac) -> None:
    files = "/etc/macnet/server.key", "/etc/macnet/tls-crypt.key"
    for file in files:
        told = up.lab.docker("exec", "macnet-server", "stat", "-c", "%a %U %G", file)
        assert told == "600 root root\n"
    # The key that signs is nowhere: nobody can make a further certificate.
    keys = up.lab.docker(
        "exec", "macnet-server", "grep", "-rlE", "PRIVATE KEY|Static key", "/etc/macnet"
    )
    assert sorted(keys.split()) == sorted(files)
    assert up.lab.docker("exec", "macnet-relay", "find", "/etc/macnet", "-type", "f") == ""
    pki = json.loads((up.root / "pki/pki.json").read_text())
    assert [name for name in pki if "PRIVATE KEY" in pki[name]] == ["server_key", "client_key"]


@pytest.mark.kernel_lane
def test_no_descriptor_of_the_lane_leads_to_a_key(up: Mac) -> None:
    """It is root in there: from a folder of the server it could open what lies beside and above."""
    handed = list(Path(f"/proc/{lane(up).pid}/fd").iterdir())
    kinds = {os.readlink(one).partition(":")[0] for one in handed}  # noqa: PTH115
    assert {"socket"} < kinds <= {"socket", "pipe", "anon_inode", "/dev/null"}
    for one in handed:
        for name in ("server.key", "etc/macnet/server.key", "../etc/macnet/server.key"):
            with pytest.raises(OSError):
                os.close(os.open(one / name, os.O_RDONLY))


#: What a lane that was taken over would try, with the server's process and the relay's own.
_TRIED = """
id -u
cat /proc/$0/root/etc/macnet/server.key /proc/$1/environ
ls -A /proc
kill -0 $0 || kill -0 $1 || echo signals nobody
touch /usr/local/lib/macnet/python/macnet/relay/lane.py /run/macnet/attached
umount /proc
mount -t proc proc /proc
ls -A /proc
"""


@pytest.mark.kernel_lane
def test_the_lane_reaches_no_other_process_and_changes_no_file(up: Mac) -> None:
    """It is the user of all the others: what holds it are namespaces of its own."""
    pid, beside = lane(up).pid, [main_process(up, name).pid for name in CONTAINERS]
    argv = ["nsenter", f"--target={pid}", "--mount", "--pid"]
    argv += ["capsh", "--no-new-privs", "--caps=cap_net_admin=ep", "--shell=/bin/sh", "--"]
    tried = up.lab.run([*argv, "-c", _TRIED, *map(str, beside)], check=False)
    assert tried.stdout.split("\n") == ["0", "signals nobody", ""], tried.stderr
    assert tried.stderr.count("Read-only file system") == 2, tried.stderr
    told = Path(f"/proc/{pid}/environ").read_text()
    assert "PYTHONPATH=" in told
    assert_silent(up, "the lane's environment", told)


def test_the_port_is_open_on_loopback_only(up: Mac) -> None:
    port = json.loads((up.root / "tunnel.json").read_text())["port"]
    published = inspect(up, "macnet-server")["HostConfig"]["PortBindings"]
    assert published == {"1194/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    assert not inspect(up, "macnet-relay")["HostConfig"]["PortBindings"]
    rows = up.lab.vm_run(["ss", "-Hltn", f"sport = :{port}"]).stdout.splitlines()
    assert [row.split()[3] for row in rows] == [f"127.0.0.1:{port}"]


def test_the_relay_opens_no_port(clean: Mac) -> None:
    """Nor does pasta, which could forward ports of the VM into the server."""

    def listening() -> set[str]:
        rows = clean.lab.vm_run(["ss", "-Hlntu"]).stdout.splitlines()
        return {" ".join(row.split()[i] for i in (0, 4)) for row in rows}

    before = listening()
    clean.macnet("setup")
    port = json.loads((clean.root / "tunnel.json").read_text())["port"]
    assert listening() - before == {f"tcp 127.0.0.1:{port}"}


def test_rights_are_the_least(up: Mac) -> None:
    wanted = {"macnet-server": ["NET_ADMIN"], "macnet-relay": ["NET_ADMIN", "SYS_ADMIN"]}
    for name, capabilities in wanted.items():
        found = inspect(up, name)
        rights = found["HostConfig"]
        assert rights["CapDrop"] == ["ALL"]
        assert [item.removeprefix("CAP_") for item in sorted(rights["CapAdd"])] == capabilities
        assert rights["Privileged"] is False
        assert "no-new-privileges:true" in rights["SecurityOpt"]
        assert not rights["Binds"]
        assert found["Mounts"] == []
        assert [device["PathOnHost"] for device in rights["Devices"]] == ["/dev/net/tun"]
    server = inspect(up, "macnet-server")["HostConfig"]
    assert server["SecurityOpt"] == ["no-new-privileges:true"]
    assert server["NetworkMode"] == "bridge"
    assert server["PidMode"] == ""


def test_no_rule_of_ours_in_the_engines_firewall(clean: Mac) -> None:
    """Only what Docker itself writes for a published port of any container."""
    before = rules(clean)
    clean.macnet("setup")
    server = inspect(clean, "macnet-server")
    address = server["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    port = server["HostConfig"]["PortBindings"]["1194/tcp"][0]["HostPort"]
    new = [line for line in rules(clean) if line not in before]
    assert new, "Docker publishes the port by a rule"
    # Docker's guard of a port on loopback, and its forwarding to the container.
    guard = f"-A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport {port} -j DROP"
    assert [line for line in new if address not in line and line != guard] == []
    ruleset = clean.lab.vm_run(["nft", "list", "ruleset"]).stdout
    assert "DOCKER" in ruleset
    for word in ("macnet", "relay0", "100.64.0", "192.168.255", "MACNET", "REMAP"):
        assert word.lower() not in "\n".join(rules(clean)).lower()
        assert word.lower() not in ruleset.lower()
    clean.macnet("down")
    assert rules(clean) == before


def rules(mac: Mac) -> list[str]:
    """Rules and chains without their counters."""
    lines = mac.lab.iptables_save().splitlines()
    return [line.partition(" [")[0] for line in lines if not line.startswith("# ")]


def test_secrets_are_in_no_list_of_the_engine(up: Mac) -> None:
    for name in CONTAINERS:
        found = inspect(up, name)
        config = found["Config"]
        open_to_all = [config["Cmd"], config["Entrypoint"], config["Labels"], found["HostConfig"]]
        assert_silent(up, f"{name}'s configuration", json.dumps(open_to_all))
        pid = found["State"]["Pid"]
        assert_silent(up, f"{name}'s arguments", Path(f"/proc/{pid}/cmdline").read_text())
    image = inspect(up, "macnet-server")["Image"]
    assert_silent(up, "the image", up.lab.docker("image", "inspect", image))
    assert_silent(up, "its history", up.lab.docker("history", "--no-trunc", image))
    # The two need the token, and nothing else gets it: not as a key, only by this one name.
    for name in CONTAINERS:
        environment = inspect(up, name)["Config"]["Env"]
        assert f"MACNET_SERVER={secrets(up)['token']}" in environment
        assert_silent_but_token(up, json.dumps(environment))


def assert_silent_but_token(mac: Mac, text: str) -> None:
    assert_silent(mac, "the environment", text.replace(secrets(mac)["token"], "-"))


def test_the_clients_command_line_tells_nothing(up: Mac) -> None:
    process = Path(f"/proc/{up.client_pid()}")
    assert_silent(up, "the arguments", (process / "cmdline").read_text().replace("\0", " "))


@pytest.mark.parametrize(
    "words",
    [
        ["setup", "-v"],
        ["setup", "-v", "--json"],
        ["setup", "--dry-run", "--json"],
        ["regenerate", "-v"],
        ["status", "--json"],
        ["status", "-v"],
        ["check", "-v"],
        ["check", "--json"],
        ["networks", "--json"],
        ["connect", "-v"],
        ["logs", "server", "-n", "1000"],
        ["logs", "relay", "-n", "1000"],
        ["logs", "client", "-n", "1000"],
    ],
    ids=" ".join,
)
def test_no_command_tells_a_secret(up: Mac, words: list[str]) -> None:
    done = up.macnet(*words)
    assert_silent(up, " ".join(words), done.stdout + done.stderr)


def test_new_keys_leave_no_old_ones_behind(up: Mac) -> None:
    old = secrets(up)
    up.macnet("regenerate", "--keys")
    new = secrets(up)
    # The token belongs to the pair of containers, not to the keys.
    assert [what for what in old if what != "token" and old[what] == new[what]] == []
    files = [path for path in up.root.rglob("*") if path.is_file()]
    texts = "\n".join(path.read_text(errors="replace") for path in files)
    assert [what for what in old if what != "token" and old[what] in texts] == []
    up.macnet("down", "--purge")
    assert not up.root.exists()


HOSTILE = "x;touch${IFS}/tmp/macnet-was-here"


def test_hostile_names_are_only_names(clean: Mac) -> None:
    """Docker takes almost any name for a network by its API; none of them reaches a shell."""
    marks = [Path("/tmp/macnet-was-here"), Path("/tmp/macnet-was-here-too")]
    names = [HOSTILE, "$(touch /tmp/macnet-was-here-too)", "`id`", "--help", "a b", "\x1b[31mred"]
    made = [name for name in names if create_network(clean, name)]
    try:
        assert HOSTILE in made
        print("taken by the engine:", made)
        clean.macnet("setup")
        listed = {item["network"]["name"] for item in clean.json("networks")["networks"]}
        assert listed >= set(made)
        text = "".join(clean.macnet(word).stdout for word in ("networks", "regenerate", "status"))
        assert HOSTILE in text
        assert "\x1b" not in text
        clean.macnet("check", check=False)
    finally:
        for name in made:
            remove_network(clean, name)
    clean.macnet("regenerate")
    assert not any(mark.exists() for mark in marks)
    for name in CONTAINERS:
        find = ["exec", name, "find", "/tmp", "-name", "macnet-was-here*"]
        assert clean.lab.docker(*find) == ""


def create_network(mac: Mac, name: str) -> bool:
    """Ask the engine for a network; False where it does not take the name."""
    body = json.dumps({"Name": name, "Driver": "bridge"})
    return ask(mac, "POST", "/networks/create", body) == 201


def remove_network(mac: Mac, name: str) -> None:
    rows = mac.lab.engine.get("/networks")
    identity = next(row["Id"] for row in rows if row["Name"] == name)
    assert ask(mac, "DELETE", f"/networks/{identity}", "") == 204


def ask(mac: Mac, method: str, path: str, body: str) -> int:
    argv = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]
    argv += ["--unix-socket", str(mac.lab.engine.socket), "-H", "Content-Type: application/json"]
    return int(mac.lab.run([*argv, "-d", body, f"http://docker{path}"]).stdout)


def test_the_base_image_is_no_way_into_the_build(clean: Mac) -> None:
    said = clean.fails(4, "setup", "--base-image", f"{BASE_IMAGE}\nRUN touch /tmp/x")
    assert "is not the name of an image" in said
