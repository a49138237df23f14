#!/bin/bash
# beside.sh COMMAND…: runs a command, and the plugin's tests at the same time. Their output is printed when both have
# ended, before the command's last line (its summary). Fails when one of the two fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
summary=$(mktemp)
setsid "$here/test.sh" >"$log" 2>&1 &
tests=$!
stop() {
    trap - EXIT
    # The tests' own process group: their PostgreSQL and Redis are stopped by its own traps.
    kill -TERM -- "-$tests" 2>/dev/null || true
    rm -f "$log" "$summary"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

status=0
"$@" 2>&1 | tee "$summary" || status=$?
echo
echo "NetBox plugin (make netbox-test):"
netbox=0
wait "$tests" || netbox=$?
cat "$log"
[ "$netbox" = 0 ] || echo "The tests of the NetBox plugin failed (exit code $netbox)." >&2
tail -1 "$summary"
[ "$status" != 0 ] || status=$netbox
exit "$status"
