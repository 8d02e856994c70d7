"""The Docker engine: the only package that imports the Docker SDK.

`sdk` makes the SDK's client, `api` calls, `events` follows, `objects` holds what comes back,
`rootless` says which engines cannot be used, `archive` packs files, and `translate` keeps foreign
exceptions inside.
"""

from macnet.engine.api import Engine, connect_engine
from macnet.engine.events import EngineEvent, EventStream
from macnet.engine.objects import Container, ContainerSpec, EngineInfo, ExecResult
from macnet.engine.rootless import require_rootful, rootful_hint

__all__ = [
    "Container",
    "ContainerSpec",
    "Engine",
    "EngineEvent",
    "EngineInfo",
    "EventStream",
    "ExecResult",
    "connect_engine",
    "require_rootful",
    "rootful_hint",
]
