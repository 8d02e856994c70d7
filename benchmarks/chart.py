"""Results as an SVG bar chart that is readable on light and on dark pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.table import WAYS
from benchmarks.text import number

_WIDTH, _LABEL, _VALUE = 760, 130, 120
_BAR, _GAP, _HEAD, _PANEL_GAP = 16, 5, 24, 18
_STYLE = """\
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--text); }
.title { font-weight: 600; }
.note { fill: var(--quiet); }
.page { fill: var(--page); }
.classic { fill: var(--classic); }
.macnet { fill: var(--macnet); }
.published { fill: var(--published); }
.wireguard { fill: var(--wireguard); }
svg { --page: #ffffff; --text: #1f2328; --quiet: #59636e;
      --classic: #9aa4af; --macnet: #0969da; --published: #c7d0d9;
      --wireguard: #bf8700; }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --text: #e6edf3; --quiet: #9198a1;
        --classic: #6e7681; --macnet: #4493f8; --published: #3d444d;
        --wireguard: #9e6a03; }
}"""


@dataclass(frozen=True)
class Panel:
    """Bars of one metric: way -> value."""

    title: str
    unit: str
    more: bool
    values: Mapping[str, float]


def draw(panels: Sequence[Panel], title: str) -> str:
    """The chart, each panel with a scale of its own."""
    parts: list[str] = []
    top = 30
    for panel in panels:
        better = "more is better" if panel.more else "less is better"
        heading = f"{panel.title}, {panel.unit}"
        parts.append(
            f'<text x="16" y="{top + 14}"><tspan class="title">{escape(heading)}</tspan>'
            f'<tspan class="note" dx="8">{better}</tspan></text>'
        )
        top += _HEAD
        greatest = max(panel.values.values())
        for way, value in panel.values.items():
            width = max(1.0, value / greatest * (_WIDTH - _LABEL - _VALUE - 32))
            middle = top + _BAR - 4
            parts += [
                f'<text x="16" y="{middle}">{escape(WAYS[way])}</text>',
                f'<rect class="{way}" x="{_LABEL}" y="{top}" width="{width:.1f}" '
                f'height="{_BAR}" rx="2"/>',
                f'<text x="{_LABEL + width + 8:.1f}" y="{middle}">{number(value)}</text>',
            ]
            top += _BAR + _GAP
        top += _PANEL_GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" '
        f'width="{_WIDTH}" height="{top}" role="img" aria-label="{escape(title)}">'
    )
    page = f'<rect class="page" width="{_WIDTH}" height="{top}"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", page, *parts, "</svg>", ""])
