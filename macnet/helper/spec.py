"""What the helper's containers are: names, rights, files. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from netaddr import IPAddress, IPNetwork

from macnet import networks
from macnet.choices import CompLzo
from macnet.engine import ContainerSpec
from macnet.models import Donor
from macnet.networks import by_address
from macnet.pki import Pki
from macnet.profile import parse_profile_routes, route_directive
from macnet.render import render
from macnet.values import DEFAULT_TUNNEL, LOOPBACK

LABEL_ROLE = "io.macnet.role"
LABEL_NAME = networks.LABEL_NAME
#: Hash of the token: whose helper it is, of several users or MACNET_HOMEs on one engine.
LABEL_OWNER = "io.macnet.owner"
LABEL_HOME = "io.macnet.home"
#: Hash of everything that needs a new container when it changes.
LABEL_SPEC = "io.macnet.spec"
#: Of a joiner: the number of its lane, and the id of the container whose namespace it is in.
LABEL_LANE, LABEL_DONOR = "io.macnet.lane", "io.macnet.donor"
SERVER, RELAY, JOINER = "server", "relay", "joiner"
#: server.sh lets through to the ports of so many lanes beside the first one.
MAX_JOINERS = 15

SERVER_PORT = 1194
FOLDER = "/etc/macnet"
SUBNETS_FILE = f"{FOLDER}/subnets"
#: What of it is in effect: written by subnets.sh at its successful end.
APPLIED_FILE = f"{FOLDER}/subnets.applied"
#: What carries TCP, by what the engine's kernel has: "kernel" or "pasta" (server.sh).
LANE_FILE = "/run/macnet/lane"
CLIENT_FILE = f"{FOLDER}/ccd/DEFAULT"
#: In the relay, a file for each lane of a joiner that is there: its number, with the key in it.
WAYS_FOLDER = "/run/macnet/ways"
#: Without a limit on ICMP errors: Linux sends one per second, and without the relay every
#: further connection would hang instead of failing at once.
IPV4_SYSCTLS = {"net.ipv4.ip_forward": "1", "net.ipv4.icmp_ratelimit": "0"}
#: Left out where the engine's kernel has no IPv6.
IPV6_SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.icmp.ratelimit": "0",
}
#: Bytes that OpenVPN's connection to the client holds (least, first, most): so many that OpenVPN
#: hardly ever waits for room, as it reads nothing meanwhile (its mtcp.c). A receiver that is out
#: of memory takes no acknowledgements either (Linux 6.17 and later: tcp_sequence()), and with
#: both ends waiting the tunnel stands still for ever. Connections of the lane have their own bound.
TCP_SYSCTLS = {"net.ipv4.tcp_wmem": "4096 16777216 16777216"}
SCRIPTS = "/usr/local/lib/macnet"
#: The engine runs these to tell the containers' health, and so does macnet.
SERVER_HEALTH = ("sh", f"{SCRIPTS}/server-health.sh")
RELAY_HEALTH = ("sh", f"{SCRIPTS}/relay-health.sh")

Files = Mapping[str, tuple[bytes, int]]


@dataclass(frozen=True, slots=True)
class HelperSpec:
    """The wanted helper of one tunnel.

    ``token`` is a secret that only the two containers share: by it the relay knows the
    server's process from any other openvpn on the engine.
    """

    name: str
    image: str
    port: int
    tunnel_subnet: IPNetwork
    relay_subnet: IPNetwork
    tun_mtu: int
    comp_lzo: CompLzo
    token: str
    network: str
    pki_fingerprint: str
    #: Whose it is (`TunnelPaths.home`).
    home: str
    #: Where the engine's machine publishes the server's port.
    publish: str = LOOPBACK
    #: Whether that machine is another one, whose settings are not macnet's to change.
    foreign: bool = False

    def digest(self) -> str:
        """Equal wanted containers have equal digests, whichever version of macnet asks.

        The token goes in only as part of a hash.
        """
        containers = (server_container(self, labels={}), relay_container(self, labels={}))
        parts = [asdict(self), *map(asdict, containers), render_config(self)]
        text = json.dumps(parts, default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Joiner:
    """The container that holds a donor's namespace open, and the number of its lane."""

    lane: int
    donor: Donor

    @property
    def role(self) -> str:
        """As part of its name."""
        return f"{JOINER}-{self.lane}"

    @property
    def key(self) -> str:
        """Tells this run of this donor from any other: a restart makes another namespace."""
        text = f"{self.donor.container_id} {self.donor.started}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class HelperRoutes:
    """What may pass: the allowed subnets, remaps (seen -> real), and routes to push.

    ``lanes`` are the subnets that are reached through a joiner; the others are in the engine's
    own namespace.
    """

    subnets: tuple[IPNetwork, ...]
    pushed: tuple[IPNetwork, ...] = ()
    remaps: tuple[tuple[IPNetwork, IPNetwork], ...] = ()
    lanes: tuple[tuple[IPNetwork, Joiner], ...] = ()


