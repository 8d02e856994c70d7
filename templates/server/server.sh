#!/bin/sh
# The server: OpenVPN in this container's own network namespace. What leaves the tunnel goes
# to the relay, and only to Docker's subnets: TCP to its listeners here (the TCP lanes), UDP and
# ping to the taps that it puts here: relay0 for the engine's own namespace, another for each joiner.
set -eu
mkdir -p /run/macnet /etc/macnet/ccd
# Nothing is in effect yet, whatever an earlier run has left.
rm -f /run/macnet/* /etc/macnet/subnets.applied

# Kernels differ in what they have: take the first iptables whose rules this one accepts.
backend=
for candidate in nft legacy; do
    if "iptables-$candidate" -t nat -A POSTROUTING -o relay0 -j MASQUERADE 2>/dev/null &&
        "iptables-$candidate" -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT 2>/dev/null; then
        backend=$candidate
        break
    fi
    "iptables-$candidate" -t nat -F POSTROUTING 2>/dev/null || true
done
[ -n "$backend" ] || {
    echo "error: this kernel takes neither nft's nor the legacy iptables rules (MASQUERADE, conntrack)" >&2
    exit 1
}
echo "$backend" >/run/macnet/iptables
echo "firewall: iptables-$backend"

# All of it stays inside this namespace; the engine's own rules are not touched. Other containers,
# and through the relay the client, find this one's other TCP ports closed: an address that was
# another container's before is refused at once.
rules() { # protocol of pings, icmp error, another rule of INPUT
    cat <<RULES
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:MACNET - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -i macnet0 -p $1 -j ACCEPT
-A INPUT -i relay+ -j DROP
-A INPUT ! -i macnet0 -p tcp --dport 1194 -j ACCEPT
-A INPUT ! -i macnet0 -p tcp -j REJECT --reject-with tcp-reset
$3
-A FORWARD -i relay+ -o macnet0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i macnet0 -o relay+ -j MACNET
-A FORWARD -i macnet0 -o lo -j REJECT --reject-with $2
-A FORWARD -i macnet0 -j REJECT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:REMAP - [0:0]
-A PREROUTING -i macnet0 -j REMAP
-A POSTROUTING -o relay+ -j MASQUERADE
COMMIT
RULES
}

# The rules of the TCP lane (macnet/relay/lane.py): the first packet of a connection is held in a
# queue until the relay knows what becomes of it: each lane has one of its own. It comes back with a
# mark, in its lowest four bits 1 refused, 2 unreachable, 3 connected, above them the lane, and is
# redirected to one of that lane's listeners: of those, one where no connection that has ended a
# short while ago had the same source port. Without its lane it passes the queue by without a mark
# and is rejected. No TCP is forwarded: what belongs to no connection here is of an earlier life of
# this container, and is reset. The redirect is here only to find whether the kernel has it: those
# in effect come with the list of subnets.
lane_rules() { # icmp error
    cat <<RULES
*mangle
:PREROUTING ACCEPT [0:0]
:LANE - [0:0]
:HOLD - [0:0]
-A PREROUTING -i macnet0 -p tcp --syn -m conntrack --ctstate NEW -j LANE
-A HOLD -j NFQUEUE --queue-num 0 --queue-bypass
COMMIT
*nat
:LANES - [0:0]
-I PREROUTING 1 -i macnet0 -p tcp -m mark ! --mark 0 -j LANES
-A LANES -p tcp -m mark --mark 3/65535 -j REDIRECT --to-ports 1195-1210
COMMIT
*filter
-A INPUT -i macnet0 -p tcp -m mark --mark 1/15 -j REJECT --reject-with tcp-reset
-A INPUT -i macnet0 -p tcp -m mark --mark 2/15 -j REJECT --reject-with $1
-A INPUT -i macnet0 -p tcp --dport 1195:1450 -m mark --mark 3/15 -j ACCEPT
-I FORWARD 1 -i macnet0 -p tcp ! --syn -j REJECT --reject-with tcp-reset
COMMIT
RULES
}

set_up() { # lane
    rm -f /run/macnet/ipv6
    rules icmp icmp-host-unreachable "" | "iptables-$backend-restore" || return 1
    [ "$1" = pasta ] ||
        lane_rules icmp-host-unreachable | "iptables-$backend-restore" --noflush || return 1
    # Neighbour discovery must reach this namespace even from a tap. No IPv6 in this kernel is fine.
    if rules ipv6-icmp icmp6-addr-unreachable "-I INPUT 1 -i relay+ -p ipv6-icmp -j ACCEPT" |
        "ip6tables-$backend-restore" 2>/dev/null; then
        echo yes >/run/macnet/ipv6
        [ "$1" = pasta ] ||
            lane_rules icmp6-addr-unreachable | "ip6tables-$backend-restore" --noflush || return 1
    fi
}

# MACNET_LANE=pasta in the base image is for tests of what other kernels get.
lane=${MACNET_LANE:-kernel}
if [ "$lane" = kernel ] && ! { python3 -m macnet.relay.netfilter && set_up kernel; }; then
    echo "note: this kernel cannot hold or redirect connections (NFQUEUE, REDIRECT): TCP goes through pasta, which is slower"
    lane=pasta
fi
if [ "$lane" = pasta ]; then
    for family in iptables ip6tables; do
        for table in mangle nat filter; do
            "$family-$backend" -t $table -F 2>/dev/null || true
        done
    done
    set_up pasta
fi
echo "$lane" >/run/macnet/lane

ip rule add iif macnet0 lookup 100
# No relay: a fast error in place of a hang. The firewall gives it to what leaves by lo, as an
# unreachable route would answer one connection per second only.
ip route replace default dev lo metric 9999 table 100
ipv6=
if [ -e /run/macnet/ipv6 ]; then
    ip -6 rule add iif macnet0 lookup 100
    ip -6 route replace default dev lo metric 9999 table 100
    ipv6='--config /etc/macnet/ipv6.conf'
else
    # Nothing of IPv6 passes where there are no rules for it.
    ip -6 rule add pref 1 prohibit 2>/dev/null || true
fi

# A bad list must not keep the server from starting: then nothing passes until a better one comes.
sh /usr/local/lib/macnet/subnets.sh || echo "error: the list of subnets is not in effect"
# shellcheck disable=SC2086 # two words or none
exec openvpn --config /etc/macnet/openvpn.conf $ipv6
