# SPDX-License-Identifier: BSD-2-Clause
"""A host on the LAN, and clients of a NodePort whose backend is in a host's network: the node's own, and the other one's."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import Ether

from manifests import endpoint, endpoint_slice, port, service
from monitor import Drops
from netns import wait_for
from overlay import ALL, Overlay
from traffic import Transfer
from underlay import Underlay

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT, TARGET = 30080, 8080
BACKENDS = {"here": "n1", "there": "n2"}


@pytest.fixture(scope="module")
def overlay():
    with Overlay() as overlay:
        for name, node in (("default/b1", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        yield overlay


@pytest.fixture(params=BACKENDS)
def host(request, overlay):
    node, ports = overlay.nodes[BACKENDS[request.param]], [{"name": p.lower(), **port(80, p)} for p in ("TCP", "UDP")]
    targets = [{**p, "port": TARGET} for p in ports]
    slices = [endpoint_slice(f"web-{f}", "web", [endpoint(node.address[f], node=node.label)], *targets) for f in ALL]
    overlay.apply("web", service("web", VIP.values(), *({**p, "nodePort": PORT} for p in ports), type="NodePort"), *slices)
    yield node
    overlay.remove("web")


@pytest.fixture
def lan(overlay):
    with overlay.underlay.wire("port1") as wire:
        yield wire


def frame(node, family, src, transport, dst=None):
    """From the LAN to a node."""
    ip = (IP if family == 4 else IPv6)(src=src, dst=dst or node.address[family])
    return Ether(src="02:00:00:00:10:fe", dst=node.uplink_mac) / ip / transport


def forged(overlay, family, client, ports, host):
    """Of a host that knows a connection's addresses and ports, and not its numbers: (source, packet)."""
    node = overlay.nodes["n1"].address[family]
    ip = IP if family == 4 else IPv6
    for flags in ("R", "RA", "S", "FA"):
        yield client, TCP(sport=ports[0], dport=ports[1], flags=flags, seq=0x12345678, ack=0x87654321)
        yield client, TCP(sport=ports[0], dport=TARGET, flags=flags, seq=0x12345678, ack=0x87654321)
    for src, dst, sport, dport in ((node, client, ports[1], ports[0]), (host.address[family], client, TARGET, ports[0])):
        error = ICMP(type=3, code=3) if family == 4 else ICMPv6DestUnreach(code=4)
        yield Underlay.BEYOND[family], error / ip(src=src, dst=dst) / TCP(sport=sport, dport=dport, seq=0x12345678)


def remapped(node, sport):
    return [f for f in node.warren_json("ct", "list") if f["service"] and f["service"]["client_port"] == sport]


def test_segments_and_errors_of_others(overlay, host, lan, family):
    """They cut no connection through the service; nor does a SYN to the service one with the backend itself: it gets another
    port, or is dropped if it comes by another node.
    """
    client, node = overlay.underlay.router(1, family), overlay.nodes["n1"]
    with Transfer(overlay.underlay, host, node.address[family], PORT, TARGET) as transfer:
        transfer.wait_more(10000)
        for src, packet in forged(overlay, family, client, (transfer.a.getsockname()[1], PORT), host):
            lan.send(frame(node, family, src, packet))
            transfer.wait_more(10000)
    with Transfer(overlay.underlay, host, host.address[family], TARGET, TARGET) as transfer, Drops(host) as drops:
        transfer.wait_more(10000)
        sport = transfer.a.getsockname()[1]
        lan.send(frame(node, family, transfer.a.getsockname()[0], TCP(sport=sport, dport=PORT, flags="S")))
        if host is node:
            wait_for(lambda: remapped(node, sport), "the SYN to be remapped")
        else:
            assert drops.wait(lambda e: e["reason"] == "service_clash")
        transfer.wait_more(100000)


def test_replies_of_others(overlay, host, lan, family):
    """Not from the tunnel, they are no reply: the client gets nothing in the service's name."""
    client, node = overlay.underlay.router(1, family), overlay.nodes["n1"]
    with overlay.underlay.udp(family) as sock:
        sock.connect((node.address[family], PORT))
        sock.settimeout(1)
        lan.send(frame(node, family, client, UDP(sport=sock.getsockname()[1], dport=PORT) / b"a request"))
        lan.send(frame(node, family, host.address[family], UDP(sport=TARGET, dport=sock.getsockname()[1]) / b"forged", dst=client))
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            while sock.recv(64) != b"forged":
                pass
