# SPDX-License-Identifier: BSD-2-Clause
"""What a cluster does all day: pods come, go and change, and so do labels, namespaces and policies."""

import contextlib
import itertools

import pytest

from kube_cluster import IMAGE, NODES, is_ready, made_space, pod
from manifests import block, namespaces, policy, pods, port, sources, targets
from netns import wait_for
from whoami import ask, ask_all
from traffic import Datagrams, Transfer

TCP = ("TCP", 8080)
WHERE = {"a1": "n1", "a2": "n2", "b1": "n1", "b2": "n2"}
LABELS = {"a1": {"app": "a"}, "a2": {"app": "a"}, "b1": {"app": "b"}, "b2": {"app": "b"}}


@pytest.fixture
def four(warren, space, servers):
    """{name: network namespace}: a1, b1 on one node, a2, b2 on the other; each serves."""
    warren.api.apply(*(pod(name, node, LABELS[name], space) for name, node in WHERE.items()))
    found = {name: warren.netns(item) for name, item in warren.ready(*WHERE, namespace=space).items()}
    for name, netns in found.items():
        servers.add(netns, name, TCP)
    yield found
    for netns in found.values():
        netns.close()


def reached(found):
    """{(from, to, family)}"""
    pairs = [(a, b, f) for a, b in itertools.permutations(found, 2) for f in found[b].ips]
    answers = ask_all([(found[a], found[b].ips[f], 8080) for a, b, f in pairs], timeout=0.5)
    return {pair for pair, answer in zip(pairs, answers) if answer[0] == pair[1]}


def expect(found, allowed, what):
    """Waits until these pairs of names, and no others, reach each other."""
    allowed = {(a, b, f) for a, b in allowed for f in found[b].ips}
    last = {}

    def as_expected():
        last["found"] = reached(found)
        return last["found"] == allowed

    try:
        wait_for(as_expected, what, 15)
    except AssertionError as error:
        raise AssertionError(f"{error}\ntoo many: {last['found'] - allowed}\ntoo few: {allowed - last['found']}") from None


def endpoints(cluster, node, space):
    """Those of pods of this namespace."""
    found = cluster.machine(node).warren_json("endpoint", "list")
    return [endpoint for endpoint in found if str(endpoint.get("pod")).startswith(f"{space}/")]


EVERYBODY = set(itertools.permutations(WHERE, 2))
TO_B = {(x, y) for x, y in EVERYBODY if y in ("b1", "b2")}
FROM_A = {(x, y) for x, y in EVERYBODY if x in ("a1", "a2")}


@pytest.mark.families
def test_policies_over_live_pods(warren, space, four):
    """A matrix by `kubectl apply`: each line has the pairs that it allows."""
    name = f"{space}/p"

    def blocks(pod):
        return [f"{address}/{128 if ':' in address else 32}" for address in four[pod].ips.values()]

    all_but_a2 = [block("::/0" if ":" in cidr else "0.0.0.0/0", cidr) for cidr in blocks("a2")]
    lines = [
        (policy(name, types=["Ingress"]), set()),
        (policy(name, {"app": "b"}, ingress=[sources(pods(app="a"))]), EVERYBODY - TO_B | TO_B & FROM_A),
        (policy(name, {"app": "b"}, ingress=[sources(pods(app="a"), ports=[port(9999)])]), EVERYBODY - TO_B),
        (policy(name, {"app": "b"}, ingress=[sources(namespaces(name=space))]), EVERYBODY),
        (policy(name, {"app": "b"}, ingress=[sources(namespaces(name="none"))]), EVERYBODY - TO_B),
        (policy(name, {"app": "b"}, ingress=[sources(*map(block, blocks("a1")))]), EVERYBODY - TO_B | {("a1", "b1"), ("a1", "b2")}),
        (policy(name, {"app": "b"}, ingress=[sources(*all_but_a2)]), EVERYBODY - {("a2", "b1"), ("a2", "b2")}),
        (policy(name, {"app": "a"}, egress=[targets(pods(app="b"))], types=["Egress"]), EVERYBODY - FROM_A | FROM_A & TO_B),
        (policy(name, {"app": "a"}, egress=[targets(block("0.0.0.0/0"), block("::/0"))], types=["Egress"]), EVERYBODY),
        (policy(name, {"app": "a"}, egress=[], types=["Egress"]), EVERYBODY - FROM_A),
    ]
    for item, allowed in lines:
        warren.apply(item)
        expect(four, allowed, str(item["spec"]))
    warren.api.delete("NetworkPolicy", "p", space)
    expect(four, EVERYBODY, "no policy")


