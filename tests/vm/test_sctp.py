# SPDX-License-Identifier: BSD-2-Clause
"""SCTP between real sockets: associations between pods and with the world, messages of all sizes, policy that changes."""

import contextlib
import os

import pytest

from manifests import matching, pods, policy, port, sources
from monitor import Drops
from netns import TIMEOUT
from sctp import PORT, SIZES, association, exchange, receive

pytestmark = pytest.mark.needs("sctp")


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
