"""Checks of names: is this system told, does macnet answer, rightly, and is it asked?

None of them runs while names are off.
"""

from __future__ import annotations

import secrets

from netaddr import IPAddress

from macnet.checks.base import Finding, fail, ok, skip
from macnet.checks.beyond import ALWAYS
from macnet.checks.facts import Facts
from macnet.errors import MacnetError
from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.names import Name, build_zone, probe_name
from macnet.names.claims import Kind
from macnet.names.client import Reply
from macnet.names.ports import with_udp
from macnet.names.system import SystemState, fill_interface
from macnet.names.upstream import list_upstreams
from macnet.tunnel.decide import describe_owner
from macnet.tunnel.naming import list_containers

_PROBE = (IPAddress("127.0.0.1"),)


def on(facts: Facts) -> bool:
    """Whether names are on; a record that cannot be read has a check of its own."""
    try:
        return facts.state.names is not None
    except MacnetError:
        return False


def _probe(domain: str) -> str:
    """A name of a domain that no cache knows, whose address is 127.0.0.1."""
    return probe_name(domain, secrets.token_hex(16))


def file(facts: Facts) -> Finding:
    """Whether this system is told to ask macnet, by macnet's own file with the right port."""
    status = facts.names_system.status(facts.names_entry)
    if status.state is SystemState.FOREIGN:
        fix = f"`sudo rm {status.path}`, or another domain: `macnet names on --domain DOMAIN`"
        if facts.names_entry.cluster:
            fix += "; without the cluster's: `macnet names on --no-cluster`"
        return fail(status.text, fix)
    if status.state in {SystemState.ABSENT, SystemState.OUTDATED}:
        return fail(status.text, "`macnet names on`")
    if status.state is SystemState.MANUAL:
        return ok("this system has no file of macnet's: you tell it, as `macnet names on` says")
    return ok(status.text)


def port(facts: Facts) -> Finding:
    """Whether a macnet that watches answers at the port, for each domain."""
    entry = facts.names_entry
    where = f"127.0.0.1:{entry.port}"
    for domain in entry.domains:
        reply = facts.resolver.ask_port(_probe(domain), entry.port)
        if reply.addresses != _PROBE:
            return _not_answering(facts, where, domain, reply)
    return ok(f"{where} answers for {' and '.join(entry.domains)}")


def _not_answering(facts: Facts, where: str, domain: str, reply: Reply) -> Finding:
    entry = facts.names_entry
    owner = with_udp(facts.tunnel.host.port_owner)(entry.port)
    if owner is None:
        return fail(
            f"nobody answers on {where}: `macnet watch` does not run",
            "`macnet agent install`, or `macnet watch` in another terminal",
        )
    said = reply.problem or "it gives " + " ".join(map(str, reply.addresses))
    return fail(
        f"{describe_owner(owner)} has {where} and does not answer for {domain}: {said}",
        "end that program, or `macnet names on --port` with another port",
    )


def direct(facts: Facts) -> list[Finding]:
    """Whether the port gives a container's addresses, as the engine has them now.

    And a cluster's, as its resolver has them.
    """
    found = [_direct_cluster(facts)] if facts.names_entry.cluster else []
    for name in _known(facts):
        version = name.addresses[0].version
        wanted = tuple(sorted(a for a in name.addresses if a.version == version))
        reply = facts.resolver.ask_port(name.name, facts.names_entry.port, version=version)
        if reply.addresses == wanted:
            found.append(ok(f"the port says {_words(wanted)}", subject=name.name))
            continue
        said = reply.problem or _words(reply.addresses)
        found.append(
            fail(
                f"the port says {said}, the engine {_words(wanted)}",
                "end `macnet watch` and start it again; it says what keeps it from the engine",
                subject=name.name,
            )
        )
    return found or [skip("no running container has a name with an address")]


def _direct_cluster(facts: Facts) -> Finding:
    owner = facts.state.names.cluster if facts.state.names is not None else None
    entry = facts.names_entry
    upstreams = list_upstreams(facts.selected, entry.domain, owner)
    upstream = next((one for one in upstreams if one.takes(CLUSTER_DOMAIN)), None)
    name = f"{ALWAYS}.{CLUSTER_DOMAIN}"
    if upstream is None:
        return fail(
            f"the cluster {owner}, which has {CLUSTER_DOMAIN}, is not reached",
            "`macnet setup --also kubernetes`, or without it: `macnet names on --no-cluster`",
            subject=name,
        )
    version = upstream.server.version
    straight = facts.resolver.ask_server(name, upstream.server, version=version)
    if not straight.addresses:
        return skip(f"the resolver of the cluster {owner} does not answer", subject=name)
    wanted = tuple(sorted(seen for a in straight.addresses if (seen := upstream.seen(a))))
    reply = facts.resolver.ask_port(name, entry.port, version=version)
    said = reply.problem or _words(reply.addresses)
    if reply.addresses == wanted:
        return ok(f"the port says {said}", subject=name)
    return fail(
        f"the port says {said}, the cluster {_words(wanted)}",
        "end `macnet watch` and start it again",
        subject=name,
    )


def _known(facts: Facts) -> list[Name]:
    """The names of the containers that the user named, else of any one.

    Without aliases, for which each container would have to be inspected.
    """
    entry, rows = facts.names_entry, list_containers(facts.engine)
    zone = build_zone(entry.domain, facts.selected, rows, {})
    asked = {target.container for target in facts.targets} if facts.requests else None
    known = [
        name
        for name in zone.names.values()
        if name.kind is Kind.CONTAINER
        and name.addresses
        and (asked is None or asked & set(name.containers))
    ]
    return known if asked is not None else known[:1]


def system(facts: Facts) -> Finding:
    """Whether a program that looks a name up gets macnet's answer."""
    for domain in facts.names_entry.domains:
        reply = facts.resolver.ask_system(_probe(domain))
        if reply.addresses != _PROBE:
            return _not_asking(facts, domain, reply)
    return ok(f"this system asks macnet for {' and '.join(facts.names_entry.domains)}")


def _not_asking(facts: Facts, domain: str, reply: Reply) -> Finding:
    said = reply.problem or f"it got {_words(reply.addresses)}"
    told = facts.names_system.instructions(facts.names_entry)
    if told:
        told = fill_interface(told, _interface(facts))
    other = (
        "disconnect other VPN and DNS programs and try again; some versions of macOS pass over "
        "the file for such a domain: `macnet names on --domain docker.home.arpa`"
    )
    if domain == CLUSTER_DOMAIN:
        other = (
            "allow this terminal the local network, without which macOS looks up no name in "
            "`.local` (System Settings, Privacy & Security); on Linux, take `mdns4_minimal` out "
            "of the line `hosts` in /etc/nsswitch.conf"
        )
    return fail(
        f"the port answers, but this system does not ask it for {domain}: {said}",
        "; ".join(f"`{step}`" if step.startswith("sudo ") else step for step in told) or other,
    )


def _interface(facts: Facts) -> str | None:
    try:
        return facts.interface
    except MacnetError:
        return None


def _words(addresses: tuple[IPAddress, ...]) -> str:
    return " ".join(map(str, addresses))
