"""The helper image is built when its content is new, and removed when no tunnel uses it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from macnet.errors import EngineError
from macnet.helper import ensure_image, helper_image_tag
from macnet.helper.image import DEFAULT_BASE_IMAGE, helper_files, remove_images
from macnet.helper.spec import server_container
from macnet.progress import Silent
from tests.unit.helper.examples import SPEC
from tests.unit.helper.model import ModelEngine


def test_the_build_context() -> None:
    files = helper_files(DEFAULT_BASE_IMAGE)
    dockerfile = files["Dockerfile"][0].decode()
    assert f"FROM {DEFAULT_BASE_IMAGE}\n" in dockerfile
    copied = dockerfile.partition("COPY server.sh ")[2].split(" /usr/local", maxsplit=1)[0].split()
    assert {"install.sh", "server.sh", *copied} | {"Dockerfile"} == set(files)


def test_the_tag_follows_the_content() -> None:
    assert helper_image_tag(None) == helper_image_tag(DEFAULT_BASE_IMAGE)
    assert helper_image_tag("other:1") != helper_image_tag(None)


def test_the_image_is_built_once() -> None:
    engine = ModelEngine()
    tag, built = ensure_image(engine.as_engine(), None, Silent())
    assert (tag, built) == (helper_image_tag(None), True)
    assert ensure_image(engine.as_engine(), None, Silent()) == (tag, False)
    assert engine.log == ["build"]


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
