"""The tunnel between this machine and the engine: what is wanted, and making it so.

`facts` looks, `plan` decides (pure), `apply` acts, `status` reports, `results` is what commands
show, and `tunnel` is the front of it all.
"""

from macnet.tunnel.facts import Facts, Surroundings
from macnet.tunnel.plan import Action, Plan, plan_tunnel
from macnet.tunnel.results import (
    ClientReport,
    DownResult,
    EngineReport,
    FollowResult,
    HelperReport,
    RemapReport,
    RouteChanges,
    Setting,
    SetupResult,
    Status,
)
from macnet.tunnel.status import report_status
from macnet.tunnel.tunnel import Tunnel

__all__ = [
    "Action",
    "ClientReport",
    "DownResult",
    "EngineReport",
    "Facts",
    "FollowResult",
    "HelperReport",
    "Plan",
    "RemapReport",
    "RouteChanges",
    "Setting",
    "SetupResult",
    "Status",
    "Surroundings",
    "Tunnel",
    "plan_tunnel",
    "report_status",
]
