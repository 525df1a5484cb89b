#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh gate                `make test`: what every change must pass. Fixed seeds, loops by count, no test marked `long`;
#                                   a test that fails is run again alone (lib/rerun.py)
#        run.sh long [STAGE...]     `make test-long`: everything, with drawn seeds and orders; without names every stage
#        run.sh expected            how long each stage of `long` took the last time, and is expected to take
#
# Each stage writes build/test/<stage>.log, or build/test-long/<stage>.log; the last line is "N passed, N failed, N skipped".
# A skip that tests/lib/skips.py does not list is a failure. What a run leaves behind is one, too.
#
# shellcheck disable=SC2317 # functions are called by name, through stage
set -u

cd "$(dirname "$(readlink -f "$0")")/.." || exit 1
root=$PWD
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
# Every process of this run carries this in its environment; a process that still does at the end was left behind.
export WARREN_TEST_RUN=$$-$RANDOM$RANDOM
export PYTHONDONTWRITEBYTECODE=1
unset MAKEFLAGS MFLAGS MAKELEVEL
processors=$(nproc)

# shellcheck source=tests/lib/stage.sh
source tests/lib/stage.sh

# --- stages ----------------------------------------------------------------------------------------------------------------

# For both: what the other stages run.
build() { # DIRECTORY TARGET... VARIABLE...
	make -k -j"$processors" O="$1" WERROR=1 "${@:2}"
}
plain=(all bpftest policytest verify benchtools apiclients)

# A file at a time for each process. Tests of nodes wait most of their time: a process more than processors, and meanwhile the
# verifier of another kernel, in a machine that takes one of them for a minute.
net_and_machine() {
	local status
	{
		WARREN_VM_STAGES=verify tests/vm/run.sh 6.1
		echo "exit status $?"
	} >"$out/vm.out" 2>&1 &
	pytests net build -n $((processors + 1)) --dist loadfile -m 'not long' tests/net
	status=$?
	wait
	return "$status"
}

machine_report() {
	cat "$out/vm.out"
	[ "$(tail -n 1 "$out/vm.out")" = 'exit status 0' ]
}

gate() {
	again=yes
	export WARREN_SEED=1 WARREN_CHAOS_SEED=1
	stage build check 900 build build "${plain[@]}" || [ -x build/warren-cni ] || finish
	stage build-san check 900 build build-san CC=clang SAN=address,undefined BPF_BUILD=build all unit
	stage lint check 300 tests/lib/lint.sh includes headers cycles words spelling manuals python cppcheck shell # the compilers have been
	# In one pool, since most wait for the kernel, and the first two need one processor only. Without those that load all
	# programs again for each test: 100 s of the verifier's time.
	local -a all
	mapfile -t all < <(unit_programs build-san | grep -vE '/test_(load|uplinks|dry_run)$')
	stage programs cmocka 900 programs build/tests/bpf/bpftest build/tests/policy/policytest "${all[@]}"
	stage net junit 1200 net_and_machine
	stage attack junit 400 pytests attack build -n $((processors + 1)) --dist loadfile -m 'not long' tests/attack
	stage e2e junit 400 pytests e2e build -n $((processors + 1)) --dist loadfile -m 'not long' tests/e2e
	stage vm vm 60 machine_report
	stage demo check 120 examples/demo.sh
}

# name seconds: what each stage of `long` takes on two processors that do nothing else, in the order in which they run.
EXPECTED="build 55
build-clang 60
build-san 75
lint 25
tidy 250
unit 100
unit-clang 85
unit-san 160
bpf 50
policy 5
policy-san 85
fuzz 100
net 800
net-alone 270
attack 150
attack-alone 65
e2e 65
e2e-san 95
vm 870
kube 570
demo 15"

