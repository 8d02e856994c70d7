"""Reads the stream of an image build (``POST /build``) into lines for a person. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

#: Docker: "Step 3/9 : RUN …", Podman: "STEP 3/9: RUN …".
_STEP = re.compile(r"step (\d+)/(\d+) ?: ?(.*)", re.IGNORECASE)
_MB = 1_000_000


class BuildReader:
    """One build: its log as it came, and what it does now with the number of the step."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self.log: list[str] = []
        self._step = ""
        self._layers: dict[str, tuple[int, int]] = {}
        self._fetched = ""

    def read(self, event: Mapping[str, Any]) -> Iterator[str]:
        """Take one object of the stream; yield what to show of it."""
        sizes = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and sizes.get("total"):
            yield from self._download(str(event.get("id")), sizes["current"], sizes["total"])
            return
        text = str(event.get("error") or event.get("stream") or event.get("status") or "")
        for line in filter(None, map(str.strip, text.splitlines())):
            self.log.append(line)
            if (step := _STEP.fullmatch(line)) is not None:
                self._step = f"step {step[1]} of {step[2]}: "
            yield f"{self._step}{step[3] if step is not None else line}"

    def _download(self, layer: str, current: int, total: int) -> Iterator[str]:
        """The layers of the base image come side by side, and each tells of itself many times."""
        self._layers[layer] = (current, total)
        done, whole = (sum(sizes) // _MB for sizes in zip(*self._layers.values(), strict=True))
        text = f"{self._step}downloading the base image, {done} of {whole} MB"
        if text != self._fetched:
            self._fetched = text
            yield text
