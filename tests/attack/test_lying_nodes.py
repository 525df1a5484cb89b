# SPDX-License-Identifier: BSD-2-Clause
"""A stolen kubelet credential: the Node object, and the pods, of one node claim the addresses of another. Node n1 lies,
n2 is the victim, n3 reads both. n3 and n2 must reach each other all the time.
"""

import pytest

from manifests import policy
from netns import tcp, wait_for
from overlay import ALL, Overlay

PODS = (("default/liar", "n1"), ("default/victim", "n2"), ("default/peer", "n3"))
HALF = {4: "10.87.2.128/25", 6: "fd00:87:0:2:8000::/65"}
OLD, NEW = "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
CONNECT_TIMEOUT = 2  # seconds


class Lied(Overlay):
    def __init__(self):
        super().__init__(nodes=3)
        for name, node in PODS:
            self.pod(name, node, app=name.partition("/")[2])
        # The victim accepts the peer by its labels only.
        self.write("peers", policy("default/peers", {"app": "victim"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "peer"}}}]}]))
        self.wait_applied()
        self.wait_resolved()

    def lie(self, **changes):
        """The other nodes read this as n1's Node from now on; n1 itself keeps the true one."""
        n1 = self.nodes["n1"]
        for name in ("n2", "n3"):
            self._write_to(self.nodes[name], "node-n1", [n1.object(**changes)])
        self.wait_applied()

    def reach(self):
        """The peer and the victim, by the family of each; as the peer's labels allow."""
        peer, victim = self.pods["default/peer"], self.pods["default/victim"]
        for f in ALL:
            assert tcp(peer, victim, victim.ips[f], timeout=CONNECT_TIMEOUT) == peer.ips[f]

    def problem(self, at, of="n1"):
        return self.nodes[at].known()[of]["problem"] or ""

    def agent_problem(self, at, what):
        return next((c["message"] for c in self.nodes[at].agent.status()["problems"] if c["subject"] == what), "")


@pytest.fixture(scope="module")
def overlay():
    with Lied() as overlay:
        yield overlay


@pytest.fixture
def truth(overlay):
    """At the end n1's Node is the true one again, and everything is as before."""
    yield overlay
    overlay.lie()
    wait_for(lambda: not overlay.problem("n3") and not overlay.problem("n2"), "no problem to be left")
    liar, peer = overlay.pods["default/liar"], overlay.pods["default/peer"]
    for f in ALL:
        assert tcp(liar, peer, peer.ips[f]) == liar.ips[f]


def lies(overlay, family):
    n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
    other = 10 - family
    yield {"addresses": [n2.address[family], n1.address[other]]}
    yield {"addresses": [*n1.address.values(), n2.address[family]]}
    yield {"cidrs": [HALF[family], n1.cidr[other]]}
    yield {"cidrs": [n2.cidr[family], n1.cidr[other]]}


def test_a_node_claims_what_another_one_has(truth, family):
    for lie in lies(truth, family):
        truth.lie(**lie)
        truth.reach()
        assert "of node n2, which had it first" in truth.problem("n3")
        assert not truth.problem("n3", of="n2")
        # ... nor by starting the agent anew: what the maps hold was there first
        truth.nodes["n3"].agent.restart()
        assert "of node n2, which had it first" in truth.problem("n3")
        truth.reach()
        truth.lie()


def test_the_liar_is_named_once(truth):
    log = truth.nodes["n3"].agent.log
    before = log.read_text().count("which had it first")
    for i in range(20):
        truth.lie(addresses=[truth.nodes["n2"].address[4], f"2001:db8:77::{i + 1:x}"])
    assert log.read_text().count("which had it first") == before + 1


def test_a_pod_claims_anothers_address(truth, family):
    """n1's kubelet reports for its pod the address of the peer, of n3, or of the world."""
    peer = truth.pods["default/peer"]
    at_n2 = truth.nodes["n2"]
    for ip in (peer.ips[family], truth.nodes["n3"].address[family], truth.underlay.BEYOND[family]):
        truth.apply("claim", truth.pod_manifest("default/claim", truth.nodes["n1"], [ip], app="claim"))
        truth.reach()
        message = truth.agent_problem("n2", "Pods of other nodes")
        assert "default/claim" in message and ip in message and "n1" in message
        assert at_n2.agent.metrics()["warren_ipcache_refused"][()] == 1
        log = at_n2.agent.log.read_text()
        assert log.count(message) == 1
        truth.remove("claim")
        assert not truth.agent_problem("n2", "Pods of other nodes")


def test_a_pod_of_the_same_node_reuses_an_address(truth, family):
    """This is legitimate: the pod that is being deleted gives way."""
    peer = truth.pods["default/peer"]
    old = truth.pod_manifest("default/old", peer.node, [peer.ips[family]], app="old")
    old["metadata"]["deletionTimestamp"] = NEW
    truth.apply("old", old)
    truth.reach()
    assert not truth.agent_problem("n2", "Pods of other nodes")
    truth.remove("old")
