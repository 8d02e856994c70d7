#!/bin/sh
# File system of an engine's VM. Runs in a mount namespace of its own with private propagation, says "ready",
# and then only holds that namespace open: the engine is started into it and may be restarted in it.
#
# usage: vm_root.sh TREE STATE
#   TREE   root of the system the engine comes from, "/" for this machine's
#   STATE  folder of the lab, seen under the same path inside
set -eu
tree=${1%/}
state=$2

if [ -n "$tree" ]; then
    # A mount point of its own: an image import inside remounts its root.
    mount --bind "$tree" "$tree"
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys"
    mount --rbind /dev "$tree/dev"
    mkdir -p "$tree$state"
    mount --bind "$state" "$tree$state"
else
    # A copy of a namespace's mount would keep that namespace alive.
    for name in /run/netns/*; do
        if [ -e "$name" ]; then umount -l "$name" 2>/dev/null || true; fi
    done
fi
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
mkdir "$tree/run/etc" "$tree/run/etc-work" "$tree/run/lock"
# Whatever the engine writes to /etc (a key, for one) stays here.
mount -t overlay -o "lowerdir=$tree/etc,upperdir=$tree/run/etc,workdir=$tree/run/etc-work" overlay "$tree/etc"

if [ -n "$tree" ]; then
    cd "$tree"
    # A plain chroot looks as if it worked, but copying into containers then writes to nowhere.
    pivot_root . mnt
    cd /
    umount -l /mnt
fi
echo ready
exec sleep infinity </dev/null >/dev/null 2>&1
