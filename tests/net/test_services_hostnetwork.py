# SPDX-License-Identifier: BSD-2-Clause
"""Services from outside the cluster whose backends are in a host's network: of the node that the client uses, and of the
other one. Their processes see the client's own address, and replies come from the address that the client asked.
"""

import collections
import errno
import socket

import pytest

from clients_outside import (
    BALANCER, NODE_PORT, PORT, SETUPS, STREAM, STREAM_NODE_PORT, STREAM_TARGET, TARGET, VIP, ask_from_one_port, balanced,
    connections_from_one_port, forget_flows, made, ports_differ, traced_flows,
)
from crossings import crossed
from manifests import endpoint, endpoint_slice, port, service
from monitor import Drops
from named import Named, ask_tcp, ask_udp
from netns import FAMILY, TIMEOUT, source_address, tcp, udp, wait_for
from overlay import ALL
from traffic import Transfer

PODS = {"default/a1": "n1", "default/b2": "n2"}
HOSTS = {"here": "n1", "there": "n2"}
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}


@pytest.fixture(scope="module", params=crossed(SETUPS, "tunnel-over-v6"))
def overlay(request):
    with made(request.param, PODS) as overlay:
        yield overlay


@pytest.fixture
def node(overlay):
    return overlay.nodes["n1"]


@pytest.fixture
def own(outside, address):
    """The address that the client uses for packets to there."""
    return source_address(outside, address)


def ips(overlay, name):
    return overlay.pods[name].ips if name in overlay.pods else overlay.nodes[name].address


def node_of(overlay, name):
    return overlay.pods[name].node.label if name in overlay.pods else name


@pytest.fixture
def set_backends(overlay):
    """The service, with these pods and these nodes' hosts as backends."""
    forget_flows(overlay)
    ports = [{"name": p.lower(), **port(PORT, p), "nodePort": NODE_PORT} for p in ("TCP", "UDP")]
    ports.append({"name": "stream", **port(STREAM), "nodePort": STREAM_NODE_PORT})
    targets = [{"name": p.lower(), **port(TARGET, p)} for p in ("TCP", "UDP")] + [{"name": "stream", **port(STREAM_TARGET)}]

    def apply(*names, **spec):
        web = balanced(service("web", VIP.values(), *ports, type="LoadBalancer", **spec))
        slices = []
        for f in ALL:
            endpoints = [endpoint(ips(overlay, n)[f], node=node_of(overlay, n)) for n in names]
            slices.append(endpoint_slice(f"web-{f}", "web", endpoints, *targets))
        overlay.apply("web", web, *slices)

    yield apply
    if "web" in overlay.manifests:
        overlay.remove("web")


@pytest.fixture(params=HOSTS)
def host(request, overlay, set_backends):
    """The only backend."""
    set_backends(HOSTS[request.param])
    return overlay.nodes[HOSTS[request.param]]


@pytest.fixture
def named_servers(overlay, family):
    servers = [(n, host, host.address[family]) for n, host in overlay.nodes.items()]
    with Named(servers + [("default/b2", overlay.pods["default/b2"], ips(overlay, "default/b2")[family])], TARGET) as named:
        yield named


@pytest.fixture
def one_port(outside):
    """The only one that the client's connections have."""
    number, before = 50000, outside.run("sysctl", "-n", "net.ipv4.ip_local_port_range").stdout.split()
    outside.run("sysctl", "-qw", f"net.ipv4.ip_local_port_range={number} {number}")
    yield number
    outside.run("sysctl", "-qw", f"net.ipv4.ip_local_port_range={' '.join(before)}")


# --- both ways --------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_client_keeps_its_address(outside, address, family, own, host):
    """Streams both ways, with GSO packets, and datagrams."""
    assert tcp(outside, host, address, NODE_PORT, TARGET, size=1 << 20) == own
    assert udp(outside, host, address, NODE_PORT, TARGET, host.address[family]) == own
    assert udp(outside, host, address, NODE_PORT, TARGET, host.address[family], payload=bytes(1300)) == own


def test_balancer_address(outside, family, own, host):
    """It is no address of the node."""
    assert tcp(outside, host, BALANCER[family], PORT, TARGET, size=1 << 20) == own
    assert udp(outside, host, BALANCER[family], PORT, TARGET, host.address[family]) == own


