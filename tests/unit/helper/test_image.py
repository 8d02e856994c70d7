"""The helper image is built when its content is new, and removed when no tunnel uses it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from macnet.errors import EngineError, ImageBuildFailed, ImageMissing
from macnet.helper import ensure_image, helper_image_tag
from macnet.helper.image import (
    ARCHIVE_DAY,
    DEFAULT_BASE_IMAGE,
    LEAST_PASST,
    helper_files,
    remove_images,
    require_image,
)
from macnet.helper.spec import server_container
from macnet.progress import Silent
from tests.unit.helper.examples import SPEC
from tests.unit.helper.model import ModelEngine


def test_the_build_context() -> None:
    files = helper_files(DEFAULT_BASE_IMAGE)
    dockerfile = files["Dockerfile"][0].decode()
    assert f"FROM {DEFAULT_BASE_IMAGE}\n" in dockerfile
    copied = dockerfile.partition("COPY server.sh ")[2].split(" /usr/local", maxsplit=1)[0].split()
    programs = {name for name in files if name.startswith("relay/")}
    assert {"install.sh", "server.sh", *copied, *programs} | {"Dockerfile"} == set(files)
    assert {"relay/__init__.py", "relay/supervisor.py", "relay/lane.py"} <= programs


def test_all_users_of_a_version_have_the_same_base_and_packages() -> None:
    assert re.fullmatch(r"debian:\w+-20\d{6}-slim@sha256:[0-9a-f]{64}", DEFAULT_BASE_IMAGE)
    installed = f"RUN sh /tmp/install.sh {LEAST_PASST} {ARCHIVE_DAY} "
    assert installed in helper_files(DEFAULT_BASE_IMAGE)["Dockerfile"][0].decode()
    # What a day's archive has is at least that old.
    assert ARCHIVE_DAY[:8] > LEAST_PASST
    # The packages of an image of the user's come from where that says.
    assert ARCHIVE_DAY not in helper_files("other:1")["Dockerfile"][0].decode()


def test_the_tag_follows_the_content() -> None:
    assert helper_image_tag(None) == helper_image_tag(DEFAULT_BASE_IMAGE)
    assert helper_image_tag("other:1") != helper_image_tag(None)


def test_the_image_is_built_once() -> None:
    engine = ModelEngine()
    tag, built = ensure_image(engine.as_engine(), None, Silent())
    assert (tag, built) == (helper_image_tag(None), True)
    assert ensure_image(engine.as_engine(), None, Silent()) == (tag, False)
    assert engine.log == ["build"]


def test_offline_nothing_is_fetched() -> None:
    engine = ModelEngine()
    tag = helper_image_tag(None)
    for ask in (
        lambda: require_image(engine.as_engine(), None),
        lambda: ensure_image(engine.as_engine(), None, Silent(), offline=True),
    ):
        with pytest.raises(ImageMissing) as caught:
            ask()
        assert f"no image {tag}, and its base image {DEFAULT_BASE_IMAGE}" in str(caught.value)
        assert f"docker save -o helper.tar {tag}" in str(caught.value.hint)
        assert "docker load -i helper.tar" in str(caught.value.hint)
    assert engine.log == []

    engine.images["mine:1"] = {}
    require_image(engine.as_engine(), "mine:1")
    made = ensure_image(engine.as_engine(), "mine:1", Silent(), offline=True)
    assert made == (helper_image_tag("mine:1"), True)
    assert engine.log == ["build offline"]


def test_offline_what_the_base_lacks_is_named() -> None:
    log = "Step 4/8 : RUN sh /tmp/install.sh\nthe base image lacks: pasta capsh\nfailed"
    engine = ModelEngine(images={"mine:1": {}}, build_error=ImageBuildFailed("no", detail=log))
    with pytest.raises(ImageMissing, match=r"mine:1 lacks pasta capsh$") as caught:
        ensure_image(engine.as_engine(), "mine:1", Silent(), offline=True)
    assert "`macnet setup --force --base-image mine:1`" in str(caught.value.hint)
    # With a network that is where it goes on.
    with pytest.raises(ImageBuildFailed):
        ensure_image(engine.as_engine(), "mine:1", Silent())


def test_images_of_others_stay_and_so_do_ours_while_a_tunnel_is_there() -> None:
    engine = ModelEngine(images={"redis:7": {}})
    ensure_image(engine.as_engine(), None, Silent())
    ensure_image(engine.as_engine(), "other:1", Silent())
    other = engine.create_container(server_container(SPEC))
    assert remove_images(engine.as_engine()) == 0
    engine.remove_container(other)
    assert remove_images(engine.as_engine()) == 4
    assert list(engine.images) == ["redis:7"]


@dataclass
class Layered(ModelEngine):
    """Refuses to remove an image while one that was made of it is there."""

    children: dict[str, str] = field(default_factory=dict)

    def remove_image(self, tag: str, *, force: bool = True) -> bool:
        if self.children.get(tag) in self.images:
            raise EngineError(f"conflict: {tag} has dependent child images")
        return super().remove_image(tag, force=force)


def test_images_are_removed_in_whatever_order_they_depend_on_each_other() -> None:
    ours = {"io.macnet.image": "macnet-helper"}
    engine = Layered(images={"a": ours, "b": ours, "c": ours}, children={"a": "b", "b": "c"})
    assert remove_images(engine.as_engine()) == 3
    stuck = Layered(images={"a": ours, "user's": {}}, children={"a": "user's"})
    with pytest.raises(EngineError, match="dependent child"):
        remove_images(stuck.as_engine())


def test_a_base_image_goes_only_if_it_came_with_the_build_and_nobody_uses_it() -> None:
    engine = ModelEngine(images={"mine:1": {}})
    ensure_image(engine.as_engine(), "mine:1", Silent())
    ensure_image(engine.as_engine(), "fetched:1", Silent())
    ensure_image(engine.as_engine(), "shared:1", Silent())
    engine.images_in_use.add("shared:1")
    assert remove_images(engine.as_engine()) == 4
    assert set(engine.images) == {"mine:1", "shared:1"}
