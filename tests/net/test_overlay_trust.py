# SPDX-License-Identifier: BSD-2-Clause
"""Who may send tunnel packets, and which of them are accepted: only the programs send to the tunnel's port, and a
tunnel packet is accepted only from a known node, for its own pods. Each exploit is tried; each is dropped, and counted
by its own reason.
"""

import contextlib
import struct

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1Q, Ether

from crossings import OUTER
from geneve import OPTION, PORT, REMOTE_NODE, VNI, WORLD, geneve, geneve_payload, is_tunnel
from lab import moved
from overlay import Overlay
from netns import FAMILY, TIMEOUT, udp, wait_for
from underlay import Underlay

HOST = 1
COPIES = 5
SERVICE = {4: "192.0.2.10", 6: "2001:db8:5::10"}
UNPRIVILEGED = 65534


@pytest.fixture(scope="module", params=OUTER)
def overlay(request):
    with Overlay(outer=request.param) as overlay:
        for name, node in (("default/a1", "n1"), ("default/b1", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node, app=name[8])
        yield overlay


def datagram(src, dst):
    return (IPv6 if ":" in src else IP)(src=src, dst=dst) / UDP(sport=4444, dport=7777) / b"from nowhere"


class Arrivals:
    """What reaches a pod, or a host, on port 7777 of either family."""

    def __init__(self, netns):
        self.sock = netns.udp(6, 7777)
        self.sock.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def __call__(self):
        """How many there were since the last call."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while self.sock.recv(65536):
                count += 1
        return count

    def wait(self, count):
        self.sock.settimeout(TIMEOUT)
        for _ in range(count):
            assert self.sock.recv(65536)
        self.sock.setblocking(False)


# --- sending to the tunnel's port --------------------------------------------------------------------------------------


def forged(overlay, family, to):
    """A packet that n2 would decapsulate as one from its neighbour's host, if it accepted the sender."""
    n1 = overlay.nodes["n1"]
    return geneve_payload(datagram(n1.gateway[family], to), REMOTE_NODE)


@pytest.fixture
def quiet(overlay):
    """quiet(): no packet to the tunnel's port has passed between the nodes."""
    with overlay.capture() as wire:
        yield lambda: not any(is_tunnel(frame) for frame in wire.drain())


@pytest.mark.parametrize("whose", ["the other node's", "its own node's"])
def test_pod_sends_to_the_tunnel_port(overlay, n1, n2, a1, quiet, family, whose):
    target = n2 if whose.startswith("the other") else n1
    payload = forged(overlay, family, overlay.pods["default/b2"].ips[family])
    with a1.udp(family) as sock, Arrivals(overlay.pods["default/b2"]) as arrived:
        before = n1.metrics()
        for _ in range(COPIES):
            sock.sendto(payload, (target.address[family], PORT))
        n1.assert_moved(before, {("tunnel_port", "egress"): COPIES})
        assert quiet() and not arrived()


def test_pod_sends_fragments_to_the_tunnel_port(overlay, n1, n2, a1, quiet, family):
    with a1.udp(family) as sock:
        before = n1.metrics()
        sock.sendto(forged(overlay, family, overlay.pods["default/b2"].ips[family]) + bytes(4000), (n2.address[family], PORT))
        # The later ones come without a first one.
        n1.assert_moved(before, {("tunnel_port", "egress"): 1, ("fragment", "egress"): 2})
    assert quiet()


@pytest.fixture
def dnat_to_tunnel(n1, n2, family):
    """Port 80 of an address that no host has leads to the other node's tunnel."""
    ip, to = ("ip", f"{n2.address[4]}:{PORT}") if family == 4 else ("ip6", f"[{n2.address[6]}]:{PORT}")
    rule = f"{ip} daddr {SERVICE[family]} udp dport 80 dnat to {to}"
    n1.run(
        "nft",
        "-f",
        "-",
        input=f"""
        table {ip} service {{
            chain prerouting {{ type nat hook prerouting priority dstnat; {rule}; }}
            chain output {{ type nat hook output priority -100; {rule}; }}
        }}""",
    )
    yield SERVICE[family]
    n1.run("nft", "delete", "table", ip, "service")


def test_pod_sends_to_the_tunnel_port_through_a_service(overlay, n1, n2, a1, quiet, family, dnat_to_tunnel):
    target = overlay.pods["default/b2"]
    with a1.udp(family) as sock, Arrivals(target) as arrived:
        before = n1.guard_drops()
        for _ in range(COPIES):
            sock.sendto(forged(overlay, family, target.ips[family]), (dnat_to_tunnel, 80))
        wait_for(lambda: n1.guard_drops() >= before + COPIES, "the guard's counter")
        assert n1.guard_drops() == before + COPIES
        assert quiet() and not arrived()


SEND = """
import socket, sys
sock = socket.socket(int(sys.argv[1]), socket.SOCK_DGRAM)
for _ in range(int(sys.argv[5])):
    try:
        sock.sendto(bytes.fromhex(sys.argv[4]), (sys.argv[2], int(sys.argv[3])))
    except PermissionError:
        pass
"""


@pytest.mark.parametrize("path", ["straight", "through a service"])
@pytest.mark.parametrize("user", [UNPRIVILEGED, 0])
def test_host_process_sends_to_the_tunnel_port(overlay, n1, n2, quiet, family, dnat_to_tunnel, user, path):
    target = overlay.pods["default/b2"]
    address, number = (n2.address[family], PORT) if path == "straight" else (dnat_to_tunnel, 80)
    payload = forged(overlay, family, target.ips[family]).hex()
    with Arrivals(target) as arrived:
        before = n1.guard_drops()
        n1.run(
            *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "/usr/bin/python3", "-c", SEND),
            *(int(FAMILY[family]), address, number, payload, COPIES),
        )
        wait_for(lambda: n1.guard_drops() >= before + COPIES, "the guard's counter")
        assert n1.guard_drops() == before + COPIES
        assert quiet() and not arrived()


