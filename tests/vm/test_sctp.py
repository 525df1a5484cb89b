# SPDX-License-Identifier: BSD-2-Clause
"""SCTP between real sockets: associations between pods and with the world, messages of all sizes, policy that changes."""

import os

import pytest

from lab import TIMEOUT, Lab
from policy_lab import Drops, namespaces, policy, port, sources
from sctp import PORT, SIZES, association, exchange, receive

pytestmark = [pytest.mark.smoke, pytest.mark.needs("sctp")]

CLIENT, SERVER = "front/client", "back/server"


@pytest.fixture(autouse=True)
def as_before(cluster):
    yield
    cluster.remove(*[f for f in cluster.files if f != "cluster" and not f.startswith("pod-")])


@pytest.fixture
def client(cluster):
    return cluster.pods[CLIENT]


@pytest.fixture
def server(cluster):
    return cluster.pods[SERVER]


def test_pod_to_pod(client, server, family):
    with association(client, server, server.ips[family]) as (a, b):
        for size in SIZES:
            exchange(a, b, size)
        for sock in (a, b):
            assert sock.getpeername()[0] == {a: server, b: client}[sock].ips[family]


def test_pod_to_world_masqueraded(cluster, client, family):
    with association(client, cluster.world, Lab.WORLD[family]) as (a, b):
        assert b.getpeername()[0] == Lab.UPLINK[family]
        for size in SIZES:
            exchange(a, b, size)


def test_policy_by_port(cluster, client, server, family):
    """SCTP's ports are SCTP's: the same number of TCP opens nothing."""
    cluster.apply("p", policy("back/p", ingress=[sources(namespaces(team="red"), ports=[port(PORT, "TCP")])]))
    with Drops(cluster.node) as drops:
        with pytest.raises(OSError), association(client, server, server.ips[family], timeout=1):
            pass
        assert drops.wait(lambda e: e["headers"].get("protocol") == "sctp")["reason"] == "ingress_denied"
    cluster.apply("p", policy("back/p", ingress=[sources(namespaces(team="red"), ports=[port(PORT, "SCTP")])]))
    with association(client, server, server.ips[family]) as (a, b):
        exchange(a, b, 1000)


def test_deny_cuts_an_association_and_allow_revives_it(cluster, client, server, family):
    with association(client, server, server.ips[family]) as (a, b):
        exchange(a, b, 1000)
        with Drops(cluster.node) as drops:
            cluster.apply("deny", policy("back/deny", ingress=[]))
            message = os.urandom(1000)
            a.sendall(message)
            assert drops.wait(lambda e: e["headers"].get("protocol") == "sctp")["reason"] == "ingress_denied"
            b.setblocking(False)
            with pytest.raises(BlockingIOError):
                b.recv(1)
            b.settimeout(TIMEOUT)
        cluster.remove("deny")
        assert receive(b, len(message)) == message
        exchange(a, b, 1000)