def test_labels_of_pods_and_namespaces(warren, space, four):
    api = warren.api
    api.apply(policy(f"{space}/b", {"app": "b"}, ingress=[sources({**pods(app="a"), **namespaces(tier="front")})]))
    expect(four, EVERYBODY - TO_B, "no namespace matches front")
    api.merge("Namespace", space, {"metadata": {"labels": {"tier": "front"}}})
    expect(four, EVERYBODY - TO_B | TO_B & FROM_A, "the namespace is in front")
    api.merge("Pod", "a2", {"metadata": {"labels": {"app": "c"}}}, space)
    expect(four, EVERYBODY - TO_B | {("a1", "b1"), ("a1", "b2")}, "a2 is an a no more")
    api.merge("Pod", "b1", {"metadata": {"labels": None}}, space)
    expect(four, EVERYBODY - TO_B | {(x, "b1") for x in ("a1", "a2", "b2")} | {("a1", "b2")}, "b1 has no labels")
    api.merge("Namespace", space, {"metadata": {"labels": {"tier": None}}})
    expect(four, EVERYBODY - {(x, "b2") for x in WHERE}, "the namespace is in front no more")


def test_unrelated_changes_lose_nothing(warren, space, four):
    """Traffic under policy while other namespaces and pods get other labels, and policies of theirs come and go."""
    api = warren.api
    api.apply(policy(f"{space}/b", {"app": "b"}, ingress=[sources(pods(app="a"))]))
    expect(four, EVERYBODY - TO_B | TO_B & FROM_A, "the policy")
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(made_space(warren))
        api.apply(pod("other", "n1", namespace=other), pod("another", "n2", namespace=other))
        warren.ready("other", "another", namespace=other)
        streams = [
            stack.enter_context(Transfer(four["a1"], four[to], four[to].ips[f])) for to in ("b1", "b2") for f in (4, 6)
        ]
        datagrams = [Datagrams(four["a1"], four[to], four[to].ips[f]) for to in ("b1", "b2") for f in (4, 6)]
        for i in range(20):
            api.merge("Namespace", other, {"metadata": {"labels": {"turn": str(i)}}})
            api.merge("Pod", "other", {"metadata": {"labels": {"turn": str(i)}}}, other)
            api.apply(policy(f"{other}/p", {"turn": str(i)}, ingress=[sources(namespaces(turn=str(i)))]))
            for flow in datagrams:
                flow.wait_more(50)
        for stream in streams:
            stream.wait_more()
            assert stream.retransmits == 0
        assert [flow.finish() for flow in datagrams] == [set()] * len(datagrams)


def test_many_policies_at_once(warren, space, four):
    """300 appear, each of which allows one more thing; 300 go."""
    items = [policy(f"{space}/p{i}", {"app": "b"}, ingress=[sources(pods(app="a"), ports=[port(8000 + i)])]) for i in range(300)]
    warren.apply(*items)
    expect(four, EVERYBODY - TO_B | TO_B & FROM_A, "300 policies")
    warren.api.request("DELETE", warren.api.path("NetworkPolicy", None, space))
    expect(four, EVERYBODY, "none")


