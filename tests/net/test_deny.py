# SPDX-License-Identifier: BSD-2-Clause
"""The denylist and xdp_uplink on a live device: which sources are dropped and where, what survives, what GRO merges."""

import contextlib
import socket
import struct
import time

import pytest

from lab import Lab, moved, network
from netns import TIMEOUT, Wire, tcp, wait_for
from rawbpf import PINS, other_program
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

FAMILIES = (4, 6)
TRIES = 20
BEYOND = {4: "198.51.100.0/24", 6: "2001:db8:2::/48"}  # holds Lab.BEYOND


@pytest.fixture(scope="module")
def shared_lab():
    with Lab() as lab:
        for family in FAMILIES:
            wait_for(lambda: ping(lab, family), "the link to be up")
        yield lab


@pytest.fixture
def lab(shared_lab):
    """Loaded, and without anything that an earlier test has left."""
    node, written = shared_lab.node, []
    if not node.outside(PINS).exists():
        node.warren("node", "init")
    node.written = written
    yield shared_lab
    if node.outside(PINS).exists():
        for name, key, size in reversed(written):
            map_clear(node, name, key, size)
        set_mode(node, "off")
        node.warren("deny", "flush")


def device(node, name="eth0"):
    return node.ip("link", "show", name)[0]


def xdp_program(node):
    """Id of the XDP program on eth0, None if there is none."""
    return device(node).get("xdp", {}).get("prog", {}).get("id")


def ping(lab, family, **kwargs):
    """From the address beyond the link. True: it was answered."""
    return lab.world.ping(lab.UPLINK[family], args=("-I", lab.BEYOND[family], "-W", TIMEOUT), check=False, **kwargs)


def silent(lab, family, **kwargs):
    """No reply within a short time, where ping() would wait long."""
    return not lab.world.ping(lab.UPLINK[family], args=("-I", lab.BEYOND[family], "-W", "0.2"), check=False, **kwargs)


def hits(node):
    return {entry["prefix"]: entry["packets"] for entry in node.warren_json("deny", "list", check=False)["prefixes"]}


def set_mode(node, mode, check=True):
    return node.warren("uplink", "xdp", "eth0", mode, check=check)


# --- enforcement ------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("mode", ["generic", "native"])
def test_denied(lab, mode):
    set_mode(lab.node, mode)
    for family in FAMILIES:
        assert ping(lab, family)
    added = lab.node.warren_json("deny", "add", *BEYOND.values())
    assert added == {"added": 2, "enforced_at": [{"device": "eth0", "by": f"xdp {mode}"}]}
    before = lab.node.metrics()
    for family in FAMILIES:
        assert silent(lab, family, count=3)
        assert tcp(lab.world, lab.node, lab.UPLINK[family])  # by its address on the link
    assert hits(lab.node) == {prefix: 3 for prefix in BEYOND.values()}
    assert lab.node.metrics()["denylist", "ingress"] - before["denylist", "ingress"] == 6
    listed = lab.node.warren_json("deny", "list")
    assert all(entry["bytes"] == 3 * size and entry["last_hit"] for entry, size in zip(listed["prefixes"], (98, 118)))
    assert lab.node.warren_json("deny", "del", BEYOND[4])["removed"] == 1
    assert ping(lab, 4) and silent(lab, 6)
    assert lab.node.warren_json("deny", "flush") == {"removed": 1}
    assert ping(lab, 6) and hits(lab.node) == {}


TEXT = b"no ping of the node's own"


def echo_request(lab, family, *tags):
    """From the address beyond the link, with VLAN tags, the outermost first: (scapy's layer, VLAN id)."""
    frame = Ether(src=device(lab.world)["address"], dst=device(lab.node)["address"])
    for kind, vlan in tags:
        frame /= kind(vlan=vlan)
    frame /= (IP if family == 4 else IPv6)(src=lab.BEYOND[family], dst=lab.UPLINK[family])
    return frame / (ICMP() if family == 4 else ICMPv6EchoRequest()) / Raw(TEXT)


