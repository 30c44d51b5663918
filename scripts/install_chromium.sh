#!/usr/bin/env bash
# Makes sure that there is a browser for the tests of the live page: a Chromium or Chrome that is installed; else Debian's
# package (as root), else playwright's own. Usage: scripts/install_chromium.sh PYTHON
set -u
python=${1:?usage: scripts/install_chromium.sh PYTHON}
cd "$(dirname "$0")/.."

found() { "$python" -m tests.browser; }

if browser=$(found); then echo "browser for the tests: $browser"; exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  echo "installing chromium with apt-get"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium > /dev/null
fi
found > /dev/null || { echo "installing playwright's chromium"; "$python" -m playwright install chromium; }
if browser=$(found); then echo "browser for the tests: $browser"; exit 0; fi
echo "The tests of the live page need Chromium or Chrome. Install one (Debian: apt-get install chromium), or set MIEN_CHROMIUM to its path." >&2
exit 1
