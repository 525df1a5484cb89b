# SPDX-License-Identifier: BSD-2-Clause
"""Health check ports of Services (externalTrafficPolicy Local), and /healthz and /livez for load balancers: what a client
on the LAN gets from each node.
"""

import contextlib
import errno
import json

import pytest

from manifests import endpoint, endpoint_slice, port, service
from netns import wait_for
from overlay import ALL, Overlay

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
BALANCER = {4: "203.0.113.10", 6: "2001:db8:10::10"}
BACKEND = {4: "192.0.2.1", 6: "2001:db8::1"}
MORE = {4: "198.51.100.7", 6: "2001:db8:7::7"}
HEALTH, OTHER, HEALTHZ = 32100, 32101, 10256
TAINT = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}


@pytest.fixture(scope="module")
def overlay():
    with Overlay(options=["--service-healthz", f"[::]:{HEALTHZ}"]) as overlay:
        yield overlay


@pytest.fixture(autouse=True)
def _as_before(overlay):
    manifests = dict(overlay.manifests)
    yield
    for name in [n for n in overlay.manifests if n not in manifests]:
        overlay.unlink(name)
    for name, objects in manifests.items():
        overlay.write(name, *objects)
    overlay.wait_applied()


def balanced(*nodes, name="shop/web", ready=True, number=HEALTH, vip=VIP, **spec):
    """A Service that has a health check port, with an endpoint on each of the nodes."""
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": number, **spec}
    made = service(name, vip.values(), {**port(80), "nodePort": number + 1000}, **spec)
    endpoints = {f: [endpoint(f"{BACKEND[f]}{i}", ready=ready, node=n) for i, n in enumerate(nodes)] for f in ALL}
    return [made, *(endpoint_slice(f"{name}-{f}", name, endpoints[f], port(8080)) for f in ALL)]


