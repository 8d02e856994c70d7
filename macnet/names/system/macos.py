"""macOS: a file in /etc/resolver, which configd reads and mDNSResponder obeys (`man 5 resolver`).

configd takes a file's domain from its line ``domain`` and from its name only without one
(`configd/dnsinfo/dnsinfo_flatfile.c`), so macnet's file has a name of its own. The line ``flags``
makes a Mac without IPv6 ask for IPv6 addresses too: containers may have some.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

from macnet.errors import ConflictError
from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.names.domain import parse_answered
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

FOLDER = Path("/etc/resolver")
#: Seconds after which an unanswered question fails. Without it, that takes 30 (`mDNSCore/uDNS.h`).
_TIMEOUT_S = 2
#: mDNSResponder drops its whole cache, with the denials that it keeps for 77 seconds.
_FLUSH = ("/usr/bin/killall", "-HUP", "mDNSResponder")


class MacResolver(NamesSystem):
    """See `macnet.names.system.base.NamesSystem`."""

    name = "/etc/resolver"

    def __init__(self, folder: Path = FOLDER, *, root: int = 0, user: int | None = None) -> None:
        """``root`` is the user id that the file must belong to, ``user`` whose tunnels these are.

        Without it, that is who runs this.
        """
        self._folder = folder
        self._root = root
        self._user = user_id() if user is None else user

    def path(self, domain: str) -> Path:
        """Where macnet's file for a domain is."""
        return self._folder / f"macnet.{parse_answered(domain)}"

    def status(self, entry: SystemEntry) -> SystemStatus:
        """See `NamesSystem.status`; of several files, what is wrong with the first that is."""
        found = [self._status(one) for one in _split(entry)]
        for one in found:
            if one.state is not SystemState.CURRENT:
                return one
        if self._left(entry):
            said = f"a file for another domain of this tunnel is left in {self._folder}"
            return SystemStatus(SystemState.OUTDATED, said, found[0].path)
        return replace(found[0], text="; ".join(one.text for one in found))

    def _status(self, entry: SystemEntry) -> SystemStatus:
        path = self.path(entry.domain)
        files = dict(read_files(self._folder))
        if (rival := self._find_rival(entry)) is not None:
            said = f"{rival} {whose(files.get(rival, ''))} and answers for {entry.domain}"
            return SystemStatus(SystemState.FOREIGN, said, rival)
        text = files.get(path)
        if text is None:
            return SystemStatus(SystemState.ABSENT, f"there is no {path}", path)
        if not is_owned(text, entry.tunnel, self._user):
            return SystemStatus(SystemState.FOREIGN, f"{path} {whose(text)}", path)
        if (why := self._why_outdated(entry, text)) is not None:
            return SystemStatus(SystemState.OUTDATED, why, path)
        said = f"{path} names 127.0.0.1, port {entry.port}"
        return SystemStatus(SystemState.CURRENT, said, path)

    def plan_install(self, entry: SystemEntry) -> RootCommand | None:
        """See `NamesSystem.plan_install`."""
        for one in _split(entry):
            status = self._status(one)
            if status.state is SystemState.FOREIGN:
                other = "choose another domain with `macnet names on --domain`"
                if one.domain == CLUSTER_DOMAIN:
                    other = "do without that domain: `macnet names on --no-cluster`"
                hint = f"remove it with `sudo rm {status.path}`, or {other}"
                raise ConflictError(status.text, hint=hint)
        if self.status(entry).state is SystemState.CURRENT:
            return None
        files = {self.path(one.domain): render_file(one, self._user) for one in _split(entry)}
        return install_command(files, self._left(entry), " ".join(_FLUSH))

    def plan_remove(self, tunnel: str) -> RootCommand | None:
        """See `NamesSystem.plan_remove`."""
        files = own_files(self._folder, tunnel, self._user)
        return remove_command(files, " ".join(_FLUSH)) if files else None

    def plan_flush(self) -> RootCommand | None:
        """See `NamesSystem.plan_flush`."""
        return RootCommand(_FLUSH)

    def _find_rival(self, entry: SystemEntry) -> Path | None:
        """Another file for this domain, which is not this tunnel's."""
        return next(
            (
                path
                for path, text in read_files(self._folder)
                if not is_owned(text, entry.tunnel, self._user)
                and claimed_domain(path.name, text) == entry.domain
            ),
            None,
        )

    def _why_outdated(self, entry: SystemEntry, text: str) -> str | None:
        path = self.path(entry.domain)
        if text != render_file(entry, self._user):
            return f"{path} does not say 127.0.0.1, port {entry.port}"
        found = path.lstat()
        if found.st_uid != self._root or not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022:
            return f"{path} is not a file of root that only root can change"
        return None

    def _left(self, entry: SystemEntry) -> list[Path]:
        """Files of this tunnel for domains that are not answered now."""
        wanted = {self.path(domain) for domain in entry.domains}
        return [
            file for file in own_files(self._folder, entry.tunnel, self._user) if file not in wanted
        ]


def _split(entry: SystemEntry) -> list[SystemEntry]:
    """One entry for each domain: each has a file."""
    return [replace(entry, domain=domain, cluster=False) for domain in entry.domains]


def render_file(entry: SystemEntry, user: int | None = None) -> str:
    """The file's text, of who runs this where no ``user`` is given."""
    return (
        f"{header(entry.tunnel, user_id() if user is None else user)}\n"
        f"domain {entry.domain}\n"
        "nameserver 127.0.0.1\n"
        f"port {entry.port}\n"
        f"timeout {_TIMEOUT_S}\n"
        "flags a aaaa\n"
    )


def claimed_domain(name: str, text: str) -> str:
    """The domain that a file in /etc/resolver is for: its last ``domain`` line, or its name."""
    claimed = name
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) > 1 and words[0] == "domain":
            claimed = words[1]
    return claimed.lower().removesuffix(".")