PRIORITY = {  # tags of no VLAN: Linux removes them, however many there are, and accepts the packet
    "one": [(Dot1Q, 0)],
    "one of a provider": [(Dot1AD, 0)],
    "two": [(Dot1Q, 0), (Dot1Q, 0)],
    "two kinds": [(Dot1AD, 0), (Dot1Q, 0)],
    "three": [(Dot1Q, 0), (Dot1Q, 0), (Dot1Q, 0)],
}


@pytest.mark.parametrize("mode", ["generic", "native"])
@pytest.mark.parametrize("tags", PRIORITY)
def test_denied_with_priority_tags(lab, tags, mode):
    """By XDP alone."""
    requests = [echo_request(lab, family, *PRIORITY[tags]) for family in FAMILIES]
    with Wire(lab.world, "eth0") as world:

        def answers():
            """In each family; the answer to a ping is later than those to the requests."""
            world.drain()
            world.send(*requests)
            for family in FAMILIES:
                assert lab.world.ping(lab.UPLINK[family])
            return [frame[14] >> 4 for frame in world.drain() if is_echo_reply(frame)]

        assert sorted(answers()) == [4, 6]
        set_mode(lab.node, mode)
        lab.node.warren("deny", "add", *BEYOND.values())
        assert answers() == []


def is_echo_reply(frame):
    """To echo_request()."""
    kind, at = {0x0800: (0, 34), 0x86DD: (129, 54)}.get(struct.unpack_from("!H", frame, 12)[0], (None, 0))
    return kind is not None and frame[at] == kind and frame[at + 8 :] == TEXT


def test_longest_prefix_counts(lab):
    """A prefix inside another has its own counter; without it the other one counts."""
    set_mode(lab.node, "generic")
    host = f"{lab.BEYOND[4]}/32"
    lab.node.warren("deny", "add", BEYOND[4], lab.BEYOND[4])
    assert silent(lab, 4)
    assert hits(lab.node) == {BEYOND[4]: 0, host: 1}
    lab.node.warren("deny", "del", host)
    assert silent(lab, 4) and hits(lab.node) == {BEYOND[4]: 1}
    assert lab.node.warren_json("deny", "del", "198.51.0.0/16")["removed"] == 0


def test_never_silently_without_effect(lab):
    """Stored, but reported as not enforced, by the exit status too."""
    done = lab.node.warren("deny", "add", BEYOND[4], check=False)
    assert done.returncode == 1 and "nowhere" in done.stdout
    assert lab.node.warren("deny", "list", check=False).returncode == 1
    assert ping(lab, 4)
    status = lab.node.warren_json("status", check=False)
    assert [c["state"] for c in status["checks"] if c["check"] == "denylist"] == ["wrong"]
    set_mode(lab.node, "generic")
    assert silent(lab, 4)
    status = lab.node.warren_json("status")
    assert [c["state"] for c in status["checks"] if c["check"] == "denylist"] == ["ok"]


def test_many(lab):
    """More than fit on a command line; all can be listed, and all are flushed."""
    set_mode(lab.node, "generic")
    prefixes = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(2000)] + [f"2001:db9:{i:x}::/48" for i in range(1, 500)]
    assert lab.node.warren_json("deny", "add", *prefixes, BEYOND[4])["added"] == 2500
    assert lab.node.warren_json("deny", "add", *prefixes)["added"] == 0
    assert set(hits(lab.node)) == {*prefixes, BEYOND[4]}
    assert silent(lab, 4)
    assert lab.node.warren_json("deny", "flush")["removed"] == 2500
    assert all(lab.node.warren_json("map", "dump", name) == [] for name in ("deny4", "deny6", "deny_hits"))
    (state,) = lab.node.warren_json("map", "dump", "deny_state", "--all")
    assert (state["value"]["prefixes4"], state["value"]["prefixes6"]) == (0, 0)


def test_not_understood(lab):
    for words in (["10.0.0.1/8"], ["10.0.0.0/33"], ["fd00::/129"], ["eth0"], [""], ["10.0.0.0/8", "x"], []):
        done = lab.node.warren("deny", "add", *words, check=False)
        assert done.returncode == 2, words
    assert hits(lab.node) == {}


