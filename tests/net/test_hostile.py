# SPDX-License-Identifier: BSD-2-Clause
"""A hostile pod: whatever it sends by raw socket is dropped for the reason named here, counted exactly, reported, and
seen by no other host. Each row is one kind of frame; most exist in both families.
"""

from types import SimpleNamespace

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from lab import GATEWAY, HOST_MAC, NODE_GATEWAY, Lab, network
from netns import wait_for

BROADCAST = "ff:ff:ff:ff:ff:ff"
COPIES = 5
ROWS = []


def row(name, reason, families=(4, 6)):
    """Declares a kind of frame: the function gets a case and returns the frame, or ([frames that pass], frame)."""

    def declare(build):
        ROWS.extend(pytest.param(f, build, reason, id=f"v{f} {name}") for f in families)
        return build

    return declare


def rows(reason, families=(4, 6), **builders):
    for name, build in builders.items():
        row(name.replace("_", " "), reason, families)(build)


def case(a, b, family):
    """What a row's function needs: pod a is the sender, b the victim."""
    ip = IP if family == 4 else IPv6
    header = {"ttl": 64} if family == 4 else {"hlim": 64}
    return SimpleNamespace(
        a=a,
        b=b,
        v=family,
        own=a.ips[family],
        victim=b.ips[family],
        ip=lambda **fields: ip(**{"src": a.ips[family], "dst": b.ips[family], **header, **fields}),
        ether=a.ether,
        udp=UDP(sport=1000, dport=2000) / b"hostile",
    )


def patched(packet, offset, data):
    """The packet's bytes with some of them replaced; the IP header starts at 14."""
    frame = bytearray(bytes(packet))
    frame[offset : offset + len(data)] = data
    return bytes(frame)


def good(c):
    return c.ether() / c.ip() / c.udp


# --- whose packet it claims to be -------------------------------------------------------------------------------------

rows(
    "spoofed_source",
    source_is_another_pod=lambda c: c.ether() / c.ip(src=c.victim) / c.udp,
    source_is_the_node=lambda c: c.ether() / c.ip(src=NODE_GATEWAY[c.v]) / c.udp,
    source_is_the_uplink=lambda c: c.ether() / c.ip(src=Lab.UPLINK[c.v]) / c.udp,
    source_is_in_the_world=lambda c: c.ether() / c.ip(src=Lab.WORLD[c.v]) / c.udp,
    source_is_the_gateway=lambda c: c.ether() / c.ip(src=GATEWAY[c.v]) / c.udp,
    source_is_loopback=lambda c: c.ether() / c.ip(src={4: "127.0.0.1", 6: "::1"}[c.v]) / c.udp,
    source_is_multicast=lambda c: c.ether() / c.ip(src={4: "224.0.0.1", 6: "ff02::1"}[c.v]) / c.udp,
    no_source=lambda c: c.ether() / c.ip(src={4: "0.0.0.0", 6: "::"}[c.v]) / c.udp,
    spoofed_fragment=lambda c: c.ether() / fragment(c, 8, True, b"x" * 16, src=c.victim),
)
rows(
    "spoofed_mac",
    source_mac_of_the_victim=lambda c: c.ether(src=c.b.mac) / c.ip() / c.udp,
    source_mac_of_the_gateway=lambda c: c.ether(src=HOST_MAC) / c.ip() / c.udp,
    source_mac_is_broadcast=lambda c: c.ether(src=BROADCAST) / c.ip() / c.udp,
    source_mac_is_zero=lambda c: c.ether(src="00:00:00:00:00:00") / c.ip() / c.udp,
)

# --- frames -----------------------------------------------------------------------------------------------------------

