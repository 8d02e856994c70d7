"""The chart as a picture (SVG) and as one page (HTML) that asks nothing of any other place."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from macnet.chart.chart import Chart
from macnet.chart.layout import lay_out
from macnet.errors import BadValue
from macnet.render import render, template_text

_KINDS = (".html", ".svg")


def picture_kind(target: Path) -> str:
    """ ".html" or ".svg". Raises `BadValue` for another ending."""
    kind = target.suffix.lower()
    if kind not in _KINDS:
        raise BadValue(
            f"{target} ends with neither {' nor '.join(_KINDS)}",
            hint="the ending tells what to draw: map.html or map.svg",
        )
    return kind


def save_picture(chart: Chart, target: Path) -> None:
    """Write the chart to ``target`` in the kind that its ending names. Raises `BadValue`."""
    text = render_page(chart) if picture_kind(target) == ".html" else render_svg(chart)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadValue(
            f"cannot write {target}: {error.strerror}", hint="choose another place with --output"
        ) from error


def render_svg(chart: Chart) -> str:
    """The picture alone, with its own colours for light and dark."""
    style = template_text("map/colors.css") + template_text("map/picture.css")
    return render("map/picture.svg.j2", layout=lay_out(chart), style=style)


def render_page(chart: Chart, *, live: bool = False) -> str:
    """The page: fits any width, can be searched, and a click copies an address.

    A ``live`` one asks its own server for what follows (``events``), each time `render_main`.
    """
    return render(
        "map/page.html.j2",
        chart=chart,
        live=live,
        policy=page_policy(live=False),
        style=_style(),
        script=template_text("map/page.js"),
    )


def render_main(chart: Chart) -> str:
    """The part of the page that is the chart's."""
    return render("map/main.html.j2", chart=chart)


def page_policy(*, live: bool) -> str:
    """What the page may do (Content-Security-Policy): its own style and script, nothing else.

    That of a ``live`` one comes in the answer's head, where it can forbid more.
    """
    style, script = (_source(text) for text in (_style(), template_text("map/page.js")))
    return render("map/policy.j2", style=style, script=script, live=live)


def _style() -> str:
    return template_text("map/colors.css") + template_text("map/page.css")


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
