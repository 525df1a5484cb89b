# SPDX-License-Identifier: BSD-2-Clause
"""Services over two nodes: backends on both, on every path between the nodes."""

import collections

import pytest

from connect import arrives_at
from crossings import crossed
from geneve import inner_ends, is_tunnel, Tunnelled
from manifests import endpoint, endpoint_slice, pods, policy, port, service, sources, targets
from monitor import Drops
from named import ASK, Named, ask_tcp, ask_udp
from netns import tcp, udp
from overlay import ALL, Overlay
from traffic import Transfer

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT, TARGET = 80, 8080
PODS = {"default/a1": "n1", "default/b1": "n1", "default/b2": "n2", "default/c2": "n2"}
SETUPS = {
    "tunnel-over-v4": dict(mode="tunnel", outer=4),
    "tunnel-over-v6": dict(mode="tunnel", outer=6),
    "direct": dict(mode="direct", outer=4),
}


@pytest.fixture(scope="module", params=crossed(SETUPS, "tunnel-over-v6", "direct"))
def overlay(request):
    with Overlay(**SETUPS[request.param]) as overlay:
        for name, node in PODS.items():
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        yield overlay


@pytest.fixture
def named_servers(overlay, family):
    servers = [(name, pod, pod.ips[family]) for name, pod in overlay.pods.items() if name != "default/a1"]
    with Named(servers, TARGET) as named_servers:
        yield named_servers


def ports(number):
    return [{"name": p.lower(), **port(number, p)} for p in ("TCP", "UDP")]


def write(overlay, *names, hints=None, **spec):
    """The service, with these pods as backends; hints: {pod: its endpoint's}."""
    made = [service("web", VIP.values(), *ports(PORT), **spec)]
    for f in ALL if names else ():
        endpoints = [endpoint(overlay.pods[n].ips[f], node=overlay.pods[n].node.label) for n in names]
        for name, made_of_it in zip(names, endpoints):
            made_of_it.update({"hints": hints[name]} if name in (hints or {}) else {})
        made.append(endpoint_slice(f"web-{f}", "web", endpoints, *ports(TARGET)))
    overlay.apply("web", *made)


@pytest.fixture
def set_backends(overlay):
    yield lambda *names, **spec: write(overlay, *names, **spec)
    if "web" in overlay.manifests:
        overlay.remove("web")


@pytest.fixture
def policies(overlay):
    """Policies that go with the test."""
    before = set(overlay.manifests)
    yield overlay.apply
    overlay.remove(*(n for n in set(overlay.manifests) - before if n != "web"))


def test_leads_to_another_node(overlay, a1, b2, family, set_backends):
    set_backends("default/b2")
    assert tcp(a1, b2, VIP[family], PORT, TARGET, size=1 << 20) == a1.ips[family]
    assert udp(a1, b2, VIP[family], PORT, TARGET, b2.ips[family]) == a1.ips[family]
    assert udp(a1, b2, VIP[family], PORT, TARGET, b2.ips[family], payload=bytes(1300)) == a1.ips[family]


def test_wire_has_no_service_address(overlay, a1, b2, family, set_backends):
    """DNAT on the client's node: between the nodes there are only pods' addresses."""
    set_backends("default/b2")
    with overlay.capture() as wire:
        tcp(a1, b2, VIP[family], PORT, TARGET)
        frames = wire.drain()
    seen = set()
    for frame in frames:
        packet = Tunnelled(frame) if is_tunnel(frame) else None
        kind = {b"\x08\x00": 4, b"\x86\xdd": 6}.get(frame[12:14])
        if packet:
            seen.update(inner_ends(packet.inner_family, packet.inner))
        elif kind:
            seen.update(inner_ends(kind, frame[14:]))
    assert {a1.ips[family], b2.ips[family]} <= seen and VIP[family] not in seen


@pytest.mark.parametrize("protocol", ASK)
def test_spreads_over_nodes(a1, family, set_backends, named_servers, protocol):
    names = ("default/b1", "default/b2", "default/c2")
    set_backends(*names)
    counts = collections.Counter(ASK[protocol](a1, VIP[family]) for _ in range(150))
    # 50, less six deviations (5.8).
    assert counts.keys() == set(names) and min(counts.values()) >= 15, counts


def test_both_nodes_clients_reach_it(overlay, a1, b2, family, set_backends, named_servers):
    """The same service from the backend's own node, where the backend reaches itself, and from the other one."""
    set_backends("default/b2")
    for name, pod in overlay.pods.items():
        assert ask_tcp(pod, VIP[family]) == "default/b2", name
        assert ask_udp(pod, VIP[family]) == "default/b2", name


def test_local_policy_keeps_to_the_node(overlay, a1, b2, family, set_backends, named_servers):
    """internalTrafficPolicy Local: each node has its own backends; without any it refuses."""
    set_backends("default/b1", "default/c2", internalTrafficPolicy="Local")
    assert {ask_tcp(a1, VIP[family]) for _ in range(15)} == {"default/b1"}
    assert {ask_tcp(b2, VIP[family]) for _ in range(15)} == {"default/c2"}
    set_backends("default/c2", internalTrafficPolicy="Local")
    with pytest.raises(ConnectionRefusedError):
        ask_tcp(a1, VIP[family])
    assert ask_tcp(b2, VIP[family]) == "default/c2"


