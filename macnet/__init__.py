"""Reach Docker containers by their IP from a Mac."""

__version__ = "0.1.0"
