# SPDX-License-Identifier: BSD-2-Clause
"""Tests that need a third node: one on the link and one behind a router at once; the world, and other nodes, by the
first node's DNAT to a pod on another one; a node that goes while the others stay; two that exchange their pod CIDRs.
"""

import contextlib

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from connect import arrives_at
from crossings import crossed
from geneve import Tunnelled, geneve, inner_ends, is_tunnel
from lab import moved
from overlay import ALL, Overlay
from manifests import block, pods, policy, port, sources
from monitor import Drops
from netns import TIMEOUT, tcp, udp, wait_for
from traffic import Datagrams, Transfer
from underlay import Underlay

SETUPS = {
    "tunnel-over-v4": dict(mode="tunnel", outer=4),
    "tunnel-over-v6": dict(mode="tunnel", outer=6),
    "auto-one-routed": dict(mode="auto", outer=4, routed={3}),
    "direct": dict(mode="direct", outer=4),
}
PODS = {"default/a1": "n1", "default/b2": "n2", "default/c3": "n3"}
SERVICE = {4: "192.0.2.10", 6: "2001:db8:5::10"}
HOST_PORT, SERVICE_PORT, PORT = 18080, 80, 8888
CLOSED = 8889  # where no socket listens


@contextlib.contextmanager
def made(setup):
    with Overlay(3, **SETUPS[setup]) as overlay:
        for name, node in PODS.items():
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        yield overlay


@pytest.fixture(scope="module", params=crossed(SETUPS, "tunnel-over-v4"))
def overlay(request):
    with made(request.param) as overlay:
        yield overlay


@pytest.fixture
def target(overlay):
    return overlay.pods["default/c3"]


def in_setups(*names):
    return pytest.mark.parametrize("overlay", crossed(names, "tunnel-over-v4"), indirect=True, scope="module")


# Where n1 sends through the tunnel to n3. Between nodes on one link the source needs NAT, too.
TUNNELLED = list(SETUPS)[:3]
THROUGH_TUNNELS = in_setups(*TUNNELLED)


# --- everybody --------------------------------------------------------------------------------------------------------


def test_everybody_reaches_everybody(overlay):
    overlay.check("", overlay.flows(["tcp/8080", "udp/53", "icmp"]))


def test_each_pair_in_its_own_mode(overlay):
    """By the node's own report, and on the wire."""
    routed = overlay.mode == "auto"
    for node in overlay.nodes.values():
        for other in node.warren_json("node", "list"):
            if other["own"]:
                continue
            direct = overlay.mode == "direct" or routed and "n3" not in (node.label, other["name"])
            assert other["mode"] == ("direct" if direct else "tunnel"), (node.label, other)
    a, b, c = (overlay.pods[name] for name in PODS)
    for one, other in ((a, b), (a, c), (b, c)):
        with overlay.capture() as wire:
            for family in ALL:
                tcp(one, other, other.ips[family])
            tunnelled = any(is_tunnel(frame) for frame in wire.drain())
        assert tunnelled == (overlay.mode == "tunnel" or routed and other is c)


def test_policy_by_who_and_where(overlay):
    """The same verdicts on every path."""
    only_b = policy("c", {"app": "c"}, ingress=[sources(pods(app="b"), ports=[port(8080)])], types=["Ingress"])
    overlay.apply("policy", only_b)
    try:
        overlay.check(
            """
            deny *,beyond,host1,host2,node1,node2 -> default/c3
            allow default/b2 -> default/c3 tcp/8080
            """,
            [f for f in overlay.flows(["tcp/8080", "udp/53"]) if f.dst == "default/c3" and f.src not in ("host3", "node3")],
        )
    finally:
        overlay.remove("policy")


# --- translated by the first node -------------------------------------------------------------------------------------


def rules_to(pod, family):
    """Packets of the world to a port of n1's, or to an address routed there, go to the pod: TCP, UDP, echo, a closed
    port.
    """
    ip, icmp = {4: ("ip", "icmp"), 6: ("ip6", "icmpv6")}[family]
    host = pod.ips[family] if family == 4 else f"[{pod.ips[family]}]"
    yield f"{ip} daddr {SERVICE[family]} {icmp} type echo-request dnat to {pod.ips[family]}"
    for protocol in ("tcp", "udp"):
        yield f"{ip} daddr {SERVICE[family]} {protocol} dport {SERVICE_PORT} dnat to {host}:{PORT}"
        yield f"{ip} daddr {SERVICE[family]} {protocol} dport {SERVICE_PORT + 1} dnat to {host}:{CLOSED}"
        yield f"fib daddr type local {protocol} dport {HOST_PORT} dnat to {host}:{PORT}"


