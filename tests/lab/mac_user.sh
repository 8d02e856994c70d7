#!/bin/sh
# Runs a command as an ordinary user, with the real sudo that asks for a password. Runs in a mount namespace of its own
# with private propagation: the user exists in there alone.
#
# usage: mac_user.sh SCRATCH NAME ID HOME HASH PATHS COMMAND...
#   SCRATCH  an empty folder
#   HASH     of the password, as in /etc/shadow
#   PATHS    folders, with colons between them, that the user has to read although they may lie below closed ones
set -eu
scratch=$1 name=$2 id=$3 home=$4 hash=$5 paths=$6
shift 6

mount -t tmpfs -o mode=755 macnet-lab "$scratch"
mkdir "$scratch/etc" "$scratch/etc-work" "$scratch/paths"
mount -t overlay -o "lowerdir=/etc,upperdir=$scratch/etc,workdir=$scratch/etc-work" overlay /etc
echo "$name:x:$id:$id::$home:/bin/sh" >>/etc/passwd
echo "$name:x:$id:" >>/etc/group
echo "$name:$hash:20000:0:99999:7:::" >>/etc/shadow
echo "$name ALL=(ALL:ALL) ALL" >"/etc/sudoers.d/$name"
chmod 440 "/etc/sudoers.d/$name"
# No password given to another sudo counts here.
mkdir -p /run/sudo
mount -t tmpfs -o mode=711 macnet-lab /run/sudo

old_ifs=$IFS IFS=:
number=0
for path in $paths; do
    number=$((number + 1))
    mkdir "$scratch/paths/$number"
    mount --bind "$path" "$scratch/paths/$number"
done
number=0
for path in $paths; do
    number=$((number + 1))
    closed=
    parent=$path
    while [ "$parent" != / ]; do
        parent=$(dirname "$parent")
        case $(stat -c %A "$parent") in *[xt]) ;; *) closed=$parent ;; esac
    done
    if [ -n "$closed" ]; then mount -t tmpfs -o mode=755 macnet-lab "$closed"; fi
    if [ ! -d "$path" ] || [ -n "$closed" ]; then
        mkdir -p "$path"
        mount --bind "$scratch/paths/$number" "$path"
    fi
done
IFS=$old_ifs
# The engine's socket belongs to the group 0, and on a Mac to the user.
exec setpriv --reuid="$id" --regid="$id" --groups=0 --inh-caps=-all "$@"
