# SPDX-License-Identifier: BSD-2-Clause
"""Clients of the agent's listeners that send little, read nothing, or come in crowds: health requests get a reply at
once, others in turn.
"""

import contextlib
import re
import select
import socket
import statistics
import threading
import time

import pytest

from agent import SOCKET
from cluster import Cluster
from lab import NODE_GATEWAY
from manifests import endpoint, endpoint_slice, namespace, pods, policy, port, service, sources
from netns import FAMILY, TIMEOUT, wait_for

HEALTH, METRICS, HEALTH_CHECK = 9961, 9962, 32000
NODE = "n1"
PORTS = {"health": HEALTH, "metrics": METRICS}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
CROWD = 1000
DEADLINE = 5  # seconds: what a connection to a listener may last
SOON_MS = 50
PROBE_TIMEOUT = 1  # seconds: what kubelet waits by default


@pytest.fixture(scope="module")
def cluster():
    with Cluster(namespace("default"), options=["--metrics", f"[::]:{METRICS}", "--nodeport-addresses", "0.0.0.0/0,::/0", "--node-name", NODE]) as cluster:
        cluster.pod("default/attacker", {"app": "attacker"})
        yield cluster


def get(netns, address, port, path="/healthz", timeout=PROBE_TIMEOUT):
    """(status, body) of a request that is sent at once."""
    with netns.tcp_connect(address, port, timeout) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode())
        data = b""
        while more := sock.recv(1 << 20):
            data += more
            head, end, body = data.partition(b"\r\n\r\n")
            if end and f"content-length: {len(body)}\r\n" in f"{head.decode().lower()}\r\n":
                break
    return int(head.split(b" ")[1]), body.decode()


class Crowd:
    """Clients that each send one byte of a request that never ends, and reconnect when they are closed."""

    def __init__(self, netns, address, port, count=CROWD):
        self.netns, self.address, self.port = netns, address, port
        self.ended, self.connected, self.cut = threading.Event(), 0, 0
        self.thread = threading.Thread(target=self.run, args=(count,))

    def come(self, poll, socks):
        sock = self.netns.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((self.address, self.port))
        socks[sock.fileno()] = sock
        poll.register(sock, select.POLLOUT | select.POLLIN)

    def run(self, count):
        poll, socks = select.poll(), {}
        for _ in range(count):
            self.come(poll, socks)
        while not self.ended.is_set():
            for fd, events in poll.poll(10):
                sock = socks[fd]
                if events & (select.POLLIN | select.POLLERR | select.POLLHUP):
                    poll.unregister(sock)
                    socks.pop(fd).close()
                    self.cut += 1
                    self.come(poll, socks)
                else:
                    with contextlib.suppress(OSError):
                        sock.send(b"G")
                    self.connected += 1
                    poll.modify(sock, select.POLLIN)
        for sock in socks.values():
            sock.close()

    def __enter__(self):
        self.thread.start()
        deadline = time.monotonic() + 2
        while self.connected < CROWD // 2 and time.monotonic() < deadline:
            self.ended.wait(0.01)
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def probes(netns, address=LOOPBACK[4], port=HEALTH, path="/healthz", count=50):
    """How long each of so many requests took, in ms; infinite: it had no reply in time."""
    took = []
    for _ in range(count):
        began = time.monotonic()
        try:
            assert get(netns, address, port, path)[0] == 200
            took.append(1000 * (time.monotonic() - began))
        except OSError:
            took.append(float("inf"))
            if len(took) >= 3 and set(took) == {float("inf")}:
                break
    return took


@pytest.mark.long
@pytest.mark.parametrize("listener", PORTS)
def test_health_beside_a_crowd(cluster, listener):
    """Against the health listener itself, and against the metrics."""
    node = cluster.node
    with Crowd(node, LOOPBACK[4], PORTS[listener]) as crowd:
        took = probes(node)
        print(f"{CROWD} slow clients at {listener}, {crowd.cut} cut: /healthz in {statistics.median(took):.1f} ms, at most {max(took):.1f} ms")
    assert statistics.median(took) <= SOON_MS and max(took) < 1000 * PROBE_TIMEOUT, took


