#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Retired words: where the tree (or the files given) still has one, and the standard term to use instead. Part of `make
lint`.
"""

import re
import subprocess
import sys

# Regular expressions, between characters that are no letters; case does not matter. After "in:": only in these
# directories.
RETIRED = """
judge\\w*|judging                    evaluate, policy verdict
in force|hold(s|ing)? up policy      enforced; delays enforcement
lease(s|d)? in: bpf/                 verdict cache
way_(from|to)_(pod|node|host)        hook
flow_settle|flow_look|goes_on|found_again   ct lookup, commit, fast path, stale, revalidate
fronts                               frontends
unanswered                           unreplied
tell_sender                          reject
(takes?|taken) (tunnels? )?apart     decapsulated, split
over_share|ct_share                  quota
sweep(s|er|ing)?|swept               conntrack gc; cleanup
twins?                               dry-run program, peer, duplicate
made-up|made_up                      synthetic
super[-_]packets?                    GSO packet
strangers?|strange                   unknown peer, external, martian
foreign                              unknown, another program's, external
hop_watch                            nexthop monitor
complain\\w*|complaints?             problem
what_to_do                           remedy
left_out                             not_programmed
strays?|orphan(s|ed)?|leftovers?     stale
folders?                             directory
\\w+_most                            _MAX
dice                                 jitter
patience                             timeout
unwire\\w*                           teardown of the veth pair
somebody|(?<!CURLOPT_)nobody|whoever             name the actor
told                                 reported, notified, given
wants?|(?<!ETHTOOL_A_FEATURES_)wanted|unwanted               required, expected
mend(s|ed|ing)?                      repair, fix
in vain                              timed out, without effect
in order again                       resolved
call(s)? in a circle|circles? of calls   call cycle
"""

# Which files are not looked at: other people's text, and this list.
EXCEPT = ("LICENSE", "bpf/COPYING", "tests/lib/words.py", "tests/fuzz/corpus/", "go.sum")


def rules():
    for line in RETIRED.strip().splitlines():
        pattern, use = re.split(r"\s{2,}", line.strip(), maxsplit=1) if " in: " not in line else re.match(r"(.* in: \S+)\s+(.*)", line.strip()).groups()
        pattern, _, where = pattern.partition(" in: ")
        yield re.compile(rf"(?<![A-Za-z])(?:{pattern})(?![A-Za-z])", re.IGNORECASE), where, use


def self_check(all_rules):
    """Each of these lines breaks as many rules as it says."""
    for count, line in (1, "was judged"), (1, "x_left_out(y)"), (1, "FILE_MOST"), (2, "nobody told"), (0, "wantonly; the foreigner; most"):
        found = sum(1 for pattern, where, _ in all_rules if not where and pattern.search(line))
        assert found == count, f"words.py: {found} findings in {line!r}, not {count}"


def main():
    files = sys.argv[1:] or subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    found, all_rules = 0, list(rules())
    self_check(all_rules)
    for file in files:
        if file.startswith(EXCEPT) or file.endswith(EXCEPT):
            continue
        try:
            with open(file, encoding="utf-8") as f:
                lines = f.readlines()
        except (UnicodeDecodeError, OSError):
            continue
        for number, line in enumerate(lines, 1):
            for pattern, where, use in all_rules:
                if file.startswith(where) and (match := pattern.search(line)):
                    print(f"{file}:{number}: '{match[0]}' is retired: {use}")
                    found += 1
    return found > 0


sys.exit(main())