@dataclass(frozen=True, slots=True)
class ServerRoutes:
    """What is in effect on a server: ``subnets`` are the allowed ones as this host sees them.

    Each of ``remaps`` is (seen, real), and ``seen`` is one of ``subnets``. Each of ``lanes`` is a
    subnet (also as seen) and the number of the joiner's lane by which it is reached.
    """

    subnets: tuple[IPNetwork, ...]
    remaps: tuple[tuple[IPNetwork, IPNetwork], ...]
    pushed: tuple[IPNetwork, ...]
    tunnel_subnet: IPNetwork | None
    lanes: tuple[tuple[IPNetwork, int], ...] = ()


def container_name(tunnel: str, role: str) -> str:
    """``macnet-server``; with a tunnel of another name ``macnet-NAME-server``."""
    middle = "" if tunnel == DEFAULT_TUNNEL else f"{tunnel}-"
    return f"{DEFAULT_TUNNEL}-{middle}{role}"


def server_address(tunnel_subnet: IPNetwork) -> IPAddress:
    """The server's address in the tunnel: the first."""
    return IPAddress(tunnel_subnet.first + 1, tunnel_subnet.version)


def client_address(tunnel_subnet: IPNetwork) -> IPAddress:
    """The client's address in the tunnel: the second; the server has the first."""
    return IPAddress(tunnel_subnet.first + 2, tunnel_subnet.version)


def client_address6(tunnel_subnet: IPNetwork) -> IPAddress:
    """The client's IPv6 address in the tunnel."""
    return IPAddress(tunnel_subnet6(tunnel_subnet).first + 2, 6)


def tunnel_subnet6(tunnel_subnet: IPNetwork) -> IPNetwork:
    """The tunnel's IPv6 prefix: unique local (RFC 4193), told apart by the IPv4 subnet."""
    subnet_id = tunnel_subnet.first & 0xFFFF_FFFF
    high, low = subnet_id >> 16, subnet_id & 0xFFFF
    return IPNetwork(f"fd6d:6163:{high:x}:{low:x}::/64")


def server_container(spec: HelperSpec, *, labels: Mapping[str, str] | None = None) -> ContainerSpec:
    """A namespace of its own, NET_ADMIN and the tun device; one port, published by ``publish``.

    The labels are those of the server unless others are given: one of them is the spec's digest.
    """
    return ContainerSpec(
        name=container_name(spec.name, SERVER),
        image=spec.image,
        labels=_labels(spec, SERVER) if labels is None else labels,
        environment={"MACNET_SERVER": spec.token},
        command=["sh", f"{SCRIPTS}/server.sh"],
        cap_add=["NET_ADMIN"],
        network=spec.network,
        devices=["/dev/net/tun:/dev/net/tun:rwm"],
        sysctls={**IPV4_SYSCTLS, **TCP_SYSCTLS, **IPV6_SYSCTLS},
        publish={SERVER_PORT: (spec.publish, spec.port)},
        health=SERVER_HEALTH,
    )


def relay_container(spec: HelperSpec, *, labels: Mapping[str, str] | None = None) -> ContainerSpec:
    """The engine's namespaces of network and processes, and what the relay's parts need.

    NET_ADMIN is for relay0 and the lane's verdicts, SYS_ADMIN to enter the server's namespace
    and to give the lane some of its own. pasta calls pivot_root, which Docker's default seccomp
    profile refuses. ``labels`` are as in `server_container`.
    """
    gateway, address = (
        IPAddress(spec.relay_subnet.first + offset, spec.relay_subnet.version) for offset in (1, 2)
    )
    return ContainerSpec(
        name=container_name(spec.name, RELAY),
        image=spec.image,
        labels=_labels(spec, RELAY) if labels is None else labels,
        environment={
            "MACNET_SERVER": spec.token,
            "MACNET_RELAY_ADDRESS": str(address),
            "MACNET_RELAY_GATEWAY": str(gateway),
            "MACNET_RELAY_PREFIX": str(spec.relay_subnet.prefixlen),
            **({"MACNET_RELAY_FOREIGN": "1"} if spec.foreign else {}),
        },
        command=["python3", "-m", "macnet.relay.supervisor"],
        cap_add=["NET_ADMIN", "SYS_ADMIN"],
        network="host",
        pid_mode="host",
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        devices=["/dev/net/tun:/dev/net/tun:rwm"],
        health=RELAY_HEALTH,
    )


def joiner_container(spec: HelperSpec, joiner: Joiner) -> ContainerSpec:
    """No right, no endpoint, no address: it does nothing but be in the donor's namespace.

    It cannot start before its donor, so the engine does not start it again by itself.
    """
    bare = ContainerSpec(
        name=container_name(spec.name, joiner.role),
        image=spec.image,
        labels={},
        environment={"MACNET_JOINER": f"{spec.token}.{joiner.key}"},
        command=["sh", f"{SCRIPTS}/joiner.sh"],
        cap_add=[],
        network=f"container:{joiner.donor.container_id}",
        read_only=True,
        restart="no",
    )
    text = json.dumps(asdict(bare), default=str, sort_keys=True)
    labels = {
        LABEL_ROLE: JOINER,
        LABEL_NAME: spec.name,
        LABEL_OWNER: owner(spec.token),
        LABEL_SPEC: hashlib.sha256(text.encode()).hexdigest()[:16],
        LABEL_LANE: str(joiner.lane),
        LABEL_DONOR: joiner.donor.container_id,
    }
    return replace(bare, labels=labels)


