# SPDX-License-Identifier: BSD-2-Clause
"""Frontends besides ClusterIPs, as the agent computes them from Services and Nodes: which, for whom, and by which options."""

import pytest

from manifests import endpoint, endpoint_slice, port, service
from netns import wait_for
from overlay import ALL, Overlay

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
BALANCER = {4: "203.0.113.10", 6: "2001:db8:10::10"}
EXTERNAL = {4: "203.0.113.20", 6: "2001:db8:20::20"}
BACKEND = {4: "192.0.2.1", 6: "2001:db8::1"}
NODE_PORT = 30080


@pytest.fixture(scope="module")
def overlay():
    with Overlay() as overlay:
        yield overlay


@pytest.fixture(autouse=True)
def _as_before(overlay, n1):
    """The test leaves the manifests as it found them, and n1's agent with its options."""
    manifests, args = dict(overlay.manifests), [*n1.agent.args]
    yield
    for name in [n for n in overlay.manifests if n not in manifests]:
        overlay.unlink(name)
    for name, objects in manifests.items():
        overlay.write(name, *objects)
    if n1.agent.args != args:
        restart(n1, args)
    overlay.wait_applied()


def restart(node, args):
    node.agent.kill()
    node.agent.args = args
    node.agent.start()
    node.agent.wait_applied()


def balanced(**spec):
    """A Service of type LoadBalancer with all kinds of addresses, and one endpoint: on n2."""
    made = service("shop/web", VIP.values(), {**port(80), "nodePort": NODE_PORT}, type="LoadBalancer", externalIPs=[*EXTERNAL.values()], **spec)
    made["status"] = {"loadBalancer": {"ingress": [{"ip": ip} for ip in BALANCER.values()]}}
    return [made, *(endpoint_slice(f"shop/web-{f}", "shop/web", [endpoint(BACKEND[f], node="n2")], port(8080)) for f in ALL)]


def text(address, number):
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


def frontends(node):
    """{(address with port, scope): (state, backends)} of shop/web."""
    return {
        (row["address"], row["scope"]): (row["state"], row["backends"])
        for row in node.warren_json("service", "list")
        if row["service"] == "shop/web"
    }


def scopes(addresses, number, outside=("ok", 1)):
    """Of addresses of both kinds of clients."""
    return {
        (text(a, number), scope): result for a in addresses for scope, result in (("cluster", ("ok", 1)), ("external", outside))
    }


def cluster_ips():
    return {(text(a, 80), "cluster"): ("ok", 1) for a in VIP.values()}


def test_node_ports_and_load_balancers(overlay, n1, n2):
    overlay.apply("web", *balanced())
    for node in (n1, n2):
        assert frontends(node) == {
            **cluster_ips(), **scopes(node.address.values(), NODE_PORT), **scopes(BALANCER.values(), 80)
        }
    metrics = n1.agent.metrics()
    for f in ALL:
        assert metrics["warren_map_entries"][(("map", f"services{f}"),)] == 3
        assert metrics["warren_map_entries"][(("map", f"external{f}"),)] == 2
    # The endpoint is on n2.
    overlay.apply("web", *balanced(externalTrafficPolicy="Local"))
    for node, outside in ((n1, ("drops", 0)), (n2, ("ok", 1))):
        assert frontends(node) == {
            **cluster_ips(), **scopes(node.address.values(), NODE_PORT, outside), **scopes(BALANCER.values(), 80, outside)
        }
    overlay.apply("web", service("shop/web", VIP.values(), port(80)), *balanced()[1:])
    assert frontends(n1) == cluster_ips()


def test_node_changes_its_addresses(overlay, n1):
    overlay.apply("web", *balanced())
    more = [*n1.address.values(), "203.0.113.30"]
    overlay.apply("node-n1", n1.object(addresses=more))
    assert frontends(n1) == {**cluster_ips(), **scopes(more, NODE_PORT), **scopes(BALANCER.values(), 80)}
    overlay.apply("node-n1", n1.object())
    assert frontends(n1) == {**cluster_ips(), **scopes(n1.address.values(), NODE_PORT), **scopes(BALANCER.values(), 80)}


