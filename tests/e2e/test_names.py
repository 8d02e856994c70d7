"""Names of real containers, asked by real programs: through a Mac's resolver and dnsmasq."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.e2e.names import DOMAIN, PORT, Names, follow, names_on
from tests.e2e.steps import Mac, wait_until
from tests.lab import Lab
from tests.lab.process import run
from tests.lab.resolver_mac import Looker

SERVICE = "com.docker.compose.service"
PROJECT = "com.docker.compose.project"
#: What musl's getaddrinfo finds. Its loader is its libc too, and this needs nothing else.
_MUSL = r"""
struct addrinfo {
    int flags, family, socktype, protocol;
    unsigned length;
    void *address;
    char *name;
    struct addrinfo *next;
};
int getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int getnameinfo(const void *, unsigned, char *, unsigned, char *, unsigned, int);
const char *gai_strerror(int);
char *getenv(const char *);
int puts(const char *);
void exit(int);

void begin(void) {
    struct addrinfo hints = {0}, *found;
    char text[64];
    int code;
    hints.socktype = 1;
    code = getaddrinfo(getenv("NAME"), 0, &hints, &found);
    if (code) puts(gai_strerror(code));
    for (; !code && found; found = found->next)
        if (!getnameinfo(found->address, found->length, text, sizeof text, 0, 0, 1)) puts(text);
    exit(!!code);
}
#ifdef __x86_64__
__asm__(".globl _start\n_start: and $-16, %rsp\n call begin\n");
#else
void _start(void) { begin(); }
#endif
"""


@pytest.fixture(scope="module")
def names(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    """The tunnel with names, for all tests of this file."""
    with names_on(Mac(lab), tmp_path_factory.mktemp("watch")) as names:
        yield names


@pytest.fixture(params=["macos", "dnsmasq"])
def resolver(request: pytest.FixtureRequest, names: Names) -> Iterator[str]:
    """Programs of the Mac side ask the stand-in for macOS's resolver, or a dnsmasq."""
    how = str(request.param)
    start = names.side.macos() if how == "macos" else names.side.dnsmasq(DOMAIN, PORT)
    with start:
        yield how


@pytest.fixture
def look_up(names: Names, resolver: str) -> Iterator[Looker]:
    """getaddrinfo through it."""
    with names.side.looker() as looker:
        yield looker


@pytest.fixture
def mac_look_up(names: Names) -> Iterator[Looker]:
    """getaddrinfo through the stand-in for macOS's resolver."""
    with names.side.macos(), names.side.looker() as looker:
        yield looker


@pytest.fixture
def removed(names: Names) -> Iterator[list[str]]:
    """Containers and networks to remove in the end: names, and "network NAME"."""
    things: list[str] = []
    yield things
    networks = [thing.partition(" ")[2] for thing in things if thing.startswith("network ")]
    names.remove(*(thing for thing in things if not thing.startswith("network ")))
    if networks:
        names.mac.lab.docker("network", "rm", *networks)


def musl(folder: Path) -> list[str]:
    """A program that looks up $NAME with musl, made here: words to run it."""
    (loader,) = Path("/lib").glob("ld-musl-*.so.1")
    (folder / "libc.so").symlink_to(loader)
    (folder / "look.c").write_text(_MUSL)
    words = ["tcc", "-nostdlib", "-nostdinc", "-o", str(folder / "look")]
    run([*words, str(folder / "look.c"), str(folder / "libc.so")])
    return [str(loader), str(folder / "look")]