long() { # STAGE...
	local -a only=("$@")
	selected() { # STAGE
		[ ${#only[@]} = 0 ] || [[ " ${only[*]} " == *" $1 "* ]]
	}
	# The tests of a file run in an order of this number, so that none needs another before it.
	export WARREN_ORDER=${WARREN_ORDER:-$RANDOM} WARREN_FUZZ_PERCENT=${WARREN_FUZZ_PERCENT:-100}
	echo "WARREN_ORDER=$WARREN_ORDER repeats the order of the tests in a file"
	# What the named stages run must be there.
	stage build check 900 build build "${plain[@]}" unit || [ -x build/warren-cni ] || finish
	if selected build-clang || selected unit-clang; then
		stage build-clang check 900 build build-clang CC=clang "${plain[@]}" unit
	fi
	if selected build-san || selected unit-san || selected policy-san || selected e2e-san; then
		stage build-san check 900 build build-san CC=clang SAN=address,undefined all unit policytest
	fi
	selected lint && stage lint check 300 tests/lib/lint.sh includes headers cycles words spelling manuals python cppcheck shell
	selected tidy && stage tidy check 1500 tests/lib/lint.sh tidy
	selected unit && WARREN_CLUSTERS=800 stage unit cmocka 900 unit build
	selected unit-clang && WARREN_CLUSTERS=800 stage unit-clang cmocka 900 unit build-clang
	selected unit-san && WARREN_CLUSTERS=800 stage unit-san cmocka 900 unit build-san
	selected bpf && stage bpf cmocka 900 program build/tests/bpf/bpftest
	selected policy && stage policy cmocka 900 program build/tests/policy/policytest
	selected policy-san && stage policy-san cmocka 900 env WARREN_CLUSTERS=1000 build-san/tests/policy/policytest
	selected fuzz && stage fuzz fuzz 900 fuzz 10
	selected net && stage net junit 3000 pytests net build -n $((processors + 1)) --dist loadfile -m 'not alone' tests/net tests/vm/test_uplink_kinds.py
	selected net-alone && stage net-alone junit 1500 pytests net-alone build -m alone tests/net
	selected attack && stage attack junit 1500 pytests attack build -n "$processors" --dist loadfile -m 'not alone' tests/attack
	selected attack-alone && stage attack-alone junit 1500 pytests attack-alone build -m alone tests/attack
	selected e2e && stage e2e junit 600 pytests e2e build -n "$processors" --dist loadfile tests/e2e
	selected e2e-san && stage e2e-san junit 900 pytests e2e-san build-san -n "$processors" --dist loadfile -m smoke tests/net tests/e2e
	selected vm && stage vm vm 2600 tests/vm/run.sh
	selected kube && stage kube junit 2000 kubernetes
	selected demo && stage demo check 300 examples/demo.sh
}

fuzz() { # SECONDS for each target
	make -j"$processors" fuzz && tests/fuzz/run.sh "$1"
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
		# Of `long` there are also those of earlier runs.
		begin = (out / "before").stat().st_mtime
		def of_run(pattern):
		    return (file for file in out.glob(pattern) if file.stat().st_mtime >= begin)
		for log in of_run("*.log"):
		    program = ""
		    for line in log.read_text(errors="replace").splitlines():
		        if line.startswith("# build"):
		            program = line.rpartition("/")[2]
		        elif match := re.match(r"\[ +(?:OK|FAILED|SKIPPED) +\] (\w.*)", line):
		            names.add((program, match[1]))
		        elif match := re.match(r"(\w+): (?:Done|FINDING)", line):
		            names.add(("fuzz", match[1]))
		for report in of_run("*.xml"):
		    names.update((case.get("classname"), case.get("name")) for case in tree.parse(report).iter("testcase"))
		print(f"{len(names)} scenarios, {sys.argv[2]} runs of them")
	PY
}

# --- how long ------------------------------------------------------------------------------------------------------------

commit() {
	git describe --always --dirty 2>/dev/null || echo unknown
}

# Of each stage of `long`: expected, and in its last run.
expected() {
	local name seconds last
	printf '%-14s %8s   %s\n' stage expected 'the last time'
	while read -r name seconds; do
		last=$(awk -v stage="$name" '$2 == stage { line = $0 } END { print line }' build/test-long/report 2>/dev/null)
		printf '%-14s %6d s   %s\n' "$name" "$seconds" \
			"$(awk 'NF { printf "%d s at %s: %d passed, %d failed, %d skipped", $3, $1, $4, $5, $6 }' <<<"$last")"
	done <<<"$EXPECTED"
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

mode=${1:-}
case $mode in
gate) out=$root/build/test ;;
long) out=$root/build/test-long ;;
expected)
	expected
	exit
	;;
*)
	sed -n '/^# usage/,/^#$/ s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
for name in "${@:2}"; do
	grep -q "^$name " <<<"$EXPECTED" || {
		echo "no stage $name; they are: $(cut -d' ' -f1 <<<"$EXPECTED" | tr '\n' ' ')" >&2
		exit 2
	}
done
if [ "$(id -u)" != 0 ]; then
	echo "tests make namespaces and load programs: run them as root (sudo make test)" >&2
	exit 1
fi
[ "$mode" != long ] || expected
trap interrupted INT TERM HUP
mkdir -p "$out"
# Of `long` the reports of other stages stay.
[ "$mode" = long ] || { rm -rf "$out" && mkdir -p "$out"; }
report=$out/report at=$(commit)
stage deps check 900 make test-deps || finish
traces "$out/before"
"$mode" "${@:2}"
stage left-behind check 60 nothing_left
scenarios
finish
