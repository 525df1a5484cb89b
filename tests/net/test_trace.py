# SPDX-License-Identifier: BSD-2-Clause
"""`warren trace` runs what is attached, on a packet that is never sent: it agrees with real packets, and changes
no state.
"""

import contextlib
import itertools
import json

import pytest
from scapy.layers.inet import TCP

from cluster import Cluster
from lab import HOST_MAC, Lab, moved
from manifests import block, namespace, namespaces, pods, policy, port, sources, targets
from monitor import Drops
from probes import Flow
from rawbpf import PINS

pytestmark = pytest.mark.usefixtures("as_before")

NAMESPACES = [namespace("shop", team="blue"), namespace("other", team="red")]
PODS = {
    "shop/web": {"app": "web"},
    "shop/db": {"app": "db"},
    "other/client": {"app": "client"},
}
QUARANTINED = "other/lost"
NOT_FROM_BEYOND = block("0.0.0.0/0", "198.51.100.0/24"), block("::/0", "2001:db8:2::/64")
POLICIES = [
    policy(
        "shop/web",
        {"app": "web"},
        ingress=[sources(namespaces(team="red"), ports=[port(8080)]), sources(pods(app="db"))],
    ),
    policy(
        "shop/db",
        {"app": "db"},
        ingress=[sources(*NOT_FROM_BEYOND, ports=[port(53, "UDP", end=60)])],
        egress=[targets(pods(app="web"), ports=[port()]), targets(block("198.18.0.0/16"), block("2001:db8:1::/64"))],
        types=["Ingress", "Egress"],
    ),
]


CT_GC_SIZE = 48  # struct wr_ct_gc


def stop_ct_gc(node):
    """Dead flows stay from now on: when user space writes an element, the kernel cancels its timer."""
    words = ("key", *["0"] * 4, "value", *["0"] * CT_GC_SIZE)
    node.run("bpftool", "map", "update", "pinned", f"{PINS}/maps/ct_gc", *words)


@pytest.fixture(scope="module")
def cluster():
    with Cluster(*NAMESPACES) as cluster:
        stop_ct_gc(cluster.node)
        for name, labels in PODS.items():
            cluster.pod(name, labels)
        cluster.pod(QUARANTINED, manifest=False, policyTimeout=0)
        cluster.apply("policies", *POLICIES)
        yield cluster
        cluster.end_probes()


def trace(cluster, src, dst, *options, check=True):
    return cluster.node.warren_json("trace", src, dst, *options, check=check)


def maps(cluster):
    """All that the programs can write to, as text: {map: entries}. (For counters there is Node.metrics().)"""
    names = {m["name"] for m in cluster.node.warren_json("map", "list")} - {"events", "metrics", "ct_gc", "trace"}
    names -= {"event_state", "event_rate"}  # the monitor of the test is a listener
    names -= {"sockets"}  # kept with sockets: no program of a packet has it
    return {name: cluster.node.warren("map", "dump", name, "--raw", "--json").stdout for name in sorted(names)}


def test_leaves_nothing(cluster):
    """No entry, no counter, no event, no delivery: for flows that are new, known, denied, from every kind of source."""
    flows = list(cluster.flows(("tcp/8080", "udp/53", "icmp")))
    cluster.prober.run(flows)
    cluster.end_probes()
    before, counters = maps(cluster), cluster.node.metrics()
    with Drops(cluster.node) as monitor, contextlib.ExitStack() as stack:
        wires = [stack.enter_context(pod.wire()) for pod in cluster.pods.values()]
        answers = cluster.ask("trace", flows[::3])
        assert all(answers)
        assert {a["verdict"] for a in answers} == {"pass", "drop"}
        after = maps(cluster)
        assert [name for name in before if before[name] != after[name]] == []
        assert moved(counters, cluster.node.metrics()) == {}
        assert monitor.drain() == []
        assert [wire.drain() for wire in wires] == [[] for _ in wires]


def test_agrees_with_traffic(cluster):
    """Pods, one of them in quarantine, the host and the world: verdict and reason."""
    outcomes = cluster.prober.run(cluster.flows(("tcp/8080", "udp/53", "icmp")))
    flows = sorted(outcomes)
    wrong = []
    for flow, answer in zip(flows, cluster.ask("trace", flows)):
        outcome = outcomes[flow]
        said = answer and (answer["verdict"] == "pass", answer["reason"] if answer["verdict"] == "drop" else None)
        # When the stack forwards it, the receiver's program evaluates it again: the first one allowed it.
        if said != (outcome.passed, outcome.reason):
            wrong.append(f"{flow}: {outcome}, said {json.dumps(answer)}")
    assert not wrong, f"{len(wrong)} of {len(flows)}:\n" + "\n".join(wrong[:10])
    assert {o.reason for o in outcomes.values()} == {None, "egress_denied", "ingress_denied", "quarantine"}


