# SPDX-License-Identifier: BSD-2-Clause
"""Holes that systems of this kind have had: each reaches what policy denies, or loses what it allows."""

import contextlib
import itertools
import select
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import CLIENT, LABELS, NAMESPACES, SERVER, Cluster
from connect import fence, one_processor
from lab import network
from manifests import block, namespace, namespaces, pod_object, pods, policy, port, sources
from monitor import Drops
from netns import FAMILY, TIMEOUT, tcp, wait_for
from packets import ICMP, echo_request
from seed import drawn
from traffic import Datagrams, Transfer

pytestmark = pytest.mark.usefixtures("as_before")

ONLY_CLIENT = policy("back/only", {"app": "server"}, ingress=[sources({**namespaces(), **pods(app="client")})])
QUARANTINE, NOT_ISOLATED = 0, 1  # classes
COPIES = 20


def words(cluster):
    """{pod: (class, identity, revision)}"""
    return {e["pod"]: (e["class"], e["identity"], e["revision"]) for e in cluster.node.warren_json("endpoint", "list")}


def class_of(cluster, name):
    return words(cluster)[name][0]


# --- the reply side ---------------------------------------------------------------------------------------------------


def end_abruptly(*socks):
    """Closed, they retransmit nothing: what they have sent without a reply would be dropped in the middle of the next
    tests.
    """
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_deny_is_not_reopened_from_the_reply_side(cluster, client, server, drops, family, protocol):
    """The server is not isolated in what it sends; its packets on the denied flow do not pass and open nothing."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with contextlib.ExitStack() as stack:
        if protocol == "tcp":
            listener = stack.enter_context(server.tcp_listen(family))
            a = stack.enter_context(client.tcp_connect(server.ips[family], listener.getsockname()[1]))
            b = stack.enter_context(listener.accept()[0])
        else:
            b = stack.enter_context(server.socket(FAMILY[family], kind))
            b.bind((server.ips[family], 0))
            a = stack.enter_context(client.socket(FAMILY[family], kind))
            a.connect(b.getsockname()[:2])
            a.send(b"there")
            b.connect(b.recvfrom(64)[1][:2])
        end_abruptly(a, b)
        cluster.apply("deny", policy("back/deny", ingress=[]))
        for _ in range(3):
            for sock, pod in ((b, server), (a, client)):
                sock.send(b"not this one")
                event = drops.wait_sent(sock)
                assert event and (event["reason"], event["endpoint"]) == ("ingress_denied", pod.ifindex), event
        for sock in (a, b):
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(64)


def test_crafted_answers_open_nothing(cluster, client, server, drops, family):
    """SYN-ACKs, ACKs, data, FINs and RSTs with the ports of a connection that was denied, or never opened."""
    from scapy.layers.inet import TCP

    cluster.apply("deny", policy("back/deny", ingress=[]))
    a = client.socket(FAMILY[family], socket.SOCK_STREAM)
    with a, server.wire() as out, client.wire() as seen:
        a.setblocking(False)
        a.connect_ex((server.ips[family], 8080))
        event = drops.wait(lambda e: e["reason"] == "ingress_denied")
        assert event["headers"]["destination_port"] == 8080
        for flags, sport in itertools.product(("SA", "A", "PA", "FA", "R"), (8080, 8081)):
            dport = a.getsockname()[1]
            out.send(server.packet(family, client.ips[family]) / TCP(sport=sport, dport=dport, flags=flags) / b"answer")
            ports = {"source_port": sport, "destination_port": dport}  # (closed sockets of earlier tests still retransmit)
            event = drops.wait(lambda e, ports=ports: e["endpoint"] == server.ifindex and ports.items() <= e["headers"].items())
            assert event["reason"] == ("ingress_denied" if sport == 8080 else "no_connection"), (flags, sport, event)
        assert not [f for f in seen.drain() if b"answer" in f]


def test_direction_of_a_connection_is_not_reversed(cluster, client, server, drops, family):
    """The client may open no connections, but may be connected to. The server's bare SYN between the same ports does
    not make replies of what the client sends on the connection that it has opened before.
    """
    from scapy.layers.inet import TCP

    with server.tcp_listen(family) as listener:
        a = client.tcp_connect(server.ips[family], listener.getsockname()[1])
        b, _ = listener.accept()
    with a, b:
        end_abruptly(a, b)
        ports = {"sport": b.getsockname()[1], "dport": a.getsockname()[1]}
        cluster.apply("deny", policy("front/deny", egress=[], types=["Egress"]))
        a.send(b"not this one")
        assert drops.wait(lambda e: e["reason"] == "egress_denied" and e["endpoint"] == client.ifindex)
        with server.wire() as out, server.wire() as seen:
            out.send(server.packet(family, client.ips[family]) / TCP(**ports, flags="S", seq=1))
            for _ in range(2):
                drops.drain()
                assert drops.wait(lambda e: e["endpoint"] == client.ifindex), "nothing of the client's is dropped"
            assert not [f for f in seen.drain() if b"not this one" in f]


def test_echo_request_is_no_reply(cluster, client, server, drops, family):
    """The server may send requests to the client, and gets replies. A request of the client with the same number is no
    reply.
    """
    cluster.apply("deny", policy("back/deny", ingress=[]))
    ident = 0x5757
    with (
        server.socket(FAMILY[family], socket.SOCK_RAW, ICMP[family]) as asks,
        client.socket(FAMILY[family], socket.SOCK_RAW, ICMP[family]) as other,
        server.wire() as seen,
    ):
        asks.bind((server.ips[family], 0))
        asks.sendto(echo_request(family, ident), (client.ips[family], 0))
        assert asks.recv(2048), "no answer"
        seen.drain()
        for _ in range(3):
            other.sendto(echo_request(family, ident), (server.ips[family], 0))
            event = drops.wait(lambda e: e["endpoint"] == client.ifindex and "source_port" not in e["headers"])
            assert event["reason"] == "ingress_denied", event
            assert seen.drain() == []
        asks.sendto(echo_request(family, ident), (client.ips[family], 0))
        assert asks.recv(2048), "no answer any more"


def test_echo_reply_opens_nothing(cluster, client, server, drops, family):
    cluster.apply("deny", policy("back/deny", ingress=[]))
    reply = bytes([0 if family == 4 else 129]) + echo_request(family, 0x5858)[1:]
    if family == 4:  # the checksum of the other type
        reply = b"\0\0" + struct.pack("!H", struct.unpack("!H", reply[2:4])[0] + 0x0800) + reply[4:]
    with client.socket(FAMILY[family], socket.SOCK_RAW, ICMP[family]) as sock, server.wire() as seen:
        sock.sendto(reply, (server.ips[family], 0))
        event = drops.wait(lambda e: e["endpoint"] == client.ifindex)
        assert event["reason"] == "no_connection", event
        assert seen.drain() == []


# --- who the sender is ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_relabelled_while_packets_flow(cluster, client, server, family):
    """From allowed to denied and back, twenty times: once it is enforced, it applies to every packet, in either
    direction.
    """
    cluster.apply("only", ONLY_CLIENT)
    with server.udp(family, address=server.ips[family]) as b, client.udp(family) as a, client.udp(family) as fresh:
        number = b.getsockname()[1]
        a.connect((server.ips[family], number))
        b.setblocking(False)
        stream = Datagrams(client, server, server.ips[family])
        try:
            for i in range(20):
                allowed = i % 2 == 0
                labels = LABELS[CLIENT] if allowed else {"app": "thief", "round": str(i)}
                cluster.apply("pod-front-client", pod_object(CLIENT, labels))
                for n in range(COPIES):
                    a.send(bytes([i, n]))
                fresh.sendto(bytes([i, 255]), (server.ips[family], number))
                got = []
                if allowed:
                    wait_for(lambda: drain(b, got) and len(got) == COPIES + 1, f"datagrams of round {i}")
                else:
                    drain(b, got)
                assert {data[0] for data in got} == ({i} if allowed else set()), f"round {i}"
        finally:
            lost = stream.finish(timeout=1)
    assert stream.answered and lost


def drain(sock, into):
    with contextlib.suppress(BlockingIOError):
        while True:
            into.append(sock.recv(64))
    return True


def test_pod_without_labels(cluster, server, family):
    """It has no labels, but a namespace: empty selectors match it, others do not."""
    bare = cluster.pod("front/bare")
    assert class_of(cluster, "front/bare") == NOT_ISOLATED
    cluster.apply("any", policy("back/any", ingress=[sources(namespaces(team="red"))]))
    tcp(bare, server, server.ips[family])
    without, having = ({**namespaces(), **pods(("app", how))} for how in ("DoesNotExist", "Exists"))
    cluster.apply("any", policy("back/any", ingress=[sources(without)]))
    tcp(bare, server, server.ips[family])
    assert cluster.prober.drop_reason(CLIENT, SERVER, "tcp/8080", family) == "ingress_denied"
    cluster.apply("any", policy("back/any", ingress=[sources(having)]))
    assert cluster.prober.drop_reason("front/bare", SERVER, "tcp/8080", family) == "ingress_denied"
    cluster.apply("deny", policy("front/deny", ingress=[]))
    assert cluster.prober.drop_reason(SERVER, "front/bare", "tcp/8080", family) == "ingress_denied"


def test_namespace_without_object(cluster, server, family):
    """Its pods are pods; a selector of namespaces does not find them until the Namespace is there."""
    cluster.pod("ghost/pod", {"app": "client"})
    drop_reason = cluster.prober.drop_reason
    assert drop_reason("ghost/pod", SERVER, family=family) is None
    cluster.apply("some", policy("back/some", ingress=[sources(namespaces(team="red"))]))
    assert drop_reason("ghost/pod", SERVER, family=family) == "ingress_denied"
    cluster.apply("some", policy("back/some", ingress=[sources(namespaces())]))
    assert drop_reason("ghost/pod", SERVER, family=family) is None
    cluster.apply("own", policy("ghost/own", ingress=[]))
    assert drop_reason(SERVER, "ghost/pod", family=family) == "ingress_denied"
    cluster.remove("own")
    cluster.apply("some", policy("back/some", ingress=[sources(namespaces(team="red"))]))
    cluster.apply("ghost", namespace("ghost", team="red"))
    assert drop_reason("ghost/pod", SERVER, family=family) is None
    cluster.remove("ghost")
    assert drop_reason("ghost/pod", SERVER, family=family) == "ingress_denied"


def test_address_of_another_pod_before(cluster, server, drops, family):
    """Another pod gets the address at once. The first one's rights end with it, its connections too."""
    cluster.apply("only", ONLY_CLIENT)
    ipam = {**network()["ipam"], "rest": 0}
    first = cluster.pod("front/first", {"app": "client"}, ipam=ipam)
    address = first.ips
    with server.udp(family, address=server.ips[family]) as b, server.tcp_listen(family) as listener:
        a = first.udp(family, address=address[family])
        source = a.getsockname()[1]
        a.sendto(b"there", b.getsockname()[:2])
        assert b.recv(64) == b"there"
        b.sendto(b"back", (address[family], source))
        assert a.recv(64) == b"back"
        stream = first.tcp_connect(server.ips[family], listener.getsockname()[1])
        accepted, (_, stream_port, *_) = listener.accept()
        accepted.setblocking(False)
        a.close()
        stream.close()
        cluster.delete("front/first")
        ips = {"ips": [f"{address[4]}/24", f"{address[6]}/64"]}
        second = cluster.pod("front/second", {"app": "thief"}, ipam=ipam, runtime=ips)
        assert second.ips == address
        drops.drain()
        with second.udp(family, port=source, address=address[family]) as thief:
            for _ in range(3):
                thief.sendto(b"not this one", b.getsockname()[:2])
                event = drops.wait(lambda e: e["endpoint"] == second.ifindex)
                assert event["reason"] == "ingress_denied", event
        from scapy.layers.inet import TCP

        with second.wire() as out:
            dport = listener.getsockname()[1]
            out.send(second.packet(family, server.ips[family]) / TCP(sport=stream_port, dport=dport, flags="PA") / b"x")
            event = drops.wait(lambda e: e["endpoint"] == second.ifindex)
            assert event["reason"] == "no_connection", event
        # Nor do packets of the server on the old connection reach the new pod as replies.
        with second.wire() as seen:
            with contextlib.suppress(OSError):
                accepted.send(b"for the first one")
            event = drops.wait(lambda e: e["endpoint"] == server.ifindex)
            assert event["reason"] == "no_connection", event
            assert not [f for f in seen.drain() if b"for the first one" in f]
        accepted.close()


