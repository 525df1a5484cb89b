# SPDX-License-Identifier: BSD-2-Clause
"""Services on one node, by real sockets of pods: the backends of flows, the client that they see, policy, errors, and
what continues while backends, Services and the agent come and go.
"""

import collections
import errno
import itertools
import select
import socket
import struct
import time

import pytest

from cluster import CLIENT, NAMESPACES, SERVER, Cluster
from connect import arrives_at
from lab import Lab
from manifests import block, endpoint, endpoint_slice, pods, policy, port, service, service_cidr, sources, targets
from named import ASK, Named, ask_tcp, ask_udp
from netns import FAMILY, TIMEOUT, tcp, udp, wait_for
from packets import IPPROTO_SCTP, SCTP_INIT, SCTP_INIT_ACK, raw_payload, sctp_packet, sctp_ports
from traffic import Transfer

pytestmark = pytest.mark.usefixtures("as_before")

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT, TARGET = 80, 8080
STREAM, STREAM_TARGET = 81, 8081 # where only connection() listens
BACKENDS = ("back/b1", "back/b2", "back/b3")

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU = 10, 2, 14, 23, 24
# Without it a UDP socket gets no error when there is no route (net/ipv4/icmp.c, icmp_err_convert[]: not fatal).
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
# That socket option's name in each family.
PMTU = {4: (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU), 6: (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU)}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(*NAMESPACES) as cluster:
        cluster.pod(CLIENT, {"app": "client"})
        cluster.pod(SERVER, {"app": "server"})
        for name in BACKENDS:
            cluster.pod(name, {"app": "backend"})
        yield cluster


@pytest.fixture
def node(cluster):
    return cluster.node


@pytest.fixture
def world(cluster):
    return cluster.world


def ports(target=None):
    stream = STREAM_TARGET if target else STREAM
    return [{"name": p.lower(), **port(target or PORT, p)} for p in ("TCP", "UDP", "SCTP")] + [{"name": "stream", **port(stream)}]


def web(endpoints, **spec):
    """Service back/web at both VIPs with these endpoints ({family: [...]}), all protocols."""
    made = [service("back/web", VIP.values(), *ports(), **spec)]
    return made + [endpoint_slice(f"back/web-{f}", "back/web", e, *ports(TARGET)) for f, e in endpoints.items() if e]


def addresses(cluster, *names):
    return {f: [cluster.pods[name].ips[f] for name in names] for f in (4, 6)}


def others(cluster):
    """Every pod that may be a backend."""
    return [pod for name, pod in cluster.pods.items() if name != CLIENT]


@pytest.fixture
def set_backends(cluster):
    """lead(name...): the service has these pods as backends."""

    def to(*names, **spec):
        cluster.apply("web", *web(addresses(cluster, *names), **spec))

    return to


@pytest.fixture
def named_servers(cluster, family):
    with Named([(name, pod, pod.ips[family]) for name, pod in cluster.pods.items() if name != CLIENT], TARGET) as named_servers:
        yield named_servers


def used_port(client, family):
    """The client's port of a closed connection through the service, whose end was the server's: it is free at once."""
    number = next(unused_ports)
    with client.socket(FAMILY[family], socket.SOCK_STREAM) as sock:
        sock.bind(("", number))
        sock.connect((VIP[family], PORT))
        while sock.recv(256):
            pass
    return number


def connection(client, server, family):
    """A connection through the service to `server` that carries bytes."""
    return Transfer(client, server, VIP[family], STREAM, STREAM_TARGET)


# --- where flows go ---------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_leads_to_its_backend(cluster, client, server, family, set_backends):
    """The backend sees the client's own address; and many bytes in both directions."""
    set_backends(SERVER)
    assert tcp(client, server, VIP[family], PORT, TARGET, size=1 << 20) == client.ips[family]
    assert udp(client, server, VIP[family], PORT, TARGET, server.ips[family]) == client.ips[family]
    # The pod itself is reached as before.
    assert tcp(client, server, server.ips[family], TARGET, TARGET) == client.ips[family]


