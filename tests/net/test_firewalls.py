# SPDX-License-Identifier: BSD-2-Clause
"""Warren on a node with another program's firewall: the rule sets of Docker, ufw and firewalld in their default form,
shortened to what decides. Pods and the host's probes do not depend on it; pods' traffic with the world does, and passes
once the firewall accepts it.
"""

import pytest

from netns import tcp
from overlay import Overlay

pytestmark = pytest.mark.long

DOCKER = """*filter
:FORWARD DROP
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
"""
UFW = """*filter
:INPUT DROP
:FORWARD DROP
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p {icmp} -j ACCEPT
-A INPUT -p tcp --dport 22 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""
FIREWALLD = """table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
		meta l4proto { icmp, icmpv6 } accept
		tcp dport 22 accept
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
		reject with icmpx admin-prohibited
	}
}
"""


def iptables(rules, chain):
    """How the rules are loaded, and what accepts pods' traffic in them."""

    def load(node):
        for program, icmp in (("iptables-restore", "icmp"), ("ip6tables-restore", "ipv6-icmp")):
            node.run(program, input=rules.format(icmp=icmp))

    def accept(node):
        for program in ("iptables", "ip6tables"):
            for direction in ("-i", "-o"):
                node.run(program, "-I", chain, direction, "wr+", "-j", "ACCEPT")

    return load, accept


def nftables():
    def load(node):
        node.run("nft", "-f", "-", input=FIREWALLD)

    def accept(node):
        for direction in ("iifname", "oifname"):
            node.run("nft", "insert", "rule", "inet", "firewalld", "filter_FORWARD", direction, '"wr*"', "accept")

    return load, accept


FIREWALLS = {"docker": iptables(DOCKER, "DOCKER-USER"), "ufw": iptables(UFW, "FORWARD"), "firewalld": nftables()}


@pytest.fixture(scope="module", params=FIREWALLS)
def overlay(request):
    """Two pods on n1, which has the firewall, and one on n2."""
    with Overlay() as overlay:
        overlay.firewall, overlay.accept = FIREWALLS[request.param]
        overlay.firewall(overlay.nodes["n1"])
        for name, node in {"default/a1": "n1", "default/b1": "n1", "default/a2": "n2"}.items():
            overlay.pod(name, node, app=name[8])
        overlay.wait_resolved()
        yield overlay


def reaches_the_world(overlay, family):
    pod, world = overlay.pods["default/a1"], overlay.underlay
    address = world.router(1, family)
    with world.tcp_listen(family, address=address) as listener:
        try:
            pod.tcp_connect(address, listener.getsockname()[1], timeout=2).close()
        except OSError:
            return False
        return True


def test_pods_and_probes(overlay, family):
    a1, b1, a2 = (overlay.pods[f"default/{name}"] for name in ("a1", "b1", "a2"))
    for client, server in ((a1, b1), (a1, a2), (a2, a1), (overlay.nodes["n1"], a1), (overlay.nodes["n1"], a2)):
        tcp(client, server, server.ips[family], size=100000)


def test_the_world_is_up_to_the_firewall(overlay):
    assert [reaches_the_world(overlay, family) for family in (4, 6)] == [False, False]
    overlay.accept(overlay.nodes["n1"])
    assert [reaches_the_world(overlay, family) for family in (4, 6)] == [True, True]