@pytest.mark.long
def test_pod_beside_others(cluster, family):
    """A pod's crowd at the metrics: its own connections are closed, not those of others, even one that takes a second
    for its request.
    """
    node, attacker = cluster.node, cluster.pods["default/attacker"]
    with node.tcp_connect(LOOPBACK[family], METRICS) as slow, Crowd(attacker, NODE_GATEWAY[family], METRICS) as crowd:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        took = probes(node, LOOPBACK[family], METRICS, "/metrics", 20)
        assert crowd.cut > 0
        slow.sendall(b" node\r\n\r\n")
        assert slow.recv(1 << 20).startswith(b"HTTP/1.1 200")
        print(f"{CROWD} slow clients of a pod, {crowd.cut} cut: /metrics in {statistics.median(took):.1f} ms")
    assert max(took) < 1000 * PROBE_TIMEOUT, took


@pytest.mark.long
def test_health_check_port_beside_a_crowd(cluster, family):
    """A pod's crowd at a Service's health check port: it delays neither a load balancer at this port, and at that of another
    Service, nor the agent's own health.
    """
    node, attacker, address = cluster.node, cluster.pods["default/attacker"], cluster.lab.UPLINK[family]
    with cluster.as_before():
        for i in range(2):
            spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": HEALTH_CHECK + i}
            cluster.write(f"s{i}", service(f"default/s{i}", [f"10.96.0.{i + 1}"], port(80), **spec),
                          endpoint_slice(f"default/s{i}", f"default/s{i}", [endpoint("192.0.2.1", node=NODE)], port(80)))
        cluster.wait_applied()
        before = lost_syns(node)
        with Crowd(attacker, address, HEALTH_CHECK) as crowd:
            took = [probes(node, address, HEALTH_CHECK + i, count=20) for i in range(2)] + [probes(node, count=20)]
            assert crowd.cut > 0
            print(f"{CROWD} slow clients of a pod, {crowd.cut} cut: health check ports in {[round(statistics.median(t), 1) for t in took]} ms")
        assert max(max(t) for t in took) < 1000 * PROBE_TIMEOUT, took
        assert lost_syns(node) == before
        with node.tcp_connect(address, HEALTH_CHECK) as sock:
            assert trickle(sock, b"GET / HTTP/1.1\r\nX: " + 200 * b"x") < 2 * DEADLINE + 1


def lost_syns(node):
    """How many SYNs found a listener's queue full."""
    names, values = (line.split() for line in node.run("grep", "^TcpExt:", "/proc/net/netstat").stdout.splitlines())
    return int(values[names.index("ListenDrops")])


