# SPDX-License-Identifier: BSD-2-Clause
"""Policy changes and established connections: a deny cuts them, an allow revives them, no other change disturbs
them.
"""

import contextlib
import itertools
import socket
import struct
import time

import pytest

from cluster import CLIENT, LABELS, NAMESPACES, SERVER
from lab import NODE_GATEWAY, Lab, moved
from manifests import block, namespace, namespaces, pod_object, pods, policy, port, sources, targets
from netns import tcp, udp, wait_for
from probes import DENIALS
from traffic import Datagrams, Transfer

pytestmark = pytest.mark.usefixtures("as_before")

CUT_MS = 5000  # from the manifest's rename to the last byte: less than any timer of the agent's. The goal is the bench's
TRIES = 5

FROM_RED = policy("back/from", {"app": "server"}, ingress=[sources({**namespaces(team="red"), **pods(app="client")})])


def denials(cluster):
    return {key: count for key, count in cluster.node.metrics().items() if key[0] in DENIALS + ("no_connection",)}


@contextlib.contextmanager
def nothing_dropped(cluster):
    before = denials(cluster)
    yield
    assert moved(before, denials(cluster)) == {}


# The changes that deny a flow from client to server: (what is enforced before, the manifest that denies).
DENIES = {
    "a policy of the receiver": ([], ("deny", policy("back/deny", ingress=[]))),
    "a policy of the sender": ([], ("deny", policy("front/deny", egress=[], types=["Egress"]))),
    "another policy of the receiver": ([("from", FROM_RED)], ("from", policy("back/from", ingress=[sources(pods())]))),
    "the sender's labels": ([("from", FROM_RED)], ("pod-front-client", pod_object(CLIENT, {"app": "thief"}))),
    "the labels of the sender's namespace": (
        [("from", FROM_RED)],
        ("cluster", namespace("front", team="green"), NAMESPACES[1]),
    ),
}


@pytest.fixture(params=DENIES)
def change(request, cluster):
    """(deny, allow): functions that rename the manifest in. (They do not wait.)"""
    before, (name, *objects) = DENIES[request.param]
    for file, obj in before:
        cluster.apply(file, obj)
    repaired = {"cluster": NAMESPACES, "pod-front-client": [pod_object(CLIENT, LABELS[CLIENT])], "from": [FROM_RED]}
    everyone = policy("back/deny", types=["Ingress"], ingress=[{}])

    def allow():
        if name == "deny":
            everyone["metadata"]["namespace"] = objects[0]["metadata"]["namespace"]
            cluster.write(name, everyone)
        else:
            cluster.write(name, *repaired[name])

    return lambda: cluster.write(name, *objects), allow


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_deny_cuts_a_transfer_and_allow_revives_it(cluster, client, server, drops, family, change, down):
    """Whichever side sends. The retransmissions of lost segments pass again."""
    deny, allow = change
    with Transfer(client, server, server.ips[family], down=down) as transfer:
        for _ in range(2):
            transfer.wait_more(5000)
            drops.drain()
            deny()
            cluster.agent.wait_applied()
            for _ in range(2):
                event = drops.wait_flow(transfer.a)
                assert event["reason"] in DENIALS, event
            got = transfer.got
            assert drops.wait_flow(transfer.a), "it does not try again"
            assert transfer.got == got, "bytes arrive after the first drops"
            allow()
            transfer.wait_more(5000)


@pytest.mark.long
def test_a_deny_takes_effect_by_itself(cluster, client, server, drops, family):
    """From before the rename until the last byte of a busy connection, each time."""
    took = []
    with Transfer(client, server, server.ips[family]) as transfer:
        for _ in range(TRIES):
            transfer.wait_more(5000)
            begin = time.monotonic()
            cluster.write("deny", policy("back/deny", ingress=[]))
            assert drops.wait_flow(transfer.a)["reason"] in DENIALS
            took.append((transfer.last - begin) * 1000)
            cluster.remove("deny")
            drops.drain()
    print("milliseconds:", [round(ms, 1) for ms in took])
    assert max(took) <= CUT_MS, took


UNRELATED = {
    "a policy of a namespace without pods": [policy("nowhere/deny", ingress=[])],
    "a policy that selects no pod": [policy("back/other", {"app": "none"}, ingress=[])],
    "a pod that no policy has as a peer": [pod_object("front/newcomer", {"app": "new"})],
    "a policy that allows it once more": [policy("back/too", {"app": "server"}, ingress=[sources(namespaces())])],
    "an isolation of the other direction": [policy("back/mute", egress=[], types=["Egress"])],
}


@pytest.mark.long
@pytest.mark.parametrize("what", UNRELATED)
def test_other_changes_do_not_disturb(cluster, client, server, family, what):
    cluster.apply("from", FROM_RED)
    with nothing_dropped(cluster), Transfer(client, server, server.ips[family]) as transfer:
        for _ in range(3):
            transfer.wait_more(5000)
            cluster.apply("unrelated", *UNRELATED[what])
            transfer.wait_more(5000)
            cluster.remove("unrelated")
        transfer.wait_more(5000)
        assert transfer.retransmits == 0


