# SPDX-License-Identifier: BSD-2-Clause
"""Nodes and what is installed on them: rolled out, rebooted, drained, removed, uninstalled and installed again."""

import contextlib

import pytest

from control_plane import HERE
from kube_cluster import AGENTS, NODES, Kubernetes, agents_ready, is_ready, made_space, pod, wait_agents
from manifests import pods as with_labels
from manifests import policy, sources
from netns import wait_for
from whoami import Servers, ask
from traffic import Datagrams, Transfer

TCP = ("TCP", 8080)
EXAMPLES = HERE.parents[1] / "examples/kubernetes"


@pytest.fixture(scope="module")
def own(image):
    with Kubernetes("nodes", CNI="warren", PROXY="none") as cluster:
        yield cluster


@pytest.fixture
def room(own):
    with made_space(own) as space, Servers() as servers:
        yield space, servers


def start(own, room, **where):
    """{name: network namespace} of pods that serve, each taking in those with app=client only."""
    space, servers = room
    own.api.apply(
        policy(f"{space}/servers", ingress=[sources(with_labels(app="client"))]),
        *(pod(name, node, {"app": name.rstrip("0123456789")}, space) for name, node in where.items()),
    )
    found = {name: own.netns(item) for name, item in own.ready(*where, namespace=space, timeout=60).items()}
    for name, netns in found.items():
        servers.add(netns, name, TCP)
    return found


def talks(found, client, server):
    return [ask(found[client], address, 8080)[0] == server for address in found[server].ips.values()]


def reaches(found, client, server):
    wait_for(lambda: all(talks(found, client, server)), f"{client} reaches {server}")


def image_again(own, tag):
    """The same image under another name, on each node."""
    for name in NODES:
        own.node(name, "ctr", "-n", "k8s.io", "images", "tag", "--force", own.image, tag)


@pytest.fixture(autouse=True)
def image_name(own):
    own.image = own.api.get("DaemonSet", "warren", "kube-system")["spec"]["template"]["spec"]["containers"][0]["image"]


def rolled(own, image):
    kinds = own.api.get("DaemonSet", "warren", "kube-system")["spec"]["template"]["spec"]
    change = {kind: [{**c, "image": image} for c in kinds[kind]] for kind in ("initContainers", "containers")}
    own.api.merge("DaemonSet", "warren", {"spec": {"template": {"spec": change}}}, "kube-system")

    def done(agents):
        return agents_ready(agents) and all(a["spec"]["containers"][0]["image"] == image for a in agents)

    wait_agents(own, done, "the agents to be of the new image", 120)


def test_a_rollout_loses_nothing(own, room):
    found = start(own, room, client1="n1", server1="n1", server2="n2")
    reaches(found, "client1", "server1")
    reaches(found, "client1", "server2")
    image_again(own, "localhost/warren:next")
    with contextlib.ExitStack() as stack:
        ends = [(found[s], address) for s in ("server1", "server2") for address in found[s].ips.values()]
        streams = [stack.enter_context(Transfer(found["client1"], netns, address)) for netns, address in ends]
        datagrams = [Datagrams(found["client1"], netns, address) for netns, address in ends]
        rolled(own, "localhost/warren:next")
        for stream in streams:
            stream.wait_more()
        assert [stream.retransmits for stream in streams] == [0] * 4
        assert [len(flow.finish()) for flow in datagrams] == [0] * 4
    assert not any(talks(found, "server1", "server2"))
    rolled(own, own.image)  # which a node with a new disk has


