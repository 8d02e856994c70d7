#!/bin/sh
# Healthy: relay0 is up in the server's namespace.
set -eu
ip -n server link show relay0 up | grep -q relay0