def test_real_programs_find_containers(names: Names, resolver: str, tmp_path: Path) -> None:
    """curl, redis-cli and Python with glibc's resolver, Go's own one, and musl's."""
    lab, side = names.mac.lab, names.side
    web = lab.sample.address("web")
    page = side.run(["curl", "-sS", "-m", "5", f"http://web.{DOMAIN}/"]).stdout
    assert page == "macnet-lab web\n"
    assert side.run(["redis-cli", "-h", f"redis.{DOMAIN}", "ping"]).stdout.strip() == "PONG"
    python = "import socket, sys; print(socket.getaddrinfo(sys.argv[1], 80)[0][4][0])"
    assert side.run([sys.executable, "-c", python, f"web.{DOMAIN}"]).stdout.strip() == web
    # The docker command is a Go program, told to leave libc's resolver alone.
    go = {"GODEBUG": "netdns=go+1"}
    for name, said in ((f"web.{DOMAIN}", "404"), (f"nobody.{DOMAIN}", "no such host")):
        words = ["docker", "-H", f"tcp://{name}:80", "version"]
        done = side.run(words, env=go, check=False)
        assert said in done.stdout + done.stderr
        assert re.search("the Go resolver|Go's (DNS )?resolver", done.stderr)
    look = musl(tmp_path)
    assert side.run(look, env={"NAME": f"web.{DOMAIN}"}).stdout.split() == [web]
    assert set(side.run(look, env={"NAME": f"six-web.{DOMAIN}"}).stdout.split()) == {
        lab.sample.address("six-web"),
        lab.sample.address6("six-web"),
    }
    done = side.run(look, env={"NAME": f"nobody.{DOMAIN}"}, check=False)
    assert done.stdout.strip() == "Name does not resolve"
    # Nothing but the domain is answered.
    assert side.run(["getent", "hosts", "example.com"], check=False).returncode == 2


def test_a_hundred_new_containers_are_found_at_once(
    names: Names, mac_look_up: Looker, removed: list[str]
) -> None:
    """Each is looked up as soon as `docker run` is back, and none is kept as missing."""
    new = [f"n{number}" for number in range(100)]
    removed += new

    def start(name: str) -> str:
        names.run(name)
        return mac_look_up(f"{name}.{DOMAIN}")

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(new, pool.map(start, new), strict=True))
    there = {name: address for name, [address] in names.all_homes(*new).items()}
    assert found == {name: there[name] for name in new}
    assert {name: mac_look_up(f"{name}.{DOMAIN}") for name in new} == found
    assert len(set(found.values())) == 100


def test_a_service_is_found_at_once(names: Names, mac_look_up: Looker, removed: list[str]) -> None:
    """Containers with the labels that Compose gives them, started one after the other."""
    for number in (1, 2, 3):
        name = f"shop-api-{number}"
        removed.append(name)
        labels = ("--label", f"{PROJECT}=shop", "--label", f"{SERVICE}=api")
        names.run(name, "--network", "app", "--network-alias", "api", *labels)
        assert mac_look_up(f"{name}.{DOMAIN}") == names.address(name)
        assert names.address(name) in names.ask("api.shop").split()
    assert mac_look_up(f"api.shop.{DOMAIN}").split() == sorted(map(names.address, removed))


def test_who_asks_too_early_waits_or_flushes(
    names: Names, mac_look_up: Looker, removed: list[str]
) -> None:
    missing = mac_look_up(f"early.{DOMAIN}")
    assert missing == "gaierror Name or service not known"
    removed.append("early")
    names.run("early")
    address = names.address("early")
    assert names.ask("early") == address
    # macOS keeps the denial for 77 seconds (tests/unit/names/test_mac_resolver.py waits for it).
    assert mac_look_up(f"early.{DOMAIN}") == missing
    names.side.macnet("names", "flush", env=names.mac.environment())
    wait_until(lambda: mac_look_up(f"early.{DOMAIN}") == address, 20, "the name after the flush")


