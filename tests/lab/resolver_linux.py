"""The Mac side as a Linux desktop: systemd-resolved, its bus, and OpenVPN 2.7 or later."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from .mac import foreign_program
from .process import Completed, wait_until
from .resolver_mac import NamesSide
from .trees import base_spec, ensure_resolved, ensure_tree

#: The DNS server that the desktop has asked before, and the one name that it knows.
UPSTREAM, KNOWN_NAME, KNOWN_ADDRESS = "127.0.0.55", "example.com", "192.0.2.7"
_PROGRAM = str(Path(sys.executable).with_name("macnet"))
_BIN = "/etc/macnet-lab/bin"
#: systemd does not run here: these are its ways to say what its programs are told. Nobody but root
#: is in the namespace, so the bus may let everybody do everything.
_PREPARE = """
set -eu
mount -t tmpfs -o mode=755 macnet-lab /run
mkdir -p /run/dbus /run/systemd/resolve /etc/systemd /etc/macnet-lab/bin
rm -rf /etc/systemd/resolved.conf.d /etc/systemd/dns-delegate.d /etc/macnet-lab/libexec
echo "systemd-resolve:x:997:997::/:/usr/sbin/nologin" >>/etc/passwd
echo "systemd-resolve:x:997:" >>/etc/group
chown 997:997 /run/systemd/resolve
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
cd /etc/macnet-lab
mkdir -p libexec work /usr/libexec
layers="lowerdir=/usr/libexec,upperdir=$PWD/libexec,workdir=$PWD/work"
mount -t overlay -o "$layers" overlay /usr/libexec
mkdir -p /usr/libexec/openvpn
cp "$1/usr/libexec/openvpn/dns-updown" /usr/libexec/openvpn/
"""
_NETWORK = """
ip link add lan0 type veth peer name lan1
ip address add 198.51.100.2/24 dev lan0
ip link set lan1 up
ip link set lan0 up
"""
_BUS = """\
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""
_RESOLVED_CONF = f"[Resolve]\nDNS={UPSTREAM}\nFallbackDNS=\nLLMNR=no\nMulticastDNS=no\n"
#: What the package's unit has in ExecReload.
_SYSTEMCTL = """\
#!/bin/sh
[ "$*" = "reload systemd-resolved" ] || exit 64
exec kill -HUP "$(cat /etc/macnet-lab/systemd-resolved)"
"""


class NamesLinux(NamesSide):
    """Programs ask systemd-resolved while the block runs, which asks ``UPSTREAM``."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._stack = ExitStack()
        self._stack.callback(super().__exit__)
        try:
            self._prepare()
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _prepare(self) -> None:
        cache = self.lab.paths.cache
        base, more = ensure_tree(cache, base_spec()), ensure_resolved(cache)
        self.run(["sh", "-c", _PREPARE, "sh", str(base)])
        for folder, tree, program in (
            ("/usr/bin", more, "usr/bin/resolvectl"),
            (_BIN, more, "usr/bin/dbus-daemon"),
            (_BIN, more, "usr/lib/systemd/systemd-resolved"),
            (_BIN, base, "usr/sbin/openvpn"),
        ):
            words = shlex.join(_program(base, more, tree / program))
            # A test may have it do something else first.
            path = f"{folder}/{Path(program).name}"
            extra = f"/etc/macnet-lab/{Path(program).name}"
            self.write_program(
                path,
                f'#!/bin/sh\n[ ! -e {extra}.sh ] || . {extra}.sh\nexec {words} "$@"\n',
            )
        self.write_program("/usr/bin/systemctl", _SYSTEMCTL)
        self.write("/etc/macnet-lab/bus.conf", _BUS)
        self.write("/etc/systemd/resolved.conf", _RESOLVED_CONF)

        # Without a network that is up systemd-resolved asks nobody.
        self.run(["sh", "-ec", _NETWORK])
        self._stack.callback(self.run, ["ip", "link", "delete", "lan0"], check=False)

    def _start(self) -> None:
        bus = ["--config-file=/etc/macnet-lab/bus.conf", "--nofork", "--nopidfile", "--print-pid"]
        self._stack.enter_context(self.server([f"{_BIN}/dbus-daemon", *bus], "\n"))
        upstream = [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-"),
            *("--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--log-queries"),
            *("--bind-interfaces", f"--listen-address={UPSTREAM}"),
            f"--address=/{KNOWN_NAME}/{KNOWN_ADDRESS}",
        ]
        self._stack.enter_context(self.server(upstream, "started"))
        resolved = self._stack.enter_context(
            self.server([f"{_BIN}/systemd-resolved"], "Using system hostname")
        )
        self.write("/etc/macnet-lab/systemd-resolved", str(resolved.pid))
        wait_until(lambda: self.run(["resolvectl", "status"], check=False).returncode == 0, 10)

    def write_program(self, path: str, text: str) -> None:
        """Write a script, as root."""
        self.run(["rm", "-f", path])
        self.write(path, text)
        self.run(["chmod", "755", path])

    def macnet(
        self, *words: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run macnet as it is on Linux, with that openvpn."""
        path = f"{_BIN}:{self.lab.mac_environment()['PATH']}"
        return self.run([_PROGRAM, *words], check=check, env={"PATH": path, **(env or {})})

    def query(self, name: str) -> str | None:
        """The address that systemd-resolved has for a name, None for none."""
        done = self.run(["resolvectl", "query", "--legend=no", name], check=False)
        words = done.stdout.split()
        return words[1] if done.returncode == 0 else None

    def settings(self) -> str:
        """Which servers systemd-resolved asks for what."""
        said = self.run(["resolvectl", "status"]).stdout
        # Which of several was asked last is no setting.
        return "\n".join(x for x in said.splitlines() if "Current DNS Server" not in x)

    def servers(self) -> list[str]:
        """The servers and domains in `settings`, of whatever links there are."""
        return [
            x.strip()
            for x in self.settings().splitlines()
            if "DNS Server" in x or "DNS Domain" in x
        ]

    def upstream_questions(self) -> str:
        """What the server of before was asked."""
        return self.log("dnsmasq").read_text()


def _program(base: Path, more: Path, program: Path) -> list[str]:
    """Words that run a program with the libraries of both trees."""
    words = foreign_program(base, "usr/bin/true")
    place = words.index("--library-path") + 1
    folders = [path for path in sorted(more.glob("usr/lib/*-linux-gnu*")) if path.is_dir()]
    paths = [words[place], *map(str, folders), *(str(path / "systemd") for path in folders)]
    words[place] = ":".join(paths)
    words[words.index("--argv0") + 1] = str(program)
    return [*words[:-1], str(program)]