rows(
    "ethertype",
    vlan_tag=lambda c: c.ether() / Dot1Q(vlan=7) / c.ip() / c.udp,
    priority_tag=lambda c: c.ether() / Dot1Q(vlan=0) / c.ip() / c.udp,
    two_vlan_tags=lambda c: c.ether(type=0x88A8) / Dot1Q(vlan=7, type=0x8100) / Dot1Q(vlan=8) / c.ip() / c.udp,
    mpls=lambda c: c.ether(type=0x8847) / Raw(bytes(c.ip() / c.udp)),
)
rows(
    "ethertype",
    families=(4,),
    lldp=lambda c: c.ether(type=0x88CC, dst="01:80:c2:00:00:0e") / Raw(b"\0" * 50),
    unknown_ethertype=lambda c: c.ether(type=0x1234) / Raw(b"\0" * 50),
    rarp=lambda c: c.ether(type=0x8035) / Raw(b"\0" * 50),
    length_instead_of_type=lambda c: c.ether(type=46) / Raw(b"\xaa\xaa\x03" + b"\0" * 43),
)
rows(
    "runt",
    no_ip_header=lambda c: bytes(good(c))[:14],
    one_byte_of_ip_header=lambda c: bytes(good(c))[:15],
    all_but_one_byte_of_ip_header=lambda c: bytes(good(c))[: 14 + {4: 19, 6: 39}[c.v]],
)
row("arp cut short", "runt", (4,))(lambda c: bytes(c.ether() / ARP(hwsrc=c.a.mac, psrc=c.own, pdst=GATEWAY[4]))[:40])

# --- IP headers -------------------------------------------------------------------------------------------------------

rows(
    "malformed_ip",
    wrong_version=lambda c: patched(good(c), 14, {4: b"\x55", 6: b"\x70"}[c.v]),
    version_of_the_other_family=lambda c: patched(good(c), 14, {4: b"\x65", 6: b"\x45"}[c.v]),
    length_past_the_frame=lambda c: c.ether() / c.ip(**{4: {"len": 900}, 6: {"plen": 900}}[c.v]) / c.udp,
    fragment_without_data=lambda c: c.ether() / fragment(c, 0, True, b""),
    fragment_not_of_8_bytes=lambda c: c.ether() / fragment(c, 0, True, bytes(UDP(len=100)) + b"12345"),
    ping_of_death=lambda c: c.ether() / fragment(c, 65528, False, b"x" * 64),
)
rows(
    "malformed_ip",
    families=(4,),
    header_length_below_5=lambda c: patched(good(c), 14, b"\x44"),
    total_length_below_header=lambda c: patched(good(c), 16, b"\x00\x13"),
)
rows(
    "malformed_ip",
    families=(6,),
    no_payload_length=lambda c: c.ether() / c.ip(plen=0) / c.udp,
    options_past_the_packet=lambda c: c.ether() / c.ip(nh=60) / Raw(b"\x11\xff" + b"\x00" * 14),
    fragment_header_cut_short=lambda c: c.ether() / c.ip(nh=44) / Raw(b"\x11\x00\x00\x01"),
)
rows(
    "ip_options",
    families=(4,),
    no_operation=lambda c: c.ether() / c.ip(options=[IPOption_NOP()] * 4) / c.udp,
    record_route=lambda c: c.ether() / c.ip(options=[IPOption_RR(routers=["0.0.0.0"] * 3)]) / c.udp,
    loose_source_route=lambda c: c.ether() / c.ip(options=[IPOption_LSRR(routers=[Lab.WORLD[4]])]) / c.udp,
    timestamp=lambda c: c.ether() / c.ip(options=[IPOption_Timestamp()]) / c.udp,
    garbage_options=lambda c: patched(c.ether() / c.ip(options=[IPOption_NOP()] * 4) / c.udp, 34, b"\x83\xff\xff\xff"),
)
rows(
    "ext_headers",
    families=(6,),
    routing_header=lambda c: c.ether() / chain(c, ROUTING),
    routing_header_behind_options=lambda c: c.ether() / chain(c, OPTIONS, ROUTING),
    hop_by_hop_not_first=lambda c: c.ether() / chain(c, OPTIONS, HOP_BY_HOP),
    hop_by_hop_twice=lambda c: c.ether() / chain(c, HOP_BY_HOP, HOP_BY_HOP),
    two_fragment_headers=lambda c: c.ether() / chain(c, FRAGMENT, FRAGMENT),
    long_chain=lambda c: c.ether() / chain(c, *[OPTIONS] * 12),
)