@pytest.fixture
def dnat_target(overlay, target, family):
    n1, ip = overlay.nodes["n1"], "ip" if family == 4 else "ip6"
    overlay.end_probes()  # there is one reader of a node's events
    chains = [
        f"chain {hook} {{ type nat hook {hook} priority -100\n" + "\n".join(rules_to(target, family)) + "\n}"
        for hook in ("prerouting", "output")
    ]
    n1.run("nft", "-f", "-", input="\n".join([f"table {ip} service {{", *chains, "}"]))
    for node in (overlay.underlay, overlay.nodes["n2"], overlay.nodes["n3"]):
        via = n1.address[family] if node is overlay.underlay else overlay.underlay.router(node.number, family)
        node.run("ip", f"-{family}", "route", "add", SERVICE[family], "via", via)
    yield target
    for node in (overlay.underlay, overlay.nodes["n2"], overlay.nodes["n3"]):
        node.run("ip", f"-{family}", "route", "delete", SERVICE[family])
    n1.run("nft", "delete", "table", ip, "service")


def worlds_address(overlay, family):
    """The world's address towards n1."""
    return overlay.underlay.router(1, family)


def frontends(overlay, family):
    return (overlay.nodes["n1"].address[family], HOST_PORT), (SERVICE[family], SERVICE_PORT)


@THROUGH_TUNNELS
def test_world_by_the_first_node(overlay, dnat_target, family):
    """Its source is unchanged, and the replies come back, those that need several packets, too."""
    world = overlay.underlay
    for address, number in frontends(overlay, family):
        assert tcp(world, dnat_target, address, number, PORT, size=2 << 20) == worlds_address(overlay, family)
        for size in (1, 1300, 5000, 40000):
            wait_for(
                # The first that is too big is lost, and its error gives the sender the path's MTU.
                lambda: by_udp(world, dnat_target, (address, number), family, bytes(size)),
                f"{size} bytes there and back",
            )
    world.ping(SERVICE[family], count=3, size=1000)


def by_udp(client, server, frontend, family, payload):
    with contextlib.suppress(TimeoutError):
        return udp(client, server, *frontend, PORT, server.ips[family], payload=payload, timeout=0.5)
    return None


@THROUGH_TUNNELS
def test_world_by_the_first_node_on_the_wire(overlay, dnat_target, family):
    """Towards the pod each packet carries the world's identity; the replies return on the same path."""
    world = overlay.underlay
    with overlay.capture() as wire:
        tcp(world, dnat_target, SERVICE[family], SERVICE_PORT, PORT)
        frames = [Tunnelled(frame) for frame in wire.drain() if is_tunnel(frame)]
    ours = [t for t in frames if t.inner_family == family and worlds_address(overlay, family) in inner_ends(family, t.inner)]
    there = [t for t in ours if inner_ends(family, t.inner)[1] == dnat_target.ips[family]]
    assert there and all(t.identity == 2 for t in there)
    n1, n = overlay.nodes["n1"], dnat_target.node
    assert {tuple(t.addresses) for t in there} == {(n1.address[overlay.outer], n.address[overlay.outer])}
    back = [t for t in ours if inner_ends(family, t.inner)[0] == dnat_target.ips[family]]
    assert back and all(t.identity >> 56 == 2 for t in back)


@THROUGH_TUNNELS
def test_errors_find_back_to_the_world(overlay, dnat_target, family):
    """A reset, and a port that is unreachable: the client's socket gets the error."""
    world = overlay.underlay
    with pytest.raises(ConnectionRefusedError):
        world.tcp_connect(SERVICE[family], SERVICE_PORT + 1)
    with world.udp(family) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect((SERVICE[family], SERVICE_PORT + 1))
        sock.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(1)


