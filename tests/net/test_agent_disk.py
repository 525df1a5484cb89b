# SPDX-License-Identifier: BSD-2-Clause
"""The agent of a cluster on a node whose root file system is full: the key, the API server's addresses, the runtime's
configuration.
"""

import signal

import pytest

from agent import Agent
from certificates import Authority
from fake_apiserver import NODES, SECRET, FakeApiServer
from lab import Lab
from manifests import node_object
from netns import wait_for

pytestmark = pytest.mark.long

SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
CONFLIST = "/etc/cni/net.d/05-warren.conflist"
KEY, SERVERS = "/var/lib/warren/cluster.key", "/var/lib/warren/api-servers"
NO_ROOM = "No space left on device; make room on its filesystem"


@pytest.fixture
def cluster(tmp_path):
    """A node as one is in Kubernetes, and an API server in the world."""
    ca = Authority(tmp_path / "ca")
    certificate = ca.sign("server", f"IP:{Lab.WORLD[4]}", "DNS:kubernetes.default.svc")
    with Lab() as lab, FakeApiServer(lab.world, 4, certificate) as api:
        api.put(NODES, node_object("self", ["10.87.0.0/24"], [Lab.UPLINK[4]]))
        api.put(SLICES, {
            "metadata": {"namespace": "default", "name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "ports": [{"name": "https", "port": api.port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [Lab.WORLD[4]], "conditions": {"ready": True}}],
        })
        api.single[SECRET] = {"metadata": {"uid": "u", "resourceVersion": "1"}, "type": "Opaque"}
        account = lab.node.outside(ACCOUNT)
        account.mkdir(parents=True)
        for name, text in (("token", "t"), ("ca.crt", ca.ca.read_text()), ("namespace", "kube-system")):
            (account / name).write_text(text)
        lab.node.run("mkdir", "-p", "/run/disk", "/var/lib/warren")
        lab.node.run("mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "root", "/run/disk")
        for directory in ("/var/lib/warren", "/etc/cni/net.d"):
            lab.node.run("mkdir", "-p", f"/run/disk{directory}")
            lab.node.run("mount", "--bind", f"/run/disk{directory}", directory)
        yield lab.node, api


def test_full_root(cluster):
    """It says what it cannot write, leaves no part of a file, and writes it when there is room; policy is enforced
    meanwhile.
    """
    node, api = cluster
    env = [f"KUBERNETES_SERVICE_HOST={Lab.WORLD[4]}", f"KUBERNETES_SERVICE_PORT={api.port}"]
    node.run("sh", "-c", "cat /dev/zero >/run/disk/filler", check=False)
    with Agent(node, "--kubernetes", "--node-name", "self", manifests=None, wait=False, wrap=["env", *env]) as agent:
        for path in (KEY, SERVERS, CONFLIST):
            wait_for(lambda: f"cannot write {path}: {NO_ROOM}" in agent.tail(500), f"a message about {path}")
        agent.wait_notified("READY=1")
        problems = agent.status()["problems"]
        assert any(f"cannot write {CONFLIST}: No space left" in problem["message"] for problem in problems), problems
        assert node.files("/run/disk") == ["filler"]
        node.run("rm", "/run/disk/filler")
        wait_for(lambda: node.outside(CONFLIST).exists(), "the runtime's configuration")
        wait_for(lambda: not agent.status()["problems"], "no problem")
        agent.signal(signal.SIGHUP)  # it compares its key, as it does every five minutes
        wait_for(lambda: node.outside(KEY).exists(), "the copy of the key")
        agent.stop()
        agent.start()
        wait_for(lambda: node.outside(SERVERS).exists(), "the addresses of the API server")
        agent.stop()
    assert node.files("/run/disk") == [path.removeprefix("/") for path in (CONFLIST, SERVERS, KEY)]
