#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2317 # functions are called by name
# `make lint`, or tests/lib/lint.sh [CHECK...] once the tree is built: who includes what, headers that compile alone, files
# that call each other in a cycle, retired words, spelling, man pages, tests that cannot be imported, both compilers without
# a warning, clang-tidy, cppcheck, shellcheck; any finding is a failure. `format` runs only if it is named: the tree was
# never formatted as a whole.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.." || exit
O=${O:-build}
jobs=$(nproc)
checks=("$@")
[ ${#checks[@]} -gt 0 ] || checks=(includes headers cycles words spelling manuals python gcc clang tidy cppcheck shell)
status=0 running=()

includes() {
	tests/lib/includes.py
}

headers() {
	make -s -k -j"$jobs" O="$O" WERROR=1 headers
}

cycles() {
	tests/lib/cycles.py "$O"
}

words() {
	tests/lib/words.py
}

# Names and abbreviations of the code, and what tests misspell on purpose.
spelling() {
	git ls-files -z ':!tests/fuzz/corpus' ':!*/go.sum' ':!LICENSE' ':!bpf/COPYING' | xargs -0 codespell -L ect,exept,nd,nnumber,whos
}

manuals() {
	mandoc -T lint -W warning user/man/*
}

# Every test can be imported, also those that CI does not run: each directory by itself, as their conftest.py share a name.
# Fixtures are imported for pytest.
python() {
	local directory found failed=0
	found=$(git ls-files -z '*.py' | xargs -0 pyflakes3 | grep -vE "'fixtures\.|from fixtures import")
	[ -z "$found" ] || { echo "$found"; failed=1; }
	for directory in $(git ls-files 'tests/*/test_*.py' | xargs dirname | sort -u); do
		/usr/bin/python3 -m pytest -p no:cacheprovider --collect-only -qq "$directory" >"$O/lint.python" && continue
		grep -E '^(E  |ERROR)' "$O/lint.python"
		failed=1
	done
	return "$failed"
}

compile() { # COMPILER
	make -s -j"$jobs" O="build-lint-$1" CC="$1" WERROR=1 programs unit bpftest policytest verify benchtools
}

gcc() {
	compile gcc
}

clang() {
	compile clang
}

# The analyzer, which takes nearly all of the time, checks what is installed only; in tests/unit it would not see that a failed
# assertion of cmocka does not return. Its remarks on what it has skipped are no findings, and go to stderr.
tidy() {
	local failed=0
	make -s compile_commands.json O="$O" CC=clang || return
	jq -r '.[].file' compile_commands.json | sort -u >"$O/lint.files"
	grep -v '^tests/' "$O/lint.files" | xargs -P "$jobs" -n 4 clang-tidy -p . --quiet 2>/dev/null || failed=1
	grep '^tests/' "$O/lint.files" | xargs -P "$jobs" -n 8 clang-tidy -p . --quiet --checks='-clang-analyzer-*' 2>/dev/null || failed=1
	return "$failed"
}

# It ignores cleanup attributes (memleak), and takes a variable passed by address for read (uninitvar). The skeleton (in
# $O/include) is excluded: it costs minutes for every file that includes it.
cppcheck() {
	# shellcheck disable=SC2046 # an option for each directory
	git ls-files 'user/*.c' 'cni/*.c' |
		command cppcheck --quiet -j "$jobs" --std=c11 --language=c --error-exitcode=1 --file-list=- --template=gcc \
			--enable=warning,performance,portability --suppress={memleak,uninitvar,legacyUninitvar,internalAstError} \
			--include=tests/lib/cppcheck.h $(find user cni -type d -printf " -I%p") -Ibpf
}

shell() {
	grep -rlE '^#!/bin/(ba)?sh' .ci examples packaging tests | xargs shellcheck -x
}

format() {
	git ls-files -z '*.[ch]' | xargs -0 clang-format --dry-run -Werror
}

for tool in codespell clang-tidy clang-format cppcheck jq mandoc pyflakes3 shellcheck; do
	command -v $tool >/dev/null || {
		echo "lint: $tool is missing: make test-deps" >&2
		exit 2
	}
done
# All at once, and what each has found in their order.
found=$(mktemp -d) && trap 'rm -rf "$found"' EXIT
for check in "${checks[@]}"; do
	(
		SECONDS=0
		if "$check"; then
			echo "== $check: clean, $SECONDS s"
		else
			echo "== $check: FAILED, $SECONDS s"
			exit 1
		fi
	) >"$found/$check" 2>&1 &
	running+=($!)
done
for i in "${!checks[@]}"; do
	wait "${running[i]}" || status=1
	cat "$found/${checks[i]}"
done
exit $status