# --- what comes from the LAN -------------------------------------------------------------------------------------------


class Lan:
    """A host on the nodes' link. What it sends to n1 carries the other node's identity where that may be trusted at
    all.
    """

    def __init__(self, overlay):
        self.overlay, self.outer = overlay, overlay.outer
        self.n1, self.n2 = overlay.nodes["n1"], overlay.nodes["n2"]
        self.a1, self.b1, self.b2 = (overlay.pods[f"default/{name}"] for name in ("a1", "b1", "b2"))
        self.identity = self.b2.node.agent.identity(self.b2)

    def frame(self, packet):
        return Ether(src=self.n2.uplink_mac, dst=self.n1.uplink_mac) / packet

    def tunnel(self, inner, identity=None, outer_src=None, **kwargs):
        src = outer_src or self.n2.address[self.outer]
        if "options" not in kwargs and identity is None:
            identity = self.identity
        return self.frame(geneve(src, self.n1.address[self.outer], inner, identity, **kwargs))


def critical_option(identity):
    return struct.pack("!HBBI", OPTION[0], 0x80 | 0x22, 1, 0) + struct.pack("!HBBQ", *OPTION, 2, identity)


TUNNELLED = {  # what it is: (frame, reason)
    "from an address that is no node's": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), outer_src=Underlay.BEYOND[l.outer]),
        "tunnel_sender",
    ),
    "from this node's own address": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), outer_src=l.n1.address[l.outer]),
        "tunnel_sender",
    ),
    "about a pod of this node": (lambda l, f: l.tunnel(datagram(l.b1.ips[f], l.a1.ips[f])), "tunnel_source"),
    "about a third node's pod": (
        lambda l, f: l.tunnel(datagram({4: "10.87.3.2", 6: "fd00:87:0:3::2"}[f], l.a1.ips[f])),
        "tunnel_source",
    ),
    "a pod's identity, the world's source": (
        lambda l, f: l.tunnel(datagram(Underlay.BEYOND[f], l.a1.ips[f])),
        "tunnel_source",
    ),
    "a host with a pod's source": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), REMOTE_NODE),
        "tunnel_source",
    ),
    "a host with this node's address": (
        lambda l, f: l.tunnel(datagram(l.n1.gateway[f], l.a1.ips[f]), REMOTE_NODE),
        "tunnel_source",
    ),
    "the world with a pod's source": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), WORLD),
        "tunnel_source",
    ),
    "the world with a node's address": (
        lambda l, f: l.tunnel(datagram(l.n2.address[f], l.a1.ips[f]), WORLD),
        "tunnel_source",
    ),
    "an identity that is the host's own": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), HOST),
        "tunnel_identity",
    ),
    "the unknown identity": (lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), 0), "tunnel_identity"),
    "an identity of a kind that there is not": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), 7 << 56 | 1),
        "tunnel_identity",
    ),
    "no identity": (lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), options=b""), "tunnel_option"),
    "an unknown critical option": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), options=critical_option(l.identity), flags=0x40),
        "tunnel_option",
    ),
    "a control packet": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), flags=0x80),
        "tunnel_option",
    ),
    "another cluster": (lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), vni=VNI + 1), "tunnel_vni"),
    "another version": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.a1.ips[f]), version=1),
        "tunnel_malformed",
    ),
    "for a pod of the other node": (lambda l, f: l.tunnel(datagram(l.b2.ips[f], l.b2.ips[f])), "tunnel_target"),
    "for the world": (lambda l, f: l.tunnel(datagram(l.b2.ips[f], Underlay.BEYOND[f])), "tunnel_target"),
    "for a pod that is not there": (
        lambda l, f: l.tunnel(datagram(l.b2.ips[f], {4: "10.87.1.222", 6: "fd00:87:0:1::222"}[f])),
        "tunnel_target",
    ),
}


