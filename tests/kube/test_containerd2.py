# SPDX-License-Identifier: BSD-2-Clause
"""containerd 2, which kind's nodes have, by its CRI: with its own paths and its own form of configuration. (The clusters of
this directory run Debian's containerd, and tests/e2e/test_cri.py that one by itself.)
"""

import json

import pytest

from control_plane import KUBE
from cri import Cri, restart_under_traffic
from lab import Lab, network

PROGRAMS = KUBE / "bin/containerd2"
CONFLIST = "/etc/cni/net.d/10-lab.conflist"


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def cri(node):
    if not PROGRAMS.exists():
        pytest.fail("containerd 2 is not built: run tests/kube/build.sh")
    for old in node.files("/etc/cni/net.d"):
        node.outside(f"/etc/cni/net.d/{old}").unlink()
    node.run("sh", "-c", "rm -f /opt/cni/bin/* && cp /usr/lib/cni/loopback /usr/lib/cni/portmap /opt/cni/bin")
    with Cri(node, PROGRAMS) as cri:
        yield cri


@pytest.fixture
def installed(node, cri):
    """By the installer; afterwards, without pods, removed again."""
    done = node.run("warren-agent", "install")
    assert "containerd looks for plugins in /opt/cni/bin" in done.stderr, done.stderr
    assert node.files("/opt/cni/bin") == ["loopback", "portmap", "warren-cni"]
    conf = {"cniVersion": "1.1.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "lab", "plugins": [network()]}
    node.outside(CONFLIST).write_text(json.dumps(conf))
    yield cri
    for pod in list(cri.pods):
        cri.stop(pod)
    node.assert_clean()
    node.run("warren-agent", "uninstall", "--conflist", CONFLIST)
    assert node.files("/opt/cni/bin") == ["loopback", "portmap"] and node.files("/etc/cni/net.d") == []


def test_pods_start(node, installed):
    """With CNI 1.1.0; they reach each other, the node has both as endpoints, and CHECK accepts what the runtime keeps."""
    pods = [installed.pod(name) for name in "ab"]
    for family in (4, 6):
        pods[0].ping(pods[1].ips[family])
    assert len(node.warren_json("endpoint", "list")) == 2
    assert pods[0].result()["cniVersion"] == "1.1.0"
    pods[0].check()


def test_network_is_not_ready_without_the_plugin(node, installed):
    """This runtime asks the plugin's STATUS: once the plugin is gone the node takes no pods."""
    assert installed.network_ready()
    node.run("mv", "/opt/cni/bin/warren-cni", "/opt/cni/bin/.away")
    try:
        assert not installed.network_ready()
    finally:
        node.run("mv", "/opt/cni/bin/.away", "/opt/cni/bin/warren-cni")
    assert installed.network_ready()


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_runtime_restarted_under_traffic(node, world, installed, signal):
    restart_under_traffic(installed, node, world, signal)
