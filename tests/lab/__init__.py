"""A lab for end-to-end tests: a Mac side and real Docker engines in network namespaces of one Linux machine."""

from .engine import Engine
from .errors import CommandError, LabError
from .images import BASE_IMAGE
from .lab import Lab, LabStatus
from .sample import (
    HTTP_PORT,
    PUBLISHED_PORT,
    REDIS_ADDRESS,
    REDIS_PORT,
    SINK_PORT,
    UDP_ECHO_PORT,
    Sample,
)

__all__ = [
    "BASE_IMAGE",
    "HTTP_PORT",
    "PUBLISHED_PORT",
    "REDIS_ADDRESS",
    "REDIS_PORT",
    "SINK_PORT",
    "UDP_ECHO_PORT",
    "CommandError",
    "Engine",
    "Lab",
    "LabError",
    "LabStatus",
    "Sample",
]
