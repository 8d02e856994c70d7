"""Sources override each other in order, and what is wrong is said with its place."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from macnet.choices import ClientChoice, CompLzo
from macnet.config_file import ConfigFile, read_config_file
from macnet.errors import BadValue
from macnet.settings import (
    NAMES,
    Resolved,
    Settings,
    forget,
    from_record,
    override,
    resolve,
    resolve_context,
    to_record,
)
from macnet.values import DEFAULT_TUN_MTU

ABSENT = Path("/nonexistent/config.toml")


def load(
    path: Path = ABSENT,
    environ: Mapping[str, str] | None = None,
    remembered: Mapping[str, object] | None = None,
    flags: Mapping[str, object] | None = None,
    name: str = "macnet",
) -> Settings:
    return whole(path, environ, remembered, flags, name).settings


def whole(
    path: Path = ABSENT,
    environ: Mapping[str, str] | None = None,
    remembered: Mapping[str, object] | None = None,
    flags: Mapping[str, object] | None = None,
    name: str = "macnet",
) -> Resolved:
    file = read_config_file(path)
    return resolve(file, environ or {}, remembered or {}, flags or {}, name=name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_with_no_source_the_defaults_hold() -> None:
    assert load() == Settings()
    assert Settings().tun_mtu == DEFAULT_TUN_MTU
    assert Settings().comp_lzo is CompLzo.NO
    assert Settings().networks == ("*",)


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
        assert whole(path, variables, last, given_flags).sources["port"] == source


def test_every_setting_has_a_source() -> None:
    assert set(whole().sources) == set(NAMES) == set(Settings.__slots__) - {"context", "name"}


def test_a_full_file(file: Path) -> None:
    file.write_text(
        """
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
    assert load(file) == Settings(
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
    assert config == Settings(
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
    assert load(environ=environ) == Settings()


def test_options_are_remembered_as_json_and_read_back() -> None:
    flags: dict[str, object] = {
        "port": None,
        "tunnel_subnet": IPNetwork("10.99.0.0/24"),
        "comp_lzo": CompLzo.ADAPTIVE,
        "networks": ("a", "b"),
        "exclude": (),
        "tun_mtu": 9000,
    }
    plain = whole(flags=flags).options
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
        ("networks", ["two words"]),
        ("networks", 5),
        ("exclude", [5]),
        ("base_image", "debian\nRUN evil"),
        ("base_image", "-x"),
    ],
)
def test_a_bad_value_is_told_with_its_source(key: str, value: object) -> None:
    with pytest.raises(BadValue) as caught:
        load(flags={key: value})
    option = {"networks": "--network"}.get(key, f"--{key.replace('_', '-')}")
    assert caught.value.message.startswith(f"{option}: ")
    # One word of an option is told as it was typed, not as a list.
    assert repr(value).strip("[]") in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 1),
        ("port", 65535),
        ("tun_mtu", 1280),
        ("tun_mtu", 65000),
        ("tunnel_subnet", IPNetwork("10.99.0.0/16")),
        ("tunnel_subnet", IPNetwork("10.99.0.0/29")),
    ],
)
def test_the_ends_of_a_range_are_taken(key: str, value: object) -> None:
    assert getattr(load(flags={key: value}), key) == value


def test_what_was_taken_back_is_the_default_for_later_commands() -> None:
    options = {"port": 0, "exclude": [""], "networks": ["app"], "tun_mtu": 1500}
    file = ConfigFile(Path("config.toml"), {"tun_mtu": 1500}, {})
    resolved = resolve(file, {}, {"port": 99, "exclude": ["x"]}, options)
    assert resolved.given == {"networks", "tun_mtu"}
    assert resolved.remembered == ()
    record = to_record(resolved)
    found = from_record(record, resolved.options, context=None, name="macnet").sources
    told = ("port", "exclude", "networks", "tun_mtu")
    assert [found[name] for name in told] == ["default", "default", "last setup", "last setup"]
    # Not where the file says something else, which the option has to go on hiding.
    file = ConfigFile(Path("config.toml"), {"exclude": ["x"]}, {})
    record = to_record(resolve(file, {}, {}, {"exclude": [""]}))
    assert record["exclude"] == {"value": [], "source": "last setup"}


def test_an_option_takes_back_what_the_last_setup_remembered() -> None:
    remembered = {"port": 13200, "exclude": ["a"], "remap": ["auto"]}
    taken_back = load(remembered=remembered, flags={"port": 0, "exclude": [""], "remap": [""]})
    assert taken_back == Settings()
    words = {"port": 0, "exclude": [""], "remap": [""]}
    assert whole(remembered=remembered, flags=words).options == {}
    # Against the environment it has to be remembered.
    variables = {"MACNET_PORT": "13200"}
    assert whole(environ=variables, flags={"port": 0}).options == {"port": 0}
    assert load(flags={"networks": "a,,b"}).networks == ("a", "b")


