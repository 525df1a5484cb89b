# SPDX-License-Identifier: BSD-2-Clause
"""The MTU of existing pods follows that of their node's uplink, down and up, under traffic."""

import pytest

from crossings import OUTER
from geneve import OVERHEAD, is_tunnel
from lab import moved, network
from overlay import ALL, Overlay
from netns import tcp, udp, wait_for
from traffic import Transfer

PODS = {"default/a1": "n1", "default/b2": "n2"}


@pytest.fixture(scope="module", params=OUTER)
def shared_overlay(request):
    with Overlay(outer=request.param) as overlay:
        for name, node in PODS.items():
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        yield overlay


@pytest.fixture
def overlay(shared_overlay):
    """With an MTU of 1500 before and after the test."""
    yield shared_overlay
    set_uplinks(shared_overlay, 1500)
    wait_mtu(shared_overlay, 1500 - OVERHEAD[shared_overlay.outer])


def set_uplinks(overlay, mtu):
    """Of the nodes and of the switch between them."""
    for number, node in enumerate(overlay.nodes.values(), 1):
        overlay.underlay.set_mtu(node, number, mtu)
    overlay.underlay.run("ip", "link", "set", "lan", "mtu", mtu)


def mtus(pod):
    """Of both ends of a pod's link."""
    inside = pod.ip("link", "show", "eth0")[0]["mtu"]
    return inside, pod.node.ip("link", "show", pod.host_ifname)[0]["mtu"]


def wait_mtu(overlay, fits):
    for name in PODS:
        pod = overlay.pods[name]
        wait_for(lambda: mtus(pod) == (fits, fits), f"{name} to have the MTU {fits}")


def test_live_connections_follow(overlay):
    a, b = (overlay.pods[name] for name in PODS)
    overhead = OVERHEAD[overlay.outer]
    with Transfer(a, b, b.ips[4]) as there, Transfer(b, a, a.ips[6]) as back:
        for mtu in (1400, 1500, 9000, 1500):
            there.wait_more(20000)
            set_uplinks(overlay, mtu)
            wait_mtu(overlay, mtu - overhead)
            for transfer in (there, back):
                transfer.wait_more(20000)
    for node in overlay.nodes.values():
        assert node.ip("link", "show", "warren0")[0]["mtu"] == 1500 - overhead


def test_everything_fits_after_it(overlay):
    """No size is lost, from any sender: no ICMP error is needed, and nothing is larger than the uplink."""
    a, b = (overlay.pods[name] for name in PODS)
    set_uplinks(overlay, 1400)
    fits = 1400 - OVERHEAD[overlay.outer]
    wait_mtu(overlay, fits)
    assert overlay.pod_mtu_probe() == fits
    before = [node.metrics() for node in overlay.nodes.values()]
    with overlay.capture() as wire:
        for family in ALL:
            for client, server in ((a, b), (b, a), (a.node, b)):
                tcp(client, server, server.ips[family], size=1 << 20)
                udp(client, server, server.ips[family], payload=bytes(5000))
        assert any(is_tunnel(frame) for frame in wire.drain())
    for node, counted in zip(overlay.nodes.values(), before):
        assert ("too_big", "egress") not in moved(counted, node.metrics())


def test_agent_was_dead_meanwhile(overlay):
    a, _ = (overlay.pods[name] for name in PODS)
    for node in overlay.nodes.values():
        node.agent.kill()
    set_uplinks(overlay, 1400)
    for node in overlay.nodes.values():
        node.agent.start()
    wait_mtu(overlay, 1400 - OVERHEAD[overlay.outer])
    assert a.ping(overlay.pods["default/b2"].ips[6], size=1200)


def test_mtu_of_the_network_stays(overlay):
    """The agent does not change an MTU that the network's configuration sets."""
    node = overlay.nodes["n1"]
    conf = network(mtu=1300, ipam={"ranges": [[{"subnet": node.cidr[f]}] for f in ALL]})
    pod = node.pod("fixed", conf)
    try:
        set_uplinks(overlay, 1400)
        wait_mtu(overlay, 1400 - OVERHEAD[overlay.outer])
        assert mtus(pod) == (1300, 1300)
    finally:
        pod.delete()


def test_pod_that_cannot_follow(overlay):
    """Its device has been moved to an unknown namespace: that is reported, and the others follow."""
    a, _ = (overlay.pods[name] for name in PODS)
    node, astray = a.node, overlay.pod("default/c1", "n1", app="c")
    elsewhere = node.netns_add("elsewhere")
    astray.run("ip", "link", "set", "eth0", "netns", "elsewhere")
    set_uplinks(overlay, 1400)
    wait_mtu(overlay, 1400 - OVERHEAD[overlay.outer])

    def problem():
        return {c["subject"]: c["message"] for c in node.agent.status()["problems"]}.get("MTU of pods")

    said = wait_for(problem, "a problem")
    assert said.startswith(f"1 pod does not have MTU {1400 - OVERHEAD[overlay.outer]}: default/c1: ")
    status = node.warren("status", check=False)
    assert status.returncode and said in status.stdout
    overlay.delete("default/c1")
    set_uplinks(overlay, 1500)
    wait_mtu(overlay, 1500 - OVERHEAD[overlay.outer])
    assert node.warren("status").returncode == 0
    node.netns_delete(elsewhere)
