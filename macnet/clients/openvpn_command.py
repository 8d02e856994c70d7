"""Where openvpn is, and how it is started."""

from __future__ import annotations

import re

from macnet.errors import ClientMissing
from macnet.paths import TunnelPaths
from macnet.runner import CommandFailed, CommandRunner

#: Homebrew keeps openvpn in sbin, which is not on everybody's PATH.
_PLACES = (
    "/opt/homebrew/sbin/openvpn",
    "/opt/homebrew/opt/openvpn/sbin/openvpn",
    "/usr/local/sbin/openvpn",
    "/usr/local/opt/openvpn/sbin/openvpn",
    "/usr/sbin/openvpn",
)


def find_program(runner: CommandRunner) -> str:
    """The path of openvpn. Raises `ClientMissing`."""
    if found := runner.find("openvpn", *_PLACES):
        return found
    raise ClientMissing(
        "openvpn is not installed",
        hint="install it with your package manager, for example `brew install openvpn`",
    )


def program_version(runner: CommandRunner) -> str | None:
    """Its version, None where there is none or it does not tell."""
    try:
        # openvpn before 2.6 ends `--version` with status 1.
        done = runner.run([find_program(runner), "--version"], check=False)
    except (ClientMissing, CommandFailed):
        return None
    found = re.search(r"^OpenVPN (\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else None


def command_line(program: str, paths: TunnelPaths, *, user: str | None) -> list[str]:
    """The command line. It carries no secrets: those are in the profile, mode 0600.

    The profile comes on standard input, so that root reads it once: a process that could be
    told (SIGHUP) to read a file of the user's again would be a way to become root. The log
    comes first, so that an error in the profile goes there too; what must not be changed by
    the profile comes after it. Script level 1 lets openvpn call ifconfig and route, and nothing
    else. ``user`` alone may use the management socket; None is for root itself.
    """
    argv = [program, "--cd", str(paths.root), "--log-append", str(paths.client_log)]
    argv += ["--config", "stdin", "--daemon", "macnet"]
    argv += ["--writepid", str(paths.client_pid), "--script-security", "1"]
    argv += ["--management", str(paths.client_socket), "unix"]
    if user is not None:
        argv += ["--management-client-user", user]
    return argv
