# SPDX-License-Identifier: BSD-2-Clause
"""A pod that may send nothing probes services: replies do not reveal which ones have backends, or ports, and nothing is written."""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether

from cluster import LABELS, NAMESPACES, SERVER, Cluster
from manifests import endpoint_slice, policy, port, service, service_cidr
from netns import wait_for

WEB, EMPTY = {4: "10.96.0.10", 6: "fd00:96::10"}, {4: "10.96.0.11", 6: "fd00:96::11"}
UNUSED = {4: "10.96.0.12", 6: "fd00:96::12"}  # in the ServiceCIDR
DENIED = ("egress_denied", "egress")


@pytest.fixture(scope="module")
def cluster():
    with Cluster(*NAMESPACES) as cluster:
        for name, labels in LABELS.items():
            cluster.pod(name, labels)
        ports = [{"name": p.lower(), **port(80, p)} for p in ("TCP", "UDP")]
        targets = [{"name": p.lower(), **port(8080, p)} for p in ("TCP", "UDP")]
        slices = [endpoint_slice(f"back/web-{f}", "back/web", [cluster.pods[SERVER].ips[f]], *targets) for f in (4, 6)]
        cluster.apply("services", service("back/web", WEB.values(), *ports), service("back/empty", EMPTY.values(), *ports), *slices,
                      service_cidr("kubernetes", "10.96.0.0/16", "fd00:96::/108"))
        cluster.apply("deny", policy("front/deny", egress=[], types=["Egress"]))
        yield cluster


def test_denied_pod_cannot_probe_services(cluster, client, family):
    node, before = cluster.node, cluster.node.metrics()
    with client.wire() as wire:
        for address in (WEB[family], EMPTY[family]):
            wire.send(client.packet(family, address) / TCP(sport=4000, dport=80, flags="S"))
            wire.send(client.packet(family, address) / UDP(sport=4000, dport=80) / b"anybody?")
            wire.send(client.packet(family, address) / TCP(sport=4000, dport=81, flags="S"))
        wire.send(client.packet(family, UNUSED[family]) / UDP(sport=4000, dport=80) / b"anybody?")
        # All replies have come by the time that all are counted.
        wait_for(lambda: sum(node.metrics()[k] - before[k] for k in before if k[1] == "egress" and k[0] != "multicast") >= 7, "verdicts")
        replies = [Ether(f).summary() for f in wire.drain() if Ether(f).dst == client.mac]
    assert not replies
    assert node.metrics()[DENIED] - before[DENIED] == 7
    entries = [e for name in ("ct", "ct_new") for e in node.warren_json("map", "dump", f"{name}{family}")]
    assert not [e for e in entries if "service" in e["value"]["flags"]]
