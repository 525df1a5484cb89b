# SPDX-License-Identifier: BSD-2-Clause
"""Frontends besides ClusterIPs, as the agent computes them from Services and Nodes: which, for whom, and by which options."""

import pytest

from manifests import endpoint, endpoint_slice, port, service
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
