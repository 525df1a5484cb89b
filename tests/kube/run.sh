#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# `make test-e2e`: builds what is missing of Kubernetes and runs every test of this directory but the figures. A skip that
# tests/lib/skips.py does not list is a failure. WARREN_BUILD: the build directory.
#
# usage: run.sh about       what it takes
#        run.sh [FILE...]   without files all of them
set -uo pipefail

cd "$(dirname "$(readlink -f "$0")")/../.." || exit 1
build=${WARREN_BUILD:-$PWD/build}
export WARREN_BUILD=$build
[ "$(id -u)" = 0 ] || { echo "test-e2e: it makes namespaces and loads programs: run it as root (sudo make test-e2e)" >&2; exit 1; }

if [ "${1:-}" = about ]; then
	first=
	[ -e "${KUBE:-$build/kube}/images/coredns.tar" ] || first="; 11 minutes before that, to build Kubernetes"
	memory=$(awk '/^MemAvailable/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
	disk=$(df -BG --output=avail . | tail -n 1 | tr -dc 0-9)
	cat <<-END
		test-e2e: a Kubernetes of two nodes in namespaces, with Warren as its network; one cluster after the other
		  takes       an hour and a half on two processors that do nothing else$first
		  needs       root, 4 GB of memory, 6 GB of disk with Go's caches; at first the network, for Go modules
		  here        $(nproc) processors with a load of $(cut -d' ' -f1 /proc/loadavg), $memory GB of memory and $disk GB of disk free
		  leaves out  what measures: make figures-kube
	END
	exit
fi
tests/kube/build.sh || exit
[ $# != 0 ] || set -- tests/kube
rm -f "$build/test-e2e.xml"
/usr/bin/python3 -m pytest -p no:cacheprovider -q -rs -m 'not figures' --junitxml="$build/test-e2e.xml" "$@"
status=$?
skips=$(tests/lib/skips.py test-e2e /dev/null "$build/test-e2e.xml") || status=1
# Of a part of the tests it is no news that others were not skipped.
if [ "$*" = tests/kube ]; then echo "$skips"; else grep '^ERROR' <<<"$skips"; fi
exit "$status"
