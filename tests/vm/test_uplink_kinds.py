# SPDX-License-Identifier: BSD-2-Clause
"""Nodes whose uplink is a bridge, a VLAN or a bond (uplink_kinds.py): pods reach each other and the world under policy; packets
of every size; a card that loses its carrier; the denylist and XDP; frames with VLAN tags; what is left at the end.

Unlike the other tests here this file is also part of the stage `net` of `make test`. In the machines it runs without what is
marked `matrix`.
"""

import itertools
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from geneve import IP_HEADER, OVERHEAD, geneve
from manifests import pods, policy, port, sources
from monitor import Drops
from netns import TIMEOUT, tcp, udp, wait_for
from overlay import ALL
from rawbpf import PINS
from skips import kernel_has
from traffic import Datagrams, Transfer
from underlay import Underlay
from uplink_kinds import KINDS, VLAN, UplinkKind

MATRIX = pytest.mark.matrix
SERVICES = ["tcp/8080", "udp/53", "icmp"]
SIDES = {"default/a", "default/b", "beyond"}
COPIES = 5

pytestmark = pytest.mark.parametrize(
    "overlay, mode",
    [(6, "tunnel"), pytest.param(4, "tunnel", marks=MATRIX), pytest.param(4, "direct", marks=MATRIX)],
    indirect=True,
    ids=["tunnel-over-v6", "tunnel-over-v4", "direct"],
)


@pytest.fixture(scope="module")
def mode(request, overlay):
    """The nodes' routing mode. For "direct" their agents start again, with the programs that are there."""
    if request.param == "direct":
        restart(overlay, "direct", families=ALL)
    yield
    if request.param == "direct":
        restart(overlay, "tunnel", families=[overlay.outer])


def restart(overlay, mode, families):
    for node in overlay.nodes.values():
        args = node.agent.args
        args[args.index("--routing-mode") + 1] = mode
        overlay.write(f"node-{node.label}", node.object(addresses=[node.address[f] for f in families]))
    for node in overlay.nodes.values():
        node.agent.restart(kill=False)
    overlay.mode = mode
    overlay.wait_applied()


def is_there(name):
    return kernel_has(KINDS[name].link.split()[1])


QUICK = ("vlan", "active-backup")
THERE = [pytest.param(name, marks=[] if name in QUICK else [MATRIX]) for name in KINDS if is_there(name)]
# Without VLANs pytest skips these, as an empty set of parameters.
OF_VLAN = pytest.mark.parametrize("uplinks", [kind for kind in THERE if kind.values == ("vlan",)], indirect=True, scope="module")


@pytest.fixture(scope="module", params=THERE)
def uplinks(overlay, mode, request):
    with UplinkKind(overlay, request.param) as uplinks:
        yield uplinks


@pytest.mark.parametrize("name", KINDS)
def test_kernel_has(overlay, mode, name):
    """Otherwise all other tests are without that kind."""
    if not is_there(name):
        pytest.skip(f"this kernel has no {KINDS[name].link.split()[1]} devices")


@pytest.fixture
def a(overlay):
    return overlay.pods["default/a"]


@pytest.fixture
def b(overlay):
    return overlay.pods["default/b"]


# --- traffic and policy -------------------------------------------------------------------------------------------------


def flows(overlay):
    return [flow for flow in overlay.flows(SERVICES) if {flow.src, flow.dst} <= SIDES]


@pytest.fixture
def probes(overlay):
    """Ends them: other tests do not read the events, and their one reader would block on a full pipe."""
    yield
    overlay.end_probes()


@MATRIX
def test_everybody_reaches_everybody(uplinks, overlay, probes):
    """Pods, the world, the nodes' hosts; not by the address that their Node objects do not have (conftest.py)."""
    hidden = [] if overlay.mode == "direct" else [10 - overlay.outer]
    overlay.check("", [f for f in overlay.flows() if f.family not in hidden or not (f.src + f.dst).count("node")])


def test_policy_by_identity(uplinks, overlay, probes):
    only_a = sources(pods(app="a"), ports=[port(8080), port(53, "UDP")])
    overlay.check("", flows(overlay))
    overlay.apply("only-a", policy("only-a", {"app": "b"}, ingress=[only_a], types=["Ingress"]))
    try:
        overlay.check("deny beyond,default/a -> default/b\nallow default/a -> default/b tcp/8080,udp/53", flows(overlay))
    finally:
        overlay.remove("only-a")


def pod_mtu(overlay, uplink_mtu):
    return uplink_mtu - (0 if overlay.mode == "direct" else OVERHEAD[overlay.outer])


