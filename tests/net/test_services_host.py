# SPDX-License-Identifier: BSD-2-Clause
"""Services for the host's own sockets, which are translated at connect() and sendmsg(): no packet has a service's
address.
"""

import collections
import contextlib
import errno
import os
import pathlib
import socket

import pytest

from cluster import CLIENT, NAMESPACES, Cluster
from lab import Lab
from manifests import endpoint, endpoint_slice, port, service, service_cidr
from named import ASK, Named, ask_tcp, ask_udp
from netns import FAMILY, TIMEOUT, wait_for
from traffic import Transfer

pytestmark = pytest.mark.usefixtures("as_before")

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
OTHER = {4: "10.96.0.11", 6: "fd00:96::11"}
PORT, TARGET = 80, 8080
STREAM, STREAM_TARGET = 81, 8081
BACKENDS = ("back/b1", "back/b2", "back/b3")
MAX_SERVICES = 8  # of an unconnected socket at a time: WR_SOCKET_SERVICES
CGROUPS = next(p for p in (pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/unified")) if (p / "cgroup.procs").exists())


@pytest.fixture(scope="module")
def cluster():
    with Cluster(*NAMESPACES) as cluster:
        cluster.pod(CLIENT, {"app": "client"})
        for name in BACKENDS:
            cluster.pod(name, {"app": "backend"})
        yield cluster


@pytest.fixture
def host(cluster):
    return cluster.node


@pytest.fixture
def world(cluster):
    return cluster.world


def addresses(cluster, names):
    return {f: [cluster.pods[name].ips[f] for name in names] for f in (4, 6)}


def web(endpoints, name="back/web", vip=VIP, **spec):
    """The service at both addresses, with these endpoints ({family: [...]})."""
    ports = [{"name": p.lower(), **port(PORT, p)} for p in ("TCP", "UDP")] + [{"name": "stream", **port(STREAM)}]
    targets = [{"name": p.lower(), **port(TARGET, p)} for p in ("TCP", "UDP")] + [{"name": "stream", **port(STREAM_TARGET)}]
    return [
        service(name, vip.values(), *ports, **spec),
        *(endpoint_slice(f"{name}-{f}", name, e, *targets) for f, e in endpoints.items() if e),
    ]


@pytest.fixture
def set_backends(cluster):
    def to(*names, **spec):
        cluster.apply("web", *web(addresses(cluster, names), **spec))

    return to


@pytest.fixture
def named_servers(cluster, family):
    with Named([(name, pod, pod.ips[family]) for name, pod in cluster.pods.items()], TARGET) as named_servers:
        yield named_servers


def uses(host, sock):
    """{service: backend} of the socket, as the CLI shows them."""
    local = sock.getsockname()[1]
    rows = host.warren_json("service", "sockets")
    return {row["service"]: row["backend"] for row in rows if row["local"].endswith(f":{local}")}


def host_sockets(host):
    """Of `warren status`: the check's state."""
    (state,) = [c["state"] for c in host.warren_json("status", check=False)["checks"] if c["check"] == "host sockets"]
    return state


def text(address, number):
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


def mapped(address):
    return f"::ffff:{address}"


# --- where they lead --------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_host_reaches_a_service(cluster, host, family, set_backends, named_servers):
    """Both protocols; the socket's peer is the service, not the backend, for its process."""
    set_backends("back/b1")
    assert ask_tcp(host, VIP[family]) == "back/b1"
    assert ask_udp(host, VIP[family]) == "back/b1"
    with host.tcp_connect(VIP[family], PORT) as sock:
        assert sock.getpeername()[:2] == (VIP[family], PORT)
        assert uses(host, sock) == {text(VIP[family], PORT): text(cluster.pods["back/b1"].ips[family], TARGET)}
    assert host_sockets(host) == "ok"


def test_bytes_pass_both_ways(cluster, host, family, set_backends):
    set_backends("back/b1")
    with Transfer(host, cluster.pods["back/b1"], VIP[family], STREAM, STREAM_TARGET) as transfer:
        transfer.wait_more(100000)


@pytest.mark.parametrize("protocol", ASK)
def test_sockets_spread_over_backends(host, family, set_backends, named_servers, protocol):
    """As a pod's flows (test_services.py): each of 3 backends gets 100 of 300, give or take six deviations."""
    set_backends(*BACKENDS)
    counts = collections.Counter(ASK[protocol](host, VIP[family]) for _ in range(300))
    assert counts.keys() == set(BACKENDS)
    assert min(counts.values()) >= 51 and max(counts.values()) <= 149, counts


def test_ipv6_socket_with_ipv4_address(cluster, host, set_backends):
    """An IPv4-mapped address, as many programs use it: connected, and in each datagram."""
    set_backends("back/b1")
    pod = cluster.pods["back/b1"]
    with Named([("back/b1", pod, pod.ips[4])], TARGET):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with host.socket(socket.AF_INET6, kind) as sock:
                sock.connect((mapped(VIP[4]), PORT))
                assert sock.getpeername()[:2] == (mapped(VIP[4]), PORT)
                sock.send(b"who?")
                assert sock.recv(64) == b"back/b1"
        with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"who?", (mapped(VIP[4]), PORT))
            data, source = sock.recvfrom(64)
            assert (data, source[:2]) == (b"back/b1", (mapped(VIP[4]), PORT))


def test_backend_is_the_host_itself(cluster, host, family):
    """As the API server's Service on a control plane."""
    cluster.apply("web", *web({f: [Lab.UPLINK[f]] for f in (4, 6)}))
    with Named([("host", host, Lab.UPLINK[family])], TARGET):
        assert ask_tcp(host, VIP[family]) == "host"
        assert ask_udp(host, VIP[family]) == "host"


def test_backend_outside_the_cluster(cluster, host, world, family):
    cluster.apply("web", *web({f: [Lab.WORLD[f]] for f in (4, 6)}))
    with Named([("world", world, Lab.WORLD[family])], TARGET):
        assert ask_tcp(host, VIP[family]) == "world"
        assert ask_udp(host, VIP[family]) == "world"


def test_other_namespaces_are_not_concerned(cluster, host, family, set_backends, named_servers):
    """Their processes are in the same cgroup. A pod's packets are translated on their way; a process beyond the host reaches
    what really has the address.
    """
    set_backends("back/b1")
    with cluster.pods[CLIENT].tcp_connect(VIP[family], PORT) as sock:
        assert sock.recv(64) == b"back/b1"
    assert cluster.node.warren_json("service", "sockets") == []
    with Named([("world", cluster.world, Lab.WORLD[family])], PORT):
        cluster.apply("web", *web(addresses(cluster, ["back/b1"]), vip={f: Lab.WORLD[f] for f in (4, 6)}))
        with cluster.world.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
            sock.connect((Lab.WORLD[family], PORT))
            assert ask_udp(cluster.world, Lab.WORLD[family], sock=sock) == "world"


# --- datagrams without a connection -------------------------------------------------------------------------------------


def ask_from(sock, address, number=PORT):
    sock.sendto(b"who?", (address, number))
    data, source = sock.recvfrom(64)
    assert source[:2] == (address, number)
    return data.decode()


def test_datagrams_of_a_socket_keep_their_backend(host, family, set_backends, named_servers):
    """As a flow of a pod does: QUIC clients do not connect their sockets. A backend that is gone is replaced."""
    set_backends(*BACKENDS)
    with host.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        (kept,) = {ask_from(sock, VIP[family]) for _ in range(20)}
        remaining = [name for name in BACKENDS if name != kept]
        set_backends(*remaining)
        (other,) = {ask_from(sock, VIP[family]) for _ in range(20)}
        assert other in remaining
        set_backends(*BACKENDS)
        assert {ask_from(sock, VIP[family]) for _ in range(20)} == {other}


def test_one_socket_for_many_services(cluster, host, family, named_servers):
    """Replies name the service to which the socket has sent. It knows the last eight; a ninth takes the place of the first."""
    one = cluster.pods["back/b1"].ips[family]
    vips = [f"{VIP[family][:-2]}{20 + n}" for n in range(MAX_SERVICES + 1)]
    names = [f"back/many-{n}" for n in range(len(vips))]
    made = []
    for n, (name, vip) in enumerate(zip(names, vips, strict=True)):
        made += [service(name, [vip], port(PORT, "UDP")), endpoint_slice(f"{name}-1", name, [one], port(9000 + n, "UDP"))]
    cluster.apply("web", *made)
    with contextlib.ExitStack() as stack, host.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        for n in range(len(vips)):
            stack.enter_context(Named([(f"{n}", cluster.pods["back/b1"], one)], 9000 + n))
        for _ in range(2):
            for n in range(MAX_SERVICES):
                assert ask_from(sock, vips[n]) == f"{n}"
        assert len(uses(host, sock)) == MAX_SERVICES
        assert ask_from(sock, vips[MAX_SERVICES]) == f"{MAX_SERVICES}"
        assert set(uses(host, sock)) == {text(vip, PORT) for vip in vips[1:]}


def test_two_services_with_one_backend(cluster, host, family, named_servers):
    """The reply's source is the service to which the socket has sent last."""
    endpoints = addresses(cluster, ["back/b1"])
    cluster.apply("web", *web(endpoints), *web(endpoints, "back/other", OTHER))
    with host.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        for vip in (VIP[family], OTHER[family], VIP[family]):
            assert ask_from(sock, vip) == "back/b1"


def test_a_socket_that_connects_elsewhere(cluster, host, family, set_backends, named_servers):
    """It has no service any more: its peer is what it has connected to."""
    set_backends("back/b1")
    pod = cluster.pods["back/b1"].ips[family]
    with host.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.connect((VIP[family], PORT))
        assert ask_udp(host, VIP[family], sock=sock) == "back/b1"
        sock.connect((pod, TARGET))
        assert sock.getpeername()[:2] == (pod, TARGET)
        assert uses(host, sock) == {}
        assert ask_udp(host, pod, sock=sock) == "back/b1"


# --- no backend, and backends that go -----------------------------------------------------------------------------------


def test_without_endpoints_it_refuses(cluster, host, family):
    cluster.apply("web", *web({}))
    before = host.metrics()
    with pytest.raises(ConnectionRefusedError):
        host.tcp_connect(VIP[family], PORT)
    with host.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        with pytest.raises(ConnectionRefusedError):
            sock.connect((VIP[family], PORT))
        with pytest.raises(ConnectionRefusedError):
            sock.sendto(b"x", (VIP[family], PORT))
    host.assert_moved(before, {("no_backend", "egress"): 3})


def fails_at_once(host, address, number, error):
    with pytest.raises(OSError) as raised:
        host.tcp_connect(address, number)
    assert raised.value.errno == error
    with host.socket(FAMILY[":" in address and 6 or 4], socket.SOCK_DGRAM) as sock, pytest.raises(OSError) as raised:
        sock.sendto(b"x", (address, number))
    assert raised.value.errno == error


def test_port_or_address_that_no_service_has(cluster, host, family, set_backends, named_servers):
    """Both calls fail at once: nothing would answer."""
    set_backends("back/b1")
    before = host.metrics()
    fails_at_once(host, VIP[family], PORT + 7, errno.ECONNREFUSED)
    host.assert_moved(before, {("no_service_port", "egress"): 2})
    cluster.apply("cidrs", service_cidr("kubernetes", "10.96.0.0/16", "fd00:96::/108"))
    before = host.metrics()
    fails_at_once(host, OTHER[family], PORT, errno.EHOSTUNREACH)
    host.assert_moved(before, {("no_service", "egress"): 2})
    assert ask_tcp(host, VIP[family]) == "back/b1"
    cluster.remove("cidrs")


@pytest.mark.parametrize("bad", [{4: "127.0.0.1", 6: "::1"}, {4: "169.254.169.254", 6: "fe80::1"}])
def test_backend_that_no_host_may_be_sent_to(cluster, host, family, bad):
    """A tenant's slice must not lead a process of the host to the host's loopback or to its cloud's metadata."""
    cluster.apply("web", *web({f: [bad[f]] for f in (4, 6)}))
    with host.tcp_listen(family, TARGET), pytest.raises(ConnectionRefusedError):
        host.tcp_connect(VIP[family], PORT)


def test_internal_traffic_policy(cluster, host, family):
    """Local: the endpoints of other nodes are none, for the host as for pods."""
    there = {f: [endpoint(Lab.WORLD[f], node="elsewhere")] for f in (4, 6)}
    cluster.apply("web", *web(there, internalTrafficPolicy="Local"))
    with pytest.raises(ConnectionRefusedError):
        host.tcp_connect(VIP[family], PORT)


def test_the_host_keeps_its_backend(host, family, set_backends, named_servers):
    """Session affinity: the host is one client, whatever the socket."""
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}}
    set_backends(*BACKENDS, **affinity)
    (kept,) = {ask_tcp(host, VIP[family]) for _ in range(30)}
    remaining = [name for name in BACKENDS if name != kept]
    set_backends(*remaining, **affinity)
    (other,) = {ask_tcp(host, VIP[family]) for _ in range(30)}
    assert other in remaining
    set_backends(*BACKENDS, **affinity)
    assert {ask_tcp(host, VIP[family]) for _ in range(30)} == {other}


