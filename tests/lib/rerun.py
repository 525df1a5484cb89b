#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The tests of a stage that failed, each again, alone, in a new process: twice at most. For the gate only (`make test`).

usage: rerun.py junit|cmocka STATUS LOG JUNIT; STATUS is the stage's exit status. Prints a line
"FLAKY <test> <seed> <load> <error>" for each test that passed then; exit status 0 if all of them did. None is repeated
  - if more than three failed, or something else than a test: a sanitizer's report, a signal, a time-out, what was left behind;
  - if the change under test touches its file: a new failure is a finding.
"""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as tree
from pathlib import Path
from typing import NamedTuple

MOST, TRIES = 3, 2
SECONDS = 600  # for one test
# What no second run excuses.
NEVER = re.compile(
    r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|runtime error:|Test failed with exception|without a test that failed"
    r"|^\[  FAILED  \] GROUP|Failed: Timeout >|worker '\w+' crashed|^longer than \d+ s;|ERROR at teardown of",
    re.M,
)


class Failed(NamedTuple):
    name: str
    source: str  # the file, or directory, in which a change makes it a new test
    command: list
    error: str


def of_junit(path):
    for case in tree.parse(path).iter("testcase") if path.exists() else ():
        for bad in (*case.iter("failure"), *case.iter("error")):
            file = case.get("classname").replace(".", "/") + ".py"
            test = f"{file}::{case.get('name')}"
            pytest = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short", test]
            yield Failed(test, file, pytest, bad.get("message", ""))


def of_cmocka(text):
    """Of several programs, each behind a line "# <program>"."""
    program, error, seen = "", "", set()  # a summary names each again
    for line in text.splitlines():
        if line.startswith("# build"):
            program = line[2:]
        elif match := re.match(r"\[  ERROR   \] --- (.*)", line):
            error = match[1]
        elif (match := re.fullmatch(r"\[  FAILED  \] (\w+)", line)) and (program, match[1]) not in seen:
            seen.add((program, match[1]))
            directory = re.search(r"tests/\w+", program)[0]
            # A unit test is a file; the other programs are one for all files of a directory.
            source = f"{directory}/{Path(program).name}.c" if directory == "tests/unit" else directory + "/"
            yield Failed(f"{program} {match[1]}", source, [program, match[1]], error)
            error = ""


def git(*argv):
    return subprocess.run(["git", *argv], capture_output=True, text=True).stdout.split()


def changed():
    """The files that differ from what they are in the shared branch, or, on it, from the commit before."""
    head, base = git("rev-parse", "HEAD"), git("merge-base", "HEAD", "origin/main")
    return git("diff", "--name-only", *(base if base and base != head else ["HEAD~1"]))


def excusable(failed, status, text, files):
    """None, or why nothing is repeated."""
    if found := NEVER.search(text):
        return found[0]
    if not failed:
        return f"exit status {status}, and no test failed"
    if len(failed) > MOST:
        return f"{len(failed)} tests failed"
    touched = [one.name for one in failed if any(file.startswith(one.source) for file in files)]
    return f"of the change itself: {', '.join(touched)}" if touched else None


def passes(one, env):
    for _ in range(TRIES):
        print(f"again, alone: {one.name}", flush=True)
        try:
            if subprocess.run(one.command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=env, timeout=SECONDS).returncode == 0:
                return True
        except subprocess.TimeoutExpired:
            print(f"not at an end after {SECONDS} s", flush=True)
            return False
    return False


def main():
    kind, status, log, junit = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    text = log.read_text(errors="replace")
    failed = list(of_junit(junit) if kind == "junit" else of_cmocka(text))
    if kind == "junit" and status != 1:
        failed = []
    if why := excusable(failed, status, text, changed()):
        print(f"not run again: {why}")
        return 1
    env = dict(os.environ)
    if build := re.match(r"# (build\S*)", text):
        env["WARREN_BUILD"] = str(Path(build[1]).absolute())
    if not all(passes(one, env) for one in failed):
        return 1
    load = os.getloadavg()[0]
    for one in failed:
        print(f"FLAKY {one.name} WARREN_SEED={os.environ.get('WARREN_SEED', '')} load={load:.1f} {' '.join(one.error.split())[:160]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
