#!/bin/sh
# apt-install.sh PACKAGE…: installs without questions and without starting any service. Root only.
set -eu
policy=/usr/sbin/policy-rc.d
kept=$(mktemp -d)

restore() {
    if [ -e "$kept/policy-rc.d" ]; then mv "$kept/policy-rc.d" "$policy"; else rm -f "$policy"; fi
    rm -rf "$kept"
}

# invoke-rc.d asks this file; 101 means "do not start" (Debian policy-rc.d specification).
if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$kept/policy-rc.d"; fi
trap restore EXIT
trap 'exit 130' INT TERM HUP
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
lock="-o DPkg::Lock::Timeout=300"
install() { apt-get $lock install --yes --quiet --no-install-recommends "$@" </dev/null; }

# Lists may be missing (containers) or too old to name files that still exist.
if ! install "$@"; then
    apt-get $lock update --quiet </dev/null
    install "$@"
fi
