# SPDX-License-Identifier: BSD-2-Clause
"""A cluster of an earlier release gets this tree's manifest and image, by a rolling update under traffic: no packet is lost, no
connection is cut, and no denied packet passes. The roll back is refused and changes nothing.
"""

import re

import pytest

import releases
from control_plane import HERE
from kube_cluster import AGENTS, NODES, Kubernetes, agents_ready, is_ready, made_space, pod, service, wait_agents
from lab import BUILD
from manifests import pods, policy, sources
from netns import wait_for
from rawbpf import PINS
from traffic import AllTraffic, Datagrams
from whoami import Servers, ask_all

OLD = "0.1.0"
MANIFEST = "examples/kubernetes/warren.yaml"
NEXT_IMAGE = "localhost/warren:next"
PORT, TARGET = 80, 8080
TCP = ("TCP", TARGET)


def image_of(manifest):
    return re.search(r"image: (\S+)", manifest)[1]


class Upgraded(Kubernetes):
    """A cluster of the earlier release, by its own manifest; each node has both images."""

    def start(self, old):
        """`old`: directory of the earlier release's build."""
        self.manifests = {OLD: (old.parent / MANIFEST).read_text(), "next": (HERE.parents[1] / MANIFEST).read_text()}
        name = image_of(self.manifests["next"])
        self.manifests["next"] = self.manifests["next"].replace(name, NEXT_IMAGE)
        images = "ctr -n k8s.io images"
        for node in NODES:  # until the version is raised both images have the same name
            self.node(node, "sh", "-ec", f"{images} import {BUILD}/image/warren.tar; {images} tag --force {name} {NEXT_IMAGE}; "
                                         f"{images} import {old}/image/warren.tar")
        self.install(OLD)
        self.api.wait("Node", lambda nodes: all(map(is_ready, nodes.values())), "the nodes are Ready")
        self.wait_rolled(OLD)

    def install(self, version):
        self.kubectl("apply", "-f", "-", stdin=self.manifests[version])

    def images(self):
        """{node: the image of its agent}, of those that are Ready."""
        agents = [agent for agent in self.api.list("Pod", **AGENTS) if is_ready(agent)]
        return {agent["spec"]["nodeName"]: agent["spec"]["containers"][0]["image"] for agent in agents}

    def wait_rolled(self, version):
        image = image_of(self.manifests[version])

        def done(agents):
            return agents_ready(agents) and all(agent["spec"]["containers"][0]["image"] == image for agent in agents)

        wait_agents(self, done, f"the agents to be of {version}")

    def versions(self, node):
        """ABI versions whose from_pod is pinned."""
        found = self.machine(node).outside(PINS).parent.glob("v*/progs/from_pod")
        return sorted(int(path.parts[-3][1:]) for path in found)


@pytest.fixture(scope="module")
def own(image):
    old = releases.build(OLD, "image")
    with Upgraded("upgrade", CNI="none") as cluster:
        cluster.start(old)
        yield cluster


class Scene:
    """Pods `a` may reach pods `b`, and are reached by none, so that a reply passes by its flow's entry alone."""

    WHERE = {"a1": "n1", "b1": "n1", "b2": "n2", "d1": "n1"}
    SERVERS = ("b1", "b2")

    def __init__(self, cluster, space):
        self.cluster, self.space = cluster, space
        self.allow(sources(pods(app="a")))
        cluster.api.apply(
            policy(f"{space}/a", {"app": "a"}, ingress=[]),
            *(service(name, {"name": name}, (PORT, *TCP), (PORT, "UDP", TARGET), namespace=space) for name in self.SERVERS),
        )
        self.make(**self.WHERE)
        self.pods = self.found(*self.WHERE)
        self.services = [
            (address, PORT, self.pods[name], TARGET)
            for name in self.SERVERS
            for address in cluster.api.get("Service", name, space)["spec"]["clusterIPs"]
        ]
        self.check([self.pods["a1"]], [self.pods["d1"]])

    def allow(self, *rules):
        """What pods `b` take in."""
        self.cluster.api.apply(policy(f"{self.space}/b", {"app": "b"}, ingress=list(rules)))

    def make(self, **where):
        self.cluster.api.apply(*(pod(name, node, {"app": name[0], "name": name}, self.space) for name, node in where.items()))

    def found(self, *names):
        """{name: network namespace} once these pods are Ready."""
        return {name: self.cluster.netns(item) for name, item in self.cluster.ready(*names, namespace=self.space).items()
                if name in names}

    def remove(self, name):
        self.cluster.api.delete("Pod", name, self.space, gracePeriodSeconds=0)

    def traffic(self):
        return AllTraffic(self.pods["a1"], [self.pods[name] for name in self.SERVERS], self.pods["d1"], self.services)

    def replies(self, client):
        """Who replies to this network namespace at each address of the servers and of their Services."""
        targets = [(address, TARGET) for name in self.SERVERS for address in self.pods[name].ips.values()]
        targets += [service[:2] for service in self.services]
        return [answer[0] for answer in ask_all([(client, *target) for target in targets])]

    def check(self, allowed, denied):
        """These network namespaces come to reach all, and those reach nothing."""
        everything = [name for _ in ("addresses", "Services") for name in self.SERVERS for _ in (4, 6)]
        with Servers() as servers:
            for name in self.SERVERS:
                servers.add(self.pods[name], name, TCP)
            for client in allowed:
                wait_for(lambda: self.replies(client) == everything, "all paths to the servers")
            for client in denied:
                assert not set(self.replies(client)) & set(everything)

    def check_new(self, *names):
        """Pods made meanwhile come up, and are what the first ones are."""
        found = self.found(*names)
        self.check(*([netns for name, netns in found.items() if name[0] == kind] for kind in "ad"))
        for name, netns in found.items():
            netns.close()
            self.remove(name)


