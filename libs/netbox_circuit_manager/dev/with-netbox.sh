#!/bin/bash
# with-netbox.sh COMMAND…: runs a command beside a private PostgreSQL and Redis that live as long as the command does.
#
# The command finds NetBox's settings through NETBOX_ROOT. The server has two databases: `nb_template`, NetBox's own
# schema restored from tests/snapshot (Django's test database is a copy of it), and none else until the command asks.
# Both listen on unix sockets only, in a folder of their own, so several runs never meet.
set -euo pipefail
plugin=$(cd "$(dirname "$0")/.." && pwd)
venv="$plugin/.netbox/venv"
snapshot="$plugin/netbox_circuit_manager/tests/snapshot/netbox-4.7.3.sql.gz"
[ -x "$venv/bin/netbox" ] || { echo "NetBox is not set up here yet: run make netbox-env first" >&2; exit 1; }
postgres=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$postgres" ] || { echo "PostgreSQL is missing: run make netbox-env first" >&2; exit 1; }

# A socket's path may have 107 characters, and the postgres user must be able to walk to it: not below the project.
# Memory where there is room: a test database is written once and thrown away.
scratch=${TMPDIR:-/tmp}
if [ -w /dev/shm ] && [ "$(df --output=avail -k /dev/shm | tail -1)" -gt 2000000 ]; then scratch=/dev/shm; fi
work=$(mktemp -d "$scratch/nbcm.XXXXXX")
chmod 711 "$work"
redis_pid=
owner=()
if [ "$(id -u)" = 0 ]; then
    # PostgreSQL refuses to run as root.
    owner=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    install -d -o postgres -m 700 "$work/pg"
    install -d -o postgres -m 755 "$work/sock"
else
    install -d -m 700 "$work/pg" "$work/sock"
fi
as_owner() { (cd / && "${owner[@]}" env -i PATH="$postgres:/usr/bin:/bin" LANG=C.UTF-8 HOME=/tmp "$@"); }

stop() {
    trap - EXIT
    [ -z "$redis_pid" ] || kill "$redis_pid" 2>/dev/null || true
    as_owner pg_ctl -D "$work/pg" -w -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

mkdir -p "$work/netbox/conf" "$work/netbox/media" "$work/netbox/reports" "$work/netbox/scripts" "$work/netbox/static"
cp "$plugin/dev/configuration.py" "$work/netbox/conf/configuration.py"
redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly no --dir "$work" >"$work/redis.log" 2>&1 &
redis_pid=$!

options="-c listen_addresses= -c unix_socket_directories=$work/sock -c fsync=off -c synchronous_commit=off"
options="$options -c full_page_writes=off -c jit=off -c max_wal_size=4GB -c wal_level=minimal -c max_wal_senders=0"
# The restored cluster is kept, so that only the first run pays for initdb and the restore.
kept="$plugin/.netbox/cluster-$(sha256sum "$snapshot" "$0" | sha256sum | cut -c1-16)-$("$postgres/postgres" --version | tr -dc '0-9.').tar"
if [ -f "$kept" ]; then
    tar -x -f "$kept" -C "$work/pg"
    [ "$(id -u)" != 0 ] || chown -R postgres "$work/pg"
fi
start_postgres() { as_owner pg_ctl -D "$work/pg" -w -l "$work/pg/log" -o "$options" start >/dev/null; }
if [ ! -f "$kept" ]; then
    as_owner initdb -D "$work/pg" -U netbox -A trust -E UTF8 --locale=C.UTF-8 -N >/dev/null
    start_postgres
    PGHOST="$work/sock" PGUSER=netbox "$postgres/createdb" nb_template
    zcat "$snapshot" | PGHOST="$work/sock" PGUSER=netbox "$postgres/psql" -X -q -v ON_ERROR_STOP=1 -d nb_template >/dev/null
    as_owner pg_ctl -D "$work/pg" -w -m fast stop >/dev/null
    rm -f "$plugin"/.netbox/cluster-*.tar
    tar -c -f "$kept.$$" --exclude=./log -C "$work/pg" . && mv "$kept.$$" "$kept"
fi
start_postgres

unset PYTHONDONTWRITEBYTECODE
export PGHOST="$work/sock" PGUSER=netbox NETBOX_ROOT="$work/netbox" NETBOX_WORK="$work" DJANGO_SETTINGS_MODULE=netbox.settings
export PATH="$venv/bin:$postgres:$PATH"
status=0
"$@" || status=$?
exit "$status"
