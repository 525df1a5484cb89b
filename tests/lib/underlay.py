# SPDX-License-Identifier: BSD-2-Clause
"""What joins several nodes."""

import ipaddress

from lab import Lab, Node


class Underlay(Node):
    """What joins nodes with each other and with the world: a switch; or, `routed`, a router with each node on a link of
    its own, or only those of these numbers.

    It sees all packets between them. A node's uplink is eth0; nodes are numbered from 1.
    """

    BEYOND = Lab.BEYOND

    def __init__(self, mtu=1500, routed=False):
        super().__init__()
        self.mtu, self.routed = mtu, routed
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for f in (4, 6):
            self.run("ip", f"-{f}", "address", "add", self.BEYOND[f], "dev", "lo")
        if routed is not True:
            # A bridge takes the smallest MTU of its ports, does not wait before it forwards, and has a MAC address of
            # its own, not that of whichever port is there.
            self.run("ip", "link", "add", "lan", "address", "02:00:00:00:10:fe", "type", "bridge", "forward_delay", 0, "mcast_snooping", 0)
            for f in (4, 6):
                self.run("ip", f"-{f}", "address", "add", self._with_length(f, self.router(1, f)), "dev", "lan", *self._nodad(f))
            self.run("ip", "link", "set", "lan", "up")

    def is_routed(self, number):
        return self.routed is True or bool(self.routed) and number in self.routed

    @staticmethod
    def _nodad(family):
        return ["nodad"] if family == 6 else []

    @staticmethod
    def _with_length(family, address):
        return f"{address}/{ {4: 24, 6: 64}[family] }"

    def address(self, number, family):
        """A node's own address."""
        link = number if self.is_routed(number) else 0
        return str(ipaddress.ip_address({4: f"198.18.{link}.{number}", 6: f"2001:db8:10:{link:x}::{number:x}"}[family]))

    def router(self, number, family):
        """The nexthop of a node's default route."""
        link = number if self.is_routed(number) else 0
        return str(ipaddress.ip_address({4: f"198.18.{link}.254", 6: f"2001:db8:10:{link:x}::fe"}[family]))

    def port(self, number):
        return f"port{number}"

    def attach(self, node, own, port, theirs):
        """The link itself, and both ends' addresses."""
        node.link("eth0", own, self, port, theirs)

    def join(self, node, number):
        port = self.port(number)
        own = [self._with_length(f, self.address(number, f)) for f in (4, 6)]
        theirs = [self._with_length(f, self.router(number, f)) for f in (4, 6)] if self.is_routed(number) else []
        self.attach(node, own, port, theirs)
        self.run("ip", "link", "set", port, "mtu", self.mtu, *([] if self.is_routed(number) else ["master", "lan"]))
        # A fixed MAC address, as a network card's: it stays over a reboot.
        node.run("ip", "link", "set", "eth0", "mtu", self.mtu, "address", f"02:00:00:00:10:{number:02x}")
        for f in (4, 6):
            node.run("ip", f"-{f}", "route", "add", "default", "via", self.router(number, f))

    def set_mtu(self, node, number, mtu):
        self.run("ip", "link", "set", self.port(number), "mtu", mtu)
        node.run("ip", "link", "set", "eth0", "mtu", mtu)