# --- when the policy is not known -------------------------------------------------------------------------------------


def test_manifest_comes_late(cluster, server, family):
    """ADD waits for it, and returns with its policy enforced: the first packet is evaluated."""
    cluster.apply("only", ONLY_CLIENT)
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(cluster.pod, "front/late", manifest=False, policyTimeout=20)
        wait_for(lambda: "front/late" in words(cluster), "the endpoint")
        assert class_of(cluster, "front/late") == QUARANTINE and not adding.done()
        cluster.write("pod-front-late", pod_object("front/late", {"app": "thief"}))
        late = adding.result()
    assert class_of(cluster, "front/late") == NOT_ISOLATED
    with Drops(cluster.node) as drops, late.udp(family) as sock:
        sock.sendto(b"not this one", (server.ips[family], 9))
        event = drops.wait(lambda e: e["endpoint"] == late.ifindex)
        assert event["reason"] == "ingress_denied", event
    cluster.apply("pod-front-late", pod_object("front/late", {"app": "client"}))
    tcp(late, server, server.ips[family])


def test_manifest_never_comes(cluster, client, server, family):
    """ADD gives up in time; the pod is in quarantine until its object comes."""
    cluster.pod("front/never", manifest=False, policyTimeout=1)
    never = cluster.pods["front/never"]
    assert class_of(cluster, "front/never") == QUARANTINE
    tcp(cluster.node, never, never.ips[family])
    drop_reason = cluster.prober.drop_reason
    for other in (SERVER, "world"):
        for src, dst in ((other, "front/never"), ("front/never", other)):
            assert drop_reason(src, dst, family=family) == "quarantine", (src, dst)
    assert "quarantine" in cluster.node.warren("status", check=False).stdout
    cluster.apply("pod-front-never", pod_object("front/never", {"app": "client"}))
    assert drop_reason("front/never", SERVER, family=family) is None
    cluster.remove("pod-front-never")
    assert drop_reason("front/never", SERVER, family=family) == "quarantine"


