#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds, then measures in namespaces that end with this process, however it ends. See bench.py for the options.
set -eu
cd "$(dirname "$0")/../.."
O=${O:-build}
PYTHON=${PYTHON:-/usr/bin/python3}
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1

for arg; do
	case $arg in
	-h | --help) exec "$PYTHON" tests/bench/bench.py --help ;;
	esac
done
if [ "$(id -u)" != 0 ]; then
	echo "bench: namespaces and BPF programs need root: sudo make bench" >&2
	exit 2
fi
for tool in ip nft iptables-nft-restore ethtool gnuplot setpriv unshare nsenter "$PYTHON" /usr/lib/cni/bridge; do
	command -v "$tool" >/dev/null || {
		echo "bench: $tool is missing: make test-deps" >&2
		exit 2
	}
done
make -s O="$O" all benchtools bpftest policytest >&2
mkdir -p "$O/bench"
rm -f "$O/bench/receiver.json" # results of an earlier run
WARREN_BUILD=$(readlink -f "$O")
export WARREN_BUILD

# Both in a mount namespace of their own, and ended with this process. receiver.py has to see the kernel's threads.
status=0
setpriv --pdeathsig KILL unshare --mount "$PYTHON" tests/bench/receiver.py --build "$O" "$@" &
trap 'kill -KILL $!; exit 130' INT TERM HUP
wait $! || status=1

# The first process of a PID namespace takes everything in it along, plugins' background children included; a shell is
# there because the first process also has to reap them. $@ is expanded there, not here.
# shellcheck disable=SC2016
setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc \
	bash -c '"$@"; exit $?' bash "$PYTHON" tests/bench/bench.py --build "$O" "$@" &
# unshare itself waits out SIGINT and SIGTERM.
wait $! || status=1
exit $status
