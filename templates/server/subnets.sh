#!/bin/sh
# Makes the allowlist and the remaps what /etc/macnet/subnets says, in one step per table, and
# says so in subnets.applied. A line is SUBNET, or SEEN=SUBNET where the client reaches SUBNET
# under the addresses of SEEN. After it come the number of a lane, and the key of its joiner, where
# SUBNET is not reached from the engine's own namespace.
set -eu
folder=/etc/macnet
backend=$(cat /run/macnet/iptables)
lane=$(cat /run/macnet/lane)
# A copy, as another list may come while this one is put into effect.
cp $folder/subnets $folder/subnets.new

nat() {
    echo '*nat'
    echo ':REMAP - [0:0]'
    [ "$lane" = pasta ] || echo ':LANES - [0:0]'
    lanes=0
    while read -r pair number _; do
        seen=${pair%%=*} real=${pair#*=}
        [ "$seen" = "$real" ] || echo "-A REMAP -d $seen -j NETMAP --to $real"
        case " $lanes " in *" ${number:-0} "*) ;; *) lanes="$lanes $number" ;; esac
    done
    # Each lane has 16 ports and marks of its own (relay/way.py, relay/netfilter.py).
    for number in $lanes; do
        first=$((1195 + 16 * number))
        [ "$lane" = pasta ] || printf -- '-A LANES -p tcp -m mark --mark %d/0xfff0 -j REDIRECT --to-ports %d-%d\n' \
            $((number << 4)) $first $((first + 15))
    done
    echo COMMIT
}

filter() { # icmp error
    echo '*filter'
    echo ':MACNET - [0:0]'
    while read -r pair number _; do
        real=${pair#*=}
        # TCP comes here only where no lane holds it.
        [ "$lane" = pasta ] || echo "-A MACNET -d $real -p tcp -j REJECT --reject-with $1"
        # By its own tap alone: while that is away, the routing table names another one.
        echo "-A MACNET -d $real -o relay${number:-0} -j ACCEPT"
        echo "-A MACNET -d $real -j REJECT --reject-with $1"
    done
    echo COMMIT
}

# Before NAT: by the addresses that the client sees.
mangle() {
    echo '*mangle'
    echo ':LANE - [0:0]'
    while read -r pair number _; do
        seen=${pair%%=*}
        case ${number:-0} in
        0) echo "-A LANE -d $seen -j HOLD" ;;
        *) echo "-A LANE -d $seen -j NFQUEUE --queue-num $number --queue-bypass" ;;
        esac
    done
    echo COMMIT
}

of_family() { # sed expression
    sed -n "$1" $folder/subnets.new | sed '/^$/d'
}

apply() { # family's restore command, its sed expression, its icmp error
    # NAT first, as it is what a kernel may refuse: NETMAP is loaded only where a remap asks for it.
    of_family "$2" | nat | "$1" --noflush
    rm -f $folder/subnets.applied
    of_family "$2" | filter "$3" | "$1" --noflush
    [ "$lane" = pasta ] || of_family "$2" | mangle | "$1" --noflush
}

apply "iptables-$backend-restore" '/^[^ ]*:/!p' icmp-host-unreachable
if [ -e /run/macnet/ipv6 ]; then
    apply "ip6tables-$backend-restore" '/^[^ ]*:/p' icmp6-addr-unreachable
fi
mv $folder/subnets.new $folder/subnets.applied