def test_uid_mismatch(cluster, server, family):
    """The labels of an older object of the name never count."""
    cluster.apply("only", ONLY_CLIENT)
    cluster.write("pod-front-twice", pod_object("front/twice", {"app": "client"}, uid="old"))
    cluster.pod("front/twice", uid="new", manifest=False, policyTimeout=1)
    assert class_of(cluster, "front/twice") == QUARANTINE
    cluster.apply("pod-front-twice", pod_object("front/twice", {"app": "client"}, uid="new"))
    assert cluster.prober.drop_reason("front/twice", SERVER, family=family) is None
    cluster.apply("pod-front-twice", pod_object("front/twice", {"app": "client"}, uid="next"))
    assert cluster.prober.drop_reason("front/twice", SERVER, family=family) == "quarantine"


def test_terminating_pod_stays_enforced_and_connected(cluster, client, server, family):
    cluster.apply("only", ONLY_CLIENT)
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
    with Transfer(client, server, server.ips[family]) as transfer:
        for name in (CLIENT, SERVER):
            cluster.apply("pod-{}-{}".format(*name.split("/")), pod_object(name, LABELS[name], **going))
            transfer.wait_more(5000)
    assert cluster.prober.drop_reason(CLIENT, SERVER, family=family) is None
    assert cluster.prober.drop_reason("world", SERVER, family=family) == "ingress_denied"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_completed_pod_is_gone(cluster, client, server, family, phase):
    """Its labels count no more, though processes of it may still send."""
    cluster.apply("only", ONLY_CLIENT)
    cluster.apply("pod-front-client", pod_object(CLIENT, LABELS[CLIENT], phase=phase))
    assert cluster.prober.drop_reason(CLIENT, SERVER, family=family) == "quarantine"


