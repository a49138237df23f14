#!/bin/sh
# The load generators of the benchmarks are C. Nothing else needs a compiler.
set -eu
if command -v cc >/dev/null && printf '#include <openssl/md5.h>\n' | cc -E - >/dev/null 2>&1; then exit 0; fi
"$(dirname "$0")/apt-install.sh" gcc libc6-dev libssl-dev >&2 && exit 0
echo "The benchmarks need a C compiler and OpenSSL's headers: sudo apt-get install gcc libc6-dev libssl-dev" >&2
exit 1
