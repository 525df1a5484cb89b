# SPDX-License-Identifier: BSD-2-Clause
"""Which endpoints reach which over two nodes, on every path between them: pods, hosts by both their addresses,
the world; TCP, UDP, SCTP, ICMP; IPv4 and IPv6 inside, and outside; every size; fragments; GSO packets. And the packets
on the wire meanwhile.
"""

import errno
import os
import select
import socket
import struct
import subprocess

import pytest

from connect import one_processor
from crossings import crossed
from geneve import IP_HEADER, OVERHEAD, REMOTE_NODE, VNI, Tunnelled, inner_ends, is_tunnel
from overlay import ALL, Overlay
from manifests import block, pods, policy, port, sources, targets
from netns import TIMEOUT, tcp, udp
from underlay import Underlay

UDP_SEGMENT = 103
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU = 10, 2, 14, 23, 24

SETUPS = {
    "tunnel-over-v4": dict(mode="tunnel", outer=4),
    "tunnel-over-v6": dict(mode="tunnel", outer=6),
    "tunnel-routed": dict(mode="tunnel", outer=4, routed=True),
    "direct-over-v4": dict(mode="direct", outer=4),
    "direct-over-v6": dict(mode="direct", outer=6),
    "auto-switched": dict(mode="auto", outer=4),
    "auto-routed": dict(mode="auto", outer=4, routed=True),
}
PODS = {"default/a1": "n1", "default/b1": "n1", "default/a2": "n2", "default/b2": "n2"}
HOSTS = "host1,host2,node1,node2"


@pytest.fixture(scope="module", params=crossed(SETUPS, "tunnel-over-v4", "tunnel-over-v6", "direct-over-v4"))
def overlay(request):
    setup = SETUPS[request.param]
    with Overlay(**setup) as overlay:
        overlay.tunnelled = setup["mode"] == "tunnel" or setup.get("routed", False)
        for name, node in PODS.items():
            overlay.pod(name, node, app=name[8])
        # Without a tunnel a node is identified by its MAC address: until that is resolved, its packets are dropped.
        overlay.wait_resolved()
        yield overlay


def pod_mtu(overlay):
    """The MTU that the pods must have."""
    return overlay.underlay.mtu - (0 if overlay.mode == "direct" else OVERHEAD[overlay.outer])


# --- the matrix -------------------------------------------------------------------------------------------------------


def allowed_identities(overlay):
    """{inner source: identity that its packets may carry}."""
    found = {}
    for pod in overlay.pods.values():
        identity = pod.node.agent.identity(pod)
        found.update({address: identity for address in pod.ips.values()})
    for node in overlay.nodes.values():
        found.update({address: REMOTE_NODE for address in (*node.gateway.values(), *node.address.values())})
    return found


def check_wire(overlay, frames):
    """Between nodes a pod's packets are all Geneve, with the sender's identity; returns their number. (In direct mode
    there must be no Geneve.)
    """
    identities, tunnelled = allowed_identities(overlay), 0
    outer = {node.address[overlay.outer]: node for node in overlay.nodes.values()}
    ours = {address for pod in overlay.pods.values() for address in pod.ips.values()}
    for frame in frames:
        ethertype = struct.unpack_from("!H", frame, 12)[0]
        if ethertype not in (0x0800, 0x86DD):
            continue
        if not is_tunnel(frame):
            family = 4 if ethertype == 0x0800 else 6
            ends = inner_ends(family, frame[14:])
            expected = not overlay.tunnelled or Underlay.BEYOND[family] in ends or not ours & set(ends)
            assert expected, f"not tunnelled: {ends}"
            continue
        tunnelled += 1
        packet = Tunnelled(frame)
        assert packet.outer == overlay.outer and packet.vni == VNI and packet.sport >= 49152
        source, destination = inner_ends(packet.inner_family, packet.inner)
        assert packet.identity == identities[source], f"{source} -> {destination}: {packet.identity:#x}"
        sender, receiver = (outer[address] for address in packet.addresses)
        assert sender is not receiver
        assert destination in ours | set(receiver.gateway.values()) | set(receiver.address.values())
        assert packet.size <= overlay.underlay.mtu or overlay.gso_packets
        assert 62 <= packet.hop_limit <= 64
    return tunnelled


def test_everybody_reaches_everybody(overlay):
    """No policy; and every flow between nodes was on the wire in the required form."""
    overlay.gso_packets = False  # probes are small
    with overlay.capture() as wire:
        overlay.check("")
        frames = wire.drain()
    assert bool(check_wire(overlay, frames)) == overlay.tunnelled


POLICY = policy(
    "b",
    {"app": "b"},
    ingress=[sources(pods(app="a"), ports=[port(8080), port(53, "UDP")])],
    egress=[targets(pods(app="a"), ports=[port(8080), port(53, "UDP")])],
    types=["Ingress", "Egress"],
)
EXPECTED = f"""
    deny *,beyond,{HOSTS} -> default/b1,default/b2
    deny default/b1,default/b2 -> *,beyond,{HOSTS}
    allow default/a1,default/a2 -> default/b1,default/b2 tcp/8080,udp/53
    allow default/b1,default/b2 -> default/a1,default/a2 tcp/8080,udp/53
    allow host1,node1 -> default/b1
    allow host2,node2 -> default/b2
"""


