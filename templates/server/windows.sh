#!/bin/sh
# Bounds the TCP window that either end promises, and with it what one connection has on its way
# through the tunnel. pasta and the client's system promise several MB and send all of it at once: it
# waits in OpenVPN's queues, in front of everybody else, until they are full and drop packets.
# Only nftables can change the field. Where the kernel has none, transfers are slower; all else works.
#
# The field counts in units of 2^SCALE bytes (RFC 7323, section 2: SCALE is at most 14, each end
# has its own, and none counts unless both SYNs had the option). The connection's mark remembers
# them: 0x100 once both are known, the client's scale in bits 0-3, the container's in bits 4-7.
#
# Bit 0x200 says that the container has fallen behind. pasta then drops what its socket does not
# take, tells that by repeating its last acknowledgement, and drops all that follows: the sender
# waits for its timer, twice as long each time. So the connection's window is small for the next 10
# seconds, and there is little to lose.
set -eu
limit=${1:?bytes} small=${2:?bytes}

rules() {
    echo 'table inet macnet {'
    answers='' client='' container=''
    for scale in $(seq 0 14); do
        answers="$answers $scale : goto answer$scale,"
        mark=$((0x100 + (scale << 4)))
        printf 'chain answer%s {\nct mark set ct mark or %s\n}\n' "$scale" "$mark"
        bound "scale$scale" $((limit >> scale)) &&
            client="$client $((0x100 + scale)) : goto scale$scale," &&
            container="$container $mark : goto scale$scale,"
        bound "small$scale" $((small >> scale)) &&
            container="$container $((mark + 0x200)) : goto small$scale,"
    done
    cat <<RULES
chain forward {
type filter hook forward priority mangle; policy accept;
tcp flags & (syn | ack) == syn ct mark set tcp option window count
tcp flags & (syn | ack) == (syn | ack) tcp option window count vmap {${answers%,} }
tcp flags & syn == 0 ct direction original ct mark and 0x10f vmap {${client%,} }
tcp flags & syn == 0 ct direction reply ct mark and 0x3f0 vmap {${container%,} }
}
}
RULES
}

# bound CHAIN UNITS: false where the field cannot say more anyway.
bound() {
    [ "$2" -lt 65535 ] || return 1
    printf 'chain %s {\ntcp window > %s tcp window set %s\n}\n' "$1" "$2" "$2"
}

# Apart, as it asks more of the kernel. An acknowledgement with nothing else in it, of pasta's, is
# all header: 20 bytes of TCP.
behind() {
    cat <<'RULES'
table inet macnet_behind {
set said {
typeof ct id . tcp ackseq . tcp window
flags dynamic,timeout
timeout 1s
size 65536
}
set late {
typeof ct id
flags dynamic,timeout
timeout 10s
size 65536
}
chain forward {
type filter hook forward priority mangle - 1; policy accept;
ct direction reply ct mark and 0x200 != 0 ct id != @late ct mark set ct mark and 0xfffffdff
ct direction reply tcp flags == ack meta l4proto tcp ip length 40 jump repeated
ct direction reply tcp flags == ack meta l4proto tcp ip6 length 20 jump repeated
}
chain repeated {
ct id . tcp ackseq . tcp window @said ct mark set ct mark or 0x200 update @late { ct id }
add @said { ct id . tcp ackseq . tcp window }
}
}
RULES
}

rules | nft -f -
behind | nft -f - || echo "note: this kernel cannot tell which containers fall behind"
