"""The tunnel between this machine and the engine: what is wanted, and making it so.

`facts` looks, `plan` decides (pure), `tunnel` acts, `results` is what commands show.
"""

from macnet.tunnel.facts import Facts, Surroundings
from macnet.tunnel.plan import Action, Plan, plan_tunnel
from macnet.tunnel.results import (
    ClientReport,
    DownResult,
    HelperReport,
    RouteChanges,
    SetupResult,
    Status,
)
from macnet.tunnel.tunnel import Tunnel

__all__ = [
    "Action",
    "ClientReport",
    "DownResult",
    "Facts",
    "HelperReport",
    "Plan",
    "RouteChanges",
    "SetupResult",
    "Status",
    "Surroundings",
    "Tunnel",
    "plan_tunnel",
]