@pytest.fixture
def isolated(overlay):
    overlay.apply("policy", POLICY)
    yield
    overlay.remove("policy")


def test_policy_across_nodes(overlay, isolated):
    """The same verdicts on every path; each denial names the policy, at the node of the pod that it isolates."""
    outcomes = overlay.check(EXPECTED)
    for flow, outcome in outcomes.items():
        if outcome.passed or "/" not in flow.src + flow.dst:
            continue
        enforced_at = flow.src if outcome.reason == "egress_denied" else flow.dst
        direction = outcome.reason.partition("_")[0]
        event = outcome.event
        sides = overlay.prober.sides
        if sides[flow.src].netns.node is not sides[flow.dst].netns.node:
            assert event["endpoint"] == overlay.pods[enforced_at].ifindex, (flow, event)
        assert event[direction]["because"].startswith("isolated by default/b"), (flow, event)


def test_block_of_a_node_covers_its_gateway_address(overlay):
    """A host is its node with each of its addresses; another node is not."""
    node = overlay.nodes["n1"]
    blocks = [block(f"{node.address[4]}/32"), block(f"{node.address[6]}/128")]
    overlay.apply("policy", policy("b", {"app": "b"}, ingress=[sources(*blocks)], types=["Ingress"]))
    try:
        overlay.check(
            f"""
            deny *,beyond,{HOSTS} -> default/b1,default/b2
            allow host1,node1 -> default/b1,default/b2
            allow host2,node2 -> default/b2
            """,
            [flow for flow in overlay.flows(["tcp/8080", "icmp"]) if flow.dst in ("default/b1", "default/b2")],
        )
    finally:
        overlay.remove("policy")


def test_live_connection_is_cut_at_the_other_node(overlay, a1, b2, family):
    """A policy that isolates the receiver ends established flows, too."""
    with b2.tcp_listen(family) as listener:
        client = a1.tcp_connect(b2.ips[family], listener.getsockname()[1])
        server, _ = listener.accept()
    with client, server:
        server.settimeout(TIMEOUT)
        client.send(b"1")
        assert server.recv(1) == b"1"
        overlay.apply("policy", POLICY)
        with one_processor():
            client.send(b"2")
            overlay.fence(a1, family)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(1)
        overlay.remove("policy")
        server.settimeout(TIMEOUT)
        assert server.recv(1) == b"2"


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_pods_have_the_mtu_that_fits(overlay, a1, b2):
    for pod in (a1, b2):
        assert pod.ip("link", "show", "eth0")[0]["mtu"] == pod_mtu(overlay)


def datagrams(sender, receiver, address, sizes, fragments=True):
    """One datagram of each size, there and back; those that were lost. Nothing else may arrive."""
    family = 6 if ":" in address else 4
    lost, sizes = [], list(sizes)
    with receiver.udp(family, address=address) as b, sender.udp(family) as a:
        for sock in (a, b):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.settimeout(TIMEOUT)
        a.connect((address, b.getsockname()[1]))
        data = os.urandom(65536)
        for size in sizes:
            a.send(data[:size])
            try:
                got, source = b.recvfrom(65536)
                assert got == data[:size], f"{size} bytes became {len(got)}"
                b.sendto(got, source)
                assert a.recv(65536) == data[:size]
            except TimeoutError:
                lost.append(size)
                assert len(lost) < 3, f"lost: {lost}"
    return lost


def test_every_size(overlay, a1, b2, family):
    """From one byte to one more than fits, which the sender cuts in two; and far more."""
    most = pod_mtu(overlay) - IP_HEADER[family] - 8
    overlay.gso_packets = False
    with overlay.capture() as wire:
        assert datagrams(a1, b2, b2.ips[family], [*range(1, most + 2), 4000, 9000, 65000]) == []
        frames = wire.drain()
    if overlay.tunnelled:
        assert check_wire(overlay, frames) >= 2 * most
        sizes = {Tunnelled(frame).size for frame in frames if is_tunnel(frame)}
        assert max(sizes) == overlay.underlay.mtu, "the largest fits exactly"
    largest = max(len(frame) for frame in frames) - 14
    assert largest <= overlay.underlay.mtu


@pytest.mark.parametrize("way", ["host-pod", "pod-host", "host-node"])
def test_sizes_between_hosts_and_pods(overlay, a1, b2, family, way):
    n1, n2 = overlay.nodes.values()
    most = pod_mtu(overlay) - IP_HEADER[family] - 8
    sizes = [1, 100, *range(most - 1, most + 2), 9000, 65000]
    if way == "host-pod":
        assert datagrams(n1, b2, b2.ips[family], sizes) == []
    elif way == "pod-host":
        assert datagrams(a1, n2, n2.gateway[family], sizes) == []
    else:
        assert datagrams(n1, n2, n2.address[family], [*sizes, 1472]) == []


