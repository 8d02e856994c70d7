"""The tunnel between this machine and the engine: observe -> decide -> converge.

`observe` looks at both sides, `decide` makes the plan (pure), `converge` carries it out, `status`
reports, `results` is what commands show, and `tunnel` has the commands themselves.
"""

from macnet.tunnel.decide import Action, Plan, PlanReport
from macnet.tunnel.observe import Host, Observed
from macnet.tunnel.results import (
    ClientReport,
    DownResult,
    EngineReport,
    HelperReport,
    RemapReport,
    RouteChanges,
    Setting,
    SetupResult,
    Status,
)
from macnet.tunnel.status import EngineFound, report_status
from macnet.tunnel.tunnel import Tunnel

__all__ = [
    "Action",
    "ClientReport",
    "DownResult",
    "EngineFound",
    "EngineReport",
    "HelperReport",
    "Host",
    "Observed",
    "Plan",
    "PlanReport",
    "RemapReport",
    "RouteChanges",
    "Setting",
    "SetupResult",
    "Status",
    "Tunnel",
    "report_status",
]
