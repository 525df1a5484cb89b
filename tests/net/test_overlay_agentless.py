# SPDX-License-Identifier: BSD-2-Clause
"""The agents are dead, and the path between the nodes changes: traffic continues by the kernel's routes and neighbours."""

import contextlib

import pytest

from overlay import ALL, Overlay
from traffic import Transfer, seconds_until_answered

pytestmark = pytest.mark.long

SOON = 5  # seconds: the programs look at routes and neighbours several times a second
NUD = 20  # ... until the kernel has detected a silent neighbour, with the times that quick_nud() sets


SETUPS = {
    "over-v4": dict(outer=4),
    "over-v6": dict(outer=6),
    "routed-over-v4": dict(outer=4, routed=True),
    "routed-over-v6": dict(outer=6, routed=True),
}


def in_setups(*names):
    return pytest.mark.parametrize("nodes", names, indirect=True, scope="module")


ONE_LINK, ROUTED = in_setups("over-v4", "over-v6"), in_setups("routed-over-v4", "routed-over-v6")


@pytest.fixture(scope="module")
def nodes(request):
    with Overlay(**SETUPS[request.param]) as overlay:
        for name, node in (("default/a1", "n1"), ("default/b2", "n2")):
            overlay.pod(name, node)
        yield overlay


@pytest.fixture
def overlay(nodes):
    """With agents, and next hops that they have resolved. What a test puts on `undo` is undone after it."""
    nodes.wait_resolved()
    with contextlib.ExitStack() as nodes.undo:
        yield nodes
    for node in nodes.nodes.values():
        if not node.agent.proc:
            node.agent.start()


def notify(node, device, on=1):
    """Whether the kernel announces a new MAC address, as drivers of real cards have it do."""
    for name in (f"ipv4/conf/{device}/arp_notify", f"ipv6/conf/{device}/ndisc_notify"):
        node.sysctl(name, on)


def quick_nud(node):
    for family in ("ipv4", "ipv6"):
        for name, value in (("base_reachable_time_ms", 1000), ("delay_first_probe_time", 1), ("retrans_time_ms", 200)):
            node.sysctl(f"{family}/neigh/eth0/{name}", value)
    # An entry's timer keeps the times that it was started with. The agent may cause the next entry before `ip` lists
    # them again, which then fails because the flush does not end.
    node.run("ip", "neighbour", "flush", "dev", "eth0", check=False)


def keeps_traffic(overlay, change, limit=SOON):
    """Without agents: a flow of each family is established when the path changes, and continues."""
    a, b = (overlay.pods[name] for name in ("default/a1", "default/b2"))
    for family in ALL:
        assert seconds_until_answered(a, b, family, SOON) is not None
    for node in overlay.nodes.values():
        node.agent.kill()
    with Transfer(a, b, b.ips[4]) as there, Transfer(b, a, a.ips[6]) as back:
        for transfer in (there, back):
            transfer.wait_more()
        change()
        for family in ALL:
            seconds = seconds_until_answered(a, b, family, limit)
            assert seconds is not None, f"no answer over IPv{family} for {limit} s"
        for transfer in (there, back):
            transfer.wait_more(20000)


@ONE_LINK
def test_node_gets_another_mac(overlay, n2):
    notify(n2, "eth0")
    keeps_traffic(overlay, lambda: n2.run("ip", "link", "set", "eth0", "address", "02:00:00:00:77:01"))


@ONE_LINK
def test_node_gets_another_mac_silently(overlay, n1, n2):
    """It sends nothing that would start its neighbour's probes: the neighbour detects it by itself."""
    notify(n2, "eth0", 0)
    quick_nud(n1)

    def change():
        mac = n1.uplink_mac
        n2.run("ip", "link", "set", "eth0", "address", "02:00:00:00:77:02")
        for family in ALL:
            n2.run("ip", "neighbour", "replace", n1.address[family], "lladdr", mac, "dev", "eth0", "nud", "permanent")
            overlay.undo.callback(n2.run, "ip", "neighbour", "delete", n1.address[family], "dev", "eth0")

    keeps_traffic(overlay, change, NUD)


@ROUTED
def test_gateway_gets_another_mac(overlay):
    router = overlay.underlay
    notify(router, router.port(1))
    keeps_traffic(overlay, lambda: router.run("ip", "link", "set", router.port(1), "address", "02:00:00:00:77:03"))


def refuse(router, device):
    """No packet reaches the other nodes through that device any more."""
    router.run(
        "nft",
        "-f",
        "-",
        input=f"table inet refuse {{ chain forward {{ type filter hook forward priority 0; iifname {device} drop; }}; }}\n",
    )


def accept(router):
    router.run("nft", "delete", "table", "inet", "refuse")


@ROUTED
def test_route_moves_to_another_gateway(overlay, n1):
    """A second router on the same link."""
    router, device = overlay.underlay, overlay.underlay.port(1)
    others = {4: "198.18.1.253", 6: "2001:db8:10:1::fd"}
    router.run("ip", "link", "add", "other", "link", device, "type", "macvlan", "mode", "private")
    for name in ("arp_ignore", "arp_announce"):
        router.sysctl(f"ipv4/conf/all/{name}", {"arp_ignore": 1, "arp_announce": 2}[name])
    for family, address in others.items():
        router.run("ip", f"-{family}", "address", "add", f"{address}/{ {4: 32, 6: 128}[family] }", "dev", "other", *(["nodad"] if family == 6 else []))
    router.run("ip", "link", "set", "other", "up")
    overlay.undo.callback(router.run, "ip", "link", "delete", "other")

    def change():
        for family, address in others.items():
            n1.run("ip", f"-{family}", "route", "replace", "default", "via", address)
            overlay.undo.callback(n1.run, "ip", f"-{family}", "route", "replace", "default", "via", router.router(1, family))
        refuse(router, device)
        overlay.undo.callback(accept, router)

    keeps_traffic(overlay, change)


@ROUTED
def test_route_moves_to_another_device(overlay, n1):
    """The node's address stays on its device, and replies to it arrive there."""
    router = overlay.underlay
    n1.link("eth1", ["198.18.101.1/24", "2001:db8:10:101::1/64"], router, "second", ["198.18.101.254/24", "2001:db8:10:101::fe/64"])
    for family, address in {4: "198.18.101.254", 6: "2001:db8:10:101::fe"}.items():
        n1.run("ip", f"-{family}", "route", "add", "default", "via", address, "metric", 5000)
    overlay.undo.callback(n1.run, "ip", "link", "delete", "eth1")

    def change():
        for family in ALL:
            n1.run("ip", f"-{family}", "route", "delete", "default", "via", router.router(1, family))
            overlay.undo.callback(n1.run, "ip", f"-{family}", "route", "add", "default", "via", router.router(1, family))
        refuse(router, router.port(1))
        overlay.undo.callback(accept, router)

    keeps_traffic(overlay, change)
