# SPDX-License-Identifier: BSD-2-Clause
"""What happens to a cluster while there is traffic: nodes come, go, move and fail; links and agents too; pods change
their labels; the host's stack does NAT. Strict reverse path filters everywhere (overlay.py sets them).
"""

import contextlib
import time

import pytest

from crossings import OUTER
from geneve import Tunnelled, is_tunnel
from lab import PORTMAP
from manifests import namespaces, node_object, pods, policy, sources
from netns import tcp, udp, wait_for
from overlay import ALL, Overlay
from traffic import Datagrams, Transfer, seconds_until_answered
from underlay import Underlay

SERVICE = {4: "192.0.2.10", 6: "2001:db8:5::10"}
HOST_PORT, SERVICE_PORT, PORT = 18080, 80, 8080


@pytest.fixture(scope="module", params=OUTER)
def overlay(request):
    """Two nodes. A test that changes them changes them back."""
    with Overlay(outer=request.param) as overlay:
        for name, node in (("default/a1", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        yield overlay


def ends(overlay):
    return overlay.pods["default/a1"], overlay.pods["default/b2"]


@contextlib.contextmanager
def undisturbed(overlay):
    """No datagram between the two pods is lost meanwhile."""
    a, b = ends(overlay)
    overlay.wait_resolved()
    time.sleep(0.3)  # each CPU may still use the lookup of an earlier test, for up to 0.27 s: no event tells its end
    flows = [Datagrams(a, b, b.ips[4]), Datagrams(b, a, a.ips[6])]
    try:
        for flow in flows:
            flow.wait_more()
        yield
        for flow in flows:
            flow.wait_more()
    finally:
        lost = [flow.finish() for flow in flows]
    assert lost == [set(), set()]


# --- nodes ------------------------------------------------------------------------------------------------------------


def first_answer(sender, receiver, family, begin):
    """Seconds from begin() until a datagram gets a reply."""
    seconds = seconds_until_answered(sender, receiver, family, begin=begin, wait=0.001)
    assert seconds is not None, "no answer"
    return seconds


@pytest.mark.long
def test_node_joins_and_leaves(overlay, record_property):
    a, _ = ends(overlay)
    with undisturbed(overlay):
        node = overlay.add_node(3, announce=False)
        c = overlay.pod("default/c3", "n3", app="c")
        n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
        assert not overlay.connects(a, c, 4)
        seconds = first_answer(a, c, 4, lambda: overlay.write("node-n3", node.object(), to=[n1]))
        record_property("join_ms", seconds * 1000)
        print(f"node join, from its manifest to the first answer: {seconds * 1000:.1f} ms")
        assert seconds < 20  # a solicitation of a neighbour that is lost is repeated after a second
        overlay.apply("node-n3", node.object())
        overlay.wait_resolved()
        for family in ALL:
            assert overlay.connects(a, c, family) and overlay.connects(c, overlay.pods["default/b2"], family)
        overlay.remove("node-n3")
        with overlay.capture() as wire:
            assert not overlay.connects(a, c, 4) and not overlay.connects(c, a, 6)
            known = {n1.address[overlay.outer], n2.address[overlay.outer]}
            assert all(set(Tunnelled(f).addresses) == known for f in wire.drain() if is_tunnel(f))
    assert set(n1.known()) == {"n1", "n2"}
    overlay.destroy(node)
    overlay.remove("pod-default-c3")


def move_to(overlay, node, new):
    """Gives the node these addresses in place of its own."""
    old = node.address
    for family, length in ((4, 24), (6, 64)):
        nodad = ["nodad"] if family == 6 else []
        node.run("ip", f"-{family}", "address", "add", f"{new[family]}/{length}", "dev", "eth0", *nodad)
    node.address = new
    overlay.apply(f"node-{node.label}", node.object())
    for family, length in ((4, 24), (6, 64)):
        node.run("ip", f"-{family}", "address", "delete", f"{old[family]}/{length}", "dev", "eth0")


def test_node_gets_another_address(overlay):
    """And its own again."""
    a, b = ends(overlay)
    node = overlay.nodes["n2"]
    node.sysctl("ipv4/conf/all/promote_secondaries", 1)  # else the second address goes with the first
    with Transfer(a, b, b.ips[4]) as there, Transfer(b, a, a.ips[6]) as back:
        for new in ({f: overlay.underlay.address(22, f) for f in ALL}, dict(node.address)):
            move_to(overlay, node, new)
            with overlay.capture() as wire:
                for transfer in (there, back):
                    transfer.wait_more(20000)
                addresses = {a for f in wire.drain() if is_tunnel(f) for a in Tunnelled(f).addresses}
            assert addresses == {overlay.nodes["n1"].address[overlay.outer], new[overlay.outer]}


def test_node_reboots(overlay):
    """Its namespaces are gone, with all in them; another node starts under its name."""
    a, b = ends(overlay)
    with Transfer(a, b, b.ips[4]) as transfer:
        transfer.wait_more(20000)
        transfer.pause()
    overlay.destroy(b.node)
    wait_for(lambda: not a.ping(b.ips[4], check=False), "the namespaces are gone")
    overlay.add_node(2)
    b = overlay.pod("default/b2", "n2", app="b")
    for family in ALL:
        wait_for(lambda: overlay.connects(a, b, family), "the node is back")
        assert overlay.connects(b, a, family)


def test_carrier_is_lost_and_comes_back(overlay):
    a, b = ends(overlay)
    port = overlay.underlay.port(1)
    with Transfer(a, b, b.ips[4]) as there, Transfer(b, a, a.ips[6]) as back:
        there.wait_more()
        overlay.underlay.run("ip", "link", "set", port, "down")
        wait_for(lambda: overlay.nodes["n1"].ip("link", "show", "eth0")[0]["operstate"] != "UP", "no carrier")
        overlay.underlay.run("ip", "link", "set", port, "up")
        for transfer in (there, back):
            transfer.wait_more(20000)


def sent_with(overlay, there, back, mac):
    """Whether tunnel packets still go to or from that Ethernet address: the result of a lookup is cached for up to 0.3
    s.
    """
    with overlay.capture() as wire:
        for transfer in (there, back):
            transfer.wait_more(20000)
        return any(bytes.fromhex(mac.replace(":", "")) in (f[:6], f[6:12]) for f in wire.drain() if is_tunnel(f))


def test_neighbour_gets_another_mac(overlay):
    """A node whose link is replaced announces it (as drivers do), and nothing is sent to the old address after that.
    The same with its own address again.
    """
    a, b = ends(overlay)
    node = b.node
    for name in ("ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify"):
        node.sysctl(name, 1)
    own, other = node.uplink_mac, "02:00:00:00:77:01"
    with Transfer(a, b, b.ips[4]) as there, Transfer(b, a, a.ips[6]) as back:
        there.wait_more()
        for new, old in ((other, own), (own, other)):
            node.run("ip", "link", "set", "eth0", "address", new)
            for transfer in (there, back):
                transfer.wait_more(20000)
            wait_for(lambda: a.node.known()[node.label]["dmac"] == new, "the new address is known")
            wait_for(lambda: not sent_with(overlay, there, back, old), "nothing to or from the old address")


@pytest.mark.long
def test_two_nodes_claim_one_cidr(overlay):
    """The first by name is used; the other is not, and every node reports that until it is fixed."""
    a, b = ends(overlay)
    n1, n2 = overlay.nodes.values()
    with undisturbed(overlay):
        overlay.apply("node-zz", node_object("zz", list(n2.cidr.values()), ["198.18.0.77", "2001:db8:10::77"]))
        status = n1.warren("status", check=False)
        assert status.returncode and "zz" in status.stdout and n2.cidr[4].split("/")[0] in status.stdout, status.stdout
        problems = {name: node["problem"] for name, node in n1.known().items()}
        assert problems["zz"] and not problems["n2"] and not problems["n1"], problems
        overlay.remove("node-zz")
        assert n1.warren("status", check=False).returncode == 0


# --- agents -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_agents_are_killed_and_start_again(overlay):
    with undisturbed(overlay):
        for node in overlay.nodes.values():
            node.agent.restart()
            node.agent.wait_applied()


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def only_a(overlay):
    """b2 is for those labelled app=a."""
    overlay.apply("policy", policy("b", {"app": "b"}, ingress=[sources(pods(app="a"))], types=["Ingress"]))
    yield
    for node in overlay.nodes.values():
        if not node.agent.proc:
            node.agent.start()
    overlay.relabel("default/a1", app="a")
    overlay.remove("policy")


def test_relabelled_at_the_other_node(overlay, only_a, family):
    a, b = ends(overlay)
    with Transfer(a, b, b.ips[family]) as transfer:
        transfer.wait_more(10000)
        overlay.relabel("default/a1", app="x")
        sent = transfer.sent
        assert not overlay.connects(a, b, family)
        assert transfer.got <= sent
        overlay.relabel("default/a1", app="a")
        transfer.wait_more(10000)


def test_receivers_manifest_overrides_a_sender_whose_agent_is_dead(overlay, only_a, family):
    a, b = ends(overlay)
    assert overlay.connects(a, b, family)
    a.node.agent.kill()
    overlay.relabel("default/a1", app="x")
    assert not overlay.connects(a, b, family), "the packet still says app=a"
    a.node.agent.start()


@pytest.fixture
def unannounced_pod(overlay):
    """Makes a pod at n1 whose manifest n2 does not have."""
    made = []

    def make(**labels):
        made.append("default/unannounced")
        return overlay.pod(made[-1], "n1", announce=False, **labels)

    yield make
    for name in made:
        overlay.pods.pop(name).delete()


@pytest.mark.parametrize("app, passes", [("a", True), ("b", False)])
def test_unknown_address_with_a_known_identity(overlay, only_a, unannounced_pod, family, app, passes):
    """Until the receiver has the pod's manifest, it uses the packet's identity."""
    _, b = ends(overlay)
    assert overlay.connects(unannounced_pod(app=app), b, family) is passes


@pytest.mark.parametrize(
    "peer, passes",
    [
        (namespaces(), True),  # every pod
        (pods(app="new"), False),
        (pods(("app", "NotIn", "a")), False),
        (pods(("app", "Exists")), False),
    ],
    ids=["all-pods", "its-labels", "not-in", "exists"],
)
def test_unknown_identity(overlay, unannounced_pod, family, peer, passes):
    """Labels that the receiver does not have: only a rule for all pods applies."""
    _, b = ends(overlay)
    new = unannounced_pod(app="new")
    overlay.apply("policy", policy("b", {"app": "b"}, ingress=[sources(peer)], types=["Ingress"]))
    try:
        assert overlay.connects(new, b, family) is passes
    finally:
        overlay.remove("policy")


# --- translated by a stack --------------------------------------------------------------------------------------------


def add_dnat(node, pod, family):
    """Port 80 of an address that no host has, and port 18080 of the node's own, lead to the pod, on either node."""
    ip = "ip" if family == 4 else "ip6"
    to = f"{pod.ips[family]}:{PORT}" if family == 4 else f"[{pod.ips[family]}]:{PORT}"
    rules = "\n".join(
        f"{match} {protocol} dport {port} dnat to {to}"
        for protocol in ("tcp", "udp")
        for match, port in (
            (f"{ip} daddr {SERVICE[family]}", SERVICE_PORT),
            ("fib daddr type local", HOST_PORT),
        )
    )
    node.run(
        "nft",
        "-f",
        "-",
        input=f"""
        table {ip} service {{
            chain prerouting {{ type nat hook prerouting priority dstnat
                {rules}
            }}
            chain output {{ type nat hook output priority -100
                {rules}
            }}
        }}""",
    )


@pytest.fixture
def dnat_to_b2(overlay, family):
    """Both nodes have DNAT to b2."""
    _, b = ends(overlay)
    for node in overlay.nodes.values():
        add_dnat(node, b, family)
    overlay.underlay.run("ip", f"-{family}", "route", "add", SERVICE[family], "via", overlay.nodes["n1"].address[family])
    yield
    overlay.underlay.run("ip", f"-{family}", "route", "delete", SERVICE[family])
    for node in overlay.nodes.values():
        node.run("nft", "delete", "table", "ip" if family == 4 else "ip6", "service")


def both_protocols(client, server, family, address, port, big=True):
    """Returns the address that the server saw."""
    seen = tcp(client, server, address, port, PORT, size=(4 << 20) if big else 1)
    assert udp(client, server, address, port, PORT, server.ips[family]) == seen
    return seen


def test_pod_to_a_service_whose_pod_is_remote(overlay, dnat_to_b2, family):
    """The sender's node does the DNAT; the reply comes back through its stack."""
    a, b = ends(overlay)
    assert both_protocols(a, b, family, SERVICE[family], SERVICE_PORT) == a.ips[family]
    assert not overlay.arrives_at(a, SERVICE[family], SERVICE_PORT + 1, [b])


def test_pod_to_a_service_is_evaluated_by_its_identity(overlay, dnat_to_b2, only_a, family):
    a, b = ends(overlay)
    assert both_protocols(a, b, family, SERVICE[family], SERVICE_PORT, big=False) == a.ips[family]
    overlay.relabel("default/a1", app="x")
    assert not overlay.arrives_at(a, SERVICE[family], SERVICE_PORT, [b])


def test_pod_to_a_port_of_the_other_node(overlay, dnat_to_b2, family):
    """The receiver's node does the DNAT: at its own address, where the pod is masqueraded, and at its gateway address."""
    a, b = ends(overlay)
    for address in (b.node.address[family], b.node.gateway[family]):
        both_protocols(a, b, family, address, HOST_PORT)


def test_host_to_a_service_whose_pod_is_remote(overlay, dnat_to_b2, family):
    a, b = ends(overlay)
    both_protocols(a.node, b, family, SERVICE[family], SERVICE_PORT)


def test_world_to_a_port_of_a_node_whose_pod_is_remote(overlay, dnat_to_b2, family):
    """Without source NAT: the pod sees the client's address, and its reply returns through the node that did the DNAT."""
    a, b = ends(overlay)
    world = overlay.underlay
    for address, port in ((a.node.address[family], HOST_PORT), (SERVICE[family], SERVICE_PORT)):
        seen = both_protocols(world, b, family, address, port)
        assert seen in (Underlay.BEYOND[family], world.router(1, family))


@pytest.fixture
def masqueraded(overlay, dnat_to_b2, family):
    """As for node ports, whose pods may be on any node: packets from the first node to the pod's have the first node's
    address.
    """
    ip = "ip" if family == 4 else "ip6"
    rule = 'iifname "eth0" oifname "warren0" masquerade'
    overlay.nodes["n1"].run(
        "nft", "add", "chain", ip, "service", "after", "{ type nat hook postrouting priority srcnat; }"
    )
    overlay.nodes["n1"].run("nft", "add", "rule", ip, "service", "after", rule)


def test_world_to_a_port_of_a_node_that_masquerades(overlay, masqueraded, family):
    a, b = ends(overlay)
    world = overlay.underlay
    for address, port in ((a.node.address[family], HOST_PORT), (SERVICE[family], SERVICE_PORT)):
        assert both_protocols(world, b, family, address, port) == a.node.gateway[family]


@pytest.fixture
def published(overlay, family):
    """A pod of n2's with a port of its node, by the reference plugin."""
    mappings = [{"hostPort": 18090, "containerPort": PORT, "protocol": p} for p in ("tcp", "udp")]
    yield overlay.pod("default/published", "n2", chain=[PORTMAP], runtime={"portMappings": mappings}, app="published")
    overlay.delete("default/published")


def test_host_port_of_the_other_node(overlay, published, family):
    """By portmap: from the world, another node and its pods, its own node's pods; another node has no such port."""
    (a, b), n2 = ends(overlay), overlay.nodes["n2"]
    seen = both_protocols(overlay.underlay, published, family, n2.address[family], 18090)
    assert seen == overlay.underlay.router(2, family)
    assert both_protocols(a.node, published, family, n2.address[family], 18090) == a.node.address[family]
    for address in (n2.address[family], n2.gateway[family]):
        both_protocols(a, published, family, address, 18090)
        both_protocols(b, published, family, address, 18090)
    with pytest.raises(ConnectionRefusedError):
        tcp(overlay.underlay, published, a.node.address[family], 18090, PORT)
