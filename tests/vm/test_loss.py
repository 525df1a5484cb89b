# SPDX-License-Identifier: BSD-2-Clause
"""A path that loses, delays and reorders packets: what arrives is what was sent."""

import contextlib

import pytest

from lab import Lab, tcp
from policy_lab import Cluster

pytestmark = [pytest.mark.smoke, pytest.mark.needs("netem")]

PATHS = {
    "loss": ["loss", "2%"],
    "delay": ["delay", "20ms", "5ms"],
    "reordering": ["delay", "5ms", "reorder", "75%"],
    "duplicates": ["duplicate", "5%"],
}
SIZE = 300_000


@contextlib.contextmanager
def netem(*places, options):
    for place in places:
        place.run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", *options, "limit", 10000)
    try:
        yield
    finally:
        for place in places:
            place.run("tc", "qdisc", "delete", "dev", "eth0", "root")


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        cluster.pod("client")
        yield cluster


@pytest.mark.parametrize("path", PATHS)
def test_pod_to_world(cluster, family, path):
    with netem(cluster.node, cluster.world, options=PATHS[path]):
        tcp(cluster.pods["client"], cluster.world, Lab.WORLD[family], size=SIZE, timeout=30)
