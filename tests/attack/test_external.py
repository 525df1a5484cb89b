# SPDX-License-Identifier: BSD-2-Clause
"""A host on the LAN, at a NodePort whose backends are on this node and on the other one: forged sources, segments and
errors into other clients' connections, and floods.
"""

import contextlib
import struct
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether

from manifests import endpoint, endpoint_slice, port, service
from netns import TIMEOUT
from overlay import ALL, Overlay
from traffic import Transfer
from underlay import Underlay

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT, TARGET = 30080, 8080
BACKENDS = {"here": "default/b1", "there": "default/b2"}
HONEST = b"an honest datagram"
FORGED = b"a forged one"
FLOOD_SECONDS, BURST = 2, 20000


@pytest.fixture(scope="module")
def overlay():
    with Overlay() as overlay:
        for name, node in (("default/b1", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        yield overlay


@pytest.fixture(params=BACKENDS)
def backend(request, overlay):
    """The pod behind the NodePort."""
    name = BACKENDS[request.param]
    pod, ports = overlay.pods[name], [{"name": p.lower(), **port(80, p)} for p in ("TCP", "UDP")]
    node_ports = [{**p, "nodePort": PORT} for p in ports]
    slices = [endpoint_slice(f"web-{f}", "web", [endpoint(pod.ips[f], node=pod.node.label)], *({**p, "port": TARGET} for p in ports)) for f in ALL]
    overlay.apply("web", service("web", VIP.values(), *node_ports, type="NodePort"), *slices)
    yield pod
    overlay.remove("web")


@pytest.fixture
def lan(overlay):
    with overlay.underlay.wire("port1") as wire:
        yield wire


def frame(overlay, family, src, transport):
    """From the LAN to the first node's NodePort."""
    node = overlay.nodes["n1"]
    return Ether(src="02:00:00:00:10:fe", dst=node.uplink_mac) / (IP if family == 4 else IPv6)(src=src, dst=node.address[family]) / transport


def own_address(overlay, family):
    return overlay.underlay.router(1, family)


# Sources that no client outside has.
FORGERIES = {
    "a pod of the node": lambda o, f: o.pods["default/b1"].ips[f],
    "a pod of the other node": lambda o, f: o.pods["default/b2"].ips[f],
    "the node itself": lambda o, f: o.nodes["n1"].address[f],
    "the node's gateway": lambda o, f: o.nodes["n1"].gateway[f],
    "loopback": lambda o, f: {4: "127.0.0.1", 6: "::1"}[f],
    "multicast": lambda o, f: {4: "224.0.0.9", 6: "ff02::9"}[f],
    "no address": lambda o, f: {4: "0.0.0.0", 6: "::"}[f],
}


@pytest.mark.parametrize("source", FORGERIES)
def test_forged_source(overlay, backend, lan, family, source):
    """No packet of it reaches a backend; one of an honest client, sent after them, does."""
    src = FORGERIES[source](overlay, family)
    with backend.wire() as seen:
        for transport in (UDP(sport=4000, dport=PORT) / FORGED, TCP(sport=4000, dport=PORT, flags="S") / FORGED):
            lan.send(frame(overlay, family, src, transport))
        lan.send(frame(overlay, family, own_address(overlay, family), UDP(sport=4001, dport=PORT) / HONEST))
        frames = seen.until(lambda data: HONEST in data)
    assert frames and not [f for f in frames if FORGED in f]


def into(overlay, family, ports, backend):
    """Packets of a host that knows a connection's addresses and ports, and not its numbers."""
    client, node = own_address(overlay, family), overlay.nodes["n1"].address[family]
    ip = IP if family == 4 else IPv6
    for flags in ("R", "RA", "S", "FA"):
        yield TCP(sport=ports[0], dport=ports[1], flags=flags, seq=0x12345678, ack=0x87654321)
    for quoted in ((node, client, ports[1], ports[0]), (client, node, *ports), (backend.ips[family], client, TARGET, ports[0])):
        src, dst, sport, dport = quoted
        error = ICMP(type=3, code=3) if family == 4 else ICMPv6DestUnreach(code=4)
        yield error / ip(src=src, dst=dst) / TCP(sport=sport, dport=dport, seq=0x12345678)


def test_segments_and_errors_of_others(overlay, backend, lan, family):
    """They cut no connection."""
    address = overlay.nodes["n1"].address[family]
    with Transfer(overlay.underlay, backend, address, PORT, TARGET) as transfer:
        transfer.wait_more(10000)
        for transport in into(overlay, family, (transfer.a.getsockname()[1], PORT), backend):
            lan.send(frame(overlay, family, own_address(overlay, family), transport))
            lan.send(frame(overlay, family, Underlay.BEYOND[family], transport))
            transfer.wait_more(10000)


def connected(overlay, address, listener):
    a = overlay.underlay.tcp_connect(address, PORT)
    b, _ = listener.accept()
    b.settimeout(TIMEOUT)
    return a, b


@pytest.mark.long
def test_flood_of_syns(overlay, backend, lan, family):
    """From tens of thousands of forged clients: open connections stay, and new ones come about."""
    address, ip = overlay.nodes["n1"].address[family], own_address(overlay, family)
    data = bytearray(bytes(frame(overlay, family, ip, TCP(sport=1024, dport=PORT, flags="S", seq=1))))
    at = 14 + (12 if family == 4 else 8 + 12)  # the source's last four bytes
    template = bytes(data)
    with backend.tcp_listen(family, TARGET, backend.ips[family]) as listener, contextlib.ExitStack() as stack:
        pairs, end = [], time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < end or len(pairs) < 3:
            a, b = connected(overlay, address, listener)
            pairs.append((stack.enter_context(a), stack.enter_context(b)))
            for number in range(BURST):
                struct.pack_into("!I", data, at, number | 0xc6320000)  # 198.50/16
                fix(data, template, family)
                lan.sock.send(data)
            for a, b in pairs:
                a.send(b"x")
                assert b.recv(1) == b"x"
            drain(listener)


def drain(listener):
    """What forged clients have left there."""
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
    listener.settimeout(TIMEOUT)


def fix(data, template, family):
    """The checksums, after the source has changed: TCP's, and IPv4's header's."""
    at = 14 + (12 if family == 4 else 20)
    tcp = 14 + (20 if family == 4 else 40) + 16
    for check in (tcp, *([24] if family == 4 else [])):
        total = ~struct.unpack_from("!H", template, check)[0] & 0xffff
        for word in (0, 2):
            total += (~struct.unpack_from("!H", template, at + word)[0] & 0xffff) + struct.unpack_from("!H", data, at + word)[0]
        total = (total & 0xffff) + (total >> 16)
        total = (total & 0xffff) + (total >> 16)
        struct.pack_into("!H", data, check, ~total & 0xffff)


# --- loadBalancerSourceRanges -----------------------------------------------------------------------------------------

BALANCER = {4: "203.0.113.80", 6: "2001:db8:80::80"}


@pytest.fixture
def restricted(overlay):
    """A load balancer's address for one client outside: the router's other side. Its backend is on the first node."""
    pod, number = overlay.pods["default/b1"], {"name": "udp", **port(80, "UDP")}
    made = service("lb", (f"10.96.0.{20}", "fd00:96::20"), number, type="LoadBalancer", loadBalancerSourceRanges=[f"{Underlay.BEYOND[f]}/{32 if f == 4 else 128}" for f in ALL])
    made["status"] = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in BALANCER.values()]}}
    slices = [endpoint_slice(f"lb-{f}", "lb", [endpoint(pod.ips[f], node=pod.node.label)], {**number, "port": TARGET}) for f in ALL]
    overlay.apply("lb", made, *slices)
    yield pod
    overlay.remove("lb")


