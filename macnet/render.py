"""Turns the files below ``templates/`` into text; the only module that imports jinja2."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from macnet.errors import MacnetError

if TYPE_CHECKING:
    from jinja2 import Environment


class TemplateError(MacnetError):
    """A template is missing, is broken or was not given a value: a bug of macnet's."""

    code = "template"


def render(template: str, **values: object) -> str:
    """Return ``template`` (a name like ``client/profile.ovpn.j2``) filled with ``values``.

    A name that the template uses and ``values`` lacks is a `TemplateError`, never an empty
    string: half a configuration must not reach a VPN client.
    """
    from jinja2 import TemplateError as JinjaError

    try:
        return _environment().get_template(template).render(values)
    except JinjaError as error:
        what = str(error) or type(error).__name__
        raise TemplateError(f"the template {template} does not render: {what}") from error


def template_text(name: str) -> str:
    """Return the text of the file ``name`` as it is, unrendered."""
    try:
        return (_folder() / name).read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(f"the template {name} cannot be read: {error.strerror}") from error


def template_names(folder: str) -> tuple[str, ...]:
    """Return the sorted names of the templates in ``folder``.

    They are the names that `render` and `template_text` take, so they begin with ``folder``.
    Dot files (an editor's or Finder's) are left out.
    """
    root = _folder() / folder
    names = sorted(
        f"{folder}/{path.name}"
        for path in (root.iterdir() if root.is_dir() else ())
        if path.is_file() and not path.name.startswith(".")
    )
    if not names:
        raise TemplateError(f"there are no templates in {folder}")
    return tuple(names)


def _folder() -> Path:
    """Return where the templates are: in the wheel they are part of the package."""
    package = Path(__file__).resolve().parent
    installed = package / "templates"
    # An editable install has no macnet/templates; the checkout's folder is beside the package.
    return installed if installed.is_dir() else package.parent / "templates"


@cache
def _environment() -> Environment:
    # Imported here, since most commands (and --help) render nothing and need not wait for it.
    from jinja2 import (
        Environment,
        FileSystemLoader,
        StrictUndefined,
        select_autoescape,
    )

    return Environment(
        loader=FileSystemLoader(_folder()),
        undefined=StrictUndefined,
        # Only in pictures and pages: in a configuration file "&amp;" would be wrong.
        autoescape=select_autoescape(("svg.j2", "html.j2"), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
