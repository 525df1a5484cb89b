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

from clients_outside import (
    BALANCER, NODE_PORT, PORT, SETUPS, STREAM, STREAM_NODE_PORT, STREAM_TARGET, TARGET, VIP, ask_from_one_port, balanced,
    connections_from_one_port, forget_flows, made, ports_differ, traced_flows,
)
from crossings import crossed
from manifests import block, endpoint, endpoint_slice, policy, port, service, sources
from monitor import Drops
from named import ASK, Named, ask_tcp, ask_udp
from netns import FAMILY, TIMEOUT, source_address, tcp, udp, wait_for
from overlay import ALL
from packets import IPPROTO_SCTP, SCTP_INIT, SCTP_INIT_ACK, raw_payload, sctp_packet, sctp_ports
from traffic import Transfer
from underlay import Underlay

PODS = {"default/a1": "n1", "default/b1": "n1", "default/b2": "n2", "default/c2": "n2"}
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}


@pytest.fixture(scope="module", params=crossed(SETUPS, "tunnel-over-v6", "direct"))
def overlay(request):
    with made(request.param, PODS) as overlay:
        yield overlay


@pytest.fixture
def node(overlay):
    return overlay.nodes["n1"]


@pytest.fixture
def named_servers(overlay, family):
    with Named([(name, pod, pod.ips[family]) for name, pod in overlay.pods.items()], TARGET) as named_servers:
        yield named_servers


def ports():
    made = [{"name": p.lower(), **port(PORT, p), "nodePort": NODE_PORT} for p in ("TCP", "UDP", "SCTP")]
    return [*made, {"name": "stream", **port(STREAM), "nodePort": STREAM_NODE_PORT}]


def targets():
    made = [{"name": p.lower(), **port(TARGET, p)} for p in ("TCP", "UDP", "SCTP")]
    return [*made, {"name": "stream", **port(STREAM_TARGET)}]


def objects(overlay, *names, balancer=False, **spec):
    """The service, with these pods as backends."""
    kind = "LoadBalancer" if balancer else "NodePort"
    web = service("web", VIP.values(), *ports(), type=kind, **spec)
    if balancer:
        balanced(web)
    slices = []
    for f in ALL if names else ():
        endpoints = [endpoint(overlay.pods[n].ips[f], node=overlay.pods[n].node.label) for n in names]
        slices.append(endpoint_slice(f"web-{f}", "web", endpoints, *targets()))
    return [web, *slices]


@pytest.fixture
def set_backends(overlay):
    forget_flows(overlay)
    yield lambda *names, **spec: overlay.apply("web", *objects(overlay, *names, **spec))
    if "web" in overlay.manifests:
        overlay.remove("web")


@pytest.fixture
def policies(overlay):
    """Policies that go with the test."""
    before = set(overlay.manifests)
    yield overlay.apply
    overlay.remove(*(n for n in set(overlay.manifests) - before if n != "web"))


# --- where they lead --------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_client_keeps_its_address(overlay, outside, node, address, family, set_backends, backend):
    """On the node and on the other one; a stream both ways, and datagrams."""
    set_backends(backend)
    pod = overlay.pods[backend]
    seen = source_address(outside, address)
    assert tcp(outside, pod, address, NODE_PORT, TARGET, size=1 << 20) == seen
    assert udp(outside, pod, address, NODE_PORT, TARGET, pod.ips[family]) == seen
    assert udp(outside, pod, address, NODE_PORT, TARGET, pod.ips[family], payload=bytes(1300)) == seen


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


@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_one_port_through_two_frontends(overlay, outside, node, family, address, set_backends, backend):
    """Both lead to the only backend, which sees the client's address, and for the second one another port."""
    set_backends(backend, balancer=True)
    pod, frontends = overlay.pods[backend], [(address, NODE_PORT), (BALANCER[family], PORT)]
    own, target = source_address(outside, address), (pod.ips[family], TARGET)
    _, seen = ask_from_one_port(outside, pod, frontends, target)
    assert ports_differ(seen) and {ip for ip, _ in seen} == {own}, seen
    with connections_from_one_port(outside, pod, frontends, target) as (number, seen):
        assert ports_differ(seen) and {ip for ip, _ in seen} == {own}, seen
        flow = next(f for f in node.warren_json("ct", "list") if f["from"]["port"] == seen[1][1] and f["protocol"] == "tcp")
        assert flow["service"]["client_port"] == number and flow["service"]["address"] == BALANCER[family], flow
        assert f"from port {number}" in node.warren("ct", "list").stdout


