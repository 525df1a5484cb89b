# SPDX-License-Identifier: BSD-2-Clause
"""`warren service release` and `takeover`: the Services of a cluster go from Warren to kube-proxy, and back, under traffic.
No connection ends, and after kube-proxy's end nothing of it is left.
"""

import contextlib
import os
from pathlib import Path

import pytest

from control_plane import ProcessNetns
from kube_cluster import NODES, agents_ready, pod, replace_agent, service, wait_agents
from netns import wait_for
from traffic import Transfer
from whoami import ask

pytestmark = pytest.mark.proxies("iptables", "nftables")

CGROUPS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")  # beside version 1, or alone
WHERE = {"client": "n1", "near": "n1", "far": "n2"}
NAMED = ("TCP", 8080)
STREAM = ("TCP", 9000)


class Host(ProcessNetns):
    """A node's own network, and for sockets that are made in it the cgroup of its processes."""

    def __init__(self, cluster, name):
        super().__init__(None, cluster.machine(name).pid)
        self.own = Path("/proc/self/cgroup").read_text().partition("0::/")[2].split("\n")[0]
        self.cgroups = next(path for path in map(Path, CGROUPS) if (path / "cgroup.procs").exists())
        self.cgroup = f"warren-kube-{cluster.name}/{name}"

    def _join(self, cgroup):
        (self.cgroups / cgroup / "cgroup.procs").write_text(str(os.getpid()))

    @contextlib.contextmanager
    def entered(self):
        self._join(self.cgroup)
        try:
            with super().entered():
                yield
        finally:
            self._join(self.own)


class Scene:
    """A pod and the host of n1, and a client outside the cluster, use Services of a pod beside them and of one on n2."""

    def __init__(self, cluster, space, servers):
        self.cluster, self.space = cluster, space
        items = [pod(name, node, {"name": name}, space) for name, node in WHERE.items()]
        services = [
            service(name, {"name": name}, (80, *NAMED), (81, *STREAM), namespace=space, type="NodePort")
            for name in ("near", "far")
        ]
        cluster.api.apply(*items, *services)
        self.pods = {name: cluster.netns(item) for name, item in cluster.ready(*WHERE, namespace=space).items()}
        self.services = {name: cluster.api.get("Service", name, space)["spec"] for name in ("near", "far")}
        self.nodes = {
            6 if ":" in a["address"] else 4: a["address"]
            for a in cluster.api.get("Node", "n1")["status"]["addresses"] if a["type"] == "InternalIP"
        }
        for name in ("near", "far"):
            servers.add(self.pods[name], name, NAMED)
        self.host = Host(cluster, "n1")

    def ways(self, port):
        """(client, its network, address, port, target) of the Services' port with this number."""
        for target, spec in self.services.items():
            node_port = next(p["nodePort"] for p in spec["ports"] if p["port"] == port)
            for address in spec["clusterIPs"]:
                yield "pod", self.pods["client"], address, port, target
                yield "host", self.host, address, port, target
            for address in self.nodes.values():
                yield "outside", self.cluster.world, address, node_port, target

    def answers(self):
        return {(who, address, target): ask(netns, address, port, timeout=2) for who, netns, address, port, target in self.ways(80)}

    def broken(self):
        return {way: answer for way, answer in self.answers().items() if answer[0] != way[2]}

    def works(self):
        return not self.broken()

    def sources(self):
        """Which addresses of clients outside the pod of the other node sees."""
        found = self.answers()
        return {answer[1] for (who, _, target), answer in found.items() if who == "outside" and target == "far"}

    def streams(self):
        """Open ones on all ways."""
        return [Transfer(netns, self.pods[target], address, port, STREAM[1]) for _, netns, address, port, target in self.ways(81)]

    def warren(self, *argv, check=True):
        return {name: self.cluster.machine(name).warren_json(*argv, check=check) for name in NODES}


@contextlib.contextmanager
def go_on(scene):
    """Streams that begin before, and live on."""
    streams = scene.streams()
    for stream in streams:
        stream.wait_more(10000)
    yield
    for stream in streams:
        stream.wait_more(10000)
        stream.close()


@pytest.fixture
def scene(warren, space, servers):
    scene = Scene(warren, space, servers)
    wait_for(scene.works, "all Services work")
    yield scene
    for netns in (scene.host, *scene.pods.values()):
        netns.close()


CLIENT = {"10.10.0.1", "fd10::1"}  # outside; kube-proxy replaces it by an address of the node


def rules(cluster, node):
    """kube-proxy's."""
    script = "nft list tables | grep -w kube-proxy; for kind in iptables ip6tables iptables-legacy ip6tables-legacy; do $kind-save; done"
    printed = cluster.node(node, "sh", "-c", script).stdout.splitlines()
    ours = (" kube-proxy", "KUBE-SERVICES", "KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-FORWARD")
    return [line for line in printed if any(name in line for name in ours)]


def test_released_and_taken_over(scene):
    cluster = scene.cluster
    assert scene.sources() == CLIENT

    with go_on(scene):
        assert [done["services"] for done in scene.warren("service", "release").values()] == ["kube-proxy"] * 2
        wait_for(scene.works, "kube-proxy's translation")
        assert not scene.sources() & CLIENT
    replace_agent(cluster, "n1")
    wait_agents(cluster, agents_ready, "the next agent")
    assert not scene.sources() & CLIENT

    with go_on(scene):
        assert [done.get("removed_chains") for done in scene.warren("service", "takeover").values()] == [None] * 2
        assert all(rules(cluster, name) for name in NODES), "kube-proxy runs, so its rules stay"
        wait_for(scene.works, "Warren's translation")
        assert scene.sources() == CLIENT
        for name in NODES:
            cluster.turn_off(name, "kube-proxy")
        done = scene.warren("service", "takeover")
        assert all(d["removed_tables"] + d["removed_chains"] for d in done.values()), done
        assert not [rules(cluster, name) for name in NODES if rules(cluster, name)]
        assert not scene.broken()
        assert scene.sources() == CLIENT
    # What kube-proxy is to have again needs its rules.
    assert cluster.machine("n1").warren("service", "release", check=False).returncode

    for name in NODES:
        cluster.turn_on(name, "kube-proxy")
    wait_for(lambda: all(rules(cluster, name) for name in NODES), "kube-proxy's rules")
