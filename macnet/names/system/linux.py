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
    header,
    install_command,
    is_owned,
    own_files,
    read_files,
    remove_command,
    user_id,
    whose,
)

FOLDER = Path("/etc/systemd/dns-delegate.d")
_SUFFIX = ".dns-delegate"
#: The first systemd with delegates.
DELEGATE_VERSION = 258

#: In the place of the tunnel's interface, and what tells it.
_INTERFACE = "INTERFACE"
_WHICH = "; INTERFACE is the tunnel's, which `macnet status` shows while it is connected"
_RELOAD = "systemctl reload systemd-resolved"


class Delegate(NamesSystem):
    """A file for systemd-resolved."""

    name = "systemd-resolved"

    def __init__(self, folder: Path = FOLDER, *, user: int | None = None) -> None:
        """Files are in ``folder``; ``user`` as in `macnet.names.system.macos.MacResolver`."""
        self._folder = folder
        self._user = user_id() if user is None else user

    def path(self, tunnel: str) -> Path:
        """Where a tunnel's file is: other users have a tunnel of that name too."""
        return self._folder / f"macnet-{tunnel}-{self._user}{_SUFFIX}"

    def status(self, entry: SystemEntry) -> SystemStatus:
        """See `NamesSystem.status`."""
        path = self.path(entry.tunnel)
        files = dict(read_files(self._folder))
        domains = " and ".join(entry.domains)
        for rival, text in files.items():
            if self._is_rival(rival, text, entry):
                said = f"{rival} {whose(text)} and answers for {domains}"
                return SystemStatus(SystemState.FOREIGN, said, rival)
        text = files.get(path, "")
        if path not in files:
            return SystemStatus(SystemState.ABSENT, f"there is no {path}", path)
        if not is_owned(text, entry.tunnel, self._user):
            return SystemStatus(SystemState.FOREIGN, f"{path} {whose(text)}", path)
        if text != render_delegate(entry, self._user):
            said = f"{path} does not say 127.0.0.1:{entry.port} for {domains}"
            return SystemStatus(SystemState.OUTDATED, said, path)
        if self._left(entry):
            said = f"another file of this tunnel is left in {self._folder}"
            return SystemStatus(SystemState.OUTDATED, said, path)
        said = f"{path} names 127.0.0.1:{entry.port}"
        return SystemStatus(SystemState.CURRENT, said, path)

    def plan_install(self, entry: SystemEntry) -> RootCommand | None:
        """See `NamesSystem.plan_install`."""
        status = self.status(entry)
        if status.state is SystemState.FOREIGN:
            raise ConflictError(
                status.text,
                hint=f"remove it with `sudo rm {status.path}`, or choose another domain with "
                "`macnet names on --domain`",
            )
        if status.state is SystemState.CURRENT:
            return None
        text = render_delegate(entry, self._user)
        return install_command({self.path(entry.tunnel): text}, self._left(entry), _RELOAD)

    def plan_remove(self, tunnel: str) -> RootCommand | None:
        """See `NamesSystem.plan_remove`."""
        files = own_files(self._folder, tunnel, self._user)
        return remove_command(files, _RELOAD) if files else None

    def _is_rival(self, path: Path, text: str, entry: SystemEntry) -> bool:
        """Whether a file that is not this tunnel's is for one of the domains too."""
        if path.suffix != _SUFFIX or is_owned(text, entry.tunnel, self._user):
            return False
        return not set(entry.domains).isdisjoint(delegated_domains(text))

    def _left(self, entry: SystemEntry) -> list[Path]:
        """Files of this tunnel with another name, as of before users were told apart."""
        own = own_files(self._folder, entry.tunnel, self._user)
        return [file for file in own if file != self.path(entry.tunnel)]


def delegated_domains(text: str) -> set[str]:
    """The domains that a file is for."""
    lines = (line.partition("=") for line in text.splitlines())
    return {
        word.lstrip("~").lower().removesuffix(".")
        for key, _, value in lines
        if key.strip() == "Domains"
        for word in value.split()
    }


def render_delegate(entry: SystemEntry, user: int | None = None) -> str:
    """The text of a `systemd.dns-delegate(5)` file; ``~`` keeps the domain out of the search.

    Of who runs this where no ``user`` is given.
    """
    return (
        f"{header(entry.tunnel, user_id() if user is None else user)}\n"
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
        """See `NamesSystem.instructions`; the tunnel's interface is to be filled in."""
        if not self._resolved:
            return tuple(
                f"send questions for {domain} to 127.0.0.1, port {entry.port}; "
                f"in dnsmasq: server=/{domain}/127.0.0.1#{entry.port}"
                for domain in entry.domains
            )
        domains = " ".join(f"'~{domain}'" for domain in entry.domains)
        return (
            f"sudo resolvectl dns {_INTERFACE} 127.0.0.1:{entry.port}",
            f"sudo resolvectl domain {_INTERFACE} {domains}",
            f"both again after each connect, as they end with the interface{_WHICH}",
        )


def fill_interface(steps: tuple[str, ...], interface: str | None) -> tuple[str, ...]:
    """`ByHand.instructions` for the tunnel's interface, where there is one now."""
    if interface is None:
        return steps
    return tuple(step.removesuffix(_WHICH).replace(_INTERFACE, interface) for step in steps)
