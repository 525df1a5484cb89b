# SPDX-License-Identifier: BSD-2-Clause
"""A path that loses, delays and reorders packets: what arrives is what was sent."""

import pytest

from lab import Lab, tcp
from netem import PATHS, netem
from policy_lab import Cluster

pytestmark = [pytest.mark.smoke, pytest.mark.needs("netem")]

SIZE = 300_000


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        cluster.pod("client")
        yield cluster


@pytest.mark.parametrize("path", PATHS)
def test_pod_to_world(cluster, family, path):
    with netem(cluster.node, cluster.world, options=PATHS[path]):
        tcp(cluster.pods["client"], cluster.world, Lab.WORLD[family], size=SIZE, timeout=30)