@THROUGH_TUNNELS
def test_error_of_the_worlds_reaches_the_pod(overlay, dnat_target, family):
    """The client has closed its socket: the pod that replies late gets the error."""
    world = overlay.underlay
    with dnat_target.udp(family, PORT, dnat_target.ips[family]) as server:
        server.settimeout(TIMEOUT)
        with world.udp(family) as client:
            client.connect((SERVICE[family], SERVICE_PORT))
            client.send(b"hello")
            _, source = server.recvfrom(64)
        server.connect(source)
        server.send(b"too late")
        with pytest.raises(ConnectionRefusedError):
            server.recv(64)


@THROUGH_TUNNELS
def test_world_is_evaluated_by_its_address(overlay, dnat_target, family):
    """At the pod, as the world; an established flow too, and its denial has that reason."""
    world, length = overlay.underlay, {4: 32, 6: 128}[family]
    app = dnat_target.labels["app"]

    def allow(address):
        rule = sources(block(f"{address}/{length}"))
        overlay.apply("policy", policy("w", {"app": app}, ingress=[rule], types=["Ingress"]))

    try:
        allow(worlds_address(overlay, family))
        assert tcp(world, dnat_target, SERVICE[family], SERVICE_PORT, PORT) == worlds_address(overlay, family)
        with Transfer(world, dnat_target, SERVICE[family], SERVICE_PORT, PORT) as transfer:
            transfer.wait_more(5000)
            with Drops(dnat_target.node) as drops:
                allow(Underlay.BEYOND[family])
                event = drops.wait(lambda e: e["reason"] == "ingress_denied")
                assert event and event["peer"] == "world" and event["peer_node"] == "n1", event
            # The fence goes to the pod's node, by the other node.
            assert not arrives_at(world, SERVICE[family], SERVICE_PORT, [dnat_target], via=dnat_target.node.address[family])
            allow(worlds_address(overlay, family))
            transfer.wait_more(5000)
    finally:
        overlay.remove("policy")


@in_setups(TUNNELLED[0])
def test_agents_are_not_needed(overlay, dnat_target, family):
    """New and old connections work with all agents dead; and changes of the cluster disturb none."""
    world = overlay.underlay
    with Transfer(world, dnat_target, SERVICE[family], SERVICE_PORT, PORT, down=True) as transfer:
        transfer.wait_more(5000)
        overlay.pod("default/new", "n1", app="new")  # so that the cluster has another generation
        transfer.wait_more(5000)
        overlay.delete("default/new")
        transfer.wait_more(5000)
        for node in overlay.nodes.values():
            node.agent.kill()
        try:
            transfer.wait_more(5000)
            assert by_udp(world, dnat_target, (SERVICE[family], SERVICE_PORT), family, b"who is there")
        finally:
            for node in overlay.nodes.values():
                node.agent.start(wait=False)
            for node in overlay.nodes.values():
                node.agent.wait_notified("READY=1", 3 * TIMEOUT)


@THROUGH_TUNNELS
def test_only_replies_enter_the_stack(overlay, dnat_target, family):
    """Another node's pods cannot send through the first node: it accepts replies of forwarded flows only."""
    n1, n, outer = overlay.nodes["n1"], dnat_target.node, overlay.outer
    inner = (IP if family == 4 else IPv6)(src=dnat_target.ips[family], dst=Underlay.BEYOND[family]) / UDP(sport=PORT, dport=9)
    identity = n.agent.identity(dnat_target)
    packet = geneve(n.address[outer], n1.address[outer], inner, identity=identity)
    before = n1.metrics()
    with overlay.underlay.udp(family, 9, Underlay.BEYOND[family]) as beyond:
        with overlay.underlay.wire(overlay.underlay.port(1)) as link:
            link.send(Ether(src=n.uplink_mac, dst=n1.uplink_mac) / packet)
        wait_for(lambda: moved(before, n1.metrics()).get(("tunnel_target", "ingress")) == 1, "it is refused")
        beyond.setblocking(False)
        with pytest.raises(BlockingIOError):
            beyond.recv(64)


# --- a client of the cluster ------------------------------------------------------------------------------------------


