"""How this machine comes to ask macnet for names of the domain, and only for those."""

from macnet.names.system.base import (
    NamesSystem,
    RootCommand,
    RunAsRoot,
    SystemEntry,
    SystemState,
    SystemStatus,
    apply_command,
)
from macnet.names.system.choose import choose_system
from macnet.names.system.linux import fill_interface

__all__ = [
    "NamesSystem",
    "RootCommand",
    "RunAsRoot",
    "SystemEntry",
    "SystemState",
    "SystemStatus",
    "apply_command",
    "choose_system",
    "fill_interface",
]
