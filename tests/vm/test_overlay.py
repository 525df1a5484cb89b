# SPDX-License-Identifier: BSD-2-Clause
"""Between two nodes: GSO packets, which every kernel handles differently in a tunnel; and paths that lose, delay,
reorder and repeat packets.
"""

import contextlib
import socket
import struct

import pytest

from netns import tcp

UDP_SEGMENT = 103
SIZE = 300_000

PATHS = {  # netem on the packets between the nodes
    "loss": ["loss", "2%"],
    "delay": ["delay", "20ms", "5ms"],
    "reordering": ["delay", "5ms", "reorder", "75%"],
    "duplicates": ["duplicate", "5%"],
}


@pytest.fixture
def ends(overlay):
    return overlay.pods["default/a"], overlay.pods["default/b"]


def test_gso_packets(ends, family):
    """TCP's segmentation offload goes through the tunnel; a pod's UDP segmentation is done before it."""
    a, b = ends
    tcp(a, b, b.ips[family], size=2_000_000)
    with b.udp(family, address=b.ips[family]) as receiver, a.udp(family) as sender:
        sender.connect((b.ips[family], receiver.getsockname()[1]))
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
        parts = [struct.pack("!H", i) * 600 for i in range(20)]
        sender.send(b"".join(parts))
        assert sorted(receiver.recv(65536) for _ in parts) == parts


@contextlib.contextmanager
def netem(*devices, options):
    """`devices`: (network namespace, name)."""
    for netns, name in devices:
        netns.run("tc", "qdisc", "add", "dev", name, "root", "netem", *options, "limit", 10000)
    try:
        yield
    finally:
        for netns, name in devices:
            netns.run("tc", "qdisc", "delete", "dev", name, "root")


@pytest.mark.needs("netem")
@pytest.mark.parametrize("path", PATHS)
def test_bad_path_between_nodes(overlay, ends, family, path):
    a, b = ends
    with netem(*((node, "eth0") for node in overlay.nodes.values()), options=PATHS[path]):
        tcp(a, b, b.ips[family], size=SIZE)


# No tunnel leads there: one family of tunnels is enough.
@pytest.mark.needs("netem")
@pytest.mark.parametrize("overlay", [6], indirect=True, ids=["over-v6"])
@pytest.mark.parametrize("path", PATHS)
def test_bad_path_to_the_world(overlay, ends, family, path):
    a, _ = ends
    with netem((a.node, "eth0"), (overlay.underlay, overlay.underlay.port(1)), options=PATHS[path]):
        tcp(a, overlay.underlay, overlay.underlay.BEYOND[family], size=SIZE)