# --- what must not be denied ------------------------------------------------------------------------------------------


def bpftool_map(node, command, name, check=True, **what):
    words = [word for kind, data in what.items() for word in (kind, *(f"{byte:#04x}" for byte in data))]
    return node.run("bpftool", "map", command, "pinned", f"{PINS}/maps/{name}", *words, check=check)


def map_write(node, name, key, value):
    """Until the test ends."""
    bpftool_map(node, "update", name, key=key, value=value)
    node.written.append((name, key, len(value)))


def map_clear(node, name, key, size):
    # Of an array nothing can be deleted.
    if bpftool_map(node, "delete", name, key=key, check=False).returncode:
        bpftool_map(node, "update", name, key=key, value=bytes(size))


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@pytest.mark.parametrize(
    "prefix, why",
    [
        ("198.18.0.0/15", "gateway"),
        ("0.0.0.0/0", "gateway|tunnels"),
        ("2001:db8:1::2", "gateway"),
        ("::/0", "gateway|fe80|tunnels"),
        ("fe80::/64", "fe80"),
        ("203.0.113.0/24", "tunnels"),
        ("2001:db8:77::7", "tunnels"),
    ],
)
def test_vital(lab, prefix, why):
    set_mode(lab.node, "generic")
    map_write(lab.node, "node_addr4", packed("203.0.113.7"), struct.pack("<I", 3))
    map_write(lab.node, "node_addr6", packed("2001:db8:77::7"), struct.pack("<I", 3))
    done = lab.node.warren("deny", "add", "192.0.2.0/24", prefix, check=False)
    assert done.returncode == 1 and any(word in done.stderr for word in why.split("|")) and "--force" in done.stderr
    assert hits(lab.node) == {}
    assert lab.node.warren_json("deny", "add", prefix, "--force")["added"] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_one_of_several_gateways(lab, family):
    """All devices that the default route's nexthops name."""
    other = {4: "198.18.0.9", 6: "2001:db8:1::9"}[family]
    route = [f"-{family}", "route", "add", "default", "metric", "50"]
    lab.node.run("ip", *route, *(word for via in (lab.WORLD[family], other) for word in ("nexthop", "via", via)))
    try:
        done = lab.node.warren("deny", "add", other, check=False)
        assert done.returncode == 1 and "default gateway" in done.stderr, done
        assert hits(lab.node) == {}
    finally:
        lab.node.run("ip", f"-{family}", "route", "delete", "default", "metric", "50")


# --- the attachment ---------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_survives_and_goes(lab):
    """No process holds it; another build's programs take over the list and the device; `down` takes both away."""
    set_mode(lab.node, "generic")
    lab.node.warren("deny", "add", *BEYOND.values())
    assert silent(lab, 4)
    program = xdp_program(lab.node)
    assert program
    lab.node.warren("node", "init", "--reload")
    assert xdp_program(lab.node) not in (None, program)
    assert hits(lab.node)[BEYOND[4]] == 1
    assert silent(lab, 4) and silent(lab, 6)
    lab.node.warren("node", "down")
    assert xdp_program(lab.node) is None
    assert ping(lab, 4) and ping(lab, 6)


