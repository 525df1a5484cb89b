# SPDX-License-Identifier: BSD-2-Clause
"""Floods of one pod that must cost other pods nothing. A pod that may send to no destination sends as fast as it can,
between random ports, from each processor in turn; pods that hold each other's flows fill what conntrack has. Meanwhile
others begin connections, with a round trip of 0.3 s.
"""

import collections
import contextlib
import json
import select
import subprocess
import threading
import time

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Raw

from cluster import Cluster
from lab import BUILD
from manifests import namespace, policy
from netns import TIMEOUT

LOAD = BUILD / "bench/load"
ROUND_TRIP = 0.3
CONNECTIONS = 300
EIGHT = 8
ENTRIES = 1024
LASTS = 1.3  # by more than that much a flow is older than a second: ticks, cached verdicts

pytestmark = pytest.mark.alone


def flood(mode, client, server, family, seconds, cpu=None):
    """`load`, as a process: its JSON says how many packets there were."""
    paths = [str(pod.node.outside(pod.path)) for pod in (server, client)]
    cpus = ["-c", str(cpu), "-s", str(cpu)] if cpu is not None else []
    return subprocess.Popen([LOAD, "-t", str(seconds), *cpus, mode, *paths, server.ips[family]], stdout=subprocess.PIPE, text=True)


def rate(process):
    out, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    return json.loads(out)["rate"]


@contextlib.contextmanager
def late_server(pod, family):
    """Answers each datagram 0.3 s later; yields the port."""
    sock, ended = pod.udp(family, address=pod.ips[family]), threading.Event()

    def serve():
        waiting = collections.deque()
        sock.setblocking(False)
        while not ended.is_set():
            left = waiting[0][0] - time.monotonic() if waiting else 0.05
            if select.select([sock], [], [], max(left, 0))[0]:
                data, source = sock.recvfrom(64)
                waiting.append((time.monotonic() + ROUND_TRIP, data, source))
            while waiting and waiting[0][0] <= time.monotonic():
                sock.sendto(*waiting.popleft()[1:])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        ended.set()
        thread.join()
        sock.close()


def lost(client, server, family, count=CONNECTIONS):
    """How many of so many exchanges, each from a port of its own, one every 5 ms, get no reply within 3 s."""
    with late_server(server, family) as port, contextlib.ExitStack() as stack:
        socks = []
        for _ in range(count):
            sock = stack.enter_context(client.udp(family))
            sock.connect((server.ips[family], port))
            sock.send(b"x")
            socks.append(sock)
            time.sleep(0.005)
        deadline = time.monotonic() + 10 * ROUND_TRIP
        while socks and (left := deadline - time.monotonic()) > 0:
            for sock in select.select(socks, [], [], left)[0]:
                sock.recv(64)
                socks.remove(sock)
        return len(socks)


def ct_refused(node):
    """Flows that last and have no entry in ct, since their endpoint's quota is used up or ct is full."""
    flows = node.warren_json("ct", "stats")["flows"]
    return sum(row["flows"] for row in flows if row["counter"] in ("over_quota", "full"))


def ask_twice(pod, server, address, family, flows):
    """So many flows of datagrams, each with a reply and another datagram when the first is more than a second old."""
    with server.udp(family, address=address) as sock, pod.wire() as wire:
        sock.settimeout(TIMEOUT)
        packets = [bytes(pod.packet(family, address) / UDP(sport=20000 + i, dport=sock.getsockname()[1]) / Raw(b"x")) for i in range(flows)]
        for packet in packets:
            wire.send(packet)
            sock.sendto(*sock.recvfrom(64))
        time.sleep(LASTS)
        for packet in packets:
            wire.send(packet)
            sock.recvfrom(64)


@pytest.fixture(scope="module")
def cluster():
    """A client that may connect to the server, and accepts nothing; an attacker that may do nothing."""
    with Cluster(namespace("default")) as cluster:
        for name in ("client", "server", "attacker", "target"):
            cluster.pod(f"default/{name}", {"app": name})
        cluster.apply(
            "policies",
            policy("default/client", {"app": "client"}, types=["Ingress"]),
            policy("default/attacker", {"app": "attacker"}, egress=[], types=["Ingress", "Egress"]),
        )
        yield cluster


def test_denied_flood(cluster, family):
    """New connections of others, while one pod's denied datagrams open hundreds of thousands of flows a second."""
    pods = {name.partition("/")[2]: pod for name, pod in cluster.pods.items()}
    assert lost(pods["client"], pods["server"], family, 20) == 0
    before = cluster.node.metrics()
    process = flood("blind", pods["attacker"], pods["target"], family, 5)
    failures = lost(pods["client"], pods["server"], family)
    sent = rate(process)
    assert cluster.node.metrics()[("egress_denied", "egress")] - before.get(("egress_denied", "egress"), 0) > 100_000
    assert failures == 0, f"{failures} of {CONNECTIONS} lost under {sent / 1000:.0f} kpps of denied datagrams"


@pytest.fixture(scope="module")
def small():
    """A node with little room in ct."""
    with Cluster(namespace("default"), init=["--ct-entries", ENTRIES]) as cluster:
        for name in ("client", "server", "target", *(f"greedy{i}" for i in range(EIGHT))):
            cluster.pod(f"default/{name}", {"app": name})
        yield cluster


def test_eight_pods(small, family):
    """Eight pods use up their quotas of lasting flows. Another pod's lasting connection still gets an entry in ct."""
    client, server, target = (small.pods[f"default/{name}"] for name in ("client", "server", "target"))
    for i in range(EIGHT):
        refused = ct_refused(small.node)
        # 48 more than the quota: of 176 flows about 14 share a set of their endpoint's window with four others, and are
        # evicted.
        ask_twice(small.pods[f"default/greedy{i}"], target, target.ips[family], family, ENTRIES // EIGHT + 48)
        assert ct_refused(small.node) > refused, "no quota is used up"
    with server.tcp_listen(family) as listener:
        port = listener.getsockname()[1]
        with client.tcp_connect(server.ips[family], port) as sock, listener.accept()[0] as accepted:
            own = accepted.getpeername()[1]
            time.sleep(LASTS)
            sock.send(b"x")
            assert accepted.recv(1) == b"x"
            flows = [flow for flow in small.node.warren_json("ct", "list", "--endpoint", str(client.ifindex)) if flow["from"]["port"] == own]
    assert [flow["table"] for flow in flows] == ["ct"], "it may be pushed out by newer flows"
