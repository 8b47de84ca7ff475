#!/usr/bin/env bash
# Makes sure that there is a Chromium, in which the console is tested. Nothing fails without one: those tests are skipped
# then, but where CI=true they fail.
set -uo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
	echo "Installing Debian's chromium, in which the console is tested ..."
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null && exit 0
fi
echo "There is no chromium, so the tests of the console in a browser are skipped (Debian: apt install chromium)."
