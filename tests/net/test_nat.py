# SPDX-License-Identifier: BSD-2-Clause
"""Flows with NAT in the host's stack: hostPort by the reference `portmap` plugin chained after ours,
a service address by a hand-made nft rule, masquerading. Both sides evaluate policy for the real endpoints,
and replies return through the stack.
"""

import itertools
import os
import socket

import pytest

from cluster import CLIENT, LABELS, NAMESPACES, SERVER, Cluster
from lab import NODE_GATEWAY, PORTMAP, Lab
from manifests import block, namespaces, pods, policy, port, sources, targets
from monitor import Drops
from netns import FAMILY, tcp, udp, wait_for

pytestmark = pytest.mark.usefixtures("as_before")

SERVICE = {4: "192.0.2.10", 6: "2001:db8:5::10"}  # an address that no host has, as a ClusterIP is
HOST_PORT, SERVICE_PORT, PORT = 18080, 80, 8080
# Each taken once. For one that an earlier connection had, through another frontend, the stack's NAT takes another port.
OWN_PORTS = itertools.count(20000)
BIG = 8 << 20


@pytest.fixture(scope="module")
def cluster():
    """The server listens at port 8080 of both protocols, which is hostPort 18080 and port 80 of a service."""
    with Cluster(*NAMESPACES) as cluster:
        cluster.pod(CLIENT, LABELS[CLIENT])
        mappings = [{"hostPort": HOST_PORT, "containerPort": PORT, "protocol": p} for p in ("tcp", "udp")]
        server = cluster.pod(
            SERVER, LABELS[SERVER], chain=[PORTMAP], runtime={"portMappings": mappings}, cniVersion="1.0.0"
        )
        for family in (4, 6):
            ip = "ip" if family == 4 else "ip6"
            to = f"{server.ips[family]}:{PORT}" if family == 4 else f"[{server.ips[family]}]:{PORT}"
            match = f"{ip} daddr {SERVICE[family]}"
            cluster.node.run(
                "nft",
                "-f",
                "-",
                input=f"""
                table {ip} service {{
                    chain prerouting {{
                        type nat hook prerouting priority dstnat
                        {match} tcp dport {SERVICE_PORT} dnat to {to}
                        {match} udp dport {SERVICE_PORT} dnat to {to}
                    }}
                    chain postrouting {{
                        type nat hook postrouting priority srcnat
                        {ip} saddr {server.ips[family]} {ip} daddr {server.ips[family]} masquerade
                    }}
                }}""",
            )
            cluster.world.run("ip", f"-{family}", "route", "add", SERVICE[family], "via", Lab.UPLINK[family])
        yield cluster


@pytest.fixture(params=["hostPort", "hostPort at the gateway", "service"])
def frontend(request, family):
    """(address, port) by which the server is reached, translated."""
    return {
        "hostPort": (Lab.UPLINK[family], HOST_PORT),
        "hostPort at the gateway": (NODE_GATEWAY[family], HOST_PORT),
        "service": (SERVICE[family], SERVICE_PORT),
    }[request.param]


def by_udp(sender, receiver, frontend, size=5):
    """A datagram there and one back; the address that the receiver saw."""
    payload = os.urandom(size)
    return udp(sender, receiver, frontend[0], frontend[1], PORT, receiver.ips[6 if ":" in frontend[0] else 4], payload=payload)


def by_tcp(sender, receiver, frontend, size=1):
    return tcp(sender, receiver, frontend[0], frontend[1], PORT, size=size)


def assert_dropped(drops, pod, frontend, reason, at):
    """TCP and UDP; `at`: the pod whose program drops it."""
    family = 6 if ":" in frontend[0] else 4
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with pod.socket(FAMILY[family], kind) as sock:
            sock.setblocking(False)
            sock.bind(("", next(OWN_PORTS)))
            sock.connect_ex(frontend)
            if kind == socket.SOCK_DGRAM:
                sock.send(b"not this one")
            event = drops.wait_flow(sock)
            assert event and (event["reason"], event["endpoint"]) == (reason, at.ifindex), event


# --- pod to pod -------------------------------------------------------------------------------------------------------


def test_allowed(client, server, family, frontend):
    """Not isolated; the server sees the client's own address."""
    for _ in range(2):
        assert by_tcp(client, server, frontend) == client.ips[family]
        assert by_udp(client, server, frontend) == client.ips[family]


def test_allowed_by_rules_on_both_sides(cluster, client, server, family, frontend):
    """The receiver's: by the client's identity, at the pod's own port. The sender's: by the address, and by the pod."""
    length = 32 if family == 4 else 128
    client_pods = {**namespaces(team="red"), **pods(app="client")}
    cluster.apply(
        "rules",
        policy("back/in", ingress=[sources(client_pods, ports=[port(PORT), port(PORT, "UDP")])]),
        policy(
            "front/out",
            egress=[targets({**namespaces(), **pods(app="server")}), targets(block(f"{frontend[0]}/{length}"))],
            types=["Egress"],
        ),
    )
    assert by_tcp(client, server, frontend, size=100000) == client.ips[family]
    assert by_udp(client, server, frontend) == client.ips[family]


