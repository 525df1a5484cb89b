# SPDX-License-Identifier: BSD-2-Clause
"""A runtime with Debian's own paths, and one that is restarted: containerd by its CRI."""

import pytest

from conftest import write_conflist
from cri import Cri, restart_under_traffic
from lab import Lab, network


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def cri(node):
    """Debian's plugins are where Debian has them, and ours is nowhere: /usr/lib/cni is an overlay of the node's own."""
    node.run("mkdir", "/run/plugins", "/run/plugins/upper", "/run/plugins/work")
    overlay = "lowerdir=/usr/lib/cni,upperdir=/run/plugins/upper,workdir=/run/plugins/work"
    node.run("mount", "-t", "overlay", "-o", overlay, "plugins", "/usr/lib/cni")
    node.run("sh", "-c", "rm /opt/cni/bin/*")
    with Cri(node) as cri:
        yield cri


CONFLIST = "/etc/cni/net.d/10-lab.conflist"


@pytest.fixture
def installed(node, cri):
    """By the installer; afterwards, without pods, removed again."""
    before = node.files("/usr/lib/cni")
    done = node.run("warren-agent", "install")
    assert "containerd looks for plugins in /usr/lib/cni, according to /etc/containerd/config.toml" in done.stderr
    assert node.files("/usr/lib/cni") == sorted([*before, "warren-cni"]) and node.files("/opt/cni/bin") == []
    write_conflist(node, "lab", [network()], cniVersion="1.0.0")
    yield cri
    for pod in list(cri.pods):
        cri.stop(pod)
    node.assert_clean()
    node.run("warren-agent", "uninstall", "--conflist", CONFLIST)
    assert node.files("/usr/lib/cni") == before and node.files("/etc/cni/net.d") == []


def test_debians_own_paths(installed):
    """The installer finds where this containerd looks for plugins; with nothing else a pod starts."""
    pods = [installed.pod(name) for name in "ab"]
    for family in (4, 6):
        pods[0].ping(pods[1].ips[family])


@pytest.mark.long
@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_runtime_restarted_under_traffic(node, world, installed, signal):
    restart_under_traffic(installed, node, world, signal)
