# SPDX-License-Identifier: BSD-2-Clause
"""Uplinks as nodes have them: the device with a node's addresses is a bridge, a VLAN or a bond above its network cards."""

from typing import NamedTuple

from netns import wait_for
from overlay import ALL

VLAN = 7
LENGTH = {4: 24, 6: 64}
BOND = "type bond miimon 10 mode"


class Kind(NamedTuple):
    link: str  # what `ip link add` makes above the cards
    cards: int = 1
    lag: bool = False  # the switch bonds its two ports to a node's cards, too


KINDS = {
    "bridge": Kind("type bridge forward_delay 0 mcast_snooping 0"),
    "vlan": Kind(f"type vlan id {VLAN}"),
    "active-backup": Kind(f"{BOND} active-backup", cards=2),
    "balance-xor": Kind(f"{BOND} balance-xor xmit_hash_policy layer3+4", cards=2, lag=True),
    "802.3ad": Kind(f"{BOND} 802.3ad xmit_hash_policy layer3+4 lacp_rate fast", cards=2, lag=True),
}


def batch(netns, *lines, force=False):
    """Commands of `ip`, all of them by one process; `force`: whichever fails."""
    netns.run("ip", *(["-force"] if force else []), "-batch", "-", input="".join(f"{line}\n" for line in lines), check=not force)


def with_addresses(device, addresses):
    """Commands that give a device these {family: address}."""
    add = [f"address add {address}/{LENGTH[f]} dev {device}{' nodad' if f == 6 else ''}" for f, address in addresses.items()]
    return [*add, f"link set {device} up"]


class UplinkKind:
    """The uplinks of an overlay's nodes become devices of that kind while the agents run, and plain ones again at the end.

    A node's uplink is always called eth0. Its card nic0 is what was eth0; the switch's port to it is still port1, port2...
    A second card nic1 leads to port1b, port2b...
    """

    def __init__(self, overlay, name):
        self.overlay, self.switch, self.name, self.kind = overlay, overlay.underlay, name, KINDS[name]
        self.macs = {node.label: node.uplink_mac for node in overlay.nodes.values()}

    def __enter__(self):
        try:
            if self.name == "vlan":
                self._move_router("lan", "vlan", f"link add link lan name vlan {self.kind.link}")
            for node in self.overlay.nodes.values():
                self._make(node)
            self.wait()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(self, *_):
        self._restore()
        self.wait(made=False)

    def wait(self, made=True):
        """Until the cards are in use, and the agents have followed."""
        self.overlay.wait_applied()
        for node in self.overlay.nodes.values():
            for card in self.cards if made else ():
                wait_for(lambda: self.is_used(node, card), f"{card} to be in use")
            uplink = node.ip("link", "show", "eth0")[0]["ifindex"]
            wait_for(lambda: {n["uplink"] for n in node.known().values() if not n["own"]} <= {uplink}, "the agent to use eth0")
        self.overlay.wait_resolved()

    def set_mtu(self, mtu):
        """Of cards and uplinks. A bridge takes that of its ports; a VLAN follows its card only down; a bond sets its cards'."""
        own = {"bridge": ["nic0"], "vlan": ["nic0", "eth0"]}.get(self.name, ["eth0"])
        for node in self.overlay.nodes.values():
            ports = [f"lag{node.number}"] if self.kind.lag else [self.port(node, card) for card in self.cards]
            for netns, devices in ((self.switch, ports), (node, own)):
                batch(netns, *(f"link set {device} mtu {mtu}" for device in devices))

    # --- nodes ---

    @property
    def cards(self):
        return ["nic0", "nic1"][: self.kind.cards]

    def port(self, node, card):
        """The switch's port to a node's card."""
        return self.switch.port(node.number) + {"nic0": "", "nic1": "b"}[card]

    def set_carrier(self, node, card, on):
        batch(self.switch, f"link set {self.port(node, card)} {'up' if on else 'down'}")

    def is_used(self, node, card):
        """Whether the uplink has a carrier, and uses that card: what the kernel does about it, it does later."""
        (card,), (uplink,) = (node.ip("link", "show", name) for name in (card, "eth0"))
        bonded = card.get("linkinfo", {}).get("info_slave_data", {})
        # The partner's port collects and distributes, too (IEEE 802.1AX).
        aggregated = self.name != "802.3ad" or bonded["ad_partner_oper_port_state"] & 0x30 == 0x30
        return uplink["operstate"] == "UP" and bonded.get("mii_status", "UP") == "UP" and aggregated

    def addresses(self, node):
        routes = [f"route add default via {self.switch.router(node.number, f)}" for f in ALL]
        return [*with_addresses("eth0", node.address), *routes]

    def _make(self, node):
        second = self.cards[1:]
        batch(node, "link set eth0 down", "address flush dev eth0", "link set eth0 name nic0")
        for card in second:
            node.link(card, [], self.switch, self.port(node, card), [])
            batch(self.switch, f"link set {self.port(node, card)} master lan mtu {self.switch.mtu}")
        if self.kind.lag:
            ports, lag = [self.port(node, card) for card in self.cards], f"lag{node.number}"
            apart = [f"link set {port} nomaster down" for port in ports]
            make = [f"link add {lag} {self.kind.link}", *apart, *self._joined(lag, ports), f"link set {lag} master lan up"]
            batch(self.switch, *make)
        mac = self.macs[node.label]
        if self.name == "vlan":
            make = ["link set nic0 up", f"link add link nic0 name eth0 {self.kind.link}"]
        else:
            downs = [f"link set {card} down" for card in self.cards]
            make = [f"link add eth0 address {mac} {self.kind.link}", *downs, *self._joined("eth0", self.cards)]
        batch(node, *make, *self.addresses(node))

    @staticmethod
    def _joined(device, cards):
        return [line for card in cards for line in (f"link set {card} master {device}", f"link set {card} up")]

    def _restore(self):
        for node in self.overlay.nodes.values():
            port, mac = self.switch.port(node.number), self.macs[node.label]
            if not any(link["ifname"] == "nic0" for link in node.ip("link", "show")):
                continue  # it never was of the kind
            batch(self.switch, f"link delete lag{node.number}", f"link set {port} up", f"link set {port} master lan", force=True)
            batch(node, "link delete eth0", "link delete nic1", force=True)
            batch(node, "link set nic0 down", f"link set nic0 name eth0 address {mac}", *self.addresses(node))
        if self.name == "vlan":
            self._move_router("vlan", "lan")
            batch(self.switch, "link delete vlan", force=True)

    def _move_router(self, old, new, *make):
        """The switch's addresses, and the routes by them."""
        batch(self.switch, f"address flush dev {old} scope global", force=True)
        nodes = self.overlay.nodes.values()
        routes = [f"route replace {node.cidr[f]} via {node.address[f]}" for node in nodes for f in ALL]
        batch(self.switch, *make, *with_addresses(new, {f: self.switch.router(0, f) for f in ALL}), *routes)
