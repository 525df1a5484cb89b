# SPDX-License-Identifier: BSD-2-Clause
"""A node is upgraded to a release with another ABI version in place and under traffic: no packet is lost, no connection
is cut, and no denied packet passes. A downgrade is refused and changes nothing.
"""

import contextlib

import pytest

import releases
from lab import BUILD
from manifests import endpoint, endpoint_slice, pods, policy, port, service, sources
from netns import wait_for
from overlay import ALL, Overlay
from rawbpf import PINS
from seed import drawn
from traffic import AllTraffic, Datagrams

pytestmark = pytest.mark.alone

OLD = "0.1.0"
VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT, TARGET = 80, 8080
CLIENT, SERVER, FAR, DENIED = "default/a1", "default/b1", "default/b2", "default/d1"
PODS = {CLIENT: "n1", SERVER: "n1", FAR: "n2", DENIED: "n1"}


def ports(number):
    return [{"name": p.lower(), **port(number, p)} for p in ("TCP", "UDP")]


def make(build):
    """Two nodes of that build, with pods, policies and a service. Pods `a` take in nothing, so that a reply passes by
    its flow's entry alone.
    """
    overlay = Overlay(build=build)
    with contextlib.ExitStack() as undo:
        undo.push(overlay)
        for name, node in PODS.items():
            overlay.pod(name, node, app=name[8])
        overlay.write("policies", policy("b", {"app": "b"}, ingress=[sources(pods(app="a"))]), policy("a", {"app": "a"}, ingress=[]))
        slices = [
            endpoint_slice(f"web-{f}", "web", [endpoint(overlay.pods[SERVER].ips[f], node="n1")], *ports(TARGET)) for f in ALL
        ]
        overlay.apply("web", service("web", VIP.values(), *ports(PORT)), *slices)
        overlay.wait_resolved()
        undo.pop_all()
    return overlay


@pytest.fixture
def overlay():
    with make(releases.build(OLD)) as overlay:
        yield overlay


def traffic_of(overlay):
    """Of all kinds, on the pods of make()."""
    a, b, far, denied = (overlay.pods[name] for name in (CLIENT, SERVER, FAR, DENIED))
    return AllTraffic(a, (b, far), denied, ((VIP[f], PORT, b, TARGET) for f in ALL))


def upgrade(node, build):
    node.agent.stop()
    node.install(build)
    done = node.warren_json("node", "init")
    node.agent.start()
    return done


@pytest.fixture(scope="module")
def upgraded():
    with make(releases.build(OLD)) as overlay:
        for node in overlay.nodes.values():
            upgrade(node, BUILD)
        overlay.wait_applied()
        yield overlay


def versions(node):
    """ABI versions whose from_pod is pinned."""
    return sorted(int(path.parts[-3][1:]) for path in node.outside(PINS).parent.glob("v*/progs/from_pod"))


def programs(node):
    return {pod.ifindex: node.run("tc", "filter", "show", "dev", pod.host_ifname, "ingress").stdout for pod in node.pods}


def test_agent_of_the_old_release_runs(overlay):
    """It would go on writing maps that no program reads: neither `node init` nor an ADD upgrades under it."""
    n1 = overlay.nodes["n1"]
    before = programs(n1)
    n1.install(BUILD)
    refused = n1.warren("node", "init", check=False)
    assert refused.returncode and "restart the agent" in refused.stderr
    path = n1.netns_add("early")
    added = n1.cni("ADD", n1.pods[0].chain[0], "early", "eth0", path)
    assert not added.ok and "restart the agent" in added.stdout
    n1.cni("DEL", n1.pods[0].chain[0], "early", "eth0", path)
    n1.netns_delete(path)
    assert programs(n1) == before and versions(n1) == [releases.abi(BUILD / "releases" / OLD)]
    n1.install(releases.build(OLD))


