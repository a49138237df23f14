#!/bin/sh
# As root: makes the user that PostgreSQL runs as. Otherwise nothing is needed: servers run as whoever starts them.
set -eu
[ "$(id -u)" = 0 ] || exit 0
id demarc >/dev/null 2>&1 && exit 0
PATH="$PATH:/usr/sbin:/sbin"
shell=$(command -v nologin || echo /bin/false)
if command -v useradd >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /var/lib/demarc --shell "$shell" demarc
else
    adduser -S -D -H -h /var/lib/demarc -s "$shell" demarc
fi
echo "Created the system user demarc: PostgreSQL does not run as root." >&2