def test_one_port_through_two_nodes(overlay, outside, family, set_backends):
    """The backend's node sees the connection that came by the other one."""
    set_backends("default/b1")
    pod = overlay.pods["default/b1"]
    frontends, target = [(overlay.nodes[n].address[family], NODE_PORT) for n in ("n2", "n1")], (pod.ips[family], TARGET)
    with connections_from_one_port(outside, pod, frontends, target) as (number, seen):
        assert ports_differ(seen), seen


@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_one_port_of_a_pod(overlay, a1, family, address, set_backends, backend):
    """To the backend itself, and through three frontends to it."""
    set_backends(backend, balancer=True)
    pod = overlay.pods[backend]
    target = (pod.ips[family], TARGET)
    frontends = [target, (VIP[family], PORT), (address, NODE_PORT), (BALANCER[family], PORT)]
    _, seen = ask_from_one_port(a1, pod, frontends, target)
    assert ports_differ(seen) and {ip for ip, _ in seen} == {a1.ips[family]}, seen
    with connections_from_one_port(a1, pod, frontends, target) as (number, seen):
        assert ports_differ(seen) and {ip for ip, _ in seen} == {a1.ips[family]}, seen


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


MORE = {4: "198.51.100.7", 6: "2001:db8:7::7"}


@pytest.fixture
def at_more_addresses(outside, node):
    """The first node's agent programs node ports at all of its addresses; the underlay routes these to it."""
    args = [*node.agent.args]
    restart(node, [*args, "--nodeport-addresses", "0.0.0.0/0,::/0"])
    for f in ALL:
        outside.run("ip", f"-{f}", "route", "add", MORE[f], "via", node.address[f])
    yield
    for f in ALL:
        outside.run("ip", f"-{f}", "route", "del", MORE[f])
    restart(node, args)


def restart(node, args):
    node.agent.kill()
    node.agent.args = args
    node.agent.start()
    node.agent.wait_applied()


@pytest.mark.parametrize("device", ["eth0", "more0"])
def test_node_port_at_other_addresses(node, outside, a1, address, family, set_backends, named_servers, at_more_addresses, device):
    """At one that no Node object has, on the uplink or on another device: as soon as the node has it, until it has gone."""
    set_backends("default/b1", "default/c2")
    more = MORE[family]
    change = [f"{more}/{32 if family == 4 else 128}", "dev", device, *(["nodad"] if family == 6 else [])]
    node.run("ip", "link", "add", "more0", "up", "type", "bridge")
    try:
        node.run("ip", "address", "add", *change)
        rows = wait_for(lambda: [r for r in node.warren_json("service", "list") if more in r["address"]], "its frontends")
        assert {r["scope"] for r in rows} == {"cluster", "external"} and len(rows) == 8
        for client in (outside, node, a1):
            assert {ask_tcp(client, more, NODE_PORT) for _ in range(30)} == {"default/b1", "default/c2"}
            assert {ask_udp(client, more, NODE_PORT) for _ in range(30)} == {"default/b1", "default/c2"}
        assert ask_tcp(outside, address, NODE_PORT)
        node.run("ip", "address", "del", *change[:3])
        wait_for(lambda: not [r for r in node.warren_json("service", "list") if more in r["address"]], "them to go")
        assert ask_tcp(outside, address, NODE_PORT)
    finally:
        node.run("ip", "link", "del", "more0")


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
    assert tcp(outside, node, address, NODE_PORT + 10, NODE_PORT + 10) == source_address(outside, address)
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


# --- the same choice on every node -----------------------------------------------------------------------------------

PORTS = range(41000, 41030)


@contextlib.contextmanager
def by_way_of(overlay, outside, label, family):
    """The underlay routes the balancer's address to that node, as ECMP does for a flow whose node goes."""
    outside.run("ip", f"-{family}", "route", "replace", BALANCER[family], "via", overlay.nodes[label].address[family])
    try:
        yield
    finally:
        outside.run("ip", f"-{family}", "route", "replace", BALANCER[family], "via", overlay.nodes["n1"].address[family])


