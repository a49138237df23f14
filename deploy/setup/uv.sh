#!/bin/sh
# Prints the path of a working uv: the one on the PATH, else one of our own in .tools, installed with pip.
set -eu
cd "$(dirname "$0")/../.."

if uv --version >/dev/null 2>&1; then
    command -v uv
    exit 0
fi

own="$PWD/.tools/bin/uv"
if ! "$own" --version >/dev/null 2>&1; then
    echo "Installing uv into .tools" >&2
    if ! python3 -m venv --clear .tools >/dev/null 2>&1; then
        # Debian keeps ensurepip in a package of its own.
        deploy/setup/apt-install.sh python3-venv >&2 || true
        if ! python3 -m venv --clear .tools >&2; then
            echo "Python's venv is missing. Install it (Debian: apt-get install python3-venv), or install uv" >&2
            echo "(https://docs.astral.sh/uv), then run make again." >&2
            exit 1
        fi
    fi
    deploy/setup/again.sh .tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8' >&2
fi
echo "$own"
