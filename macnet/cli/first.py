"""The first minutes: a setup that finds no VPN client, and `macnet` without a command."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from macnet.cli import views
from macnet.cli.session import Session
from macnet.errors import ClientMissing
from macnet.progress import stage

#: Seconds that Homebrew may take, and between two looks for a client.
_BREW_S = 1800.0
_LOOK_S = 1.0

T = TypeVar("T")


def with_client(open_session: Callable[[], Session], run: Callable[[Session], T]) -> T:
    """``run`` with a session; at a terminal a missing client is waited for, and it goes on.

    Everything may be repeated, so going on is running it again: with a session that is opened
    anew, as another client may be there now. Raises `ClientMissing` where nobody reads along.
    """
    while True:
        session = open_session()
        try:
            return run(session)
        except ClientMissing as missing:
            if not session.output.interactive:
                raise
            _await_client(session, missing)


def _await_client(session: Session, missing: ClientMissing) -> None:
    output, tunnel = session.output, session.tunnel
    for line in views.client_missing(missing, tunnel):
        output.note(line)
    runner = tunnel.host.runner
    brew = runner.find("brew", "/opt/homebrew/bin/brew", "/usr/local/bin/brew")
    install = "brew install openvpn"
    if tunnel.client.name == "openvpn" and brew and output.ask(f"Run `{install}` now?"):
        with stage(output, install) as step, output.pause():
            step.changed = runner.run(
                [brew, "install", "openvpn"], check=False, interactive=True, timeout_s=_BREW_S
            ).ok
    with stage(output, "waiting for a VPN client to be installed") as step:
        while not _is_installed(session):
            time.sleep(_LOOK_S)
            step.changed = True


def _is_installed(session: Session) -> bool:
    """Whether the client that would be chosen now is there."""
    tunnel = session.tunnel
    try:
        tunnel.make_client(tunnel.settings.client).require()
    except ClientMissing:
        return False
    return True


def overview(session: Session) -> None:
    """Show the state of the tunnel, and the next command."""
    with session.output.working("looking"):
        now = session.status()
    session.output.result("status", now, views.overview(now))