def test_sctp_leads_to_its_backend(client, server, family, set_backends, drops):
    """Its checksum, with the ports, is right, also of a packet in fragments."""
    set_backends(SERVER)

    def raw(pod):
        sock = pod.socket(FAMILY[family], socket.SOCK_RAW, IPPROTO_SCTP)
        sock.bind((pod.ips[family], 0))
        return sock

    def received(sock):
        data, source = sock.recvfrom(4096)
        data = raw_payload(family, data)
        return source[0], sctp_ports(data), data[12]

    with raw(client) as a, raw(server) as b:
        a.sendto(sctp_packet(20001, PORT, SCTP_INIT), (VIP[family], 0))
        assert received(b) == (client.ips[family], (20001, TARGET), SCTP_INIT)
        b.sendto(sctp_packet(TARGET, 20001, SCTP_INIT_ACK, bytes(1000)), (client.ips[family], 0))
        assert received(a) == (VIP[family], (PORT, 20001), SCTP_INIT_ACK)
        # Of fragments the first one shows the packet's length, if it cuts a chunk.
        a.sendto(sctp_packet(20002, PORT, SCTP_INIT, struct.pack("!BBH", 0, 3, 2000) + bytes(1996)), (VIP[family], 0))
        assert received(b) == (client.ips[family], (20002, TARGET), SCTP_INIT)
        a.sendto(sctp_packet(20003, PORT, SCTP_INIT, bytes(2000)), (VIP[family], 0))
        assert drops.wait(lambda e: e["reason"] == "service_sctp")


@pytest.mark.parametrize("protocol", ASK)
def test_spreads_over_backends(client, family, set_backends, named_servers, protocol):
    """300 flows over 3 backends: each gets 100, give or take six deviations of that (8.2): one run in 10^8 differs more."""
    set_backends(*BACKENDS)
    counts = collections.Counter(ASK[protocol](client, VIP[family]) for _ in range(300))
    assert counts.keys() == set(BACKENDS)
    assert min(counts.values()) >= 51 and max(counts.values()) <= 149, counts


unused_ports = itertools.count(20000)


def affinity(seconds):
    return {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}


@pytest.mark.parametrize("protocol", ASK)
def test_a_client_keeps_its_backend(cluster, client, family, set_backends, named_servers, protocol):
    """With affinity 30 flows have one backend, by chance once in 10^13; without it again, they have all. Another client has
    a backend of its own, and a backend that has gone is replaced by one that stays.
    """

    def new_flow(client):
        if protocol == "tcp":
            return ask_tcp(client, VIP[family])
        with client.udp(family, next(unused_ports)) as sock:  # datagrams from a used port are of its flow, and stay
            sock.connect((VIP[family], PORT))
            return ask_udp(client, VIP[family], sock=sock)

    def seen(client=client):
        return {new_flow(client) for _ in range(30)}

    set_backends(*BACKENDS, **affinity(600))
    (kept,) = seen()
    assert len(seen(cluster.pods[SERVER])) == 1
    assert seen() == {kept}
    remaining = [name for name in BACKENDS if name != kept]
    set_backends(*remaining, **affinity(600))
    (other,) = seen()
    assert other in remaining
    set_backends(*BACKENDS, **affinity(600))
    assert seen() == {other}
    set_backends(*BACKENDS)
    assert seen() == set(BACKENDS)


@pytest.mark.long
def test_a_backend_is_kept_for_its_time(client, family, set_backends, named_servers):
    """Counted from the last new flow: while there are new ones it is kept, after two seconds without one it is chosen anew."""
    set_backends(*BACKENDS, **affinity(2))
    kept, end = ask_tcp(client, VIP[family]), time.monotonic() + 5
    while time.monotonic() < end:
        assert ask_tcp(client, VIP[family]) == kept

    def forgotten():
        time.sleep(2.3)
        return ask_tcp(client, VIP[family]) != kept

    wait_for(forgotten, "another backend")


def test_many_short_flows(client, family, set_backends, named_servers):
    """As a resolver's: a socket each; all get replies, from the address that they sent to."""
    set_backends(*BACKENDS)
    for _ in range(2000):
        assert ask_udp(client, VIP[family]) in BACKENDS


