#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The first process of a test machine (tests/vm/run.sh): makes it a Linux system, runs the tests that another kernel could
# fail, prints the results between two lines that begin with "==", and ends the machine.
#
# shellcheck disable=SC2317 # functions are called by name, through stage
set -u

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
export PYTHONDONTWRITEBYTECODE=1 WARREN_TEST_TIMEOUT=120
root=/warren out=/run/test

system_up() {
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs dev /dev
	mkdir -p /dev/pts /dev/shm
	mount -t devpts devpts /dev/pts
	mount -t tmpfs -o mode=755 run /run
	mount -t tmpfs tmp /tmp
	mount -t cgroup2 cgroup /sys/fs/cgroup
	mount -t bpf -o mode=700 bpf /sys/fs/bpf
	ln -s /proc/self/fd /dev/fd
	hostname vm
	ip link set lo up
	# Without them: no autoloading for a family's sockets, nor for the kinds of devices that Warren or a test
	# requests by name.
	modprobe -a overlay sctp veth sch_ingress cls_bpf 2>&1
}

# Debug output if the tests have not ended in time.
stuck() { # SECONDS
	local log pid
	log=$(find "$out" -name '*.log' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
	echo "--- not at an end after $1 s; $log ends with:"
	tail -n 20 "$log"
	echo "--- processes, and what they do in the kernel:"
	ps -o pid,ppid,stat,etimes,time,args --ppid 2 --deselect
	for pid in $(ps -o pid= --ppid 2 --deselect); do
		sed "s/^/$pid: /" "/proc/$pid/stack" 2>/dev/null
	done
	echo l >/proc/sysrq-trigger # each processor's own
	dmesg | grep -E ' CPU: | RIP: |\+0x' | tail -n 60
}

# The first process runs only this, so that the machine always ends.
if [ $$ = 1 ]; then
	system_up >/dev/console 2>&1
	(sleep "$1" && { stuck "$1" >/dev/console 2>&1; echo b >/proc/sysrq-trigger; }) &
	setsid --wait "$0" "${@:2}" </dev/console >/dev/console 2>&1
	stty -F /dev/console sane # waits until everything is written
	echo b >/proc/sysrq-trigger
	sleep infinity
fi

cd "$root" || exit
mkdir -p "$out"
# shellcheck source=tests/lib/stage.sh
source tests/lib/stage.sh
within=vm/ each=600

# Kernel warnings are failures, except known ones that Warren does not cause.
kernel_log() {
	! dmesg | grep -E 'WARNING:|BUG:|Oops|general protection|refcount|lockup' |
		grep -v 'geneve_udp_encap_recv' # 6.12, on any Geneve option
}

selected() { # STAGE
	[ ${#stages[@]} = 0 ] || [[ " ${stages[*]} " == *" $1 "* ]]
}

stages=("$@")
echo "== begin"
echo "$(uname -r), up in $(cut -d' ' -f1 /proc/uptime) s"
if selected verify; then
	stage verify check 300 build/tests/vm/verify
	sed 's/^/verify: /' "$out/verify.log"
fi
selected bpf && stage bpf cmocka 400 env WARREN_FUZZ_PERCENT=1 build/tests/bpf/bpftest
# Of the unit tests those that use the kernel.
selected unit && stage unit cmocka 200 unit build attachment deny device guard inet link nl nl_answers
# Of the network's tests those for these machines, the basic one of ADD without an agent, the host's sockets, and clients
# outside. (Each further node costs a load of its programs, the most expensive part of any of these tests: those of tests/vm
# share two.)
external=()
for family in v4 v6; do
	external+=("test_client_keeps_its_address[tunnel-over-v4-$family-default/b1]"
		"test_client_keeps_its_address[tunnel-over-v4-$family-default/b2]"
		"test_without_backends_it_is_refused[tunnel-over-v4-$family]" "test_fragments[tunnel-over-v4-$family]")
done
selected net && stage net junit 600 pytests net build -vv --durations=12 -m 'not matrix' \
	tests/vm tests/net/test_wiring.py::test_what_add_makes tests/net/test_services_host.py \
	"${external[@]/#/tests/net/test_services_external.py::}"
# Of the attacks those whose outcome depends on the kernel. (An empty run is a failure, as everywhere.)
selected attack && stage attack junit 300 pytests attack build -vv --durations=8 -m kernels tests/attack
stage kernel-log check 10 kernel_log
(finish) | sed "s/^/$(uname -r): /"
echo "== end"
