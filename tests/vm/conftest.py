# SPDX-License-Identifier: BSD-2-Clause
"""What some kernels do not have. These tests run wherever it is; in the machines of `make test-vm` all of it is."""

import socket
import subprocess

import pytest

from fixtures import n1, n2  # noqa: F401 pytest finds the fixtures here
from overlay import Overlay


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
    config.addinivalue_line("markers", "matrix: would take too long in the machines of `make test-vm`")


def pytest_runtest_setup(item):
    for marker in item.iter_markers("needs"):
        there, reason = NEEDS[marker.args[0]]
        if not there():
            pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster():
    """Two nodes, for all tests: here it is the verifier's work that takes long, so the agents alone load the programs,
    once.
    """
    # The kernel's geneve devices send from any port.
    with Overlay(nodes=2, outer=None, options=["--tunnel-source-ports", "any"]) as overlay:
        yield overlay


# IPv6 first: its larger overhead makes the pods' MTU right for IPv4, too.
@pytest.fixture(scope="session", params=(6, 4), ids=["over-v6", "over-v4"])
def overlay(cluster, request):
    """The nodes with tunnels of one family: the only one that they have addresses of."""
    cluster.outer = request.param
    for node in cluster.nodes.values():
        cluster.write(f"node-{node.label}", node.object(addresses=[node.address[cluster.outer]]))
    cluster.wait_applied()
    if not cluster.pods:
        cluster.pod("default/a", "n1", app="a")
        cluster.pod("default/b", "n2", app="b")
        cluster.pod("default/c", "n1", app="c")
    return cluster
