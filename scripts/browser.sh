#!/bin/sh
# The page is tested in a real browser: find Chromium, or install Debian's when we may.
set -eu
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium for the page's tests ..."
    apt-get update -qq && apt-get install -y -qq chromium >/dev/null && exit 0
fi
echo "no Chromium here: install Debian's 'chromium' package, then run make test again" >&2
exit 1
