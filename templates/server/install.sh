#!/bin/sh
# Installs what the helper needs, only where the base image lacks it, so that a base image
# which has everything builds without a network. Argument: the least passt version accepted.
set -eu
least_passt=$1

missing=
for program in openvpn pasta ip iptables-nft iptables-legacy nft bash perl pgrep; do
    command -v "$program" >/dev/null || missing="$missing $program"
done

if [ -n "$missing" ]; then
    echo "installing what the base image lacks:$missing"
    command -v apt-get >/dev/null || {
        echo "the base image has no apt-get; it must bring:$missing" >&2
        exit 1
    }
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends openvpn passt iproute2 iptables nftables procps
    rm -rf /var/lib/apt/lists/*
fi

# Older ones upload slowly, leave refused connections hanging or cannot ping. A version is a
# date: 2026_10_02.cba3570 upstream, 0.0~git20261002.cba3570-1 in Debian.
passt=$(pasta --version | head -n 1 | tr -d _ | grep -oE '20[0-9]{6}' | head -n 1)
echo "passt of ${passt:-unknown date}, at least $least_passt is needed"
[ "${passt:-0}" -ge "$least_passt" ] || {
    echo "passt is too old: use a base image with passt of $least_passt or later" >&2
    exit 1
}
openvpn --version | head -n 1
mkdir -p -m 0700 /etc/macnet/ccd
