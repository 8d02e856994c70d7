"""Tunnelblick as client: imports the profile once, connects and disconnects it by name.

It touches the one configuration that macnet imported and none of the user's others. Only the
import needs an administrator: Tunnelblick has macOS ask for the password.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from netaddr import IPAddress, IPNetwork

from macnet import host
from macnet.clients import tunnelblick_bundle as bundles
from macnet.clients import tunnelblick_script as script
from macnet.clients.base import Client, ClientState, ClientStatus, read_profile
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces
from macnet.errors import (
    ClientBusy,
    ClientError,
    ClientFailed,
    ClientMissing,
    ClientTimeout,
)
from macnet.paths import TunnelPaths
from macnet.progress import Progress
from macnet.runner import CommandRunner

#: Each question starts a process, which takes about 0.2 s on a Mac.
_POLL_S = 0.3
#: Seconds for Tunnelblick to start, and then to have read its configurations.
_LAUNCH_S = 30.0
_SETTLE_S = 10.0
#: How long the state may still be the old one after a connect was accepted.
_BEGIN_S = 5.0
_LEAVE_S = 30.0
#: `install private configurations` came with 4.0.
_OLDEST = 4
_LOG_HINT = "its log tells why: Tunnelblick's menu > VPN Details > Configurations > Log"


class TunnelblickClient(Client):
    """Drives one configuration of Tunnelblick, which is called like the tunnel."""

    name = "tunnelblick"

    def __init__(
        self,
        paths: TunnelPaths,
        runner: CommandRunner,
        *,
        places: TunnelblickPlaces,
        tunnel_subnet: Callable[[], IPNetwork | None],
    ) -> None:
        """``tunnel_subnet`` tells where to look for our address: Tunnelblick does not tell it."""
        self._paths = paths
        self._places = places
        self._app = script.Tunnelblick(runner)
        self._tunnel_subnet = tunnel_subnet
        self._configuration = bundles.configuration_name(paths.root.name)

    def require(self) -> None:
        """See `Client.require`."""
        if not self._places.app.exists():
            raise ClientMissing(
                f"Tunnelblick is not installed ({self._places.app})", hint=script.INSTALL_HINT
            )
        version = self.version() or ""
        major = version.partition(".")[0]
        if major.isdigit() and int(major) < _OLDEST:
            raise ClientMissing(
                f"Tunnelblick {version} is too old: macnet needs {_OLDEST}.0 or later",
                hint="bring it up to date: Tunnelblick's menu > VPN Details > Preferences",
            )

    def version(self) -> str | None:
        """See `Client.version`."""
        return bundles.app_version(self._places)

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        """See `Client.connect`. macOS asks for an administrator's password for an import.

        Tunnelblick quits, with every VPN in it, when a configuration is replaced that is not
        disconnected (``ConfigurationManager.m``, ``waitUntilCompletelyDisconnected``).
        """
        self.require()
        profile = read_profile(self._paths.profile)
        self._launch()
        known = bundles.find_installed(self._places, self._configuration) is not None
        name, state = self._find(wait_s=_SETTLE_S if known else 0.0)
        if not self._has(profile):
            runs = state not in (None, script.DISCONNECTED)
            if runs:
                self._end(name)
            try:
                self._import(profile, progress)
            except BaseException:
                if runs:
                    self._restore(name, progress)
                raise
            name, state = self._find(wait_s=_SETTLE_S)
        if state is None:
            message = f"Tunnelblick has no configuration {name}, although its file is there"
            raise ClientFailed(message, hint="quit Tunnelblick and start it again")
        if state == script.CONNECTED:
            return False
        begins = state in (script.DISCONNECTED, script.DISCONNECTING)
        try:
            if begins:
                self._begin(name, progress)
            self._wait_connected(name, timeout_s)
        except ClientBusy:
            raise  # while its dialog is open, it would not answer to a disconnect either
        except BaseException:
            # Also on Ctrl-C: it would go on trying, for ever.
            if state == script.DISCONNECTED:
                with contextlib.suppress(ClientError):
                    self._app.disconnect(name)
            raise
        return begins

    def disconnect(self, progress: Progress) -> bool:
        """See `Client.disconnect`. Does not start Tunnelblick for it."""
        if not self._places.app.exists():
            return False
        name, state = self._find()
        if state in (None, script.DISCONNECTED):
            return False
        self._end(name)
        return True

    def status(self) -> ClientStatus:
        """See `Client.status`."""
        if not self._places.app.exists():
            return ClientStatus(ClientState.DISCONNECTED, "not installed")
        try:
            listing = self._app.listing(patient=False)
        except ClientError as error:
            return ClientStatus(ClientState.UNKNOWN, error.message)
        state = listing.states.get(self._name())
        if state is None:
            why = "not imported" if listing.running else "Tunnelblick does not run"
            return ClientStatus(ClientState.DISCONNECTED, why)
        if state == script.DISCONNECTED:
            return ClientStatus(ClientState.DISCONNECTED, state)
        # A configuration is never replaced while it runs, so its file is what it runs with.
        try:
            current = self._has(self._paths.profile.read_bytes())
        except OSError:
            current = False
        if state == script.CONNECTED:
            return ClientStatus(ClientState.CONNECTED, state, *self._address(), current)
        return ClientStatus(ClientState.CONNECTING, state, current=current)

    def leftovers(self, *, purge: bool) -> tuple[str, ...]:
        """The configuration, which only the user can remove."""
        found = bundles.find_installed(self._places, self._configuration)
        if found is None:
            return ()
        folder = self._paths.root / "uninstall"
        if purge or not bundles.is_acceptable(folder):
            folder = Path(tempfile.mkdtemp(prefix="macnet-"))
        known = bundles.installed_identifier(self._places, self._configuration)
        bundle = bundles.write_uninstall_bundle(folder, self._configuration, known)
        name = bundles.display_name(self._places, found)
        return (
            f"Tunnelblick keeps the configuration {name}. Remove it with: open '{bundle}'",
            f"or in its VPN Details window: choose {name}, then the minus sign below the list",
        )

    def _has(self, profile: bytes) -> bool:
        """Whether Tunnelblick's own copy has exactly these bytes."""
        found = bundles.find_installed(self._places, self._configuration)
        return found is not None and bundles.installed_profile(found) == profile

    def _import(self, profile: bytes, progress: Progress) -> None:
        """Make Tunnelblick take the profile, for a configuration that is not connected."""
        progress.warn(
            "macOS asks for an administrator's password now, so that Tunnelblick can take the "
            f"profile (waiting up to {script.INSTALL_S / 60:.0f} minutes)"
        )
        folder = self._paths.root / "tunnelblick"
        if not bundles.is_acceptable(folder):
            folder = Path(tempfile.mkdtemp(prefix="macnet-"))
        try:
            known = bundles.installed_identifier(self._places, self._configuration)
            bundle = bundles.write_bundle(folder, self._configuration, profile, known)
            taken = self._app.install(str(bundle))
        except ClientFailed:
            # A late answer or an error on the way back does not matter if it has the profile.
            if not self._has(profile):
                raise
            return
        finally:
            # It holds the private key a second time.
            shutil.rmtree(folder, ignore_errors=True)
        if not self._has(profile):
            raise bundles.refusal(self._places, self._configuration, taken=taken)

    def _restore(self, name: str, progress: Progress) -> None:
        """Connect again what was disconnected for an import that did not come about.

        Tunnelblick may still show the import's dialog; it does this when that is closed.
        """
        progress.warn(
            f"Tunnelblick did not take the new profile; its {name} connects with the old one"
        )
        with contextlib.suppress(ClientError):
            self._app.connect(name, patient=False)

    def _end(self, name: str) -> None:
        """Disconnect and wait for the end of the connection."""
        self._app.disconnect(name)
        deadline = time.monotonic() + _LEAVE_S
        while (state := self._find()[1]) not in (None, script.DISCONNECTED):
            if time.monotonic() > deadline:
                raise ClientTimeout(
                    f"Tunnelblick does not end the connection {name} (it is {state})",
                    hint=f"disconnect {name} in Tunnelblick's menu",
                )
            time.sleep(_POLL_S)

    def _name(self) -> str:
        """The name of our configuration, which the user may have changed in Tunnelblick."""
        found = bundles.find_installed(self._places, self._configuration)
        return bundles.display_name(self._places, found) if found else self._configuration

    def _find(self, *, wait_s: float = 0.0) -> tuple[str, str | None]:
        """Our configuration's name and state; state None if Tunnelblick does not have it.

        Just after its start Tunnelblick may know none of its configurations yet: ``wait_s``.
        """
        name = self._name()
        deadline = time.monotonic() + wait_s
        while (state := self._app.listing().states.get(name)) is None:
            if time.monotonic() >= deadline:
                return name, None
            time.sleep(_POLL_S)
        return name, state

    def _others(self, name: str) -> tuple[str, ...]:
        states = self._app.listing().states
        return tuple(n for n, state in states.items() if n != name and state != script.DISCONNECTED)

    def _launch(self) -> None:
        if self._app.listing().running:
            return
        self._app.launch()
        deadline = time.monotonic() + _LAUNCH_S
        while not self._app.listing().running:
            if time.monotonic() > deadline:
                raise ClientFailed(
                    f"Tunnelblick did not start within {_LAUNCH_S:g} s",
                    hint="start it yourself and answer what it asks the first time, then try again",
                )
            time.sleep(_POLL_S)

    def _begin(self, name: str, progress: Progress) -> None:
        others = self._others(name)
        if others:
            progress.warn(
                f"Tunnelblick is connected to {', '.join(others)} too and may ask whether to "
                "connect beside it: confirm in its dialog"
            )
        try:
            self._app.connect(name)
        except ClientBusy as error:
            if not others:
                raise
            raise ClientBusy(
                f"Tunnelblick is connected to {', '.join(others)} and asks whether to connect "
                f"{name} beside it",
                hint="confirm in Tunnelblick's dialog (and let it not ask again), then try again",
            ) from error

    def _wait_connected(self, name: str, timeout_s: float) -> None:
        start = idle_since = time.monotonic()
        begun = False
        while (state := self._find()[1]) != script.CONNECTED:
            now = time.monotonic()
            if state == script.DISCONNECTING:
                # The old connection, after which Tunnelblick makes the new one.
                begun, idle_since = False, now
            elif state in (None, script.DISCONNECTED):
                if begun or now - idle_since > _BEGIN_S:
                    raise ClientFailed(f"Tunnelblick did not connect {name}", hint=_LOG_HINT)
            else:
                begun = True
            if now - start > timeout_s:
                if state == script.NO_NETWORK:
                    raise ClientTimeout(
                        "this machine has no network, and Tunnelblick waits for one, even to "
                        "connect to 127.0.0.1",
                        hint="join any network, or use `macnet setup --client openvpn`",
                    )
                known = "" if state in script.KNOWN_STATES else ", which macnet does not know"
                message = f"Tunnelblick did not connect {name} within {timeout_s:g} s"
                raise ClientTimeout(f"{message}: its state is {state}{known}", hint=_LOG_HINT)
            time.sleep(_POLL_S)

    def _address(self) -> tuple[IPAddress | None, str | None]:
        """Our address in the tunnel and its interface: utun numbers change, the subnet does not."""
        subnet = self._tunnel_subnet()
        if subnet is None:
            return None, None
        found = (
            (held.ip, interface.name)
            for interface in host.list_interfaces()
            for held in interface.addresses
            if held.version == subnet.version and held.ip in subnet
        )
        return next(found, (None, None))
