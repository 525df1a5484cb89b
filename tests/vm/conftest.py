# SPDX-License-Identifier: BSD-2-Clause
"""What some kernels do not have. These tests run wherever it is; in the machines of `make test-vm` all of it is."""

import socket
import subprocess
import sys

import pytest

from lab import REPO

sys.path.append(str(REPO / "tests/net"))  # agent_lab, overlay_lab, policy_lab

from overlay_lab import ALL, Overlay


def has_sctp():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


def module(name):
    return subprocess.run(["modprobe", name], capture_output=True).returncode == 0


NEEDS = {
    "sctp": (has_sctp, "this kernel has no SCTP sockets"),
    "netem": (lambda: module("sch_netem"), "this kernel has no netem"),
    "geneve": (lambda: module("geneve"), "this kernel has no geneve devices"),
}


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(what): something that not every kernel has")


def pytest_runtest_setup(item):
    for marker in item.iter_markers("needs"):
        there, reason = NEEDS[marker.args[0]]
        if not there():
            pytest.skip(reason)


@pytest.fixture(scope="session", params=ALL, ids=["over-v4", "over-v6"])
def overlay(request):
    """Two nodes, for all tests: here it is the verifier's work that takes long, so the agents alone load the programs."""
    with Overlay(nodes=2, outer=request.param, init=False) as overlay:
        overlay.pod("default/a", "n1", app="a")
        overlay.pod("default/b", "n2", app="b")
        overlay.pod("default/c", "n1", app="c")
        yield overlay