def ask(client, address, number=HEALTH, request="GET / HTTP/1.1"):
    """(status, headers, body)"""
    with client.tcp_connect(address, number) as sock:
        sock.sendall(f"{request}\r\nHost: node\r\n\r\n".encode())
        data = b""
        while more := sock.recv(1 << 16):
            data += more
    head, _, body = data.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    return int(status.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body


def health(client, address, number=HEALTH):
    """(status, endpoints)"""
    status, headers, body = ask(client, address, number)
    count = json.loads(body)["localEndpoints"]
    assert headers["X-Load-Balancing-Endpoint-Weight"] == str(count)
    return status, count


def listens(client, address, number=HEALTH):
    try:
        client.tcp_connect(address, number).close()
    except OSError as err:
        assert err.errno == errno.ECONNREFUSED, err
        return False
    return True


def problem(node):
    found = [c["message"] for c in node.agent.status()["problems"] if c["subject"] == "health check ports of services"]
    return found[0] if found else None


def test_as_kube_proxy(overlay, outside, n1, n2, family):
    """Its status, headers and body, by any path and method."""
    overlay.apply("web", *balanced("n1", "n1", "n3"))
    status, headers, body = ask(outside, n1.address[family])
    assert status == 200
    assert headers["Content-Type"] == "application/json" and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Load-Balancing-Endpoint-Weight"] == "2"
    assert body == '{\n\t"service": {\n\t\t"namespace": "shop",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}'
    assert ask(outside, n1.address[family], request="GET /healthz?x=y HTTP/1.0")[2] == body
    assert ask(outside, n1.address[family], request="OPTIONS /any HTTP/1.1")[0] == 200
    assert health(outside, n2.address[family]) == (503, 0)
    # Also for the node itself, and for the other one.
    assert health(n1, n1.address[family]) == (200, 2)
    assert health(n1, n2.address[family]) == (503, 0)


def test_services_change(overlay, outside, n1, family):
    address = n1.address[family]
    overlay.apply("web", *balanced("n2"))
    assert health(outside, address) == (503, 0)
    overlay.apply("web", *balanced("n2", "n1"))
    assert health(outside, address) == (200, 1)
    overlay.apply("web", *balanced("n1", ready=False))
    assert health(outside, address) == (503, 0)
    overlay.apply("web", *balanced("n1", externalTrafficPolicy="Cluster"))
    assert not listens(outside, address)
    overlay.apply("web", *balanced("n1", number=OTHER))
    assert health(outside, address, OTHER) == (200, 1) and not listens(outside, address)
    overlay.apply("web", *balanced("n1"))
    assert health(outside, address) == (200, 1) and not listens(outside, address, OTHER)
    # Neither of these has one.
    overlay.apply("web", *balanced("n1", type="NodePort"))
    assert not listens(outside, address)
    overlay.apply("web", *balanced("n1"))
    overlay.remove("web")
    assert not listens(outside, address)


def test_agent_is_killed(overlay, outside, n1, family):
    overlay.apply("web", *balanced("n1"))
    n1.agent.restart()
    n1.agent.wait_applied()
    assert health(outside, n1.address[family]) == (200, 1)


@pytest.mark.long
def test_port_of_another_program(overlay, outside, n1, family):
    """It is reported, the others are open, and it is tried again."""
    with n1.tcp_listen(family, HEALTH, n1.address[family]):
        overlay.apply("web", *balanced("n1"))
        overlay.apply("db", *balanced("n1", name="shop/db", number=OTHER, vip={f: f"{VIP[f]}1" for f in ALL}))
        assert health(outside, n1.address[family], OTHER) == (200, 1)
        text = problem(n1)
        assert text.startswith("1 of 2 are not open; shop/web: cannot listen at ") and "Address already in use" in text
        assert f"{HEALTH}, its health check port" in text
        # At its other address it is open.
        assert health(outside, n1.address[10 - family]) == (200, 1)
    wait_for(lambda: not problem(n1), "the port to be open")
    assert health(outside, n1.address[family]) == (200, 1)


@pytest.mark.parametrize("number", [22, 9961, 10250, HEALTHZ])
def test_ports_of_nodes(overlay, n1, number):
    """Where the range of node ports has them: the agent's own, the kubelet's, and privileged ones."""
    overlay.apply("web", *balanced("n1", number=number))
    assert problem(n1) == f"1 of 1 are not open; shop/web: health check port {number} is not open: programs of nodes listen there"
    if number not in (9961, HEALTHZ):
        n1.tcp_listen(4, number, n1.address[4]).close()


def test_two_services_with_a_port(overlay, outside, n1, family):
    """As no API server has it: the one that was first keeps it."""
    overlay.apply("web", *balanced("n1"))
    overlay.apply("db", *balanced("n2", name="shop/db", vip={f: f"{VIP[f]}1" for f in ALL}))
    assert health(outside, n1.address[family]) == (200, 1)
    assert problem(n1) == f"1 of 2 are not open; shop/db: health check port {HEALTH} is not open: another Service has it"
    overlay.remove("web")
    assert health(outside, n1.address[family]) == (503, 0) and not problem(n1)


@contextlib.contextmanager
def more_address(node, family, device="eth0"):
    """The node has another address for a while."""
    address = [f"{MORE[family]}/{32 if family == 4 else 128}", "dev", device]
    node.run("ip", "address", "add", *address, *(["nodad"] if family == 6 else []))
    yield
    node.run("ip", "address", "del", *address)


def test_node_changes_its_addresses(overlay, outside, n1, family):
    overlay.apply("web", *balanced("n1"))
    assert not listens(n1, n1.gateway[family])
    with more_address(n1, family):
        overlay.apply("node-n1", n1.object(addresses=[*n1.address.values(), MORE[family]]))
        assert health(n1, MORE[family]) == (200, 1)
        overlay.apply("node-n1", n1.object())
        assert not listens(n1, MORE[family])
        assert health(outside, n1.address[family]) == (200, 1)


# --- the node's own health --------------------------------------------------------------------------------------------


def pages(client, address):
    """(status of /healthz, nodeEligible, status of /livez)"""
    status, headers, body = ask(client, address, HEALTHZ, "GET /healthz HTTP/1.1")
    live, _, other = ask(client, address, HEALTHZ, "GET /livez HTTP/1.1")
    assert headers["Content-Type"] == "application/json" and {"lastUpdated", "currentTime"} == set(json.loads(other))
    return status, json.loads(body)["nodeEligible"], live


def test_node_that_leaves(overlay, outside, n1, family):
    address = n1.address[family]
    assert pages(outside, address) == (200, True, 200)
    leaving = n1.object()
    leaving["spec"]["taints"] = [TAINT]
    overlay.apply("node-n1", leaving)
    assert pages(outside, address) == (503, False, 200)
    overlay.apply("node-n1", n1.object())
    assert pages(outside, address) == (200, True, 200)
    leaving = n1.object()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    overlay.apply("node-n1", leaving)
    assert pages(outside, address) == (503, False, 200)
    # Health check ports are about endpoints alone.
    overlay.apply("web", *balanced("n1"))
    assert health(outside, address) == (200, 1)
    assert ask(outside, address, HEALTHZ, "GET /metrics HTTP/1.1")[0] == 404
