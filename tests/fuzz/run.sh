#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs each fuzz target for SECONDS over a copy of its kept corpus (`make fuzz` builds them), from a random seed that is drawn
# and printed, or from SEED. Fails on a finding, which it keeps in $O-fuzz/findings, with the command that repeats it. Root:
# fuzz_ipam mounts a tmpfs of its own.
set -euo pipefail

seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
out=${O:-$here/../../build}-fuzz
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
	targets=("$here"/fuzz_*.c)
	targets=("${targets[@]##*/fuzz_}")
	targets=("${targets[@]%.c}")
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out/findings"
seed=${SEED:-$SRANDOM}
echo "SEED=$seed repeats this run"
export here out seconds work seed

one() { # TARGET: one line, or what was found
	cp -r "$here/corpus/$1" "$work/$1"
	if "$out/tests/fuzz/fuzz_$1" -seed="$seed" -max_total_time="$seconds" -max_len=16384 -timeout=5 -rss_limit_mb=1024 \
		-artifact_prefix="$out/findings/$1-" "$work/$1" >"$work/$1.log" 2>&1; then
		printf '%s: %s\n' "$1" "$(tail -n 1 "$work/$1.log")"
	else
		printf '%s: FINDING\n%s\n' "$1" "$(tail -n 40 "$work/$1.log")"
		echo "ERROR: $1: SEED=$seed tests/fuzz/run.sh $seconds $1 repeats it; its input alone: $out/tests/fuzz/fuzz_$1 FILE"
		return 1
	fi
}
export -f one

# shellcheck disable=SC2016 # $0 is the inner shell's
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'one "$0"'
