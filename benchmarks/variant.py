"""The tunnel with other settings than macnet's, for a sweep: edits the running containers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.bed import TARGET, Bed, Parts, Route
from tests.lab import HTTP_PORT, SINK_PORT
from tests.lab.process import ProcessId, spawn, stop, wait_until

_CONFIG = "/etc/macnet/openvpn.conf"
_PROGRAM = "/usr/local/lib/macnet/python/macnet/relay/way.py"

#: Directive to its value; None takes it out.
Directives = Mapping[str, str | None]


@dataclass(frozen=True)
class Variant:
    """What differs from macnet's defaults."""

    name: str
    both: Directives = field(default_factory=dict)
    server: Directives = field(default_factory=dict)
    #: Constants of the relay's program.
    relay: Mapping[str, str] = field(default_factory=dict)


class Variants:
    """Switches one running tunnel from variant to variant."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._folder = bed.lab.paths.home / "variants"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        profile = bed.lab.paths.mac_home / "tunnels/macnet/macnet.ovpn"
        bed.fresh_tunnel()
        self._profile = profile.read_text()
        self._config = bed.lab.docker("exec", "macnet-server", "cat", _CONFIG)
        self._program = bed.lab.docker("exec", "macnet-relay", "cat", _PROGRAM)
        self._client: ProcessId | None = None
        bed.macnet("disconnect")

    @contextmanager
    def applied(self, variant: Variant) -> Iterator[Route]:
        """The tunnel with this variant, connected."""
        server = edit(edit(self._config, variant.both), variant.server)
        self._put("macnet-server", _CONFIG, server)
        self._put("macnet-relay", _PROGRAM, assign(self._program, variant.relay))
        self._bed.lab.docker("restart", "-t", "1", "macnet-server", "macnet-relay")
        self._wait_for_relay()
        try:
            self._connect(edit(self._profile, variant.both))
            yield self._route(variant)
        finally:
            self._disconnect()

    def close(self) -> None:
        """Go back to macnet's own tunnel."""
        self._disconnect()
        with self.applied(Variant("macnet")):
            pass
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()

    def _route(self, variant: Variant) -> Route:
        own = self._bed.routes()[1]
        parts: Parts = {**own.parts, "client": self._client_pids}
        return Route("variant", variant.name, self._bed.address, HTTP_PORT, SINK_PORT, parts)

    def _client_pids(self) -> list[int]:
        return [self._client.pid] if self._client else []

    def _put(self, container: str, path: str, text: str) -> None:
        source = self._folder / "file"
        source.write_text(text)
        source.chmod(0o644)
        self._bed.lab.docker("cp", str(source), f"{container}:{path}")

    def _connect(self, profile: str) -> None:
        path, log = self._folder / "client.ovpn", self._folder / "client.log"
        path.write_text(profile)
        path.chmod(0o600)
        log.write_text("")
        lab = self._bed.lab
        argv = [*lab.mac.enter(), "openvpn", "--config", str(path)]
        self._client = spawn(argv, log, env=lab.mac_environment())
        ping = ["ping", "-n", "-c", "1", "-W", "1", self._bed.address]
        if not wait_until(lambda: lab.run(ping, check=False).returncode == 0, 20):
            raise RuntimeError(f"{TARGET} does not answer: {log.read_text()[-2000:]}")

    def _disconnect(self) -> None:
        if self._client is not None:
            stop(self._client, grace_s=5)
            self._client = None

    def _wait_for_relay(self) -> None:
        docker = self._bed.lab.docker
        deadline = time.monotonic() + 20
        listing = ("exec", "macnet-server", "ip", "route", "show", "table", "100")
        while "relay0" not in docker(*listing):
            if time.monotonic() > deadline:
                raise RuntimeError(docker("logs", "--tail", "20", "macnet-relay"))
            time.sleep(0.1)


def assign(program: str, constants: Mapping[str, str]) -> str:
    """A program with other values of module constants, each of which it must have."""
    for name, value in constants.items():
        program, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", program, flags=re.M)
        if count != 1:
            raise ValueError(f"the relay has no constant {name}")
    return program


def edit(config: str, directives: Directives) -> str:
    """A configuration of OpenVPN with other values of directives; new ones go to its start."""
    lines = [line for line in config.splitlines() if line.split(" ", 1)[0] not in directives]
    added = [f"{key} {value}".strip() for key, value in directives.items() if value is not None]
    return "\n".join([*added, *lines, ""])
