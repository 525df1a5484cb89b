#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs each fuzz target for SECONDS over a copy of its kept corpus (`make fuzz` builds them), from random seed SEED
# (default 1, so that two runs differ little). Fails on a finding, which it keeps in $O-fuzz/findings. Root: fuzz_ipam
# mounts a tmpfs of its own.
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
failed=0
for target in "${targets[@]}"; do
	cp -r "$here/corpus/$target" "$work/$target"
	if "$out/tests/fuzz/fuzz_$target" -seed="${SEED:-1}" -max_total_time="$seconds" -max_len=16384 -timeout=5 -rss_limit_mb=1024 \
		-artifact_prefix="$out/findings/$target-" "$work/$target" >"$work/log" 2>&1; then
		printf '%s: %s\n' "$target" "$(tail -n 1 "$work/log")"
	else
		printf '%s: FINDING\n' "$target"
		tail -n 40 "$work/log"
		failed=1
	fi
done
exit $failed
