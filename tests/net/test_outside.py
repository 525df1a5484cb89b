# SPDX-License-Identifier: BSD-2-Clause
"""The peer's identity follows from where a packet entered the node: a packet from outside, or through NAT, is never
taken for the host's or a pod's. And quarantine: a pod without an agent's policy reaches its own host only.
"""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lab import NODE_GATEWAY, Lab, moved, network
from netns import tcp, udp

COPIES = 5


@pytest.fixture
def plain(pods):
    return pods("plain", network())


@pytest.fixture
def quarantined(pods):
    return pods("quarantined", network(policy="agent"))


@pytest.fixture(autouse=True)
def no_rp_filter(node):
    """Only our own programs are to drop a forged IPv4 source."""
    for name in ("all", "default", "eth0"):
        node.sysctl(f"ipv4/conf/{name}/rp_filter", 0)


def from_world(lab, family, src, dst):
    """A UDP packet that comes in by the uplink."""
    mac = lab.node.ip("link", "show", "eth0")[0]["address"]
    own = lab.world.ip("link", "show", "eth0")[0]["address"]
    return Ether(src=own, dst=mac) / (IP if family == 4 else IPv6)(src=src, dst=dst) / UDP(dport=7777) / b"from outside"


SPOOFS = {  # source: the address that the packet from outside claims
    "the node's gateway address": lambda pods, f: NODE_GATEWAY[f],
    "the node's uplink address": lambda pods, f: Lab.UPLINK[f],
    "an address of the world": lambda pods, f: Lab.WORLD[f],
    "a pod that does not exist": lambda pods, f: {4: "10.87.0.222", 6: "fd00:87::222"}[f],
}


@pytest.mark.parametrize("source", SPOOFS)
def test_nothing_from_outside_reaches_a_quarantined_pod(lab, node, quarantined, drops, family, source):
    """Whatever its source. (The kernel drops its own addresses as sources, where it checks them.)"""
    frame = from_world(lab, family, SPOOFS[source](None, family), quarantined.ips[family])
    with lab.world.wire() as out, quarantined.wire() as seen:
        before = node.metrics()
        out.send(*[frame] * COPIES)
        # A later packet on the same path has been dropped, so all earlier ones have been handled.
        out.send(from_world(lab, family, Lab.WORLD[family], quarantined.ips[family]))
        event = drops.wait(lambda e: e["headers"].get("source") == Lab.WORLD[family])
        assert (event["reason"], event["endpoint"]) == ("quarantine", quarantined.ifindex)
        assert event["peer"] == "world"
        assert seen.drain() == []
    delta = moved(before, node.metrics())
    assert set(delta) <= {("quarantine", "ingress")}, delta


@pytest.mark.parametrize("target", ["plain", "quarantined"])
def test_pod_address_from_outside(lab, node, pods, drops, family, target):
    other = pods("other", network())
    target = pods(target, network(policy="agent" if target == "quarantined" else "none"))
    frame = from_world(lab, family, other.ips[family], target.ips[family])
    with lab.world.wire() as out, target.wire() as seen:
        before = node.metrics()
        out.send(*[frame] * COPIES)
        for _ in range(COPIES):
            event = drops.next()
            assert (event["reason"], event["endpoint"]) == ("spoofed_outside", target.ifindex)
            assert event["peer"] == "world"
        assert seen.drain() == []
    node.assert_moved(before, {("spoofed_outside", "ingress"): COPIES})


def test_packet_for_another_address_is_not_delivered(lab, node, plain, family):
    """A route of another program to a pod's device does not give the pod that address."""
    stale = {4: "203.0.113.9", 6: "2001:db8:9::9"}[family]
    node.run("ip", f"-{family}", "route", "add", stale, "dev", plain.host_ifname)
    node.run("ip", "neighbour", "add", stale, "lladdr", plain.mac, "dev", plain.host_ifname)
    with plain.wire() as seen, node.udp(family) as sock:
        before = node.metrics()
        sock.sendto(b"stale", (stale, 9))
        node.assert_moved(before, {("not_for_pod", "ingress"): 1})
        assert seen.drain() == []


# --- quarantine -------------------------------------------------------------------------------------------------------


