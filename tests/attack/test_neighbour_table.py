# SPDX-License-Identifier: BSD-2-Clause
"""A pod fills the kernel's neighbour table, which all network namespaces share (gc_thresh3 entries): the nexthops to
other nodes must still be resolved.

Over IPv4 the pod needs no privilege: it sends datagrams to unused addresses on the link, and each takes an entry that
is never resolved. Over IPv6 it needs a route, so NET_ADMIN, or a namespace of its own. Entries of pods and of their
gateways are permanent, which the limit does not count.
"""

import contextlib
import socket
import time

import pytest

from netns import wait_for
from overlay import ALL, Overlay
from traffic import Worker, seconds_until_answered

pytestmark = pytest.mark.alone  # it fills a table that everything on this machine shares

SOON = 5  # seconds
SO_DONTROUTE = 5
SOCKETS = 64


class Flood(Worker):
    """Datagrams of a pod, each to another neighbour."""

    def __init__(self, pod, family):
        self.family, self.next = family, 1
        if family == 6:
            pod.run("ip", "-6", "route", "add", "2001:db8:bad::/48", "dev", "eth0")
        # A datagram that waits for its neighbour uses up its socket's buffer.
        self.socks = [pod.udp(family) for _ in range(SOCKETS)]
        for sock in self.socks:
            sock.setblocking(False)
            if family == 4:
                sock.setsockopt(socket.SOL_SOCKET, SO_DONTROUTE, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        super().__init__()

    def turn(self):
        for _ in range(500):
            n, self.next = self.next, self.next + 1
            to = (f"10.{200 + (n >> 16 & 31)}.{n >> 8 & 255}.{n & 255}", 9)
            if self.family == 6:
                to = (f"2001:db8:bad::{n >> 16:x}:{n & 65535:x}", 9)
            with contextlib.suppress(OSError):  # the table is full
                self.socks[n % SOCKETS].sendto(b"", to)
        time.sleep(0.005)

    def close(self):
        super().close()
        for sock in self.socks:
            sock.close()


def refused(family):
    """How many entries the kernel could not make because the table was full."""
    with open(f"/proc/net/stat/{ {4: 'arp', 6: 'ndisc'}[family] }_cache") as stat:
        names, *rows = (line.split() for line in stat)
    return sum(int(row[names.index("table_fulls")], 16) for row in rows)


@pytest.fixture(params=ALL, ids=["over-v4", "over-v6"])
def overlay(request):
    with Overlay(outer=request.param) as overlay:
        for name, node in (("default/a1", "n1"), ("default/evil", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node)
        overlay.wait_resolved()
        yield overlay


@pytest.fixture
def flood(overlay):
    before = refused(overlay.outer)
    with Flood(overlay.pods["default/evil"], overlay.outer) as flood:
        wait_for(lambda: refused(overlay.outer) > before, "the neighbour table to be full", 10)
        yield flood


def macs(node, address):
    """What the kernel of that node has as the neighbour's MAC address."""
    return [entry.get("lladdr") for entry in node.ip("neighbour", "show", address)]


def exchange(a, b, seconds=SOON):
    """Seconds until a datagram of a gets a reply; None: none did."""
    return seconds_until_answered(a, b, 4, seconds)


def test_a_lost_nexthop_is_resolved_again(overlay, flood):
    """The link was down, or the node restarted: its entry is gone, and the table is full."""
    n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
    a, b = overlay.pods["default/a1"], overlay.pods["default/b2"]
    for _ in range(5):
        before = refused(overlay.outer)
        n1.run("ip", "neighbour", "delete", n2.address[overlay.outer], "dev", "eth0")
        wait_for(lambda: n2.uplink_mac in macs(n1, n2.address[overlay.outer]), "the next hop to be found", SOON)
        assert exchange(a, b) is not None, "the next hop is not used"
        wait_for(lambda: refused(overlay.outer) > before, "the neighbour table to be full still", SOON)