def test_why_an_endpoint_is_not_used(overlay, n1):
    made = balanced(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    for f in ALL:
        more = [endpoint(f"{BACKEND[f]}1", node="n1"), endpoint(f"{BACKEND[f]}2", ready=False, node="n1")]
        made[f // 2 - 1]["endpoints"] += more
    overlay.apply("web", *made)
    shown = {(row["address"], row["scope"]): row for row in n1.warren_json("service", "get", "shop/web")}
    for f in ALL:
        used, other, unready = (text(f"{BACKEND[f]}{suffix}", 8080) for suffix in ("1", "", "2"))
        row = shown[text(n1.address[f], NODE_PORT), "external"]
        assert [(b["backend"], b["state"]) for b in row["backends"]] == [(used, "ready")]
        assert {(e["backend"], e["state"], e["why"]) for e in row["unused"]} == {
            (other, "ready", "on another node: the traffic policy is Local"), (unready, "not ready", "not ready")}
        assert row["health"] == {"port": 32000, "status": 200, "endpoints": 1, "problem": None}
        row = shown[text(VIP[f], 80), "cluster"]
        assert {b["backend"] for b in row["backends"]} == {used, other} and [e["why"] for e in row["unused"]] == ["not ready"]
    metrics = n1.agent.metrics()
    assert metrics["warren_service_health_ports"][(("state", "open"),)] == 1
    assert metrics["warren_service_frontends_without_backends"][()] == 0
    # Of two Services that claim an address and port, one has it.
    overlay.apply("db", service("shop/db", VIP.values(), port(80)))
    disputed = [(row["service"], row["owner"], row["state"]) for row in n1.warren_json("service", "list") if row["owner"]]
    assert disputed == 2 * [("shop/web", "shop/db", "not in maps")]
    wait_for(lambda: n1.agent.metrics()["warren_service_frontends_without_backends"][()] == 2, "the metrics to be written again")


MORE = {4: "198.51.100.7", 6: "2001:db8:7::7"}


def test_node_ports_at_all_addresses(overlay, n1):
    """Of devices of the node's own, in the CIDRs: not loopback's, pods' and warren0's; nor one that other hosts cannot reach."""
    overlay.apply("web", *balanced())
    others = {**cluster_ips(), **scopes(BALANCER.values(), 80)}
    args = [*n1.agent.args]
    restart(n1, [*args, "--nodeport-addresses", "0.0.0.0/0,::/0"])
    assert frontends(n1) == {**others, **scopes(n1.address.values(), NODE_PORT)}
    for f, length in ((4, 32), (6, 128)):
        for device, last in (("lo", 8), ("warren0", 9), ("eth0", 7)):
            n1.run("ip", "address", "add", f"{MORE[f][:-1]}{last}/{length}", "dev", device, *(["nodad"] if f == 6 else []))
    try:
        wait_for(lambda: frontends(n1) == {**others, **scopes([*n1.address.values(), *MORE.values()], NODE_PORT)}, "these two")
        restart(n1, [*args, "--nodeport-addresses", f"{MORE[4]}/32,2001:db8:7::/64"])
        assert frontends(n1) == {**others, **scopes(MORE.values(), NODE_PORT)}
        # Then no address is left: it says so.
        for f, length in ((4, 32), (6, 128)):
            n1.run("ip", "address", "del", f"{MORE[f]}/{length}", "dev", "eth0")
        wait_for(lambda: frontends(n1) == others, "them to go")
        message = next(c["message"] for c in n1.agent.status()["problems"] if c["subject"] == "node ports")
        assert message == f"this node has no address in {MORE[4]}/32,2001:db8:7::/64"
        restart(n1, args)
        assert frontends(n1) == {**others, **scopes(n1.address.values(), NODE_PORT)}
    finally:
        for f, length in ((4, 32), (6, 128)):
            for device, last in (("lo", 8), ("warren0", 9)):
                n1.run("ip", "address", "del", f"{MORE[f][:-1]}{last}/{length}", "dev", device)


@pytest.mark.parametrize("family", ALL)
def test_pod_addresses_are_refused(overlay, n1, n2, family):
    made = balanced()
    made[0]["status"]["loadBalancer"]["ingress"] = [{"ip": n2.cidr[family].split("/")[0]}]
    overlay.apply("web", *made)
    assert frontends(n1) == {**cluster_ips(), **scopes(n1.address.values(), NODE_PORT)}
    message = next(c["message"] for c in n1.agent.status()["problems"] if c["subject"] == "services")
    assert f"shop/web: {n2.cidr[family].split('/')[0]} is not programmed: it is an address of pods" in message


@pytest.mark.parametrize("option", ["node-ports", "external-ips"])
def test_options(overlay, n1, option):
    """An agent with other options deletes what it does not program."""
    overlay.apply("web", *balanced())
    args = [*n1.agent.args]
    most = {**cluster_ips(), **scopes(n1.address.values(), NODE_PORT), **scopes(BALANCER.values(), 80)}
    if option == "node-ports":
        restart(n1, [*args, "--node-ports", "off"])
        assert frontends(n1) == cluster_ips()
    else:
        restart(n1, [*args, "--external-ips", "on"])
        assert frontends(n1) == {**most, **scopes(EXTERNAL.values(), 80)}
    restart(n1, args)
    assert frontends(n1) == most
