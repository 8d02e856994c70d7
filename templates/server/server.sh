#!/bin/sh
# The server: OpenVPN in this container's own network namespace. What leaves the tunnel goes
# to relay0, the tap that the relay puts here, and only to Docker's subnets.
set -eu
mkdir -p /run/macnet /etc/macnet/ccd
rm -f /run/macnet/management.sock

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

# All of it stays inside this namespace; the engine's own rules are not touched.
rules() {
    cat <<RULES
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:MACNET - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -i macnet0 -p $1 -j ACCEPT
-A INPUT -i relay0 -j DROP
-A INPUT ! -i macnet0 -p tcp --dport 1194 -j ACCEPT
$3
-A FORWARD -i relay0 -o macnet0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i macnet0 -o relay0 -j MACNET
-A FORWARD -i macnet0 -o lo -j REJECT --reject-with $2
-A FORWARD -i macnet0 -j REJECT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:REMAP - [0:0]
-A PREROUTING -i macnet0 -j REMAP
-A POSTROUTING -o relay0 -j MASQUERADE
COMMIT
RULES
}
rules icmp icmp-host-unreachable "" | "iptables-$backend-restore"
ip rule add iif macnet0 lookup 100
# No relay: a fast error in place of a hang. The firewall gives it to what leaves by lo, as an
# unreachable route would answer one connection per second only.
ip route replace default dev lo metric 9999 table 100

# Neighbour discovery must reach this namespace even from relay0. No IPv6 in this kernel is fine.
ipv6=
if rules ipv6-icmp icmp6-addr-unreachable "-I INPUT 1 -i relay0 -p ipv6-icmp -j ACCEPT" |
    "ip6tables-$backend-restore" 2>/dev/null; then
    ip -6 rule add iif macnet0 lookup 100
    ip -6 route replace default dev lo metric 9999 table 100
    echo yes >/run/macnet/ipv6
    ipv6='--config /etc/macnet/ipv6.conf'
fi

# 32 packets: 512 kB at the default MTU, at a round trip of 1 ms 4 Gbit/s for each connection. Two,
# and some kB where packets are small, once a container has fallen behind.
mtu=$(sed -n 's/^tun-mtu //p' /etc/macnet/openvpn.conf)
small=$((2 * mtu))
[ "$small" -ge 32000 ] || small=32000
sh /usr/local/lib/macnet/windows.sh "$((32 * mtu))" "$small" ||
    echo "note: this kernel has no nftables to bound TCP windows with: transfers may be slower"
sh /usr/local/lib/macnet/subnets.sh
# shellcheck disable=SC2086 # two words or none
exec openvpn --config /etc/macnet/openvpn.conf $ipv6