def trickle(sock, text, pause=0.5, most=3 * DEADLINE):
    """Sends a byte each half second; how many seconds pass until the other side ends that."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError), sock:
        for byte in text:
            if select.select([sock], [], [], pause)[0] and not sock.recv(1 << 20):
                break
            sock.sendall(bytes([byte]))
            if time.monotonic() - began > most:
                break
    return time.monotonic() - began


@pytest.mark.long
def test_trickle_is_cut(cluster):
    """A byte each half second keeps no connection open: to health, to metrics, to the agent's socket, and of a client
    that never reads.
    """
    node, agent = cluster.node, cluster.agent
    request = b"GET /metrics HTTP/1.1\r\nHost: node\r\nX: " + 200 * b"x"
    never = node.tcp_connect(LOOPBACK[4], METRICS)
    never.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    never.sendall(100 * b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n")
    clients = {
        "health": (node.tcp_connect(LOOPBACK[4], HEALTH), request),
        "metrics": (node.tcp_connect(LOOPBACK[6], METRICS), request),
        "socket": (agent.connect(SOCKET), b'{"method": "' + 200 * b"x"),
        "blank lines": (node.tcp_connect(LOOPBACK[4], METRICS), 200 * b"\r\n"),
        "body": (node.tcp_connect(LOOPBACK[4], HEALTH), b"POST /healthz HTTP/1.1\r\nHost: node\r\nContent-Length: 9999\r\n\r\n" + 200 * b"x"),
    }
    lasted = {}
    threads = [
        threading.Thread(target=lambda name, client: lasted.__setitem__(name, trickle(*client)), args=item) for item in clients.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print({name: f"{seconds:.1f} s" for name, seconds in lasted.items()})
    assert set(lasted) == set(clients) and max(lasted.values()) < 2 * DEADLINE + 1, lasted
    with never:
        never.settimeout(1)
        with contextlib.suppress(ConnectionError):
            while never.recv(1 << 20):  # what was on its way; then the end
                pass


@pytest.mark.long
def test_unread_answers_are_forgotten(cluster, family):
    """For clients that send requests and never read, the kernel buffers nothing for long, neither while they are
    connected nor after.
    """
    node, attacker = cluster.node, cluster.pods["default/attacker"]

    def connections():
        return node.run("ss", "-Htn", "state", "connected", "exclude", "time-wait", f"sport = :{METRICS}").stdout.splitlines()

    with contextlib.ExitStack() as stack:
        for _ in range(200):
            sock = stack.enter_context(attacker.socket(FAMILY[family], socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            sock.settimeout(TIMEOUT)
            sock.connect((NODE_GATEWAY[family], METRICS))
            sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        began = time.monotonic()
        assert connections()
        wait_for(lambda: not connections(), "the connections to be forgotten", 3 * DEADLINE)
        print(f"gone after {time.monotonic() - began:.1f} s")


def test_socket_beside_a_crowd(cluster):
    """Of root's own processes, 1,100 that connect to the agent's socket and send nothing: a request gets its reply, a
    pod is started.
    """
    agent = cluster.agent
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            sock = stack.enter_context(agent.connect())
            with contextlib.suppress(OSError):
                sock.sendall(b'{"method')
        began = time.monotonic()
        assert agent.status()["synced"]
        print(f"status in {1000 * (time.monotonic() - began):.1f} ms")
        cluster.pod("default/late", {"app": "late"})
        assert agent.endpoint(cluster.pods["default/late"])["state"] == "not isolated"
    cluster.delete("default/late")


def test_socket_is_of_root(cluster):
    """Only root connects to the agent's socket; a pod's user 0 in a namespace of its own is not root."""
    mode = cluster.node.outside(SOCKET).stat()
    assert (mode.st_mode & 0o777, mode.st_uid) == (0o600, 0)
    script = f"import socket; socket.socket(socket.AF_UNIX).connect({SOCKET!r})"
    user = ["setpriv", "--reuid=65534", "--clear-groups"]
    for argv in (user, [*user, "unshare", "--user", "--map-root-user"]):
        result = cluster.node.run(*argv, "/usr/bin/python3", "-c", script, check=False)
        assert result.returncode != 0 and "PermissionError" in result.stderr, result


def series(agent_text):
    return {line.rpartition(" ")[0] for line in agent_text.splitlines() if not line.startswith("#")}


def scrape(node):
    return get(node, LOOPBACK[4], METRICS, "/metrics")[1]


def policies(text):
    return int(re.search(r'^warren_objects{kind="NetworkPolicy"} (\d+)$', text, re.M)[1])


def test_names_of_objects_make_no_series(cluster):
    """Names of namespaces, pods and policies, which their owners choose, make no series."""
    node = cluster.node
    before = series(scrape(node))
    with cluster.as_before():
        for n in range(50):
            rules = [sources(pods(app=f"a{n}"))]
            cluster.write(f"t{n}", namespace(f"t{n}", **{"warren.dev/x": f"v{n}"}), *[policy(f"t{n}/p{i}", {"app": f"b{i}"}, ingress=rules) for i in range(20)])
        cluster.write("bad", policy("t1/bad", {"app": "b"}, ingress=[{"ports": [{"port": 5, "endPort": 1}]}]))
        cluster.wait_applied()
        wait_for(lambda: policies(scrape(node)) >= 1001, "all policies")
        text = scrape(node)
        assert policies(text) == 1001 and series(text) == before


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"GET /healthz?" + 1000 * b"a" + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET /" + 100_000 * b"a" + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"4"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + 100_000 * b"a" + b"\r\n\r\n", b"4"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + 5000 * b"X: a\r\n" + b"\r\n", b"4"),
        (b"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n" + 100_000 * b"a", b"4"),
        (b"GET /../metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
    ],
    ids=["query", "path", "header", "headers", "body", "above", "metrics"],
)
def test_health_of_odd_requests(cluster, request_, status):
    """Every request gets a reply, or its connection is closed; the next one gets a reply."""
    with cluster.node.tcp_connect(LOOPBACK[4], HEALTH) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(request_)
        answer = sock.recv(1 << 20)
        assert not answer or answer.split(b" ")[1].startswith(status), answer
    assert get(cluster.node, LOOPBACK[4], HEALTH) == (200, "ok\n")


@pytest.mark.long
def test_one_answer_a_connection(cluster):
    """Of requests in a row on one connection the first gets a reply. The others do not occupy the agent."""
    with cluster.node.tcp_connect(LOOPBACK[4], METRICS) as sock:
        sock.sendall(100 * b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        began, data = time.monotonic(), b""
        assert cluster.agent.status()["synced"]
        answered = time.monotonic() - began
        with contextlib.suppress(ConnectionError):
            while more := sock.recv(1 << 20):
                data += more
    assert data.count(b"HTTP/1.1 200 OK") == 1 and answered < PROBE_TIMEOUT