def sizes_pass(overlay, a, b, mtu):
    """Datagrams that just fit, just do not and are far larger; a stream, in both directions."""
    for family in ALL:
        most = mtu - IP_HEADER[family] - 8
        for size in (1, most, most + 1, 9000, 65000):
            udp(a, b, b.ips[family], payload=bytes(size))
        a.ping(b.ips[family], size=most)
        a.ping(b.ips[family], size=5000)
        tcp(a, b, b.ips[family], size=1 << 20)
        tcp(b, overlay.underlay, Underlay.BEYOND[family], size=1 << 20)


def mtus(overlay):
    return {pod.ip("link", "show", "eth0")[0]["mtu"] for pod in overlay.pods.values()}


def test_every_size_also_with_a_small_mtu(uplinks, overlay, a, b):
    """The pods' MTU follows that of the cards."""
    whole = overlay.underlay.mtu
    for mtu in (1400, whole):
        uplinks.set_mtu(mtu)
        wait_for(lambda: mtus(overlay) == {pod_mtu(overlay, mtu)}, f"the pods' MTU for an uplink's of {mtu}")
        sizes_pass(overlay, a, b, pod_mtu(overlay, mtu))


# --- cards --------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_card_loses_its_carrier(uplinks, overlay, a, b, n1):
    """Each of a node's cards in turn, under traffic. Connections go on. Datagrams are lost until the bond uses its other card; if
    there is none, until the carrier is back and neighbours are resolved again. Lookups of that time are used for 0.27 s longer.
    """
    spare = len(uplinks.cards) > 1
    for card in uplinks.cards:
        with Transfer(a, b, b.ips[4]) as there, Transfer(b, a, a.ips[6]) as back:
            there.wait_more(20000)
            datagrams = Datagrams(a, b, b.ips[6])
            try:
                datagrams.wait_more()
                begin = datagrams.sent
                uplinks.set_carrier(n1, card, False)
                wait_for(lambda: not uplinks.is_used(n1, card), f"{card} to be out of use")
                if not spare:
                    uplinks.set_carrier(n1, card, True)
                    wait_for(lambda: uplinks.is_used(n1, card), f"{card} to be in use again")
                    overlay.wait_resolved()
                noticed = datagrams.sent
                wait_for(lambda: max(datagrams.answered, default=0) > noticed, "an answer after it")
                time.sleep(0.3)  # no event tells that no CPU uses an earlier lookup any more
                end = datagrams.sent
                for transfer in (there, back):
                    transfer.wait_more(20000)
                datagrams.wait_more(200)
            finally:
                lost = datagrams.finish(timeout=1)
            print(f"{uplinks.name}: {card} without carrier: {len(lost)} datagrams lost, {noticed - begin} sent meanwhile")
            assert all(begin - 20 <= number <= end for number in lost), (begin, noticed, end, sorted(lost))
            if spare:
                uplinks.set_carrier(n1, card, True)
                wait_for(lambda: uplinks.is_used(n1, card), f"{card} to be in use again")
    overlay.wait_resolved()


# --- what is attached where ---------------------------------------------------------------------------------------------


def test_what_the_lists_show(uplinks, overlay, n1):
    """from_uplink is at the device with the addresses, not at its cards, and no other is an uplink."""
    (uplink,) = n1.warren_json("uplink", "list")
    shown = {"device": "eth0", "xdp": "off", "other_xdp": None, "from_uplink": True, "tunnels_end_in": "tc", "denylist": "tc"}
    assert shown.items() <= uplink.items()
    assert n1.warren("status").returncode == 0
    assert [node["uplink"] for node in n1.warren_json("node", "list") if node["name"] == "n2"] == ["eth0"]
    for card in uplinks.cards:
        assert n1.run("tc", "filter", "show", "dev", card, "ingress").stdout == ""


def reached(overlay, node, wait=TIMEOUT):
    """The families in which a ping from the world has a reply."""
    args = {f: ["-I", Underlay.BEYOND[f], "-W", str(wait)] for f in ALL}
    return [f for f in ALL if overlay.underlay.ping(node.address[f], check=False, args=args[f])]


MODES = [pytest.param("auto", marks=MATRIX), "generic", pytest.param("native", marks=MATRIX)]


