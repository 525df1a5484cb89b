# SPDX-License-Identifier: BSD-2-Clause
"""Services from outside the cluster, at a node's uplink: NodePorts and load balancers' addresses. Backends on the node
and on the other one see the client's own address, and replies come from the address that the client asked.
"""

import collections
import contextlib
import errno
import socket
import struct

import pytest

from manifests import block, endpoint, endpoint_slice, policy, port, service, sources
from monitor import Drops
from named import ASK, Named, ask_tcp, ask_udp
from netns import FAMILY, TIMEOUT, tcp, udp, wait_for
from overlay import ALL, Overlay
from packets import IPPROTO_SCTP, SCTP_INIT, SCTP_INIT_ACK, raw_payload, sctp_packet
from traffic import Transfer
from underlay import Underlay

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
BALANCER = {4: "203.0.113.80", 6: "2001:db8:80::80"}  # no host has it; the underlay routes it to the first node
PORT, NODE_PORT, TARGET = 80, 30080, 8080
STREAM, STREAM_NODE_PORT, STREAM_TARGET = 81, 30081, 8081
PODS = {"default/a1": "n1", "default/b1": "n1", "default/b2": "n2", "default/c2": "n2"}
SETUPS = {
    "tunnel-over-v4": dict(mode="tunnel", outer=4),
    "tunnel-over-v6": dict(mode="tunnel", outer=6),
    "direct": dict(mode="direct", outer=4),
}
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}


@pytest.fixture(scope="module", params=SETUPS)
def overlay(request):
    with Overlay(**SETUPS[request.param]) as overlay:
        for name, node in PODS.items():
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        for f in ALL:
            overlay.underlay.run("ip", f"-{f}", "route", "add", BALANCER[f], "via", overlay.nodes["n1"].address[f])
        yield overlay


@pytest.fixture
def outside(overlay):
    """A client that is no node."""
    return overlay.underlay


@pytest.fixture
def node(overlay):
    return overlay.nodes["n1"]


@pytest.fixture
def address(node, family):
    """The first node's, where the NodePort is."""
    return node.address[family]


@pytest.fixture
def named_servers(overlay, family):
    with Named([(name, pod, pod.ips[family]) for name, pod in overlay.pods.items()], TARGET) as named_servers:
        yield named_servers


def ports():
    made = [{"name": p.lower(), **port(PORT, p), "nodePort": NODE_PORT} for p in ("TCP", "UDP", "SCTP")]
    return [*made, {"name": "stream", **port(STREAM), "nodePort": STREAM_NODE_PORT}]


def targets(number=TARGET):
    made = [{"name": p.lower(), **port(number, p)} for p in ("TCP", "UDP", "SCTP")]
    return [*made, {"name": "stream", **port(STREAM_TARGET)}]


def web(overlay, *names, target=TARGET, balancer=False, **spec):
    """The service, with these pods as backends."""
    kind = "LoadBalancer" if balancer else "NodePort"
    made = service("web", VIP.values(), *ports(), type=kind, **spec)
    if balancer:
        made["status"] = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in BALANCER.values()]}}
    slices = []
    for f in ALL if names else ():
        endpoints = [endpoint(overlay.pods[n].ips[f], node=overlay.pods[n].node.label) for n in names]
        slices.append(endpoint_slice(f"web-{f}", "web", endpoints, *targets(target)))
    return [made, *slices]


@pytest.fixture
def set_backends(overlay):
    yield lambda *names, **spec: overlay.apply("web", *web(overlay, *names, **spec))
    if "web" in overlay.manifests:
        overlay.remove("web")


@pytest.fixture
def policies(overlay):
    """Policies that go with the test."""
    before = set(overlay.manifests)
    yield overlay.apply
    overlay.remove(*(n for n in set(overlay.manifests) - before if n != "web"))


@pytest.fixture
def drops(node):
    with Drops(node) as drops:
        yield drops


# --- where they lead --------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_client_keeps_its_address(overlay, outside, node, address, family, set_backends, backend):
    """On the node and on the other one; a stream both ways, and datagrams."""
    set_backends(backend)
    pod = overlay.pods[backend]
    seen = node_seen(outside, address, family)
    assert tcp(outside, pod, address, NODE_PORT, TARGET, size=1 << 20) == seen
    assert udp(outside, pod, address, NODE_PORT, TARGET, pod.ips[family]) == seen
    assert udp(outside, pod, address, NODE_PORT, TARGET, pod.ips[family], payload=bytes(1300)) == seen


