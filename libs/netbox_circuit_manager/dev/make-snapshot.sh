#!/bin/bash
# make-snapshot.sh: writes tests/snapshot/netbox-VERSION.sql.gz, NetBox's own empty schema, by running its migrations.
# Needed once for every release of NetBox; takes about ten minutes. The plugin must not be in it.
set -euo pipefail
plugin=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${NETBOX_WORK:-}" ]; then
    exec "$plugin/dev/with-netbox.sh" "$plugin/dev/make-snapshot.sh"
fi
version=$(python -c 'import importlib.metadata; print(importlib.metadata.version("netbox"))')
createdb netbox
sed -i 's/^PLUGINS = .*/PLUGINS = []/' "$NETBOX_ROOT/conf/configuration.py"
netbox migrate --no-input --skip-checks
# No owners and no privileges: it is restored by whoever runs the tests.
pg_dump --no-owner --no-privileges netbox | gzip -9n >"$plugin/netbox_circuit_manager/tests/snapshot/netbox-$version.sql.gz"
