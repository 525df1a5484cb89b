# SPDX-License-Identifier: BSD-2-Clause
"""xdp_uplink on devices that get single frames, as NICs do. The nodes' uplinks are TAPs, whose driver
runs XDP, has metadata, and merges the packets that pass (NAPI).
"""

import contextlib
import fcntl
import os
import re
import select
import struct
import threading

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from crossings import OUTER
from geneve import VNI, geneve
from lab import moved
from overlay import Overlay
from manifests import pods, policy, sources
from netns import Wire, tcp, udp, wait_for
from underlay import Underlay

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NAPI, IFF_NO_PI = 0x0002, 0x0010, 0x1000
MTU = 1500
TRIES = 10

# Without it from_uplink decapsulates the packets, and everything else is the same.
needs_metadata = pytest.mark.skipif(
    tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups())) < (6, 15),
    reason="before Linux 6.15 a TAP has no XDP metadata",
)


def tap(netns, name):
    """A TAP's file: what is written to it comes out of a wire."""
    with netns.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NAPI | IFF_NO_PI))
    netns.run("ip", "link", "set", name, "up")
    return fd


class TapUnderlay(Underlay):
    """Each node's link is two TAPs, and this process between them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.ends, self.stop = {}, os.eventfd(0)  # ends: fd -> that of the other end
        self.card = {}  # node's label -> fd
        self.carrier = None

    def attach(self, node, own, port, theirs):
        if self.carrier:
            self.halt()
        ends = [tap(node, "eth0"), tap(self, port)]
        for netns, name, addresses in ((node, "eth0", own), (self, port, theirs)):
            for address in addresses:
                netns.run("ip", "address", "add", address, "dev", name, *["nodad"][: ":" in address])
        self.ends.update(zip(ends, reversed(ends)))
        self.card[node.label] = ends[0]
        self.carrier = threading.Thread(target=self.carry)
        self.carrier.start()

    def carry(self):
        poll = select.poll()
        for fd in (self.stop, *self.ends):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.stop:
                    os.eventfd_read(fd)
                    return
                with contextlib.suppress(BlockingIOError):
                    for _ in range(64):
                        os.write(self.ends[fd], os.read(fd, 65536))

    def halt(self):
        os.eventfd_write(self.stop, 1)
        self.carrier.join()
        self.carrier = None

    def send(self, node, frame):
        os.write(self.card[node.label], bytes(frame))

    def __exit__(self, *args):
        if self.carrier:
            self.halt()
        for fd in (self.stop, *self.ends):
            os.close(fd)
        super().__exit__(*args)


class TapOverlay(Overlay):
    UNDERLAY = TapUnderlay


@pytest.fixture(scope="module", params=OUTER)
def overlay(request):
    with TapOverlay(outer=request.param) as overlay:
        for name, node in (("default/a1", "n1"), ("default/b1", "n1"), ("default/a2", "n2")):
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        # As a network card waits for more before it interrupts.
        for node in overlay.nodes.values():
            node.run("sh", "-c", "cd /sys/class/net/eth0; echo 20000000 >gro_flush_timeout; echo 100 >napi_defer_hard_irqs")
        yield overlay


def uplink(node):
    return next(guard for guard in node.warren_json("uplink", "list") if guard["device"] == "eth0")


def datagram(src, dst, text=b"hello"):
    return (IPv6 if ":" in src else IP)(src=src, dst=dst) / UDP(sport=4444, dport=7777) / text


def frame(overlay, inner, who, **kwargs):
    """From n1 to n2."""
    n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
    ends = n1.address[overlay.outer], n2.address[overlay.outer]
    packet = bytearray(bytes(Ether(src=n1.uplink_mac, dst=n2.uplink_mac) / geneve(*ends, inner, who, **kwargs)))
    at = 14 + {4: 20, 6: 40}[overlay.outer]
    packet[at + 6 : at + 8] = bytes(2)  # no checksum, over IPv6 neither
    return packet


@pytest.mark.smoke
def test_auto_takes_it(overlay, n2):
    """The agent has attached it by itself, and tunnels end there."""
    guard = uplink(n2)
    assert (guard["xdp"], guard["tunnels_end_in"]) == ("native", "xdp")
    assert n2.warren_json("uplink", "xdp", "eth0", "auto") == {"device": "eth0", "xdp": "native"}


def test_not_a_tun(n2):
    """A TUN is of the same kind, but has no Ethernet headers."""
    n2.run("ip", "tuntap", "add", "name", "tun0", "mode", "tun")
    assert n2.warren_json("uplink", "xdp", "tun0", "auto")["xdp"] == "off"
    n2.run("ip", "link", "delete", "tun0")


@pytest.mark.smoke
def test_traffic(overlay, family):
    a1, a2 = overlay.pods["default/a1"], overlay.pods["default/a2"]
    for src, dst in ((a1, a2), (a2, a1)):
        src.ping(dst.ips[family], count=3)
        udp(src, dst, dst.ips[family])
        tcp(src, dst, dst.ips[family], size=1 << 20)
    overlay.nodes["n1"].ping(a2.ips[family])


@pytest.mark.long
@needs_metadata
def test_merged(overlay, family):
    """The pod gets larger packets of a stream than were on the wire: GRO has seen the inner packets."""
    a1, a2 = overlay.pods["default/a1"], overlay.pods["default/a2"]
    for _ in range(TRIES):  # packets with pauses between them are not merged: a busy machine makes some
        with Wire(a2, "eth0") as pod, Wire(overlay.underlay) as wire:
            tcp(a1, a2, a2.ips[family], size=1 << 20)
            assert max(map(len, wire.drain())) <= MTU + 14
            sizes = [len(got) for got in pod.drain()]
        if sum(size for size in sizes if size > 2 * MTU) > sum(sizes) / 2:
            break
    else:
        pytest.fail(f"hardly anything is merged: {sizes}")


@needs_metadata
def test_decapsulated_by_xdp(overlay, n2, family):
    """What the device hands to the kernel is the inner packet already."""
    a1, a2 = overlay.pods["default/a1"], overlay.pods["default/a2"]
    inner = datagram(a1.ips[family], a2.ips[family])
    with a2.udp(family, 7777) as sock, Wire(n2, "eth0") as wire:
        overlay.underlay.send(n2, frame(overlay, inner, overlay.identity("default/a1")))
        assert sock.recv(100) == b"hello"
        assert bytes(inner) in [bytes(got[14:]) for got in wire.drain()]


def test_policy_by_the_carried_identity(overlay, n2, family):
    """An address without a manifest has the identity that the packet carries."""
    a2 = overlay.pods["default/a2"]
    unused = {4: "10.87.1.77", 6: "fd00:87:0:1::77"}[family]
    overlay.apply("policy", policy("a", {"app": "a"}, ingress=[sources(pods(app="b"))], types=["Ingress"]))
    try:
        with a2.udp(family, 7777) as sock:
            before = n2.metrics()
            overlay.underlay.send(n2, frame(overlay, datagram(unused, a2.ips[family], b"a"), overlay.identity("default/a1")))
            overlay.underlay.send(n2, frame(overlay, datagram(unused, a2.ips[family], b"b"), overlay.identity("default/b1")))
            assert sock.recv(100) == b"b"
            assert moved(before, n2.metrics()).get(("ingress_denied", "ingress")) == 1
    finally:
        overlay.remove("policy")


BAD = {
    "vni": (("tunnel_vni", "ingress"), {"vni": VNI + 1}),
    "version": (("tunnel_malformed", "ingress"), {"version": 1}),
    "no identity": (("tunnel_option", "ingress"), {"options": b""}),
    "control": (("tunnel_option", "ingress"), {"flags": 0x80}),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_tunnel_packets_end_in_xdp(overlay, n2, family, bad):
    """By their reasons, and none of them enters the kernel."""
    reason, fields = BAD[bad]
    a1, a2 = overlay.pods["default/a1"], overlay.pods["default/a2"]
    inner = datagram(a1.ips[family], a2.ips[family], b"bad")
    with Wire(n2, "eth0") as wire:
        before = n2.metrics()
        for _ in range(5):
            overlay.underlay.send(n2, frame(overlay, inner, overlay.identity("default/a1"), **fields))
        wait_for(lambda: moved(before, n2.metrics()).get(reason) == 5, f"five drops by {reason}")
        overlay.nodes["n1"].ping(n2.address[family])  # it comes after them
        assert not [got for got in wire.drain() if b"bad" in got]


def test_inner_source_is_still_checked(overlay, n2, family):
    a2 = overlay.pods["default/a2"]
    elsewhere = {4: "10.87.9.9", 6: "fd00:87:0:9::9"}[family]
    before = n2.metrics()
    overlay.underlay.send(n2, frame(overlay, datagram(elsewhere, a2.ips[family]), overlay.identity("default/a1")))
    wait_for(lambda: ("tunnel_source", "ingress") in moved(before, n2.metrics()), "a drop")


def test_no_other_packet_sets_the_identity(overlay, n2, family):
    """An inner packet as it would be after decapsulation, but it never was in a tunnel."""
    a1, a2 = overlay.pods["default/a1"], overlay.pods["default/a2"]
    ether = Ether(src=overlay.nodes["n1"].uplink_mac, dst=n2.uplink_mac)
    before = n2.metrics()
    overlay.underlay.send(n2, ether / datagram(a1.ips[family], a2.ips[family]))
    wait_for(lambda: ("not_tunnelled", "ingress") in moved(before, n2.metrics()), "a drop")
