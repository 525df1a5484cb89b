# SPDX-License-Identifier: BSD-2-Clause
"""What needs to see the kernel's threads, which bench.py does not in its PID namespace: run.sh runs this ahead of it."""

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
    rows, failed = [], False
    private_mounts()
    for name, measure in PARTS.items():
        if re.search(args.only, name):
            try:
                rows += measure(args)
            except (BenchError, AssertionError, OSError) as error:
                say(f"FAILED: {name}: {error}")
                failed = True
    save_json(rows, results(args))
    return failed


if __name__ == "__main__":
    sys.exit(main())