def to_balancer(overlay, family, src, *layers):
    ip = (IP if family == 4 else IPv6)(src=src, dst=BALANCER[family])
    made = Ether(src="02:00:00:00:10:fe", dst=overlay.nodes["n1"].uplink_mac) / ip
    for layer in layers:
        made /= layer
    return made


def in_fragments(packet, family):
    if family == 4:
        return fragment(packet, fragsize=16)
    packet[IPv6].payload = IPv6ExtHdrFragment(id=7) / packet[IPv6].payload
    return fragment6(packet, 96)


def test_source_ranges_are_not_bypassed(overlay, restricted, lan, family):
    """By fragments (in any order, with the allowed client's identifier), by errors that quote the allowed client's packets,
    by sources that no client has, and by a connection's middle. What the allowed client sends arrives.
    """
    own, allowed, pod = own_address(overlay, family), Underlay.BEYOND[family], restricted.ips[family]
    ip = IP if family == 4 else IPv6
    honest = UDP(sport=4001, dport=80) / HONEST
    error = ICMP(type=3, code=3) if family == 4 else ICMPv6DestUnreach(code=4)
    before = overlay.nodes["n1"].metrics()
    with restricted.wire() as seen:
        lan.send(to_balancer(overlay, family, allowed, UDP(sport=4001, dport=80) / b"opens the flow"))
        assert seen.until(lambda data: b"opens the flow" in data)
        lan.send(to_balancer(overlay, family, own, UDP(sport=4001, dport=80) / FORGED))
        for piece in in_fragments(to_balancer(overlay, family, own, UDP(sport=4001, dport=80) / (FORGED * 4)), family):
            lan.send(piece)
        # One about the service's reply passes: any router between it and the client may send that.
        for src, dst in ((allowed, BALANCER[family]), (BALANCER[family], own), (pod, allowed)):
            lan.send(to_balancer(overlay, family, own, error / ip(src=src, dst=dst) / UDP(sport=80, dport=4001) / FORGED))
        for src in (pod, overlay.pods["default/b2"].ips[family], overlay.nodes["n1"].address[family]):
            lan.send(to_balancer(overlay, family, src, UDP(sport=4002, dport=80) / FORGED))
        lan.send(to_balancer(overlay, family, own, TCP(sport=4003, dport=80, flags="A") / FORGED))
        lan.send(to_balancer(overlay, family, allowed, honest))
        frames = seen.until(lambda data: HONEST in data)
    assert frames and not [f for f in frames if FORGED in f]
    moved = overlay.nodes["n1"].metrics()
    assert moved[("source_range", "ingress")] - before[("source_range", "ingress")] >= 2
