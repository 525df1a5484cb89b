# SPDX-License-Identifier: BSD-2-Clause
"""Floods of one pod and what they cost others: nothing. One that may send to nobody sends as fast as it can, between random ports,
from each processor in turn; pods that hold each other's flows fill what conntrack has. Meanwhile others begin connections, with a
round trip of 0.3 s.
"""

import collections
import contextlib
import json
import select
import subprocess
import threading
import time

import pytest

from cluster import Cluster
from lab import BUILD
from manifests import namespace, policy
from netns import TIMEOUT

LOAD = BUILD / "bench/load"
ROUND_TRIP = 0.3
CONNECTIONS = 300
EIGHT = 8

pytestmark = pytest.mark.long


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
    """How many of so many exchanges, each from a port of its own, one every 5 ms, come to no answer in 3 s."""
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
    """Flows that were answered and have no entry of their own."""
    flows = node.warren_json("ct", "stats")["flows"]
    return sum(row["flows"] for row in flows if row["counter"] in ("over_share", "full"))


@pytest.fixture(scope="module")
def cluster():
    """A client that may ask the server, and is asked by nobody; an attacker that may do nothing."""
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
    """New connections of others, while one pod's denied datagrams begin hundreds of thousands of flows a second."""
    pods = {name.partition("/")[2]: pod for name, pod in cluster.pods.items()}
    assert lost(pods["client"], pods["server"], family, 20) == 0
    before = cluster.node.metrics()
    process = flood("blind", pods["attacker"], pods["target"], family, 5)
    failures = lost(pods["client"], pods["server"], family)
    sent = rate(process)
    assert cluster.node.metrics()[("egress_denied", "egress")] - before.get(("egress_denied", "egress"), 0) > 100_000
    assert failures == 0, f"{failures} of {CONNECTIONS} lost under {sent / 1000:.0f} kpps of denied datagrams"


def test_eight_pods(cluster, family):
    """Eight pods have all the flows answered that they can. Another one's connection is tracked as ever."""
    client, server, target = (cluster.pods[f"default/{name}"] for name in ("client", "server", "target"))
    with contextlib.ExitStack() as stack:
        for i in range(EIGHT):
            cluster.pod(f"default/greedy{i}", {"app": "greedy"})
            stack.callback(cluster.delete, f"default/greedy{i}")
        cluster.wait_applied()
        for i in range(EIGHT):
            refused, tries = ct_refused(cluster.node), 0
            while ct_refused(cluster.node) == refused:
                assert rate(flood("answered", cluster.pods[f"default/greedy{i}"], target, family, 2)) > 0
                tries += 1
                assert tries < 10, "no quota is used up"
        with server.tcp_listen(family) as listener:
            port = listener.getsockname()[1]
            with client.tcp_connect(server.ips[family], port), listener.accept()[0] as accepted:
                own = accepted.getpeername()[1]
                flows = [flow for flow in cluster.node.warren_json("ct", "list", "--endpoint", str(client.ifindex)) if flow["from"]["port"] == own]
        assert [flow["table"] for flow in flows] == ["ct"], "it may be pushed out by anybody's new flows"
