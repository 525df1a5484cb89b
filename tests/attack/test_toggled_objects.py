# SPDX-License-Identifier: BSD-2-Clause
"""What a tenant's object costs the API server: an agent that follows one, and an object that changes a hundred times."""

import base64
import signal

import pytest

from agent import Agent
from certificates import Authority
from fake_apiserver import LISTS, NODES, POLICIES, SECRET, FakeApiServer, kubeconfig
from lab import Lab
from manifests import node_object, policy
from netns import wait_for

OWN = f"{NODES}/self"
KUBECONFIG = "/run/kubeconfig"
TIMES = 100


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    ca = Authority(tmp_path_factory.mktemp("api") / "ca")
    return ca, ca.sign("server", f"IP:{Lab.WORLD[4]}")


@pytest.fixture(params=[pytest.param(True, id="watch-list"), pytest.param(False, id="list", marks=pytest.mark.long)])
def followed(request, certificate):
    """(API server, agent)"""
    ca, signed = certificate
    with Lab() as lab, FakeApiServer(lab.world, 4, signed, watch_list=request.param) as api:
        api.put(NODES, node_object("self", ["10.1.0.0/24"], [Lab.UPLINK[4]]))
        api.single[SECRET] = {"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {"key": base64.b64encode(bytes(16)).decode()}}
        lab.node.outside(KUBECONFIG).write_text(kubeconfig(ca, f"https://{Lab.WORLD[4]}:{api.port}"))
        with Agent(lab.node, "--kubeconfig", KUBECONFIG, "--node-name", "self", manifests=None) as agent:
            wait_for(lambda: len(api.patches()) == 2, "the Node to be patched")
            yield api, agent


def test_an_invalid_policy_that_comes_and_goes(followed):
    """A change of this kind must not patch any Node."""
    api, agent = followed
    looks = lambda: len(api.lists_of(OWN))  # noqa: E731
    invalid = policy("default/bad", ingress=[{"ports": [{"port": 443, "endPort": 80}]}])

    def look():
        """The agent reads its Node and writes its status. Twice: after the second time it has written."""
        for _ in range(2):
            before = looks()
            agent.signal(signal.SIGHUP)
            agent.wait_notified("READY=1")
            wait_for(lambda: agent.status() and looks() > before, "the agent to look at its Node")

    look()
    before = api.patches()
    for i in range(TIMES):
        if i % 2:
            api.delete(POLICIES, invalid)
        else:
            api.put(POLICIES, invalid)
        wait_for(lambda: agent.status()["counts"]["policies_invalid"] == (i + 1) % 2, "the policy to be read")
        look()
    after = api.patches()
    print(f"{len(after) - len(before)} patches of the Node for {TIMES} changes of a policy")
    assert after == before


def test_where_lists_come_from(followed):
    """From the API server's cache: a thousand agents that start at once must not have etcd read everything a thousand
    times.
    """
    api, agent = followed
    for path in LISTS:
        queries = api.lists_of(path)
        if api.watch_list:
            assert all("watch" in query for query in queries)
            continue
        lists = [query for query in queries if "watch" not in query]
        assert [query["resourceVersion"] for query in lists] == ["0"]
        assert "resourceVersionMatch" not in lists[0]