@pytest.fixture(scope="module")
def scene(own):
    with made_space(own) as space:
        scene = Scene(own, space)
        yield scene
        for netns in scene.pods.values():
            netns.close()


def test_rolled_out_under_traffic(own, scene):
    """Pods that are made while the agents change come up, too."""
    assert [own.versions(node) for node in NODES] == [[releases.abi(BUILD / "releases" / OLD)]] * 2
    meanwhile = {"a3": "n1", "a4": "n2", "d3": "n1", "d4": "n2"}
    with scene.traffic() as traffic:
        own.install("next")
        scene.make(**meanwhile)
        own.wait_rolled("next")
        traffic.finish()
    assert [own.versions(node) for node in NODES] == [[releases.abi()]] * 2
    for node in NODES:
        wait_for(lambda: own.machine(node).warren_json("status", check=False)["healthy"], f"{node} is well")
    scene.check_new(*meanwhile)


def test_pods_live_on(own, scene):
    """A change of policy reaches the flows of pods that the earlier release made; one goes, others come."""
    a, b = scene.pods["a1"], scene.pods["b2"]
    for address in b.ips.values():
        with Datagrams(a, b, address) as flow:
            wait_for(lambda: flow.answered, "an answer")
            scene.allow()

            def silent():
                heard = len(flow.heard)
                flow.wait_more(200)
                return len(flow.heard) == heard

            wait_for(silent, "the flow is denied")
        scene.allow(sources(pods(app="a")))
        scene.check([a], [])
    scene.pods.pop("d1").close()
    scene.remove("d1")
    machine = own.machine("n1")
    wait_for(lambda: f"{scene.space}/d1" not in {e["pod"] for e in machine.warren_json("endpoint", "list")}, "the endpoint to go")
    scene.make(d1="n1")
    scene.pods.update(scene.found("d1"))
    scene.make(a5="n1", a6="n2", d6="n2")
    scene.check_new("a5", "a6", "d6")


def test_roll_back_is_refused(own, scene):
    """The earlier release's agent says why, on one node: the other keeps its agent. New pods of that node wait."""
    with scene.traffic() as traffic:
        own.kubectl("rollout", "undo", "-n", "kube-system", "ds/warren")

        def refused(agents):
            for agent in agents:
                for status in agent["status"].get("containerStatuses", ()):
                    ended = status["lastState"].get("terminated")
                    if ended and status["image"] == image_of(own.manifests[OLD]):
                        return agent["spec"]["nodeName"], ended["message"]

        node, message = wait_agents(own, refused, "the earlier agent to end")
        print(f"\n{node}: {message}", end="")
        assert "ABI" in message
        assert own.images() == {name: NEXT_IMAGE for name in NODES if name != node}
        scene.make(a7=node)

        def waits(events):
            return any(e["reason"] == "FailedCreatePodSandBox" and e["involvedObject"]["name"] == "a7" for e in events.values())

        own.api.wait("Event", waits, "the pod to wait", scene.space)
        assert own.versions(node) == [releases.abi()]
        traffic.wait_more()
        own.install("next")
        own.wait_rolled("next")
        traffic.finish()
    scene.check_new("a7")
