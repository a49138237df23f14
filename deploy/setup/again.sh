#!/bin/sh
# again.sh COMMAND…: runs a command up to three times: a busy registry or mirror may refuse once.
# SETUP_PAUSE: seconds in between, instead of 5 and 20.
set -u
for pause in 5 20; do
    "$@" && exit 0
    echo "Failed: $*. Once more in ${SETUP_PAUSE:-$pause} s" >&2
    sleep "${SETUP_PAUSE:-$pause}"
done
exec "$@"