def node_seen(client, address, family):
    """The address that the client uses for packets to there."""
    with client.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
        return sock.getsockname()[0]


def test_client_behind_a_router(overlay, outside, address, family, set_backends, named_servers):
    set_backends("default/b2")
    assert asks_from(outside, Underlay.BEYOND[family], address, family) == "default/b2"
    wait_for(lambda: named_servers.asked["default/b2"] == {Underlay.BEYOND[family]}, "the server to note its client")


@pytest.mark.parametrize("protocol", ASK)
def test_spreads_over_nodes(outside, address, family, set_backends, named_servers, protocol):
    """150 flows over 3 backends: 50 each, less six deviations (5.8)."""
    names = ("default/b1", "default/b2", "default/c2")
    set_backends(*names)
    counts = collections.Counter(ASK[protocol](outside, address, NODE_PORT) for _ in range(150))
    assert counts.keys() == set(names) and min(counts.values()) >= 15, counts


def test_balancer_address(outside, family, set_backends, named_servers):
    """It is no address of the node."""
    set_backends("default/b1", "default/b2", balancer=True)
    assert {ask_tcp(outside, BALANCER[family], PORT) for _ in range(20)} == {"default/b1", "default/b2"}
    assert {ask_udp(outside, BALANCER[family], PORT) for _ in range(20)} == {"default/b1", "default/b2"}


def test_every_node_has_the_node_port(overlay, outside, family, set_backends, named_servers):
    set_backends("default/b1")
    for node in overlay.nodes.values():
        assert ask_tcp(outside, node.address[family], NODE_PORT) == "default/b1"
        assert ask_udp(outside, node.address[family], NODE_PORT) == "default/b1"


def test_pods_and_hosts_use_it_too(overlay, node, a1, address, family, set_backends, named_servers):
    set_backends("default/b2")
    assert ask_tcp(a1, address, NODE_PORT) == "default/b2"
    assert ask_udp(a1, address, NODE_PORT) == "default/b2"
    assert ask_tcp(node, address, NODE_PORT) == "default/b2"


def test_node_port_of_another_node(overlay, node, a1, family, set_backends, named_servers):
    """From a pod and from a node's host: to the same backends, without the way through that node, which would see a node as
    its client. Unless that node is to use its own backends only.
    """
    other, both = overlay.nodes["n2"].address[family], {"default/b1", "default/c2"}
    set_backends(*both)
    for client in (a1, node):
        assert {ask_tcp(client, other, NODE_PORT) for _ in range(30)} == both
        assert {ask_udp(client, other, NODE_PORT) for _ in range(30)} == both
    assert all(a1.ips[family] in named_servers.asked[name] for name in both), named_servers.asked
    with node.tcp_connect(other, NODE_PORT) as sock:
        assert sock.getpeername()[:2] == (other, NODE_PORT)
    with node.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.connect((other, NODE_PORT))
        first = ask_udp(node, other, sock=sock)
        set_backends(*both, "default/b2")  # it keeps its backend, which is still one
        assert ask_udp(node, other, sock=sock) == first
    set_backends(*both, externalTrafficPolicy="Local")
    for client in (a1, node):
        assert {ask_tcp(client, other, NODE_PORT) for _ in range(10)} == {"default/c2"}


def test_local_policy(overlay, outside, address, family, set_backends, named_servers, drops):
    """This node's backends only; without any, packets are dropped, so that a balancer tries another node."""
    set_backends("default/b1", "default/c2", externalTrafficPolicy="Local")
    assert {ask_tcp(outside, address, NODE_PORT) for _ in range(20)} == {"default/b1"}
    set_backends("default/c2", externalTrafficPolicy="Local")
    assert ask_tcp(outside, overlay.nodes["n2"].address[family], NODE_PORT) == "default/c2"
    with pytest.raises(TimeoutError):
        ask_tcp(outside, address, NODE_PORT, timeout=1)
    assert drops.wait(lambda e: e["reason"] == "no_local_backend")


