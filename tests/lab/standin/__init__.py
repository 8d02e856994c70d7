"""A stand-in Tunnelblick for the lab's Mac side: an ``osascript`` that plays the application."""

from .behaviour import Behaviour
from .standin import Standin

__all__ = ["Behaviour", "Standin"]
