# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of tests/net and tests/attack: one node with its pods, a cluster with policy, several nodes."""

import pytest

from cluster import CLIENT, LABELS, NAMESPACES, SERVER, Cluster
from lab import LINK_GROUP, Lab
from monitor import Drops


@pytest.fixture(scope="module")
def lab():
    """A node whose uplink leads to the world, with Warren loaded; for the tests of one module."""
    with Lab() as lab:
        lab.node.warren("node", "init")
        yield lab


@pytest.fixture
def pods(node):
    """Makes pods that end with the test; then nothing of them may be left."""
    made, before = [], node.standing()

    def make(name, conf, **kwargs):
        made.append(node.pod(name, conf, **kwargs))
        return made[-1]

    yield make
    for pod in made:
        if pod in node.pods:
            pod.delete()
    node.assert_clean(besides=before)


@pytest.fixture
def outside(overlay):
    """A client that is no node."""
    return overlay.underlay


@pytest.fixture
def address(node, family):
    """The first node's, where the NodePort is."""
    return node.address[family]


@pytest.fixture
def drops(request):
    """The drops that the node reports meanwhile: of the file's `cluster`, if it has one, else of its lab."""
    node = request.getfixturevalue("cluster").node if "cluster" in request.fixturenames else request.getfixturevalue("node")
    with Drops(node) as drops:
        yield drops


@pytest.fixture
def watch(node):
    """Counts what gets past the guard from any pod: watch() is the number of packets."""
    node.run(
        "nft",
        "-f",
        "-",
        input=f"""
        table inet watch {{
            chain input {{ type filter hook input priority 300; iifgroup {LINK_GROUP} counter; }}
            chain forward {{ type filter hook forward priority 300; iifgroup {LINK_GROUP} counter; }}
        }}""",
    )
    yield lambda: sum(count for _, count in node.nft_counters("watch"))
    node.run("nft", "delete", "table", "inet", "watch")


# --- pods under policy --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    with Cluster(*NAMESPACES) as cluster:
        for name, labels in LABELS.items():
            cluster.pod(name, labels)
        yield cluster


@pytest.fixture
def as_before(cluster):
    """The test leaves the cluster as it found it."""
    with cluster.as_before():
        yield


@pytest.fixture
def client(cluster):
    return cluster.pods[CLIENT]


@pytest.fixture
def server(cluster):
    return cluster.pods[SERVER]


# --- several nodes: a file that has them has its own `overlay` ---------------------------------------------------------------


@pytest.fixture
def n1(overlay):
    return overlay.nodes["n1"]


@pytest.fixture
def n2(overlay):
    return overlay.nodes["n2"]


@pytest.fixture
def a1(overlay):
    return overlay.pods["default/a1"]


@pytest.fixture
def b2(overlay):
    return overlay.pods["default/b2"]
