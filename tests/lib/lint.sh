#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2317 # functions are called by name
# `make lint`: who includes what, spelling, both compilers without a warning, clang-tidy, shellcheck. clang-format only says what
# it would change.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.." || exit
status=0

check() { # TITLE COMMAND...
	echo "== $1"
	"${@:2}" || { echo "== $1: failed"; status=1; }
}

# Names and abbreviations of the code, and what tests misspell on purpose.
spelling() {
	git ls-files -z ':!tests/fuzz/corpus' ':!LICENSE' ':!bpf/COPYING' | xargs -0 codespell -L ect,exept,nd,nnumber,whos
}

compile() {
	make -s -j"$(nproc)" O="build-lint-$1" CC="$1" WERROR=1 programs unit bpftest benchtools
}

# Not tests/unit: the analyzer does not know that a failed assertion of cmocka does not return.
tidy() {
	make -s compile_commands.json O=build-lint-clang CC=clang
	jq -r '.[].file' compile_commands.json | sort -u | grep -v tests/unit/ | xargs -P "$(nproc)" -n 4 clang-tidy -p . --quiet 2>/dev/null
}

shell_scripts() {
	grep -rlE '^#!/bin/(ba)?sh' .ci examples tests | xargs shellcheck -x
}

format() {
	find bpf user cni tests -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run 2>&1 |
		sed -n 's/^\([^:]*\):.*clang-format-violations.*/\1/p' | sort | uniq -c | sort -rn | head -n 20
}

check "includes" tests/lib/includes.py
check "codespell" spelling
check "gcc" compile gcc
check "clang" compile clang
check "clang-tidy" tidy
check "shellcheck" shell_scripts
check "clang-format (informative: places it would change)" format
exit $status