def test_blanks_around_a_value_are_cut_off() -> None:
    environ = {"MACNET_PORT": " 80\n", "MACNET_COMP_LZO": " Yes "}
    assert load(environ=environ) == Settings(port=80, comp_lzo=CompLzo.YES)
    assert resolve_context(ConfigFile(ABSENT), {"MACNET_CONTEXT": "colima\n"}, None)[0] == "colima"


def test_messages_name_the_file_the_variable_or_the_option(file: Path) -> None:
    file.write_text("tun_mtu = 100\n")
    with pytest.raises(BadValue) as caught:
        load(file)
    assert caught.value.message == f"{file}, key tun_mtu: 100 is not an MTU for the tunnel"
    assert caught.value.hint == "give a whole number from 1280 to 65000"
    with pytest.raises(BadValue, match=r"^MACNET_TUN_MTU: 'big' is not"):
        load(environ={"MACNET_TUN_MTU": "big"})
    with pytest.raises(BadValue, match=r"^--tun-mtu, remembered from the last setup: 1 is not"):
        load(remembered={"tun_mtu": 1})
    assert load(remembered={"tun_mtu": 1}, flags={"tun_mtu": 1500}).tun_mtu == 1500


def test_the_subnet_of_an_address_is_suggested() -> None:
    with pytest.raises(BadValue) as caught:
        load(flags={"tunnel_subnet": "10.1.2.3/24"})
    assert caught.value.hint == "the subnet of that address is 10.1.2.0/24"


def test_all_networks_are_never_left_out_by_accident(file: Path) -> None:
    file.write_text("networks = []\n")
    with pytest.raises(BadValue, match="key networks"):
        load(file)


@given(
    st.sampled_from(NAMES),
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
        assert load(remembered=whole(flags={key: value}).options) == config


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_subnet_is_kept_as_given(value: int, bits: int) -> None:
    network = IPNetwork((value, bits), version=4).cidr
    try:
        assert load(flags={"tunnel_subnet": str(network)}).tunnel_subnet == network
    except BadValue:
        first = network.network.words[0]
        assert not 16 <= bits <= 29 or first in (0, 127, 169) or first >= 224


# What setup stores


def test_the_effective_settings_are_stored_with_their_sources(file: Path) -> None:
    file.write_text('exclude = ["admin"]\nremap = ["172.17.0.0/16=10.201.0.0/16", "auto"]\n')
    found = whole(
        file,
        {"MACNET_TUN_MTU": "1500"},
        {"client": "none"},
        {"tunnel_subnet": "10.9.0.0/24", "networks": ["a*"]},
    )
    record = json.loads(json.dumps(to_record(found)))
    read = from_record(record, found.options, context=None, name="macnet")
    assert read.settings == found.settings
    assert read.sources == {
        **dict.fromkeys(NAMES, "default"),
        "exclude": str(file),
        "remap": str(file),
        "tun_mtu": "MACNET_TUN_MTU",
        "client": "last setup",
        "tunnel_subnet": "last setup",
        "networks": "last setup",
    }
    assert read.options == {
        "client": "none",
        "tunnel_subnet": "10.9.0.0/24",
        "networks": ["a*"],
    }


def test_a_stored_setting_that_cannot_be_is_told_with_its_place() -> None:
    record = {"tun_mtu": {"value": 5, "source": "last setup"}}
    with pytest.raises(BadValue, match="the record of the tunnel colima, setting tun_mtu: 5 is"):
        from_record(record, {}, context="colima", name="colima")


def test_a_setting_that_the_record_lacks_has_its_default() -> None:
    read = from_record({"port": {"value": 13200}}, {}, context=None, name="macnet")
    assert read.settings == Settings(port=13200)
    assert read.sources["exclude"] == "default"


def test_what_is_remembered_is_said_as_the_user_writes_it() -> None:
    last = {"exclude": ["admin", "x*"], "tun_mtu": 1500, "networks": ["*"], "port": 13200}
    found = whole(remembered=last, flags={"port": 13300})
    assert found.remembered == ("--tun-mtu 1500", "--network *", "--exclude admin x*")


def test_an_option_is_forgotten_by_any_of_its_names() -> None:
    last = {"exclude": ["admin"], "tun_mtu": 1500, "networks": ["a"], "port": 13200}
    assert forget(last, ["exclude", "--tun-mtu", "network"]) == {"port": 13200}
    assert forget(last, ["tun_mtu", "networks", "tun-mtu"]) == {
        "exclude": ["admin"],
        "port": 13200,
    }
    with pytest.raises(BadValue, match="no setting 'contxt'") as caught:
        forget(last, ["contxt"])
    assert "tun-mtu" in str(caught.value.hint)


def test_an_option_of_one_command_goes_before_what_is_stored() -> None:
    stored = from_record({"exclude": {"value": ["a"], "source": "x"}}, {}, context=None, name="m")
    now = override(stored, {"exclude": ["b"], "networks": None})
    assert now.settings.exclude == ("b",)
    assert now.sources["exclude"] == "--exclude"
    with pytest.raises(BadValue, match=r"^--exclude: "):
        override(stored, {"exclude": [5]})


def test_the_context_is_chosen_by_option_variable_and_file(file: Path) -> None:
    file.write_text('context = "one"\n')
    read = read_config_file(file)
    assert resolve_context(read, {}, None) == ("one", str(file))
    assert resolve_context(read, {"MACNET_CONTEXT": "two"}, None) == ("two", "MACNET_CONTEXT")
    assert resolve_context(read, {"MACNET_CONTEXT": "two"}, "three") == ("three", "--context")
    assert resolve_context(ConfigFile(ABSENT), {}, None) == (None, "default")
    with pytest.raises(BadValue, match="--context: '--help' is not the name of a Docker context"):
        resolve_context(read, {}, "--help")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("overlays,kubernetes", ("overlays", "kubernetes")),
        (["kubernetes=kind", "kubernetes=kind"], ("kubernetes=kind",)),
        (["10.20.0.0/16=router", "10.30.0.0/16"], ("10.20.0.0/16=router", "10.30.0.0/16")),
        (["FD00:20::/64=a.b_c-1"], ("fd00:20::/64=a.b_c-1",)),
        ([""], ()),
    ],
)
def test_what_else_is_reached(given: object, words: tuple[str, ...]) -> None:
    found = whole(flags={"also": given})
    request = found.settings.also
    assert request.words == words
    assert bool(request) is bool(words)
    again = from_record(to_record(found), {}, context=None, name="macnet").settings
    assert again.also == request


