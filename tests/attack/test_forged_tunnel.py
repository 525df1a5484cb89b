# SPDX-License-Identifier: BSD-2-Clause
"""A host on the nodes' link that can send, and cannot listen (off path): it forges tunnel packets of a node, about that
node's pods. Without the keyed word in the Geneve option a node's address is all that it takes. With it, nothing of it
arrives, by tc or by XDP; and a word that was read on one path opens no other.
"""

import contextlib
import os
import struct
import threading

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from geneve import KEY_OPTION, OPTION, REMOTE_NODE, Tunnelled, geneve, is_tunnel
from netns import TIMEOUT, wait_for
from overlay import ALL, Overlay

PORT = 7777
COPIES = 50
PODS = (("default/a1", "n1"), ("default/b2", "n2"), ("default/c3", "n3"))


class KeyedOverlay(Overlay):
    """Three nodes whose agents have `mode` as --tunnel-key, and XDP on their uplinks or not."""

    KEYS = "/run/tunnel.keys"

    def __init__(self, mode=None, xdp="off", **kwargs):
        self.mode_of_key, self.xdp = mode, xdp
        super().__init__(nodes=3, **kwargs)
        for name, node in PODS:
            self.pod(name, node)
        self.wait_resolved()

    @property
    def options(self):
        return [*self._options, "--xdp", self.xdp, *(["--tunnel-key", self.mode_of_key] if self.mode_of_key else [])]

    @options.setter
    def options(self, options):
        self._options = options


class Attacker:
    """On the link of the nodes; what it sends reaches n1 with `source`'s address, and says it is from `pod`."""

    def __init__(self, overlay, source="n2", pod="default/b2"):
        self.overlay, self.source, self.pod = overlay, overlay.nodes[source], overlay.pods[pod]
        self.identity = self.pod.node.agent.identity(self.pod)

    def frame(self, family, to="default/a1", word=None, src=None, identity=None):
        """`word`: bytes of the key's option; None: there is none."""
        target = self.overlay.pods[to]
        ip = IPv6 if family == 6 else IP
        inner = ip(src=src or self.pod.ips[family], dst=target.ips[family]) / UDP(sport=4444, dport=PORT) / b"forged"
        options = struct.pack("!HBBQ", *OPTION, 2, identity or self.identity)
        if word is not None:
            options += struct.pack("!HBB", *KEY_OPTION, len(word) // 4) + word
        outer = self.overlay.outer
        packet = geneve(self.source.address[outer], target.node.address[outer], inner, options=options)
        return Ether(src=self.source.uplink_mac, dst=target.node.uplink_mac) / packet

    def send(self, *frames, to="default/a1"):
        with self.overlay.underlay.wire(self.overlay.underlay.port(self.overlay.pods[to].node.number)) as out:
            for frame in frames:
                out.send(frame)


@contextlib.contextmanager
def arrivals(pod):
    sock = pod.udp(6, PORT)
    sock.settimeout(TIMEOUT)
    yield sock
    sock.close()


def pending(sock):
    """How many datagrams there are, now."""
    sock.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while sock.recv(65536):
            count += 1
    sock.settimeout(TIMEOUT)
    return count


# --- what the key is for -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ALL, ids=["over-v4", "over-v6"])
def open_overlay(request):
    with KeyedOverlay(outer=request.param) as overlay:
        yield overlay


def test_without_a_key_an_address_is_believed(open_overlay, family):
    """The attack itself: were it not to succeed here, the tests below would pass for no reason."""
    attacker = Attacker(open_overlay)
    with arrivals(open_overlay.pods["default/a1"]) as sock:
        attacker.send(*[attacker.frame(family)] * COPIES)
        for _ in range(COPIES):
            assert sock.recv(65536) == b"forged"
