"""The chart as a picture (SVG) and as one page (HTML) that asks nothing of any other place."""

from __future__ import annotations

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
    return render("map/picture.svg.j2", layout=lay_out(chart), style=template_text("map/style.css"))


def render_page(chart: Chart) -> str:
    """The page: the picture, a search field, and addresses that are copied by a click."""
    picture = render("map/picture.svg.j2", layout=lay_out(chart), style=None)
    style = template_text("map/style.css")
    return render("map/page.html.j2", chart=chart, picture=picture, style=style)
