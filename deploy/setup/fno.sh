#!/bin/sh
# Makes sure that what the tests of libs/fno_portal need is installed: Chromium for the portals (with libatomic, which the
# driver of Playwright links), Dovecot for the mail.
# Neither is started as a service. Exit 0: all there. Exit 1: something is missing; says what to run.
set -eu
# FNO_ROOT: another root to look in, for the tests of this script.
root=${FNO_ROOT:-}
PATH="$PATH:$root/usr/sbin:$root/sbin"
cd "$(dirname "$0")"
packages="chromium dovecot-imapd libatomic1"

found() {
    { command -v "${FNO_CHROMIUM:-chromium}" || command -v chromium-browser || command -v google-chrome; } >/dev/null &&
        command -v dovecot >/dev/null &&
        ls "$root"/usr/lib/*/libatomic.so.1 "$root"/usr/lib64/libatomic.so.1 "$root"/usr/lib/libatomic.so.1 2>/dev/null | grep -q . &&
        ls "$root"/usr/lib/dovecot/imap "$root"/usr/libexec/dovecot/imap 2>/dev/null | grep -q .
}

found && exit 0

./apt-install.sh $packages >&2 || true
found && exit 0

if command -v apt-get >/dev/null; then
    echo "Chromium, libatomic or Dovecot is missing. Install them (Dovecot's own service is not needed and may stay off):" >&2
    echo "    sudo $PWD/apt-install.sh $packages" >&2
else
    echo "Chromium, libatomic or Dovecot is missing. Install Chromium, libatomic and Dovecot with IMAP" >&2
    echo "(Fedora: dnf install chromium libatomic dovecot)." >&2
fi
echo "Without them the tests of the operators' portals and mail fail, and say so." >&2
exit 1