def test_too_big_is_reported(overlay, a1, b2, family):
    """A pod that set itself a larger MTU gets an error with the right one for its first packet that does not fit."""
    mtu = pod_mtu(overlay)
    if not overlay.tunnelled:
        return  # no MTU on the path is smaller than the link's
    a1.run("ip", "link", "set", "eth0", "mtu", 4000)
    level, discover, ask = {
        4: (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU),
        6: (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU),
    }[family]
    try:
        with b2.udp(family) as b, a1.udp(family) as a:
            a.setsockopt(level, discover, IP_PMTUDISC_DO)
            a.connect((b2.ips[family], b.getsockname()[1]))
            most = mtu - IP_HEADER[family] - 8
            a.send(bytes(most))
            assert len(b.recv(65536)) == most
            a.send(bytes(most + 1))
            # The error is reported at the socket; until then sends may go on.
            select.select([a], [], [], TIMEOUT)
            with pytest.raises(OSError) as error:
                a.send(bytes(most + 1))
                a.send(bytes(most + 1))
            assert error.value.errno == errno.EMSGSIZE
            assert a.getsockopt(level, ask) == mtu
        tcp(a1, b2, b2.ips[family], size=1 << 20)
    finally:
        a1.run("ip", "link", "set", "eth0", "mtu", mtu)
        for f in ALL:
            a1.run("ip", f"-{f}", "route", "flush", "cache")


# --- fragments and GSO packets --------------------------------------------------------------------------------------


def test_fragmented_echo(overlay, a1, b2, family):
    n1, n2 = overlay.nodes.values()
    for sender, address in ((a1, b2.ips[family]), (n1, b2.ips[family]), (a1, n2.gateway[family])):
        sender.ping(address, count=3, size=5000)


@pytest.mark.parametrize("way", ["pod-pod", "pod-host", "host-pod"])
def test_udp_gso(overlay, a1, b2, family, way):
    """As a QUIC stack sends: one send, many datagrams; all of them arrive, and nothing else."""
    n1, n2 = overlay.nodes.values()
    sender, receiver, address = {
        "pod-pod": (a1, b2, b2.ips[family]),
        "pod-host": (a1, n2, n2.gateway[family]),
        "host-pod": (n1, b2, b2.ips[family]),
    }[way]
    with receiver.udp(family, address=address) as b, sender.udp(family) as a:
        b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        a.connect((address, b.getsockname()[1]))
        for size in (100, 1200, pod_mtu(overlay) - IP_HEADER[family] - 8):
            a.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            whole = os.urandom(size * 20 + 7)
            a.send(whole)
            got = [b.recv(65536) for _ in range(21)]
            assert b"".join(sorted(got, key=whole.index)) == whole
            assert {len(part) for part in got} == {size, 7}


def test_bulk_tcp(overlay, a1, b2, family):
    n1, n2 = overlay.nodes.values()
    for client, server, address in (
        (a1, b2, b2.ips[family]),
        (b2, a1, a1.ips[family]),
        (n1, b2, b2.ips[family]),
        (a1, n2, n2.gateway[family]),
    ):
        tcp(client, server, address, size=8 << 20)


# --- on the wire ------------------------------------------------------------------------------------------------------


def test_tshark_reports_nothing(overlay, a1, b2, tmp_path):
    """Nothing malformed, no checksum wrong, no warning: by a dissector that is independent of this project."""
    if not overlay.tunnelled:
        return
    for pod in (a1, b2):
        pod.run("ethtool", "-K", "eth0", "tx", "off")  # so that there are checksums to look at
    with overlay.capture() as wire:
        for family in ALL:
            tcp(a1, b2, b2.ips[family], size=3000)
            udp(a1, b2, b2.ips[family])
            a1.ping(b2.ips[family], size=3000)
        frames = [frame for frame in wire.drain() if is_tunnel(frame)]
    assert len(frames) > 20
    pcap = tmp_path / "wire.pcap"
    with open(pcap, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for frame in frames:
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    # Over IPv6 no checksum is as it should be: RFC 6935.
    options = ["ip.check_checksum:TRUE", "udp.check_checksum:TRUE", "tcp.check_checksum:TRUE"]
    options += ["udp.ignore_ipv6_zero_checksum:TRUE", "ip.defragment:TRUE"]
    argv = ["tshark", "-r", str(pcap), *[word for option in options for word in ("-o", option)]]

    def matching(expression):
        return subprocess.run([*argv, "-Y", expression], check=True, capture_output=True, text=True).stdout.splitlines()

    assert len(matching("geneve")) == len(frames)
    assert matching("_ws.malformed || _ws.expert.severity >= 0x600000") == []
    assert matching("!(geneve.vni == 1 && geneve.options)") == []