@pytest.mark.parametrize("xdp", MODES)
def test_denylist(uplinks, overlay, n1, n2, a, b, xdp):
    """`auto` is off on all of them. A bond takes XDP into its cards' drivers; a bridge and a VLAN refuse."""
    try:
        done = n1.warren("uplink", "xdp", "eth0", xdp, check=False)
        if xdp == "native" and len(uplinks.cards) == 1:
            assert done.returncode == 1 and "cannot run XDP in its driver" in done.stderr, done
            return
        assert done.returncode == 0, done
        assert reached(overlay, n1) == [*ALL]
        by = "tc" if xdp == "auto" else f"xdp {xdp}"
        added = n1.warren_json("deny", "add", *Underlay.BEYOND.values())
        assert added["enforced_at"] == [{"device": "eth0", "by": by}]
        assert reached(overlay, n1, wait=0.5) == []
        assert all(entry["packets"] for entry in n1.warren_json("deny", "list")["prefixes"])
        for family in ALL:
            tcp(a, b, b.ips[family], size=200_000)
            tcp(b, a, a.ips[family], size=200_000)
            udp(a, b, b.ips[family], payload=bytes(5000))
    finally:
        n1.warren("deny", "flush")
        n1.warren("uplink", "xdp", "eth0", "off")
    assert reached(overlay, n1) == [*ALL]


# --- VLAN tags ----------------------------------------------------------------------------------------------------------

TAGS = {  # on the way to the uplink, the outermost first; and the reason of the drop of a spoofed pod, if the node handles it
    "none": ((), "not_tunnelled"),
    "a priority": (((Dot1Q, 0),), "not_tunnelled"),
    "a provider's priority": (((Dot1AD, 0),), "not_tunnelled"),
    "two priorities": (((Dot1Q, 0), (Dot1Q, 0)), "ethertype"),
    "three priorities": (((Dot1Q, 0), (Dot1Q, 0), (Dot1Q, 0)), "ethertype"),
    "another VLAN": (((Dot1Q, 99),), None),
    "a provider's VLAN": (((Dot1AD, VLAN), (Dot1Q, VLAN)), None),
}


class Attacker:
    """A host at the switch's port to the card that n1 uses, with the MAC address of n2."""

    def __init__(self, uplinks):
        n1, n2 = uplinks.overlay.nodes.values()
        self.ether = Ether(src=n2.uplink_mac, dst=n1.uplink_mac)
        self.own = ((Dot1Q, VLAN),) if uplinks.name == "vlan" else ()
        card = n1.ip("link", "show", "eth0")[0].get("linkinfo", {}).get("info_data", {}).get("active_slave", "nic0")
        self.wire = uplinks.switch.wire(f"lag{n1.number}" if uplinks.kind.lag else uplinks.port(n1, card))

    def send(self, packet, tags=(), own=None):
        """`own`: the tags that lead to the uplink."""
        frame = self.ether
        for kind, vlan in (*(self.own if own is None else own), *tags):
            frame = frame / kind(vlan=vlan)
        self.wire.send(*[bytes(frame / packet)] * COPIES)


def datagram(src, dst, text=b"from nowhere"):
    return (IPv6 if ":" in src else IP)(src=src, dst=dst) / UDP(sport=4444, dport=7777) / text


@pytest.fixture
def attacker(uplinks):
    attacker = Attacker(uplinks)
    yield attacker
    attacker.wire.close()


@pytest.fixture
def no_rp_filter(n1):
    """Only our own programs are to drop a forged source."""
    names = ("all", "eth0", "nic0")
    before = {name: n1.sysctl(f"ipv4/conf/{name}/rp_filter") for name in names}
    for name in names:
        n1.sysctl(f"ipv4/conf/{name}/rp_filter", 0)
    yield
    for name, value in before.items():
        n1.sysctl(f"ipv4/conf/{name}/rp_filter", value)


def received(sock, last):
    """What comes before that datagram."""
    got = []
    while True:
        got.append(sock.recv(65536))
        if got[-1] == last:
            return got[:-1]


def test_tags_hide_no_spoofed_pod(uplinks, overlay, attacker, no_rp_filter, n1, a, b, family):
    """To a pod and to the host."""
    spoofed = overlay.pods["default/c"].ips[family]
    with a.udp(6, 7777) as sock, b.udp(family) as other:
        for tags, reason in TAGS.values():
            before = n1.metrics()
            for address in (a.ips[family], n1.gateway[family]):
                attacker.send(datagram(spoofed, address), tags)
            if reason:
                wait_for(lambda: n1.metrics()[reason, "ingress"] - before[reason, "ingress"] == 2 * COPIES, f"the drops: {tags}")
            other.sendto(b"last", (a.ips[family], 7777))
            assert received(sock, b"last") == [], tags