def test_agent_is_dead(cluster, client, server, family):
    """Without an agent verdicts stay; new pods are in quarantine; changes are enforced when it is back."""
    cluster.apply("only", ONLY_CLIENT)
    with Transfer(client, server, server.ips[family]) as transfer:
        before = words(cluster)
        cluster.agent.kill()
        transfer.wait_more(5000)
        drop_reason = cluster.prober.drop_reason
        assert drop_reason(CLIENT, SERVER, family=family) is None
        assert drop_reason("world", SERVER, family=family) == "ingress_denied"
        cluster.pod("front/new", {"app": "client"})
        assert class_of(cluster, "front/new") == QUARANTINE
        assert cluster.prober.drop_reason("front/new", SERVER, family=family) == "quarantine"
        assert cluster.node.warren("status", check=False).returncode == 1
        cluster.agent.start()
        cluster.agent.wait_applied()
        assert {name: words(cluster)[name] for name in before} == before, "an unchanged policy was applied again"
        assert drop_reason("front/new", SERVER, family=family) is None
        assert cluster.node.warren("status", check=False).returncode == 0
        transfer.wait_more(5000)
        cluster.agent.kill()
        cluster.write("deny", policy("back/deny", ingress=[]))
        cluster.unlink("only")
        transfer.wait_more(5000)
        cluster.agent.start()
        cluster.agent.wait_applied()
        assert drop_reason(CLIENT, SERVER, family=family) == "ingress_denied"


