#!/bin/sh
# Healthy: everything is attached to the server, and relay0 is up there.
set -eu
[ -e /run/macnet/attached ]
ip -n server link show relay0 up | grep -q relay0
