# SPDX-License-Identifier: BSD-2-Clause
"""Measurements that need the kernel's threads, which bench.py cannot see in its PID namespace: run.sh runs this before
it.
"""

import re
import sys

import nic
import xdp
from nodes import BenchError, private_mounts
from options import options
from report import save_json, say

PARTS = {"nic": nic.measure, "deny": xdp.measure}


def results(args):
    return f"{args.build}/bench/receiver.json"


def main():
    args = options(__doc__)
    rows, failures = [], []
    private_mounts()
    for name, measure in PARTS.items():
        if re.search(args.only, name):
            try:
                more, failed = measure(args)
                rows += more
                failures += failed
            except (BenchError, AssertionError, OSError) as error:
                failures.append(f"{name}: {error}")
    save_json(rows, results(args))
    for failure in failures:
        say(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
