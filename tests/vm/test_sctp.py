# SPDX-License-Identifier: BSD-2-Clause
"""SCTP between real sockets: associations between pods, with the world and through services, messages of all sizes, policy
that changes.
"""

import contextlib
import os

import pytest

from manifests import endpoint, endpoint_slice, matching, pods, policy, port, service, sources
from monitor import Drops
from netns import TIMEOUT
from sctp import PORT, SIZES, association, exchange, receive

pytestmark = pytest.mark.needs("sctp")

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
SERVICE_PORT, NODE_PORT = 80, 30080


@pytest.fixture
def client(overlay):
    return overlay.pods["default/a"]


@pytest.fixture(params=["same-node", "other-node"])
def server(overlay, request):
    return overlay.pods[{"same-node": "default/c", "other-node": "default/b"}[request.param]]


@contextlib.contextmanager
def in_force(overlay, *rules):
    """A policy that isolates all but the client, with these rules."""
    overlay.apply("p", policy("p", matching(("app", "NotIn", "a")), ingress=list(rules)))
    try:
        yield
    finally:
        overlay.remove("p")


def test_pod_to_pod(client, server, family):
    with association(client, server, server.ips[family]) as (a, b):
        for size in SIZES:
            exchange(a, b, size)
        for sock in (a, b):
            assert sock.getpeername()[0] == {a: server, b: client}[sock].ips[family]


def test_pod_to_world_masqueraded(overlay, client, family):
    with association(client, overlay.underlay, overlay.underlay.BEYOND[family]) as (a, b):
        assert b.getpeername()[0] == client.node.address[family]
        for size in SIZES:
            exchange(a, b, size)


def test_policy_by_port(overlay, client, server, family):
    """A rule for a TCP port does not allow SCTP to the same number."""
    with in_force(overlay, sources(pods(app="a"), ports=[port(PORT, "TCP")])), Drops(server.node) as drops:
        with pytest.raises(OSError), association(client, server, server.ips[family], timeout=1):
            pass
        assert drops.wait(lambda e: e["headers"].get("protocol") == "sctp")["reason"] == "ingress_denied"
    with in_force(overlay, sources(pods(app="a"), ports=[port(PORT, "SCTP")])):
        with association(client, server, server.ips[family]) as (a, b):
            exchange(a, b, 1000)


def test_deny_cuts_an_association_and_allow_revives_it(overlay, client, server, family):
    with association(client, server, server.ips[family]) as (a, b):
        exchange(a, b, 1000)
        with in_force(overlay), Drops(server.node) as drops:
            message = os.urandom(1000)
            a.sendall(message)
            assert drops.wait(lambda e: e["headers"].get("protocol") == "sctp")["reason"] == "ingress_denied"
            b.setblocking(False)
            with pytest.raises(BlockingIOError):
                b.recv(1)
            b.settimeout(TIMEOUT)
        assert receive(b, len(message)) == message
        exchange(a, b, 1000)


# --- services: the port changes, and with it the checksum -------------------------------------------------------------


@pytest.fixture
def set_backend(overlay):
    """apply({family: address}, node): the service's only backend."""

    def apply(addresses, node):
        ports = {**port(SERVICE_PORT, "SCTP"), "nodePort": NODE_PORT}
        slices = [
            endpoint_slice(f"sctp-{f}", "sctp", [endpoint(ip, node=node.label)], port(PORT, "SCTP"))
            for f, ip in addresses.items()
        ]
        overlay.apply("service", service("sctp", VIP.values(), ports, type="NodePort"), *slices)

    yield apply
    overlay.remove("service")


@contextlib.contextmanager
def without_offload(*devices):
    """`devices`, (network namespace, name), do not take packets whose checksum is partial."""
    for netns, name in devices:
        netns.run("ethtool", "-K", name, "tx-checksum-sctp", "off")
    try:
        yield
    finally:
        for netns, name in devices:
            netns.run("ethtool", "-K", name, "tx-checksum-sctp", "on")


@pytest.fixture(params=["never", "by-the-pods", "at-the-uplink"])
def completed(request, overlay, client, server):
    """Where the checksum of what pods send is completed."""
    pods = [(pod, "eth0") for pod in (client, server)]
    uplinks = [(node, "eth0") for node in overlay.nodes.values()]
    with without_offload(*{"never": [], "by-the-pods": pods, "at-the-uplink": uplinks}[request.param]):
        yield


@pytest.mark.usefixtures("completed")
def test_service(client, server, family, set_backend):
    set_backend(server.ips, server.node)
    with association(client, server, server.ips[family], service=(VIP[family], SERVICE_PORT)) as (a, b):
        assert a.getpeername()[:2] == (VIP[family], SERVICE_PORT)
        assert b.getpeername()[0] == client.ips[family]
        for size in SIZES:
            exchange(a, b, size)


@pytest.fixture
def outside(overlay):
    """A client that is no node, its address and the NodePort's, of the family that the nodes have. It does not know the
    path's MTU yet: what is too large for the tunnel it sends again in fragments.
    """
    family = overlay.outer
    overlay.underlay.run("ip", f"-{family}", "route", "flush", "cache")
    return overlay.underlay, overlay.underlay.router(1, family), (overlay.nodes["n1"].address[family], NODE_PORT)


@pytest.mark.usefixtures("completed")
def test_client_outside(overlay, outside, server, set_backend):
    world, own, node_port = outside
    set_backend(server.ips, server.node)
    with association(world, server, server.ips[overlay.outer], service=node_port, source=own) as (a, b):
        # Not after the exchange: sctp_transport_update_pmtu() leaves the socket's own address as the peer's.
        assert a.getpeername()[:2] == node_port
        assert b.getpeername()[0] == own
        for size in SIZES:
            exchange(a, b, size)


@pytest.mark.parametrize("host", ["n1", "n2"])
def test_client_outside_to_a_host(overlay, outside, host, set_backend):
    """A process in the network of the node itself, and of the other one."""
    world, own, node_port = outside
    node = overlay.nodes[host]
    set_backend({overlay.outer: node.address[overlay.outer]}, node)
    with association(world, node, node.address[overlay.outer], service=node_port, source=own) as (a, b):
        assert b.getpeername()[0] == own
        for size in SIZES:
            exchange(a, b, size)
