# SPDX-License-Identifier: BSD-2-Clause
"""Programs are replaced in place under load: no spoofed packet gets through between the old and the new one, and no
packet of an honest pod is lost.
"""

import contextlib

import pytest

from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether

from lab import NODE_GATEWAY, Lab, moved, network
from netns import FAMILY, TIMEOUT, wait_for
from traffic import Worker

pytestmark = pytest.mark.alone

REPLACEMENTS = 25


class Load(Worker):
    """Does its step again and again, and counts."""

    def __init__(self, step):
        self.step, self.count = step, 0
        super().__init__()

    def turn(self):
        self.step()
        self.count += 1


def spoofer(a, b):
    """A step: 66 frames with another pod's address, to that pod's neighbours and to the host."""
    wire = a.wire()
    frames = [
        bytes(a.packet(f, dst, src=b.ips[f]) / UDP(sport=1, dport=9) / b"spoofed")
        for f in (4, 6)
        for dst in (b.ips[f], NODE_GATEWAY[f], Lab.WORLD[f])
    ]
    return lambda: wire.send(*frames * 11)


def exchange(client, server, address):
    """A step: one datagram there and back, each awaited. A lost one is a time-out, and so an error."""
    family = 6 if ":" in address else 4
    b = server.udp(family)
    a = client.udp(family)
    a.connect((address, b.getsockname()[1]))

    def step():
        a.send(b"ping")
        _, source = b.recvfrom(16)
        b.sendto(b"pong", source)
        a.recv(16)

    return step


def stream(client, server, address):
    """A step: 64 KB over one TCP connection that lives through all of it."""
    listener = server.tcp_listen(6 if ":" in address else 4)
    a = client.tcp_connect(address, listener.getsockname()[1])
    b, _ = listener.accept()
    b.settimeout(TIMEOUT)

    def step():
        a.sendall(b"x" * 65536)
        left = 65536
        while left:
            left -= len(b.recv(left))

    return step


def test_replacement_under_load(lab, node, pods, watch):
    hostile, a, b = pods("hostile", network()), pods("a", network()), pods("b", network())
    honest = [
        *(exchange(a, b, b.ips[f]) for f in FAMILY),
        *(exchange(node, a, a.ips[f]) for f in FAMILY),
        *(exchange(a, lab.world, Lab.WORLD[f]) for f in FAMILY),
        *(stream(a, b, b.ips[f]) for f in FAMILY),
    ]
    before, guarded = node.metrics(), node.guard_drops()
    programs = set()
    with b.wire() as at_b, lab.world.wire() as at_world:
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(Load(step)) for step in honest]
            spoofing = stack.enter_context(Load(spoofer(hostile, b)))
            for _ in range(REPLACEMENTS):
                seen = spoofing.count
                assert node.warren_json("node", "init", "--reload")["endpoints_replaced"] == 3
                programs.add(node.run("tc", "filter", "show", "dev", hostile.host_ifname, "ingress").stdout)
                wait_for(lambda: spoofing.count > seen or spoofing.error, "the spoofer to be at work")
            wait_for(lambda: all(load.count > 20 or load.error for load in loads), "packets of honest pods")
        frames = [Ether(f).summary() for f in at_b.drain() + at_world.drain() if b"spoofed" in f]

    assert len(programs) == REPLACEMENTS, "nothing was replaced"
    assert min(load.count for load in loads) > 20
    sent = spoofing.count * 66
    delta = moved(before, node.metrics())
    assert frames == []
    # A program handled every one of them: a packet without one would have reached the guard, unmarked.
    assert node.guard_drops() == guarded
    assert sent * 0.5 < delta.pop(("spoofed_source", "egress")) <= sent
    assert set(delta) == {("to_endpoint", "egress"), ("to_stack", "egress"), ("delivered", "ingress")}
    assert watch() <= delta[("to_stack", "egress")]