def test_upgrade_under_traffic(overlay):
    old = releases.abi(BUILD / "releases" / OLD)
    with traffic_of(overlay) as traffic:
        for node in overlay.nodes.values():
            assert versions(node) == [old]
            before = programs(node)
            done = upgrade(node, BUILD)
            assert done["upgraded_from_abi"] == old and done["endpoints_replaced"] == len(node.pods) + 1
            assert done["flows_lost"] == 0
            assert versions(node) == [releases.abi()]
            assert not set(before.values()) & set(programs(node).values())
            traffic.wait_more()
        overlay.wait_applied()
        traffic.finish()


def test_pods_live_on(upgraded):
    """CHECK finds them whole; a change of policy reaches their flows; they can be deleted."""
    a, b = upgraded.pods[CLIENT], upgraded.pods[SERVER]
    for name in PODS:
        upgraded.pods[name].check()
    for family in ALL:
        with Datagrams(a, b, b.ips[family]) as flow:
            wait_for(lambda: flow.answered, "an answer")
            upgraded.apply("later", policy("b", {"app": "b"}, ingress=[]))
            heard = len(flow.heard)
            flow.wait_more(200)
            assert len(flow.heard) <= heard + 1  # one may have been under way
        upgraded.remove("later")
    n1 = upgraded.nodes["n1"]
    refused = n1.warren("node", "down", check=False)
    assert refused.returncode and "3 endpoints" in refused.stderr
    upgraded.delete(DENIED)
    assert DENIED not in {e["pod"] for e in n1.warren_json("endpoint", "list")}
    upgraded.pod(DENIED, "n1", app="d")


def test_downgrade_is_refused(upgraded):
    """The earlier release cannot read the maps: it says so, and nothing changes."""
    n1 = upgraded.nodes["n1"]
    with traffic_of(upgraded) as traffic:
        before = programs(n1)
        n1.agent.stop()
        n1.install(releases.build(OLD))
        refused = n1.warren("node", "init", check=False)
        assert refused.returncode and "config" in refused.stderr
        path = n1.netns_add("later")
        assert not n1.cni("ADD", n1.pods[0].chain[0], "later", "eth0", path).ok
        n1.cni("DEL", n1.pods[0].chain[0], "later", "eth0", path)
        n1.netns_delete(path)
        assert programs(n1) == before and versions(n1) == [releases.abi()]
        n1.install(BUILD)
        n1.agent.start()
        traffic.finish()


def test_killed_upgrade():
    """Wherever `node init` is killed, flows go on and nothing that is denied passes; the next one completes it."""
    draw = drawn()
    with make(releases.build(OLD)) as overlay, traffic_of(overlay) as traffic:
        node = overlay.nodes["n1"]
        node.agent.stop()
        node.install(BUILD)
        for _ in range(12):
            node.run("timeout", "-s", "KILL", f"{draw.uniform(0.05, 3):.3f}", "warren", "node", "init", check=False)
        node.warren("node", "init")
        assert versions(node) == [releases.abi()]
        node.agent.start()
        overlay.wait_applied()
        traffic.finish(lossless=False)
        for name in PODS:
            overlay.pods[name].check()


def test_next_release():
    """A release with another ABI number and the same layouts uses the maps as they are; this one cannot go back."""
    build = releases.build(releases.NEXT)
    with make(BUILD) as overlay:
        node = overlay.nodes["n1"]
        with traffic_of(overlay) as traffic:
            done = upgrade(node, build)
            assert done["upgraded_from_abi"] == releases.abi() and versions(node) == [releases.abi() + 1]
            traffic.wait_more()
            before = programs(node)
            node.agent.stop()
            node.install(BUILD)
            refused = node.warren("node", "init", check=False)
            assert refused.returncode and f"ABI version {releases.abi() + 1}" in refused.stderr
            assert programs(node) == before
            refused = node.warren("node", "down", check=False)
            assert refused.returncode and "3 endpoints" in refused.stderr
            node.install(build)
            node.agent.start()
            traffic.finish()
