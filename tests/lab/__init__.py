"""A lab for end-to-end tests: a Mac side and real engines in namespaces of one machine."""

from .engine import Engine
from .errors import CommandError, LabError
from .images import BASE_IMAGE, PASTA_IMAGE, make_pasta_image
from .lab import Lab
from .sample import (
    HTTP_PORT,
    PUBLISHED_PORT,
    REDIS_ADDRESS,
    REDIS_PORT,
    SINK_PORT,
    UDP_ECHO_PORT,
    Sample,
)
from .status import LabStatus

__all__ = [
    "BASE_IMAGE",
    "HTTP_PORT",
    "PASTA_IMAGE",
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
    "make_pasta_image",
]
