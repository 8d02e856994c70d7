"""What can go wrong, what heals it, and what `macnet check` says meanwhile: data, no test.

`test_faults.py` breaks each thing and holds it to its row; docs/faults.md is made of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

BY_ITSELF = "by itself"
STAYS_UP = "nothing to heal: traffic goes on"


@dataclass(frozen=True)
class Fault:
    """One row.

    ``heals`` is BY_ITSELF, STAYS_UP or a command; ``within_s`` bounds it in seconds. ``check`` is
    the id of the one check that fails meanwhile, None where none does or there is no time to ask.
    """

    id: str
    what: str
    heals: str
    within_s: int
    check: str | None = None
    note: str = ""


FAULTS = (
    Fault("server-killed", "The server's process is killed (kill -9)", BY_ITSELF, 3),
    Fault("relay-killed", "The relay's process is killed", BY_ITSELF, 3),
    Fault("engine-killed", "The engine is killed and started again", BY_ITSELF, 30),
    Fault(
        "client-killed",
        "The openvpn client is killed",
        "macnet connect",
        5,
        "client.connected",
        "Tunnelblick starts its own again",
    ),
    Fault(
        "client-asleep",
        "The client is paused for 90 s (the Mac sleeps)",
        BY_ITSELF,
        10,
        note="counted from when it goes on",
    ),
    Fault(
        "engine-asleep",
        "The engine is paused for 90 s",
        STAYS_UP,
        0,
        "engine.reachable",
        "containers and helper run on without it",
    ),
    Fault(
        "server-removed", "The server's container is removed", "macnet setup", 10, "helper.server"
    ),
    Fault("relay-removed", "The relay's container is removed", "macnet setup", 10, "helper.relay"),
    Fault(
        "relay-removed-watched",
        "The relay is removed while `macnet watch` runs",
        BY_ITSELF,
        10,
    ),
    Fault(
        "port-taken",
        "Another program has taken the tunnel's port after a restart",
        "macnet setup --port PORT",
        20,
        "client.connected",
    ),
    Fault(
        "image-deleted",
        "The helper image is deleted",
        STAYS_UP,
        0,
        note="the next `macnet setup` builds it again",
    ),
    Fault(
        "clock-jumps",
        "The clock jumps by a day while `macnet watch` runs",
        STAYS_UP,
        0,
        note="watch takes a look and goes on",
    ),
    Fault(
        "state-wiped",
        "macnet's files are wiped while the tunnel is up",
        "macnet setup",
        20,
        "tunnel.setup",
        "traffic goes on until then",
    ),
    Fault(
        "two-setups",
        "Two setups run at once",
        STAYS_UP,
        0,
        note="the later one says so and ends with 8",
    ),
    Fault(
        "network-removed",
        "A routed network is removed while traffic runs on another",
        STAYS_UP,
        0,
        note="its route stays in the profile until `macnet regenerate`",
    ),
)


def table() -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| What happens | What heals it | Within | `macnet check` says meanwhile | |",
        "|---|---|---|---|---|",
    ]
    for row in FAULTS:
        heals = row.heals if row.heals in {BY_ITSELF, STAYS_UP} else f"`{row.heals}`"
        within = f"{row.within_s} s" if row.within_s else "-"
        check = f"`{row.check}`" if row.check else "-"
        lines.append(f"| {row.what} | {heals} | {within} | {check} | {row.note} |")
    return "\n".join(lines) + "\n"
