"""The helper image: one image for both containers, built on the engine itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress

from macnet.engine import Engine
from macnet.errors import EngineError
from macnet.helper.spec import LABEL_ROLE
from macnet.progress import Progress
from macnet.render import render, template_names, template_text

#: Debian's testing release has the first passt that is fast both ways and OpenVPN 2.7.
#: Pinned by date so that every build of one macnet version starts from the same image.
DEFAULT_BASE_IMAGE = "debian:forky-20260918-slim"
#: The least date of passt. Earlier ones upload slowly (tiny segments) or cannot ping.
LEAST_PASST = "20261002"
REPOSITORY = "macnet-helper"
LABEL_IMAGE = "io.macnet.image"
#: Names the base image, where the engine had to fetch it.
LABEL_FETCHED = "io.macnet.fetched"


def helper_files(base_image: str) -> Mapping[str, tuple[bytes, int]]:
    """The build context: Dockerfile and scripts, each with its mode."""
    files = {
        name.removeprefix("server/"): (template_text(name).encode(), 0o755)
        for name in template_names("server")
        if not name.endswith(".j2")
    }
    dockerfile = render(
        "server/Dockerfile.j2",
        base_image=base_image,
        least_passt=LEAST_PASST,
        label=f"{LABEL_IMAGE}={REPOSITORY}",
    )
    return {**files, "Dockerfile": (dockerfile.encode(), 0o644)}


def helper_image_tag(base_image: str | None) -> str:
    """The tag is a hash of the content: another content is another image."""
    digest = hashlib.sha256()
    for name, (content, mode) in sorted(helper_files(base_image or DEFAULT_BASE_IMAGE).items()):
        digest.update(f"{name}\0{mode:o}\0{len(content)}\0".encode())
        digest.update(content)
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def ensure_image(engine: Engine, base_image: str | None, progress: Progress) -> tuple[str, bool]:
    """Build the image unless the engine has it. Returns its tag and whether it was built.

    Raises `macnet.errors.ImageBuildFailed` with the end of the build log.
    """
    tag = helper_image_tag(base_image)
    if engine.find_image(tag):
        return tag, False
    base = base_image or DEFAULT_BASE_IMAGE
    labels = {LABEL_IMAGE: REPOSITORY}
    if engine.find_image(base) is None:
        labels[LABEL_FETCHED] = base
    engine.build_image(tag, helper_files(base), labels, progress.detail)
    return tag, True


def remove_images(engine: Engine) -> int:
    """Remove every image that macnet built, and the base images that the engine fetched for that.

    Nothing is removed while another tunnel is there, and no base image that others use. Returns
    how many are gone.
    """
    if engine.find_labelled(LABEL_ROLE):
        return 0
    found = engine.list_images(LABEL_IMAGE)
    removed = _remove_all(engine, list(found))
    bases = {labels[LABEL_FETCHED] for labels in found.values() if LABEL_FETCHED in labels}
    for base in sorted(bases):
        with suppress(EngineError):  # in use by an image or a container of the user's
            removed += engine.remove_image(base, force=False)
    return removed


def _remove_all(engine: Engine, images: list[str]) -> int:
    """Remove images that may be made of each other: one that still has a child waits for it."""
    removed = 0
    while images:
        waiting = []
        for image in images:
            try:
                removed += engine.remove_image(image)
            except EngineError as error:
                waiting.append(image)
                if len(waiting) == len(images):
                    raise error from error.__cause__
        images = waiting
    return removed
