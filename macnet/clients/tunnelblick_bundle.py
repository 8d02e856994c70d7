"""The ``.tblk`` bundle that Tunnelblick imports, and the copy of it that it keeps.

A bundle rather than a plain ``.ovpn``, since it can switch off what Tunnelblick does by default
and what is wrong for a tunnel to containers: DNS scripts, IPv6 switched off on every network
service, and a warning that the public address did not change.

Sources: Tunnelblick's ``ConfigurationManager.m`` (which keys an Info.plist may have, and what it
replaces), ``defines.h`` (names of preferences) and ``ConfigurationConverter.m`` (it copies a
profile with LF line ends, a final newline and no relative paths byte for byte).
"""

from __future__ import annotations

import hashlib
import plistlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.parsers.expat import ExpatError

from macnet.errors import ClientFailed, ClientRefused
from macnet.files import ensure_private_dir, write_private

_PLIST = Path("Contents/Info.plist")
_CONFIG = Path("Contents/Resources/config.ovpn")
#: What Tunnelblick can show and store; much less than it allows.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Tunnelblick refuses a bundle with one of these anywhere in its path (``defines.h``,
#: PROHIBITED_DISPLAY_NAME_CHARACTERS; ``sharedRoutines.m``).
_BAD_PATH = re.compile(r"[\x00-\x1f\x7f\xff\\!#&;:~|?'\"<>^\[\]{}$%*]|\.\.")
#: A bundle without a configuration is refused, also if it is to uninstall (``convertOuterTblk``).
_NO_PROFILE = b"client\ndev tun\nproto tcp-client\nremote 127.0.0.1 1194\nnobind\n"


@dataclass(frozen=True, slots=True)
class TunnelblickPlaces:
    """Where Tunnelblick and its configurations are. It runs in /Applications only."""

    private: Path
    app: Path = Path("/Applications/Tunnelblick.app")
    shared: Path = Path("/Library/Application Support/Tunnelblick/Shared")

    @classmethod
    def of(cls, home: Path) -> TunnelblickPlaces:
        """The places for the user with this home directory."""
        return cls(home / "Library/Application Support/Tunnelblick/Configurations")


def configuration_name(tunnel: str) -> str:
    """How Tunnelblick is to call the configuration of a tunnel. Raises `ClientFailed`.

    Its own name, with a hash where two dots would follow each other in the bundle's.
    """
    if ".." not in f"{tunnel}.tblk":
        return check_name(tunnel)
    digest = hashlib.sha256(tunnel.encode()).hexdigest()[:8]
    return check_name(f"{re.sub(r'[.]+', '.', tunnel).rstrip('.')}-{digest}")


def check_name(name: str) -> str:
    """Return ``name`` if it can name a configuration; raise `ClientFailed` otherwise."""
    if not _NAME.fullmatch(name) or ".." in f"{name}.tblk":
        raise ClientFailed(
            f"Tunnelblick cannot have a configuration named {name!r}",
            hint="use letters, digits, single dots, underscores and hyphens",
        )
    return name


def is_acceptable(folder: Path) -> bool:
    """Whether Tunnelblick takes a bundle out of ``folder``."""
    return not _BAD_PATH.search(str(folder))


def identifier(name: str) -> str:
    """The bundle's identifier, by which Tunnelblick finds what to replace, also if renamed.

    A name that cannot be in it as it is gets a hash added: `my.ctx` and `my-ctx` are two.
    """
    former = former_identifier(name)
    if former.endswith(f".{name}"):
        return former
    return f"{former}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def former_identifier(name: str) -> str:
    """The identifier without a hash, which earlier versions gave to names that are much alike."""
    # Only A-Z, a-z, 0-9, hyphen and single dots are allowed; case does not count.
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"io.github.macnet.{words}"


def info_plist(name: str, known: str | None = None) -> dict[str, object]:
    """The Info.plist of the bundle. An unknown key would make Tunnelblick refuse it.

    ``known`` is the identifier of the installed one that it is to replace.
    """
    return {
        "CFBundleIdentifier": known or identifier(name),
        "CFBundleVersion": "1",
        "TBPackageVersion": "1",
        # "yes" would refuse a bundle that is older than the installed one.
        "TBReplaceIdentical": "force",
        "TBSharePackage": "private",
        # No DNS scripts: they run as root, and the tunnel brings no DNS.
        "TBPreferenceuseDNS": 0,
        "TBPreference-doNotDisableIpv6onTun": True,
        "TBPreference-notOKToCheckThatIPAddressDidNotChangeAfterConnection": True,
        # No note in the menu that some future OpenVPN may not know comp-lzo any more.
        "TBPreference-skipWarningThatNotUsingSpecifiedOpenVPN": True,
    }


