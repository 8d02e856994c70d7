#!/bin/bash
# The relay: runs pasta in the engine's network namespace, attached to the server's. pasta puts
# the tap relay0 there and turns each flow into an ordinary socket of the engine.
# A loop that never gives up: the server may come and go.
set -u
server=/run/netns/server
address=${MACNET_RELAY_ADDRESS:?} gateway=${MACNET_RELAY_GATEWAY:?} prefix=${MACNET_RELAY_PREFIX:?}
address6=fd77:6d61:636e::2 gateway6=fd77:6d61:636e::1
pasta_pid='' watch_pid=''

say() { echo "relay: $*"; }

# pasta pings through ping sockets, which the kernel gives to the groups of this range only.
# Only what is missing is added, and taken back at the end.
range=/proc/sys/net/ipv4/ping_group_range
read -r first last <"$range"
write_range() {
    mount -o remount,rw,bind /proc/sys && echo "$1" >"$range"
    mount -o remount,ro,bind /proc/sys
}
if [ "$first" -gt 0 ]; then
    if [ "$last" -lt "$first" ]; then wanted='0 0'; else wanted="0 $last"; fi
    write_range "$wanted" || say "cannot widen ping_group_range: ping will not work"
fi

detach() {
    [ -z "$pasta_pid$watch_pid" ] || kill $pasta_pid $watch_pid 2>/dev/null
    wait
    pasta_pid='' watch_pid=''
    # A name that survived a restart of this container has nothing behind it: then only the file goes.
    umount -l "$server" 2>/dev/null
    rm -f "$server"
}

leave() {
    detach
    [ "$first" -le 0 ] || write_range "$first $last"
    exit 0
}
trap leave TERM INT

# The server is the process openvpn that was started with our token, which no other container knows.
find_server() {
    local pid
    for pid in $(pgrep -x openvpn); do
        if grep -qxz "MACNET_SERVER=$MACNET_SERVER" "/proc/$pid/environ" 2>/dev/null; then
            echo "$pid"
            return
        fi
    done
}

# pasta copies nothing from this interface, but wants one that has an address.
find_interface() {
    local found
    found=$(ip -4 -o route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p;q')
    [ -n "$found" ] || found=$(ip -4 -o addr show scope global | awk '{print $2; exit}')
    echo "$found"
}

configure() {
    local try
    for try in $(seq 100); do
        ip -n server link show relay0 >/dev/null 2>&1 && break
        kill -0 "$pasta_pid" 2>/dev/null || return 1
        sleep 0.05
    done
    ip -n server addr replace "$address/$prefix" dev relay0 &&
        ip -n server link set relay0 mtu 65520 up &&
        ip -n server route replace default via "$gateway" dev relay0 table 100 || return 1
    if [ ${#ipv6[@]} -gt 0 ]; then
        ip -n server -6 addr replace "$address6/126" dev relay0 nodad &&
            ip -n server -6 route replace default via "$gateway6" dev relay0 table 100 ||
            say "the server's namespace has no IPv6"
    fi
}

mkdir -p /run/netns
detach
waiting=
while :; do
    pid=$(find_server)
    interface=$(find_interface)
    if [ -z "$pid" ] || [ -z "$interface" ]; then
        [ -n "$waiting" ] || say "waiting for the server"
        waiting=yes
        sleep 0.2
        continue
    fi
    waiting=
    ip netns attach server "$pid" || { sleep 0.5; continue; }
    ipv6=()
    [ ! -e /proc/net/if_inet6 ] || ipv6=(-a "$address6" -g "$gateway6")
    pasta -f --runas 0 --netns-only --netns "$server" -I relay0 \
        -a "$address" -n "$prefix" -g "$gateway" "${ipv6[@]}" --no-map-gw \
        -t none -u none -T none -U none -m 65520 --no-dhcp --no-ra --no-dhcpv6 -i "$interface" &
    pasta_pid=$!
    # One process that sleeps, in place of a loop that forks.
    tail --pid="$pid" -s 0.2 -f /dev/null &
    watch_pid=$!
    if configure; then
        say "attached to the server (process $pid) through $interface"
        # By their ids: bash may keep an ended job for ever, which a bare `wait -n` then returns
        # each time. And only while pasta lives: an end that bash has told of it does not tell again.
        kill -0 "$pasta_pid" 2>/dev/null && wait -n "$pasta_pid" "$watch_pid"
        say "the server or pasta ended"
    else
        say "cannot set up relay0"
        sleep 0.5
    fi
    detach
done
