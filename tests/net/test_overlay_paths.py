# SPDX-License-Identifier: BSD-2-Clause
"""A node with two uplinks: packets from another node arrive on another device than packets to it leave by. Both cards'
reverse path filters are loose, as asymmetric routes need.
"""

import contextlib
import time

import pytest

from crossings import OUTER
from manifests import node_object
from netns import wait_for
from overlay import ALL, Overlay
from traffic import Transfer

SECOND = "eth1"
NEXTHOP_SECONDS = 0.3  # bpf/lib/nexthop.h, NEXTHOP_TICKS
OWN = {4: "198.18.101.1", 6: "2001:db8:10:101::1"}
ROUTER = {4: "198.18.101.254", 6: "2001:db8:10:101::fe"}
LENGTH = {4: 24, 6: 64}
HOST = {4: 32, 6: 128}


@pytest.fixture(scope="module", params=OUTER)
def overlay(request):
    """n1 has a second link to the router, and a node n3 behind it, so that both of its uplinks decapsulate."""
    with Overlay(outer=request.param, routed=True) as overlay:
        n1, router = overlay.nodes["n1"], overlay.underlay
        for name, node in (("default/a1", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node)
        n1.link(SECOND, [f"{OWN[f]}/{LENGTH[f]}" for f in ALL], router, "second", [f"{ROUTER[f]}/{LENGTH[f]}" for f in ALL])
        for name in ("all", "eth0", SECOND):
            n1.sysctl(f"ipv4/conf/{name}/rp_filter", 2)
        third = {4: "198.18.203.3", 6: "2001:db8:10:203::3"}
        for family in ALL:
            n1.run("ip", f"-{family}", "route", "add", f"{third[family]}/{HOST[family]}", "via", ROUTER[family])
        overlay.apply("node-n3", node_object("n3", ["10.87.3.0/24", "fd00:87:0:3::/64"], third.values()))
        wait_for(lambda: by_device(n1, "n3") == SECOND, "the second card to lead to n3")
        yield overlay


def by_device(node, name):
    uplink = (node.known().get(name) or {}).get("uplink")
    return next((link["ifname"] for link in node.ip("link") if link["ifindex"] == uplink), None)


def received(node, device):
    return node.ip("-s", "link", "show", device)[0]["stats64"]["rx"]["packets"]


def transfers(overlay):
    """Packets flow in both directions and families; returns the devices of n1 on which they came."""
    a, b = (overlay.pods[name] for name in ("default/a1", "default/b2"))
    n1 = overlay.nodes["n1"]
    before = {device: received(n1, device) for device in ("eth0", SECOND)}
    for family in ALL:
        with Transfer(a, b, b.ips[family]) as there, Transfer(b, a, a.ips[family]) as back:
            for transfer in (there, back):
                transfer.wait_more(100_000)
    return max(before, key=lambda device: received(n1, device) - before[device])


def delivered_by_second(overlay):
    """The network delivers packets for n1's own address to its second card."""
    for family in ALL:
        target = f"{overlay.nodes['n1'].address[family]}/{HOST[family]}"
        overlay.underlay.run("ip", f"-{family}", "route", "replace", target, "via", OWN[family], "dev", "second")
    return lambda: [
        overlay.underlay.run("ip", f"-{f}", "route", "delete", f"{overlay.nodes['n1'].address[f]}/{HOST[f]}") for f in ALL
    ]


def test_sent_by_the_second_card(overlay):
    """... and received by the one that has the node's address."""
    n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
    for family in ALL:
        n1.run("ip", f"-{family}", "route", "add", f"{n2.address[family]}/{HOST[family]}", "via", ROUTER[family])
    wait_for(lambda: by_device(n1, "n2") == SECOND, "the route to n2 to be known")
    assert transfers(overlay) == "eth0"
    for family in ALL:
        n1.run("ip", f"-{family}", "route", "delete", f"{n2.address[family]}/{HOST[family]}")
    wait_for(lambda: by_device(n1, "n2") == "eth0", "the route to n2 to be known")


@contextlib.contextmanager
def two_paths(overlay):
    """n1's route to n2 has two."""
    n1, n2, router = overlay.nodes["n1"], overlay.nodes["n2"], overlay.underlay
    for family in ALL:
        paths = [word for gateway in (router.router(1, family), ROUTER[family]) for word in ("nexthop", "via", gateway)]
        n1.run("ip", f"-{family}", "route", "add", f"{n2.address[family]}/{HOST[family]}", *paths)
    try:
        yield
    finally:
        for family in ALL:
            n1.run("ip", f"-{family}", "route", "delete", f"{n2.address[family]}/{HOST[family]}")


def test_received_by_the_second_card_of_two_paths(overlay):
    """The kernel uses one of the paths for all its packets."""
    with two_paths(overlay):
        undo = delivered_by_second(overlay)
        assert transfers(overlay) == SECOND
        undo()


@pytest.mark.alone
def test_no_packet_is_lost_between_two_paths(overlay):
    """Each of these flows begins after the cached nexthop has ended: its first packet goes by the kernel's neighbour, which
    is that of the selected path, whatever the flow.
    """
    n1, router = overlay.nodes["n1"], overlay.underlay
    a, b = (overlay.pods[name] for name in ("default/a1", "default/b2"))
    gateways = {"eth0": {router.router(1, f) for f in ALL}, SECOND: {ROUTER[f] for f in ALL}}
    with two_paths(overlay):
        for family in ALL:
            with b.udp(family) as receiver:
                for _ in range(8):
                    time.sleep(NEXTHOP_SECONDS)  # of this there is no event
                    with a.udp(family) as sender:
                        sender.sendto(b"first", (b.ips[family], receiver.getsockname()[1]))
                        assert receiver.recv(64) == b"first"
        for device, other in (("eth0", SECOND), (SECOND, "eth0")):
            assert not gateways[other] & {neigh["dst"] for neigh in n1.ip("neigh", "show", "dev", device)}


def test_received_by_the_card_of_a_backup_route(overlay):
    """IPv4 alone: IPv6's FIB lookup finds the best route's devices only."""
    if overlay.outer == 6:
        pytest.skip("of IPv6 the FIB lookup says nothing about routes that are not the best")
    n1 = overlay.nodes["n1"]
    n1.run("ip", "route", "add", "default", "via", ROUTER[4], "metric", 5000)
    undo = delivered_by_second(overlay)
    assert transfers(overlay) == SECOND
    undo()
    n1.run("ip", "route", "delete", "default", "via", ROUTER[4], "metric", 5000)