def test_connected_datagrams_of_a_gone_backend_end(cluster, host, family, set_backends, named_servers):
    """The process gets an error, and connects again: a resolver does not wait out its time-outs. Sockets whose backend
    stays are not touched, nor are connections.
    """
    set_backends("back/b1", "back/b2")
    with contextlib.ExitStack() as stack:
        socks = {}
        while len(socks) < 2:
            sock = stack.enter_context(host.socket(FAMILY[family], socket.SOCK_DGRAM))
            sock.connect((VIP[family], PORT))
            socks[ask_udp(host, VIP[family], sock=sock)] = sock
        direct = stack.enter_context(host.socket(FAMILY[family], socket.SOCK_DGRAM))
        direct.connect((cluster.pods["back/b1"].ips[family], TARGET))
        set_backends("back/b2")
        with pytest.raises(ConnectionAbortedError):
            socks["back/b1"].recv(16)
        assert ask_udp(host, VIP[family], sock=socks["back/b2"]) == "back/b2"
        assert ask_udp(host, VIP[family], sock=direct) == "back/b1"
        socks["back/b1"].connect((VIP[family], PORT))
        assert ask_udp(host, VIP[family], sock=socks["back/b1"]) == "back/b2"
        cluster.remove("web")
        with pytest.raises(ConnectionAbortedError):
            socks["back/b2"].recv(16)


