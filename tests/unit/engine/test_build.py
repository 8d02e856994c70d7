"""What an image build says of itself, by Docker and by Podman."""

from __future__ import annotations

from typing import Any

from macnet.engine.build import BuildReader


def shown(*events: dict[str, Any]) -> list[str]:
    reader = BuildReader()
    return [line for event in events for line in reader.read(event)]


def test_docker_numbers_its_steps() -> None:
    assert shown(
        {"stream": "Step 1/9 : FROM debian:forky"},
        {"stream": "\n"},
        {"stream": " ---> 0123456789ab\n"},
        {"stream": "Step 4/9 : RUN sh /tmp/install.sh"},
        {"stream": "Get:1 http://deb.example forky/main openvpn\nGet:2 passt\n"},
    ) == [
        "step 1 of 9: FROM debian:forky",
        "step 1 of 9: ---> 0123456789ab",
        "step 4 of 9: RUN sh /tmp/install.sh",
        "step 4 of 9: Get:1 http://deb.example forky/main openvpn",
        "step 4 of 9: Get:2 passt",
    ]


def test_podman_writes_them_in_capitals() -> None:
    assert shown({"stream": "STEP 2/9: LABEL a=b\n"}) == ["step 2 of 9: LABEL a=b"]


def test_a_download_is_told_in_megabytes_and_not_with_each_kilobyte() -> None:
    def loading(layer: str, current: int, total: int) -> dict[str, Any]:
        sizes = {"current": current, "total": total}
        return {"status": "Downloading", "id": layer, "progressDetail": sizes}

    assert shown(
        {"status": "Pulling from library/debian", "id": "forky"},
        {"status": "Pulling fs layer", "id": "a", "progressDetail": {}},
        loading("a", 100_000, 50_000_000),
        loading("a", 200_000, 50_000_000),
        loading("a", 25_000_000, 50_000_000),
        loading("b", 1_000_000, 10_000_000),
        {"status": "Pull complete", "id": "a", "progressDetail": {}},
    ) == [
        "Pulling from library/debian",
        "Pulling fs layer",
        "downloading the base image, 0 of 50 MB",
        "downloading the base image, 25 of 50 MB",
        "downloading the base image, 26 of 60 MB",
        "Pull complete",
    ]


def test_the_log_is_as_it_came_and_without_the_downloads() -> None:
    reader = BuildReader()
    for event in (
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 1, "total": 2}},
        {"status": "Downloading", "id": "a", "progressDetail": {}},
        {"stream": "Step 1/2 : FROM x\n"},
        {"error": "no network"},
    ):
        list(reader.read(event))
    assert reader.log == ["Downloading", "Step 1/2 : FROM x", "no network"]