def chain(c, *headers):
    """A UDP packet with these extension headers."""
    packet = c.ip(nh=headers[0])
    for header, after in zip(headers, [*headers[1:], 17]):
        packet /= EXTENSIONS[header](nh=after)
    return packet / c.udp


HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS = 0, 43, 44, 60
EXTENSIONS = {
    HOP_BY_HOP: IPv6ExtHdrHopByHop,
    ROUTING: lambda nh: IPv6ExtHdrRouting(nh=nh, addresses=[Lab.WORLD[6]]),
    FRAGMENT: lambda nh: IPv6ExtHdrFragment(nh=nh, id=9),
    OPTIONS: IPv6ExtHdrDestOpt,
}


# --- transport headers ------------------------------------------------------------------------------------------------

rows(
    "malformed_l4",
    tcp_cut_short=lambda c: c.ether() / c.ip(**proto(c, 6)) / Raw(bytes(TCP())[:19]),
    tcp_offset_below_5=lambda c: c.ether() / c.ip() / TCP(dataofs=4),
    tcp_offset_past_the_packet=lambda c: c.ether() / c.ip() / TCP(dataofs=15),
    udp_cut_short=lambda c: c.ether() / c.ip(**proto(c, 17)) / Raw(bytes(UDP())[:7]),
    udp_length_below_8=lambda c: c.ether() / c.ip() / UDP(len=7) / b"hostile",
    udp_length_past_the_packet=lambda c: c.ether() / c.ip() / UDP(len=900) / b"hostile",
    icmp_cut_short=lambda c: c.ether() / c.ip(**proto(c, {4: 1, 6: 58}[c.v])) / Raw(b"\x80\x00\x00"),
    sctp_cut_short=lambda c: c.ether() / c.ip(**proto(c, 132)) / Raw(b"\x00" * 11),
)
rows(
    "icmp_error",
    about_another_pods_packet=lambda c: c.ether() / c.ip() / unreachable(c, src=c.own, dst=c.victim),
    about_a_packet_to_the_world=lambda c: c.ether() / c.ip() / unreachable(c, src=c.victim, dst=Lab.WORLD[c.v]),
    without_a_quoted_header=lambda c: c.ether() / c.ip() / {4: ICMP(type=3), 6: ICMPv6DestUnreach()}[c.v],
    too_big=lambda c: c.ether() / c.ip() / too_big(c),
)
row("redirect", "icmp_error", (4,))(
    lambda c: c.ether() / c.ip() / ICMP(type=5, code=1, gw=c.own) / IP(src=c.victim, dst=c.own) / UDP()
)


def proto(c, number):
    return {"proto": number} if c.v == 4 else {"nh": number}


def quoted(c, src, dst):
    return (IP if c.v == 4 else IPv6)(src=src, dst=dst) / UDP(sport=2000, dport=1000)


def unreachable(c, src, dst):
    return {4: ICMP(type=3, code=3), 6: ICMPv6DestUnreach(code=4)}[c.v] / quoted(c, src, dst)


def too_big(c):
    return {4: ICMP(type=3, code=4, nexthopmtu=600), 6: ICMPv6PacketTooBig(mtu=1280)}[c.v] / quoted(
        c, c.victim, Lab.WORLD[c.v]
    )


# --- fragments --------------------------------------------------------------------------------------------------------


