# SPDX-License-Identifier: BSD-2-Clause
"""Two API servers, which the nodes find by one name: either of them ends, or falls silent."""

import contextlib
import os
import signal

import pytest

from kube_client import KubeClient
from kube_cluster import NODES, Kubernetes, agent_pids
from manifests import pods as with_labels
from manifests import policy, sources
from netns import wait_for
from pair import blackhole, connected, made_pair, traffic

SERVERS = {"cp": "10.10.0.10", "cp2": "10.10.0.9"}


@pytest.fixture(scope="module")
def own(image):
    with Kubernetes("servers", CNI="warren", PROXY="none", APIS=" ".join(SERVERS)) as cluster:
        yield cluster


@contextlib.contextmanager
def ended(own, server):
    own.stop_api(server)
    try:
        yield
    finally:
        own.start_api(server)


@contextlib.contextmanager
def silent(own, server):
    blackhole(own, True, server)
    try:
        yield
    finally:
        blackhole(own, False, server)


def servers_of(own, node):
    """The API servers to which its agent is connected."""
    lines = own.node(node, "ss", "-Htnp", "state", "established", "dport", "=", "6443").stdout.splitlines()
    return {name for name, address in SERVERS.items() for line in lines if "warren-agent" in line and f"{address}:6443" in line}


@pytest.mark.parametrize("gone", (ended, silent))
def test_one_server_is_enough(own, gone):
    """Traffic goes on, and what the other one takes is enforced; also by an agent that starts with nothing but the name."""
    with made_pair(own) as pair, traffic(pair):
        for node in NODES:
            wait_for(lambda: len(servers_of(own, node)) == 1, f"a connection of the agent of {node}")
            (server,) = servers_of(own, node)
            (other,) = set(SERVERS) - {server}
            with gone(own, server), contextlib.closing(KubeClient(own.world, own.pki, address=SERVERS[other])) as api:
                follows(own, pair, api, other)
                own.node(node, "rm", "/var/lib/warren/api-servers")
                old = agent_pids(own, node)[node]
                os.kill(old, signal.SIGKILL)
                wait_for(lambda: agent_pids(own, node)[node] not in (old, None), f"the next agent of {node}")
                follows(own, pair, api, other)
                assert "api.warren.example" in own.machine(node).agent.status()["kubernetes"]["server"]


def follows(own, pair, api, server):
    """Both agents do, by this server: policy is changed there."""
    allow = not pair.works("other", any)
    peers = [with_labels(app="client"), with_labels(app="x")][: 1 + allow]
    api.apply(policy(f"{pair.space}/server", {"app": "server"}, ingress=[sources(*peers)]))
    wait_for(lambda: pair.works("other", all if allow else any) == allow, "the new policy", 90)
    for node in NODES:
        wait_for(lambda: all(connected(own, node)), "all kinds to be followed", 90)
        wait_for(lambda: servers_of(own, node) == {server}, f"the agent of {node} to leave the other server")
    assert pair.works("client")
