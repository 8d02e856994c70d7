"""Tunnelblick's rules for what it imports, from its sources (version 9.0beta09).

``defines.h``: the lists of options, preferences and characters; ``ConfigurationManager.m``: the
keys of an Info.plist; ``ConfigurationConverter.m``: what of a profile is an error, and what it
changes; ``sharedRoutines.m``: from which paths it takes a bundle.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# fmt: off
SAFE = frozenset((
    "allow-compression", "auth", "auth-nocache", "block-ipv6", "ca", "cert", "cipher", "client",
    "comp-lzo", "compress", "connect-retry", "connect-timeout", "data-ciphers",
    "data-ciphers-fallback", "dev", "dev-type", "dhcp-option", "explicit-exit-notify", "float",
    "ignore-unknown-option", "key", "mssfix", "mute", "nobind", "peer-fingerprint", "persist-key",
    "persist-tun", "proto", "pull-filter", "remote", "remote-cert-tls", "resolv-retry", "route",
    "route-ipv6", "route-metric", "route-nopull", "server-poll-timeout", "setenv", "socket-flags",
    "tls-cert-profile", "tls-crypt", "tls-groups", "tls-version-min", "tun-mtu", "verb",
    "verify-x509-name",
))
"""Options of the list of safe ones, as far as they may make sense in macnet's profile.

One that is not in Tunnelblick's list makes it refuse an unattended import, so look there before
you add one here.
"""

UNSAFE = frozenset((
    "auth-user-pass-verify", "client-connect", "client-crresponse", "client-disconnect", "config",
    "dns-script", "down", "ipchange", "iproute", "learn-address", "plugin", "route-pre-down",
    "route-up", "tls-verify", "up",
))
FORBIDDEN = frozenset((
    "log", "log-append", "syslog", "config", "allow-nonadmin", "cryptoapicert", "dhcp-release",
    "dhcp-renew", "pause-exit", "register-dns", "service", "show-adapters", "show-net",
    "show-net-up", "show-valid-subnets", "tap-sleep", "win-sys", "windows-driver",
))
"""Errors at any import: logging, and options for Windows."""

_KEYS = frozenset((
    "CFBundleIdentifier", "CFBundleVersion", "CFBundleShortVersionString", "TBPackageVersion",
    "TBReplaceIdentical", "TBSharePackage", "TBUninstall", "SUFeedURL", "TBConfigurationUpdateURL",
    "TBMinimumTunnelblickVersion", "TBMaximumTunnelblickVersion", "TBKeepExistingFilesList",
))
_PREFERENCES = frozenset((
    "useDNS", "autoConnect", "-keepConnected", "-doNotDisableIpv6onTun",
    "-doNotReconnectOnWakeFromSleep", "-openvpnVersion",
    "-notOKToCheckThatIPAddressDidNotChangeAfterConnection",
    "-skipWarningThatNotUsingSpecifiedOpenVPN",
))
# fmt: on
"""Preferences of one configuration, as far as macnet may want to set them."""

_NOT_IN_PATHS = frozenset("\\!#&;:~|?'\"<>^[]{}$%*\x7f\xff")
"""Anywhere in the path of a bundle, whole as it is handed over, and of each file in it."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_INLINE = frozenset(("ca", "cert", "dh", "extra-certs", "key", "pkcs12", "secret", "tls-auth"))
_INLINE_TOO = frozenset(("tls-crypt", "tls-crypt-v2"))


@dataclass(frozen=True)
class Bundle:
    """What is in a .tblk that may be imported."""

    identifier: str
    replace: str
    profile: bytes
    uninstalls: bool


class Refused(Exception):
    """Why Tunnelblick does not take it; it tells only its log."""