def send(lan, frame):
    with lan.overlay.underlay.wire(lan.overlay.underlay.port(1)) as out:
        out.send(*[frame] * COPIES)


def test_valid_packets_are_accepted(overlay, family):
    """Otherwise the tests below would prove nothing. (So far the underlay is trusted.)"""
    lan = Lan(overlay)
    with Arrivals(lan.a1) as arrived:
        send(lan, lan.tunnel(datagram(lan.b2.ips[family], lan.a1.ips[family])))
        arrived.wait(COPIES)
        send(lan, lan.tunnel(datagram(lan.n2.gateway[family], lan.a1.ips[family]), REMOTE_NODE))
        arrived.wait(COPIES)
        send(lan, lan.tunnel(datagram(Underlay.BEYOND[family], lan.a1.ips[family]), WORLD))
        arrived.wait(COPIES)


@pytest.mark.parametrize("case", TUNNELLED)
def test_invalid_tunnel_packet_is_dropped(overlay, family, case):
    make, reason = TUNNELLED[case]
    lan = Lan(overlay)
    with Arrivals(lan.a1) as arrived, Arrivals(lan.n1) as at_host:
        before = lan.n1.metrics()
        send(lan, make(lan, family))
        lan.n1.assert_moved(before, {(reason, "ingress"): COPIES})
        assert not arrived() and not at_host()


PLAIN = {  # source of a packet that is not tunnelled
    "a pod of this node": lambda l, f: l.b1.ips[f],
    "a pod of the other node": lambda l, f: l.b2.ips[f],
    "the other node's gateway address": lambda l, f: l.n2.gateway[f],
    "this node's gateway address": lambda l, f: l.n1.gateway[f],
    "this node's own address": lambda l, f: l.n1.address[f],
}


@pytest.mark.parametrize("to", ["pod", "host"])
@pytest.mark.parametrize("source", PLAIN)
def test_pods_and_own_sources_come_by_the_tunnel_only(overlay, family, source, to):
    lan = Lan(overlay)
    target = lan.a1.ips if to == "pod" else lan.n1.address
    with Arrivals(lan.a1) as arrived, Arrivals(lan.n1) as at_host:
        before = lan.n1.metrics()
        send(lan, lan.frame(datagram(PLAIN[source](lan, family), target[family])))
        lan.n1.assert_moved(before, {("not_tunnelled", "ingress"): COPIES})
        assert not arrived() and not at_host()


def tagged(frame, *ids):
    """With 802.1Q tags, the outermost first; id 0: for its priority only."""
    packet = frame.payload
    for vlan in reversed(ids):
        packet = Dot1Q(prio=5, vlan=vlan) / packet
    return Ether(src=frame.src, dst=frame.dst) / packet


TAGS = {  # VLAN ids of a frame with a pod's source, and the reason of its drop, if the node handles it
    "a priority": ((0,), "not_tunnelled"),
    "two priorities": ((0, 0), "ethertype"),
    "a VLAN": ((7,), None),
    "a priority and a VLAN": ((0, 7), None),
}


