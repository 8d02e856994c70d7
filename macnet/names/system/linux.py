"""Linux: through systemd-resolved, which sends the names of one domain to a server of its own.

systemd 258 and later reads a file, `systemd.dns-delegate(5)`. With an older one the interface of
the tunnel can be told by hand. openvpn 2.7 could tell it too (`--dns`), but only at a connect, so
that switching names on or off would need a new one, and by a script that it runs as root.
"""

from __future__ import annotations

from pathlib import Path

from macnet.errors import ConflictError
from macnet.names.system.base import (
    NamesSystem,
    RootCommand,
    SystemEntry,
    SystemState,
    SystemStatus,
    install_command,
    is_owned,
    own_files,
    read_files,
    remove_command,
)

FOLDER = Path("/etc/systemd/dns-delegate.d")
#: The first systemd with delegates.
DELEGATE_VERSION = 258

_RELOAD = "systemctl reload systemd-resolved"


class Delegate(NamesSystem):
    """A file for systemd-resolved."""

    name = "systemd-resolved"

    def __init__(self, folder: Path = FOLDER) -> None:
        """Files are in ``folder``."""
        self._folder = folder

    def path(self, tunnel: str) -> Path:
        """Where a tunnel's file is."""
        return self._folder / f"macnet-{tunnel}.dns-delegate"

    def status(self, entry: SystemEntry) -> SystemStatus:
        """See `NamesSystem.status`."""
        path = self.path(entry.tunnel)
        text = dict(read_files(self._folder)).get(path)
        if text is None:
            return SystemStatus(SystemState.ABSENT, f"there is no {path}", path)
        if not is_owned(text, entry.tunnel):
            return SystemStatus(SystemState.FOREIGN, f"{path} is not macnet's", path)
        if text != render_delegate(entry):
            domains = " and ".join(entry.domains)
            said = f"{path} does not say 127.0.0.1:{entry.port} for {domains}"
            return SystemStatus(SystemState.OUTDATED, said, path)
        said = f"{path} names 127.0.0.1:{entry.port}"
        return SystemStatus(SystemState.CURRENT, said, path)

    def plan_install(self, entry: SystemEntry) -> RootCommand | None:
        """See `NamesSystem.plan_install`."""
        status = self.status(entry)
        if status.state is SystemState.FOREIGN:
            raise ConflictError(status.text, hint=f"remove it with `sudo rm {status.path}`")
        if status.state is SystemState.CURRENT:
            return None
        text = render_delegate(entry)
        return install_command({self.path(entry.tunnel): text}, (), _RELOAD)

    def plan_remove(self, tunnel: str) -> RootCommand | None:
        """See `NamesSystem.plan_remove`."""
        files = own_files(self._folder, tunnel)
        return remove_command(files, _RELOAD) if files else None


def render_delegate(entry: SystemEntry) -> str:
    """The text of a `systemd.dns-delegate(5)` file; ``~`` keeps the domain out of the search."""
    return (
        f"{entry.header}\n"
        "[Delegate]\n"
        f"DNS=127.0.0.1:{entry.port}\n"
        f"Domains={' '.join(f'~{domain}' for domain in entry.domains)}\n"
    )


class ByHand(NamesSystem):
    """What macnet cannot do for the user: an older systemd-resolved, or none."""

    name = "by hand"

    def __init__(self, *, resolved: bool) -> None:
        """``resolved`` says whether systemd-resolved runs here."""
        self._resolved = resolved

    def status(self, entry: SystemEntry) -> SystemStatus:
        """See `NamesSystem.status`."""
        said = f"macnet cannot make this system ask for {' and '.join(entry.domains)}"
        return SystemStatus(SystemState.MANUAL, said)

    def instructions(self, entry: SystemEntry) -> tuple[str, ...]:
        """See `NamesSystem.instructions`; INTERFACE is the tunnel's."""
        if not self._resolved:
            return tuple(
                f"send questions for {domain} to 127.0.0.1, port {entry.port}; "
                f"in dnsmasq: server=/{domain}/127.0.0.1#{entry.port}"
                for domain in entry.domains
            )
        domains = " ".join(f"'~{domain}'" for domain in entry.domains)
        return (
            f"sudo resolvectl dns INTERFACE 127.0.0.1:{entry.port}",
            f"sudo resolvectl domain INTERFACE {domains}",
        )
