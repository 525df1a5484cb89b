# SPDX-License-Identifier: BSD-2-Clause
"""Services beside kube-proxy in each of its modes, and without it: policy applies on every path to a pod."""

import pytest

from kube_cluster import NODES, made_space, pod, service
from manifests import block, pods, policy, port, sources, targets
from netns import wait_for
from whoami import Servers, ask, ask_all

pytestmark = [pytest.mark.proxies("none", "iptables", "nftables"), pytest.mark.families]

TCP, UDP = ("TCP", 8080), ("UDP", 5353)
WHERE = {"friend": "n1", "other": "n1", "near": "n1", "far": "n2"}
TARGETS = ("near", "far")
HOST_PORT = {"near": 18080, "far": 18081}


class Scene:
    def __init__(self, cluster, space):
        self.cluster, self.space, self.proxy = cluster, space, cluster.env["PROXY"]
        items = [pod(name, node, {"name": name}, space) for name, node in WHERE.items()]
        for item in items:
            name = item["metadata"]["name"]
            if name in TARGETS:
                item["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": HOST_PORT[name]}]
        kind = "NodePort" if self.proxy != "none" else "ClusterIP"
        services = [service(name, {"name": name}, (80, *TCP), (53, *UDP), namespace=space, type=kind) for name in TARGETS]
        cluster.api.apply(*items, *services)
        self.pods = {name: cluster.netns(item) for name, item in cluster.ready(*WHERE, namespace=space).items()}
        self.services = {name: cluster.api.get("Service", name, space)["spec"] for name in TARGETS}
        self.nodes = {
            name: [a["address"] for a in cluster.api.get("Node", name)["status"]["addresses"] if a["type"] == "InternalIP"]
            for name in NODES
        }

    def ways(self, target):
        """(what, address, port, protocol) of every path to this pod."""
        for address in self.pods[target].ips.values():
            yield "pod", address, *reversed(TCP)
            yield "pod", address, *reversed(UDP)
        for address in self.services[target]["clusterIPs"]:
            yield "ClusterIP", address, 80, "TCP"
            yield "ClusterIP", address, 53, "UDP"
        for name, addresses in self.nodes.items():
            for address in addresses:
                if name == WHERE[target]:
                    yield f"hostPort of {name}", address, HOST_PORT[target], "TCP"
                for number in self.services[target]["ports"] if self.proxy != "none" else ():
                    yield f"NodePort of {name}", address, number["nodePort"], number["protocol"]

    def reached(self, client, only=("",), timeout=1):
        """{path: the server that replies} from a pod on every path to the targets whose name begins so."""
        ways = [(t, *way) for t in TARGETS for way in self.ways(t) if way[0].startswith(tuple(only))]
        answers = ask_all([(self.pods[client], *way[2:]) for way in ways], timeout)
        return {way: answer[0] if isinstance(answer, list) else answer for way, answer in zip(ways, answers)}

    def check(self, client, allowed, only=("",)):
        """That it reaches all of them, or none."""
        found = self.reached(client, only, 5 if allowed else 1)
        wrong = {way: answer for way, answer in found.items() if (answer == way[0]) != allowed or answer == "closed"}
        assert not wrong, wrong

    def settles(self, client, allowed, only=("pod", "ClusterIP")):
        """The same once what was applied is enforced."""

        def as_expected():
            return all((answer == way[0]) == allowed for way, answer in self.reached(client, only).items())

        wait_for(as_expected, f"{client} {'reaches' if allowed else 'does not reach'} them")


@pytest.fixture(scope="module")
def scene(warren):
    with made_space(warren) as space, Servers() as servers:
        scene = Scene(warren, space)
        for name in TARGETS:
            servers.add(scene.pods[name], name, TCP, UDP)
        yield scene
        for netns in scene.pods.values():
            netns.close()


@pytest.fixture(autouse=True)
def no_policy(scene):
    yield
    for item in scene.cluster.api.list("NetworkPolicy", scene.space):
        scene.cluster.api.delete("NetworkPolicy", item["metadata"]["name"], scene.space)
    scene.settles("other", True)


