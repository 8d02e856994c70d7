"""A tunnel with names on the Mac side, a watch that answers, and containers to be named."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.steps import Mac
from tests.e2e.test_watch import Watching, watch
from tests.lab.images import SAMPLE_IMAGE
from tests.lab.resolver_mac import NamesMac, ask, udp_socket

DOMAIN, PORT = "docker.test", 13153
ANSWERING = f"answering for {DOMAIN} on 127.0.0.1:{PORT}"


@dataclass(frozen=True)
class Names:
    """Names on the Mac side, where ``mac`` is set up and ``side`` told of it."""

    mac: Mac
    side: NamesMac
    watching: Watching

    def ask(self, name: str, kind: str = "A") -> str:
        """What the port of names answers; names that end with a dot are whole."""
        full = name if name.endswith(".") else f"{name}.{DOMAIN}."
        return ask(self.mac.lab.paths.mac_netns, PORT, full, kind)

    def heard(self, name: str) -> str:
        """What it answers, or nothing: a question is lost while nobody listens, or in a burst."""
        try:
            return self.ask(name)
        except TimeoutError:
            return ""

    def socket(self) -> socket.socket:
        """A socket of the Mac side for packets of one's own."""
        return udp_socket(self.mac.lab.paths.mac_netns)

    def run(self, name: str, *options: str, command: Sequence[str] = ("sleep", "900")) -> None:
        """Start a container, by the command."""
        self.mac.lab.docker("run", "-d", "--name", name, *options, SAMPLE_IMAGE, *command)

    def addresses(self, name: str) -> dict[str, str]:
        """The IPv4 addresses of a container by network, from the engine."""
        endpoints: Mapping[str, Any] = json.loads(self.mac.lab.docker("inspect", name))[0][
            "NetworkSettings"
        ]["Networks"]
        return {network: str(one["IPAddress"]) for network, one in endpoints.items()}

    def address(self, name: str) -> str:
        """The only one of them."""
        (found,) = self.addresses(name).values()
        return found

    def all_homes(self, *names: str) -> dict[str, list[str]]:
        """The IPv4 addresses of each of many containers."""
        return {
            str(row["Name"]).lstrip("/"): [
                str(one["IPAddress"]) for one in row["NetworkSettings"]["Networks"].values()
            ]
            for row in json.loads(self.mac.lab.docker("inspect", *names))
        }

    def wait(self, name: str, *addresses: str) -> float:
        """Wait until the port answers with these; the seconds that it took."""
        wanted = " ".join(sorted(addresses))
        return follow(lambda: self.ask(name), wanted.__eq__, 10).seconds

    @contextmanager
    def asking(self, *names: str) -> Iterator[dict[str, set[str]]]:
        """Ask the port for names all the time while the block runs; every answer that came."""
        answers: dict[str, set[str]] = {name: set() for name in names}
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(0.02):
                for name in names:
                    answers[name].add(self.ask(name))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield answers
        finally:
            ended.set()
            thread.join()

    def remove(self, *names: str) -> None:
        """Remove containers, where they are there."""
        chunks = [names[start::4] for start in range(min(4, len(names)))]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda chunk: self.mac.lab.docker("rm", "-f", *chunk), chunks))


@contextmanager
def names_on(mac: Mac, folder: Path) -> Iterator[Names]:
    """Switch names on while the block runs."""
    mac.macnet("setup")
    with NamesMac(mac.lab) as side:
        side.macnet("names", "on", env=mac.environment())
        try:
            with watch(mac, folder / "said") as watching:
                watching.wait_for(ANSWERING)
                yield Names(mac, side, watching)
        finally:
            side.macnet("names", "off", env=mac.environment())


@dataclass
class Followed:
    """What a question got, each time that something else came."""

    answers: list[str]
    seconds: float


def follow(question: Callable[[], str], wanted: Callable[[str], bool], limit_s: float) -> Followed:
    """Ask again and again until the answer is as wanted, for ``limit_s`` at most."""
    began = time.monotonic()
    answers = [question()]
    while not wanted(answers[-1]):
        took = time.monotonic() - began
        assert took < limit_s, f"{answers} after {took:.1f} s"
        time.sleep(0.01)
        answer = question()
        if answer != answers[-1]:
            answers.append(answer)
    return Followed(answers, time.monotonic() - began)