@pytest.mark.parametrize("tags", TAGS)
def test_tags_hide_nothing(overlay, family, tags):
    """Linux treats a frame with priority tags only as one without tags."""
    ids, reason = TAGS[tags]
    lan = Lan(overlay)
    with Arrivals(lan.a1) as arrived, Arrivals(lan.n1) as at_host:
        before = lan.n1.metrics()
        for target in (lan.a1.ips, lan.n1.address):
            send(lan, tagged(lan.frame(datagram(lan.b1.ips[family], target[family])), *ids))
        send(lan, lan.tunnel(datagram(lan.b2.ips[family], lan.a1.ips[family])))
        arrived.wait(COPIES)
        expected = {("to_endpoint", "ingress"): COPIES}
        lan.n1.assert_moved(before, expected | {(reason, "ingress"): 2 * COPIES} if reason else expected)
        assert not arrived() and not at_host()


SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 1 << 4


def has_tag(wire):
    """Whether the next frame on the wire has a VLAN tag, which packet(7) reports apart from its bytes."""
    wire.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    _, [(_, _, auxdata)], _, _ = wire.sock.recvmsg(65536, 64)
    return bool(struct.unpack_from("I", auxdata)[0] & TP_STATUS_VLAN_VALID)


def test_priority_stays_outside(overlay, family):
    """A tunnel packet with a priority tag is accepted as the node's; the pod gets it without the tag."""
    lan = Lan(overlay)
    with Arrivals(lan.a1) as arrived, lan.a1.wire() as seen:
        send(lan, tagged(lan.tunnel(datagram(lan.b2.ips[family], lan.a1.ips[family])), 0))
        arrived.wait(COPIES)
        assert [has_tag(seen) for _ in range(COPIES)] == [False] * COPIES
        send(lan, tagged(lan.tunnel(datagram(lan.n2.gateway[family], lan.a1.ips[family]), REMOTE_NODE), 0))
        arrived.wait(COPIES)


def test_outer_fragments_are_not_reassembled(overlay, family):
    """Nor decapsulated when the host's stack has."""
    lan = Lan(overlay)
    inner = datagram(lan.b2.ips[family], lan.a1.ips[family]) / bytes(1000)
    packet = lan.tunnel(inner)
    payload = bytes(packet[UDP])
    outer = {"src": lan.n2.address[lan.outer], "dst": lan.n1.address[lan.outer]}
    if lan.outer == 4:
        parts = [IP(**outer, id=7, proto=17, flags=1) / payload[:800], IP(**outer, id=7, proto=17, frag=100) / payload[800:]]
    else:
        parts = [
            IPv6(**outer) / IPv6ExtHdrFragment(nh=17, id=7, m=1) / payload[:800],
            IPv6(**outer) / IPv6ExtHdrFragment(nh=17, id=7, offset=100) / payload[800:],
        ]
    with Arrivals(lan.a1) as arrived:
        before = lan.n1.metrics()
        for part in parts:
            send(lan, lan.frame(part))
        wait_for(lambda: moved(before, lan.n1.metrics()).get(("tunnel_fragment", "ingress"), 0) >= COPIES, "drops of fragments")
        delta = moved(before, lan.n1.metrics())
        assert {key[0] for key in delta} == {"tunnel_fragment"}
        assert not arrived()


def test_pod_sends_no_false_neighbour_replies(overlay, family):
    """After all of this the nodes are as they were."""
    lan = Lan(overlay)
    udp(lan.a1, lan.b2, lan.b2.ips[family])
    udp(lan.b2, lan.a1, lan.a1.ips[family])


# --- direct ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def direct():
    with Overlay(mode="direct") as overlay:
        for name, node in (("default/a1", "n1"), ("default/b1", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node, app=name[8])
        yield overlay


def test_without_a_tunnel_a_pods_packet_comes_from_its_node(direct, family):
    """From the node's MAC address it is its pod's; from any other it is dropped."""
    lan = Lan(direct)
    packet = datagram(lan.b2.ips[family], lan.a1.ips[family])
    with Arrivals(lan.a1) as arrived:
        send(lan, lan.frame(packet))
        send(lan, tagged(lan.frame(packet), 0))
        arrived.wait(2 * COPIES)
        before = lan.n1.metrics()
        send(lan, Ether(src="02:00:00:00:66:06", dst=lan.n1.uplink_mac) / packet)
        lan.n1.assert_moved(before, {("not_tunnelled", "ingress"): COPIES})
        before = lan.n1.metrics()
        send(lan, lan.frame(datagram(lan.b1.ips[family], lan.a1.ips[family])))
        lan.n1.assert_moved(before, {("not_tunnelled", "ingress"): COPIES})
        assert not arrived()