def test_unrelated_change_reevaluates_nothing(cluster, client, server):
    """What a change does not concern keeps its class and its revision."""
    cluster.apply("from", FROM_RED)

    def words():
        return {e["pod"]: (e["class"], e["revision"]) for e in cluster.node.warren_json("endpoint", "list")}

    before = words()
    cluster.apply("unrelated", policy("back/other", {"app": "none"}, ingress=[]), pod_object("front/b", {"app": "b"}))
    assert words() == before
    cluster.apply("deny", policy("back/deny", {"app": "server"}, ingress=[]))
    after = words()
    assert after[SERVER] != before[SERVER] and after[CLIENT] == before[CLIENT]


@pytest.mark.long
def test_namespace_relabelled_under_traffic_that_stays_allowed(cluster, client, server, family):
    """Its pods get another identity each time. Not one datagram is lost, there or back."""
    cluster.apply("from", policy("back/from", ingress=[sources(namespaces(team="red"))]))
    datagrams = Datagrams(client, server, server.ips[family])
    with nothing_dropped(cluster):
        for i in range(20):
            cluster.apply("cluster", namespace("front", team="red", round=str(i)), NAMESPACES[1])
            datagrams.wait_more()
        assert datagrams.finish() == set()


@pytest.mark.long
def test_policy_rewritten_under_traffic_that_stays_allowed(cluster, client, server, family):
    """By rules that differ each time and all allow it: by another peer, another port range, another class."""
    ways = [
        policy("back/from", ingress=[sources(namespaces(team="red"))]),
        policy("back/from", ingress=[sources(namespaces(), ports=[port(1, "UDP", end=65535)])]),
        policy("back/from", ingress=[{}], types=["Ingress"]),
        policy("back/from", ingress=[sources(block("10.87.0.0/24"), block("fd00:87::/64"))]),
        policy("back/from", {"app": "server"}, ingress=[sources({**namespaces(), **pods(app="client")})], egress=[]),
    ]
    cluster.apply("from", ways[0])
    datagrams = Datagrams(client, server, server.ips[family])
    with nothing_dropped(cluster):
        for i in range(20):
            cluster.apply("from", ways[i % len(ways)])
            datagrams.wait_more()
        assert datagrams.finish() == set()


# --- whose packet it is that is evaluated --------------------------------------------------------------------------------


@pytest.fixture
def socket_pair(client, server, family):
    """Two connected UDP sockets that have exchanged datagrams."""
    with server.udp(family, address=server.ips[family]) as b, client.udp(family, address=client.ips[family]) as a:
        a.connect(b.getsockname()[:2])
        b.connect(a.getsockname()[:2])
        a.send(b"there")
        assert b.recv(9) == b"there"
        b.send(b"back")
        assert a.recv(9) == b"back"
        yield a, b


def assert_passes(source, sink, text):
    source.send(text)
    assert sink.recv(64) == text


def assert_dropped(drops, source, reason, pod):
    """The reason names the flow's policy; the endpoint is the one that sent."""
    source.send(b"not this one")
    event = drops.wait_sent(source)
    assert event and (event["reason"], event["endpoint"]) == (reason, pod.ifindex), event


@pytest.mark.parametrize("first", ["initiator", "responder"])
def test_next_packet_of_either_side_is_evaluated(cluster, client, server, drops, socket_pair, first):
    """By the initiator's direction, whichever side sends it."""
    a, b = socket_pair
    cluster.apply("deny", policy("back/deny", ingress=[]))
    order = [(a, client), (b, server)]
    for sock, pod in order if first == "initiator" else order[::-1]:
        assert_dropped(drops, sock, "ingress_denied", pod)
    cluster.remove("deny")
    for source, sink in ((a, b), (b, a)) if first == "initiator" else ((b, a), (a, b)):
        assert_passes(source, sink, b"again")


def test_responder_may_answer_though_it_may_not_begin(cluster, client, server, drops, socket_pair):
    """Isolated in its egress, and the initiator in its ingress: neither applies to a reply."""
    a, b = socket_pair
    cluster.apply("mute", policy("back/mute", egress=[], types=["Egress"]), policy("front/deaf", ingress=[]))
    assert_passes(a, b, b"question")
    assert_passes(b, a, b"answer")
    with server.udp(4) as other:
        other.sendto(b"a flow of its own", (client.ips[4], 9))
        event = drops.wait_flow(other)
        assert event["reason"] == "egress_denied", event


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_half_closed_connection(cluster, client, server, drops, family, down):
    """One side has sent its FIN and is still sent to: cut, and revived."""
    with Transfer(client, server, server.ips[family], down=down, half_closed=True) as transfer:
        transfer.wait_more(5000)
        cluster.apply("deny", policy("back/deny", ingress=[]))
        assert drops.wait_flow(transfer.a)["reason"] in DENIALS
        cluster.remove("deny")
        transfer.wait_more(5000)


