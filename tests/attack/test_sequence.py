# SPDX-License-Identifier: BSD-2-Clause
"""An established TCP connection and segments with wrong sequence numbers: SYN, FIN and SYN-ACK of a sender without the
right numbers. They come from a neighbour pod, from the LAN, or from a process with NET_RAW at one of the two ends. None
of them may cut the connection, shorten its entry's life or replace its entry; and the replies of the ends (the
challenge ACK of RFC 5961) must pass. Resets are in a file of their own.
"""

import contextlib
import struct

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lab import HOST_MAC, Lab, network
from netns import TIMEOUT, Wire, wait_for

HOUR = 3600 * 1000  # ms
# How far from what is expected: far ahead, as far as can be, far behind. Random numbers would hit the window now and
# then.
OFFSETS = (1 << 30, 1 << 31, 3 << 30)
FORGED = {"syn": "S", "fin": "FA", "syn-ack": "SA"}


class Connection:
    """One between two ends, each (network namespace, address). `numbers`: the next sequence number of each end, as seen
    on its device.
    """

    def __init__(self, family, client, server, stack):
        self.family, self.ends = family, (client, server)
        wires = [stack.enter_context(contextlib.closing(Wire(netns, "eth0", outgoing=True))) for netns, _ in self.ends]
        with server[0].tcp_listen(family) as listener:
            self.socks = [client[0].tcp_connect(server[1], listener.getsockname()[1]), None]
            self.socks[1], _ = listener.accept()
        for sock in self.socks:
            stack.enter_context(contextlib.closing(sock))
            sock.settimeout(TIMEOUT)
        self.ports = [self.socks[0].getsockname()[1], self.socks[1].getsockname()[1]]
        self.exchange()
        self.numbers = [self.last_number(wires[i], i) for i in (0, 1)]
        for wire in wires:
            wire.close()

    def segment(self, frame):
        """(source port, destination port, sequence number, flags) if the frame is TCP of this family."""
        at, proto = (34, 23) if self.family == 4 else (54, 20)
        if len(frame) < at + 20 or frame[12:14] != (b"\x08\x00" if self.family == 4 else b"\x86\xdd") or frame[proto] != 6:
            return None
        sport, dport, seq = struct.unpack_from("!HHI", frame, at)
        return sport, dport, seq, frame[at + 13]

    def last_number(self, wire, end):
        """The sequence number after the byte that this end has sent."""
        segments = [s for s in map(self.segment, wire.drain()) if s and s[:2] == (self.ports[end], self.ports[1 - end])]
        return max(segments, key=lambda s: (s[2] - segments[0][2]) & 0xFFFFFFFF)[2]

    def exchange(self):
        """A byte each way, which is acknowledged by the next."""
        for _ in range(2):
            for source, sink in (self.socks, self.socks[::-1]):
                source.send(b"x")
                assert sink.recv(1) == b"x", "the connection has ended"

    def forged(self, end, flags, offset):
        """Segments that are forged as that end's."""
        (_, src), (_, dst) = self.ends[end], self.ends[1 - end]
        seq = (self.numbers[end] + offset) % (1 << 32)
        ack = (self.numbers[1 - end] + offset) % (1 << 32) if "A" in flags else 0
        tcp = TCP(sport=self.ports[end], dport=self.ports[1 - end], flags=flags, seq=seq, ack=ack)
        return (IP if self.family == 4 else IPv6)(src=src, dst=dst) / tcp

    def entry(self, node):
        """Its conntrack entry; there is exactly one."""
        sides = [{"address": address, "port": port} for (_, address), port in zip(self.ends, self.ports)]

        def is_ours(flow):
            return flow["protocol"] == "tcp" and [{k: flow[s][k] for k in ("address", "port")} for s in ("from", "to")] in (sides, sides[::-1])

        (entry,) = [flow for flow in node.warren_json("ct", "list") if is_ours(flow)]
        assert [{k: entry[s][k] for k in ("address", "port")} for s in ("from", "to")] == sides, "who began it has changed"
        return entry

    def assert_stands(self, node):
        entry = self.entry(node)
        assert entry["expires"] > HOUR, entry
        self.exchange()


@pytest.fixture
def connect(lab, node, pods, family):
    """A connection of pod "a" with another pod or, either way, with the world."""
    with contextlib.ExitStack() as stack:

        def make(kind):
            a = pods("a", network(ipMasq=False))
            near = (a, a.ips[family])
            if kind == "pods":
                b = pods("b", network())
                far = (b, b.ips[family])
            else:
                far = (lab.world, Lab.WORLD[family])
            return Connection(family, *((far, near) if kind == "from the world" else (near, far)), stack)

        yield make


def uplink_frame(lab, packet):
    """From the LAN to the node."""
    return Ether(src=lab.world.ip("link", "show", "eth0")[0]["address"], dst=lab.node.ip("link", "show", "eth0")[0]["address"]) / packet


@pytest.mark.parametrize("flags", FORGED)
@pytest.mark.parametrize("end", [0, 1], ids=["initiator", "responder"])
@pytest.mark.parametrize("kind", ["pods", pytest.param("from the world", marks=pytest.mark.kernels), "to the world"])
def test_numbers_that_an_end_guesses(lab, node, connect, kind, end, flags):
    """From the end's own device, where the source is genuine: a container with NET_RAW in the pod, a router of the LAN."""
    connection = connect(kind)
    (sender, _), (receiver, _) = connection.ends[end], connection.ends[1 - end]
    with sender.wire() as wire, receiver.wire() as arrives:
        for offset in OFFSETS:
            packet = connection.forged(end, FORGED[flags], offset)
            number = packet[TCP].seq
            wire.send(uplink_frame(lab, packet) if sender is lab.world else sender.ether() / packet)
            assert arrives.until(lambda f: (connection.segment(f) or (0, 0, -1))[2] == number), "conntrack is not to stop it"
        # The receiver replies to the first one with the number that it expects.
        answer = (connection.ports[1 - end], connection.ports[end])
        assert wire.until(lambda f: (s := connection.segment(f)) and s[:2] == answer and s[3] & 0x17 == 0x10), "the challenge ACK was lost"
    connection.assert_stands(node)


@pytest.mark.parametrize("flags", FORGED)
@pytest.mark.parametrize("attacker", ["a neighbour", "the LAN"])
def test_numbers_that_a_third_party_guesses(lab, node, pods, connect, attacker, flags):
    """A pod that is neither end sends as either: dropped for its source, whatever the numbers; the right ones are
    tried, too.
    """
    connection = connect("pods")
    other = pods("c", network())
    if attacker == "the LAN":
        node.sysctl("ipv4/conf/all/rp_filter", 0)
        node.sysctl("ipv4/conf/eth0/rp_filter", 0)
    reason = ("spoofed_outside", "ingress") if attacker == "the LAN" else ("spoofed_source", "egress")
    before, sent = node.metrics(), 0
    with (lab.world if attacker == "the LAN" else other).wire() as wire:
        for end in (0, 1):
            for offset in (0, *OFFSETS):
                packet = connection.forged(end, FORGED[flags], offset)
                wire.send(uplink_frame(lab, packet) if attacker == "the LAN" else Ether(src=other.mac, dst=HOST_MAC) / packet)
                sent += 1
    wait_for(lambda: node.metrics()[reason] - before.get(reason, 0) >= sent, f"{sent} drops for {reason[0]}")
    connection.assert_stands(node)
