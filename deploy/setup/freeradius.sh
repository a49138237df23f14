#!/bin/sh
# Makes sure that FreeRADIUS 3 with its PostgreSQL driver and the test tools are installed; never starts the service.
# Exit 0: all there. Exit 1: something is missing and may not be installed from here; says what to run.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")"
packages="freeradius freeradius-postgresql freeradius-utils jq"

found() {
    { command -v "${DEMARC_RADIUS_BINARY:-freeradius}" || command -v radiusd; } >/dev/null &&
        command -v radclient >/dev/null && command -v jq >/dev/null &&
        ls /usr/lib/freeradius/rlm_sql_postgresql.so /usr/lib64/freeradius/rlm_sql_postgresql.so \
            /usr/local/lib/rlm_sql_postgresql.so 2>/dev/null | grep -q .
}

found && exit 0

./apt-install.sh $packages >&2 || true
found && exit 0

if command -v apt-get >/dev/null; then
    echo "FreeRADIUS is not complete. Install it (its own service is not needed and may stay off):" >&2
    echo "    sudo $PWD/apt-install.sh $packages" >&2
else
    echo "FreeRADIUS is not complete. Install FreeRADIUS 3.2 with its PostgreSQL module, radclient and jq" >&2
    echo "(Fedora: dnf install freeradius freeradius-postgresql freeradius-utils jq)." >&2
fi
echo "Without it the platform runs, but nobody can log on to the network; \`demarc doctor\` says so too." >&2
exit 1
