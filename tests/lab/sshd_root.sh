#!/bin/sh
# An ssh server on an engine's machine, in a mount namespace of its own with private propagation: what it shows as /run
# and as /etc/passwd is seen by its sessions alone.
#
# usage: sshd_root.sh SOCKET PASSWD SSHD WORDS...
#   SOCKET  what /run/docker.sock leads to, there or not
#   PASSWD  the users of that machine
set -eu
socket=$1 passwd=$2
shift 2
# A copy of a namespace's mount would keep that namespace alive.
for name in /run/netns/*; do
    if [ -e "$name" ]; then umount -l "$name" 2>/dev/null || true; fi
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
ln -s "$socket" /run/docker.sock
mount --bind "$passwd" /etc/passwd
exec "$@"