@pytest.fixture
def zones(overlay):
    """Each node is in a zone of its name."""
    for label, node in overlay.nodes.items():
        made = node.object()
        made["metadata"]["labels"] = {"topology.kubernetes.io/zone": f"zone-of-{label}"}
        overlay.apply(f"node-{label}", made)
    yield
    for label, node in overlay.nodes.items():
        overlay.apply(f"node-{label}", node.object())


def test_hints_are_followed(overlay, a1, b2, family, set_backends, named_servers, zones):
    """trafficDistribution: to endpoints hinted to the client's zone, and before these to those hinted to its node. If one
    endpoint has no hint, or none is for this zone, to all.
    """
    names = ("default/b1", "default/b2", "default/c2")
    west, east = ({"forZones": [{"name": f"zone-of-{label}"}]} for label in overlay.nodes)

    def seen(client):
        return {ask_tcp(client, VIP[family]) for _ in range(40)}

    set_backends(*names, hints=dict(zip(names, (west, east, east))))
    assert seen(a1) == {"default/b1"} and seen(b2) == {"default/b2", "default/c2"}
    on = [{"forNodes": [{"name": label}], **hints} for label, hints in zip(("n2", "n2", "n1"), (west, east, east))]
    set_backends(*names, hints=dict(zip(names, on)))
    assert seen(a1) == {"default/c2"} and seen(b2) == {"default/b1", "default/b2"}
    set_backends(*names, hints=dict(zip(names, (east, east, east))))
    assert seen(a1) == set(names) and seen(b2) == set(names)
    set_backends(*names, hints=dict(zip(names, (west, east))))
    assert seen(a1) == set(names)


def test_policies_are_enforced_at_both_ends(overlay, a1, family, set_backends, named_servers, policies):
    """The sender's node evaluates the chosen backend, the receiver's node the client, by labels."""
    set_backends("default/b2")
    only = [{"protocol": p, "port": TARGET} for p in ("TCP", "UDP")]
    policies("egress", policy("a", {"app": "a"}, egress=[targets(pods(app="b"), ports=only)], types=["Egress"]))
    policies("ingress", policy("b", {"app": "b"}, ingress=[sources(pods(app="a"), ports=only)]))
    for ask in ASK.values():
        assert ask(a1, VIP[family]) == "default/b2"
    # The receiver's.
    with Drops(overlay.nodes["n2"]) as drops:
        assert not overlay.arrives_at(overlay.pods["default/b1"], VIP[family], PORT, overlay.pods.values())
        assert drops.wait(lambda e: e["reason"] == "ingress_denied")
    # The sender's: another backend.
    set_backends("default/c2")
    with Drops(overlay.nodes["n1"]) as drops:
        for protocol in ASK:
            # The sender may send to no host either, so the fence is its gateway's: there it is denied.
            assert not arrives_at(a1, VIP[family], PORT, overlay.pods.values(), protocol)
            assert drops.wait(lambda e, p=protocol: (e["reason"], e["headers"].get("protocol")) == ("egress_denied", p))


def test_closed_port_elsewhere_refuses(a1, family, set_backends):
    set_backends("default/b2")
    with pytest.raises(ConnectionRefusedError):
        a1.tcp_connect(VIP[family], PORT)
    with a1.udp(family) as sock:
        sock.connect((VIP[family], PORT))
        sock.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(16)


def test_survives_agents_and_removal(overlay, a1, b2, family, set_backends, named_servers):
    """A connection to another node's backend: while both agents are dead, and after the backend is removed from the
    Service.
    """
    stream = [{"name": "tcp", **port(PORT)}]
    endpoints = endpoint_slice("web-s", "web", [b2.ips[family]], {"name": "tcp", **port(TARGET + 1)})
    overlay.apply("web", service("web", [VIP[family]], *stream), endpoints)
    with Transfer(a1, b2, VIP[family], PORT, TARGET + 1) as flow:
        flow.wait_more()
        for node in overlay.nodes.values():
            node.agent.kill()
        flow.wait_more(100000)
        for node in overlay.nodes.values():
            node.agent.start()
        overlay.wait_applied()
        flow.wait_more(100000)
        write(overlay, "default/b1")
        assert ask_tcp(a1, VIP[family]) == "default/b1"
        flow.wait_more(100000)
    set_backends("default/b2")


def test_datagrams_move_to_another_node(a1, family, set_backends, named_servers):
    set_backends("default/b2")
    with a1.udp(family) as sock:
        sock.connect((VIP[family], PORT))
        for name in ("default/b2", "default/b1", "default/c2", "default/b2"):
            set_backends(name)
            assert ask_udp(a1, VIP[family], sock=sock) == name


def test_gso_packets_and_small_mtu(overlay, a1, b2, family, set_backends):
    """Both ways, with what offloads make of it."""
    set_backends("default/b2")
    assert tcp(a1, b2, VIP[family], PORT, TARGET, size=8 << 20) == a1.ips[family]


@pytest.mark.parametrize("who", ("pods", "nodes"))
def test_checksums_without_offload(overlay, a1, b2, family, set_backends, who):
    """Of pods whose checksums are complete before DNAT, and on an uplink that completes them afterwards: the
    receiver verifies them.
    """
    set_backends("default/b2")
    hosts = [a1, b2] if who == "pods" else list(overlay.nodes.values())
    try:
        for host in hosts:
            host.run("ethtool", "-K", "eth0", "tx", "off")
        assert tcp(a1, b2, VIP[family], PORT, TARGET, size=1 << 20) == a1.ips[family]
    finally:
        for host in hosts:
            host.run("ethtool", "-K", "eth0", "tx", "on", "tso", "on", "gso", "on")