@pytest.mark.parametrize(
    "given",
    [
        *("everything", "router=10.20.0.0/16", "10.20.0.0/16=", "10.20.0.0/16=a=b", "10.20.0.1"),
        *("10.20.0.7/16=router", "0.0.0.0/0=router", "10.0.0.0/7", "kubernetes=", "kubernetes=a b"),
        *("overlays=x", "10.20.0.0/16=router,10.20.0.0/16=other", "10.20.0.0/16,10.20.0.0/16=a"),
        *(7, {"10.20.0.0/16": "router"}, ["overlays", 7], "10.20.0.0/33", "::/0"),
    ],
)
def test_what_else_cannot_be_asked_for(given: object) -> None:
    with pytest.raises(BadValue) as error:
        load(flags={"also": given})
    assert str(error.value).startswith("--also: ")
    assert error.value.hint


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["192.0.2.7"], ("192.0.2.7",)),
        (["192.0.2.7:1194"], ("192.0.2.7:1194",)),
        (["0.0.0.0", "0.0.0.0"], ("0.0.0.0", "0.0.0.0")),  # noqa: S104
        ("0.0.0.0,0.0.0.0", ("0.0.0.0", "0.0.0.0")),  # noqa: S104
        ([""], ()),
    ],
)
def test_an_address_to_expose_comes_back_from_the_record(
    given: object, kept: tuple[str, ...]
) -> None:
    file = ConfigFile(Path("config.toml"), {}, {})
    resolved = resolve(file, {}, {}, {"expose": given})
    assert resolved.settings.expose == kept
    again = from_record(to_record(resolved), {}, context=None, name="macnet")
    assert again.settings.expose == kept


@pytest.mark.parametrize(
    "given",
    [
        ["0.0.0.0"],  # noqa: S104 - once is not enough
        ["0.0.0.0:1194"],
        ["192.0.2.7", "192.0.2.8"],
        ["127.0.0.1"],
        ["example.org"],
        ["192.0.2.7:0"],
        ["192.0.2.7:65536"],
        ["192.0.2.7:"],
        ["fd00::1"],
    ],
)
def test_what_cannot_be_exposed(given: list[str]) -> None:
    with pytest.raises(BadValue, match="--expose"):
        resolve(ConfigFile(Path("config.toml"), {}, {}), {}, {}, {"expose": given})
