#!/bin/sh
# Makes the allowlist and the remaps what /etc/macnet/subnets says, in one step per table.
# A line is SUBNET, or SEEN=SUBNET where the client reaches SUBNET under the addresses of SEEN.
set -eu
backend=$(cat /run/macnet/iptables)

rules() {
    echo '*filter'
    echo ':MACNET - [0:0]'
    while IFS='=' read -r seen real; do
        echo "-A MACNET -d ${real:-$seen} -j ACCEPT"
    done
    echo COMMIT
}

remaps() {
    echo '*nat'
    echo ':REMAP - [0:0]'
    while IFS='=' read -r seen real; do
        [ -z "$real" ] || echo "-A REMAP -d $seen -j NETMAP --to $real"
    done
    echo COMMIT
}

apply() { # family's restore command, subnets on standard input
    lines=$(cat)
    printf '%s\n' "$lines" | sed '/^$/d' | rules | "$1" --noflush
    # NETMAP is loaded only where a remap asks for it: not every kernel has it.
    printf '%s\n' "$lines" | sed '/^$/d' | remaps | "$1" --noflush
}

sed -n '/:/!p' /etc/macnet/subnets | apply "iptables-$backend-restore"
if [ -e /run/macnet/ipv6 ]; then
    sed -n '/:/p' /etc/macnet/subnets | apply "ip6tables-$backend-restore"
fi