def test_pod_reaches_itself(client, family, set_backends):
    set_backends(CLIENT)
    source = tcp(client, client, VIP[family], PORT, TARGET, size=100000)
    assert source == VIP[family]
    udp(client, client, VIP[family], PORT, TARGET, client.ips[family])


def test_ports_of_one_address(cluster, client, family, named_servers):
    """Each goes where its own target is; another one has no target."""
    two = [{"name": "a", **port(PORT)}, {"name": "b", **port(81)}]
    slices = [
        endpoint_slice("back/one", "back/web", [cluster.pods["back/b1"].ips[family]], {"name": "a", **port(TARGET)}),
        endpoint_slice("back/two", "back/web", [cluster.pods["back/b2"].ips[family]], {"name": "b", **port(TARGET)}),
    ]
    cluster.apply("web", service("back/web", [VIP[family]], *two), *slices)
    assert ask_tcp(client, VIP[family], PORT) == "back/b1"
    assert ask_tcp(client, VIP[family], 81) == "back/b2"
    assert not arrives_at(client, VIP[family], 82, others(cluster))


def test_only_ready_backends_are_selected(cluster, client, family, named_servers):
    ips = {name: cluster.pods[name].ips[family] for name in BACKENDS}
    states = [endpoint(ips["back/b1"], ready=False), endpoint(ips["back/b2"]), endpoint(ips["back/b3"], False, True, True)]
    cluster.apply("web", *web({family: states}))
    assert {ask_tcp(client, VIP[family]) for _ in range(20)} == {"back/b2"}
    # None is: one that ends is better than none.
    cluster.apply("web", *web({family: [states[0], states[2]]}))
    assert {ask_tcp(client, VIP[family]) for _ in range(20)} == {"back/b3"}


def test_backend_outside_the_cluster(cluster, client, world, family):
    """An address beyond the host, as the API server's: through the stack, which masquerades the pod."""
    cluster.apply("web", *web({f: [Lab.WORLD[f]] for f in (4, 6)}))
    assert tcp(client, world, VIP[family], PORT, TARGET, size=100000) == Lab.UPLINK[family]
    assert udp(client, world, VIP[family], PORT, TARGET, Lab.WORLD[family]) == Lab.UPLINK[family]


def test_backend_is_the_host(cluster, client, node, family):
    cluster.apply("web", *web({f: [Lab.UPLINK[f]] for f in (4, 6)}))
    assert tcp(client, node, VIP[family], PORT, TARGET, size=100000) == client.ips[family]
    assert udp(client, node, VIP[family], PORT, TARGET, Lab.UPLINK[family]) == client.ips[family]


# --- no backend ------------------------------------------------------------------------------------------------------


def refused(client, family, number=PORT, address=None):
    """By TCP and by UDP, at once: long before any time-out."""
    address = address or VIP[family]
    with pytest.raises(ConnectionRefusedError):
        client.tcp_connect(address, number)
    with client.udp(family) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect((address, number))
        sock.send(b"request")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(16)


def test_without_endpoints_it_refuses(cluster, client, family, set_backends, drops):
    cluster.apply("web", *web({}))
    refused(client, family)
    assert drops.wait(lambda e: e["reason"] == "no_backend")
    # With internalTrafficPolicy Local those of other nodes are none.
    cluster.apply("web", *web({f: [endpoint(Lab.WORLD[f], node="elsewhere")] for f in (4, 6)}, internalTrafficPolicy="Local"))
    refused(client, family)


def test_closed_port_of_a_backend_refuses(client, family, set_backends):
    """Its RST, and its ICMP error, come from the service."""
    set_backends(SERVER)
    refused(client, family)


def test_without_its_service_the_address_is_unused(cluster, client, family, set_backends, named_servers):
    set_backends(SERVER)
    assert ask_tcp(client, VIP[family]) == SERVER
    cluster.remove("web")
    assert not arrives_at(client, VIP[family], PORT, others(cluster))


def test_without_its_service_a_used_port_is_no_ones(cluster, client, server, family, set_backends, named_servers):
    """The entry of a closed connection does not lead the next one from its port to the backend."""
    set_backends(SERVER)
    number = used_port(client, family)
    assert arrives_at(client, VIP[family], PORT, others(cluster), source_port=number) is server
    number = used_port(client, family)
    cluster.remove("web")
    assert not arrives_at(client, VIP[family], PORT, others(cluster), source_port=number)