def test_denied_by_the_receiver(cluster, client, server, family, frontend, drops):
    cluster.apply("deny", policy("back/deny", ingress=[sources(pods(app="none"))]))
    assert_dropped(drops, client, frontend, "ingress_denied", at=server)


def test_denied_by_the_receiver_by_port(cluster, client, server, family, frontend, drops):
    """A rule for the port before NAT does not allow the pod's port."""
    ports = [port(number, protocol) for number in (HOST_PORT, SERVICE_PORT) for protocol in ("TCP", "UDP")]
    cluster.apply("deny", policy("back/deny", ingress=[sources(namespaces(), ports=ports)]))
    assert_dropped(drops, client, frontend, "ingress_denied", at=server)


def test_denied_by_the_sender_at_once(cluster, client, server, family, frontend, drops):
    """No rule allows the address that it sends to."""
    cluster.apply("deny", policy("front/deny", egress=[], types=["Egress"]))
    assert_dropped(drops, client, frontend, "egress_denied", at=client)


def test_denied_by_the_sender_after_translation(cluster, client, server, family, frontend, drops):
    """The address is allowed, the pod that it leads to is not."""
    length = 32 if family == 4 else 128
    cluster.apply("deny", policy("front/deny", egress=[targets(block(f"{frontend[0]}/{length}"))], types=["Egress"]))
    assert_dropped(drops, client, frontend, "egress_denied", at=server)


def test_quarantined_sender(cluster, server, family, frontend, drops):
    """A quarantined pod may reach its host, and a hostPort is its host's: the guard drops what goes on from there."""
    lost = cluster.pod("front/lost", manifest=False, policyTimeout=0)
    try:
        if frontend[0] == SERVICE[family]:
            assert_dropped(drops, lost, frontend, "quarantine", at=lost)
            return
        before = cluster.node.guard_drops()
        with lost.udp(family) as sock, server.wire() as seen:
            for i in range(3):
                sock.sendto(b"not this one", frontend)
                wait_for(lambda: cluster.node.guard_drops() == before + i + 1, "the guard's counter")
            assert not [f for f in seen.drain() if b"not this one" in f]
    finally:
        cluster.delete("front/lost")


def test_deny_reaches_a_live_connection(cluster, client, server, family, frontend):
    """Denied by the receiver's policy, allowed by the next."""
    with server.tcp_listen(family, PORT) as listener:
        a = client.tcp_connect(*frontend)
        b, _ = listener.accept()
    with a, b:
        a.send(b"there")
        assert b.recv(64) == b"there"
        cluster.apply("deny", policy("back/deny", ingress=[]))
        with Drops(cluster.node) as drops:
            a.send(b"later")
            ports = {"source_port": b.getpeername()[1], "destination_port": b.getsockname()[1]}
            event = drops.wait(lambda e: ports.items() <= e["headers"].items())
            assert (event["reason"], event["endpoint"]) == ("ingress_denied", server.ifindex), event
            b.send(b"answer")
            ports = {"source_port": b.getsockname()[1], "destination_port": b.getpeername()[1]}
            event = drops.wait(lambda e: ports.items() <= e["headers"].items())
            assert event["reason"] == "ingress_denied", event
        cluster.remove("deny")
        assert b.recv(64) == b"later"
        assert a.recv(64) == b"answer"


def test_big_transfers(client, server, family, frontend):
    by_tcp(client, server, frontend, size=BIG)
    by_udp(client, server, frontend, size=40000)  # in fragments


def test_port_unreachable_comes_back(client, server, family, frontend):
    """The error quotes a packet with the pod's address; after reverse NAT the client gets an error for its own packet."""
    with client.udp(family) as sock:
        sock.connect(frontend)
        sock.send(b"no listener")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(64)


def test_reset_comes_back(client, server, family, frontend):
    with pytest.raises(ConnectionRefusedError):
        client.tcp_connect(*frontend)


def test_to_itself(server, family, frontend):
    """Through the stack and back into the same pod: policy is evaluated as for any two pods."""
    assert by_tcp(server, server, frontend, size=100000) != server.ips[family]
    by_udp(server, server, frontend)


def test_to_itself_denied(cluster, server, family, frontend, drops):
    cluster.apply("deny", policy("back/deny", ingress=[]))
    assert_dropped(drops, server, frontend, "ingress_denied", at=server)


