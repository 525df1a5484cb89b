# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's own geneve device as another node: we decapsulate what it sends, options included, and it
decapsulates what we send.
"""

import contextlib

import pytest

from geneve import OPTION, VNI
from lab import GATEWAY, Node
from manifests import node_object, pods, policy, sources
from monitor import Monitor
from netns import tcp, udp
from overlay import ALL

pytestmark = pytest.mark.needs("geneve")

EXTERNAL, FIXED = 9, 8  # numbers of nodes
GATEWAY_MAC = "02:00:00:00:09:01"
INNER_MAC = "02:57:52:00:00:03"  # the destination of inner frames (bpf/lib/geneve.h)
BIG = 500_000
CLASS, TYPE = OPTION


class KernelGeneve(Node):
    """A node without Warren; its one pod is itself. The device `gen` is of the kind that gets each packet's tunnel
    from routes and filters, unless `fixed`: then it has one VNI and one remote, and no options.
    """

    def __init__(self, underlay, number, remote, fixed=False):
        super().__init__()
        self.outer, self.remote = {f: underlay.address(number, f) for f in ALL}, remote
        self.pod = {4: f"10.87.{number}.2", 6: f"fd00:87:0:{number}::2"}
        self.cidrs = [f"10.87.{number}.0/24", f"fd00:87:0:{number}::/64"]
        underlay.join(self, number)
        kind = ["id", VNI, "remote", remote] if fixed else ["external"]
        self.run("ip", "link", "add", "gen", "mtu", 1400, "address", INNER_MAC, "type", "geneve", *kind, "udp6zerocsumrx")
        self.run("ip", "link", "set", "gen", "up")
        self.run("tc", "qdisc", "add", "dev", "gen", "clsact")
        for f in ALL:
            length = {4: 32, 6: 128}[f]
            self.run("ip", f"-{f}", "address", "add", f"{self.pod[f]}/{length}", "dev", "gen", *["nodad"][: f == 6])
            self.run("ip", "neighbour", "add", GATEWAY[f], "lladdr", GATEWAY_MAC, "dev", "gen")
            if fixed:
                self.route(f)

    def route(self, family, *encap):
        """To the other node's pods."""
        cidr = {4: "10.87.1.0/24", 6: "fd00:87:0:1::/64"}[family]
        onlink = ["onlink"][: family == 4]
        self.run("ip", f"-{family}", "route", "replace", cidr, *encap, "via", GATEWAY[family], "dev", "gen", *onlink)

    def identities(self, own, expected):
        """Its packets carry `own`; of those to it only the ones with `expected` pass."""
        encap = ["encap", "ip6" if ":" in self.remote else "ip", "id", VNI, "dst", self.remote]
        self.run("tc", "filter", "delete", "dev", "gen", "ingress")
        for prio, f in enumerate(ALL, 1):
            self.route(f, *encap, "geneve_opts", f"{CLASS}:{TYPE}:{own:016x}")
            self.ingress(prio, {4: "ip", 6: "ipv6"}[f], "flower", "enc_key_id", VNI,
                         "geneve_opts", f"{CLASS:x}:{TYPE:x}:{expected:016x}", "action", "pass")
        self.ingress(9, "all", "matchall", "action", "drop")

    def ingress(self, prio, protocol, *what):
        self.run("tc", "filter", "add", "dev", "gen", "ingress", "prio", prio, "protocol", protocol, *what)


@contextlib.contextmanager
def member(overlay, number, **kwargs):
    with KernelGeneve(overlay.underlay, number, overlay.nodes["n1"].address[overlay.outer], **kwargs) as node:
        overlay.apply(f"node-{number}", node_object(f"k{number}", node.cidrs, node.outer.values()))
        yield node
        overlay.remove(f"node-{number}")


@pytest.fixture(scope="module")
def peer(overlay):
    with member(overlay, EXTERNAL) as peer:
        yield peer


@pytest.fixture(scope="module")
def fixed(overlay):
    with member(overlay, FIXED, fixed=True) as peer:
        yield peer


def test_both_ways(overlay, peer):
    """Pings, TCP and datagrams; each packet to the kernel has the sender's identity, or it goes nowhere there."""
    a = overlay.pods["default/a"]
    peer.identities(overlay.identity("default/c"), expected=overlay.identity("default/a"))
    for family in ALL:
        a.ping(peer.pod[family], count=3)
        peer.ping(a.ips[family], count=3, size=1300, args=["-I", peer.pod[family]])
        tcp(a, peer, peer.pod[family], size=BIG)
        udp(a, peer, peer.pod[family])
    peer.identities(overlay.identity("default/c"), expected=overlay.identity("default/c"))
    assert not a.ping(peer.pod[4], check=False), "a filter that lets anything pass"


def test_the_carried_identity_is_what_counts(overlay, peer, family):
    """An address without a manifest has the identity that the packet carries."""
    a = overlay.pods["default/a"]
    overlay.apply("policy", policy("a", {"app": "a"}, ingress=[sources(pods(app="c"))], types=["Ingress"]))
    try:
        peer.identities(overlay.identity("default/c"), expected=overlay.identity("default/a"))
        peer.ping(a.ips[family], args=["-I", peer.pod[family]])
        peer.identities(overlay.identity("default/a"), expected=overlay.identity("default/a"))
        assert not peer.ping(a.ips[family], check=False, args=["-I", peer.pod[family]])
    finally:
        overlay.remove("policy")


def test_device_without_options(overlay, fixed, family):
    """It accepts what we send (our option is not critical); what it sends carries no identity, and is dropped for that."""
    a = overlay.pods["default/a"]
    with fixed.udp(family, address=fixed.pod[family]) as b, a.udp(family) as sender:
        sender.connect((fixed.pod[family], b.getsockname()[1]))
        sender.send(b"there")
        data, source = b.recvfrom(100)
        assert (data, source[0]) == (b"there", a.ips[family])
        with Monitor(overlay.nodes["n1"], "--drops") as monitor:
            b.sendto(b"and back", source)
            assert monitor.wait(lambda e: e["reason"] == "tunnel_option")