# --- no such port, no such address ---------------------------------------------------------------------------------------

CIDRS = ("10.96.0.0/16", "fd00:96::/108")
OTHER = {4: "10.96.0.99", 6: "fd00:96::99"}


def ping(client, address):
    return client.run("ping", "-n", "-c", "1", "-W", "2", address, check=False)


def test_port_that_it_does_not_have(cluster, client, family, set_backends, drops, named_servers):
    """It is rejected at once, whatever the protocol, as by kube-proxy's nftables mode. Ports that it gets are served."""
    set_backends(SERVER)
    refused(client, family, PORT + 7)
    assert drops.wait(lambda e: e["reason"] == "no_service_port" and e["headers"]["destination_port"] == PORT + 7)
    refused_by = ping(client, VIP[family])
    assert refused_by.returncode and "ort" in refused_by.stdout and "nreachable" in refused_by.stdout, refused_by.stdout
    assert cluster.node.warren_json("trace", CLIENT, f"{bracketed(VIP[family])}:{PORT + 7}/tcp")["reason"] == "no_service_port"
    web_too = service("back/web", VIP.values(), *ports(), {"name": "late", **port(PORT + 7)})
    cluster.apply("web", web_too, *(endpoint_slice(f"back/web-{f}", "back/web", ips, *ports(TARGET), {"name": "late", **port(TARGET)}) for f, ips in addresses(cluster, SERVER).items()))
    assert ask_tcp(client, VIP[family], PORT + 7) == SERVER


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def test_address_that_no_service_has(cluster, client, world, family, set_backends, drops, named_servers):
    """In a ServiceCIDR it is dropped; without one, and at the address of another proxy's Service, the stack has it."""
    set_backends(SERVER)
    others_own = service("back/other", OTHER.values(), port(PORT))
    others_own["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "other"}

    def leaves():
        """Whether the stack sends it on."""
        with world.wire("eth0") as wire, client.udp(family) as sock:
            sock.sendto(b"to no service", (OTHER[family], PORT))
            client.ping(Lab.WORLD[family])
            return any(b"to no service" in frame for frame in wire.drain())

    assert leaves()
    cluster.apply("cidrs", service_cidr("kubernetes", *CIDRS))
    assert not leaves()
    assert drops.wait(lambda e: e["reason"] == "no_service" and e["headers"]["destination"] == OTHER[family])
    assert ask_tcp(client, VIP[family]) == SERVER
    refused(client, family, PORT + 7)
    cluster.apply("other", others_own)
    assert leaves()
    cluster.remove("other")
    assert not leaves()
    cluster.remove("cidrs")
    assert leaves()


def test_service_cidr_of_all_addresses(cluster, client, server, family, set_backends, named_servers):
    """It cuts off neither pods nor this host."""
    set_backends(SERVER)
    cluster.apply("cidrs", service_cidr("all", "0.0.0.0/0", "::/0"), service_cidr("kubernetes", *CIDRS))
    try:
        assert tcp(client, server, server.ips[family], TARGET + 1, TARGET + 1) == client.ips[family]
        client.ping(Lab.UPLINK[family])
        assert ask_tcp(client, VIP[family]) == SERVER
    finally:
        cluster.remove("cidrs")


# --- while it changes ---------------------------------------------------------------------------------------------------


def test_datagrams_move_with_the_backends(cluster, client, family, set_backends, named_servers):
    """One socket: its next datagram goes to the backend that is left. A flow of a backend that stays keeps its backend."""
    set_backends("back/b1")
    with client.udp(family) as sock:
        sock.connect((VIP[family], PORT))
        assert ask_udp(client, VIP[family], sock=sock) == "back/b1"
        set_backends("back/b1", "back/b2", "back/b3")
        assert {ask_udp(client, VIP[family], sock=sock) for _ in range(20)} == {"back/b1"}
        set_backends("back/b2")
        assert ask_udp(client, VIP[family], sock=sock) == "back/b2"


def test_connection_survives_its_backends_removal(cluster, client, server, family, set_backends, named_servers):
    set_backends(SERVER)
    with connection(client, server, family) as flow:
        flow.wait_more()
        set_backends("back/b2")
        flow.wait_more(100000)
        assert ask_tcp(client, VIP[family]) == "back/b2"
        cluster.apply("web", *web({}))
        flow.wait_more(100000)
        cluster.remove("web")
        flow.wait_more(100000)


def test_agent_may_be_dead(cluster, client, server, family, set_backends, named_servers):
    """Flows continue, new ones work too; the next agent applies what has changed meanwhile."""
    set_backends(SERVER)
    with connection(client, server, family) as flow:
        cluster.agent.kill()
        flow.wait_more(100000)
        assert ask_tcp(client, VIP[family]) == SERVER
        cluster.write("web", *web(addresses(cluster, "back/b3")))
        assert ask_udp(client, VIP[family]) == SERVER
        cluster.agent.start()
        cluster.wait_applied()
        assert ask_tcp(client, VIP[family]) == "back/b3"
        flow.wait_more(100000)


def test_nothing_is_lost_while_slices_change(cluster, client, family, set_backends, named_servers):
    """One backend that stays; others come and go beside it, 40 times; the next flow always gets its reply."""
    set_backends("back/b1", "back/b2")
    for n in range(40):
        cluster.write("web", *web(addresses(cluster, *BACKENDS[: 1 + n % 3])))
        for _ in range(10):
            assert ask_udp(client, VIP[family]) in BACKENDS
            assert ask_tcp(client, VIP[family]) in BACKENDS
    cluster.wait_applied()


def test_many_services_need_no_other_event(cluster):
    """They do not fit into one run of the agent, which has nothing else to do. Who asks the agent wakes it: the maps are
    read instead.
    """

    def written():
        return next(m["entries"] for m in cluster.node.warren_json("map", "list") if m["name"] == "services4")

    count, before = 1000, written()
    with cluster.as_before():
        objects = []
        for n in range(count):
            name = f"many-{n // 100}/s{n}"
            backends = [f"10.88.{n % 250}.{i}" for i in range(1, 11)]
            objects += [service(name, [f"10.97.{n // 250}.{n % 250}"], port(80)), endpoint_slice(name, name, backends, port(80))]
        cluster.write("many", *objects)
        wait_for(lambda: written() == before + count, "all Services in the maps")


# --- policy -------------------------------------------------------------------------------------------------------------


def denial(drops, direction, protocol, address, port, **also):
    """The next drop of a packet to there for that reason: a closing connection of another test has another port.
    `also`: other fields of its headers.
    """
    to = {"protocol": protocol, "destination": address, "destination_port": port, **also}
    return drops.wait(lambda e: e["reason"] == f"{direction}_denied" and to.items() <= e["headers"].items())


def test_egress_policy_is_evaluated_on_the_backend(cluster, client, family, set_backends, named_servers, drops):
    """Labels of the backend allow; the service's own address, which no packet has any more, neither allows nor denies."""
    set_backends(SERVER)
    backend = targets({**pods(app="server"), "namespaceSelector": {}}, ports=[port(TARGET), port(TARGET, "UDP")])
    cluster.apply("policy", policy("front/p", egress=[backend], types=["Egress"]))
    for ask in ASK.values():
        assert ask(client, VIP[family]) == SERVER
    # The service's port is not the backend's.
    wrong = targets({**pods(app="server"), "namespaceSelector": {}}, ports=[port(PORT), port(PORT, "UDP")])
    for denied in (wrong, targets(*(block(f"{VIP[f]}/{32 if f == 4 else 128}") for f in (4, 6)))):
        cluster.apply("policy", policy("front/p", egress=[denied], types=["Egress"]))
        for protocol in ASK:
            assert not arrives_at(client, VIP[family], PORT, others(cluster), protocol)
            assert denial(drops, "egress", protocol, VIP[family], PORT)


def test_ingress_policy_sees_the_client(cluster, client, family, set_backends, named_servers, drops):
    set_backends(SERVER)
    for label, allowed in (("client", True), ("thief", False)):
        from_label = sources({**pods(app=label), "namespaceSelector": {}}, ports=[port(TARGET), port(TARGET, "UDP")])
        cluster.apply("policy", policy("back/p", {"app": "server"}, ingress=[from_label]))
        for protocol, ask in ASK.items():
            if allowed:
                assert ask(client, VIP[family]) == SERVER
                continue
            assert not arrives_at(client, VIP[family], PORT, others(cluster), protocol)
            assert denial(drops, "ingress", protocol, VIP[family], PORT)


def test_each_backend_is_evaluated_by_itself(cluster, client, server, family, set_backends):
    """Of two backends one is allowed: flows to the other are denied, none goes elsewhere."""
    set_backends("back/b1", SERVER)
    only = targets({**pods(app="server"), "namespaceSelector": {}})
    cluster.apply("policy", policy("front/p", egress=[only], types=["Egress"]))
    assert {arrives_at(client, VIP[family], PORT, others(cluster)) for _ in range(30)} == {server, None}


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_a_denial_names_the_service(cluster, client, server, family, set_backends, drops, direction):
    """The event has the packet as it was sent, and the backend for which it was evaluated as its peer. A denied flow to
    the backend's own address is reported with that address.
    """
    set_backends(SERVER)
    where = ("front/p", None, {"egress": []}) if direction == "egress" else ("back/p", {"app": "server"}, {"ingress": []})
    cluster.apply("policy", policy(where[0], where[1], types=[direction.capitalize()], **where[2]))
    for protocol in ASK:
        for address, at, through in ((VIP[family], PORT, True), (server.ips[family], TARGET, False)):
            assert not arrives_at(client, address, at, others(cluster), protocol)
            event = denial(drops, direction, protocol, address, at, source=client.ips[family])
            assert event["peer_endpoint"] == server.ifindex
            assert event["service"] == ({"name": "back/web", "address": VIP[family], "port": PORT, "client_port": None} if through else None)
            assert event[direction]["because"] == f"isolated by {where[0]}; there is no {direction} rule"
            change = event[direction]["explanation"]["change"]
            rule = change.get("rule")
            assert rule, change.get("obstacle")
            (peer,) = rule["to" if direction == "egress" else "from"]
            assert peer["podSelector"]["matchLabels"]["app"] == ("server" if direction == "egress" else "client")
            assert rule["ports"] == [{"protocol": protocol.upper(), "port": TARGET}]


def test_a_denial_is_not_explained_by_another_flow(cluster, client, server, family, set_backends, named_servers, drops):
    """A closed connection's, through the service and allowed, from the same port."""
    set_backends(SERVER)
    number = used_port(client, family)
    cluster.apply("policy", policy("front/p", None, egress=[], types=["Egress"]))
    with client.socket(FAMILY[family], socket.SOCK_STREAM) as sock:
        sock.bind(("", number))
        sock.setblocking(False)
        sock.connect_ex((VIP[family], PORT))
        event = denial(drops, "egress", "tcp", VIP[family], PORT, source_port=number, tcp_flags="SYN")
    assert event["peer_endpoint"] == server.ifindex
    change = event["egress"]["explanation"]["change"]
    assert change.get("rule"), change.get("obstacle")


def test_policy_cuts_a_flow_through_a_service(cluster, client, server, family, set_backends, drops):
    set_backends(SERVER)
    with connection(client, server, family) as flow:
        flow.wait_more()
        cluster.apply("policy", policy("back/p", {"app": "server"}, ingress=[]))
        assert drops.wait_flow(flow.a)["reason"] == "ingress_denied"
        cluster.remove("policy")
        flow.wait_more(1000)


# --- errors -------------------------------------------------------------------------------------------------------------


def test_path_mtu_is_the_services(cluster, client, node, world, family):
    """A narrow link beyond the host: the client gets the error for the service's address."""
    cluster.apply("web", *web({f: [Lab.BEYOND[f]] for f in (4, 6)}))
    level, discover, mtu = PMTU[family]
    route = ["ip", f"-{family}", "route", "replace", Lab.BEYOND[family], "via", Lab.WORLD[family]]
    node.run(*route, "mtu", "1300")
    try:
        with client.udp(family) as sock, world.udp(family, TARGET, Lab.BEYOND[family]) as there:
            sock.setsockopt(level, discover, IP_PMTUDISC_DO)
            sock.connect((VIP[family], PORT))
            sock.send(bytes(1400))
            wait_for(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EMSGSIZE, "the error")
            assert sock.getsockopt(level, mtu) == 1300, "the path MTU is not known"
            with pytest.raises(OSError) as raised:
                sock.send(bytes(1400))
            assert raised.value.errno == errno.EMSGSIZE
            sock.send(bytes(1200))
            assert select.select([there], [], [], TIMEOUT)[0] and len(there.recv(2048)) == 1200
        # And a connection: its segments become smaller.
        assert tcp(client, world, VIP[family], PORT, TARGET, size=1 << 20)
    finally:
        node.run("ip", f"-{family}", "route", "del", Lab.BEYOND[family])


def test_error_of_a_router_is_of_the_service(cluster, client, world, family):
    """No host has the backend's address: the router's ICMP error reaches the client's socket."""
    unused = {4: "203.0.113.9", 6: "2001:db8:9::9"}
    cluster.apply("web", *web({f: [unused[f]] for f in (4, 6)}))
    world.run("ip", f"-{family}", "route", "add", "unreachable", unused[family])
    world.sysctl("ipv4/ip_forward", 1) # otherwise it sends no error
    try:
        with client.udp(family) as sock:
            sock.settimeout(TIMEOUT)
            sock.setsockopt(*RECVERR[family], 1)
            sock.connect((VIP[family], PORT))
            sock.send(b"request")
            with pytest.raises(OSError) as raised:
                sock.recv(16)
            assert raised.value.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES)
    finally:
        world.sysctl("ipv4/ip_forward", 0)
        world.run("ip", f"-{family}", "route", "del", "unreachable", unused[family])


