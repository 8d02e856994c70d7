"""The helper image: the same packages for everybody, and brought in by hand without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from macnet.helper.image import (
    ARCHIVE_DAY,
    DEFAULT_BASE_IMAGE,
    helper_files,
    helper_image_tag,
)
from tests.e2e.steps import HELPER_BASE, Mac
from tests.e2e.world import assert_traffic, nothing_changes
from tests.lab import BASE_IMAGE, Lab
from tests.lab.process import run, spawn, stop, wait_until

TAG = helper_image_tag(None)
LACKING = "macnet-lab/lacking:1"
#: Debian's own image has one such part for each of its sources.
SOURCES = """\
Types: deb
# http://{place}/archive/debian/20260918T000000Z
URIs: http://{place}/live/debian
Suites: forky
Components: main
Trusted: yes
"""
PORT = 8099


@pytest.fixture
def images(lab: Lab) -> Iterator[Lab]:
    """Takes away the images that a test makes."""
    yield lab
    for tag in (LACKING, TAG, "macnet-lab/helper:1"):
        run(["docker", "rmi", "--force", tag], env=lab.engine.environment(), check=False)


def make_lacking(lab: Lab, script: str) -> None:
    """Make the image LACKING of the lab's base by a shell script."""
    lab.docker("rm", "--force", "lacking")
    lab.docker("run", "--name", "lacking", "--network", "none", BASE_IMAGE, "sh", "-c", script)
    lab.docker("commit", "lacking", LACKING)
    lab.docker("rm", "lacking")


def test_an_image_from_another_machine(clean: Mac, images: Lab, tmp_path: Path) -> None:
    """Without a network setup says what to bring, and takes what was brought."""
    env = {"MACNET_BASE_IMAGE": ""}
    with nothing_changes(clean):
        for words in (["setup", "--offline"], ["setup", "--offline", "--dry-run"]):
            said = " ".join(clean.fails(3, *words, env=env).split())
            assert f"no image {TAG}, and its base image {DEFAULT_BASE_IMAGE} is not" in said
            assert f"docker save -o helper.tar {TAG}" in said
        assert clean.macnet("status", check=False).returncode == 8

    # What the other machine's setup makes; here, of the lab's base.
    clean.macnet("setup", "--offline")
    images.docker("tag", helper_image_tag(HELPER_BASE), TAG)
    images.docker("save", "-o", str(tmp_path / "helper.tar"), TAG)
    clean.macnet("down", "--purge")
    run(["docker", "rmi", "--force", TAG], env=images.engine.environment(), check=False)
    clean.fails(3, "setup", "--offline", env=env)
    images.docker("load", "-i", str(tmp_path / "helper.tar"))
    clean.macnet("setup", "--offline", env=env)
    assert_traffic(clean)
    assert images.engine.get("/containers/macnet-server/json")["Config"]["Image"] == TAG


def test_what_a_base_image_lacks(clean: Mac, images: Lab) -> None:
    make_lacking(images, "rm /usr/bin/pasta /usr/sbin/capsh")
    said = clean.fails(3, "setup", "--offline", "--base-image", LACKING)
    assert f"its base image {LACKING} lacks pasta capsh" in " ".join(said.split())


def test_the_packages_are_those_of_one_day(images: Lab, tmp_path: Path) -> None:
    """Of an archive that has several days, by the address that the base image names."""
    serve = tmp_path / "served"
    put_passt(serve / "archive/debian" / ARCHIVE_DAY, tmp_path / "then", "20261002")
    put_passt(serve / "live/debian", tmp_path / "now", "20271231")
    gateway = images.engine.get("/networks/bridge")["IPAM"]["Config"][0]["Gateway"]
    sources = SOURCES.format(place=f"{gateway}:{PORT}")
    make_lacking(
        images,
        "dpkg --purge --force-depends passt && rm -f /etc/apt/sources.list && "
        f"printf '%s' '{sources}' >/etc/apt/sources.list.d/debian.sources",
    )
    context = tmp_path / "context"
    for name, (content, _) in helper_files(DEFAULT_BASE_IMAGE).items():
        put(context / name, content.decode())
    dockerfile = (context / "Dockerfile").read_text()
    assert f"FROM {DEFAULT_BASE_IMAGE}\n" in dockerfile
    (context / "Dockerfile").write_text(dockerfile.replace(DEFAULT_BASE_IMAGE, LACKING))
    log = tmp_path / "server.log"
    argv = ["python3", "-u", "-m", "http.server", str(PORT), "--directory", str(serve)]
    server = spawn(["nsenter", f"--net=/run/netns/{images.engine.vm.paths.netns}", *argv], log)
    try:
        assert wait_until(lambda: "Serving" in log.read_text(), 20)
        said = images.docker("build", "--tag", "macnet-lab/helper:1", str(context))
    finally:
        stop(server)
    assert "passt of 20261002, at least" in said
    assert "/live/" not in log.read_text()


def put_passt(folder: Path, work: Path, date: str) -> None:
    """An archive with one package in it: a passt of that date."""
    version = f"0.0~git{date}.cba3570-1"
    control = (
        f"Package: passt\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: the lab <lab@example.org>\nDescription: plays passt\n"
    )
    put(work / "DEBIAN/control", control)
    put(work / "usr/bin/pasta", f"#!/bin/sh\necho pasta {version}\n").chmod(0o755)
    package = folder / "passt.deb"
    folder.mkdir(parents=True)
    run(["dpkg-deb", "--build", "--root-owner-group", work, package])
    listed = f"{control}Filename: passt.deb\n{sizes(package)}\n"
    # Its lists have expired, as those of a day long ago have.
    release = (
        "Suite: forky\nCodename: forky\nComponents: main\nArchitectures: amd64 arm64\n"
        "Date: Fri, 30 Oct 2020 08:00:00 UTC\nValid-Until: Fri, 06 Nov 2020 08:00:00 UTC\nSHA256:\n"
    )
    for kind in ("amd64", "arm64"):
        name = f"main/binary-{kind}/Packages"
        index = put(folder / "dists/forky" / name, listed)
        release += f" {sha256(index)} {index.stat().st_size} {name}\n"
    put(folder / "dists/forky/Release", release)


def put(path: Path, text: str) -> Path:
    """Write a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def sizes(path: Path) -> str:
    """What an index says of a package."""
    return f"Size: {path.stat().st_size}\nSHA256: {sha256(path)}\n"


def sha256(path: Path) -> str:
    """Its digest, as text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