@pytest.mark.alone
def test_changes_are_right_soon_and_never_denied(
    names: Names, mac_look_up: Looker, removed: list[str]
) -> None:
    """At the port within half a second, through the Mac's resolver when its 15 are over."""
    docker = names.mac.lab.docker
    changing = ["restarted", "recreated", "moved"]
    removed += [*changing, "renamed", "renamed-now"]
    for name in ("restarted", "moved", "renamed"):
        names.run(name, "--network", "app")
    names.run("recreated", "--network", "app", "--ip", "172.82.0.201")
    before = {name: names.address(name) for name in [*changing, "renamed"]}
    assert {name: mac_look_up(f"{name}.{DOMAIN}") for name in before} == before
    asked = time.monotonic()
    with names.asking(*changing) as answers:
        docker("restart", "-t", "0", "restarted")
        waits = [names.wait("restarted", names.address("restarted"))]
        docker("rm", "-f", "recreated")
        names.run("recreated", "--network", "app", "--ip", "172.82.0.202")
        waits.append(names.wait("recreated", "172.82.0.202"))
        docker("network", "connect", "extra", "moved")
        both = names.addresses("moved")
        waits.append(names.wait("moved", *both.values()))
        docker("network", "disconnect", "app", "moved")
        waits.append(names.wait("moved", both["extra"]))
        docker("rename", "renamed", "renamed-now")
        waits.append(names.wait("renamed-now", before["renamed"]))
        waits.append(names.wait("renamed", "NXDOMAIN"))
        # What the engine's own DNS calls it has the name, too.
        names.wait("renamed.app", "NXDOMAIN")
        names.wait("renamed-now.app", before["renamed"])
    # The middle one: a busy machine may be late once.
    assert sorted(waits)[len(waits) // 2] < 0.5, waits
    assert mac_look_up(f"renamed-now.{DOMAIN}") == before["renamed"]
    for name, seen in answers.items():
        assert seen, name
        assert not {"NXDOMAIN", "SERVFAIL", "NODATA", "REFUSED"} & seen, (name, seen)
    right = {name: " ".join(sorted(names.addresses(name).values())) for name in changing}
    late = {
        name: follow(partial(mac_look_up, f"{name}.{DOMAIN}"), right[name].__eq__, 20)
        for name in right
    }
    assert time.monotonic() - asked < 17
    for name, one in late.items():
        assert set(one.answers) <= {before[name], right[name]}, one
    # Asked for after the others, so kept a moment longer.
    gone = "gaierror Name or service not known".__eq__
    assert len(follow(partial(mac_look_up, f"renamed.{DOMAIN}"), gone, 5).answers) <= 2


@pytest.fixture(scope="module")
def projects(names: Names) -> Iterator[dict[str, list[str]]]:
    """Two projects with a service `web`, one with three replicas, and odd containers."""
    found: dict[str, list[str]] = {}
    everything = []
    try:
        for project, replicas in (("one", 3), ("two", 1)):
            for number in range(1, replicas + 1):
                name = f"{project}-web-{number}"
                everything.append(name)
                labels = ("--label", f"{PROJECT}={project}", "--label", f"{SERVICE}=web")
                names.run(name, "--network", "app", "--network-alias", "web", *labels)
                found.setdefault(project, []).append(names.address(name))
        everything += ["aliased", "hosted", "labelled"]
        names.run("aliased", "--network", "extra", "--network-alias", "cache")
        names.run("hosted", "--network", "host")
        names.run("labelled", "--label", "io.macnet.names=blog, *.blog")
        yield found
    finally:
        names.remove(*everything)


def test_names_of_every_kind(names: Names, projects: dict[str, list[str]], look_up: Looker) -> None:
    sample, docker = names.mac.lab.sample, names.mac.lab.docker
    homes = names.addresses("two-homes")
    right = {
        # The container, whoever has a service of that name.
        "web": [sample.address("web")],
        "web.one": projects["one"],
        "web.two": projects["two"],
        "one-web-2": projects["one"][1:2],
        # The alias is that of both projects on this network.
        "web.app": projects["one"] + projects["two"],
        "cache.extra": [names.address("aliased")],
        "two-homes": homes.values(),
        "two-homes.app": [homes["app"]],
        "two-homes.extra": [homes["extra"]],
        "sealed-web": [sample.address("sealed-web")],
        "six-web": [sample.address("six-web"), sample.address6("six-web")],
        "blog": [names.address("labelled")],
        "a.blog": [names.address("labelled")],
    }
    assert len(projects["one"]) == 3
    for name, addresses in right.items():
        assert look_up(f"{name}.{DOMAIN}").split() == sorted(addresses), name
    assert names.ask("web.one").split() == sorted(projects["one"])
    assert names.ask("six-web", "AAAA") == sample.address6("six-web")
    # What exists but has no such address is no missing name, which musl takes for both.
    for name, kind in (("web", "AAAA"), ("hosted", "A"), ("hosted", "AAAA"), ("app", "A")):
        assert names.ask(name, kind) == "NODATA", name
    assert "gaierror" in look_up(f"hosted.{DOMAIN}")
    for name in ("cache", "cache.app", "web.three"):
        assert names.ask(name) == "NXDOMAIN"
    assert docker("inspect", "--format", "{{.State.Running}}", "hosted").strip() == "true"
    page = names.side.run(["curl", "-sS", "-m", "5", f"http://sealed-web.{DOMAIN}/"]).stdout
    assert page == "macnet-lab sealed-web\n"


def test_names_have_the_addresses_that_this_machine_sees(
    names: Names, resolver: str, look_up: Looker
) -> None:
    """Those of a remapped network are not the container's own."""
    names.mac.macnet("setup", "--remap", "172.82.6.0/24=10.201.6.0/24")
    try:
        real = names.mac.lab.sample.address("six-web")
        seen = real.replace("172.82.6.", "10.201.6.")
        wait_until(lambda: names.ask("six-web") == seen, 20, "the remapped address")
        assert seen in look_up(f"six-web.{DOMAIN}").split()
        page = names.side.run(["curl", "-4sS", "-m", "5", f"http://six-web.{DOMAIN}/"]).stdout
        assert page == "macnet-lab six-web\n"
    finally:
        names.mac.macnet("setup", "--unset", "remap")


def test_hostile_names(names: Names, removed: list[str]) -> None:
    """What anybody with a container may choose never leaves the zone, nor ends anything."""
    long = "a" * 300
    aliases = ["x.evil.com", long, "..", "münchen", "-", "*", "a/b", "example.com."]
    words = [word for alias in aliases for word in ("--network-alias", alias)]
    removed += ["hostile", "probe", "Web"]
    label = f"io.macnet.names=evil.com., *.com, ..,*,../../x,{long},notes ,*.probe,\x01"
    names.run("hostile", "--network", "app", "--label", label, *words)
    names.run("probe")
    names.run("Web")
    address = names.address("hostile")
    names.wait("hostile", address)
    for name in ("x.evil.com.", "evil.com.", "example.com.", "com.", "x.evil.com.app."):
        assert names.ask(name) == "REFUSED"
    assert names.ask("x.evil.com.app") == address
    assert names.ask("notes") == address
    assert names.ask("probe") == names.address("probe")
    assert names.ask("0123456789abcdef" * 2 + ".probe") == "127.0.0.1"
    # There are no two names that differ by case alone; the older container has it.
    assert names.ask("Web") == names.ask("web") == names.mac.lab.sample.address("web")
    rows = names.mac.json("names", "list")["names"]["names"]
    refused = {row["name"]: row["why"] for row in rows if not row["given"]}
    assert all(row["name"].endswith(f".{DOMAIN}") for row in rows if row["given"])
    for name in ("münchen.app", "*.app", "...app", "*", "evil.com.", "*.probe"):
        assert refused.pop(f"{name}.{DOMAIN}", None), (name, refused)
    assert "container web has it" in refused[f"web.{DOMAIN}"]


def test_hostile_packets(names: Names) -> None:
    """Random bytes, answers, broken questions: the next question is answered all the same."""
    random = Random(13)  # noqa: S311
    name = b"\3web\6docker\4test\0\0\1\0\1"
    broken = [random.randbytes(random.randrange(600)) for _ in range(200)]
    broken += [
        random.randbytes(2) + random.randbytes(10) + name[: random.randrange(len(name))]
        for _ in range(200)
    ]
    broken += [b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\xc0\x0c\0\1\0\1", b"", b"\0" * 65000]
    with names.socket() as udp:
        for packet in broken:
            udp.sendto(packet, ("127.0.0.1", PORT))
    # The burst fills the socket's buffer, and what comes meanwhile is lost: resolvers ask again.
    wait_until(lambda: bool(names.heard("web")), 15, "an answer after the burst")
    for kind in ("A", "AAAA", "TXT", "ANY"):
        assert names.ask("web", kind) != "SERVFAIL"
    assert names.ask("web") == names.mac.lab.sample.address("web")