def test_a_connection_survives_its_backends_removal(cluster, host, family, set_backends):
    set_backends("back/b1", "back/b2")
    for name in ("back/b1", "back/b2"):
        set_backends(name)
        with Transfer(host, cluster.pods[name], VIP[family], STREAM, STREAM_TARGET) as transfer:
            set_backends(*(set(BACKENDS) - {name}))
            transfer.wait_more(100000)


# --- where they are attached --------------------------------------------------------------------------------------------


@pytest.fixture
def own_cgroup():
    path = CGROUPS / f"warren-test-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        wait_for(lambda: _removed(path), "the cgroup is empty", TIMEOUT)


def _removed(path):
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()


def not_translated(host):
    """The peer of a connected UDP socket is the service, and no backend is noted for it."""
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((VIP[4], PORT))
        return uses(host, sock) == {}


def test_cgroup_of_the_nodes_own(cluster, host, set_backends, own_cgroup):
    """Only its processes' sockets are concerned. Off: none are; a wrong directory is an error, and changes nothing."""
    set_backends("back/b1")
    pod = cluster.pods["back/b1"]

    def member_reaches():
        """Whether a process in the cgroup reaches the service."""
        child = os.fork()
        if not child:
            try:
                (own_cgroup / "cgroup.procs").write_text("0")
                with host.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                    sock.settimeout(TIMEOUT)
                    os._exit(sock.connect_ex((VIP[4], PORT)) == 0)
            finally:
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1

    with Named([("back/b1", pod, pod.ips[4])], TARGET):
        try:
            host.warren("node", "init", "--cgroup", str(own_cgroup))
            assert member_reaches()
            assert host.warren_json("node", "init")["host_sockets"] is True  # it stays where it is
            assert member_reaches()
            assert not_translated(host)
            failure = host.warren("node", "init", "--cgroup", "/proc", check=False)
            assert failure.returncode and "no directory of cgroup v2" in failure.stderr
            assert member_reaches()
            assert host.warren_json("node", "init", "--cgroup", "off")["host_sockets"] is False
            assert host_sockets(host) == "notice"
        finally:
            host.warren("node", "init", "--cgroup", str(CGROUPS))
        assert ask_tcp(host, VIP[4]) == "back/b1"
