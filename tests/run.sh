#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# `make test`: installs what is missing, builds in three ways, runs every test, and checks that nothing was left behind.
# Each stage writes build/test/<stage>.log; the last line is "N passed, N failed[, N skipped]".
#
# shellcheck disable=SC2317 # functions are called by name, through stage
set -um # job control: each stage is a process group of its own

cd "$(dirname "$(readlink -f "$0")")/.." || exit 1
root=$PWD
out=$root/build/test
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
# Every process of this run carries this in its environment; whoever still does at the end was left behind.
export WARREN_TEST_RUN=$$-$RANDOM$RANDOM
export PYTHONDONTWRITEBYTECODE=1
unset MAKEFLAGS MFLAGS MAKELEVEL

passed=0 failed=0 skipped=0
job='' watchdog='' # process groups: the stage's, and the one that ends it when it takes too long

if [ "$(id -u)" != 0 ]; then
	echo "tests make namespaces and load programs: run them as root (sudo make test)" >&2
	exit 1
fi
rm -rf "$out"
mkdir -p "$out"

# --- stages ----------------------------------------------------------------------------------------------------------------

# How a stage's results are counted: each prints "passed failed skipped" of the log.
count_check() { # the exit status is all there is
	[ "$2" = 0 ] && echo 1 0 0 || echo 0 1 0
}

count_cmocka() {
	awk '/^\[  PASSED  \] [0-9]+ test/ { p += $4 }
	     /^\[  FAILED  \] [0-9]+ test/ { f += $4 }
	     /^\[  SKIPPED \] [0-9]+ test/ { s += $4 }
	     END { print p + 0, f + 0, s + 0 }' "$out/$1.log"
}

count_junit() {
	/usr/bin/python3 - "$out/$1.xml" <<-'PY'
		import sys, xml.etree.ElementTree as tree
		try:
		    suites = list(tree.parse(sys.argv[1]).iter("testsuite"))
		except (OSError, tree.ParseError):
		    suites = []
		total, bad, skipped = (sum(int(s.get(k, 0)) for s in suites for k in keys)
		                       for keys in (("tests",), ("failures", "errors"), ("skipped",)))
		print(max(total - bad - skipped, 0), bad, skipped)
	PY
}

count_fuzz() { # a line for each target
	awk '/^[a-z]+: Done/ { p++ }
	     /^[a-z]+: FINDING/ { f++ }
	     END { print p + 0, f + 0, 0 }' "$out/$1.log"
}

# stage NAME COUNT SECONDS COMMAND...
stage() {
	local name=$1 count=$2 limit=$3 begin=$EPOCHREALTIME status p f s
	shift 3
	printf '%-12s ' "$name"
	(set +m; "$@") </dev/null >"$out/$name.log" 2>&1 &
	job=$!
	(WARREN_TEST_RUN='' sleep "$limit" && echo "longer than $limit s" >>"$out/$name.log" && end_job "$job") &
	watchdog=$!
	wait "$job" 2>/dev/null
	status=$?
	job=
	kill -- "-$watchdog" && wait "$watchdog" 2>/dev/null
	read -r p f s < <("count_$count" "$name" "$status")
	p=${p:-0} f=${f:-0} s=${s:-0}
	# A crash, a time-out or an empty run is a failure, whatever was counted before it.
	if [ "$f" = 0 ] && { [ "$status" != 0 ] || [ $((p + s)) = 0 ]; }; then
		f=1
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%6.1f s   %d passed, %d failed, %d skipped\n' "$(seconds_since "$begin")" "$p" "$f" "$s"
	if [ "$f" != 0 ]; then
		echo "--- exit status $status; build/test/$name.log has, first the errors, then its end:"
		grep -anE 'error:|undefined reference|ERROR: |runtime error|FINDING|^\[  (FAILED|ERROR) |^(FAILED|ERROR) ' "$out/$name.log" | head -n 40
		echo "..."
		tail -n 20 "$out/$name.log"
		echo "---"
		return 1
	fi
	[ "$s" = 0 ] || grep -aE '^SKIPPED|^\[  SKIPPED \]' "$out/$name.log" | sort -u
	return 0
}

# Ends a process group; it has 20 s to clean up. (Not by SIGINT, which is ignored in all that a background job starts.)
end_job() {
	local i
	kill -TERM -- "-$1"
	for ((i = 0; i < 200; i++)); do
		kill -0 -- "-$1" 2>/dev/null || return
		sleep 0.1
	done
	kill -KILL -- "-$1"
}

seconds_since() {
	awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}

build() { # FOLDER VARIABLE...
	make -k -j"$(nproc)" O="$1" WERROR=1 "${@:2}" all unit bpftest policytest benchtools
}

unit() { # BUILD: all programs, whichever fails
	local program status=0
	for program in "$1"/tests/unit/test_*; do
		[[ $program != *.[od] ]] || continue
		echo "# $program"
		"$program" || status=1
	done
	return "$status"
}

fuzz() { # SECONDS for each target
	local -a targets=(tests/fuzz/fuzz_*.c)
	targets=("${targets[@]#tests/fuzz/fuzz_}")
	make -j"$(nproc)" fuzz && tests/fuzz/run.sh "$1" "${targets[@]%.c}"
}

pytests() { # STAGE BUILD ARGUMENT...
	WARREN_BUILD=$root/$2 /usr/bin/python3 -m pytest -p no:cacheprovider -q -rs --tb=short --junitxml="$out/$1.xml" "${@:3}"
}

# --- what is there before and after ----------------------------------------------------------------------------------------

traces() { # FILE
	# What looks is not what is looked for.
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

# --- the run ---------------------------------------------------------------------------------------------------------------

finish() {
	local line="$passed passed, $failed failed"
	[ "$skipped" = 0 ] || line+=", $skipped skipped"
	echo "$line"
	[ "$failed" = 0 ] && exit 0
	exit 1
}

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

stage deps check 900 make deps || finish
traces "$out/before"

stage build check 600 build build || [ -x build/warren-cni ] || finish
stage build-clang check 600 build build-clang CC=clang
stage build-san check 600 build build-san SAN=address,undefined
stage unit cmocka 300 unit build
stage unit-clang cmocka 300 unit build-clang
stage unit-san cmocka 300 unit build-san
stage bpf cmocka 300 build/tests/bpf/bpftest
stage policy cmocka 900 build/tests/policy/policytest
stage policy-san cmocka 600 env WARREN_CLUSTERS=1000 build-san/tests/policy/policytest
stage fuzz fuzz 600 fuzz 10
stage net junit 900 pytests net build tests/net
stage e2e junit 600 pytests e2e build tests/e2e
stage e2e-san junit 600 pytests e2e-san build-san -m smoke tests/net tests/e2e
stage demo check 300 examples/demo.sh
stage left-behind check 60 nothing_left
finish
