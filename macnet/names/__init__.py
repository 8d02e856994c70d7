"""Names of containers, answered on this machine: `redis.docker.test`.

`domain` says which domain a tunnel may have, `claims` and `zone` which names exist in it, `table`
what holds at this moment, and `answer` makes an answer's bytes of a question's: all of them pure.
`source` asks the engine, `server` listens on 127.0.0.1, and `system` makes this machine ask there.
Import `server` and `answer` late: dnspython takes a while to load.
"""

from macnet.names.domain import default_domain, parse_domain, probe_name
from macnet.names.view import NamesView, add_names, names_table
from macnet.names.zone import Name, Refused, Zone, build_zone

__all__ = [
    "Name",
    "NamesView",
    "Refused",
    "Zone",
    "add_names",
    "build_zone",
    "default_domain",
    "names_table",
    "parse_domain",
    "probe_name",
]