def fragment(c, offset, more, data, ident=7, proto_number=17, **fields):
    """One fragment of a datagram: `offset` in bytes, `data` from the transport header on."""
    if c.v == 4:
        return c.ip(flags="MF" if more else 0, frag=offset // 8, id=ident, proto=proto_number, **fields) / Raw(data)
    header = IPv6ExtHdrFragment(offset=offset // 8, m=int(more), id=ident, nh=proto_number)
    return c.ip(**fields) / header / Raw(data)


FIRST = bytes(UDP(sport=1000, dport=2000, len=64)) + b"x" * 16  # 24 bytes of a datagram of 64

rows(
    "fragment",
    no_first_fragment=lambda c: c.ether() / fragment(c, 24, False, b"x" * 40, ident=100),
    first_one_of_8_bytes_of_tcp=lambda c: c.ether() / fragment(c, 0, True, bytes(TCP())[:8], ident=101, proto_number=6),
    first_one_of_16_bytes_of_tcp=lambda c: c.ether()
    / fragment(c, 0, True, bytes(TCP())[:16], ident=102, proto_number=6),
    tcp_options_in_the_second=lambda c: c.ether()
    / fragment(c, 0, True, bytes(TCP(dataofs=8))[:20] + b"\0" * 4, ident=103, proto_number=6),
    another_protocol=lambda c: (
        [c.ether() / fragment(c, 0, True, FIRST, ident=104)],
        c.ether() / fragment(c, 24, False, b"x" * 40, ident=104, proto_number=6),
    ),
    another_destination=lambda c: (
        [c.ether() / fragment(c, 0, True, FIRST, ident=105)],
        c.ether() / fragment(c, 24, False, b"x" * 40, ident=105, dst=Lab.WORLD[c.v]),
    ),
)
rows(
    "fragment_overlap",
    onto_the_first=lambda c: (
        [c.ether() / fragment(c, 0, True, FIRST, ident=110)],
        c.ether() / fragment(c, 8, True, b"y" * 16, ident=110),
    ),
    onto_its_last_bytes=lambda c: (
        [c.ether() / fragment(c, 0, True, FIRST, ident=111)],
        c.ether() / fragment(c, 16, True, b"y" * 16, ident=111),
    ),
    the_same_again=lambda c: (
        [c.ether() / fragment(c, 0, True, FIRST, ident=112), c.ether() / fragment(c, 24, True, b"x" * 8, ident=112)],
        c.ether() / fragment(c, 24, True, b"y" * 8, ident=112),
    ),
    backwards=lambda c: (
        [c.ether() / fragment(c, 0, True, FIRST, ident=113), c.ether() / fragment(c, 48, False, b"x" * 16, ident=113)],
        c.ether() / fragment(c, 24, True, b"y" * 24, ident=113),
    ),
)

# --- where it is to go ------------------------------------------------------------------------------------------------

rows(
    "multicast",
    to_a_group=lambda c: c.ether(dst={4: "01:00:5e:00:00:fb", 6: "33:33:00:00:00:fb"}[c.v])
    / c.ip(dst={4: "224.0.0.251", 6: "ff02::fb"}[c.v])
    / c.udp,
    to_a_group_by_unicast_frame=lambda c: c.ether() / c.ip(dst={4: "239.1.2.3", 6: "ff0e::1"}[c.v]) / c.udp,
    pod_by_broadcast_frame=lambda c: c.ether(dst=BROADCAST) / c.ip() / c.udp,
    pod_by_multicast_frame=lambda c: c.ether(dst="01:00:5e:00:00:01") / c.ip() / c.udp,
)
row("broadcast", "multicast", (4,))(lambda c: c.ether(dst=BROADCAST) / c.ip(dst="255.255.255.255") / c.udp)
row("DHCP discover", "multicast", (4,))(
    lambda c: c.ether(dst=BROADCAST) / c.ip(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / b"\1"
)
row("IGMP report", "multicast", (4,))(
    lambda c: c.ether(dst="01:00:5e:00:00:16") / c.ip(dst="224.0.0.22", proto=2) / Raw(b"\x22\0\0\0\0\0\0\0")
)
row("MLD report", "multicast", (6,))(
    lambda c: c.ether(dst="33:33:00:00:00:16")
    / c.ip(dst="ff02::16", hlim=1)
    / IPv6ExtHdrHopByHop(nh=58)
    / ICMPv6MLReport2()
)

BAD_DESTINATIONS = {
    4: ["127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "240.0.0.1", "255.255.255.254"],
    6: ["::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.87.0.1", "fe80::2", "febf::1"],
}
for f, addresses in BAD_DESTINATIONS.items():
    for address in addresses:
        row(f"to {address}", "bad_destination", (f,))(lambda c, address=address: c.ether() / c.ip(dst=address) / c.udp)
rows(
    "bad_destination",
    to_another_mac_address=lambda c: c.ether(dst=c.b.mac) / c.ip() / c.udp,
    to_itself=lambda c: c.ether() / c.ip(dst=c.own) / c.udp,
)
rows(
    "gateway",
    udp_to_the_gateway=lambda c: c.ether() / c.ip(dst=GATEWAY[c.v]) / c.udp,
    tcp_to_the_gateway=lambda c: c.ether() / c.ip(dst=GATEWAY[c.v]) / TCP(dport=22),
    echo_reply_to_the_gateway=lambda c: c.ether() / c.ip(dst=GATEWAY[c.v], **proto(c, {4: 1, 6: 58}[c.v])) / Raw(
        {4: b"\0", 6: b"\x81"}[c.v] + b"\0" * 15
    ),
)

# --- ARP and neighbour discovery --------------------------------------------------------------------------------------


def arp(c, **fields):
    return c.ether(dst=BROADCAST) / ARP(**{"op": 1, "hwsrc": c.a.mac, "psrc": c.own, "pdst": GATEWAY[4], **fields})


rows(
    "arp",
    families=(4,),
    who_has_another_pod=lambda c: arp(c, pdst=c.victim),
    who_has_the_node=lambda c: arp(c, pdst=NODE_GATEWAY[4]),
    gratuitous=lambda c: arp(c, pdst=c.own),
    reply=lambda c: arp(c, op=2),
    probe=lambda c: arp(c, psrc="0.0.0.0", pdst=c.own),
    of_other_hardware=lambda c: patched(arp(c), 14, b"\0\6"),
)
rows(
    "spoofed_source",
    families=(4,),
    arp_from_another_pod=lambda c: arp(c, psrc=c.victim),
    arp_reply_as_the_gateway=lambda c: arp(c, op=2, psrc=GATEWAY[4], pdst=c.victim),
)
rows("spoofed_mac", families=(4,), arp_for_another_mac=lambda c: arp(c, hwsrc=c.b.mac))


def nd(c, message, dst="ff02::1:ff00:1", **fields):
    return c.ether(dst="33:33:ff:00:00:01") / c.ip(**{"dst": dst, "hlim": 255, **fields}) / message


rows(
    "neighbour",
    families=(6,),
    solicit_another_pod=lambda c: nd(c, ICMPv6ND_NS(tgt=c.victim) / ICMPv6NDOptSrcLLAddr(lladdr=c.a.mac)),
    solicit_to_another_group=lambda c: nd(
        c, ICMPv6ND_NS(tgt=GATEWAY[6]) / ICMPv6NDOptSrcLLAddr(lladdr=c.a.mac), "ff02::1"
    ),
    duplicate_address_detection=lambda c: nd(c, ICMPv6ND_NS(tgt=c.own), src="::"),
    advertise_itself=lambda c: nd(c, ICMPv6ND_NA(tgt=c.own), "ff02::1"),
    advertise_the_gateway_to_a_pod=lambda c: nd(c, ICMPv6ND_NA(tgt=GATEWAY[6], R=1, O=1), c.victim),
    router_solicitation=lambda c: nd(c, ICMPv6ND_RS(), "ff02::2"),
    router_advertisement=lambda c: nd(c, ICMPv6ND_RA(), c.victim),
    redirect=lambda c: nd(c, ICMPv6ND_Redirect(tgt=c.own, dst=Lab.WORLD[6]), c.victim),
    solicit_with_hop_limit_64=lambda c: nd(
        c, ICMPv6ND_NS(tgt=GATEWAY[6]) / ICMPv6NDOptSrcLLAddr(lladdr=c.a.mac), hlim=64
    ),
)
row("advertise as another", "spoofed_source", (6,))(lambda c: nd(c, ICMPv6ND_NA(tgt=c.victim), "ff02::1", src=c.victim))


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pod_pair(node):
    a, b = node.pod("a", network()), node.pod("b", network())
    # Not the kernels' multicast reports, two from each end of both.
    wait_for(lambda: all(node.metrics()[("multicast", d)] >= 4 for d in ("egress", "ingress")), "reports")
    yield a, b
    a.delete()
    b.delete()
    node.assert_clean()


@pytest.mark.long  # of the same packets tests/bpf/rows_from_pod.c, in the gate
@pytest.mark.parametrize("family,build,reason", ROWS)
def test_dropped(node, pod_pair, drops, family, build, reason):
    a, b = pod_pair
    built = build(case(a, b, family))
    prelude, frame = built if isinstance(built, tuple) else ([], built)
    fence = a.packet(family, b.ips[family]) / UDP(sport=7, dport=7777) / b"the last one"
    with a.wire() as out, b.wire() as seen, b.udp(family, 7777):
        before = node.metrics()
        out.send(*prelude, *[frame] * COPIES, fence)
        frames = seen.until(lambda f: f.endswith(b"the last one"))
        assert frames and len(frames) == len(prelude) + 1, [Ether(f).summary() for f in frames or []]
    # The last one may have overtaken them, on another CPU; and a kernel's own report may come at any time.
    expected = {(reason, "egress"): COPIES, ("to_endpoint", "egress"): len(prelude) + 1}
    noise = () if reason == "multicast" else ("multicast",)
    node.assert_moved(before, expected, noise)
    for _ in range(COPIES):
        event = drops.next()
        assert (event["reason"], event["direction"], event["endpoint"]) == (reason, "egress", a.ifindex)


@pytest.mark.parametrize("family,missing", [(4, 6), (6, 4)], ids=["v6 from a v4 pod", "v4 from a v6 pod"])
def test_family_the_pod_does_not_have(node, pods, family, missing):
    a, b = pods("a", network((family,))), pods("b", network())
    a.ips[missing] = {4: "10.87.0.77", 6: "fd00:87::77"}[missing]
    with a.wire() as out:
        before = node.metrics()
        out.send(*[a.packet(missing, b.ips[missing]) / UDP() / b"x"] * COPIES)
        node.assert_moved(before, {("spoofed_source", "egress"): COPIES})


# Unusual packets that must pass: the counterpart of the table above.
PASSES = {
    "padded frame": lambda c: bytes(good(c)) + b"\0" * 20,
    "first and last fragment": lambda c: c.ether() / fragment(c, 0, True, FIRST, ident=200),
    "unknown protocol": lambda c: c.ether() / c.ip(**proto(c, 253)) / Raw(b"anything"),
    "ESP": lambda c: c.ether() / c.ip(**proto(c, 50)) / Raw(b"\0" * 32),
    "SCTP": lambda c: c.ether() / c.ip(**proto(c, 132)) / Raw(b"\0" * 12),
}
PASSES6 = {
    "hop-by-hop options": lambda c: c.ether() / chain(c, HOP_BY_HOP),
    "destination options": lambda c: c.ether() / chain(c, OPTIONS, OPTIONS),
    "atomic fragment": lambda c: c.ether() / chain(c, FRAGMENT),
}


@pytest.mark.parametrize(
    "family,build",
    [pytest.param(f, b, id=f"v{f} {n}") for f in (4, 6) for n, b in PASSES.items()]
    + [pytest.param(6, b, id=f"v6 {n}") for n, b in PASSES6.items()],
)
def test_passes(node, pods, family, build):
    a, b = pods("a", network()), pods("b", network())
    frame = bytes(build(case(a, b, family)))
    hops = 14 + (8 if family == 4 else 7)
    with a.wire() as out, b.wire() as seen:
        out.send(frame)
        got = seen.until(lambda f: len(f) == len(frame))
    assert got and got[-1][hops] == frame[hops] - 1
    assert got[-1][:12] == bytes.fromhex((b.mac + HOST_MAC).replace(":", ""))
    assert got[-1][hops + 4 :] == frame[hops + 4 :]


@pytest.mark.parametrize("family", [4, 6])
def test_error_about_a_packet_to_the_pod(node, pods, family):
    """It passes if there was such a packet, and not without."""
    a, b = pods("a", network()), pods("b", network())
    c = case(a, b, family)
    error = bytes(c.ether() / c.ip() / unreachable(c, src=c.victim, dst=c.own))
    with a.wire() as at_a, b.wire() as at_b:
        before = node.metrics()
        at_a.send(error)
        node.assert_moved(before, {("icmp_error", "egress"): 1})
        at_b.send(bytes(b.packet(family, c.own) / UDP(sport=2000, dport=1000)))
        at_a.send(error)
        assert at_b.until(lambda f: len(f) == len(error) and f[:6] != error[:6])
