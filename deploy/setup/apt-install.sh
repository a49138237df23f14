#!/bin/sh
# apt-install.sh PACKAGE…: installs without questions and without starting any service: as root, else by `sudo -n`.
# Exit 0: installed. Otherwise not: no apt-get here or no right to use it (says nothing), or it failed again and again.
# SETUP_ROOT, SETUP_PAUSE: another root for the policy file, and seconds between two tries, for the tests of this script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
command -v apt-get >/dev/null || exit 1
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || exit 1
    exec sudo -n "$here/apt-install.sh" "$@"
fi

echo "Installing $*" >&2
# One at a time: each moves the policy file away and back.
if [ -z "${SETUP_LOCKED:-}" ] && command -v flock >/dev/null; then
    SETUP_LOCKED=yes exec flock "$here/apt-install.sh" "$here/apt-install.sh" "$@"
fi
policy=${SETUP_ROOT:-}/usr/sbin/policy-rc.d
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
options="-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
install() { apt-get $options install --yes --quiet --no-install-recommends "$@" </dev/null; }

# Lists may be missing (containers) or too old to name files that still exist, a mirror busy, another apt-get at work.
for pause in 0 5 20; do
    if install "$@"; then exit 0; fi
    sleep "${SETUP_PAUSE:-$pause}"
    apt-get $options update --quiet </dev/null || true
done
install "$@" && exit 0
echo "apt-get could not install $*" >&2
exit 1
