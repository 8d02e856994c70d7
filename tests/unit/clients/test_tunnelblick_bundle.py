"""The bundle passes Tunnelblick's rules; the stand-in's rules refuse what Tunnelblick refuses."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from macnet.choices import CompLzo
from macnet.clients import tunnelblick_bundle as bundles
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces
from macnet.errors import ClientFailed
from macnet.profile import Profile, render_profile
from macnet.render import template_names, template_text
from tests.lab.standin import rules
from tests.lab.standin.scripts import SCRIPTS, recognise
from tests.unit.test_profile import Credentials

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
PROFILE = render_profile(
    Profile(13194, (IPNetwork("172.17.0.0/16"),), CompLzo.NO, 16000, Credentials())
).encode()


@given(NAMES)
def test_both_property_lists_pass(name: str) -> None:
    for plist in (bundles.info_plist(name), bundles.uninstall_plist(name)):
        assert list(rules.judge_plist(plistlib.loads(plistlib.dumps(plist)))) == []
    assert bundles.info_plist(name)["TBPackageVersion"] == "1"


def test_dns_and_ipv6_are_left_alone_and_no_warning_is_shown() -> None:
    plist = bundles.info_plist("macnet")
    assert plist["TBPreferenceuseDNS"] == 0
    assert plist["TBPreference-doNotDisableIpv6onTun"] is True
    assert plist["TBPreference-notOKToCheckThatIPAddressDidNotChangeAfterConnection"] is True
    assert plist["TBPreference-skipWarningThatNotUsingSpecifiedOpenVPN"] is True


def test_the_bundle_is_private_and_taken_byte_for_byte(tmp_path: Path) -> None:
    bundle = bundles.write_bundle(tmp_path / "new", "macnet", PROFILE)
    read = rules.read_bundle(bundle)
    assert read.profile == PROFILE
    assert (read.identifier, read.replace) == ("io.github.macnet.macnet", "force")
    for path in (bundle, *bundle.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert bundles.write_bundle(tmp_path / "new", "macnet", b"client\n") == bundle
    assert bundles.installed_profile(bundle) == b"client\n"


def test_the_bundle_that_uninstalls_has_a_configuration_without_keys(tmp_path: Path) -> None:
    bundle = bundles.write_uninstall_bundle(tmp_path, "macnet")
    read = rules.read_bundle(bundle)
    assert read.identifier == "io.github.macnet.macnet"
    assert b"<" not in read.profile
    plist = plistlib.loads((bundle / "Contents/Info.plist").read_bytes())
    assert isinstance(plist["TBUninstall"], str)
    assert plist["CFBundleVersion"] == bundles.info_plist("macnet")["CFBundleVersion"]


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/Users/ann/Library/Application Support/macnet/tunnels/macnet", True),
        ("/Users/jos\u00e9/x_y-z,(1)+@=.d", True),
        *((f"/Users/ann/a{char}b", False) for char in "\\!#&;:~|?'\"<>^[]{}$%*\n\x7f\xff"),
        ("/Users/ann/a..b", False),
    ],
)
def test_paths_that_tunnelblick_takes_a_bundle_from(path: str, taken: bool) -> None:
    assert bundles.is_acceptable(Path(path)) is taken


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/Users/jos\u00e9/My Library/x_y-z,(1)+@=.d/macnet.tblk", True),
        ("/Users/ann/R&D's [1]/macnet.tblk", False),
        ("/Users/ann/a..b.tblk", False),
        ("/Users/ann/a\x1fb.tblk", False),
        ("macnet.tblk", True),
        (".macnet.tblk", False),
    ],
)
def test_the_standins_rules_for_paths(path: str, taken: bool) -> None:
    assert (list(rules.judge_path(path)) == []) is taken


def test_the_standin_refuses_a_bundle_by_the_path_of_a_file_in_it(tmp_path: Path) -> None:
    bundle = bundles.write_bundle(tmp_path, "macnet", PROFILE)
    (bundle / "Contents/Resources/a..b").write_text("")
    with pytest.raises(rules.Refused, match=r"a\.\.b"):
        rules.read_bundle(bundle)


def test_plain_names_are_in_the_identifier_as_they_are() -> None:
    """So that what earlier versions have installed is found by it."""
    assert bundles.identifier("my-ctx") == "io.github.macnet.my-ctx"
    others = {bundles.identifier(name) for name in ("my.ctx", "my_ctx", "My-ctx", "my--ctx")}
    assert len(others) == 4
    assert all(one.startswith("io.github.macnet.my-ctx.") for one in others)


@given(NAMES)
def test_every_tunnel_has_a_configuration_that_tunnelblick_takes(name: str) -> None:
    bundle = f"/Users/ann/{bundles.configuration_name(name)}.tblk"
    assert list(rules.judge_path(bundle)) == []
    assert bundles.is_acceptable(Path(bundle))


@pytest.mark.parametrize("name", ["", "a/b", "a b", '"x', "-x", ".x", "a\n", "ä", "a..b", "a."])
def test_names_that_tunnelblick_cannot_have(name: str) -> None:
    with pytest.raises(ClientFailed):
        bundles.check_name(name)


def test_damaged_and_foreign_bundles_are_not_ours(tmp_path: Path) -> None:
    places = TunnelblickPlaces(tmp_path)
    assert bundles.find_installed(places, "macnet") is None
    for text in (b"", b"nonsense", b"<plist><dict></plist>", plistlib.dumps([1])):
        plist = tmp_path / "other.tblk/Contents/Info.plist"
        plist.parent.mkdir(parents=True, exist_ok=True)
        plist.write_bytes(text)
        assert bundles.find_installed(places, "macnet") is None
    bundle = bundles.write_bundle(tmp_path / "folder", "macnet", PROFILE)
    assert bundles.find_installed(places, "macnet") == bundle
    assert bundles.display_name(places, bundle) == "folder/macnet"


def test_places_below_the_home_directory() -> None:
    places = TunnelblickPlaces.of(Path("/Users/ann"))
    assert str(places.app) == "/Applications/Tunnelblick.app"
    assert str(places.private).startswith("/Users/ann/Library/Application Support/Tunnelblick/")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("up /tmp/x", "unsafe"),
        ("plugin x.so", "unsafe"),
        ("disable-dco", "unknown"),
        ("dns server 1 address 1.1.1.1", "unknown"),
        ("log /tmp/x", "error"),
        ("win-sys env", "error"),
        ("route 1.2.3.4 \\", "backslash"),
        ("<connection>\n</connection>", "inline block"),
        ("<ca>", "not ended"),
    ],
)
def test_profiles_that_tunnelblick_refuses(line: str, word: str) -> None:
    text = f"client\ndev tun\n{line}\n"
    assert word in " ".join(rules.judge_profile(text.encode()))


@pytest.mark.parametrize(
    "change",
    [
        {"TBPackageVersion": 1},
        {"CFBundleIdentifier": "a..b"},
        {"CFBundleVersion": "v1"},
        {"Surprise": "x"},
        {"TBPreference-unknown": True},
        {"TBReplaceIdentical": "always"},
        {"TBUninstall": True},
    ],
)
def test_property_lists_that_tunnelblick_refuses(change: dict[str, object]) -> None:
    assert list(rules.judge_plist({**bundles.info_plist("macnet"), **change}))


def test_every_script_is_one_that_was_compared_with_the_dictionary() -> None:
    names = template_names("client/tunnelblick")
    assert {recognise(template_text(name)) for name in names} == set(SCRIPTS)
    for name in names:
        text = template_text(name)
        assert "{{" not in text
        # Commands that would touch the user's other VPNs.
        assert not any(word in text for word in (" all", "quit", "save ", "delete ", "user name"))