def test_client_sees_one_address(outside, address, family, own, host):
    with outside.wire("port1") as wire:
        tcp(outside, host, address, NODE_PORT, TARGET, size=100000)
        frames = [frame[14:] for frame in wire.drain() if frame[12:14] == ETHERTYPE[family]]
    sent = [(f[12:20], f[20:22]) if family == 4 else (f[8:40], f[40:42]) for f in frames]
    ends = socket.inet_pton(FAMILY[family], address) + socket.inet_pton(FAMILY[family], own)
    replies = {p for pair, p in sent if pair == ends}
    assert replies == {NODE_PORT.to_bytes(2, "big")}, replies


def test_spreads_over_hosts_and_pods(outside, address, set_backends, named_servers):
    """120 flows over 3 backends: 40 each, less six deviations (5.2)."""
    names = ("n1", "n2", "default/b2")
    set_backends(*names)
    for ask in (ask_tcp, ask_udp):
        counts = collections.Counter(ask(outside, address, NODE_PORT) for _ in range(120))
        assert counts.keys() == set(names) and min(counts.values()) >= 9, counts


def test_local_policy(overlay, outside, family, own, set_backends, named_servers):
    """This node's host only, which sees the client."""
    set_backends("n1", "n2", externalTrafficPolicy="Local")
    for name, node in overlay.nodes.items():
        assert {ask_tcp(outside, node.address[family], NODE_PORT) for _ in range(10)} == {name}
        assert {ask_udp(outside, node.address[family], NODE_PORT) for _ in range(10)} == {name}
        assert named_servers.asked[name] == {own}


def test_port_of_a_closed_connection(overlay, outside, family, own, host, one_port):
    """The client uses it again at once, at each address that leads to the same backend."""
    frontends = [(n.address[family], NODE_PORT) for n in overlay.nodes.values()] + [(BALANCER[family], PORT)]
    for frontend, number in frontends * 2:
        assert tcp(outside, host, frontend, number, TARGET, size=1 << 22) == own
        wait_for(lambda: ct_states(overlay, own, one_port) == {"closing"}, "the end of the connection on both nodes")


def ct_states(overlay, own, number):
    flows = [f for n in overlay.nodes.values() for f in n.warren_json("ct", "list")]
    return {f["state"] for f in flows if f["protocol"] == "tcp" and f["from"]["address"] == own and f["from"]["port"] == number}


def test_pods_and_host_sockets(overlay, node, family, address, set_backends, named_servers):
    """Also to a host of another node, and to their own."""
    a1 = overlay.pods["default/a1"]
    for name in ("n1", "n2"):
        set_backends(name)
        for client in (a1, node):
            for frontend, number in ((address, NODE_PORT), (VIP[family], PORT)):
                assert ask_tcp(client, frontend, number) == name
                assert ask_udp(client, frontend, number) == name