def test_both_entries(cluster, client, server, family, frontend):
    """One ICMP error for the client's request, one for the server's; the second goes through the stack."""
    with server.tcp_listen(family, PORT) as listener:
        a = client.tcp_connect(*frontend)
        b, _ = listener.accept()
        with a, b:
            # As the stack translated it: the source port too, if an earlier connection through another frontend had this one.
            ends = (a.getsockname()[:2], frontend), (b.getpeername()[:2], b.getsockname()[:2])
            flows = [f for f in cluster.node.warren_json("ct", "list") if f["protocol"] == "tcp"]
            found = {tuple((f[side]["address"], f[side]["port"]) for side in ("from", "to")): f for f in flows}
            assert set(ends) <= set(found), flows
            first, second = (found[e] for e in ends)
            assert first["from"]["pod"] == CLIENT and "pod" not in first["to"]
            assert (second["from"]["pod"], second["to"]["pod"]) == (CLIENT, SERVER)
            assert "via-stack" not in first["flags"] and "via-stack" in second["flags"]
            for flow in (first, second):
                assert flow["state"] == "replied" and flow["expires"] > 3600 * 1000, flow


# --- the world --------------------------------------------------------------------------------------------------------


def test_world_by_host_port(cluster, server, family, drops):
    """The world reaches it as the world: ipBlocks apply to its source, rules for pods do not."""
    frontend = Lab.UPLINK[family], HOST_PORT
    assert by_tcp(cluster.world, server, frontend, size=BIG) == Lab.WORLD[family]
    assert by_udp(cluster.world, server, frontend) == Lab.WORLD[family]
    cluster.apply("in", policy("back/in", ingress=[sources(block(f"{Lab.WORLD[family]}/{(32, 128)[family == 6]}"))]))
    assert by_tcp(cluster.world, server, frontend) == Lab.WORLD[family]
    cluster.apply("in", policy("back/in", ingress=[sources(namespaces())]))
    drops.drain()
    assert_dropped(drops, cluster.world, frontend, "ingress_denied", at=server)


def test_masqueraded(cluster, client, server, family):
    """From a pod that may open this flow only; replies pass, though no flow to it may be opened."""
    only = targets(block(f"{Lab.WORLD[family]}/{32 if family == 4 else 128}"))
    cluster.apply("out", policy("front/out", ingress=[], egress=[only]))
    world = cluster.world
    assert tcp(client, world, Lab.WORLD[family], size=BIG) == Lab.UPLINK[family]
    assert udp(client, world, Lab.WORLD[family], payload=os.urandom(20000)) == Lab.UPLINK[family]
    client.ping(Lab.WORLD[family], size=4000)
    with client.udp(family) as sock:
        sock.connect((Lab.WORLD[family], 9))
        sock.send(b"no listener")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(64)
    assert cluster.prober.drop_reason(CLIENT, "beyond", "udp/53", family) == "egress_denied"
    assert cluster.prober.drop_reason("world", CLIENT, "udp/53", family) == "ingress_denied"


def test_world_to_a_pod_that_may_send_nothing(cluster, client, family):
    """Its replies pass, with its own address."""
    cluster.apply("mute", policy("front/mute", egress=[], types=["Egress"]))
    world = cluster.world
    assert tcp(world, client, client.ips[family], size=BIG) == Lab.WORLD[family]
    assert udp(world, client, client.ips[family]) == Lab.WORLD[family]
    world.ping(client.ips[family])


@pytest.mark.parametrize("flags", ["SA", "A", "PA", "FA", "R"])
def test_unsolicited_answers_from_outside(cluster, client, family, drops, flags):
    """To a pod that is isolated: not a reply to any flow."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    cluster.apply("in", policy("front/in", {"app": "client"}, ingress=[], egress=[{}], types=["Ingress", "Egress"]))
    macs = [n.ip("link", "show", "eth0")[0]["address"] for n in (cluster.world, cluster.node)]
    ip = (IP if family == 4 else IPv6)(src=Lab.WORLD[family], dst=client.ips[family])
    with cluster.world.wire() as out, client.wire() as seen:
        out.send(Ether(src=macs[0], dst=macs[1]) / ip / TCP(sport=443, dport=40001, flags=flags) / b"unsolicited")
        event = drops.wait(lambda e: e["endpoint"] == client.ifindex)
        assert event["reason"] == "no_connection", event
        assert not [f for f in seen.drain() if b"unsolicited" in f]


def test_unrelated_errors_from_outside(cluster, client, family, drops):
    """An ICMP error about a packet that the pod never sent."""
    from scapy.layers.inet import ICMP, IP, UDP
    from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
    from scapy.layers.l2 import Ether

    layer = IP if family == 4 else IPv6
    quoted = layer(src=client.ips[family], dst=Lab.WORLD[family]) / UDP(sport=40002, dport=9) / b"quoted!!"
    error = (ICMP(type=3, code=3) if family == 4 else ICMPv6DestUnreach(code=4)) / quoted
    macs = [n.ip("link", "show", "eth0")[0]["address"] for n in (cluster.world, cluster.node)]
    with cluster.world.wire() as out, client.wire() as seen:
        out.send(Ether(src=macs[0], dst=macs[1]) / layer(src=Lab.WORLD[family], dst=client.ips[family]) / error)
        event = drops.wait(lambda e: e["endpoint"] == client.ifindex)
        assert event["reason"] == "icmp_error", event
        assert not [f for f in seen.drain() if b"quoted!!" in f]
