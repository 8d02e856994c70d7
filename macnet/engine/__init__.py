"""The Docker engine: the only package that imports the Docker SDK.

`api` calls, `events` follows, `facts` holds what comes back, `archive` packs files, and
`translate` keeps foreign exceptions inside.
"""

from macnet.engine.api import Engine, connect_engine
from macnet.engine.events import EngineEvent, EventStream
from macnet.engine.facts import Container, ContainerSpec, EngineInfo, ExecResult

__all__ = [
    "Container",
    "ContainerSpec",
    "Engine",
    "EngineEvent",
    "EngineInfo",
    "EventStream",
    "ExecResult",
    "connect_engine",
]