INVALID = {  # a rule of ingress
    "endPort below port": {"ports": [port(80, end=79)]},
    "except outside of its block": sources(block("10.0.0.0/8", "11.0.0.0/8")),
    "block and selector": sources({**block("10.0.0.0/8"), **pods()}),
    "a protocol that is none": {"ports": [port(80, "ICMP")]},
}


@pytest.mark.parametrize("what", INVALID)
def test_invalid_policy_isolates(cluster, client, server, what):
    """It isolates what it selects, in both directions; status reports it until it is fixed."""
    assert cluster.node.warren("status", check=False).returncode == 0
    cluster.apply("bad", policy("back/bad", {"app": "server"}, ingress=[INVALID[what]]))
    for family in (4, 6):
        assert cluster.prober.drop_reason(CLIENT, SERVER, family=family) == "ingress_denied"
        assert cluster.prober.drop_reason(SERVER, CLIENT, family=family) == "egress_denied"
    status = cluster.node.warren("status", check=False)
    assert status.returncode == 1 and "not valid" in status.stdout, status.stdout
    cluster.apply("bad", policy("back/bad", {"app": "server"}, ingress=[{}]))
    assert cluster.node.warren("status", check=False).returncode == 0
    assert cluster.prober.drop_reason(CLIENT, SERVER) is None


def test_broken_file_opens_nothing(cluster, client, server, family):
    """The previous version stays enforced, and status reports the file."""
    cluster.apply("deny", policy("back/deny", ingress=[]))
    cluster.agent.write("deny.json", '{"apiVersion": "networking.k8s.io/v1", "kind": ')
    cluster.agent.wait_applied()
    assert cluster.prober.drop_reason(CLIENT, SERVER, family=family) == "ingress_denied"
    status = cluster.node.warren("status", check=False)
    assert status.returncode == 1 and "deny.json" in status.stdout, status.stdout


# --- crowds -----------------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_colluding_pods_cannot_push_others_out(family):
    """Two pods open more and more lasting flows between them: they fill their quota and their windows, then new ones are
    refused, and no other pod is affected.
    """
    with Cluster(*NAMESPACES, init=["--ct-entries", 1024]) as cluster:
        client, server = cluster.pod(CLIENT, LABELS[CLIENT]), cluster.pod(SERVER, LABELS[SERVER])
        one, two = (cluster.pod(f"front/{name}", {"app": name}) for name in ("one", "two"))
        cluster.apply("only", ONLY_CLIENT)
        quota = cluster.node.warren_json("ct", "stats")["quota_of_one_endpoint"]
        with Transfer(client, server, server.ips[family]) as transfer:
            idle = Transfer(client, server, server.ips[family])
            idle.wait_more(5000)
            idle.pause()  # silent from here on
            lasted = []
            for _ in range(4):
                lasted.append(lasting_flows(one, two, family, 2 * quota))
                transfer.wait_more(1000)
            assert lasted[0] > quota and lasted[-1] < 2 * quota, lasted
            assert cluster.node.metrics()["ct_full", "egress"] > 0
            counters = {c["counter"]: c["flows"] for c in cluster.node.warren_json("ct", "stats")["flows"]}
            assert counters["over_quota"] > 0, counters
            listed = cluster.node.warren_json("ct", "list", "--endpoint", one.ifindex)
            assert sum(f["table"] == "ct" for f in listed) == quota
            assert transfer.retransmits == 0
            # The silent flow is still in both tables, and there is room for new flows.
            for sock, peer in ((idle.a, idle.b), (idle.b, idle.a)):
                sock.setblocking(True)
                peer.settimeout(TIMEOUT)
                sock.send(b"still here")
                assert peer.recv(10) == b"still here"
            idle.a.close()
            idle.b.close()
            assert lasting_flows(client, server, family, 1) == 1
            mine = cluster.node.warren_json("ct", "list", "--endpoint", client.ifindex)
            assert [f["table"] for f in mine if f["protocol"] == "udp"] == ["ct"], mine


