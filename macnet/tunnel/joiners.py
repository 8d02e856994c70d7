"""Joiners: which there are to be (pure), and how they come and go."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from macnet.engine import Container
from macnet.errors import EngineError, EnginePermission, EngineUnreachable
from macnet.helper import Helper, RoutesApplied
from macnet.helper.spec import (
    LABEL_DONOR,
    LABEL_LANE,
    LABEL_SPEC,
    MAX_JOINERS,
    HelperRoutes,
    HelperSpec,
    Joiner,
    container_name,
    joiner_container,
)
from macnet.models import Donor
from macnet.networks import Selected
from macnet.progress import Progress
from macnet.tunnel.results import JoinedReport

#: Seconds for the relay to attach the lanes of joiners.
JOIN_TIMEOUT_S = 5.0
#: Why a donor has no joiner where there are as many as there can be.
TOO_MANY = f"no more than {MAX_JOINERS} containers can lend their network at once"


@dataclass(frozen=True, slots=True)
class JoinersPlan:
    """The joiners that there are to be, those of them that have to be made, and those to go.

    One that is to go keeps its lane's number until it has gone, so that at no moment a number
    leads into another namespace than what is allowed through it.
    """

    wanted: tuple[Joiner, ...] = ()
    made: tuple[Joiner, ...] = ()
    gone: tuple[Container, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.made or self.gone)


def plan_joiners(
    spec: HelperSpec, networks: Iterable[Selected], present: Iterable[Container]
) -> JoinersPlan:
    """One joiner for each donor of what is routed, with the number of a lane.

    One that runs in the namespace of its donor's present run stays, with its number.
    """
    by_id: dict[str, Donor] = {}
    for item in networks:
        if item.routed and item.network.further is not None and item.network.further.donor:
            by_id.setdefault(item.network.further.donor.container_id, item.network.further.donor)
    kept: dict[str, Joiner] = {}
    present = tuple(present)
    for container in present:
        donor = by_id.get(container.labels.get(LABEL_DONOR, ""))
        number = container.labels.get(LABEL_LANE, "")
        if donor is None or not number.isdigit() or donor.container_id in kept:
            continue
        joiner = Joiner(int(number), donor)
        wanted = joiner_container(spec, joiner).labels[LABEL_SPEC]
        if container.running and container.labels.get(LABEL_SPEC) == wanted:
            kept[donor.container_id] = joiner
    lacking = [donor for identity, donor in by_id.items() if identity not in kept]
    made = tuple(_numbered(lacking, present))
    lanes = {str(joiner.lane) for joiner in (*kept.values(), *made)}
    return JoinersPlan(
        wanted=tuple(sorted((*kept.values(), *made), key=lambda joiner: joiner.lane)),
        made=made,
        gone=tuple(one for one in present if one.labels.get(LABEL_LANE) not in lanes),
    )


def _numbered(donors: Iterable[Donor], present: Iterable[Container]) -> Iterator[Joiner]:
    """A joiner for each of these donors that there is a number for.

    Where all others are taken, the number of the donor's own joiner, of an earlier run: that one
    is replaced, and what its lane may still lead into is the same container's.
    """
    own = {one.labels.get(LABEL_DONOR): one.labels.get(LABEL_LANE) for one in present}
    used = {one.labels.get(LABEL_LANE) for one in present}
    free = iter([number for number in range(1, MAX_JOINERS + 1) if str(number) not in used])
    for donor in donors:
        number = next(free, None) or own.get(donor.container_id)
        if number is not None and str(number).isdigit():
            yield Joiner(int(number), donor)


def reached(networks: Iterable[Selected], joiners: Iterable[Joiner]) -> tuple[Selected, ...]:
    """The networks, without those whose donor could get no joiner."""
    donors = {joiner.donor for joiner in joiners}

    def lacks(item: Selected) -> bool:
        further = item.network.further
        return item.routed and further is not None and further.donor not in {None, *donors}

    return tuple(
        replace(item, subnets=(), reason=TOO_MANY) if lacks(item) else item for item in networks
    )


@dataclass(frozen=True, slots=True)
class Routed:
    """What setting the server's routes did; ``problems`` are joiners that could not be made."""

    applied: RoutesApplied
    joined: tuple[JoinedReport, ...]
    problems: tuple[str, ...]
    changed: bool


def set_routes(
    helper: Helper,
    spec: HelperSpec,
    routes: HelperRoutes,
    joiners: JoinersPlan,
    progress: Progress,
) -> Routed:
    """Make the joiners that are lacking, then the server's lists, and take the others away.

    In this order what the lists name is reached through the right namespace, or not at all.
    """
    joined: list[JoinedReport] = []
    problems: list[str] = []
    for joiner in joiners.made:
        donor = joiner.donor.container
        try:
            helper.make_joiner(spec, joiner)
        except (EngineUnreachable, EnginePermission):
            raise
        except EngineError as error:  # such as a donor that has ended since
            problems.append(f"cannot join the network of {donor}: {error}")
            progress.warn(problems[-1])
            continue
        through = tuple(net for net, one in routes.lanes if one == joiner)
        joined.append(JoinedReport(container_name(spec.name, joiner.role), donor, through))
    applied = helper.apply_routes(spec, routes)
    for container in joiners.gone:
        helper.remove_joiner(container)
    changed = applied.allowed or applied.pushed or bool(joined or joiners.gone)
    return Routed(applied, tuple(joined), tuple(problems), changed)


def await_lanes(helper: Helper, joiners: JoinersPlan, progress: Progress) -> tuple[str, ...]:
    """Wait until the relay has the joiners' lanes; a sentence for each that it has not."""
    until = time.monotonic() + JOIN_TIMEOUT_S
    waiting = list(joiners.wanted)
    while waiting := [one for one in waiting if not helper.has_joined(one)]:
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    problems = tuple(
        f"the relay has no way into the network of {joiner.donor.container} yet: "
        "`macnet logs relay` tells why"
        for joiner in waiting
    )
    for problem in problems:
        progress.warn(problem)
    return problems
