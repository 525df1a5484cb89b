#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# `make test`: installs what is missing, builds with both compilers, runs every test, and checks that nothing was left behind.
# Each stage writes build/test/<stage>.log; the last line is "N passed, N failed, N skipped".
# A skip that tests/lib/skips.py does not list is a failure.
#
# shellcheck disable=SC2317 # functions are called by name, through stage
set -u

cd "$(dirname "$(readlink -f "$0")")/.." || exit 1
root=$PWD
out=$root/build/test
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
# Every process of this run carries this in its environment; a process that still does at the end was left behind.
export WARREN_TEST_RUN=$$-$RANDOM$RANDOM
export PYTHONDONTWRITEBYTECODE=1
unset MAKEFLAGS MFLAGS MAKELEVEL

if [ "$(id -u)" != 0 ]; then
	echo "tests make namespaces and load programs: run them as root (sudo make test)" >&2
	exit 1
fi
rm -rf "$out"
mkdir -p "$out"
# shellcheck source=tests/lib/stage.sh
source tests/lib/stage.sh

# --- stages ----------------------------------------------------------------------------------------------------------------

build() { # DIRECTORY VARIABLE...
	make -k -j"$(nproc)" O="$1" WERROR=1 "${@:2}" all unit bpftest policytest verify benchtools
}

fuzz() { # SECONDS for each target
	make -j"$(nproc)" fuzz && tests/fuzz/run.sh "$1"
}

# The part that fits into the time of a machine without earlier builds; `make test-e2e` runs all. Without its programs, for
# whatever reason, the stage fails.
kubernetes() {
	local status=0
	# timeout makes a process group of its own, which the end of the stage's does not end.
	timeout 900 tests/kube/build.sh cluster e2e &
	# shellcheck disable=SC2064 # the number as it is now
	trap "kill $!; exit 1" TERM
	wait $! || status=$?
	trap - TERM
	if [ "$status" != 0 ]; then
		[ "$status" != 124 ] || echo "ERROR: Kubernetes is not built within 15 minutes; the next run goes on from there"
		echo "ERROR: build.sh: exit status $status: without its programs nothing of this stage can run"
		return "$status"
	fi
	make image || return
	WARREN_SPECS='default-deny-all|allow-all|updated pod|named port|CIDR' pytests kube build -m 'not long' \
		tests/kube/test_token.py tests/kube/test_warren.py tests/kube/test_netpol.py
}

# --- what is there before and after ----------------------------------------------------------------------------------------

traces() { # FILE
	# Without the processes of the search itself.
	export -n WARREN_TEST_RUN
	list_traces | sort >"$1"
	export WARREN_TEST_RUN
}

list_traces() {
	local pid
	ip -o link | awk -F': ' '{ print "link " $2 }'
	ip netns | sed 's/^/netns /'
	nft list tables 2>/dev/null | sed 's/^/nft /'
	awk '{ print "mount " $2 " " $3 }' /proc/self/mounts
	find /sys/fs/bpf /run/warren /var/lib/cni /etc/cni /opt/cni -mindepth 1 2>/dev/null | sed 's/^/file /'
	find /sys/fs/cgroup -type d -name 'warren*' 2>/dev/null | sed 's/^/cgroup /'
	sysctl -e net.ipv4.ip_forward net.ipv6.conf.all.forwarding | sed 's/^/sysctl /'
	grep -lsz "^WARREN_TEST_RUN=$WARREN_TEST_RUN\$" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
		echo "process $pid $(ps -o args= -p "$pid")"
	done
}

nothing_left() {
	traces "$out/after"
	echo "Left behind (new in the second list), or taken away (gone from it):"
	diff "$out/before" "$out/after" && echo nothing
}

# How many different tests there were: many run in several builds, and on several kernels.
scenarios() {
	/usr/bin/python3 - "$out" "$((passed + failed))" <<-'PY'
		import pathlib, re, sys, xml.etree.ElementTree as tree
		out, names = pathlib.Path(sys.argv[1]), set()
		for log in out.glob("*.log"):
		    program = ""
		    for line in log.read_text(errors="replace").splitlines():
		        if line.startswith("# build"):
		            program = line.rpartition("/")[2]
		        elif match := re.match(r"\[ +(?:OK|FAILED|SKIPPED) +\] (\w.*)", line):
		            names.add((program, match[1]))
		        elif match := re.match(r"(\w+): (?:Done|FINDING)", line):
		            names.add(("fuzz", match[1]))
		for report in out.glob("*.xml"):
		    names.update((case.get("classname"), case.get("name")) for case in tree.parse(report).iter("testcase"))
		print(f"{len(names)} scenarios, {sys.argv[2]} runs of them")
	PY
}

# --- the run ---------------------------------------------------------------------------------------------------------------

interrupted() {
	trap '' INT TERM HUP
	echo "interrupted"
	if [ -n "$job" ]; then
		kill -- "-$watchdog"
		end_job "$job"
		wait "$job" 2>/dev/null
	fi
	[ ! -e "$out/before" ] || nothing_left
	failed=$((failed + 1))
	finish
}
trap interrupted INT TERM HUP

stage deps check 900 make test-deps || finish
traces "$out/before"

stage build check 600 build build || [ -x build/warren-cni ] || finish
stage build-san check 600 build build-san CC=clang SAN=address,undefined
stage lint check 1500 tests/lib/lint.sh includes headers cycles words spelling manuals python tidy cppcheck shell # the compilers have been
stage unit cmocka 300 unit build
stage unit-san cmocka 600 unit build-san
stage bpf cmocka 600 build/tests/bpf/bpftest
stage policy cmocka 900 build/tests/policy/policytest
stage policy-san cmocka 600 env WARREN_CLUSTERS=1000 build-san/tests/policy/policytest
stage fuzz fuzz 600 fuzz 10
# A process for each processor, a file at a time. Those of `net` wait most of their time: one more.
stage net junit 1800 pytests net build -n $(($(nproc) + 1)) --dist loadfile tests/net tests/vm/test_uplink_kinds.py
stage attack junit 600 pytests attack build -n auto --dist loadfile -m 'not long' tests/attack
stage e2e junit 600 pytests e2e build -n auto --dist loadfile tests/e2e
stage e2e-san junit 600 pytests e2e-san build-san -n auto --dist loadfile -m smoke tests/net tests/e2e
stage vm vm 1900 tests/vm/run.sh
stage kube junit 1500 kubernetes
stage demo check 300 examples/demo.sh
stage left-behind check 60 nothing_left
scenarios
finish
