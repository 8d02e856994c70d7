"""Which domain a tunnel's names may have."""

from __future__ import annotations

import pytest

from macnet.errors import BadValue
from macnet.names.domain import default_domain, is_probe, parse_domain, probe_name


def test_each_tunnel_has_a_domain_of_its_own() -> None:
    assert default_domain("macnet") == "docker.test"
    assert default_domain("Work") == "docker-work.test"
    assert parse_domain(default_domain("other")) == "docker-other.test"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("docker.test", "docker.test"),
        (" Docker.TEST. ", "docker.test"),
        ("docker", "docker"),
        ("docker.home.arpa", "docker.home.arpa"),
        ("local.example", "local.example"),
    ],
)
def test_domains(text: str, domain: str) -> None:
    assert parse_domain(text) == domain


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "-a.test",
        "a-.test",
        "a_b.test",
        "ä.test",
        "a b",
        "a/b",
        "../x",
        "a\nb",
        "x" * 64 + ".test",
        ".".join(["x" * 60] * 4),
        "*.test",
    ],
)
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(BadValue, match="is not a domain"):
        parse_domain(text)


@pytest.mark.parametrize(
    "text", ["local", "x.local", "localhost", "a.localhost", "docker.internal", "1.in-addr.arpa"]
)
def test_domains_of_others(text: str) -> None:
    with pytest.raises(BadValue, match="cannot be the domain"):
        parse_domain(text)


@pytest.mark.parametrize("text", ["internal", "home.arpa", "com"])
def test_domains_that_hold_others(text: str) -> None:
    with pytest.raises(BadValue, match="too wide"):
        parse_domain(text)


def test_the_domain_of_another_tunnel() -> None:
    with pytest.raises(BadValue, match="of the tunnel work"):
        parse_domain("docker.test", others={"docker.test": "work"})


def test_probes_are_recognized() -> None:
    assert probe_name("docker.test", "0f" * 16) == f"{'0f' * 16}.probe.docker.test"
    assert is_probe(f"{'0f' * 16}.probe")
    assert not any(map(is_probe, ["probe", f"{'0f' * 15}.probe", f"a.{'0f' * 16}.probe"]))