def test_quarantined_pod_and_its_host(node, quarantined, family):
    """Kubelet's probes reach it, and it reaches its own host."""
    node.ping(quarantined.ips[family])
    assert tcp(node, quarantined, quarantined.ips[family], size=100000) == NODE_GATEWAY[family]
    assert udp(node, quarantined, quarantined.ips[family]) == NODE_GATEWAY[family]
    quarantined.ping(NODE_GATEWAY[family], size=4000)
    for address in (NODE_GATEWAY[family], Lab.UPLINK[family]):
        assert tcp(quarantined, node, address, size=100000) == quarantined.ips[family]


@pytest.mark.parametrize("to", ["pod", "world", "beyond"])
def test_quarantined_pod_gets_nowhere_else(lab, node, plain, quarantined, drops, family, to):
    address = {"pod": plain.ips, "world": Lab.WORLD, "beyond": Lab.BEYOND}[to][family]
    with quarantined.udp(family) as sock:
        before = node.metrics()
        for _ in range(COPIES):
            sock.sendto(b"let me out", (address, 9))
        node.assert_moved(before, {("quarantine", "egress"): COPIES})
    for _ in range(COPIES):
        event = drops.next()
        assert (event["reason"], event["endpoint"]) == ("quarantine", quarantined.ifindex)
        assert (event.get("peer_endpoint") or 0) == (plain.ifindex if to == "pod" else 0)


def test_no_pod_reaches_a_quarantined_one(node, plain, quarantined, drops, family):
    with plain.udp(family) as sock, quarantined.wire() as seen:
        before = node.metrics()
        sock.sendto(b"let me in", (quarantined.ips[family], 9))
        node.assert_moved(before, {("quarantine", "egress"): 1})
        assert seen.drain() == []
    event = drops.next()
    assert (event["endpoint"], event["peer_endpoint"]) == (plain.ifindex, quarantined.ifindex)


@pytest.fixture
def nat(node):
    """Installs a rule that translates port 8080 of the uplink address, as a hostPort or a NodePort does."""

    def install(family, target):
        ip = "ip" if family == 4 else "ip6"
        to = f"{target}:7777" if family == 4 else f"[{target}]:7777"
        node.run(
            "nft",
            "-f",
            "-",
            input=f"""
            table {ip} testnat {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat
                    {ip} daddr {Lab.UPLINK[family]} udp dport 8080 dnat to {to}
                }}
            }}""",
        )

    yield install
    for ip in ("ip", "ip6"):
        node.run("nft", "delete", "table", ip, "testnat", check=False)


def test_pod_reaches_quarantined_pod_by_nat(lab, node, plain, quarantined, nat, drops, family):
    """The source address is the host's, but the packet is the other pod's, and is evaluated as such."""
    nat(family, quarantined.ips[family])
    with plain.udp(family) as sock, quarantined.wire() as seen:
        before = node.metrics()
        sock.sendto(b"round the corner", (Lab.UPLINK[family], 8080))
        node.assert_moved(before, {("to_stack", "egress"): 1, ("quarantine", "ingress"): 1})
        assert seen.drain() == []
    event = drops.next()
    assert (event["reason"], event["endpoint"]) == ("quarantine", quarantined.ifindex)
    assert event["peer_endpoint"] == plain.ifindex


@pytest.mark.parametrize("to", ["pod", "world"])
def test_quarantined_pod_does_not_get_out_by_nat(lab, node, plain, quarantined, nat, family, to):
    """It may send to its host, whose NAT would forward that."""
    nat(family, {"pod": plain.ips, "world": Lab.WORLD}[to][family])
    target = {"pod": plain, "world": lab.world}[to]
    with quarantined.udp(family) as sock, target.wire() as seen:
        before = node.metrics()
        for _ in range(COPIES):
            sock.sendto(b"round the corner", (Lab.UPLINK[family], 8080))
        node.assert_moved(before, {("to_stack", "egress"): COPIES})
        node.ping(target.ips[family] if to == "pod" else Lab.WORLD[family])
        assert not [f for f in seen.drain() if b"round the corner" in f]


def test_world_does_not_get_in_by_nat(lab, node, quarantined, nat, drops, family):
    nat(family, quarantined.ips[family])
    with lab.world.udp(family) as sock, quarantined.wire() as seen:
        sock.sendto(b"hostPort", (Lab.UPLINK[family], 8080))
        event = drops.next()
        assert (event["reason"], event["endpoint"], event["peer"]) == ("quarantine", quarantined.ifindex, "world")
        assert seen.drain() == []