def test_a_node_is_drained(own, room):
    """Its pods go elsewhere, the agent stays."""
    space, servers = room
    own.api.apply({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "moves", "namespace": space},
        "spec": {
            "replicas": 6,
            "selector": {"matchLabels": {"app": "moves"}},
            "template": {"metadata": {"labels": {"app": "moves"}}, "spec": pod("x")["spec"]},
        },
    })

    def all_on(nodes):
        return lambda found: len(found) == 6 and all(map(is_ready, found.values())) and all(
            item["spec"]["nodeName"] in nodes for item in found.values())

    own.api.wait("Pod", all_on(NODES), "6 pods", space, 60)
    own.kubectl("drain", "n2", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
    own.api.wait("Pod", all_on(("n1",)), "6 pods on n1", space, 60)
    own.kubectl("uncordon", "n2")
    assert len(own.api.list("Pod", **AGENTS)) == len(NODES)
    wait_for(lambda: not own.machine("n2").warren_json("endpoint", "list"), "no endpoint on n2")


def test_a_node_is_rebooted(own, room):
    """Namespaces, links, maps and mounts are gone; the disk is there. Its pods come back under their policy."""
    space, servers = room
    found = start(own, room, client1="n1", server2="n2")
    reaches(found, "client1", "server2")
    uid = own.ready("server2", namespace=space)["server2"]["metadata"]["uid"]
    own.power("n2", "stop")
    found.pop("server2").close()
    own.power("n2", "start")

    def restarted(pods):
        item = pods["server2"]
        return is_ready(item) and item["status"]["containerStatuses"][0]["restartCount"] > 0 and item

    # The same Pod object gets another sandbox.
    item = own.api.wait("Pod", restarted, "the pod to be back", space, 120)
    assert item["metadata"]["uid"] == uid
    wait_agents(own, agents_ready, "the agents", 120)
    found["server2"] = own.netns(item)
    servers.add(found["server2"], "server2", TCP)
    reaches(found, "client1", "server2")
    machine = own.machine("n2")
    # Of this test's: pods that another one's Deployment has made again may still be ending.
    assert [e["pod"] for e in machine.warren_json("endpoint", "list") if e["pod"].startswith(f"{space}/")] == [f"{space}/server2"]
    wait_for(lambda: machine.warren_json("status", check=False)["healthy"], "n2 is well")


def test_a_node_is_removed(own, room):
    """And another one of its name comes: the others remove and add it."""
    space, servers = room
    others = own.machine("n1")
    assert [n["name"] for n in others.warren_json("node", "list") if n["name"] == "n2"]
    own.power("n2", "stop")
    own.api.delete("Node", "n2")
    wait_for(lambda: "n2" not in str(others.warren_json("node", "list")), "n1 forgets n2")
    # With a new disk.
    own.run("exec", "cp", "rm", "-rf", "/run/kube/disk/n2")
    own.power("n2", "start")
    own.api.wait("Node", lambda nodes: "n2" in nodes and is_ready(nodes["n2"]), "n2 is Ready", timeout=120)
    found = start(own, room, client1="n1", server2="n2")
    reaches(found, "client1", "server2")


def test_uninstall_and_install(own, room):
    """The manifest is deleted: pods keep their network until they end, then the nodes are as before."""
    space, servers = room
    found = start(own, room, client1="n1", server2="n2")
    reaches(found, "client1", "server2")
    said = own.kubectl("-n", "kube-system", "logs", "ds/warren", "-c", "install").stdout
    assert "containerd looks for plugins in /opt/cni/bin, its default: /etc/containerd.toml names no directory" in said
    own.kubectl("delete", "-f", EXAMPLES / "warren.yaml", "--timeout=60s")
    own.kubectl("apply", "-f", EXAMPLES / "uninstall.yaml")
    assert all(talks(found, "client1", "server2"))
    for name in NODES:
        assert own.machine(name).outside("/etc/cni/net.d/05-warren.conflist").exists()
        assert own.machine(name).outside("/opt/cni/bin/warren-cni").exists()
    for name in ("client1", "server2"):
        found[name].close()
        own.api.delete("Pod", name, space, gracePeriodSeconds=0)
    own.kubectl("-n", "kube-system", "rollout", "status", "ds/warren-uninstall", "--timeout=120s")
    for name in NODES:
        machine = own.machine(name)
        for path in ("/etc/cni/net.d/05-warren.conflist", "/opt/cni/bin/warren-cni", "/sys/fs/bpf/warren", "/run/warren"):
            assert not machine.outside(path).exists(), f"{path} on {name}"
        assert "warren" not in str(machine.ip("link", "show"))
        assert "warren" not in machine.run("nft", "list", "tables").stdout
    own.kubectl("delete", "-f", EXAMPLES / "uninstall.yaml", "--timeout=60s")
    kinds = "ds,cm,secret,sa,role,rolebinding,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
    assert "warren" not in own.kubectl("get", kinds, "-n", "kube-system", "-o", "name").stdout
    # Otherwise the new agents wait for the one that has the key.
    own.kubectl("annotate", "nodes", "--all", "warren.dev/agent-")
    own.kubectl("apply", "-f", EXAMPLES / "warren.yaml")
    own.api.wait("Node", lambda nodes: all(is_ready(nodes[n]) for n in NODES), "the nodes are Ready", timeout=120)
    wait_agents(own, agents_ready, "the agents", 60)
    found = start(own, room, client1="n1", server2="n2")
    reaches(found, "client1", "server2")
