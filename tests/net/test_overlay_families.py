# SPDX-License-Identifier: BSD-2-Clause
"""Clusters whose nodes differ in families: n1's pods have both, n2's IPv4 and n3's IPv6 alone. So do the nodes themselves
in "nodes-too", where n2 and n3 have no path between them; elsewhere each node has an address of each family.
"""

import pytest

from connect import connects
from manifests import pods, policy, sources
from overlay import ALL, Overlay
from netns import wait_for

pytestmark = pytest.mark.long

FAMILIES = {1: ALL, 2: (4,), 3: (6,)}
SETUPS = {
    "tunnel-over-v4": dict(mode="tunnel", outer=4),
    "tunnel-over-v6": dict(mode="tunnel", outer=6),
    "direct": dict(mode="direct", outer=None),
    "nodes-too": dict(mode="tunnel", outer=None),
}
PODS = {"default/a1": 1, "default/b2": 2, "default/c3": 3}


@pytest.fixture(scope="module", params=SETUPS)
def overlay(request):
    with Overlay(0, **SETUPS[request.param]) as overlay:
        overlay.separate = request.param == "nodes-too"
        for number, families in FAMILIES.items():
            node = overlay.add_node(number, families=families, outer=families if overlay.separate else ALL)
            for family in set(ALL) - set(node.address):
                node.run("ip", f"-{family}", "address", "flush", "dev", "eth0")
            overlay.route_to_pods(node)
        for name, number in PODS.items():
            overlay.pod(name, f"n{number}", app=name[8])
        for node in overlay.nodes.values():
            wait_for(lambda: pinged(node) == {n for n in paths(overlay, node) if set(overlay.nodes[n].cidr) & set(node.cidr)}, "replies of the nodes")
        yield overlay


def pinged(node):
    """The nodes whose pod CIDRs have replied, of those with one of a family that this node has."""
    return {n["node"] for n in node.warren_json("node", "ping", check=False) if n["received"]}


def paths(overlay, node):
    """The other nodes that have an address of one of its families."""
    return {label for label, n in overlay.nodes.items() if n is not node and set(n.address) & set(node.address)}


def common(*members):
    """Families that all of these pods have."""
    return [family for family in ALL if all(family in pod.ips for pod in members)]


def pairs(overlay):
    every = [overlay.pods[name] for name in PODS]
    return [(a, b) for a in every for b in every if a is not b]


def test_pods_reach_each_other_by_the_families_that_both_have(overlay):
    for a, b in pairs(overlay):
        for family in common(a, b):
            assert connects(a, b, family, via=b.node.gateway[family]), (a.name, b.name, family)


def test_policy(overlay):
    """Of the others only b may send to a, and none to c."""
    a, b, c = (overlay.pods[name] for name in PODS)
    only_b = policy("default/only-b", {"app": "a"}, ingress=[sources(pods(app="b"))])
    none = policy("default/none", {"app": "c"}, ingress=[])
    overlay.apply("policies", only_b, none)
    try:
        assert connects(b, a, 4, via=a.node.gateway[4])
        assert not connects(c, a, 6, via=a.node.gateway[6])
        assert not connects(a, c, 6, via=c.node.gateway[6])
        assert connects(a, b, 4, via=b.node.gateway[4])
    finally:
        overlay.remove("policies")
    assert connects(c, a, 6, via=a.node.gateway[6])


def test_status_says_which_nodes_have_no_path(overlay):
    """Only where they have no family in common; and the reason."""
    for label, node in overlay.nodes.items():
        status = node.warren("status", check=False)
        for other in set(overlay.nodes) - {label}:
            problem = "no InternalIP of the same family" in status.stdout and other in status.stdout
            assert problem == (other not in paths(overlay, node)), (label, other, status.stdout)
        assert (status.returncode == 0) == (len(paths(overlay, node)) == 2), status.stdout
