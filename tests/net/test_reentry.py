# SPDX-License-Identifier: BSD-2-Clause
"""Packets that from_uplink hands to the node's own stack enter by warren0: they pass there under every reverse path
filter.

The tests send into warren0's other end instead of from_uplink: those packets enter by warren0, too.
"""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lab import NODE_GATEWAY, Lab, network
from netns import wait_for

REMOTE_POD = {4: "10.88.0.5", 6: "fd00:88::5"}
REMOTE_CIDR = {4: "10.88.0.0/24", 6: "fd00:88::/64"}


@pytest.fixture(params=[0, 1, 2])
def rp_filter(node, request):
    for name in ("all", "default", "eth0"):
        node.sysctl(f"ipv4/conf/{name}/rp_filter", request.param)
    yield request.param
    for name in ("all", "default", "eth0"):
        node.sysctl(f"ipv4/conf/{name}/rp_filter", 0)


@pytest.fixture
def reenter(node, family):
    """Sends a datagram into warren0."""
    node.run("ip", f"-{family}", "route", "replace", REMOTE_CIDR[family], "dev", "warren0")
    mac = node.ip("link", "show", "warren0")[0]["address"]

    def send(src, dst, port):
        layer = IP if family == 4 else IPv6
        with node.wire("warren1") as wire:
            frame = Ether(dst=mac, src="02:00:00:00:00:01") / layer(src=src, dst=dst) / UDP(sport=7, dport=port) / b"in"
            wire.send(frame)

    yield send
    node.run("ip", f"-{family}", "route", "delete", REMOTE_CIDR[family], "dev", "warren0")


@pytest.mark.parametrize("sender", ["pod of another node", "another node"])
def test_to_the_host(pods, node, family, rp_filter, reenter, sender):
    pods("a", network())  # brings the gateway addresses
    src = REMOTE_POD[family] if sender.startswith("pod") else Lab.WORLD[family]
    with node.udp(family, address=NODE_GATEWAY[family]) as sock:
        reenter(src, NODE_GATEWAY[family], sock.getsockname()[1])
        data, source = sock.recvfrom(100)
        assert (data, source[0]) == (b"in", src)


def test_to_a_pod(pods, node, family, rp_filter, reenter):
    """A flow through the stack (another program's NAT) reaches the pod."""
    pod = pods("a", network())
    with pod.udp(family) as sock:
        reenter(REMOTE_POD[family], pod.ips[family], sock.getsockname()[1])
        assert sock.recvfrom(100)[1][0] == REMOTE_POD[family]


def filtered(node):
    """How many packets the reverse path filter has dropped."""
    names, values = (line.split() for line in node.run("grep", "^TcpExt:", "/proc/net/netstat").stdout.splitlines())
    return int(values[names.index("IPReversePathFilter")])


def test_it_is_the_filter_that_would_drop(pods, node):
    """The tests above can fail: with a strict filter at warren0, too, another node's own address is dropped."""
    pods("a", network())
    mac = node.ip("link", "show", "warren0")[0]["address"]
    node.sysctl("ipv4/conf/all/rp_filter", 1)
    node.sysctl("ipv4/conf/warren0/rp_filter", 0)
    try:
        with node.udp(4, address=NODE_GATEWAY[4]) as sock, node.wire("warren1") as wire:
            port = sock.getsockname()[1]
            for strict in (True, False):
                ip = IP(src=Lab.WORLD[4], dst=NODE_GATEWAY[4])
                before = filtered(node)
                wire.send(Ether(dst=mac, src="02:00:00:00:00:01") / ip / UDP(sport=7, dport=port) / str(strict).encode())
                wait_for(lambda: not strict or filtered(node) > before, "the filter to drop it")
                node.sysctl("ipv4/conf/warren0/rp_filter", 2)
            assert sock.recv(100) == b"False"
    finally:
        node.sysctl("ipv4/conf/all/rp_filter", 0)
        node.sysctl("ipv4/conf/warren0/rp_filter", 2)
