#!/bin/sh
# Makes sure that the documents' examples can run: curl, Node with npm, and what their JavaScript requires, in the
# virtual environment.
# Exit 0: all there. Exit 1: something is missing and may not be installed from here; says what to run.
set -eu
cd "$(dirname "$0")/../.."
locked=server/tests/printed/package-lock.json
place=.venv/javascript
packages="curl nodejs npm"

# npm writes the inner lock when it has come to its end.
if command -v curl >/dev/null && command -v node >/dev/null && cmp -s "$locked" "$place/package-lock.json" &&
    [ -e "$place/node_modules/.package-lock.json" ]; then exit 0; fi

found() { command -v curl >/dev/null && command -v node >/dev/null && command -v npm >/dev/null; }

found || deploy/setup/apt-install.sh $packages >&2 || true
if ! found; then
    echo "curl, Node or npm is missing, which the documents' examples need. Install curl, and Node 18 or newer with npm" >&2
    echo "(Debian: sudo $PWD/deploy/setup/apt-install.sh $packages; Fedora: dnf install curl nodejs npm)." >&2
    exit 1
fi

mkdir -p "$place"
cp server/tests/printed/package.json "$locked" "$place"
# A cache of its own: the home may not be ours to write in.
exec deploy/setup/again.sh npm ci --prefix "$place" --cache "$PWD/$place/.cache" --ignore-scripts --no-audit --no-fund \
    --loglevel=error >&2
