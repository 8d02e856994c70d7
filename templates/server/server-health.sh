#!/bin/sh
# Healthy: OpenVPN answers on its management socket.
set -eu
python3 -m macnet.relay.management state | grep -q CONNECTED
