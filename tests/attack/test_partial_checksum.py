# SPDX-License-Identifier: BSD-2-Clause
"""A packet socket with PACKET_VNET_HDR leaves a checksum to the device (CHECKSUM_PARTIAL), and gives the offsets where
it begins and where it is written. A device without checksum offload has the kernel write it, after every program and
rule: two bytes of the sender's choice, at an offset of the sender's choice. It must not change a header that the
verdict depends on. The sender also chooses into how many frames one packet is cut.
"""

import contextlib
import json
import socket
import struct

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import HBHOptUnknown, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether

from geneve import PORT as TUNNEL_PORT
from geneve import geneve, geneve_payload
from lab import moved
from manifests import pods, policy, port, sources, targets
from netns import Wire, tcp, udp, wait_for
from overlay import ALL, Overlay
from underlay import Underlay

REASON, GSO_REASON = "checksum_offset", "gso_segments"
SOL_PACKET, PACKET_VNET_HDR = 263, 15
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4 = 0, 1, 3, 4, 5
CHECK = {"tcp": 16, "udp": 6}  # offset of the checksum in the transport header
DNS, OPEN, SHUT = 53, 7777, 9999
NODE_PORTS = 49152  # the first source port of tunnel packets
ETHER = 14
L4 = {4: ETHER + 20, 6: ETHER + 40}
LAST_WORD = {4: {"src": ETHER + 14, "dst": ETHER + 18}, 6: {"src": ETHER + 22, "dst": ETHER + 38}}  # of each address
PODS = {"default/a1": "n1", "default/b1": "n1", "default/b2": "n2", "default/c2": "n2"}


class VnetWire(Wire):
    """Sends frames with a virtio header: what the device still has to do."""

    def __init__(self, pod):
        super().__init__(pod, "eth0")
        self.sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)

    def send(self, frame, start=0, offset=0, partial=True, gso=GSO_NONE, size=0, headers=0):
        frame = bytes(frame)
        flags = NEEDS_CSUM if partial else 0
        self.sock.send(struct.pack("=BBHHHH", flags, gso, headers, size, start, offset) + frame)