def test_client_that_is_a_node(overlay, family, address, set_backends, named_servers):
    """Its packets to this node's host, past its own service: as a client without Warren would send them."""
    set_backends("n1")
    other = overlay.nodes["n2"]
    other.run("ip", "link", "set", "warren0", "up")
    with other.socket(FAMILY[family], socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.settimeout(TIMEOUT)
        raw.bind((other.address[family], 0))
        datagram = (4321).to_bytes(2, "big") + NODE_PORT.to_bytes(2, "big") + (12).to_bytes(2, "big") + bytes(2) + b"who?"
        if family == 6:
            raw.setsockopt(socket.IPPROTO_IPV6, 7, 6)  # IPV6_CHECKSUM, at the offset of UDP's
        raw.sendto(datagram, (address, 0))
        wait_for(lambda: other.address[family] in named_servers.asked["n1"], "the datagram of a node")
        data = raw.recv(2048)[20 if family == 4 else 0 :]
        assert data[:4] == NODE_PORT.to_bytes(2, "big") + (4321).to_bytes(2, "big") and data.endswith(b"n1")


# --- what continues ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_connection_outlives_its_backend_in_the_service(overlay, outside, address, host, set_backends, named_servers, down):
    """Also when all locations of the cluster are looked up again."""
    with Transfer(outside, host, address, STREAM_NODE_PORT, STREAM_TARGET, down=down) as transfer:
        transfer.wait_more(100000)
        set_backends("default/b2")
        assert {ask_tcp(outside, address, NODE_PORT) for _ in range(10)} == {"default/b2"}
        transfer.wait_more(100000)
        before = revision(overlay)
        overlay.pod("default/c2", "n2", app="c")
        wait_for(lambda: revision(overlay) != before, "another revision of the cluster")
        transfer.wait_more(100000)
        overlay.delete("default/c2")
        transfer.wait_more(100000)


def revision(overlay):
    return [n.warren_json("map", "dump", "cluster") for n in overlay.nodes.values()]


def test_service_without_a_process_is_refused(outside, address, family, host):
    """The host's own RST and ICMP error, from the service."""
    with pytest.raises(ConnectionRefusedError):
        ask_tcp(outside, address, NODE_PORT)
    with outside.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.setsockopt(*RECVERR[family], 1)
        sock.connect((address, NODE_PORT))
        sock.send(b"anyone?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(64)


def datagram(a, b, payload):
    """The address that b has it from; None if it has not come."""
    try:
        a.send(payload)
        data, source = b.recvfrom(65536)
    except (TimeoutError, OSError) as e:
        assert isinstance(e, TimeoutError) or e.errno == errno.EMSGSIZE, e
        return None
    assert data == payload
    return source


def test_fragments(outside, address, family, own, host):
    """To and from the other node the first ones are too big: both learn the path's MTU by an ICMP error."""
    payload = bytes(range(250)) * 20
    with host.udp(family, TARGET, host.address[family]) as b, outside.udp(family) as a:
        a.connect((address, NODE_PORT))
        b.settimeout(0.2)
        source = wait_for(lambda: datagram(a, b, payload), "a datagram in fragments")
        assert source[0] == own
        a.settimeout(0.2)
        b.connect(source[:2])
        assert wait_for(lambda: datagram(b, a, payload[::-1]), "its reply")


# --- a client's other connections -------------------------------------------------------------------------------------


def test_one_port_through_two_frontends(outside, family, own, address, host):
    """To the second one's process the client has another port."""
    frontends, target = [(address, NODE_PORT), (BALANCER[family], PORT)], (host.address[family], TARGET)
    _, seen = ask_from_one_port(outside, host, frontends, target)
    assert ports_differ(seen) and {ip for ip, _ in seen} == {own}, seen
    with connections_from_one_port(outside, host, frontends, target) as (number, seen):
        assert ports_differ(seen) and {ip for ip, _ in seen} == {own}, seen


def test_connection_to_the_backend_itself(outside, node, family, own, address, host):
    """It is another flow, and stays it, whatever a SYN to the service from the same port, which anybody can forge, does. The
    client's node sees that the port is in use only if the process is its own.
    """


    def from_one_port(timeout, number=0):
        sock = outside.socket(FAMILY[family], socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(timeout)
        sock.bind((own, number))
        return sock

    with host.tcp_listen(family, TARGET, host.address[family]) as listener, Drops(host) as drops, from_one_port(TIMEOUT) as direct:
        direct.connect((host.address[family], TARGET))
        b, _ = listener.accept()
        with b, from_one_port(1, direct.getsockname()[1]) as same:
            if host is node:
                same.connect((address, NODE_PORT))
                assert listener.accept()[1][1] != direct.getsockname()[1]
            else:
                with pytest.raises(TimeoutError):
                    same.connect((address, NODE_PORT))
                assert drops.wait(lambda e: e["reason"] == "service_clash")
            b.sendall(b"still here")
            assert direct.recv(64) == b"still here"


# --- what is to be seen -----------------------------------------------------------------------------------------------


def test_trace(outside, node, address, family, own, set_backends):
    frontend = f"[{address}]" if family == 6 else address

    assert not traced_flows(node, own)
    for name, reason, way in (("n1", "to_stack", "stack"), ("n2", "to_node", "encapsulated")):
        set_backends(name)
        run = node.warren_json("trace", own, f"{frontend}:{NODE_PORT}/tcp")
        steps = {step["step"]: step["result"] for step in run["steps"]}
        assert (run["program"], run["reason"]) == ("from_uplink", reason), run
        assert "to backend" in steps["service"] and way in steps["forwarding"], steps
    assert not traced_flows(node, own)
