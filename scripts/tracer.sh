#!/bin/sh
# That a sync comes before every answer is seen by strace, and failing disks are made with gcc: install Debian's
# when we may. Without them those tests are skipped, except in CI, where they fail.
set -eu
missing=""
for name in strace gcc; do
    command -v "$name" >/dev/null 2>&1 || missing="$missing $name"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing for the tests of reliability ..."
    # shellcheck disable=SC2086
    apt-get update -qq && apt-get install -y -qq $missing >/dev/null && exit 0
fi
echo "not here:$missing; the tests that need them are skipped" >&2