def read_bundle(path: Path) -> Bundle:
    """Read a bundle, or raise `Refused`."""
    for file in (path, *sorted(path.rglob("*"))):
        for why in judge_path(str(file)):
            raise Refused(why)
    files = sorted(str(p.relative_to(path)) for p in path.rglob("*") if not p.is_dir())
    if not any(name.endswith((".ovpn", ".conf")) for name in files):
        # Before anything about TBUninstall is looked at (ConfigurationManager.m, convertOuterTblk).
        raise Refused("There are no OpenVPN configurations to install")
    if files != ["Contents/Info.plist", "Contents/Resources/config.ovpn"]:
        raise Refused(f"not exactly one configuration and an Info.plist: {files}")
    plist = plistlib.loads((path / files[0]).read_bytes())
    for why in judge_plist(plist):
        raise Refused(why)
    profile = (path / files[1]).read_bytes()
    for why in judge_profile(profile):
        raise Refused(why)
    return Bundle(
        str(plist.get("CFBundleIdentifier", "")).lower(),
        str(plist.get("TBReplaceIdentical", "ask")).lower(),
        convert(profile),
        "TBUninstall" in plist,
    )


def judge_path(path: str) -> Iterator[str]:
    """What is wrong with the path of a bundle or of a file in it."""
    bad = sorted({char for char in path if char in _NOT_IN_PATHS or char < " "})
    if bad:
        yield f"Path {path!r} contains characters that are not allowed: {''.join(bad)!r}"
    if ".." in path or path.startswith("."):
        yield f"Path {path!r} is not allowed"


def judge_plist(plist: dict[str, object]) -> Iterator[str]:
    """What is wrong with an Info.plist."""
    if plist.get("TBPackageVersion") != "1":
        yield 'TBPackageVersion is not the string "1"'
    identifier = plist.get("CFBundleIdentifier")
    if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
        yield f"CFBundleIdentifier {identifier!r}"
    version = plist.get("CFBundleVersion")
    if not isinstance(version, str) or not re.fullmatch(r"[0-9.]+", version):
        yield f"CFBundleVersion {version!r}"
    if plist.get("TBReplaceIdentical", "ask") not in ("ask", "yes", "no", "force"):
        yield "TBReplaceIdentical"
    if plist.get("TBSharePackage", "ask") not in ("ask", "private", "shared", "deploy"):
        yield "TBSharePackage"
    if not isinstance(plist.get("TBUninstall", ""), str):
        yield "TBUninstall is not a string"
    for key in plist:
        suffix = key.removeprefix("TBAlwaysSetPreference").removeprefix("TBPreference")
        if key not in _KEYS and (suffix == key or suffix not in _PREFERENCES):
            yield f"unknown key {key}"


def judge_profile(data: bytes) -> Iterator[str]:
    """What is wrong with a profile that is imported without asking."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        yield "not UTF-8"
        return
    if "\0" in text or text.startswith("{"):
        yield "not a text file"
    options = list(_options(text))
    if "dev" not in options:
        yield "no dev: a modal question"
    for option in options:
        if option.startswith("!"):
            yield option[1:]
        elif option in FORBIDDEN:
            yield f"option {option} is an error"
        elif option in UNSAFE:
            yield f"unsafe option {option}"
        elif option not in SAFE:
            yield f"unknown option {option}"


def _options(text: str) -> Iterator[str]:
    """The first word of each line, inline blocks as one; what is wrong begins with "!"."""
    block: str | None = None
    for line in text.splitlines():
        words = line.split()
        if block:
            block = None if words == [f"</{block}>"] else block
        elif line.endswith("\\"):
            yield "!a backslash at the end of a line"
        elif words and words[0].startswith("<"):
            block = words[0].strip("<>")
            yield block if block in _INLINE | _INLINE_TOO else f"!inline block {block}"
        elif words and not words[0].startswith(("#", ";")):
            yield words[0]
    if block:
        yield f"!the block {block} is not ended"


def convert(profile: bytes) -> bytes:
    """The bytes that Tunnelblick stores."""
    text = profile.replace(b"\r", b"")
    return text if text.endswith(b"\n") else text + b"\n"