def test_idle_connection(cluster, client, server, drops, family):
    """Denied and allowed while it was idle: no effect. Denied when it sends: cut. Its entry lasts long."""
    with server.tcp_listen(family) as listener:
        a = client.tcp_connect(server.ips[family], listener.getsockname()[1])
        b, _ = listener.accept()
    with a, b:
        for _ in range(3):
            cluster.apply("deny", policy("back/deny", ingress=[]))
            cluster.remove("deny")
        with nothing_dropped(cluster):
            assert_passes(a, b, b"still here")
            assert_passes(b, a, b"so am I")
        ends = [a.getsockname()[:2], b.getsockname()[:2], "tcp"]
        (flow,) = [
            f
            for f in cluster.node.warren_json("ct", "list")
            if [*((f[end]["address"], f[end]["port"]) for end in ("from", "to")), f["protocol"]] == ends
        ]
        assert flow["state"] == "replied" and flow["expires"] > 7200 * 1000, flow
        cluster.apply("deny", policy("back/deny", ingress=[]))
        b.send(b"not this one")
        assert drops.wait_flow(b)["reason"] == "ingress_denied"


TCP_REPAIR = 19  # linux/tcp.h


def test_half_open_connection_is_reset(cluster, client, server, family):
    """The client has lost a connection without a word, as by a crash, and connects again from the same port. The server's
    old socket only acknowledges; so the client learns of it and resets it (RFC 9293 section 3.5.1).
    """
    cluster.apply("allow", policy("back/allow", ingress=[{}]))
    with server.tcp_listen(family) as listener:
        address = server.ips[family], listener.getsockname()[1]
        with client.tcp_connect(*address) as lost:
            number = lost.getsockname()[1]
            old, _ = listener.accept()
            lost.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        cluster.node.warren("ct", "flush")
        wait_for(lambda: number not in [f["from"]["port"] for f in cluster.node.warren_json("ct", "list")], "its entry's end")
        with old, client.socket(lost.family, socket.SOCK_STREAM) as again:
            again.bind(("", number))
            again.connect(address)
            again.sendall(b"again")
            new, _ = listener.accept()
            with new:
                assert new.recv(64) == b"again"
            with pytest.raises(ConnectionResetError):
                old.recv(64)


def test_connections_to_and_from_the_host_and_the_world(cluster, client, family):
    """The own host is exempt on its way in, not as a target; the world never is. Replies pass in any case."""
    node, world = cluster.node, cluster.world
    cluster.apply("in", policy("front/in", ingress=[]))
    assert tcp(node, client, client.ips[family], size=100000) == NODE_GATEWAY[family]
    assert udp(node, client, client.ips[family]) == NODE_GATEWAY[family]
    tcp(client, world, Lab.WORLD[family], size=100000)
    udp(client, world, Lab.WORLD[family])
    assert cluster.prober.drop_reason("world", CLIENT, "tcp/8080", family) == "ingress_denied"
    cluster.remove("in")
    cluster.apply("out", policy("front/out", egress=[], types=["Egress"]))
    for peer, address in ((world, Lab.WORLD), (node, NODE_GATEWAY)):
        assert tcp(peer, client, client.ips[family], size=100000) == address[family]
        assert udp(peer, client, client.ips[family]) == address[family]
    for name, service in itertools.product(("world", "host"), ("tcp/8080", "udp/53", "icmp")):
        assert cluster.prober.drop_reason(CLIENT, name, service, family) == "egress_denied"
    own = block(f"{NODE_GATEWAY[family]}/{(32, 128)[family == 6]}")
    cluster.apply("out", policy("front/out", egress=[targets(own)], types=["Egress"]))
    assert cluster.prober.drop_reason(CLIENT, "host", "tcp/8080", family) is None


def test_connection_that_has_ended_is_soon_forgotten(cluster, client, server, family):
    """After RST, or FIN both ways, the entry is short-lived; a new connection from the same port is a new flow."""
    with server.tcp_listen(family) as listener:
        number = listener.getsockname()[1]
        source = 0
        for how in ("reset", "close", "reset", "close"):
            a = client.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
            a.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            a.bind((client.ips[family], source))
            source = a.getsockname()[1]
            with nothing_dropped(cluster):
                a.connect((server.ips[family], number))
                b, _ = listener.accept()
                assert_passes(a, b, b"there")
                assert_passes(b, a, b"back")
                if how == "reset":
                    a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    a.close()
                    with contextlib.suppress(ConnectionResetError):
                        b.recv(1)
                    b.close()
                else:
                    b.close()  # the side that closes first keeps the port for a while: the server
                    assert a.recv(1) == b""
                    a.close()

            def is_over():
                found = [
                    f
                    for f in cluster.node.warren_json("ct", "list")
                    if f["from"].get("port") == source and f["to"].get("port") == number
                ]
                return found and found[0]["state"] in ("reset", "closing") and found[0]["expires"] <= 10200

            wait_for(is_over, f"the entry of a connection that ended by {how} to be short-lived")