@pytest.mark.parametrize("xdp", MODES)
def test_tags_hide_no_denied_source(uplinks, overlay, attacker, n1, xdp):
    done = n1.warren("uplink", "xdp", "eth0", xdp, check=False)
    assert done.returncode == (xdp == "native" and len(uplinks.cards) == 1)

    numbers = itertools.count()

    def arrived(tags):
        """How many of each family; what comes from a source that is not denied is sent after them."""
        counts = []
        for family in ALL:
            first, last = (f"datagram {next(numbers)}".encode() for _ in range(2))
            with n1.udp(family, 7777) as sock:
                attacker.send(datagram(Underlay.BEYOND[family], n1.address[family], first), tags)
                attacker.send(datagram(overlay.underlay.router(0, family), n1.address[family], last))
                counts.append(received(sock, last).count(first))
        return counts

    try:
        for tags, reason in TAGS.values():
            assert arrived(tags) == ([COPIES] * 2 if reason == "not_tunnelled" else [0, 0]), tags
        n1.warren("deny", "add", *Underlay.BEYOND.values())
        for tags, _ in TAGS.values():
            assert arrived(tags) == [0, 0], tags
    finally:
        n1.warren("deny", "flush")
        n1.warren("uplink", "xdp", "eth0", "off")


@OF_VLAN
def test_beside_the_vlan_all_are_the_world(uplinks, overlay, attacker, no_rp_filter, n1, n2, a, b, family):
    """The VLAN's card is no uplink: what comes there without the VLAN's tag is never taken for a pod's or a node's. (Of the
    other kinds all that arrives at the cards arrives at the uplink.)
    """
    spoofed = [overlay.pods["default/c"].ips, b.ips, n1.gateway, n2.gateway, Underlay.BEYOND]
    inner = datagram(b.ips[family], a.ips[family])
    packets = [geneve(n2.address[overlay.outer], n1.address[overlay.outer], inner, overlay.identity("default/b"))]
    packets += [datagram(addresses[family], a.ips[family]) for addresses in spoofed]
    overlay.apply("only-pods", policy("only-pods", {"app": "a"}, ingress=[sources(pods())], types=["Ingress"]))
    try:
        with a.udp(6, 7777) as sock, b.udp(family) as other, Drops(n1) as drops:
            for packet in packets:
                attacker.send(packet, own=())
            seen = set()
            while Underlay.BEYOND[family] not in seen:  # the last ones
                event = drops.wait(lambda event: event["headers"].get("destination") == a.ips[family])
                source = event["headers"]["source"]
                reason = "ingress_denied" if source in (n1.gateway[family], Underlay.BEYOND[family]) else "spoofed_outside"
                assert (event["reason"], event["peer"]) == (reason, "world"), event
                seen.add(source)
            assert {overlay.pods["default/c"].ips[family], b.ips[family]} <= seen
            other.sendto(b"last", (a.ips[family], 7777))
            assert received(sock, b"last") == []
    finally:
        overlay.remove("only-pods")


@OF_VLAN
def test_vlan_that_leaves_the_tag_in_its_frames(uplinks, overlay, a, b, n1):
    """from_uplink would pass them all. It is not attached there, and where it is already, the denylist counts as not enforced."""
    n1.warren("deny", "add", *Underlay.BEYOND.values())
    n1.run("ip", "link", "set", "eth0", "type", "vlan", "reorder_hdr", "off")
    try:
        assert [uplink["denylist"] for uplink in n1.warren_json("uplink", "list")] == ["nowhere"]
        assert n1.warren("deny", "list", check=False).returncode == 1
        n1.run("tc", "qdisc", "delete", "dev", "eth0", "clsact")
        n1.agent.restart()
        wait_for(lambda: "reorder_hdr" in str(n1.agent.status()["problems"]), "the problem")
        assert n1.run("tc", "filter", "show", "dev", "eth0", "ingress").stdout == ""
    finally:
        n1.run("ip", "link", "set", "eth0", "type", "vlan", "reorder_hdr", "on")
        wait_for(lambda: not n1.agent.status()["problems"], "the problem to be solved")
        n1.warren("deny", "flush")
    uplinks.wait()
    udp(a, b, b.ips[4])


# --- the end ------------------------------------------------------------------------------------------------------------


@MATRIX
def test_node_down_leaves_nothing(uplinks, overlay, n2):
    overlay.delete("default/b")
    n2.warren("uplink", "xdp", "eth0", "generic")
    n2.agent.stop()
    n2.warren("node", "down")
    assert "clsact" not in n2.run("tc", "qdisc", "show").stdout
    assert not any("xdp" in link for link in n2.ip("link", "show"))
    assert n2.run("nft", "list", "ruleset").stdout == ""
    assert not n2.outside(PINS).exists()
    n2.agent.start()
    overlay.pod("default/b", "n2", app="b")
    uplinks.wait()
