# SPDX-License-Identifier: BSD-2-Clause
"""A SYN from the responder's side on an established connection, where the initiator has an egress policy and no ingress
policy: a new flow in that direction is allowed, and the old one must stay.
"""

import time

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from cluster import Cluster
from lab import Lab
from manifests import namespace, policy
from netns import TIMEOUT, Wire


CACHED = 1.2  # seconds: how long a verdict from before the SYN may still be cached


@pytest.fixture(scope="module")
def cluster():
    with Cluster(namespace("default")) as cluster:
        for name in ("client", "server"):
            cluster.pod(f"default/{name}", {"app": name}, ipMasq=False)
        cluster.apply("policy", policy("default/client", {"app": "client"}, egress=[{}], types=["Egress"]))
        yield cluster


def exchange(*socks):
    for source, sink in (socks, socks[::-1]):
        source.send(b"x")
        assert sink.recv(1) == b"x"


@pytest.mark.parametrize("server", ["pod", "world"])
def test_one_syn(cluster, family, server):
    client = cluster.pods["default/client"]
    other = cluster.pods["default/server"] if server == "pod" else cluster.world
    address = other.ips[family] if server == "pod" else Lab.WORLD[family]
    with other.tcp_listen(family) as listener:
        port = listener.getsockname()[1]
        with client.tcp_connect(address, port, TIMEOUT) as a, listener.accept()[0] as b:
            b.settimeout(TIMEOUT)
            a.settimeout(TIMEOUT)
            exchange(a, b)
            own = a.getsockname()[1]
            packet = (IP if family == 4 else IPv6)(src=address, dst=client.ips[family]) / TCP(sport=port, dport=own, flags="S", seq=1)
            if server == "pod":
                frame = other.ether() / packet
            else:
                frame = Ether(src=other.ip("link", "show", "eth0")[0]["address"], dst=cluster.node.ip("link", "show", "eth0")[0]["address"]) / packet
            with Wire(other, "eth0") as wire, Wire(client, "eth0") as arrives:
                wire.send(frame)
                assert arrives.until(lambda f: bytes(packet)[-20:-16] in f), "the SYN has come"
            exchange(a, b)
            time.sleep(CACHED)
            exchange(a, b)
