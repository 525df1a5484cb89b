# SPDX-License-Identifier: BSD-2-Clause
"""A denied datagram of one pod does not shadow what the other one may send to it between the same ports."""

import pytest

from cluster import Cluster
from manifests import namespace, policy
from netns import TIMEOUT


@pytest.fixture(scope="module")
def cluster():
    with Cluster(namespace("default")) as cluster:
        for name in ("client", "server"):
            cluster.pod(f"default/{name}", {"app": name})
        cluster.apply("policy", policy("default/server", {"app": "server"}, egress=[], types=["Egress"]))
        yield cluster


def test_a_denied_datagram(cluster, family, drops):
    client, server = (cluster.pods[f"default/{name}"] for name in ("client", "server"))
    with client.udp(family, address=client.ips[family]) as a, server.udp(family, address=server.ips[family]) as b:
        a.settimeout(TIMEOUT)
        b.settimeout(TIMEOUT)
        a.connect(b.getsockname()[:2])
        b.sendto(b"denied", a.getsockname()[:2])
        assert drops.wait_flow(b)["reason"] == "egress_denied"
        a.send(b"request")
        assert b.recv(64) == b"request"
        b.sendto(b"reply", a.getsockname()[:2])
        assert a.recv(64) == b"reply"
