"""Reach Docker containers by IP address and name from a Mac."""

__version__ = "0.2.0"
