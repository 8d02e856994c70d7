#!/bin/sh
# A joiner: does nothing but be there, so that the network namespace that the engine has put it
# into stays open to the relay. The first process of a container ends at no signal by itself.
trap 'exit 0' TERM INT
while :; do
    sleep 86400 &
    wait
done