def _labels(spec: HelperSpec, role: str) -> Mapping[str, str]:
    return {
        LABEL_ROLE: role,
        LABEL_NAME: spec.name,
        LABEL_HOME: spec.home,
        LABEL_OWNER: owner(spec.token),
        LABEL_SPEC: spec.digest(),
    }


def owner(token: str) -> str:
    """What a label says of the token: enough to tell it from others, not to know it."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def render_config(spec: HelperSpec) -> str:
    """OpenVPN's configuration of the server."""
    return render(
        "server/openvpn.conf.j2",
        tunnel_subnet=spec.tunnel_subnet,
        tun_mtu=spec.tun_mtu,
        comp_lzo=str(spec.comp_lzo),
    )


def server_files(spec: HelperSpec, pki: Pki, routes: HelperRoutes) -> Files:
    """All files below /etc/macnet, for ``put_files`` into "/etc". Keys are 0600."""
    prefix = tunnel_subnet6(spec.tunnel_subnet)
    server6, client6 = IPAddress(prefix.first + 1, 6), client_address6(spec.tunnel_subnet)
    fixed = {
        "openvpn.conf": (render_config(spec), 0o644),
        # Apart, since a kernel without IPv6 must not read it (server.sh).
        "ipv6.conf": (f"ifconfig-ipv6 {server6}/64 {client6}\n", 0o644),
        "ca.crt": (pki.ca_cert, 0o644),
        "server.crt": (pki.server_cert, 0o644),
        "server.key": (pki.server_key, 0o600),
        "tls-crypt.key": (pki.tls_crypt, 0o600),
    }
    return {
        **{f"macnet/{name}": (text.encode(), mode) for name, (text, mode) in fixed.items()},
        **route_files(spec.tunnel_subnet, routes),
    }


def route_files(tunnel_subnet: IPNetwork, routes: HelperRoutes) -> Files:
    """The two files that change while the server runs, for ``put_files`` into "/etc"."""
    return {
        "macnet/subnets": (render_subnets(routes).encode(), 0o644),
        "macnet/ccd/DEFAULT": (render_client(tunnel_subnet, routes).encode(), 0o644),
    }


def render_subnets(routes: HelperRoutes) -> str:
    """One line per allowed subnet, ``SEEN=REAL`` for a remap (see subnets.sh).

    The number of a lane and its joiner's key follow where a joiner leads there.
    """
    seen, lanes = {real: seen for seen, real in routes.remaps}, dict(routes.lanes)
    lines = []
    for subnet in routes.subnets:
        line = f"{seen[subnet]}={subnet}" if subnet in seen else str(subnet)
        joiner = lanes.get(subnet)
        lines.append(line if joiner is None else f"{line} {joiner.lane} {joiner.key}")
    return "".join(f"{line}\n" for line in lines)


def render_client(tunnel_subnet: IPNetwork, routes: HelperRoutes) -> str:
    """The client's fixed addresses and the pushed routes (OpenVPN's client-config-dir)."""
    address = client_address(tunnel_subnet)
    return "".join(
        (
            f"ifconfig-push {address} {tunnel_subnet.netmask}\n",
            f"ifconfig-ipv6-push {client_address6(tunnel_subnet)}/64\n",
            *(f'push "{route_directive(net)}"\n' for net in sorted(routes.pushed, key=by_address)),
        )
    )


def parse_subnets(text: str) -> tuple[IPNetwork, ...]:
    """The allowed subnets of a file of `render_subnets`, as this host sees them."""
    return tuple(IPNetwork(pair.partition("=")[0]) for pair, *_ in _rows(text))


def parse_remaps(text: str) -> tuple[tuple[IPNetwork, IPNetwork], ...]:
    """The remaps (seen, real) of a file of `render_subnets`."""
    pairs = (pair.partition("=") for pair, *_ in _rows(text))
    return tuple((IPNetwork(seen), IPNetwork(real)) for seen, _, real in pairs if real)


def parse_lanes(text: str) -> tuple[tuple[IPNetwork, int], ...]:
    """The subnets that are reached through joiners, with the numbers of their lanes."""
    return tuple(
        (IPNetwork(pair.partition("=")[0]), int(lane[0])) for pair, *lane in _rows(text) if lane
    )


def _rows(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.split())]


def parse_pushed(text: str) -> tuple[IPNetwork, ...]:
    """The routes that a file of `render_client` pushes; other lines are passed over."""
    pushed = (line.removeprefix("push ").strip('"') for line in text.splitlines())
    return parse_profile_routes("\n".join(pushed))


def parse_tunnel_subnet(text: str) -> IPNetwork | None:
    """The tunnel's subnet by a file of `render_client`."""
    for line in text.splitlines():
        match line.split():
            case ["ifconfig-push", address, netmask]:
                return IPNetwork(f"{address}/{netmask}").cidr
    return None
