# SPDX-License-Identifier: BSD-2-Clause
"""The cost of a TCP stream to a pod whose frames arrive as from a network card: each of at most one MTU, so that only
GRO makes large packets of them. Seconds of a processor for each GB.

Between the nodes is a wire whose two devices redirect their packets to each other in XDP. That makes a new frame of
every packet, at the sender's expense; the receiver makes skbs of them, as a network card's driver does. It does so
in a thread (threaded NAPI) on a processor of its own, whose time is measured together with the receiving process's.
"""

import os
import secrets
import struct

import crossnode
import datapath
from datapath import Figure, Mode, Suite
from nodes import build_paths, kernel_threads, netns_add, new_kernel_thread, rawbpf, run
from report import say

SUITE = Suite("nic", baseline="routed", modes=(
    Mode("receive", [Figure("cost", "cost", "s/GB", 1), Figure("stream", "rate", "Gb/s", 1e-9)]),
))
SERVER, CLIENT = datapath.cpus("receive")
# As a card waits for more frames before it interrupts (rx-usecs of ethtool). At the rate of this test it makes as many
# at a time as 20 us on a link of 10 Gb/s.
GRO_SETTINGS = "echo 100000 >gro_flush_timeout; echo 1 >napi_defer_hard_irqs"


def receive_in_thread(netns, device, cpu):
    """The new thread that receives for a device."""
    name = f"napi/{device}-"
    before = set(kernel_threads(name))
    run("unshare", "--mount", "sh", "-ec", f"mount -t sysfs sysfs /sys; cd /sys/class/net/{device}; {GRO_SETTINGS}; echo 1 >threaded",
        netns=netns)
    thread = new_kernel_thread(name, before)
    os.sched_setaffinity(thread, {cpu})
    return thread


class Nic:
    """A path between nodes with such a wire."""

    def join(self, *hosts):
        wire = netns_add(f"{self.name}-wire")
        for i, host in enumerate(hosts):
            run("ip", "link", "add", f"w{i}", "netns", wire, "type", "veth", "peer", "name", "eth0", "netns", host)
            # Checksums and segments are complete when packets leave, as after a network card.
            run("ethtool", "-K", "eth0", "gro", "on", "tx", "off", netns=host)
            run("ip", "link", "set", f"w{i}", "up", netns=wire)
        for i in (0, 1):
            ifindex = self.ifindex(wire, f"w{1 - i}")
            pin = f"/sys/fs/bpf/{self.name}-w{i}"
            rawbpf.pin_xdp_redirect(ifindex, pin)
            run("ip", "link", "set", "dev", f"w{i}", "xdpdrv", "pinned", pin, netns=wire)
        self.wire = wire

    @staticmethod
    def ifindex(netns, device):
        return int(run("ip", "-o", "link", "show", "dev", device, netns=netns).split(":")[0])

    def build(self):
        super().build()
        for i in (0, 1):
            receive_in_thread(self.wire, f"w{i}", CLIENT)
        receive_in_thread(self.hosts[0], "eth0", CLIENT)
        self.receiver_tasks = [receive_in_thread(self.hosts[1], "eth0", SERVER), *kernel_threads(f"ksoftirqd/{SERVER}")]


class Routed(Nic, crossnode.Routed):
    """No tunnel: GRO merges the packets."""


class Vxlan(Nic, crossnode.Vxlan):
    """GRO parses the kernel's own tunnels, and merges the inner packets."""


class TunnelTc(Nic, crossnode.Tunnel):
    """Decapsulated in tc only: GRO merges nothing of what comes through the tunnel."""


class TunnelXdp(TunnelTc):
    """Decapsulated in XDP, as on a network card whose driver runs it."""

    def applied(self):
        super().applied()
        node, ifindex = self.nodes[1], self.ifindex(self.hosts[1], "eth0")
        node.warren("uplink", "xdp", "eth0", "native")
        # On a veth Warren does not do this by itself: except here it costs more than it gains.
        pins = node.warren_json("node", "show")["pins"]
        node.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "1", "handle", "2", "bpf", "direct-action",
                 "object-pinned", f"{pins}/progs/xdp_origin")
        element = struct.pack("<IIQ", 1, 0, secrets.randbits(64) | 1)
        node.run("bpftool", "map", "update", "pinned", f"{pins}/maps/uplinks", "key",
                 *map(str, struct.pack("<I", ifindex)), "value", *map(str, element))


PATHS = {"routed": Routed, "vxlan": Vxlan, "tunnel-tc": TunnelTc, "tunnel-xdp": TunnelXdp}


def measure(args):
    """The rows, and what failed."""
    say("single frames")
    failures = []
    paths = build_paths(PATHS, args.build, failures, needed=[SUITE.baseline], optional=["vxlan"])
    if not paths:
        return [], failures
    rounds = datapath.Datapath(args.build, paths, args.seconds, SUITE)
    rounds.run(args.rounds)
    return list(rounds.rows()), failures + rounds.failures