def test_a_deployment_grows_and_shrinks(warren, space):
    """0, 50, 0: nothing of them stays on the nodes."""
    spec = pod("x")["spec"]
    warren.api.apply({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many", "namespace": space},
        "spec": {
            "replicas": 50,
            "selector": {"matchLabels": {"app": "many"}},
            "template": {"metadata": {"labels": {"app": "many"}}, "spec": spec},
        },
    })
    found = warren.api.wait(
        "Pod", lambda found: len(found) == 50 and all(map(is_ready, found.values())) and found, "50 pods", space, 120)
    addresses = [a["ip"] for item in found.values() for a in item["status"]["podIPs"]]
    assert len(set(addresses)) == 100
    warren.api.merge("Deployment", "many", {"spec": {"replicas": 0}}, space)
    warren.api.wait("Pod", lambda found: not found, "no pods", space, 120)
    for name in NODES:
        wait_for(lambda: not endpoints(warren, name, space), f"no endpoint of theirs on {name}", 60)
        assert warren.machine(name).warren_json("status")["healthy"]


def test_a_stateful_pod_comes_back(warren, space, four, servers):
    """Same name, another uid, maybe another node: its policy is enforced from the first packet on."""
    spec = {**pod("x")["spec"], "terminationGracePeriodSeconds": 0}
    warren.api.apply(policy(f"{space}/db", {"app": "db"}, ingress=[sources(pods(app="a"))]))
    warren.api.apply({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": space},
        "spec": {
            "replicas": 1,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": spec},
        },
    })
    seen = set()
    for _ in range(4):
        item = warren.api.wait(
            "Pod", lambda found: "db-0" in found and is_ready(found["db-0"]) and found["db-0"]["metadata"]["uid"] not in seen
            and found["db-0"], "db-0", space)
        seen.add(item["metadata"]["uid"])
        netns = warren.netns(item)
        servers.add(netns, "db-0", TCP)
        for family, address in netns.ips.items():
            assert ask(four["b1"], address, 8080) == "silence"
            assert ask(four["b2"], address, 8080) == "silence"
            wait_for(lambda: ask(four["a1"], address, 8080)[0] == "db-0", "a1 reaches it")
            wait_for(lambda: ask(four["a2"], address, 8080)[0] == "db-0", "a2 reaches it")
        netns.close()
        warren.api.delete("Pod", "db-0", space, gracePeriodSeconds=0)


def test_an_address_finds_its_way_to_another_pod(warren, space, four, servers):
    """Pods that may be reached go, others get their addresses: clients that were allowed to the old ones are not to the
    new ones.
    """
    warren.api.apply(policy(f"{space}/out", {"app": "a"}, egress=[targets(pods(may="yes"))], types=["Egress"]))
    expect(four, EVERYBODY - FROM_A, "no pod may be reached")
    old = {}
    # The addresses of the pool are used in turn: many pods make one repeat soon.
    for turn, may in enumerate(("yes", "no")):
        names = [f"t{turn}-{i}" for i in range(12)]
        warren.api.apply(*(pod(name, "n2", {"may": may}, space) for name in names))
        found = {name: warren.netns(item) for name, item in warren.ready(*names, namespace=space, timeout=60).items()}
        for name, netns in found.items():
            servers.add(netns, name, TCP)
        for name, netns in found.items():
            for address in netns.ips.values():
                if may == "yes":
                    wait_for(lambda: ask(four["a1"], address, 8080)[0] == name, f"{name} is reached")
                    old[address] = name
                else:
                    assert ask(four["a1"], address, 8080, timeout=0.2) == "silence", (name, address, old.get(address))
            netns.close()
        for name in names:
            warren.api.delete("Pod", name, space, gracePeriodSeconds=0)
        wait_for(lambda: len(endpoints(warren, "n2", space)) == 2, "they are gone")


def test_jobs(warren, space):
    """Pods that end: their addresses have no owner, and the objects that stay have no effect."""
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    names = [f"j{i}" for i in range(10)]
    for name in names:
        warren.api.apply({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": space},
            "spec": {"template": template, "completions": 2, "parallelism": 2},
        })
    warren.api.wait(
        "Job", lambda found: all(found[name]["status"].get("succeeded") == 2 for name in names), "20 pods ended", space, 120)
    uids = {item["metadata"]["uid"] for item in warren.api.list("Pod", space)}
    assert len(uids) == 20
    for name in NODES:
        wait_for(lambda: not endpoints(warren, name, space), f"no endpoint of theirs on {name}")
        assert warren.machine(name).warren_json("status")["healthy"]
