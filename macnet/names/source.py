"""Asks the engine for what names need, in as few calls as possible."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from macnet.engine import EngineEvent
from macnet.models import Network
from macnet.names.claims import Aliases, Json
from macnet.names.zone import Zone, build_zone
from macnet.networks import Selected, container_names, parse_networks

#: Seconds that one look spends on inspecting containers; the next look goes on from there.
INSPECT_S = 0.5

_ACTIONS = {
    "container": frozenset({"start", "die", "rename"}),
    "network": frozenset({"connect", "disconnect", "destroy"}),
}


def changes_names(event: EngineEvent) -> bool:
    """Whether an event can change names or their addresses."""
    return event.action in _ACTIONS.get(event.type, ())


class ZoneSource:
    """Looks at the engine when it is called. Use it from one thread at a time.

    Two listings serve any number of containers, but they leave aliases out, so each container is
    inspected once for each time that it was connected to a network or renamed.
    """

    def __init__(
        self,
        domain: str,
        *,
        list_networks: Callable[[], Sequence[Json]],
        list_containers: Callable[[], Sequence[Json]],
        inspect: Callable[[str], Json | None],
        select: Callable[[tuple[Network, ...]], tuple[Selected, ...]],
        owner: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``list_networks`` is ``GET /networks``, ``list_containers`` ``GET /containers/json``.

        ``inspect`` is ``GET /containers/ID/json``, None for a container that is gone. ``select``
        decides which networks are routed; it is called when the networks have changed. ``owner`` is
        as in `Zone`.
        """
        self._domain = domain
        self._list_networks = list_networks
        self._list_containers = list_containers
        self._inspect = inspect
        self._select = select
        self._owner = owner
        self._clock = clock
        self._selected: tuple[Selected, ...] | None = None
        self._judged: tuple[Network, ...] = ()
        self._aliases: dict[tuple[str, ...], Aliases] = {}

    def forget_selection(self) -> None:
        """Decide anew which networks are routed, as this host's own networks may have changed."""
        self._selected = None

    def __call__(self) -> Zone:
        """The zone of this moment. Raises what the callables raise, `EngineError` above all."""
        # In this order: the network of every container that is listed is there as well.
        containers = self._list_containers()
        networks = parse_networks(self._list_networks(), containers)
        selected = self._select_cached(networks)
        aliases, complete = self._find_aliases(containers)
        return build_zone(
            self._domain, selected, containers, aliases, complete=complete, owner=self._owner
        )

    def _select_cached(self, networks: tuple[Network, ...]) -> tuple[Selected, ...]:
        bare = tuple(replace(network, endpoints=()) for network in networks)
        if self._selected is None or self._judged != bare:
            self._selected, self._judged = self._select(networks), bare
        # What is no network of the engine's has no endpoints of its own.
        points = {network.id: network.endpoints for network in networks}
        return tuple(
            replace(item, network=replace(item.network, endpoints=points.get(item.network.id, ())))
            for item in self._selected
        )

    def _find_aliases(self, containers: Sequence[Json]) -> tuple[Mapping[str, Aliases], bool]:
        """The aliases by container id, and whether those of all containers are known."""
        deadline = self._clock() + INSPECT_S
        known: dict[tuple[str, ...], Aliases] = {}
        complete = True
        for row in containers:
            key = _endpoints_key(row)
            if (aliases := self._aliases.get(key)) is not None:
                known[key] = aliases
            elif self._clock() < deadline:
                known[key] = parse_aliases(self._inspect(str(row["Id"])) or {})
            else:
                complete = False
        self._aliases = known
        return {key[0]: aliases for key, aliases in known.items()}, complete


def _endpoints_key(row: Json) -> tuple[str, ...]:
    """What changes with each connection of a container to a network, and with its name.

    A container's name is among the ``DNSNames`` that inspecting it tells. On Podman, which has
    no ids of endpoints, the network or the address changes.
    """
    settings: Mapping[str, Json] = (row.get("NetworkSettings") or {}).get("Networks") or {}
    parts = ("EndpointID", "IPAddress", "GlobalIPv6Address")
    points = (
        " ".join((name, *(str(item.get(part)) for part in parts)))
        for name, item in settings.items()
    )
    return str(row["Id"]), container_names(row)[0], *sorted(points)


def parse_aliases(container: Json) -> Aliases:
    """The names of a container in Docker's own DNS, as `Aliases` (``GET /containers/ID/json``).

    ``DNSNames`` is of API 1.44 and later; before, ``Aliases`` holds them, but not the container's
    name.
    """
    settings: Mapping[str, Json] = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return {
        str(endpoint.get("NetworkID") or ""): tuple(
            str(name) for name in endpoint.get("DNSNames") or endpoint.get("Aliases") or ()
        )
        for endpoint in settings.values()
    }