def ones(data):
    """The ones' complement sum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def aimed(frame, start, at, value, free=-2):
    """The arguments of VnetWire.send(): the frame, whose 16 bits at `free` make the checksum from `start` on `value`,
    which is written at `at`.
    """
    frame = bytearray(frame)
    free %= len(frame)
    assert not len(frame) % 2 and not start % 2 and not free % 2
    frame[free : free + 2] = b"\0\0"
    struct.pack_into("!H", frame, free, ((~value & 0xFFFF) - ones(frame[start:])) % 0xFFFF)
    assert ~ones(frame[start:]) & 0xFFFF == value
    return bytes(frame), start, at - start


def becomes(frame, final, at):
    """The same for a `frame` that is to differ from `final` only in the 16 bits at `at`, once they are written.

    Over IPv4 the last 16 bits of the payload are free, as a datagram needs no checksum; over IPv6 those of an unknown
    option.
    """
    frame, final = bytearray(bytes(frame)), bytes(final)
    if final[ETHER] >> 4 == 4:  # the header's checksum is right in the end
        frame[ETHER + 10 : ETHER + 12] = final[ETHER + 10 : ETHER + 12]
        return aimed(frame, at, at, word(final, at))
    check = L4[6] + OPTIONS + CHECK["udp"]
    frame[check : check + 2] = final[check : check + 2]
    return aimed(frame, min(at, L4[6]), at, word(final, at), free=L4[6] + 4)


def word(frame, at):
    return struct.unpack_from("!H", frame, at)[0]


def ip(family):
    return IP if family == 4 else IPv6


# Before 6.2 the programs find the checksum's offset by other code: one half of this runs on that kernel, too.
OUTER = [pytest.param(ALL[0], id="over-v4", marks=[pytest.mark.kernels, pytest.mark.long]), pytest.param(ALL[1], id="over-v6")]


@pytest.fixture(scope="module", params=OUTER)
def overlay(request):
    """Nodes whose uplinks leave no checksum to a device."""
    with Overlay(outer=request.param) as overlay:
        for name, node in PODS.items():
            overlay.pod(name, node, app=name[8:])
        for node in overlay.nodes.values():
            node.run("ethtool", "-K", "eth0", "tx", "off")
        overlay.write(
            "policy",
            policy("a1", {"app": "a1"}, egress=[{"ports": [port(DNS, "UDP")]}, targets(pods(app="b2"), ports=[port(OPEN, "UDP")])],
                   types=["Egress"]),
            policy("c2", {"app": "c2"}, ingress=[sources(pods(app="b1"))], types=["Ingress"]),
        )
        overlay.wait_applied()
        overlay.wait_resolved()
        yield overlay


@pytest.fixture
def c2(overlay):
    return overlay.pods["default/c2"]


@pytest.fixture
def b1(overlay):
    return overlay.pods["default/b1"]


@pytest.fixture
def undropped(overlay):
    """None of it has been dropped for the reasons tested here."""
    nodes = overlay.nodes.values()
    before = [node.metrics() for node in nodes]
    yield
    for node, counted in zip(nodes, before):
        assert not {REASON, GSO_REASON} & {reason for reason, _ in moved(counted, node.metrics())}


class Attack:
    """Sends packets of a1, and finds out whether they are dropped at its node or arrive."""

    def __init__(self, attacker):
        self.node, self.attacker = attacker.node, attacker
        self.before = self.node.metrics()

    def dropped(self, reason=REASON):
        key = (reason, "egress")
        return self.node.metrics().get(key, 0) - self.before.get(key, 0)

    def fails(self, arrived, reason=REASON, count=1):
        """No packet arrives, and each is counted by that reason."""
        came = wait_for(lambda: arrived() or (self.dropped(reason) >= count and [None]), "it arrives or is dropped")
        assert came == [None], f"the attack succeeds: {came}"
        assert self.dropped(reason) == count
        assert not arrived()


def heard(sock):
    """What a socket has got."""
    got = []
    with contextlib.suppress(BlockingIOError):
        while True:
            got.append(sock.recvfrom(65536))
    return got


@contextlib.contextmanager
def hears(netns, family, number):
    with netns.udp(family, number) as sock:
        sock.setblocking(False)
        yield lambda: heard(sock)


# --- two bytes ---------------------------------------------------------------------------------------------------------


OPTIONS = 8  # the length of an IPv6 datagram's


def datagram(pod, dst, sport, dport, src=None):
    """From a pod to another one; its length is even. Over IPv4 it has no checksum, over IPv6 an unknown option."""
    family = 6 if ":" in dst else 4
    sum_ = {"chksum": 0} if family == 4 else {}
    packet = pod.packet(family, dst, **({"src": src} if src else {}))
    if family == 6:
        packet /= IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optlen=4, optdata=bytes(4))])
    return packet / UDP(sport=sport, dport=dport, **sum_) / b"rewritten!__"


def test_destination_port(a1, b2, family):
    """Its policy allows it one port of that pod."""
    frame, final = (datagram(a1, b2.ips[family], 4000, number) for number in (OPEN, SHUT))
    with hears(b2, family, SHUT) as arrived, VnetWire(a1) as wire:
        attack = Attack(a1)
        wire.send(*becomes(frame, final, L4[family] + (OPTIONS if family == 6 else 0) + 2))
        attack.fails(arrived)


def test_destination_address(a1, b2, c2, overlay, family):
    """Its policy allows it one pod there; the other one accepts all."""
    overlay.apply("policy-c2", policy("c2-open", {"app": "c2"}, ingress=[{}], types=["Ingress"]))
    try:
        frame, final = (datagram(a1, pod.ips[family], 4001, OPEN) for pod in (b2, c2))
        with hears(c2, family, OPEN) as arrived, VnetWire(a1) as wire:
            attack = Attack(a1)
            wire.send(*becomes(frame, final, LAST_WORD[family]["dst"]))
            attack.fails(arrived)
    finally:
        overlay.remove("policy-c2")


def test_source_address(a1, b1, c2, overlay, family):
    """The receiver lets in its neighbour only."""
    overlay.apply("policy-a1", policy("a1-open", {"app": "a1"}, egress=[{}], types=["Egress"]))
    try:
        frame, final = (datagram(a1, c2.ips[family], 4002, OPEN, src=pod.ips[family]) for pod in (a1, b1))
        with hears(c2, family, OPEN) as arrived, VnetWire(a1) as wire:
            attack = Attack(a1)
            wire.send(*becomes(frame, final, LAST_WORD[family]["src"]))
            attack.fails(arrived)
    finally:
        overlay.remove("policy-a1")


def test_tunnel_port_behind_masquerade(overlay, a1, b1, n2, c2, family):
    """a1 may send to port 53 of any host. The other node would get a tunnel packet from this node's address, with
    another pod's identity.
    """
    outer = overlay.outer
    inner = ip(family)(src=b1.ips[family], dst=c2.ips[family]) / UDP(sport=4003, dport=OPEN) / b"never sent by b1"
    frame = a1.packet(outer, n2.address[outer]) / UDP(sport=4004, dport=DNS, chksum=0)
    frame /= geneve_payload(inner, overlay.identity("default/b1"))
    at = L4[outer] + 2
    inner_mac = L4[outer] + 8 + 8 + 12 + 6  # the inner frame's source, which means nothing
    with hears(c2, family, OPEN) as arrived, VnetWire(a1) as wire:
        attack = Attack(a1)
        wire.send(*aimed(bytes(frame), at, at, TUNNEL_PORT, free=inner_mac))
        attack.fails(arrived)


# --- and if two bytes were written nevertheless -------------------------------------------------------------------------------


def test_masqueraded_ports(overlay, b1, undropped, family):
    """No masqueraded datagram gets a source port of tunnel packets."""
    ports = []
    with overlay.underlay.udp(family, address=Underlay.BEYOND[family]) as server:
        for _ in range(64):
            with b1.udp(family) as sock:
                sock.sendto(b"from where?", server.getsockname()[:2])
                ports.append(server.recvfrom(100)[1][1])
    assert 1024 <= min(ports) and max(ports) < NODE_PORTS


@pytest.mark.parametrize("sport", [NODE_PORTS - 1, NODE_PORTS])
def test_tunnel_packet_from_another_port(overlay, n1, n2, b2, a1, family, sport):
    """It differs from the other node's packet only by the port."""
    outer = overlay.outer
    inner = ip(family)(src=b2.ips[family], dst=a1.ips[family]) / UDP(sport=4004, dport=OPEN) / b"from there"
    frame = geneve(n2.address[outer], n1.address[outer], inner, overlay.identity("default/b2"), sport=sport)
    with hears(a1, family, OPEN) as arrived, overlay.underlay.wire(overlay.underlay.port(1)) as wire:
        before = n1.metrics()
        wire.send(Ether(src=n2.uplink_mac, dst=n1.uplink_mac) / frame)
        reason = "to_endpoint" if sport == NODE_PORTS else "tunnel_sport"
        n1.assert_moved(before, {(reason, "ingress"): 1})
        assert bool(arrived()) == (sport == NODE_PORTS)


