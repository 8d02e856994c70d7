"""Sources override each other in order, and what is wrong is said with its place."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from macnet.config import (
    ClientChoice,
    CompLzo,
    Config,
    explain,
    load_config,
    plain_options,
)
from macnet.config_file import ConfigFile, read_config_file
from macnet.errors import BadValue

ABSENT = Path("/nonexistent/config.toml")


def load(
    path: Path = ABSENT,
    environ: Mapping[str, str] | None = None,
    remembered: Mapping[str, object] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    return load_config(read_config_file(path), environ or {}, remembered or {}, flags or {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_with_no_source_the_defaults_hold() -> None:
    assert load() == Config()
    assert Config().tun_mtu == 16000
    assert Config().comp_lzo is CompLzo.NO
    assert Config().networks == ("*",)


def test_each_source_overrides_the_one_before(file: Path) -> None:
    file.write_text("port = 1001\n")
    environ = {"MACNET_PORT": "1002"}
    remembered: dict[str, object] = {"port": 1003}
    flags: dict[str, object] = {"port": 1004}
    layers: list[tuple[Path, dict[str, str], dict[str, object], dict[str, object], object, str]]
    layers = [
        (ABSENT, {}, {}, {}, None, "default"),
        (file, {}, {}, {}, 1001, str(file)),
        (file, environ, {}, {}, 1002, "MACNET_PORT"),
        (file, environ, remembered, {}, 1003, "last setup"),
        (file, environ, remembered, flags, 1004, "--port"),
        (file, environ, remembered, {"port": None}, 1003, "last setup"),
    ]
    for path, variables, last, given_flags, port, source in layers:
        assert load(path, variables, last, given_flags).port == port
        read = read_config_file(path)
        assert explain(read, variables, last, given_flags)["port"] == source


def test_explain_names_every_field() -> None:
    assert set(explain(ConfigFile(ABSENT), {}, {}, {})) == set(Config.__slots__)


def test_a_full_file(file: Path) -> None:
    file.write_text(
        """
        context = "colima"
        port = 1194
        tunnel_subnet = "10.99.0.0/24"
        tun_mtu = 1500
        comp_lzo = "yes"
        networks = ["shop_*", "web"]
        exclude = []
        base_image = "debian:forky-slim"
        client = "openvpn"
        """
    )
    assert load(file) == Config(
        context="colima",
        port=1194,
        tunnel_subnet=IPNetwork("10.99.0.0/24"),
        tun_mtu=1500,
        comp_lzo=CompLzo.YES,
        networks=("shop_*", "web"),
        exclude=(),
        base_image="debian:forky-slim",
        client=ClientChoice.OPENVPN,
    )


def test_every_variable() -> None:
    config = load(
        environ={
            "MACNET_CONTEXT": "orbstack",
            "MACNET_PORT": "1194",
            "MACNET_TUNNEL_SUBNET": "10.99.0.0/24",
            "MACNET_TUN_MTU": "1500",
            "MACNET_COMP_LZO": "off",
            "MACNET_NETWORKS": "shop_*, web",
            "MACNET_EXCLUDE": "web",
            "MACNET_BASE_IMAGE": "debian:forky-slim",
            "MACNET_CLIENT": "none",
        }
    )
    assert config == Config(
        context="orbstack",
        port=1194,
        tunnel_subnet=IPNetwork("10.99.0.0/24"),
        tun_mtu=1500,
        comp_lzo=CompLzo.OFF,
        networks=("shop_*", "web"),
        exclude=("web",),
        base_image="debian:forky-slim",
        client=ClientChoice.NONE,
    )


def test_other_variables_and_empty_ones_mean_nothing() -> None:
    environ = {"MACNET_HOME": "/x", "MACNET_NAME": "!", "MACNET_POTR": "!", "MACNET_PORT": ""}
    assert load(environ=environ) == Config()


def test_options_are_remembered_as_json_and_read_back() -> None:
    flags: dict[str, object] = {
        "port": None,
        "tunnel_subnet": IPNetwork("10.99.0.0/24"),
        "comp_lzo": CompLzo.ADAPTIVE,
        "networks": ("a", "b"),
        "exclude": (),
        "tun_mtu": 9000,
    }
    plain = plain_options(flags)
    assert plain == {
        "tunnel_subnet": "10.99.0.0/24",
        "comp_lzo": "adaptive",
        "networks": ["a", "b"],
        "tun_mtu": 9000,
    }
    assert type(plain["comp_lzo"]) is str
    assert load(remembered=plain) == load(flags=flags)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", -1),
        ("port", 65536),
        ("port", "1_0"),
        ("port", "١٢٣"),
        ("port", True),
        ("port", 80.0),
        ("port", "-1"),
        ("tun_mtu", 1279),
        ("tun_mtu", 65001),
        ("tunnel_subnet", "10.0.0.0/15"),
        ("tunnel_subnet", "10.0.0.0/30"),
        ("tunnel_subnet", "10.0.0.1/24"),
        ("tunnel_subnet", "10.0.0.0"),
        ("tunnel_subnet", "fd00::/64"),
        ("tunnel_subnet", "127.0.0.0/24"),
        ("tunnel_subnet", "169.254.3.0/24"),
        ("tunnel_subnet", "224.0.0.0/24"),
        ("tunnel_subnet", 10),
        ("comp_lzo", "maybe"),
        ("comp_lzo", False),
        ("client", "viscosity"),
        ("name", ""),
        ("name", ".hidden"),
        ("name", "../up"),
        ("name", "a b"),
        ("name", "x" * 41),
        ("networks", ["two words"]),
        ("networks", 5),
        ("exclude", [5]),
        ("base_image", "debian\nRUN evil"),
        ("base_image", "-x"),
        ("context", "--help"),
    ],
)
def test_a_bad_value_is_told_with_its_source(key: str, value: object) -> None:
    with pytest.raises(BadValue) as caught:
        load(flags={key: value})
    option = {"networks": "--network"}.get(key, f"--{key.replace('_', '-')}")
    assert caught.value.message.startswith(f"{option}: ")
    assert repr(value) in caught.value.message
    assert caught.value.hint


def test_an_option_takes_back_what_the_last_setup_remembered() -> None:
    remembered = {"port": 13200, "exclude": ["a"], "remap": ["auto"]}
    taken_back = load(remembered=remembered, flags={"port": 0, "exclude": [""], "remap": [""]})
    assert taken_back == Config()
    assert load(flags={"networks": "a,,b"}).networks == ("a", "b")


def test_blanks_around_a_value_are_cut_off() -> None:
    environ = {"MACNET_PORT": " 80\n", "MACNET_COMP_LZO": " Yes ", "MACNET_CONTEXT": "colima\n"}
    assert load(environ=environ) == Config(port=80, comp_lzo=CompLzo.YES, context="colima")


def test_messages_name_the_file_the_variable_or_the_option(file: Path) -> None:
    file.write_text("tun_mtu = 100\n")
    with pytest.raises(BadValue) as caught:
        load(file)
    assert caught.value.message == f"{file}, key tun_mtu: 100 is not an MTU for the tunnel"
    assert caught.value.hint == "Give a whole number from 1280 to 65000."
    with pytest.raises(BadValue, match=r"^MACNET_TUN_MTU: 'big' is not"):
        load(environ={"MACNET_TUN_MTU": "big"})
    with pytest.raises(BadValue, match=r"^--tun-mtu, remembered from the last setup: 1 is not"):
        load(remembered={"tun_mtu": 1})
    assert load(remembered={"tun_mtu": 1}, flags={"tun_mtu": 1500}).tun_mtu == 1500


def test_the_subnet_of_an_address_is_suggested() -> None:
    with pytest.raises(BadValue) as caught:
        load(flags={"tunnel_subnet": "10.1.2.3/24"})
    assert caught.value.hint == "The subnet of that address is 10.1.2.0/24."


def test_all_networks_are_never_left_out_by_accident(file: Path) -> None:
    file.write_text("networks = []\n")
    with pytest.raises(BadValue, match="key networks"):
        load(file)


@given(
    st.sampled_from(Config.__slots__),
    st.one_of(
        st.text(),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.lists(st.text() | st.integers(), max_size=3),
        st.dictionaries(st.text(), st.integers(), max_size=2),
    ),
)
def test_any_value_is_taken_or_refused(key: str, value: object) -> None:
    try:
        config = load(flags={key: value})
    except BadValue as error:
        assert error.hint
    else:
        # What was taken may be remembered and is then taken again.
        assert load(remembered=plain_options({key: getattr(config, key)})) == config


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_subnet_is_kept_as_given(value: int, bits: int) -> None:
    network = IPNetwork((value, bits), version=4).cidr
    try:
        assert load(flags={"tunnel_subnet": str(network)}).tunnel_subnet == network
    except BadValue:
        first = network.network.words[0]
        assert not 16 <= bits <= 29 or first in (0, 127, 169) or first >= 224