def asked_from(outside, address, family, sport, protocol):
    """Who replies to a client with this port. A connection is reset, so that its port is free again."""
    with outside.socket(FAMILY[family], socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.bind((source_address(outside, address), sport))
        sock.connect((address, PORT))
        if protocol == "udp":
            sock.send(b"who?")
        return sock.recv(64).decode()


def choices(overlay, outside, family, protocol, label):
    """{client's port: who replies} by way of that node, which has no flows yet."""
    for node in overlay.nodes.values():
        node.warren("ct", "flush")
    with by_way_of(overlay, outside, label, family):
        return {sport: asked_from(outside, BALANCER[family], family, sport, protocol) for sport in PORTS}


@pytest.mark.parametrize("protocol", ASK)
def test_every_node_selects_the_same_backend(overlay, outside, family, set_backends, named_servers, protocol):
    names = ("default/b1", "default/b2", "default/c2")
    set_backends(*names, balancer=True)
    first = choices(overlay, outside, family, protocol, "n1")
    assert set(first.values()) == set(names), first  # all three, but for one in 10^5
    assert choices(overlay, outside, family, protocol, "n2") == first
    for node in overlay.nodes.values():
        at = [s for s in node.warren_json("service", "get", BALANCER[family]) if s["scope"] == "external"]
        assert [s["maglev_table"] for s in at] == [1021] * len(at) and at, at
    # A backend that leaves takes its own flows along, and few others.
    set_backends("default/b1", "default/b2", balancer=True)
    second = choices(overlay, outside, family, protocol, "n1")
    moved = [p for p in PORTS if first[p] != second[p] and first[p] != "default/c2"]
    assert len(moved) <= 3 and "default/c2" not in second.values(), (first, second)
    assert choices(overlay, outside, family, protocol, "n2") == second


def test_affine_client_has_one_backend_on_every_node(overlay, outside, family, set_backends, named_servers):
    set_backends("default/b1", "default/b2", "default/c2", balancer=True, sessionAffinity="ClientIP")
    first = set(choices(overlay, outside, family, "udp", "n1").values())
    assert len(first) == 1
    assert set(choices(overlay, outside, family, "udp", "n2").values()) == first


@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_connection_moves_to_another_node(overlay, outside, family, set_backends, policies, backend):
    """A router sends a connection's next packets to the other node, and back: with the backend on the old one or the new
    one, which a policy isolates.
    """
    set_backends(backend, "default/c2" if backend == "default/b1" else "default/a1", balancer=True)
    own = source_address(outside, BALANCER[family])
    policies("only", policy("default/only", {"app": "b"}, ingress=[sources(block(f"{own}/{32 if family == 4 else 128}"))]))
    pod = overlay.pods[backend]
    with pod.tcp_listen(family, STREAM_TARGET, pod.ips[family]) as server, contextlib.ExitStack() as stack:
        a = b = None
        server.settimeout(0.3)
        while not b:  # a refused one has the other backend
            with contextlib.suppress(OSError):
                a = outside.tcp_connect(BALANCER[family], STREAM)
                b = server.accept()[0]
        stack.enter_context(a), stack.enter_context(b)
        for sock in (a, b):
            sock.settimeout(TIMEOUT)
        for label in ("n2", "n1", "n2"):
            with by_way_of(overlay, outside, label, family):
                for n in range(3):
                    a.sendall(f"{label} {n}".encode())
                    assert b.recv(64).decode() == f"{label} {n}"
                    b.sendall(bytes(3000))
                    assert len(a.recv(3000, socket.MSG_WAITALL)) == 3000
# --- source ranges ----------------------------------------------------------------------------------------------------


def test_source_ranges(overlay, outside, node, a1, address, family, set_backends, named_servers, drops):
    """Of a load balancer's addresses: for clients outside and for pods. Node ports, and the Service's ClusterIP, have none."""
    own = source_address(outside, BALANCER[family])
    wide = {4: f"{own.rsplit('.', 1)[0]}.0/24", 6: f"{own.rsplit(':', 1)[0]}:/64"}[family]
    elsewhere = {4: "203.0.113.0/24", 6: "2001:db8:77::/64"}[family]

    def ranges(*cidrs):
        set_backends("default/b1", "default/b2", balancer=True, loadBalancerSourceRanges=[*cidrs])

    def is_dropped(client):
        with pytest.raises(TimeoutError):
            ask_tcp(client, BALANCER[family], PORT, timeout=0.5)
        return drops.wait(lambda e: e["reason"] == "source_range" and e["headers"]["destination"] == BALANCER[family])

    ranges(elsewhere, wide)
    assert ask_tcp(outside, BALANCER[family], PORT) in BACKENDS
    assert ask_udp(outside, BALANCER[family], PORT) in BACKENDS
    assert is_dropped(a1)
    with outside.tcp_connect(BALANCER[family], PORT) as kept:
        ranges(elsewhere)
        assert kept.recv(64).decode() in BACKENDS  # what has begun goes on
    assert is_dropped(outside)
    assert ask_tcp(outside, address, NODE_PORT) in BACKENDS
    assert ask_tcp(a1, VIP[family], PORT) in BACKENDS
    # Only ranges of the other family: no client of this one.
    ranges({4: "2001:db8::/16", 6: "0.0.0.0/0"}[family])
    assert is_dropped(outside)
    ranges(f"{own}/{32 if family == 4 else 128}", f"{a1.ips[family]}/{32 if family == 4 else 128}")
    assert ask_tcp(outside, BALANCER[family], PORT) in BACKENDS
    assert ask_tcp(a1, BALANCER[family], PORT) in BACKENDS
    shown = next(s for s in node.warren_json("service", "get", f"{bracketed(BALANCER[family])}:{PORT}") if s["scope"] == "external")
    assert {r["range"] for r in shown["source_ranges"]} == {f"{ip}/{32 if family == 4 else 128}" for ip in (own, a1.ips[family])}
    set_backends("default/b1", "default/b2", balancer=True)
    assert ask_tcp(outside, BALANCER[family], PORT) in BACKENDS


BACKENDS = ("default/b1", "default/b2")


def bracketed(address):
    return f"[{address}]" if ":" in address else address


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


@pytest.fixture
def state(node):
    """The node's own /var/lib: what outlives the boot."""
    node.run("mount", "-t", "tmpfs", "-o", "mode=755", "state", "/var/lib")
    yield
    node.warren("service", "takeover")
    node.run("umount", "/var/lib")


def refused(client, address):
    with client.socket(FAMILY[6 if ":" in address else 4], socket.SOCK_STREAM) as sock:
        error = sock.connect_ex((address, NODE_PORT))
        assert error == errno.ECONNREFUSED, (errno.errorcode.get(error), sock.getsockname())


@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_release_and_takeover(overlay, outside, node, a1, address, family, set_backends, named_servers, drops, state, backend):
    """New connections are the stack's, where kube-proxy would have them; those that Warren has translated go on, also under
    the next agent.
    """
    pod = overlay.pods[backend]
    set_backends(backend)
    failed = node.warren("service", "release", check=False)
    assert failed.returncode and "kube-proxy has no rules on this node" in failed.stderr
    with (
        Transfer(outside, pod, address, STREAM_NODE_PORT, STREAM_TARGET) as transfer,
        Transfer(a1, pod, VIP[family], STREAM, STREAM_TARGET) as of_pod,
    ):
        for act in (lambda: node.warren("service", "release", "--force"), node.agent.restart):
            act()
            refused(outside, address)  # by the stack: nothing is dropped
            transfer.wait_more(100000)
            of_pod.wait_more(100000)
            assert {s["state"] for s in node.warren_json("service", "list")} == {"released"}
        assert node.warren_json("service", "takeover")["services"] == "warren"
        assert ask_tcp(outside, address, NODE_PORT) == backend
        transfer.wait_more(100000)
        of_pod.wait_more(100000)
    assert "no_backend" not in {event["reason"] for event in drops.drain()}


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
    own, pod = (socket.inet_pton(FAMILY[family], ip) for ip in (source_address(outside, address), overlay.pods["default/b2"].ips[family]))
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
            b.settimeout(2)
            a.settimeout(TIMEOUT)
            assert wait_for(lambda: datagram(a, b, payload), "a datagram in fragments") == source_address(outside, address)
            b.sendto(payload[::-1], a.getsockname()[:2])
            assert a.recv(65536) == payload[::-1]


@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_sctp(overlay, outside, address, family, set_backends, backend):
    set_backends(backend)

    def raw(netns, ip):
        sock = netns.socket(FAMILY[family], socket.SOCK_RAW, IPPROTO_SCTP)
        sock.bind((ip, 0))
        sock.settimeout(TIMEOUT)
        return sock

    def received(sock):
        data, source = sock.recvfrom(2048)
        data = raw_payload(family, data)
        return source[0], sctp_ports(data), data[12]

    own = source_address(outside, address)
    pod = overlay.pods[backend]
    with raw(outside, own) as a, raw(pod, pod.ips[family]) as b:
        a.sendto(sctp_packet(20001, NODE_PORT, SCTP_INIT), (address, 0))
        assert received(b) == (own, (20001, TARGET), SCTP_INIT)
        b.sendto(sctp_packet(TARGET, 20001, SCTP_INIT_ACK), (own, 0))
        assert received(a) == (address, (NODE_PORT, 20001), SCTP_INIT_ACK)


# --- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["default/b1", "default/b2"])
def test_policy_sees_the_client(overlay, outside, address, family, set_backends, policies, named_servers, backend):
    """By its own address, on the backend's node; a denied client gets nothing, and a live connection is cut."""
    set_backends(backend)
    own = source_address(outside, address)
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
    own = source_address(outside, address)
    frontend = f"[{address}]" if family == 6 else address

    def traced(number=NODE_PORT):
        run = node.warren_json("trace", own, f"{frontend}:{number}/tcp")
        return run["program"], run["reason"], {step["step"]: step["result"] for step in run["steps"]}

    assert not traced_flows(node, own)
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
    assert not traced_flows(node, own)