# --- what tools say -----------------------------------------------------------------------------------------------------


def test_trace_shows_the_backend(cluster, client, server, family, set_backends):
    set_backends(SERVER)
    at = f"[{VIP[6]}]" if family == 6 else VIP[4]
    said = cluster.node.warren("trace", CLIENT, f"{at}:{PORT}/tcp").stdout
    backend = f"[{server.ips[6]}]:{TARGET}" if family == 6 else f"{server.ips[4]}:{TARGET}"
    assert backend in said, said
    traced = cluster.node.warren_json("trace", CLIENT, f"{at}:{PORT}/tcp")
    assert traced["verdict"] == "pass" and traced["reason"] == "to_endpoint"
    cluster.apply("web", *web({}))
    assert cluster.node.warren_json("trace", CLIENT, f"{at}:{PORT}/tcp")["reason"] == "no_backend"


def test_get_names_the_pods(cluster, family, set_backends):
    set_backends("back/b1", "back/b2")
    found = cluster.node.warren_json("service", "get", "back/web")
    mine = [f for f in found if f["address"].startswith(VIP[4] if family == 4 else f"[{VIP[6]}") and f["protocol"] == "tcp"]
    assert {b["pod"] for b in mine[0]["backends"]} == {"back/b1", "back/b2"}


def test_flows_name_their_service(cluster, client, server, family, set_backends):
    """One that goes to the backend itself has none."""
    set_backends(SERVER)
    with connection(client, server, family) as flow:
        flow.wait_more()
        udp(client, server, server.ips[family], 5353, 5353, server.ips[family])
        flows = cluster.node.warren_json("ct", "list", "--endpoint", client.ifindex)
        flows = [f for f in flows if f["from"]["address"] == client.ips[family] and f["to"]["address"] == server.ips[family]]
        ports = flow.a.getsockname()[1], STREAM_TARGET  # those of earlier tests are closing
        through = [f["service"] for f in flows if f["protocol"] == "tcp" and (f["from"]["port"], f["to"]["port"]) == ports]
        assert through == [{"address": VIP[family], "port": STREAM, "name": "back/web", "client_port": None}], flows
        direct = [f["service"] for f in flows if f["protocol"] == "udp" and f["to"]["port"] == 5353]
        assert direct == [None], flows