def test_without_backends_it_is_refused(outside, address, family, set_backends, drops):
    set_backends()
    with pytest.raises(ConnectionRefusedError):
        ask_tcp(outside, address, NODE_PORT)
    with outside.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.setsockopt(*RECVERR[family], 1)
        sock.connect((address, NODE_PORT))
        sock.send(b"anyone?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(64)
    assert drops.wait(lambda e: e["reason"] == "no_backend")


def test_node_itself_is_reached_as_before(outside, node, address, family, set_backends):
    """Other ports, and pings."""
    set_backends("default/b2")
    assert tcp(outside, node, address, NODE_PORT + 10, NODE_PORT + 10) == node_seen(outside, address, family)
    outside.ping(address)


def test_session_affinity(outside, address, family, set_backends, named_servers):
    """By the client's address: all its flows go to one backend, and those of another client may go elsewhere."""
    names = ("default/b1", "default/b2", "default/c2")
    set_backends(*names, sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}})
    first = ask_tcp(outside, address, NODE_PORT)
    assert {ask_tcp(outside, address, NODE_PORT) for _ in range(20)} == {first}
    given = set()
    with contextlib.ExitStack() as stack:
        for n in range(1, 31):
            ip = {4: f"198.18.0.{100 + n}", 6: f"2001:db8:10::{0x100 + n:x}"}[family]
            net = {4: f"{ip}/24", 6: f"{ip}/64"}[family]
            outside.run("ip", f"-{family}", "address", "add", net, "dev", "lan", *(["nodad"] if family == 6 else []))
            stack.callback(outside.run, "ip", f"-{family}", "address", "del", net, "dev", "lan")
            given.add(asks_from(outside, ip, address, family))
    assert given == set(names)
    set_backends(*(n for n in names if n != first), sessionAffinity="ClientIP")
    assert ask_tcp(outside, address, NODE_PORT) != first


