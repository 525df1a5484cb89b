# SPDX-License-Identifier: BSD-2-Clause
"""Neighbours of a node: its first solicitation, and its announcements when it comes back with another MAC address."""

import pytest

from crossings import OUTER
from netns import wait_for
from overlay import Overlay


@pytest.fixture(scope="module", params=OUTER)
def overlay(request):
    """For all tests: the last one leaves n1's addresses tentative for a minute."""
    with Overlay(outer=request.param) as overlay:
        overlay.wait_resolved()
        yield overlay


def knows(overlay, mac):
    """Whether n1 sends to n2 at that MAC address."""
    return overlay.nodes["n1"].known()["n2"]["dmac"] == mac


def set_mac(node, mac):
    """Without anything that makes the kernel announce it."""
    for name in ("ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify"):
        node.sysctl(name, 0)
    node.run("ip", "link", "set", "eth0", "address", mac)


def test_another_mac_while_the_agent_runs(overlay):
    set_mac(overlay.nodes["n2"], "02:00:00:00:77:01")
    wait_for(lambda: knows(overlay, "02:00:00:00:77:01"), "n1 to hear of it", 5)


def test_node_comes_back_with_another_mac(overlay):
    """No agent ran when it changed: the agent announces it when it starts."""
    node = overlay.nodes["n2"]
    node.agent.kill()
    set_mac(node, "02:00:00:00:77:02")
    node.agent.start()
    wait_for(lambda: knows(overlay, "02:00:00:00:77:02"), "n1 to hear of it", 5)


def test_first_solicitation_while_the_link_is_new(overlay):
    """The kernel sends no solicitation while its link-local address is tentative; a second later it tries again."""
    node = overlay.nodes["n1"]
    node.sysctl("ipv6/conf/eth0/dad_transmits", 60)  # a minute
    node.sysctl("ipv6/conf/eth0/keep_addr_on_down", 1)
    node.agent.kill()
    node.run("ip", "link", "set", "eth0", "down")
    node.run("ip", "link", "set", "eth0", "up")
    wait_for(lambda: "tentative" in node.run("ip", "-6", "address", "show", "dev", "eth0").stdout, "a tentative address")
    node.agent.start()
    wait_for(lambda: node.known()["n2"]["resolved"], "the next hop", 5)
    assert "tentative" in node.run("ip", "-6", "address", "show", "dev", "eth0").stdout