# --- one packet, many frames ----------------------------------------------------------------------------------------------


def socket_bytes(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@contextlib.contextmanager
def frames_at(netns, ifname, mark):
    """Counts the frames that come in there and hold `mark`."""
    with Wire(netns, ifname) as wire:
        count = 0

        def counted():
            nonlocal count
            count += sum(mark in frame for frame in wire.drain())
            return count

        yield counted


def syn(pod, dst, size, number=DNS):
    """A SYN with as much payload. Its checksum is that of the pseudo header, as from a stack."""
    family = 6 if ":" in dst else 4
    frame = bytearray(bytes(pod.packet(family, dst) / TCP(sport=4100, dport=number, flags="S") / bytes(size)))
    at = LAST_WORD[family]
    pseudo = frame[at["src"] + 2 - {4: 4, 6: 16}[family] : at["dst"] + 2] + struct.pack("!HH", 6, len(frame) - L4[family])
    struct.pack_into("!H", frame, L4[family] + CHECK["tcp"], ones(bytes(pseudo)))
    return bytes(frame)


@pytest.mark.parametrize("size", [1, 7])
def test_many_frames(overlay, b1, b2, family, size):
    """One verdict for a packet of 60,000 bytes in segments of `size`: on the link between the nodes each would be a
    frame.
    """
    gso = {4: GSO_TCPV4, 6: GSO_TCPV6}[family]
    with frames_at(overlay.underlay, overlay.underlay.port(1), socket_bytes(b1.ips[family])) as frames, VnetWire(b1) as wire:
        attack = Attack(b1)
        wire.send(syn(b1, b2.ips[family], 60000), L4[family], CHECK["tcp"], gso=gso, size=size, headers=L4[family] + 20)
        attack.fails(lambda: frames() > 1000 and [f"{frames()} frames"], GSO_REASON)


# --- what is honest passes ------------------------------------------------------------------------------------------------


def offloads(netns, ifname="eth0"):
    return json.loads(netns.run("ethtool", "--json", "-k", ifname).stdout)[0]


@pytest.mark.parametrize("to", ["a pod of the other node", "a pod of its node", "the world"])
def test_offload_of_stacks(overlay, b1, b2, c2, undropped, family, to):
    """The pod leaves checksums and segmentation to the device, and its node's uplink offloads neither."""
    assert offloads(b1)["tx-checksumming"]["active"] and offloads(b1)["tcp-segmentation-offload"]["active"]
    assert not offloads(b1.node)["tx-checksumming"]["active"]
    server, address = {
        "a pod of the other node": (b2, b2.ips),
        "a pod of its node": (overlay.pods["default/a1"], overlay.pods["default/a1"].ips),
        "the world": (overlay.underlay, Underlay.BEYOND),
    }[to]
    tcp(b1, server, address[family], size=1 << 20)
    udp(b1, server, address[family], payload=bytes(500))
    if to != "the world":  # whose reply would be too big at first
        udp(b1, server, address[family], payload=bytes(5000))


KINDS = {  # of tunnels that pods make themselves, over IPv4
    "vxlan": ["vxlan", "id", "7", "dstport", "4789", "dev", "eth0"],
    "vxlan with checksum": ["vxlan", "id", "7", "dstport", "4789", "dev", "eth0", "udpcsum"],
    "gre": ["gretap"],
    "gre with checksum": ["gretap", "csum"],
    "ipip": ["ipip"],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["other node", "same node"])
def test_tunnel_of_pods(overlay, b1, undropped, kind, place):
    """Of its packets the innermost checksum is left to the device."""
    peer = overlay.pods["default/b2" if place == "other node" else "default/a1"]
    name, *options = KINDS[kind]
    ends = ((b1, peer, "192.0.2.1"), (peer, b1, "192.0.2.2"))
    if place == "same node":
        overlay.apply("policy-a1", policy("a1-open", {"app": "a1"}, egress=[{}], types=["Egress"]))
    try:
        for pod, other, address in ends:
            add = ["ip", "link", "add", "own", "mtu", 1200, "type", name, "local", pod.ips[4], "remote", other.ips[4], *options]
            if pod.run(*add, check=False).returncode:
                pytest.skip(f"this kernel has no {name}")
            pod.run("ip", "address", "add", f"{address}/24", "dev", "own")
            pod.run("ip", "link", "set", "own", "up")
        tcp(b1, peer, "192.0.2.2", size=1 << 20)
        udp(b1, peer, "192.0.2.2", payload=bytes(500))
        tcp(peer, b1, "192.0.2.1", size=1 << 20)
    finally:
        for pod, *_ in ends:
            pod.run("ip", "link", "delete", "own", check=False)
        if place == "same node":
            overlay.remove("policy-a1")
