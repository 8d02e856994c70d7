"""The classic recipe: OpenVPN in the VM's host network, behind a socat proxy.

What people set up by hand before macnet: MTU 1500, compression, no TCP_NODELAY, and one rule in
the VM's firewall. Its own device, port and subnet let it run beside macnet.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.classic_image import CLASSIC_IMAGE, import_classic
from macnet.pki import Pki, create_pki
from tests.lab import Lab
from tests.lab.process import ProcessId, spawn, stop, wait_until

SERVER = "classic-openvpn"
PROXY = "classic-proxy"
DEVICE = "classic0"
PORT = 13195
_SERVER_PORT = 1194
_RULE = ("FORWARD", "-i", "tun+", "-j", "ACCEPT")

_SERVER_CONFIG = f"""\
server 192.168.254.0 255.255.255.0
proto tcp
port {_SERVER_PORT}
dev tun0
keepalive 10 60
persist-key
persist-tun
comp-lzo yes
dh none
user nobody
group nogroup
verb 3
key-direction 0
"""
_CLIENT_CONFIG = f"""\
client
nobind
dev {DEVICE}
dev-type tun
remote-cert-tls server
remote 127.0.0.1 {PORT} tcp
comp-lzo yes
verb 3
key-direction 1
"""
_CONFIG_PATH = "/etc/openvpn.conf"


class Classic:
    """The classic recipe in a lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folder = lab.paths.home / "classic"
        self._pid_file = self._folder / "client.json"

    def up(self) -> None:
        """Start server, proxy and client, and wait until the tunnel is there."""
        self.down()
        self._folder.mkdir(mode=0o700)
        import_classic(self._lab)
        pki = create_pki("classic", now=datetime.now(UTC))
        config = self._write("server.conf", _server_config(pki))
        docker = self._lab.docker
        options = ("--network", "host", "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun")
        program = ("openvpn", "--config", _CONFIG_PATH)
        docker("create", "--name", SERVER, *options, CLASSIC_IMAGE, *program)
        docker("cp", str(config), f"{SERVER}:{_CONFIG_PATH}")
        docker("start", SERVER)
        self._lab.vm_run(["iptables", "-I", _RULE[0], "1", *_RULE[1:]])
        listen = ("socat", f"TCP-LISTEN:{PORT},fork", f"TCP:{self._bridge()}:{_SERVER_PORT}")
        published = ("--publish", f"127.0.0.1:{PORT}:{PORT}")
        docker("run", "-d", "--name", PROXY, *published, CLASSIC_IMAGE, *listen)
        profile = self._write("client.ovpn", _client_config(pki))
        client = spawn(
            [*self._lab.mac.enter(), "openvpn", "--config", str(profile)],
            self._folder / "client.log",
            env=self._lab.mac_environment(),
        )
        client.save(self._pid_file)
        if not wait_until(lambda: self._carries("192.168.254.1"), 20):
            raise RuntimeError((self._folder / "client.log").read_text()[-2000:])

    def down(self) -> None:
        """Take away whatever `up` has made."""
        client = ProcessId.load(self._pid_file)
        if client is not None:
            stop(client, grace_s=3)
        if names := self._names():
            self._lab.docker("rm", "-f", *names)
        self._lab.vm_run(["iptables", "-D", *_RULE], check=False)
        for path in sorted(self._folder.glob("*")):
            path.unlink()
        if self._folder.is_dir():
            self._folder.rmdir()

    def client_pids(self) -> list[int]:
        """The client's process."""
        client = ProcessId.load(self._pid_file)
        return [client.pid] if client else []

    def _bridge(self) -> str:
        """Address of docker0, at which a container reaches the host network."""
        rows = json.loads(self._lab.vm_run(["ip", "-j", "-4", "address", "show", "docker0"]).stdout)
        return str(rows[0]["addr_info"][0]["local"])

    def _carries(self, address: str) -> bool:
        argv = ["ping", "-n", "-c", "1", "-W", "1", address]
        return self._lab.run(argv, check=False).returncode == 0

    def _names(self) -> list[str]:
        rows = self._lab.docker("ps", "-a", "--format", "{{.Names}}").split()
        return [name for name in rows if name in (SERVER, PROXY)]

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path


def _server_config(pki: Pki) -> str:
    return _SERVER_CONFIG + _inline(pki, pki.server_cert, pki.server_key)


def _client_config(pki: Pki) -> str:
    return _CLIENT_CONFIG + _inline(pki, pki.client_cert, pki.client_key)


def _inline(pki: Pki, cert: str, key: str) -> str:
    parts = {"ca": pki.ca_cert, "cert": cert, "key": key, "tls-auth": pki.tls_crypt}
    return "".join(f"<{name}>\n{text.strip()}\n</{name}>\n" for name, text in parts.items())