def test_modes(lab):
    def mode():
        return {guard["device"]: guard["xdp"] for guard in lab.node.warren_json("uplink", "list")}.get("eth0", "off")

    # XDP halves the TCP rate of a veth: it needs an explicit mode.
    assert lab.node.warren_json("uplink", "xdp", "eth0", "auto") == {"device": "eth0", "xdp": "off"}
    assert mode() == "off" and xdp_program(lab.node) is None
    for required in ("native", "generic", "native", "native"):
        set_mode(lab.node, required)
        assert mode() == required
        assert device(lab.node)["xdp"]["mode"] == {"native": 1, "generic": 2}[required]
    assert lab.node.warren_json("uplink", "xdp", "eth0", "auto")["xdp"] == "native"  # as the operator left it
    (guard,) = lab.node.warren_json("uplink", "list")
    assert guard["tunnels_end_in"] is None  # no device there trusts metadata, and it is a veth
    set_mode(lab.node, "off")
    assert mode() == "off" and xdp_program(lab.node) is None
    set_mode(lab.node, "off")
    assert set_mode(lab.node, "fast", check=False).returncode == 2
    assert lab.node.warren("uplink", "xdp", "eth9", "generic", check=False).returncode == 1


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_other_xdp_program(lab, mode):
    """A device runs one program. Another one's is reported, and left alone."""
    with other_program(lab.node, device(lab.node)["ifindex"], "xdp"):
        theirs = xdp_program(lab.node)
        done = set_mode(lab.node, mode, check=False)
        assert done.returncode == 1 and "another owner" in done.stderr and f"id {theirs}" in done.stderr
        assert xdp_program(lab.node) == theirs
        (guard,) = lab.node.warren_json("uplink", "list")
        assert guard["other_xdp"].endswith(f"(id {theirs})") and guard["denylist"] == "nowhere"
        set_mode(lab.node, "off")
    wait_for(lambda: xdp_program(lab.node) is None, "the other program to go")
    set_mode(lab.node, mode)


def test_device_goes(lab):
    """Its link goes; another device of its name gets one of its own."""

    def listed():
        return [guard["xdp"] for guard in lab.node.warren_json("uplink", "list")]

    lab.node.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "lan")
    lab.node.warren("uplink", "xdp", "eth1", "generic")
    lab.node.run("ip", "link", "delete", "eth1")
    assert listed() == []
    lab.node.warren("node", "init")
    assert [link for link in lab.node.files(f"{PINS}/links") if link.startswith("xdp_")] == []
    lab.node.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "lan")
    lab.node.warren("uplink", "xdp", "eth1", "generic")
    assert listed() == ["generic"]
    lab.node.run("ip", "link", "delete", "eth1")


# --- tunnel packets ---------------------------------------------------------------------------------------------------

VNI, SLOT, PORT, CLASS, MAGIC = 7, 3, 6081, 0xFFF1, 0x1122334455667788
SEGMENT = 1000


def make_cluster(lab):
    """The world is another node; its tunnels end here, in XDP."""
    cluster = struct.pack("<III", 1, 3, VNI) + struct.pack("!HH", PORT, CLASS) + bytes(4)
    cluster += packed(lab.UPLINK[4]) + packed(lab.UPLINK[6]) + bytes(48)
    cluster += 2 * struct.pack("<I", device(lab.node)["ifindex"])
    map_write(lab.node, "cluster", bytes(4), cluster)
    map_write(lab.node, "nodes", struct.pack("<I", SLOT), struct.pack("<I", 1) + bytes(124))
    for family in FAMILIES:
        map_write(lab.node, f"node_addr{family}", packed(lab.WORLD[family]), struct.pack("<I", SLOT))
    uplink = struct.pack("<IIQ", 1, 0, MAGIC)
    map_write(lab.node, "uplinks", struct.pack("<I", device(lab.node)["ifindex"]), uplink)


def tunnel_frame(lab, outer, inner, identity, number, vni=VNI):
    """Segment `number` of a TCP stream from a pod elsewhere."""
    ip = {4: lambda src, dst, **k: IP(src=src, dst=dst, id=1, flags="DF"), 6: lambda src, dst, **k: IPv6(src=src, dst=dst)}
    pods = {4: ("10.87.1.2", "10.87.0.2"), 6: ("fd00:87:0:1::2", "fd00:87::2")}
    geneve = struct.pack("!BBHI", 3, 0, 0x6558, vni << 8) + struct.pack("!HBBQ", CLASS, 1, 2, identity)
    packet = Ether(src="02:57:52:00:00:02", dst="02:57:52:00:00:03") / ip[inner](*pods[inner])
    packet /= TCP(sport=1, dport=2, seq=1000 + number * SEGMENT, flags="A") / Raw(bytes(SEGMENT))
    frame = Ether(src=device(lab.world)["address"], dst=device(lab.node)["address"])
    frame /= ip[outer](lab.WORLD[outer], lab.UPLINK[outer])
    payload = geneve + bytes(packet)
    frame /= UDP(sport=50000, dport=PORT, chksum=0, len=8 + len(payload)) / Raw(payload)
    data = bytearray(bytes(frame))
    at = 34 if outer == 4 else 54
    data[at + 6 : at + 8] = bytes(2)  # no checksum, over IPv6 neither
    return bytes(data)


