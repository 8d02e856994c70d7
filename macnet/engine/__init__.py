"""The Docker engine: the only package that imports the Docker SDK.

`api` calls, `facts` holds what comes back, `translate` keeps foreign exceptions inside.
"""

from macnet.engine.api import Engine, connect_engine
from macnet.engine.facts import Container, ContainerSpec, EngineInfo, ExecResult

__all__ = [
    "Container",
    "ContainerSpec",
    "Engine",
    "EngineInfo",
    "ExecResult",
    "connect_engine",
]
