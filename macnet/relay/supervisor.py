"""The relay: keeps its ways attached to the server, which may come and go."""

from __future__ import annotations

import os
import select
import shutil
import signal
from pathlib import Path

from macnet.relay.attachment import Attachment, detach_name
from macnet.relay.attempts import Attempts
from macnet.relay.find import find_server
from macnet.relay.joined import WAYS, Joined
from macnet.relay.log import say
from macnet.relay.ping_groups import PingGroups, leave_range, write_range
from macnet.relay.way import Link, Passage

#: There while everything is attached (relay-health.sh).
ATTACHED = Path("/run/macnet/attached")
#: Seconds between looks at the server's process.
_WATCH_S = 0.2
#: Seconds until the next try after one that failed, growing.
_FIRST_TRY_S, _LAST_TRY_S = 0.1, 1.0


class Stopped(Exception):
    """The container is to end."""


class Signals:
    """Waiting that a signal cuts short: TERM ends the relay, CHLD and IO are worth a look."""

    def __init__(self) -> None:
        """Take the signals over."""
        self._woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGIO):
            signal.signal(number, lambda *_: None)

    def wait(self, seconds: float) -> None:
        """Sleep, at most so long. Raises `Stopped`."""
        woken = select.select([self._woken], [], [], seconds)[0]
        if woken and {signal.SIGTERM, signal.SIGINT} & set(os.read(self._woken, 4096)):
            raise Stopped


class Supervisor:
    """The loop that never gives up."""

    def __init__(self, token: str, link: Link, signals: Signals, groups: PingGroups) -> None:
        """Nothing is started yet."""
        self._token, self._link = token, link
        self._signals, self._groups = signals, groups
        self._attachment: Attachment | None = None
        #: The way into the VM's own namespace, and those into others.
        self._way: Passage | None = None
        self._joined = Joined(token)
        self._tries = Attempts()

    def run(self) -> None:
        """Go on until the container is to end."""
        ATTACHED.parent.mkdir(parents=True, exist_ok=True)
        ATTACHED.unlink(missing_ok=True)
        shutil.rmtree(WAYS, ignore_errors=True)
        detach_name()
        self._groups.widen()
        pause = _FIRST_TRY_S
        try:
            while True:
                done = self._step()
                pause = _FIRST_TRY_S if done else min(pause * 2, _LAST_TRY_S)
                self._signals.wait(_WATCH_S if done else pause)
        except Stopped:
            say("ending")
        finally:
            self._detach()
            self._groups.restore()

    def _step(self) -> bool:
        """Bring about what is lacking; whether all of the VM's way runs now."""
        if self._attachment is not None and not self._attachment.server_runs():
            say("the server ended")
            self._detach()
        attachment = self._attachment = self._attachment or self._attached()
        if attachment is None:
            return False
        way = self._way = self._way or attachment.way()
        done = self._start(attachment, way)
        way.inform()
        self._joined.tend(attachment)
        return done

    def _start(self, attachment: Attachment, way: Passage) -> bool:
        starts = way.lacking()
        if not starts:
            return True
        ATTACHED.unlink(missing_ok=True)
        self._groups.widen()
        # Each for itself: UDP and ping go on where the lane does not start, and the other way.
        failed = [start for start in starts if not self._tries.succeeds(start)]
        if failed:
            return False
        lane = "the kernel" if attachment.kernel_lane else "pasta"
        say(f"attached to the server (process {attachment.server}), TCP by {lane}")
        ATTACHED.touch()
        self._tries.over()
        return True

    def _attached(self) -> Attachment | None:
        server = find_server(self._token)
        if server is None:
            self._tries.complain("waiting for the server")
            return None
        attachment = Attachment(server, self._link, self._signals.wait)
        return attachment if self._tries.succeeds(attachment.attach) else None

    def _detach(self) -> None:
        ATTACHED.unlink(missing_ok=True)
        self._joined.detach()
        if self._way is not None:
            self._way.detach()
            self._way = None
        if self._attachment is not None:
            self._attachment.detach()
            self._attachment = None


def main() -> None:
    """Read the container's environment and run."""
    foreign = bool(os.environ.get("MACNET_RELAY_FOREIGN"))
    link = Link(
        os.environ["MACNET_RELAY_ADDRESS"],
        os.environ["MACNET_RELAY_GATEWAY"],
        int(os.environ["MACNET_RELAY_PREFIX"]),
        far=foreign,
    )
    token = os.environ["MACNET_SERVER"]
    write = leave_range if foreign else write_range
    Supervisor(token, link, Signals(), PingGroups(write)).run()


if __name__ == "__main__":
    main()
