#!/bin/bash
# test.sh [PATH…]: the plugin's tests, or those at PATH, in a NetBox of their own. NETBOX_ARGS go to pytest.
set -euo pipefail
plugin=$(cd "$(dirname "$0")/.." && pwd)
targets=()
for path in "$@"; do
    # Relative paths are the caller's; a node id keeps its ::part.
    targets+=("$(realpath -s "${path%%::*}")${path#"${path%%::*}"}")
done
[ "${#targets[@]}" -gt 0 ] || targets=("$plugin/netbox_circuit_manager/tests")
cd "$plugin"
# shellcheck disable=SC2086  # NETBOX_ARGS is a list of words
exec dev/with-netbox.sh pytest -c "$plugin/pyproject.toml" --rootdir "$plugin" -p no:cacheprovider --create-db \
    -o python_files='test*.py' ${NETBOX_ARGS:--q} "${targets[@]}"