def test_agrees_on_a_connection(cluster, family):
    """A connection's packets, both ways; then denied, before and after a real packet was denied; then allowed."""
    client, web = cluster.pods["other/client"], cluster.pods["shop/web"]
    with web.tcp_listen(family, 8080) as listener:
        a = client.tcp_connect(web.ips[family], 8080)
        b, _ = listener.accept()
    with a, b:
        number = a.getsockname()[1]
        there = ("other/client", "shop/web:8080/tcp", "--sport", number, "--flags", "ack", "--family", family)
        back = ("shop/web", f"other/client:{number}/tcp", "--sport", 8080, "--flags", "ack", "--family", family)
        stale = ("other/client", "shop/web:8080/tcp", "--sport", 1, "--flags", "ack", "--family", family)

        def said():
            return [(t["verdict"], t["reason"]) for t in (trace(cluster, *words) for words in (there, back, stale))]

        assert said() == [("pass", "to_endpoint"), ("pass", "to_endpoint"), ("drop", "no_connection")]
        cluster.apply("policies", POLICIES[1], policy("shop/web", {"app": "web"}, ingress=[]))
        denied = [("drop", "ingress_denied"), ("drop", "ingress_denied"), ("drop", "no_connection")]
        before = maps(cluster)
        assert said() == denied
        assert maps(cluster) == before
        with Drops(cluster.node) as monitor:
            for sock, pod in ((a, client), (b, web)):
                sock.send(b"x")
                event = monitor.wait(lambda e: e["endpoint"] == pod.ifindex)
                assert event["reason"] == "ingress_denied"
                assert said() == denied
            with client.wire() as wire:
                wire.send(client.packet(family, web.ips[family]) / TCP(sport=1, dport=8080, flags="A"))
            assert monitor.wait(lambda e: e["reason"] == "no_connection")
        cluster.apply("policies", *POLICIES)
        assert said()[:2] == [("pass", "to_endpoint")] * 2
        assert b.recv(1) == b"x" and a.recv(1) == b"x"


def test_packet_is_the_one_that_is_said(cluster, family):
    """Its bytes equal those of a real one: addresses, ports, flags, MAC addresses."""
    said = trace(cluster, "other/client", "shop/db:55/udp", "--sport", 1234, "--family", family)
    headers = said["headers"]
    client, db = cluster.pods["other/client"], cluster.pods["shop/db"]
    assert (headers["source"], headers["source_port"]) == (client.ips[family], 1234)
    assert (headers["destination"], headers["destination_port"]) == (db.ips[family], 55)
    assert (headers["source_mac"], headers["destination_mac"]) == (client.mac, HOST_MAC)
    assert said["program"] == "from_pod" and said["reason"] == "to_endpoint"
    rules = " ".join(step["result"] for step in said["steps"])
    assert "shop/db ingress[0].ports[0]" in rules, rules
    world = trace(cluster, Lab.WORLD[family], "shop/db:55/udp")
    assert world["program"] == "to_pod" and world["verdict"] == "pass"
    beyond = trace(cluster, Lab.BEYOND[family], "shop/db:55/udp")
    assert (beyond["verdict"], beyond["reason"]) == ("drop", "ingress_denied")


def test_two_at_once(cluster):
    """They take turns: each prints what it prints alone."""
    pairs = itertools.permutations(PODS, 2)
    flows = [Flow(*pair, family, "tcp/8080") for pair, family in itertools.product(pairs, (4, 6))]
    alone = [(a["verdict"], a["reason"]) for a in cluster.ask("trace", flows)]
    lines = []
    for flow in flows:
        lines.append(f"warren trace {' '.join(cluster.words(flow))} --json > /run/trace{len(lines)} &")
    cluster.node.run("bash", "-c", "\n".join([*lines, "wait"]))
    together = [json.loads(cluster.node.outside(f"/run/trace{i}").read_text()) for i in range(len(flows))]
    assert [(a["verdict"], a["reason"]) for a in together] == alone


def test_needs_no_agent(cluster, family):
    """It needs the maps only."""
    cluster.agent.kill()
    try:
        said = trace(cluster, "other/client", "shop/web:8080/tcp", "--family", family)
        assert said["verdict"] == "pass"
        why = cluster.node.warren_json("policy", "why", "other/client", "shop/web:8080/tcp", "--family", family)
        assert why["verdict"] == "allowed"
    finally:
        cluster.agent.start()
        cluster.agent.wait_applied()
