"""How a number is written. Pure."""

from __future__ import annotations


def number(value: float) -> str:
    """Three figures that count, and no power of ten."""
    if value >= 100 or value == 0:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