def gro_on(node):
    """A veth hands on each send at once; merging with later packets needs a short wait, as a NIC has."""
    node.run("ethtool", "-K", "eth0", "gro", "on")
    node.run("sh", "-c", "cd /sys/class/net/eth0; echo 20000000 >gro_flush_timeout; echo 100 >napi_defer_hard_irqs")


@pytest.mark.long
@pytest.mark.parametrize("inner", FAMILIES)
@pytest.mark.parametrize("outer", FAMILIES)
def test_decapsulated_and_merged(lab, outer, inner):
    """Inner packets of one sender become one packet; with another identity each, they stay apart."""
    count = 20
    set_mode(lab.node, "native")
    make_cluster(lab)
    gro_on(lab.node)
    header = 14 + (20 if inner == 4 else 40) + 20

    def arrived(identities):
        frames = [tunnel_frame(lab, outer, inner, identity, n) for n, identity in enumerate(identities)]
        with Wire(lab.node, "eth0") as node, Wire(lab.world, "eth0") as world:
            world.send(*frames)
            sizes, deadline = [], time.monotonic() + TIMEOUT
            while sum(sizes) - header * len(sizes) < count * SEGMENT and time.monotonic() < deadline:
                for frame in node.drain():
                    assert frame[:12] == frames[0][:12]  # the outer addresses: the kernel takes it for its own
                    if frame[12:14] == (b"\x08\x00" if inner == 4 else b"\x86\xdd") and len(frame) >= header + SEGMENT:
                        sizes.append(len(frame))
        return sizes

    for _ in range(TRIES):  # packets with pauses between them are not merged: a busy machine makes some
        alike = arrived([5] * count)
        assert sum(alike) - header * len(alike) == count * SEGMENT
        if len(alike) <= count / 4:
            break
    else:
        pytest.fail(f"hardly anything is merged: {alike}")
    assert arrived([5, 6] * (count // 2)) == [header + SEGMENT] * count


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("outer", FAMILIES)
def test_bad_tunnel_packets_end(lab, outer, mode):
    set_mode(lab.node, mode)
    make_cluster(lab)
    before = lab.node.metrics()
    with Wire(lab.world, "eth0") as world:
        world.send(*[tunnel_frame(lab, outer, 4, 5, n, vni=VNI + 1) for n in range(10)])
    key = ("tunnel_vni", "ingress")
    wait_for(lambda: lab.node.metrics()[key] - before[key] == 10, "ten drops")


def test_denied_node_is_cut_off(lab):
    """The list is enforced before decapsulation: --force overrides the check."""
    set_mode(lab.node, "native")
    make_cluster(lab)
    lab.node.warren("deny", "add", lab.WORLD[4], "--force")
    with Wire(lab.world, "eth0") as world:
        world.send(tunnel_frame(lab, 4, 4, 5, 0))
    wait_for(lambda: hits(lab.node)[f"{lab.WORLD[4]}/32"] == 1, "the packet to be counted")


def test_auto_elsewhere(lab):
    """No virtual device is taken for a NIC."""
    lab.node.run("ip", "link", "add", "br0", "type", "bridge")
    for name in ("br0", "warren0"):
        assert lab.node.warren_json("uplink", "xdp", name, "auto")["xdp"] == "off"
    lab.node.run("ip", "link", "delete", "br0")


# --- from_uplink ------------------------------------------------------------------------------------------------------


def attach_from_uplink(lab):
    node = lab.node
    node.run("tc", "qdisc", "replace", "dev", "eth0", "clsact")
    for handle, name in ((1, "from_uplink"), (2, "xdp_origin")):
        add = ["tc", "filter", "add", "dev", "eth0", "ingress", "prio", "1", "handle", handle, "bpf", "direct-action"]
        node.run(*add, "object-pinned", f"{PINS}/progs/{name}")


@pytest.fixture
def from_uplink(lab):
    """As the agent would attach it, and with a program ahead of it, as on a NIC."""
    attach_from_uplink(lab)
    yield
    lab.node.run("tc", "qdisc", "delete", "dev", "eth0", "clsact", check=False)


def test_denied_by_tc(lab, from_uplink):
    """Without XDP."""
    added = lab.node.warren_json("deny", "add", *BEYOND.values())
    assert added["enforced_at"] == [{"device": "eth0", "by": "tc"}]
    for family in FAMILIES:
        assert silent(lab, family, count=3)
    assert hits(lab.node) == {prefix: 3 for prefix in BEYOND.values()}
    lab.node.warren("deny", "flush")
    for family in FAMILIES:
        assert ping(lab, family)


def datagram(lab, outer, inner, source, target, text):
    geneve = struct.pack("!BBHI", 3, 0, 0x6558, VNI << 8) + struct.pack("!HBBQ", CLASS, 1, 2, 0x0200000000000005)
    kinds = {4: IP, 6: IPv6}
    packet = Ether(src="02:57:52:00:00:02", dst="02:57:52:00:00:03")
    packet /= kinds[inner](src=source, dst=target) / UDP(sport=5353, dport=7777) / Raw(text)
    payload = geneve + bytes(packet)
    frame = Ether(src=device(lab.world)["address"], dst=device(lab.node)["address"])
    frame /= kinds[outer](src=lab.WORLD[outer], dst=lab.UPLINK[outer])
    data = bytearray(bytes(frame / UDP(sport=50000, dport=PORT, len=8 + len(payload)) / Raw(payload)))
    at = 34 if outer == 4 else 54
    data[at + 6 : at + 8] = bytes(2)
    return bytes(data)


@pytest.mark.parametrize("sniffer", [False, True])
@pytest.mark.parametrize("inner", FAMILIES)
@pytest.mark.parametrize("outer", FAMILIES)
def test_decapsulated_and_delivered(lab, from_uplink, outer, inner, sniffer):
    """Also while a raw socket listens, for which the kernel clones every packet. The inner source is still checked."""
    node = lab.node
    set_mode(node, "native")
    make_cluster(lab)
    cidrs = packed("10.87.1.0") + packed("255.255.255.0") + packed("fd00:87:0:1::") + packed("ffff:ffff:ffff:ffff::")
    map_write(node, "nodes", struct.pack("<I", SLOT), struct.pack("<IIII", 1, 3, 0, 1400) + cidrs + bytes(72))
    map_write(node, "nodes4", struct.pack("<I", 24) + packed("10.87.1.0"), struct.pack("<I", SLOT))
    map_write(node, "nodes6", struct.pack("<I", 64) + packed("fd00:87:0:1::"), struct.pack("<I", SLOT))
    with node.pod("a", network()) as pod, pod.udp(inner, 7777) as sock, Wire(lab.world, "eth0") as world:
        good, bad = {4: ("10.87.1.2", "10.87.9.9"), 6: ("fd00:87:0:1::2", "fd00:87:0:9::9")}[inner]
        with Wire(node, "eth0") if sniffer else contextlib.nullcontext():
            before = node.metrics()
            world.send(datagram(lab, outer, inner, good, pod.ips[inner], b"hello"))
            assert sock.recvfrom(100)[0] == b"hello"
            world.send(datagram(lab, outer, inner, bad, pod.ips[inner], b"forged"))
            wait_for(lambda: node.metrics()["tunnel_source", "ingress"] > before["tunnel_source", "ingress"], "a drop")
        # Without xdp_origin ahead the packet does not count as decapsulated.
        node.run("tc", "filter", "delete", "dev", "eth0", "ingress", "prio", "1", "handle", "2", "bpf")
        before = node.metrics()
        world.send(datagram(lab, outer, inner, good, pod.ips[inner], b"hello"))
        wait_for(lambda: moved(before, node.metrics()), "a drop")
        assert moved(before, node.metrics()) == {("not_tunnelled", "ingress"): 1}
