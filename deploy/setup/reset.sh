#!/bin/sh
# Deletes the data directory, also the part of it that lies below /var/lib/demarc. Refuses while a platform runs on it.
set -eu
cd "$(dirname "$0")/../.."
data="${DEMARC_DATA_DIR:-.demarc}"
[ -d "$data" ] || { echo "There is no data directory $data."; exit 0; }
# Only what looks like ours: a slip in DEMARC_DATA_DIR must not cost somebody's home.
if [ ! -e "$data/secrets" ] && [ ! -e "$data/postgres" ] && [ ! -e "$data/run/lock" ]; then
    echo "$data does not look like a data directory of Demarc; nothing deleted." >&2
    exit 1
fi
for lock in "$data/run/lock" "$data/postgres/lock"; do
    if [ -e "$lock" ] && ! flock --nonblock "$lock" true; then
        echo "A platform (pid $(cat "$lock")) is running on $data. Stop it first." >&2
        exit 1
    fi
done
if [ -L "$data/postgres" ]; then
    case "$(readlink "$data/postgres")" in
        /var/lib/demarc/clusters/?*) rm -rf -- "$(readlink "$data/postgres")" ;;
    esac
fi
rm -rf -- "$data"
echo "Deleted $data."
