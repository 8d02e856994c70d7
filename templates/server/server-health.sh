#!/bin/sh
# Healthy: OpenVPN answers on its management socket.
set -eu
perl /usr/local/lib/macnet/management.pl state | grep -q CONNECTED
