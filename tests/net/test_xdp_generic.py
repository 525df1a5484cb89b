# SPDX-License-Identifier: BSD-2-Clause
"""Generic XDP at the uplinks: traffic between nodes passes as without it."""

import pytest

from netns import tcp, udp
from overlay import Overlay

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=[4, 6], ids=["over-v4", "over-v6"])
def overlay(request):
    with Overlay(outer=request.param) as overlay:
        overlay.pod("default/a1", "n1")
        overlay.pod("default/b2", "n2")
        overlay.wait_resolved()
        for node in overlay.nodes.values():
            node.warren("uplink", "xdp", "eth0", "generic")
        yield overlay


def test_tunnel_with_generic_xdp(overlay, family):
    a, b = overlay.pods["default/a1"], overlay.pods["default/b2"]
    for client, server in ((a, b), (b, a)):
        assert tcp(client, server, server.ips[family], size=1 << 20)
        assert udp(client, server, server.ips[family], 5353, 5353, server.ips[family])