def asks_from(client, ip, address, family):
    """ask_tcp() from that address."""
    with client.socket(FAMILY[family], socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.bind((ip, 0))
        sock.connect((address, NODE_PORT))
        return sock.recv(64).decode()


# --- what continues ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_connection_outlives_its_backend_in_the_service(overlay, outside, address, family, set_backends, named_servers, backend):
    """A backend that has left the service gets no new connection, and keeps its old ones. So does the agent's death."""
    pod = overlay.pods[backend]
    set_backends(backend)
    with Transfer(outside, pod, address, STREAM_NODE_PORT, STREAM_TARGET) as transfer:
        transfer.wait_more(100000)
        set_backends("default/c2")
        assert {ask_tcp(outside, address, NODE_PORT) for _ in range(10)} == {"default/c2"}
        transfer.wait_more(100000)


def test_datagrams_leave_a_backend_that_has_gone(outside, address, family, set_backends, named_servers):
    set_backends("default/b2")
    with outside.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.connect((address, NODE_PORT))
        assert ask_udp(outside, address, sock=sock) == "default/b2"
        set_backends("default/b1")
        assert ask_udp(outside, address, sock=sock) == "default/b1"


def test_reply_is_the_services(overlay, outside, address, family, set_backends):
    """In both directions at once, and from the first reply on: the client sees one address only."""
    set_backends("default/b2")
    with outside.wire("port1") as wire:
        tcp(outside, overlay.pods["default/b2"], address, NODE_PORT, TARGET)
        ends = [frame[14:][12:20] if family == 4 else frame[14:][8:40] for frame in wire.drain() if frame[12:14] == ETHERTYPE[family]]
    own, pod = (socket.inet_pton(FAMILY[family], ip) for ip in (node_seen(outside, address, family), overlay.pods["default/b2"].ips[family]))
    assert [e for e in ends if e.endswith(own)] and not [e for e in ends if e == pod + own]


def datagram(a, b, payload):
    """The address that b has it from; None if it has not come."""
    try:
        a.send(payload)
        data, source = b.recvfrom(65536)
    except (TimeoutError, OSError) as e:
        assert isinstance(e, TimeoutError) or e.errno == errno.EMSGSIZE, e
        return None
    assert data == payload
    return source[0]


def test_fragments(overlay, outside, address, family, set_backends):
    """To the other node the first ones are too big: the client learns the path's MTU by an ICMP error."""
    payload = bytes(range(250)) * 20
    for backend in ("default/b1", "default/b2"):
        set_backends(backend)
        pod = overlay.pods[backend]
        with pod.udp(family, TARGET, pod.ips[family]) as b, outside.udp(family) as a:
            a.connect((address, NODE_PORT))
            b.settimeout(0.2)
            a.settimeout(TIMEOUT)
            assert wait_for(lambda: datagram(a, b, payload), "a datagram in fragments") == node_seen(outside, address, family)
            b.sendto(payload[::-1], a.getsockname()[:2])
            assert a.recv(65536) == payload[::-1]


def test_sctp(overlay, outside, address, family, set_backends):
    set_backends("default/b2", target=NODE_PORT)

    def raw(netns, ip):
        sock = netns.socket(FAMILY[family], socket.SOCK_RAW, IPPROTO_SCTP)
        sock.bind((ip, 0))
        sock.settimeout(TIMEOUT)
        return sock

    def received(sock):
        data, source = sock.recvfrom(2048)
        data = raw_payload(family, data)
        return source[0], struct.unpack_from("!HH", data), data[12]

    own = node_seen(outside, address, family)
    pod = overlay.pods["default/b2"]
    with raw(outside, own) as a, raw(pod, pod.ips[family]) as b:
        a.sendto(sctp_packet(20001, NODE_PORT, SCTP_INIT), (address, 0))
        assert received(b) == (own, (20001, NODE_PORT), SCTP_INIT)
        b.sendto(sctp_packet(NODE_PORT, 20001, SCTP_INIT_ACK), (own, 0))
        assert received(a) == (address, (NODE_PORT, 20001), SCTP_INIT_ACK)


# --- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_policy_sees_the_client(overlay, outside, address, family, set_backends, policies, named_servers, backend):
    """By its own address, on the backend's node; a denied client gets nothing, and a live connection is cut."""
    set_backends(backend)
    own = node_seen(outside, address, family)
    label = {"app": backend[8]}
    other = {4: "203.0.113.0/24", 6: "2001:db8:77::/64"}[family]
    policies("only", policy("default/only", label, ingress=[sources(block(f"{own}/{32 if family == 4 else 128}"))]))
    assert ask_tcp(outside, address, NODE_PORT) == backend
    with Transfer(outside, overlay.pods[backend], address, STREAM_NODE_PORT, STREAM_TARGET) as transfer:
        transfer.wait_more(10000)
        with Drops(overlay.pods[backend].node) as drops:
            policies("only", policy("default/only", label, ingress=[sources(block(other))]))
            event = drops.wait_flow(transfer.a)
            assert event["reason"] == "ingress_denied" and event["endpoint"] == overlay.pods[backend].ifindex, event
            drops.drain()
            with pytest.raises(TimeoutError):
                ask_tcp(outside, address, NODE_PORT, timeout=1)
            drops.drain()
        policies("only", policy("default/only", label, ingress=[sources(block(f"{own}/{32 if family == 4 else 128}"))]))
        transfer.wait_more(10000)


# --- what is to be seen -----------------------------------------------------------------------------------------------


def test_trace(outside, node, address, family, set_backends, policies):
    """Of a client's packet: the backend, the verdict of its policy and the way there. It writes nothing."""
    own = node_seen(outside, address, family)
    frontend = f"[{address}]" if family == 6 else address

    def traced(number=NODE_PORT):
        run = node.warren_json("trace", own, f"{frontend}:{number}/tcp")
        return run["program"], run["reason"], {step["step"]: step["result"] for step in run["steps"]}

    before = len(node.warren_json("ct", "list"))
    for backend, reason in (("default/b1", "to_endpoint"), ("default/b2", "to_node")):
        set_backends(backend)
        program, found, steps = traced()
        assert (program, found) == ("from_uplink", reason), steps
        assert reason == "to_endpoint" or "encapsulated" in steps["forwarding"], steps
        assert "to backend" in steps["service"] and steps["peer"] == "world", steps
    policies("none", policy("default/none", {"app": "b"}, ingress=[]))
    set_backends("default/b1")
    program, found, steps = traced()
    assert found == "ingress_denied" and "denied" in steps["ingress"], steps
    program, found, steps = traced(NODE_PORT + 10)
    assert (program, found) == ("from_uplink", "none") and "passed to the host's stack" in steps["forwarding"], steps
    assert len(node.warren_json("ct", "list")) <= before
