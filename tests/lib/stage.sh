# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Stages of a test run: each is a process group of its own, ends in time, writes $out/<stage>.log and is counted. Sourced by
# tests/run.sh and, inside the virtual machines, by tests/vm/guest.sh.
#
# shellcheck disable=SC2154 # $root (the tree) and $out are the sourcing script's

within='' # put before a stage's name in the skip budget (skips.py): "vm/" in those machines
set -m # job control: each stage is a process group of its own
passed=0 failed=0 skipped=0
failures=() # what failed where, printed again at the end: of a long log often only that is kept
flakes=()   # tests that failed and then passed alone
report='' at=''  # a file with a line for each stage that has run, and of which commit: "COMMIT STAGE SECONDS PASSED FAILED SKIPPED"
again=''    # set: tests that fail are run again, alone (rerun.py)
job='' watchdog='' # process groups: the stage's, and the one that ends it when it takes too long

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

count_vm() { # a line for each machine: "KERNEL: N passed, N failed, N skipped"
	awk '/^[0-9][^ ]*: [0-9]+ passed, [0-9]+ failed/ { p += $2; f += $4; s += $6 }
	     /^SKIPPED [0-9.]+: / { s++ } # a kernel that is not available
	     END { print p + 0, f + 0, s + 0 }' "$out/$1.log"
}

errors() { # STAGE COUNT: at most that many lines of its log that show the failure
	grep -anE 'error:|undefined reference|ERROR: |runtime error|FINDING|^\[  (FAILED|ERROR) |^(FAILED|ERROR) ' "$out/$1.log" | head -n "$2"
}

# stage NAME COUNT SECONDS COMMAND...
stage() {
	local name=$1 count=$2 limit=$3 begin=$EPOCHREALTIME status p f s
	shift 3
	printf '%-12s ' "$name"
	(set +m; "$@") </dev/null >"$out/$name.log" 2>&1 &
	job=$!
	(WARREN_TEST_RUN='' sleep "$limit" && { too_long "$limit" >>"$out/$name.log"; end_job "$job"; }) &
	watchdog=$!
	wait "$job" 2>/dev/null
	status=$?
	job=
	kill -- "-$watchdog" && wait "$watchdog" 2>/dev/null
	read -r p f s < <("count_$count" "$name" "$status")
	p=${p:-0} f=${f:-0} s=${s:-0}
	if [ "$status" != 0 ] && [ "$f" != 0 ] && [ -n "$again" ] && pass_alone "$name" "$count" "$status"; then
		p=$((p + f)) f=0 status=0
	fi
	# A crash, a time-out or an empty run is a failure, whatever was counted before it.
	if [ "$f" = 0 ] && { [ "$status" != 0 ] || [ $((p + s)) = 0 ]; }; then
		f=1
	fi
	# So is a skip that the budget has not got; one line says what should have been skipped and was not.
	if ! /usr/bin/python3 "$root/tests/lib/skips.py" "$within$name" "$out/$name.log" "$out/$name.xml" >"$out/$name.skips"; then
		cat "$out/$name.skips" >>"$out/$name.log"
		[ "$f" != 0 ] || f=1
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%6.1f s   %d passed, %d failed, %d skipped\n' "$(seconds_since "$begin")" "$p" "$f" "$s"
	[ -z "$report" ] || echo "$at $name $(seconds_since "$begin") $p $f $s" >>"$report"
	if [ "$f" != 0 ]; then
		echo "--- exit status $status; ${out#"$root/"}/$name.log has, first the errors, then its end:"
		errors "$name" 40
		failures+=("$name: exit status $status")
		mapfile -t -O ${#failures[@]} failures < <(errors "$name" 6 | sed "s/^/$name.log:/")
		echo "..."
		tail -n 20 "$out/$name.log"
		echo "---"
		return 1
	fi
	[ "$s" = 0 ] || grep -aE '^SKIPPED|^\[  SKIPPED \]' "$out/$name.log" | sort -u
	cat "$out/$name.skips"
	return 0
}

# Whether all tests that failed in a stage pass when they run again, alone.
pass_alone() { # STAGE COUNT STATUS
	local text status=0
	text=$(/usr/bin/python3 "$root/tests/lib/rerun.py" "$2" "$3" "$out/$1.log" "$out/$1.xml" </dev/null 2>&1) || status=1
	printf '%s\n' "$text" >>"$out/$1.log"
	[ "$status" = 0 ] || return 1
	mapfile -t -O ${#flakes[@]} flakes < <(grep '^FLAKY ' <<<"$text")
}

too_long() { # SECONDS
	echo "longer than $1 s; of its processes these still run:"
	ps -e -o pgid,pid,stat,etimes,wchan:20,args | awk -v group="$job" '$1 == group' | tail -n 8 | cut -c 1-160
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

# The last line of a run, and its exit.
finish() {
	[ ${#failures[@]} = 0 ] || printf '%s\n' "${failures[@]}" | cut -c 1-200
	[ ${#flakes[@]} = 0 ] || printf '%s\n' "${flakes[@]}" | tee "$out/flaky.txt"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] && exit 0
	exit 1
}

# --- what several runs have -------------------------------------------------------------------------------------------------

# The line that names the program is for rerun.py.
program() { # PROGRAM ARGUMENT...
	echo "# $1"
	"$@"
}

unit() { # BUILD [NAME...]: these programs, or all of them, whichever fails
	local -a programs=("${@:2}")
	if [ ${#programs[@]} = 0 ]; then
		mapfile -t programs < <(unit_programs "$1")
	else
		programs=("${programs[@]/#/$1/tests/unit/test_}")
	fi
	programs "${programs[@]}"
}

unit_programs() { # BUILD: from the end of the alphabet, where the longest are
	find "$1/tests/unit" -name 'test_*' ! -name '*.[od]' | sort -r
}

# Some at a time, as they mostly wait for the kernel (RCU): what one has printed stands in the log when it has ended.
programs() { # PROGRAM...
	local -a programs=("$@")
	# The first of them is there, and so can be locked.
	# shellcheck disable=SC2016 # the inner shell's variables
	printf '%s\0' "${programs[@]}" | first=${programs[0]} xargs -0 -n 1 -P 4 sh -c '
		log=$(mktemp) && trap "rm -f $log" EXIT
		"$0" >"$log" 2>&1
		status=$?
		exec 9<"$first" && flock 9
		echo "# $0"
		cat "$log"
		[ "$status" = 0 ] && exit
		if [ "$status" -ge 124 ] || ! grep -q "^\[  FAILED  \]" "$log"; then
			echo "ERROR: $0: exit status $status without a test that failed"
		fi
		exit 1'
}

each=300 # seconds for one test with its fixtures: one that hangs ends alone
pytests() { # STAGE BUILD ARGUMENT...
	echo "# $2"
	WARREN_BUILD=$root/$2 /usr/bin/python3 -m pytest -p no:cacheprovider -q -rs --tb=short --timeout="$each" --junitxml="$out/$1.xml" "${@:3}"
}
