# SPDX-License-Identifier: BSD-2-Clause
"""Packets of denied senders: how many a second end in XDP, and how many in nftables' ingress hook, with the same list.

A test run of XDP sends the frames, so that they cost the receiver as much as a NIC's: it makes an skb of each that it
lets into the stack. The receiver is one thread (threaded NAPI) with a processor of its own; frames beyond its capacity
are lost before it.
"""

import os
import socket
import statistics
import struct
import threading
import time

from nodes import BenchError, kernel_threads, new_kernel_thread, rawbpf
from report import Row, say

PREFIXES = 1000
SOURCE = {"v4": "198.18.0.2", "v6": "2001:db8:1::2"}
OWN = {"v4": "198.18.0.1", "v6": "2001:db8:1::1"}
DENIED = {"v4": "198.18.0.0/24", "v6": "2001:db8:1::/64"}


def others(family):
    """Prefixes that contain no address of this network."""
    if family == "v4":
        return [f"10.{i >> 8}.{i & 255}.0/24" for i in range(PREFIXES - 1)]
    return [f"2001:db9:{i:x}::/48" for i in range(1, PREFIXES)]


def frame(family, macs):
    """60 bytes of UDP over IPv4, 62 over IPv6."""
    addresses = b"".join(socket.inet_pton(socket.AF_INET6 if family == "v6" else socket.AF_INET, a[family])
                         for a in (SOURCE, OWN))
    udp = struct.pack("!HHHH", 1, 9, 8 if family == "v6" else 26, 0)
    if family == "v6":
        return macs + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 8, 17, 64) + addresses + udp
    header = struct.pack("!BBHHHBBH", 0x45, 0, 46, 0, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", header))
    checksum = ~((total >> 16) + (total & 0xFFFF)) & 0xFFFF
    return macs + b"\x08\x00" + header[:10] + struct.pack("!H", checksum) + header[12:] + udp + bytes(18)


class Rig:
    """Two nodes and a veth pair: the world sends, the node receives."""

    def __init__(self, build):
        os.environ["WARREN_BUILD"] = build
        from lab import Lab  # reads WARREN_BUILD

        self.others = set(kernel_threads("napi/eth0-"))
        self.lab = Lab()
        self.node, self.world = self.lab.node, self.lab.world
        self.node.warren("node", "init")
        self.node.run("ethtool", "-K", "eth0", "gro", "on")
        self.macs = b"".join(bytes.fromhex(n.ip("link", "show", "eth0")[0]["address"].replace(":", ""))
                             for n in (self.node, self.world))
        self.ifindex = self.world.ip("link", "show", "eth0")[0]["ifindex"]

    def receiver(self):
        """The receiving thread, placed on the last processor; the sender has the first. Each mode of XDP makes a new
        one.
        """
        self.node.run("sh", "-c", "echo 1 >/sys/class/net/eth0/threaded")
        thread = new_kernel_thread("napi/eth0-", self.others)
        os.sched_setaffinity(thread, {max(os.sched_getaffinity(0))})
        return thread

    def close(self):
        self.lab.__exit__()


class Nft:
    """The list as a set of intervals, in a chain of the ingress hook."""

    def __init__(self, rig, family):
        self.rig = rig
        protocol = "ip" if family == "v4" else "ip6"
        elements = ", ".join([*others(family), DENIED[family]])
        rig.node.run("nft", "-f", "-", input=f"""
            table netdev bench {{
                set denied {{ type {family.replace("v", "ipv")}_addr; flags interval; elements = {{ {elements} }}; }}
                chain ingress {{
                    type filter hook ingress device eth0 priority 0;
                    {protocol} saddr @denied counter drop
                }}
            }}""")

    def count(self):
        text = self.rig.node.run("nft", "list", "chain", "netdev", "bench", "ingress").stdout
        return int(text.split("packets ")[1].split()[0])

    def close(self):
        self.rig.node.run("nft", "delete", "table", "netdev", "bench")


class Xdp:
    def __init__(self, rig, family, mode):
        self.rig, self.prefix = rig, DENIED[family]
        rig.node.warren("uplink", "xdp", "eth0", mode)
        rig.node.warren("deny", "add", "--force", *others(family), self.prefix)

    def count(self):
        listed = self.rig.node.warren_json("deny", "list")["prefixes"]
        return next(entry["packets"] for entry in listed if entry["prefix"] == self.prefix)

    def close(self):
        self.rig.node.warren("deny", "flush")
        self.rig.node.warren("uplink", "xdp", "eth0", "off")


WAYS = {
    "nft": Nft,
    "xdp-native": lambda rig, family: Xdp(rig, family, "native"),
    "xdp-generic": lambda rig, family: Xdp(rig, family, "generic"),
}
BASELINE = "nft"


def running(task):
    """Nanoseconds that the thread has run, without the time of others on its processor."""
    with open(f"/proc/{task}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0])


def sample(rig, family, make, seconds):
    """Packets that end there while more are sent: millions a second of the receiver's processor time, and of the clock.
    The first is the receiver's capacity, whether or not it is sent as many, and without the time of others on its
    processor.
    """
    way = make(rig, family)
    try:
        receiver = rig.receiver()
        stop = threading.Event()
        with rig.world.entered():
            flood = rawbpf.XdpFlood(rig.ifindex, frame(family, rig.macs))
        sender = threading.Thread(target=flood.run, args=(rig.world, stop, min(os.sched_getaffinity(0))))
        sender.start()
        try:
            time.sleep(0.2)
            begin, used, before = time.monotonic(), running(receiver), way.count()
            time.sleep(seconds)
            end, used, ended = time.monotonic(), running(receiver) - used, way.count() - before
        finally:
            stop.set()
            sender.join()
        if not ended:
            raise BenchError("deny: no packet arrives")
        return {"drop": ended / used * 1e3, "drop_seen": ended / (end - begin) / 1e6}
    finally:
        way.close()


def rows_of(samples, family):
    for figure in ("drop", "drop_seen"):
        base = [values[figure] for values in samples[BASELINE]]
        for name in WAYS:
            values = [one[figure] for one in samples[name]]
            yield Row.of(f"deny.{figure}.{family}.{name}", "Mpps", statistics.median(values), statistics.median(base),
                         [value / other for value, other in zip(values, base)])


def measure(args):
    """The rows, and what failed."""
    rounds, seconds = (3, 0.5) if args.quick else (7, 1.0)
    rig, rows = Rig(args.build), []
    try:
        for family in ("v4", "v6"):
            samples = {name: [] for name in WAYS}
            for i in range(rounds):
                say(f"denied packets, {family}: round {i + 1} of {rounds}")
                for name, make in WAYS.items():
                    samples[name].append(sample(rig, family, make, seconds))
            rows += rows_of(samples, family)
    finally:
        rig.close()
    return rows, []
