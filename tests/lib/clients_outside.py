# SPDX-License-Identifier: BSD-2-Clause
"""Two nodes, and clients outside the cluster that use a service at the first one."""

import contextlib
import socket

from netns import FAMILY
from overlay import ALL, Overlay

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
BALANCER = {4: "203.0.113.80", 6: "2001:db8:80::80"}  # no host has it; the underlay routes it to the first node
PORT, NODE_PORT, TARGET = 80, 30080, 8080
STREAM, STREAM_NODE_PORT, STREAM_TARGET = 81, 30081, 8081
TRACED = 40000  # the client's port of `warren trace`
SETUPS = {
    "tunnel-over-v4": dict(mode="tunnel", outer=4),
    "tunnel-over-v6": dict(mode="tunnel", outer=6),
    "direct": dict(mode="direct", outer=4),
}


@contextlib.contextmanager
def made(setup, pods):
    """`pods`: {name: node}; a pod's label `app` is the first letter of its name."""
    with Overlay(**SETUPS[setup]) as overlay:
        for name, node in pods.items():
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        overlay.underlay.run("sysctl", "-qw", f"net.ipv4.ip_local_reserved_ports={TRACED}")
        for f in ALL:
            overlay.underlay.run("ip", f"-{f}", "route", "add", BALANCER[f], "via", overlay.nodes["n1"].address[f])
        yield overlay


def forget_flows(overlay):
    """A client that gets an earlier test's port at random, for another node's address, would be dropped (service_clash)."""
    for node in overlay.nodes.values():
        node.warren("ct", "flush")


def balanced(service):
    """The same with addresses of a load balancer."""
    service["status"] = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in BALANCER.values()]}}
    return service


def ask_from_one_port(client, server, frontends, target, number=0):
    """Datagrams to all of them ((address, port) each), then the replies. Returns the client's port, and the server's view:
    its clients, in that order. `target`: the server's address and port.
    """
    family = 6 if ":" in target[0] else 4
    with server.udp(family, target[1], target[0]) as b, client.udp(family, number) as a:
        for frontend in frontends:
            a.sendto(repr(frontend).encode(), frontend)
        seen = dict(b.recvfrom(200) for _ in frontends)
        for data, source in seen.items():
            b.sendto(data, source)
        replies = dict(a.recvfrom(200) for _ in frontends)
        assert {data.decode(): repr(source[:2]) for data, source in replies.items()} == {repr(f): repr(f) for f in frontends}
        return a.getsockname()[1], [seen[repr(f).encode()][:2] for f in frontends]


@contextlib.contextmanager
def connections_from_one_port(client, server, frontends, target, number=0):
    """The same with connections, which stay open. Yields the client's port, and the server's view."""
    family = 6 if ":" in target[0] else 4
    seen = []
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(server.tcp_listen(family, target[1], target[0]))
        pairs = []
        for frontend in frontends:
            a = stack.enter_context(client.socket(FAMILY[family], socket.SOCK_STREAM))
            a.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            a.bind(("0.0.0.0" if family == 4 else "::", number))
            a.connect(frontend)
            number = a.getsockname()[1]
            b, source = listener.accept()
            pairs.append((a, stack.enter_context(b)))
            seen.append(source[:2])
        for n, (a, b) in enumerate(pairs):
            a.sendall(b"request %d" % n)
        for n, (a, b) in enumerate(pairs):
            assert b.recv(64) == b"request %d" % n
            b.sendall(b"reply %d" % n)
            assert a.recv(64) == b"reply %d" % n
        yield number, seen


def ports_differ(seen):
    """Of these clients; one at most has the client's own port, which a flow of an earlier test may still have."""
    return len({port for _, port in seen}) == len(seen)


def traced_flows(node, own):
    """What a trace of this client's packet would have written, if it wrote something."""
    return [f for f in node.warren_json("ct", "list") if f["from"] == {"address": own, "port": TRACED}]
