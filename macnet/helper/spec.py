"""What the two containers are: names, rights, files. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from netaddr import IPAddress, IPNetwork

from macnet.config import CompLzo
from macnet.engine import ContainerSpec
from macnet.pki import Pki
from macnet.render import render

LABEL_ROLE = "io.macnet.role"
LABEL_NAME = "io.macnet.name"
#: Hash of everything that needs a new container when it changes.
LABEL_SPEC = "io.macnet.spec"
SERVER, RELAY = "server", "relay"

SERVER_PORT = 1194
FOLDER = "/etc/macnet"
SUBNETS_FILE = f"{FOLDER}/subnets"
CLIENT_FILE = f"{FOLDER}/ccd/DEFAULT"
#: Without a limit on ICMP errors: Linux sends one per second, and without the relay every
#: further connection would hang instead of failing at once.
IPV4_SYSCTLS = {"net.ipv4.ip_forward": "1", "net.ipv4.icmp_ratelimit": "0"}
#: Left out where the engine's kernel has no IPv6.
IPV6_SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.icmp.ratelimit": "0",
}
_SCRIPTS = "/usr/local/lib/macnet"

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

    def digest(self) -> str:
        """Equal wanted containers have equal digests, whichever version of macnet asks.

        The token goes in only as part of a hash.
        """
        shapes = (replace(server_shape(self), labels={}), replace(relay_shape(self), labels={}))
        parts = [asdict(self), *map(asdict, shapes), render_config(self)]
        text = json.dumps(parts, default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class HelperRoutes:
    """What may pass: the allowed subnets, remaps (seen -> real), and routes to push."""

    subnets: tuple[IPNetwork, ...]
    pushed: tuple[IPNetwork, ...] = ()
    remaps: tuple[tuple[IPNetwork, IPNetwork], ...] = ()


def container_name(tunnel: str, role: str) -> str:
    """``macnet-server``; with a tunnel of another name ``macnet-NAME-server``."""
    return f"macnet-{role}" if tunnel == "macnet" else f"macnet-{tunnel}-{role}"


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


def server_container(spec: HelperSpec) -> ContainerSpec:
    """The server as it is created."""
    return replace(server_shape(spec), labels=_labels(spec, SERVER))


def relay_container(spec: HelperSpec) -> ContainerSpec:
    """The relay as it is created."""
    return replace(relay_shape(spec), labels=_labels(spec, RELAY))


def server_shape(spec: HelperSpec) -> ContainerSpec:
    """A namespace of its own, NET_ADMIN and the tun device; one port on 127.0.0.1."""
    return ContainerSpec(
        name=container_name(spec.name, SERVER),
        image=spec.image,
        labels={},
        environment={"MACNET_SERVER": spec.token},
        command=["sh", f"{_SCRIPTS}/server.sh"],
        cap_add=["NET_ADMIN"],
        network=spec.network,
        devices=["/dev/net/tun:/dev/net/tun:rwm"],
        sysctls={**IPV4_SYSCTLS, **IPV6_SYSCTLS},
        publish={SERVER_PORT: ("127.0.0.1", spec.port)},
        health=["sh", f"{_SCRIPTS}/server-health.sh"],
    )


def relay_shape(spec: HelperSpec) -> ContainerSpec:
    """The engine's namespaces of network and processes, and what pasta needs to sandbox itself.

    pasta calls pivot_root, which Docker's default seccomp profile refuses; it then applies a
    filter of its own.
    """
    gateway, address = (
        IPAddress(spec.relay_subnet.first + offset, spec.relay_subnet.version) for offset in (1, 2)
    )
    return ContainerSpec(
        name=container_name(spec.name, RELAY),
        image=spec.image,
        labels={},
        environment={
            "MACNET_SERVER": spec.token,
            "MACNET_RELAY_ADDRESS": str(address),
            "MACNET_RELAY_GATEWAY": str(gateway),
            "MACNET_RELAY_PREFIX": str(spec.relay_subnet.prefixlen),
        },
        command=["bash", f"{_SCRIPTS}/relay.sh"],
        cap_add=["NET_ADMIN", "SYS_ADMIN"],
        network="host",
        pid_mode="host",
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        devices=["/dev/net/tun:/dev/net/tun:rwm"],
        health=["sh", f"{_SCRIPTS}/relay-health.sh"],
    )


def _labels(spec: HelperSpec, role: str) -> Mapping[str, str]:
    return {LABEL_ROLE: role, LABEL_NAME: spec.name, LABEL_SPEC: spec.digest()}


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
    """One line per allowed subnet, ``SEEN=REAL`` for a remap (see subnets.sh)."""
    seen = {real: seen for seen, real in routes.remaps}
    return "".join(
        f"{seen[subnet]}={subnet}\n" if subnet in seen else f"{subnet}\n"
        for subnet in routes.subnets
    )


def render_client(tunnel_subnet: IPNetwork, routes: HelperRoutes) -> str:
    """The client's fixed addresses and the pushed routes (OpenVPN's client-config-dir)."""
    address = client_address(tunnel_subnet)
    return "".join(
        (
            f"ifconfig-push {address} {tunnel_subnet.netmask}\n",
            f"ifconfig-ipv6-push {client_address6(tunnel_subnet)}/64\n",
            *(f'push "{route_directive(net)}"\n' for net in _sorted(routes.pushed)),
        )
    )


def parse_subnets(text: str) -> tuple[IPNetwork, ...]:
    """The allowed subnets of a file of `render_subnets`, as this host sees them."""
    return tuple(IPNetwork(line.partition("=")[0]) for line in text.split())


def parse_pushed(text: str) -> tuple[IPNetwork, ...]:
    """The routes that a file of `render_client` pushes; other lines are passed over."""
    found = []
    for line in text.splitlines():
        match line.removeprefix("push ").strip('"').split():
            case ["route", network, netmask]:
                found.append(IPNetwork(f"{network}/{netmask}"))
            case ["route-ipv6", prefix]:
                found.append(IPNetwork(prefix))
            case _:
                continue
    return tuple(found)


def parse_tunnel_subnet(text: str) -> IPNetwork | None:
    """The tunnel's subnet by a file of `render_client`."""
    for line in text.splitlines():
        match line.split():
            case ["ifconfig-push", address, netmask]:
                return IPNetwork(f"{address}/{netmask}").cidr
    return None


def route_directive(net: IPNetwork) -> str:
    """``route`` or ``route-ipv6`` as OpenVPN writes them."""
    return (
        f"route {net.network} {net.netmask}"
        if net.version == 4
        else f"route-ipv6 {net.network}/{net.prefixlen}"
    )


def _sorted(nets: Iterable[IPNetwork]) -> list[IPNetwork]:
    return sorted(nets, key=lambda net: (net.version, net.first, net.prefixlen))
