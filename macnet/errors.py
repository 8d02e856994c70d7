"""Every error that macnet reports to a person.

::

    MacnetError                      1  (never raised itself)
    ├── WrongUsage                   2  wrong use of the command line
    ├── EngineError                  3  engine unavailable
    │   ├── EngineUnreachable           no socket, no answer
    │   ├── EnginePermission            the socket refuses this user
    │   ├── EngineRefused               the engine will not run the helper
    │   ├── CarrierFailed               the way to an engine on another machine
    │   │   ├── CarrierDown                 no ssh to that machine runs
    │   │   ├── CarrierUnreachable          that machine does not answer
    │   │   ├── CarrierHostKey              its host key is unknown, or another one
    │   │   ├── CarrierDenied               it does not let this user in
    │   │   └── CarrierForbidden            its ssh server forbids forwarding
    │   ├── ImageBuildFailed            the helper image did not build
    │   └── ImageMissing                it is not there, and nothing may be downloaded
    ├── ConfigError                  4  config or bad input
    │   ├── BadValue                    an option, a key or a variable has a bad value
    │   ├── UnknownContext              no Docker context of that name
    │   ├── UnknownTarget               no container, network or address of that name
    │   └── StateError                  the state directory cannot be read or written
    ├── ConflictError                5  network conflict
    │   ├── PortTaken                   another program holds the tunnel's port
    │   ├── SubnetConflict              two networks want the same addresses
    │   └── ForeignContainer            a container of our name is not ours
    ├── PrivilegeError               6  administrator rights are needed
    ├── ClientError                  7  the VPN client
    │   ├── ClientMissing               it is not installed
    │   └── ClientFailed                it failed
    │       ├── ClientDenied            macOS does not let macnet control it
    │       ├── ClientRefused           it does not take the profile
    │       ├── ClientBusy              it waits for an answer in a dialog
    │       └── ClientTimeout           it did not connect in time
    ├── TunnelError                  8  the tunnel
    │   ├── NotSetUp                    there is no tunnel yet
    │   ├── Busy                        another macnet is changing it
    │   ├── AgentFailed                 it cannot be started at login
    │   ├── HostFailed                  this machine does not tell its interfaces
    │   ├── HelperFailed                server or relay do not run or answer
    │   └── TunnelTimeout               no traffic in time
    └── ChecksFailed                 9  `macnet check` found a failure

Exit code 1 is a bug (its traceback is shown), 130 is an interruption by Ctrl-C.
"""

from __future__ import annotations

from typing import ClassVar


class MacnetError(Exception):
    """What went wrong, in one sentence, and what to do about it.

    ``code`` is the stable machine-readable name; ``exit_code`` the process's exit status;
    ``stage`` is filled in by the tunnel with the step that failed.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        """Keep the message, an optional hint (what to do) and detail (for example a log)."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail
        self.stage: str | None = None

    def __str__(self) -> str:
        return f"{self.stage}: {self.message}" if self.stage else self.message


class WrongUsage(MacnetError):
    """Wrong use of the command line."""

    code = "usage"
    exit_code = 2


class EngineError(MacnetError):
    """The Docker engine is not available or does not do what is asked."""

    code = "engine"
    exit_code = 3


class EngineUnreachable(EngineError):
    """No socket, or nobody answers on it."""

    code = "engine_unreachable"


class EnginePermission(EngineError):
    """The socket exists, but this user may not use it."""

    code = "engine_permission"


class EngineRefused(EngineError):
    """The engine will not run a container in the way that the helper needs."""

    code = "engine_refused"


class CarrierFailed(EngineError):
    """The connection to an engine on another machine failed."""

    code = "carrier_failed"


class CarrierDown(CarrierFailed):
    """No ssh of macnet's to the engine's machine runs."""

    code = "carrier_down"


class CarrierUnreachable(CarrierFailed):
    """The engine's machine does not answer: it is off, asleep, or has another name."""

    code = "carrier_unreachable"


class CarrierHostKey(CarrierFailed):
    """The host key of the engine's machine is not known here, or is another one than before."""

    code = "carrier_host_key"


class CarrierDenied(CarrierFailed):
    """The engine's machine does not let this user in."""

    code = "carrier_denied"


class CarrierForbidden(CarrierFailed):
    """The ssh server of the engine's machine forbids forwarding."""

    code = "carrier_forbidden"


class ImageBuildFailed(EngineError):
    """The helper image did not build; ``detail`` holds the end of the build log."""

    code = "image_build_failed"


class ImageMissing(EngineError):
    """The engine has no helper image, and with `--offline` it cannot be built either."""

    code = "image_missing"


class ConfigError(MacnetError):
    """Configuration or other input is not usable."""

    code = "config"
    exit_code = 4


class BadValue(ConfigError):
    """An option, a configuration key or an environment variable has a bad value."""

    code = "bad_value"


class UnknownContext(ConfigError):
    """There is no Docker context of that name."""

    code = "unknown_context"


class UnknownTarget(ConfigError):
    """No container, network or address of that name."""

    code = "unknown_target"


class StateError(ConfigError):
    """The state directory cannot be read or written."""

    code = "state"


class ConflictError(MacnetError):
    """Something else already uses what the tunnel wants."""

    code = "conflict"
    exit_code = 5


class PortTaken(ConflictError):
    """Another program listens on the tunnel's port."""

    code = "port_taken"


class SubnetConflict(ConflictError):
    """Two networks want the same addresses."""

    code = "subnet_conflict"


class ForeignContainer(ConflictError):
    """A container has the helper's name but not its label: it is not ours to touch."""

    code = "foreign_container"


class PrivilegeError(MacnetError):
    """Administrator rights are needed and were not given."""

    code = "privilege"
    exit_code = 6


class ClientError(MacnetError):
    """The VPN client on this machine failed."""

    code = "client"
    exit_code = 7


class ClientMissing(ClientError):
    """The VPN client is not installed."""

    code = "client_missing"


class ClientFailed(ClientError):
    """The VPN client failed."""

    code = "client_failed"


class ClientDenied(ClientFailed):
    """The operating system does not let macnet control the VPN client."""

    code = "client_denied"


class ClientRefused(ClientFailed):
    """The VPN client, or its user, does not take the profile."""

    code = "client_refused"


class ClientBusy(ClientFailed):
    """The VPN client does not answer: it waits for its user in a dialog."""

    code = "client_busy"


class ClientTimeout(ClientFailed):
    """The VPN client did not connect or disconnect in time."""

    code = "client_timeout"


class TunnelError(MacnetError):
    """The tunnel is missing, down, or does not work."""

    code = "tunnel"
    exit_code = 8


class NotSetUp(TunnelError):
    """There is no tunnel yet."""

    code = "not_set_up"


class Busy(TunnelError):
    """Another macnet is changing the tunnel right now."""

    code = "busy"


class AgentFailed(TunnelError):
    """The system does not start or end macnet's agent."""

    code = "agent_failed"


class HostFailed(TunnelError):
    """This machine does not tell which interfaces it has."""

    code = "host_failed"


class HelperFailed(TunnelError):
    """The server or the relay does not run or does not answer."""

    code = "helper_failed"


class TunnelTimeout(TunnelError):
    """The tunnel came up, but carries no traffic in time."""

    code = "tunnel_timeout"


class ChecksFailed(MacnetError):
    """At least one check failed."""

    code = "checks_failed"
    exit_code = 9
