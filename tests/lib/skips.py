#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The skip budget: which tests a stage of `make test` or `make test-e2e` may skip, and why. Any other skip is a failure.

usage: skips.py STAGE LOG [JUNIT], after the stage: prints each skip that is not expected; exit status 1 if there is one.
Prints in one line the expected skips that did not occur. A stage inside a machine of `make test-vm` is "vm/<stage>".
"""

import platform
import re
import subprocess
import sys
import xml.etree.ElementTree as tree
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple


def kernel_before(*version):
    return tuple(map(int, re.findall(r"\d+", platform.release())[:2])) < version


def inotify_queue_is_long():
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii")) > 200000


def kernel_has(kind):
    """Such devices: tunnels, bridges, VLANs, bonds."""
    made = {"bridge": "type bridge", "vlan": "link card type vlan id 7", "bond": "type bond"}
    made = made.get(kind, f"type {kind} local 192.0.2.1 remote 192.0.2.2")
    commands = f"link add name card type veth peer name other\nlink add name own {made}\n"
    return subprocess.run(["unshare", "--net", "ip", "-batch", "-"], input=commands.encode(), capture_output=True).returncode == 0


class Expected(NamedTuple):
    stages: str  # several are separated by spaces
    test: str  # a shell pattern for "file.py::test[parameters]", or for a test's name in C
    reason: str  # a regular expression for a part of what the skip prints; empty for tests in C, which print it apart
    here: bool = True  # whether this machine is one where it is skipped


EXPECTED = (
    Expected("policy-san", "without_memory_nothing_is_lost", ""),  # the sanitizer's allocator cannot be made to fail
    Expected("programs unit unit-clang unit-san", "reads_all_after_an_overflow", "", inotify_queue_is_long()),
    Expected("net", "test_overlay_paths.py::test_received_by_the_card_of_a_backup_route*over-v6*", "IPv6 the FIB lookup"),
    Expected("net", "test_xdp_tap.py::*", "before Linux 6.15 a TAP has no XDP metadata", kernel_before(6, 15)),
    Expected("net", "test_uplink_kinds.py::*", "this kernel has no vlan devices|got empty parameter set", not kernel_has("vlan")),
    Expected("net", "test_uplink_kinds.py::*", "this kernel has no bond devices", not kernel_has("bond")),
    Expected("attack", "test_partial_checksum.py::test_tunnel_of_pods*gre*", "this kernel has no gretap", not kernel_has("gretap")),
    Expected("attack", "test_partial_checksum.py::test_tunnel_of_pods*ipip*", "this kernel has no ipip", not kernel_has("ipip")),
    Expected("kube", "test_warren.py::test_names*", "there is no CoreDNS"),  # `make test` does not build it
    Expected("vm", "*", "only machines of the type x86_64", platform.machine() != "x86_64"),
    Expected("test-e2e", "test_watch.py::test_etcd_restored_from_a_backup*watch-list*", "with chunks only"),
    # Of Kubernetes' own tests: a skeleton provider, two nodes, no zones, kube-proxy in nftables mode.
    Expected(
        "test-e2e", "test_network.py::test_spec*",
        r"Only supported for providers|No SSH Key|is not running as pod|3 schedulable nodes|zones?\b|requires iptables proxy mode",
    ),
)


def of_log(stage, path):
    """(test, reason) of cmocka's lines. Of the stage `vm` the lines of run.sh: the machines have counted their own tests."""
    pattern = r"SKIPPED ([\d.]+): (.*)" if stage == "vm" else r"\[  SKIPPED \] (\w+)()"
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        if match := re.fullmatch(pattern, line):
            yield match[1], match[2]


def of_junit(path):
    for case in tree.parse(path).iter("testcase") if path.exists() else ():
        for skipped in case.iter("skipped"):
            file = case.get("classname", "").rpartition(".")[2]
            yield f"{file}.py::{case.get('name')}", skipped.get("message", "")


def compare(found, expected):
    """(skips that are not expected, expected ones that did not occur)"""

    def fits(row, skip):
        # "[...]" is the parameters of a test, never a set of characters.
        return fnmatchcase(skip[0], row.test.replace("[", "[[]")) and re.search(row.reason, skip[1])

    return (
        [skip for skip in found if not any(fits(row, skip) for row in expected)],
        [row for row in expected if not any(fits(row, skip) for skip in found)],
    )


def main():
    stage, log, *junit = sys.argv[1:]
    found = sorted({*of_log(stage, Path(log)), *(skip for path in junit for skip in of_junit(Path(path)))})
    unexpected, missing = compare(found, [row for row in EXPECTED if row.here and stage in row.stages.split()])
    for test, reason in unexpected:
        print(f"ERROR: a skip that is not expected: {test}: {reason or 'the log has the reason'}")
    if missing:
        print(f"expected to be skipped, but not: {', '.join(row.test for row in missing)}")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