def deny(scene, *types):
    return policy(f"{scene.space}/deny", types=list(types))


def test_every_way_leads_there(scene):
    scene.settles("friend", True, only=("",))  # kube-proxy's turn, too
    scene.check("friend", True)


def test_default_deny_closes_every_way(scene):
    scene.cluster.api.apply(deny(scene, "Ingress"))
    scene.settles("friend", False)
    for client in ("friend", "other"):
        scene.check(client, False)


def test_an_allowed_pod_is_allowed_on_every_path(scene):
    """Another pod is not, on any path."""
    rule = sources(pods(name="friend"), ports=[port(8080), port(5353, "UDP")])
    scene.cluster.api.apply(deny(scene, "Ingress"), policy(f"{scene.space}/friend", ingress=[rule]))
    scene.settles("other", False)
    scene.settles("friend", True)
    scene.check("friend", True, only=("pod", "ClusterIP"))
    scene.check("other", False)


def test_egress_policy_is_evaluated_on_the_backend(scene):
    """No pod has the service's address: the policy names pods."""
    rule = targets(pods(name="far"), ports=[port(8080), port(5353, "UDP")])
    scene.cluster.api.apply(
        policy(f"{scene.space}/egress", {"name": "friend"}, egress=[rule], types=["Egress"]),
    )
    wait_for(lambda: "near" not in scene.reached("friend", ("pod",)).values(), "egress is denied")
    found = scene.reached("friend", timeout=2)
    for (target, what, *rest), answer in found.items():
        if what in ("pod", "ClusterIP"):
            assert (answer == target) == (target == "far"), (target, what, rest, answer)
        else:
            assert answer != "near", (target, what, rest)  # no other path


def test_a_service_loses_its_last_pod(scene):
    """No backend: connections are refused, and it works again with the next backend."""
    api, space = scene.cluster.api, scene.space
    api.apply(service("empty", {"name": "none"}, (80, *TCP), namespace=space))
    addresses = api.get("Service", "empty", space)["spec"]["clusterIPs"]

    def answers():
        return [ask(scene.pods["friend"], address, 80) for address in addresses]

    wait_for(lambda: answers() == ["refused"] * len(addresses), "all are refused")
    api.merge("Service", "empty", {"spec": {"selector": {"name": "far"}}}, space)
    wait_for(lambda: [a[0] for a in answers()] == ["far"] * len(addresses), "all answer")
    api.delete("Service", "empty", space)


def test_a_webhook_is_reached_by_a_block_of_its_callers_node(scene):
    """As the API server calls it: from the other node's own address."""
    caller = scene.cluster.machine("n2")
    near = scene.pods["near"].ips

    def called():
        return [ask(caller, address, 8080)[0] for address in near.values()]

    reached = ["near"] * len(near)
    assert called() == reached
    scene.cluster.api.apply(deny(scene, "Ingress"))
    wait_for(lambda: "near" not in called(), "the other node is denied")
    # Its own node is never.
    assert [ask(scene.cluster.machine("n1"), address, 8080)[0] for address in near.values()] == reached
    blocks = [block(f"{address}/{128 if ':' in address else 32}") for address in scene.nodes["n2"]]
    scene.cluster.api.apply(policy(f"{scene.space}/webhook", ingress=[sources(*blocks, ports=[port(8080)])]))
    wait_for(lambda: called() == reached, "the other node is allowed")
    scene.check("other", False, only=("pod", "ClusterIP"))


def test_the_api_server_is_reached_by_its_service(scene):
    """`kubernetes.default`, whose endpoint is no pod."""
    for address in scene.cluster.api.get("Service", "kubernetes")["spec"]["clusterIPs"]:
        with scene.pods["friend"].tcp_connect(address, 443, 5):
            pass


def test_hairpin(scene):
    """A pod that is its own service's backend."""
    answers = [ask(scene.pods[name], address, 80) for name, spec in scene.services.items() for address in spec["clusterIPs"]]
    assert [answer[0] for answer in answers] == [name for name in scene.services for _ in scene.cluster.families]