def lasting_flows(one, two, family, count):
    """UDP, there and back, each from a port of its own, and again when the flow is old enough for ct. Returns how many
    were not refused.
    """
    with two.udp(family, address=two.ips[family]) as b, contextlib.ExitStack() as stack, one_processor():
        flows = [stack.enter_context(one.udp(family)) for _ in range(count)]
        for a in flows:
            a.connect(b.getsockname()[:2])
        for wait in (0, 1.3):
            time.sleep(wait)
            flows = [a for a in flows if echoes(one, two, a, b, family)]
        return len(flows)


def echoes(one, two, a, b, family):
    """Whether a datagram of `one` on the connected socket `a` arrives at `b` of `two`, and its reply at `a`."""
    a.send(b"x")
    if not select.select([b], [], [], 0)[0]:
        fence(one, family)
        if not select.select([b], [], [], 0)[0]:
            return False
    b.sendto(*b.recvfrom(64))
    if not select.select([a], [], [], 0)[0]:
        fence(two, family)
    assert select.select([a], [], [], 0)[0], "the datagram has arrived, and its reply has not"
    return a.recv(64) == b"x"


@pytest.mark.alone
def test_flood_of_new_flows(cluster, client, server, family):
    """As fast as one thread can send them, more than there is room for: established connections are not affected."""
    cluster.apply("only", ONLY_CLIENT)
    target = cluster.pod("front/target", {"app": "target"})
    flooder = cluster.pod("front/flooder", {"app": "flooder"})
    room = {t["table"]: t["room"] for t in cluster.node.warren_json("ct", "stats")["tables"]}[f"ct_new{family}"]
    sent, draw = 0, drawn()
    with Transfer(client, server, server.ips[family]) as transfer, flooder.udp(family) as sock:
        while sent < 2 * room:
            for number in draw.sample(range(1, 65536), 4096):
                sock.sendto(b"", (target.ips[family], number))
            sent += 4096
        transfer.wait_more(5000)
        assert transfer.retransmits == 0
    tcp(client, server, server.ips[family])


# --- all at once ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_pods_come_and_go_under_policy_edits(cluster, client, server, family):
    """ADDs and DELs beside policy edits: each new pod is evaluated rightly by its first packet."""
    stop = threading.Event()

    def edit():
        for i in itertools.count():
            if stop.is_set():
                return
            cluster.write("edit", policy(f"back/edit{i % 3}", {"app": "server"}, ingress=[sources(pods(app=f"x{i}"))]))
            time.sleep(0.002)

    cluster.apply("only", ONLY_CLIENT)
    with ThreadPoolExecutor(1) as pool, Transfer(client, server, server.ips[family]) as transfer:
        editing = pool.submit(edit)
        try:
            for i in range(5):
                name, allowed = f"front/p{i}", i % 2 == 0
                cluster.pod(name, {"app": "client" if allowed else "thief"})
                reason = cluster.prober.drop_reason(name, SERVER, family=family)
                assert reason == (None if allowed else "ingress_denied"), name
                cluster.delete(name)
        finally:
            stop.set()
            editing.result()
        transfer.wait_more(5000)
        assert transfer.retransmits == 0
