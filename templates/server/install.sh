#!/bin/sh
# Installs what the helper needs, only where the base image lacks it, so that a base image
# which has everything builds without a network. Arguments: the least passt version accepted, and
# the moment of Debian's archive whose packages are taken; without one those of now.
set -eu
least_passt=$1
archive_day=${2:-}

# Debian's own image names, beside each of its sources, the archive that keeps every day.
use_archive() {
    sources=/etc/apt/sources.list.d/debian.sources
    kept='^# *(http[^ ]*/)[0-9]{8}T[0-9]{6}Z/?$'
    grep -qE "$kept" "$sources" || {
        echo "$sources of the base image does not name the archive of packages" >&2
        exit 1
    }
    sed -i -E "\\|$kept|{s||URIs: \\1$archive_day|;n;/^URIs:/d}" "$sources"
    # A list of then has run out by now.
    printf 'Acquire::Check-Valid-Until "false";\nAcquire::Retries "5";\n' \
        >/etc/apt/apt.conf.d/90macnet-archive
}

missing=
for program in openvpn pasta ip iptables-nft iptables-legacy python3 capsh prlimit unshare; do
    command -v "$program" >/dev/null || missing="$missing $program"
done

if [ -n "$missing" ]; then
    echo "the base image lacks:$missing"
    [ -z "${OFFLINE:-}" ] || exit 1
    command -v apt-get >/dev/null || {
        echo "the base image has no apt-get; it must bring:$missing" >&2
        exit 1
    }
    [ -z "$archive_day" ] || use_archive
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends \
        openvpn passt iproute2 iptables python3-minimal libcap2-bin util-linux
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
python3 -c 'import os, sys; sys.exit(not hasattr(os, "setns"))' || {
    echo "python3 is too old: use a base image with Python 3.12 or later" >&2
    exit 1
}
openvpn --version | head -n 1
mkdir -p -m 0700 /etc/macnet/ccd