def uninstall_plist(name: str, known: str | None = None) -> dict[str, object]:
    """The Info.plist of a bundle that, when opened, makes Tunnelblick remove the other one."""
    return {
        "CFBundleIdentifier": known or identifier(name),
        "CFBundleVersion": "1",
        "TBPackageVersion": "1",
        "TBReplaceIdentical": "force",
        "TBSharePackage": "private",
        # Any string removes; this one is content if there is nothing to remove.
        "TBUninstall": "ignoreError",
    }


def write_bundle(folder: Path, name: str, profile: bytes, known: str | None = None) -> Path:
    """Write the bundle into the private directory ``folder``; its path. It holds the key."""
    bundle = folder / f"{check_name(name)}.tblk"
    _write(bundle, info_plist(name, known))
    write_private(bundle / _CONFIG, profile)
    return bundle


def write_uninstall_bundle(folder: Path, name: str, known: str | None = None) -> Path:
    """Write the bundle that uninstalls into ``folder``; its path. It holds no key."""
    bundle = folder / f"{check_name(name)}.tblk"
    _write(bundle, uninstall_plist(name, known))
    write_private(bundle / _CONFIG, _NO_PROFILE)
    return bundle


def _write(bundle: Path, plist: dict[str, object]) -> None:
    if bundle.exists():
        shutil.rmtree(bundle)
    ensure_private_dir(bundle / _CONFIG.parent)
    write_private(bundle / _PLIST, plistlib.dumps(plist))


def find_installed(places: TunnelblickPlaces, name: str) -> Path | None:
    """The user's own copy of our bundle, also after the user renamed it; None if absent.

    One of an earlier macnet counts only by this name: it may be another tunnel's otherwise.
    """
    known = [(bundle, _identifier_of(bundle)) for bundle in _bundles(places.private)]
    found = [bundle for bundle, its in known if its == identifier(name)]
    former = former_identifier(name)
    found = found or [bundle for bundle, its in known if (bundle.stem, its) == (name, former)]
    named = places.private / f"{name}.tblk"
    if named in found or (not found and named.exists()):
        return named
    return found[0] if found else None


def installed_identifier(places: TunnelblickPlaces, name: str) -> str | None:
    """The identifier by which Tunnelblick finds the user's copy; None where it has none of ours."""
    found = find_installed(places, name)
    known = _identifier_of(found) if found is not None else None
    return known if known in {identifier(name), former_identifier(name)} else None


def installed_profile(bundle: Path) -> bytes | None:
    """The profile inside an installed bundle; None if it cannot be read."""
    try:
        return (bundle / _CONFIG).read_bytes()
    except OSError:
        return None


def refusal(places: TunnelblickPlaces, name: str, *, taken: bool) -> ClientRefused:
    """The error for a bundle that is not installed, though Tunnelblick answered ``taken``."""
    if (places.shared / f"{name}.tblk").exists():
        return ClientRefused(
            f"Tunnelblick has a configuration {name} for all users, and does not replace it",
            hint=f"remove {name} in its VPN Details window, then try again",
        )
    said = "took the profile, but does not have it" if taken else "did not take the profile"
    return ClientRefused(
        f"Tunnelblick {said}",
        hint="`macnet setup` tries again: give the password; if you have given it, Tunnelblick "
        "finds an option unsafe, and tells it in VPN Details > Info > Copy Diagnostic Info to "
        "Clipboard",
    )


def display_name(places: TunnelblickPlaces, bundle: Path) -> str:
    """The name by which Tunnelblick knows an installed bundle: its path without ``.tblk``."""
    return str(bundle.relative_to(places.private).with_suffix(""))


def app_version(places: TunnelblickPlaces) -> str | None:
    """The version of the application, like "8.0.3"; None if it cannot be read."""
    version = _read_plist(places.app / _PLIST).get("CFBundleShortVersionString")
    # The build follows: 8.0.3 (build 6280).
    return version.split(" ")[0] if isinstance(version, str) else None


def _bundles(folder: Path) -> Iterator[Path]:
    """The bundles in ``folder`` and its subfolders, which Tunnelblick allows."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.suffix == ".tblk":
            yield entry
        elif entry.is_dir() and not entry.is_symlink():
            yield from _bundles(entry)


def _identifier_of(bundle: Path) -> str | None:
    value = _read_plist(bundle / _PLIST).get("CFBundleIdentifier")
    return value.lower() if isinstance(value, str) else None


def _read_plist(path: Path) -> dict[str, object]:
    try:
        value = plistlib.loads(path.read_bytes())
    except (OSError, ValueError, plistlib.InvalidFileException, ExpatError):
        return {}
    return value if isinstance(value, dict) else {}
