#!/bin/sh
# Bounds the TCP window that either end promises, and with it what one connection has on its way
# through the tunnel. pasta and the client's system promise several MB and send all of it at once: it
# waits in OpenVPN's queues, in front of everybody else, until they are full and drop packets.
# Only nftables can change the field. Where the kernel has none, transfers are slower; all else works.
#
# The field counts in units of 2^SCALE bytes (RFC 7323, section 2: SCALE is at most 14, each end
# has its own, and none counts unless both SYNs had the option). The connection's mark remembers
# them: 0x100 once both are known, the client's scale in bits 0-3, the container's in bits 4-7.
set -eu
limit=${1:?bytes}

rules() {
    echo 'table inet macnet {'
    answers='' client='' container=''
    for scale in $(seq 0 14); do
        answers="$answers $scale : goto answer$scale,"
        mark=$((0x100 + (scale << 4)))
        printf 'chain answer%s {\nct mark set ct mark or %s\n}\n' "$scale" "$mark"
        most=$((limit >> scale))
        [ "$most" -lt 65535 ] || continue
        printf 'chain scale%s {\ntcp window > %s tcp window set %s\n}\n' "$scale" "$most" "$most"
        client="$client $((0x100 + scale)) : goto scale$scale,"
        container="$container $mark : goto scale$scale,"
    done
    cat <<RULES
chain forward {
type filter hook forward priority mangle; policy accept;
tcp flags & (syn | ack) == syn ct mark set tcp option window count
tcp flags & (syn | ack) == (syn | ack) tcp option window count vmap {${answers%,} }
tcp flags & syn == 0 ct direction original ct mark and 0x10f vmap {${client%,} }
tcp flags & syn == 0 ct direction reply ct mark and 0x1f0 vmap {${container%,} }
}
}
RULES
}

rules | nft -f -
