# SPDX-License-Identifier: BSD-2-Clause
"""A node has a second network card, whose neighbours are hostile: they send packets that have a pod's address as
source.

The kernel's reverse path filter is off (0) or loose (2) there, as many distributions leave it.
"""

import os

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from crossings import OUTER
from geneve import REMOTE_NODE, geneve
from lab import Node
from manifests import node_object
from netns import wait_for
from overlay import Overlay

CARD = "eth9"
PORT = 7777


@pytest.fixture(scope="module", params=OUTER)
def overlay(request):
    with Overlay(outer=request.param) as overlay:
        for name, node in (("default/a1", "n1"), ("default/b1", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        yield overlay


class ExternalHost:
    """A host on the second card's network; it sends what it likes."""

    def __init__(self, victim, host):
        self.victim = victim
        victim.link(CARD, ["203.0.113.1/24", "2001:db8:113::1/64"], host, "eth0", ["203.0.113.2/24", "2001:db8:113::2/64"])
        self.mac = victim.ip("link", "show", CARD)[0]["address"]
        self.wire = host.wire()

    def send(self, src, dst, l4):
        self.send_packet((IPv6 if ":" in src else IP)(src=src, dst=dst) / l4)

    def send_packet(self, packet):
        self.wire.send(Ether(src="02:00:00:00:66:66", dst=self.mac) / packet)


@pytest.fixture(scope="module")
def external_host(overlay):
    with Node() as host:
        yield ExternalHost(overlay.nodes["n1"], host)


@pytest.fixture(params=[0, 2], ids=["no-filter", "loose-filter"])
def no_filter(overlay, external_host, request):
    for name in ("all", CARD):
        overlay.nodes["n1"].sysctl(f"ipv4/conf/{name}/rp_filter", request.param)


def refused(external_host, pod, src, l4):
    """The packet does not reach the pod, and its drop has a reason. Another packet of the same host, sent after it,
    does.
    """
    marker, witness = os.urandom(16), os.urandom(16)
    family = 6 if ":" in src else 4
    own = {4: "203.0.113.2", 6: "2001:db8:113::2"}[family]
    before = pod.node.metrics()
    with pod.wire() as wire:
        external_host.send(src, pod.ips[family], l4 / marker)
        external_host.send(own, pod.ips[family], UDP(sport=1, dport=9) / witness)
        frames = wire.until(lambda frame: witness in frame)
    assert frames, "the other host's own packets do not arrive either"
    arrived = any(marker in frame for frame in frames)
    after = pod.node.metrics()
    named = after.get(("spoofed_outside", "ingress"), 0) - before.get(("spoofed_outside", "ingress"), 0)
    assert (arrived, named) == (False, 1)


def test_answer_to_a_datagram_that_went_through_the_tunnel(a1, b2, external_host, no_filter, family):
    with a1.udp(family) as a, b2.udp(family, PORT) as b:
        a.connect((b2.ips[family], PORT))
        a.send(b"question")
        data, asker = b.recvfrom(64)
        refused(external_host, a1, b2.ips[family], UDP(sport=PORT, dport=asker[1]))
        b.sendto(b"answer", asker)
        assert a.recv(64) == b"answer"


def test_segment_of_a_connection_through_the_tunnel(a1, b2, external_host, no_filter, family):
    with b2.tcp_listen(family, PORT) as listener, a1.tcp_connect(b2.ips[family], PORT) as a:
        b, asker = listener.accept()
        with b:
            for flags in ("A", "PA", "R"):
                refused(external_host, a1, b2.ips[family], TCP(sport=PORT, dport=asker[1], flags=flags, seq=1, ack=1))
            b.send(b"answer")
            assert a.recv(64) == b"answer"


@pytest.mark.parametrize("l4", [UDP(sport=4444, dport=PORT), TCP(sport=4444, dport=PORT, flags="S")], ids=["udp", "tcp"])
@pytest.mark.parametrize("whose", ["pod elsewhere", "unused elsewhere", "gateway elsewhere", "pod here", "itself"])
def test_first_packet_of_a_flow(overlay, a1, b2, external_host, no_filter, family, whose, l4):
    n2 = overlay.nodes["n2"]
    source = {
        "pod elsewhere": b2.ips[family],
        "unused elsewhere": {4: n2.cidr[4].replace(".0/24", ".200"), 6: n2.cidr[6].replace("/64", "200")}[family],
        "gateway elsewhere": n2.gateway[family],
        "pod here": overlay.pods["default/b1"].ips[family],
        "itself": a1.ips[family],
    }[whose]
    refused(external_host, a1, source, l4)


def test_tunnel_packet_of_another_node(overlay, a1, b2, external_host, no_filter, family):
    """Only devices that lead to other nodes, or that have this node's addresses, decapsulate."""
    n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
    marker, witness = os.urandom(16), os.urandom(16)
    inner = (IPv6 if family == 6 else IP)(src=b2.ips[family], dst=a1.ips[family]) / UDP(sport=4444, dport=PORT) / marker
    own = {4: "203.0.113.2", 6: "2001:db8:113::2"}[family]
    outer = overlay.outer
    with a1.wire() as wire:
        external_host.send_packet(geneve(n2.address[outer], n1.address[outer], inner, overlay.identity("default/b2")))
        external_host.send(own, a1.ips[family], UDP(sport=1, dport=9) / witness)
        frames = wire.until(lambda frame: witness in frame)
    assert frames and not any(marker in frame for frame in frames)


# --- the second card leads to a node, too ---

THIRD = {4: "203.0.113.3", 6: "2001:db8:113::3"}
THIRD_CIDR = {4: "10.87.3.0/24", 6: "fd00:87:0:3::/64"}
THIRD_GATEWAY = {4: "10.87.3.1", 6: "fd00:87:0:3::1"}


@pytest.fixture
def third(overlay, external_host):
    """Node n3 is reached by the second card, which therefore decapsulates."""
    n1 = overlay.nodes["n1"]
    index = n1.ip("link", "show", CARD)[0]["ifindex"]
    overlay.apply("node-n3", node_object("n3", [*THIRD_CIDR.values()], [*THIRD.values()]))
    wait_for(lambda: (n1.known().get("n3") or {}).get("uplink") == index, "the second card to lead to n3")
    yield
    overlay.remove("node-n3")
    wait_for(lambda: CARD not in {u["device"] for u in n1.warren_json("uplink", "list")}, "the second card to lead to no node")


@pytest.fixture(params=["no route", "default route"])
def to_world(overlay, external_host, third, request):
    """The second card has the best default route of the node, or none; the other nodes are on the first one's link."""
    n1, gateways = overlay.nodes["n1"], {4: "203.0.113.2", 6: "2001:db8:113::2"}
    if request.param == "no route":
        yield
        return
    for family, gateway in gateways.items():
        n1.run("ip", f"-{family}", "route", "add", "default", "via", gateway, "dev", CARD, "metric", 1)
    yield
    for family, gateway in gateways.items():
        n1.run("ip", f"-{family}", "route", "delete", "default", "via", gateway, "dev", CARD, "metric", 1)


def tunnelled(overlay, source, inner, identity):
    return geneve(source, overlay.nodes["n1"].address[overlay.outer], inner, identity)


def test_tunnel_packet_from_a_device_that_leads_to_another_node(overlay, a1, b2, external_host, to_world, family):
    """The second card receives n3's tunnel packet, and one of n2, which is behind the first card: that one is forged."""
    n2, ip = overlay.nodes["n2"], IPv6 if family == 6 else IP
    marker, witness = os.urandom(16), os.urandom(16)
    forged = ip(src=b2.ips[family], dst=a1.ips[family]) / UDP(sport=4444, dport=PORT) / marker
    honest = ip(src=THIRD_GATEWAY[family], dst=a1.ips[family]) / UDP(sport=1, dport=9) / witness
    before = a1.node.metrics()
    with a1.wire() as wire:
        external_host.send_packet(tunnelled(overlay, n2.address[overlay.outer], forged, overlay.identity("default/b2")))
        external_host.send_packet(tunnelled(overlay, THIRD[overlay.outer], honest, REMOTE_NODE))
        frames = wire.until(lambda frame: witness in frame)
    assert frames, "n3's own packets do not arrive either"
    after = a1.node.metrics()
    named = after.get(("spoofed_outside", "ingress"), 0) - before.get(("spoofed_outside", "ingress"), 0)
    assert (any(marker in frame for frame in frames), named) == (False, 1)
