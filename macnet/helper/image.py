"""The helper image: one image for both containers, built on the engine itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from macnet.engine import Engine
from macnet.errors import EngineError, ImageBuildFailed, ImageMissing
from macnet.helper.spec import LABEL_ROLE
from macnet.progress import Progress
from macnet.render import render, template_names, template_text

#: Debian's testing release has the first passt that is fast both ways and OpenVPN 2.7. The digest
#: is that of the index of all platforms, so one version of macnet has one base image.
DEFAULT_BASE_IMAGE = (
    "debian:forky-20260918-slim"
    "@sha256:7bb96d9b4ccd7f46f54853c258a56df0c6b628a63e65c2317959da18fd36932c"
)
#: The packages are those that Debian's archive had at this moment. The base is older than the
#: passt that is needed. Its apt sources name where the archive keeps each day.
ARCHIVE_DAY = "20261030T120000Z"
#: The least date of passt. Earlier ones upload slowly (tiny segments) or cannot ping.
LEAST_PASST = "20261002"
REPOSITORY = "macnet-helper"
LABEL_IMAGE = "io.macnet.image"
#: Names the base image, where the engine had to fetch it.
LABEL_FETCHED = "io.macnet.fetched"
#: How install.sh says which programs the base image lacks.
_LACKS = "the base image lacks: "


def helper_files(base_image: str) -> Mapping[str, tuple[bytes, int]]:
    """The build context: Dockerfile, scripts and the relay's programs, each with its mode."""
    files = {
        name.removeprefix("server/"): (template_text(name).encode(), 0o755)
        for name in template_names("server")
        if not name.endswith(".j2")
    }
    dockerfile = render(
        "server/Dockerfile.j2",
        base_image=base_image,
        least_passt=LEAST_PASST,
        archive_day=ARCHIVE_DAY if base_image == DEFAULT_BASE_IMAGE else "",
        label=f"{LABEL_IMAGE}={REPOSITORY}",
    )
    return {**files, **_relay_files(), "Dockerfile": (dockerfile.encode(), 0o644)}


def _relay_files() -> Mapping[str, tuple[bytes, int]]:
    """The programs of `macnet.relay`, which is not imported here: it is not for this machine."""
    folder = Path(__file__).parents[1] / "relay"
    return {f"relay/{path.name}": (path.read_bytes(), 0o644) for path in folder.glob("*.py")}


def helper_image_tag(base_image: str | None) -> str:
    """The tag is a hash of the content: another content is another image."""
    digest = hashlib.sha256()
    for name, (content, mode) in sorted(helper_files(base_image or DEFAULT_BASE_IMAGE).items()):
        digest.update(f"{name}\0{mode:o}\0{len(content)}\0".encode())
        digest.update(content)
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def ensure_image(
    engine: Engine, base_image: str | None, progress: Progress, *, offline: bool = False
) -> tuple[str, bool]:
    """Build the image unless the engine has it. Returns its tag and whether it was built.

    Raises `macnet.errors.ImageBuildFailed` with the end of the build log. With ``offline``
    nothing is downloaded, and what the build lacks is `macnet.errors.ImageMissing`.
    """
    tag = helper_image_tag(base_image)
    if engine.find_image(tag):
        return tag, False
    base = base_image or DEFAULT_BASE_IMAGE
    labels = {LABEL_IMAGE: REPOSITORY}
    if engine.find_image(base) is None:
        if offline:
            raise _missing(tag, base_image, f"its base image {base} is not there either")
        labels[LABEL_FETCHED] = base
    try:
        engine.build_image(tag, helper_files(base), labels, progress.detail, offline=offline)
    except ImageBuildFailed as error:
        lacking = re.findall(rf"^{_LACKS}(.+)$", error.detail or "", re.MULTILINE)
        if offline and lacking:
            raise _missing(tag, base_image, f"its base image {base} lacks {lacking[0]}") from error
        raise
    return tag, True


def require_image(engine: Engine, base_image: str | None) -> None:
    """Raise `macnet.errors.ImageMissing` where the engine has neither the image nor its base."""
    tag, base = helper_image_tag(base_image), base_image or DEFAULT_BASE_IMAGE
    if engine.find_image(tag) is None and engine.find_image(base) is None:
        raise _missing(tag, base_image, f"its base image {base} is not there either")


def _missing(tag: str, base_image: str | None, what: str) -> ImageMissing:
    again = f" --base-image {base_image}" if base_image else ""
    return ImageMissing(
        f"the engine has no image {tag}, and {what}",
        hint=f"on a machine with a network and the same kind of processor let this version of "
        f"macnet make it (`macnet setup --force{again}`) and save it "
        f"(`docker save -o helper.tar {tag}`); then here `docker load -i helper.tar`",
    )


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
