#!/bin/sh
# An /etc of the Mac side's own, and the programs that a Mac has to empty its cache of names. Runs in a mount namespace of
# its own with private propagation, says "ready", and then only holds that namespace open.
#
# usage: resolver_root.sh SCRATCH
#   SCRATCH  an empty folder
set -eu
scratch=$1

mount -t tmpfs -o mode=755 macnet-lab "$scratch"
# A copy, not an overlay: a user's /etc may be laid over this one, and there are two layers at most.
cp -a /etc "$scratch/etc"
rm -rf "$scratch/etc/resolver" "$scratch/etc/resolv.conf"
mount --bind "$scratch/etc" /etc
mkdir "$scratch/bin" "$scratch/work"
mount -t overlay -o "lowerdir=/usr/bin,upperdir=$scratch/bin,workdir=$scratch/work" overlay /usr/bin

echo "127.0.0.1 localhost" >/etc/hosts
echo "hosts: files dns" >/etc/nsswitch.conf
: >/etc/resolv.conf
mkdir /etc/macnet-lab
rm -f /usr/bin/killall
cat >/usr/bin/killall <<'END'
#!/bin/sh
# Knows one process, the stand-in of tests/lab/resolver_stub.py, if it runs.
[ "$*" = "-HUP mDNSResponder" ] || exit 64
echo "$*" >>/etc/macnet-lab/killall
[ ! -e /etc/macnet-lab/mDNSResponder ] || exec kill -HUP "$(cat /etc/macnet-lab/mDNSResponder)"
END
chmod 755 /usr/bin/killall
echo ready
exec sleep infinity </dev/null >/dev/null 2>&1