@THROUGH_TUNNELS
@pytest.mark.parametrize("client", ["default/b2", "n2", "default/c3"])
def test_cluster_by_the_first_node(overlay, dnat_target, family, client):
    """A pod, or a host, by another node's address with DNAT to a third node, or back to itself. Without source NAT it
    is dropped with its reason: only the second node may use its address. With source NAT, which is the rule, it works.
    """
    n1 = overlay.nodes["n1"]
    client = overlay.pods.get(client) or overlay.nodes[client]
    address = n1.address[family]
    with Drops(n1) as drops:
        assert not overlay.arrives_at(client, address, HOST_PORT, [dnat_target])
        assert drops.wait(lambda e: e["reason"] == "spoofed_outside"), "refused without a word"
    ip = "ip" if family == 4 else "ip6"
    n1.run("nft", "add", "chain", ip, "service", "after", "{ type nat hook postrouting priority srcnat; }")
    n1.run("nft", "add", "rule", ip, "service", "after", "ct status dnat oifname warren0 masquerade")
    # The kernel forwards no GSO packets from one tunnel into another; only virtual links have them: few bytes, by the
    # gateway.
    for frontend, size in (((address, HOST_PORT), 1 << 20), ((n1.gateway[family], HOST_PORT), 1000)):
        assert tcp(client, dnat_target, *frontend, PORT, size=size) == n1.gateway[family]
        assert udp(client, dnat_target, *frontend, PORT, dnat_target.ips[family]) == n1.gateway[family]


# --- nodes come and go ------------------------------------------------------------------------------------------------


@pytest.fixture(params=crossed(["tunnel-over-v4", "auto-one-routed"], "tunnel-over-v4"))
def own_overlay(request):
    """For tests that do not leave it as it is."""
    with made(request.param) as overlay:
        yield overlay


@pytest.mark.long
def test_two_change_places(own_overlay):
    """Each comes back with the other's pod CIDRs, one after the other: for a while both claim the same ones."""
    a, b, c = (own_overlay.pods[name] for name in PODS)
    flow = Datagrams(a, b, b.ips[4])
    flow.wait_more()
    flow.finish(timeout=1)
    for name in ("default/b2", "default/c3"):
        own_overlay.end_probes()
        own_overlay.destroy(own_overlay.pods[name].node)
    old = {"b": dict(b.ips), "c": dict(c.ips)}
    for number, cidr in ((2, 3), (3, 2)):
        own_overlay.add_node(number, cidr=cidr)
    for name, node in (("default/b2", "n2"), ("default/c3", "n3")):
        own_overlay.pod(name, node, app=name[8])
    own_overlay.wait_resolved()
    b, c = own_overlay.pods["default/b2"], own_overlay.pods["default/c3"]
    assert b.ips == old["c"] and c.ips == old["b"]
    for one, other in ((a, b), (b, a), (a, c), (c, a), (b, c), (c, b)):
        for family in ALL:
            assert tcp(one, other, other.ips[family]) == one.ips[family]
            assert udp(one, other, other.ips[family]) == one.ips[family]


@pytest.mark.long
def test_one_goes_the_others_go_on(own_overlay):
    """Its power fails, then its manifest goes: nothing is lost between the others, and all flows to it end."""
    a, b, c = (own_overlay.pods[name] for name in PODS)
    flows = [Datagrams(a, b, b.ips[4]), Datagrams(b, a, a.ips[6])]
    address, gone = dict(c.ips), c.node.address[own_overlay.outer]
    try:
        for flow in flows:
            flow.wait_more()
        own_overlay.destroy(own_overlay.nodes["n3"])
        for flow in flows:
            flow.wait_more()
        own_overlay.remove("node-n3", "pod-default-c3")
        for family in ALL:
            with own_overlay.capture() as wire, a.udp(family) as sock:
                with contextlib.suppress(OSError):  # the node may have no route to it any more
                    sock.sendto(b"too late", (address[family], PORT))
                own_overlay.fence(a, family)
                assert not any(gone in Tunnelled(f).addresses for f in wire.drain() if is_tunnel(f))
        for flow in flows:
            flow.wait_more()
    finally:
        lost = [flow.finish() for flow in flows]
    assert lost == [set(), set()]
    assert all(set(node.known()) == {"n1", "n2"} for node in own_overlay.nodes.values())
