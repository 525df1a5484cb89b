# SPDX-License-Identifier: BSD-2-Clause
"""Datagrams in fragments, while a pod that may send to no destination floods with first fragments: other pods'
datagrams arrive whole.
"""

import os

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from cluster import Cluster
from manifests import namespace, policy
from netns import wait_for

pytestmark = pytest.mark.long

FLOOD = 20000  # several times what there is room for


@pytest.fixture(scope="module")
def cluster():
    with Cluster(namespace("default")) as cluster:
        for name in ("client", "server", "attacker"):
            cluster.pod(f"default/{name}", {"app": name})
        cluster.apply("policy", policy("default/attacker", {"app": "attacker"}, types=["Ingress", "Egress"]))
        yield cluster


def fragment(pod, family, dst, ident, offset, more, data):
    if family == 4:
        return bytes(pod.packet(4, dst, id=ident, frag=offset // 8, flags="MF" if more else 0, proto=17) / Raw(data))
    return bytes(pod.packet(6, dst) / IPv6ExtHdrFragment(nh=17, offset=offset // 8, m=int(more), id=ident) / Raw(data))


def test_first_fragments_of_others(cluster, family):
    client, server, attacker = (cluster.pods[f"default/{name}"] for name in ("client", "server", "attacker"))
    target, processors = server.ips[family], sorted(os.sched_getaffinity(0))
    with server.udp(family, 7777) as sock, client.wire() as own, attacker.wire() as wire:
        sock.settimeout(5)
        whole = bytes((IP if family == 4 else IPv6)(src=client.ips[family], dst=target) / UDP(sport=1234, dport=7777) / (b"x" * 56))[20 if family == 4 else 40 :]
        own.send(fragment(client, family, target, 7, 0, True, whole[:32]))
        frame = bytearray(fragment(attacker, family, target, 1, 0, True, bytes(UDP(sport=1, dport=2, len=64)) + b"x" * 16))
        at = 18 if family == 4 else 14 + 40 + 6
        denied = ("egress_denied", "egress")
        before = cluster.node.metrics().get(denied, 0)
        try:
            for i in range(FLOOD):
                if i % (FLOOD // 4) == 0:
                    os.sched_setaffinity(0, {processors[i // (FLOOD // 4) % len(processors)]})
                frame[at : at + 2] = i.to_bytes(2, "big")
                wire.send(frame)
        finally:
            os.sched_setaffinity(0, set(processors))
        wait_for(lambda: cluster.node.metrics().get(denied, 0) - before >= FLOOD, "the flood is denied")
        own.send(fragment(client, family, target, 7, 32, False, whole[32:]))
        assert sock.recv(100) == b"x" * 56
