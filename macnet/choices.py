"""What may be chosen by name. Without heavy imports: the command line's help shows them."""

from __future__ import annotations

from enum import StrEnum


class CompLzo(StrEnum):
    """What ``comp-lzo`` says on both ends; OFF leaves the directive out."""

    NO = "no"
    YES = "yes"
    ADAPTIVE = "adaptive"
    OFF = "off"


class RoutesChoice(StrEnum):
    """What this host routes: each subnet, or the engine's whole address pools."""

    EXACT = "exact"
    POOLS = "pools"


class ClientChoice(StrEnum):
    """Which VPN client connects; NONE leaves that to the user."""

    AUTO = "auto"
    TUNNELBLICK = "tunnelblick"
    OPENVPN = "openvpn"
    NONE = "none"


class CarrierKind(StrEnum):
    """How the tunnel's port on the engine's machine is reached."""

    HERE = "here"
    SSH = "ssh"
    DIRECT = "direct"
