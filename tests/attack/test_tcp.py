# SPDX-License-Identifier: BSD-2-Clause
"""TCP connections and an attacker without their sequence numbers: SYNs from forged sources, and resets."""

import socket
import time

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lab import Lab, network
from netns import TIMEOUT, wait_for

SILENT = {4: "198.51.100.77", 6: "2001:db8:2::77"}  # the world has no route to it
SYNS = 12  # so few that they fit into every set of the pod's window
NEW = 60 * 1000  # ms


@pytest.fixture
def pod(pods):
    return pods("a", network(ipMasq=False))


def packet(lab, family, src, dst, **tcp):
    """From the LAN to the node."""
    ether = Ether(src=lab.world.ip("link", "show", "eth0")[0]["address"], dst=lab.node.ip("link", "show", "eth0")[0]["address"])
    return ether / (IP if family == 4 else IPv6)(src=src, dst=dst) / TCP(**tcp)


def flows(node, port):
    return [f for f in node.warren_json("ct", "list") if f["protocol"] == "tcp" and port in (f["from"]["port"], f["to"]["port"])]


def test_syns_of_a_silent_address(lab, node, pod, family):
    """The pod replies to each; the blind acknowledgements after them establish nothing, so nothing counts against its
    quota.
    """
    with pod.tcp_listen(family) as listener, lab.world.wire() as wire:
        port = listener.getsockname()[1]
        for flags, ack in (("S", 0), ("A", 0x12345678)):
            for n in range(SYNS):
                wire.send(packet(lab, family, SILENT[family], pod.ips[family], sport=2000 + n, dport=port, flags=flags, seq=n, ack=ack))
            wait_for(lambda: sum(f["state"] != "new" for f in flows(node, port)) == SYNS, "all of them are answered")
        entries = flows(node, port)
    assert all(f["table"] != "ct" and f["expires"] <= NEW for f in entries), entries[:3]


@pytest.mark.long
def test_wrong_resets_from_the_world(lab, node, pod, family):
    """Both ends are idle for longer than the timeout of a closed connection."""
    with lab.world.tcp_listen(family) as listener:
        port = listener.getsockname()[1]
        with pod.tcp_connect(Lab.WORLD[family], port) as a, listener.accept()[0] as b, lab.world.wire() as wire:
            for sock in (a, b):
                sock.settimeout(TIMEOUT)
            own = a.getsockname()[1]
            for flags in ("R", "RA"):
                wire.send(packet(lab, family, Lab.WORLD[family], pod.ips[family], sport=port, dport=own, flags=flags, seq=0x12345678, ack=0x87654321))
            time.sleep(1)
            (entry,) = flows(node, own)
            assert entry["expires"] > 3600 * 1000, entry
            time.sleep(10)
            for source, sink in ((a, b), (b, a)):
                source.send(b"x")
                assert sink.recv(1) == b"x"
            (entry,) = flows(node, own)
            assert entry["from"]["port"] == own and entry["state"] == "replied", entry
            # A genuine one ends it: with the number that the pod acknowledges.
            b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            b.close()
            wait_for(lambda: flows(node, own)[0]["state"] == "reset", "the exact reset")
