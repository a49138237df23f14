#!/bin/bash
# Prepares what libs/netbox_circuit_manager is tested in: a real NetBox in a virtual environment of its own, with
# Debian's PostgreSQL (NetBox needs one built with ICU) and Redis. Nothing is started as a service.
# Exit 0: all there. Exit 1: something is missing; says what to run.
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"
here=$(cd "$(dirname "$0")" && pwd)
plugin=$(cd "$here/../../libs/netbox_circuit_manager" && pwd)
home="$plugin/.netbox"
packages="postgresql redis-server chromium"

servers_found() {
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && command -v redis-server >/dev/null &&
        { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null
}

install_servers() {
    servers_found && return 0
    "$here/apt-install.sh" $packages >&2 || true
    servers_found && return 0
    echo "NetBox's tests need PostgreSQL 15 or newer (with ICU), Redis and Chromium (their services may stay off):" >&2
    echo "    sudo $here/apt-install.sh $packages" >&2
    return 1
}

# NetBox 4.7 runs on Python 3.12 to 3.14; an interpreter counts once it has answered with its own version.
usable() {
    [ -x "$1" ] && "$1" -c 'import sys, venv; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in "${NETBOX_PYTHON:-}" $(command -v python3.13 python3.12 python3.14 python3 || true) \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[234].*/bin/python3 \
        "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/cpython-3.1[234].*/bin/python3 /opt/python*/bin/python3; do
        if [ -n "$candidate" ] && usable "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    # The last try: uv downloads one where its download site can be reached.
    if "$uv" python install --quiet 3.13 >/dev/null 2>&1 && candidate=$("$uv" python find 3.13 2>/dev/null); then
        echo "$candidate"
        return 0
    fi
    echo "NetBox needs Python 3.12, 3.13 or 3.14, and none was found (PATH, pyenv, uv; a download failed too)." >&2
    echo "Install one (pyenv install 3.13, or uv python install 3.13), or name it: NETBOX_PYTHON=/path/to/python3.13" >&2
    return 1
}

install_servers
stamp="$home/.stamp"
wanted=$(cat "$plugin/pyproject.toml" "$plugin/uv.lock" | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && usable "$home/venv/bin/python"; then
    exit 0
fi
uv=$("$here/uv.sh")
python=$(find_python)
echo "Setting up NetBox for the plugin's tests in libs/netbox_circuit_manager/.netbox (Python: $python)" >&2
mkdir -p "$home"
rm -f "$stamp"
# Compiled once here instead of at every start; a set PYTHONDONTWRITEBYTECODE would undo that.
unset PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
UV_PROJECT_ENVIRONMENT="$home/venv" "$here/again.sh" "$uv" sync --project "$plugin" --frozen --quiet --python "$python" --compile-bytecode
echo "$wanted" >"$stamp"
