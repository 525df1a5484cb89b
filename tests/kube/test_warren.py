# SPDX-License-Identifier: BSD-2-Clause
"""A cluster whose network is Warren, installed by its manifest: the basic functions."""

import base64
import itertools
import json
from pathlib import Path

import pytest

from control_plane import KUBE
from kube_cluster import AGENTS, IMAGE, NODES, agent_pids, agents_ready, is_ready, pod, rss_of_agents, service, wait_agents, wait_dns
from manifests import policy
from netns import TIMEOUT, wait_for
from whoami import ask_all

pytestmark = pytest.mark.families

PORTS = (("TCP", 8080), ("UDP", 5353))
WHERE = {"near": "n1", "beside": "n1", "far": "n2", "afar": "n2"}


@pytest.fixture(scope="module")
def four(warren):
    """{name: network namespace} of pods, two on each node."""
    warren.api.wait("ServiceAccount", lambda found: "default" in found, "the service account")
    warren.api.apply(*(pod(name, node) for name, node in WHERE.items()))
    pods = warren.ready(*WHERE)
    namespaces = {name: warren.netns(item) for name, item in pods.items()}
    yield namespaces
    for name, netns in namespaces.items():
        netns.close()
        warren.api.delete("Pod", name, gracePeriodSeconds=0)


def no_taints(nodes):
    return nodes if not any(node["spec"].get("taints") for node in nodes.values()) else None


def test_nodes(warren):
    # The controllers remove their own taint a moment after a node is Ready.
    nodes = warren.api.wait("Node", no_taints, "all taints to go")
    assert set(nodes) == set(NODES)
    for node in nodes.values():
        conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"
        assert conditions["NetworkUnavailable"] == "False"
    for name in NODES:
        conflist = json.loads(warren.machine(name).outside("/etc/cni/net.d/05-warren.conflist").read_text())
        assert conflist["cniVersion"] == "1.0.0"
        assert [plugin["type"] for plugin in conflist["plugins"]] == ["warren-cni"]


def test_agents(warren):
    wait_agents(warren, agents_ready, "the agents to be Ready")
    for agent in warren.api.list("Pod", **AGENTS):
        assert [c["restartCount"] for c in agent["status"]["containerStatuses"]] == [0]
    for name in NODES:
        machine = warren.machine(name)
        status = machine.warren_json("status")
        assert status["healthy"], status
        follows = machine.agent.status()["kubernetes"]
        assert warren.api.address in follows["server"]
        assert tuple(6 if ":" in cidr else 4 for cidr in follows["configuration"]["cidrs"]) == warren.families


CAPABILITIES = {12: "NET_ADMIN", 13: "NET_RAW", 21: "SYS_ADMIN"}
TOKEN = "var/run/secrets/kubernetes.io/serviceaccount/token"


def test_agents_run_with_few_rights(warren):
    """From the kernel, not from the manifest."""
    for pid in agent_pids(warren).values():
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        for kind in ("CapEff", "CapPrm", "CapBnd"):
            assert int(status[kind], 16) == sum(1 << number for number in CAPABILITIES), kind
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        assert [fields[5].split(",")[0] for fields in mounts if fields[4] == "/"] == ["ro"]


def test_tokens_of_the_agents(warren):
    """Each in one container, ends soon, and names its node; it may not change the other node."""
    server = f"[{warren.api.address}]" if 4 not in warren.families else warren.api.address
    for agent in warren.api.list("Pod", **AGENTS):
        with_token = [c["name"] for kind in ("initContainers", "containers") for c in agent["spec"][kind]
                      if any("serviceaccount" in mount["mountPath"] for mount in c["volumeMounts"])]
        assert with_token == ["agent"]
    for name, pid in agent_pids(warren).items():
        token = Path(f"/proc/{pid}/root/{TOKEN}").read_text()
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert claims["kubernetes.io"]["node"]["name"] == name
        assert claims["exp"] - claims["iat"] <= 4 * 3600
        for other in NODES:
            status = warren.node(
                name, "curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PATCH", "-H", f"Authorization: Bearer {token}",
                "-H", "Content-Type: application/merge-patch+json", "-d", '{"metadata": {"annotations": {"warren.dev/x": "y"}}}',
                f"https://{server}:6443/api/v1/nodes/{other}?dryRun=All").stdout
            assert status == ("200" if other == name else "422"), (name, other)


def test_events_of_the_agents(warren):
    """The admission policy accepts them in the form in which the agent writes them."""
    other = warren.machine("n1").outside("/etc/cni/net.d/00-other.conflist")
    other.write_text('{"name": "x", "plugins": []}')
    try:
        events = warren.api.wait("Event", lambda found: [e for e in found.values() if e["reason"] == "ConflictingNetworkConfiguration"],
                                 "the Event")
        assert {event["involvedObject"]["name"] for event in events} == {"n1"}
    finally:
        other.unlink()
    wait_for(lambda: warren.machine("n1").warren_json("status", check=False)["healthy"], "n1 is well")
    warren.api.wait("Node", lambda nodes: is_ready(nodes["n1"]), "n1 is Ready")


def test_the_admission_policy_is_well_formed(warren):
    """The controller checks its expressions against the types of the objects."""
    found = warren.get("validatingadmissionpolicies")
    (policy,) = (item for item in found if item["metadata"]["name"] == "warren")
    assert policy["status"]["observedGeneration"] == policy["metadata"]["generation"]
    assert policy["status"]["typeChecking"] == {}


def test_memory(warren):
    """The goal for one that is idle is 12 MB."""
    for name, kilobytes in rss_of_agents(warren).items():
        print(f"\nagent of {name}: {kilobytes / 1024:.1f} MB", end="")
        assert kilobytes < 20 * 1024


def test_pods_talk(warren, four, servers):
    for name, netns in four.items():
        servers.add(netns, name, *PORTS)
    pairs = list(itertools.product(itertools.permutations(four, 2), warren.families, PORTS))
    answers = ask_all([(four[a], four[b].ips[f], number, protocol) for (a, b), f, (protocol, number) in pairs], TIMEOUT)
    for ((a, b), family, _), answer in zip(pairs, answers):
        assert answer == [b, four[a].ips[family]], f"{a} -> {b} v{family}"


def test_probes_under_default_deny(warren, space, four):
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 1}
    container = {
        "name": "c",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "echo ok >/www/index.html; exec httpd -f -p 8080 -h /www"],
        "startupProbe": {**probe, "failureThreshold": 60},
        "readinessProbe": probe,
        "livenessProbe": probe,
    }
    warren.api.apply(policy(f"{space}/deny", types=["Ingress", "Egress"]))
    warren.api.apply(*(pod(f"web-{node}", node, namespace=space, containers=[container]) for node in NODES))
    pods = warren.ready(*(f"web-{node}" for node in NODES), namespace=space)
    targets = [a["ip"] for item in pods.values() for a in item["status"]["podIPs"]]
    answers = ask_all([(four[name], address, 8080) for name in ("near", "far") for address in targets])
    assert set(answers) == {"silence"}
    # Some more probes: none fails, or the container would be another one.
    for item in warren.ready(*pods, namespace=space).values():
        assert [c["restartCount"] for c in item["status"]["containerStatuses"]] == [0]


def test_logs_and_exec(warren, space):
    done = pod("says", "n1", namespace=space, restartPolicy="Never")
    done["spec"]["containers"][0]["command"] = ["echo", "hello"]
    warren.api.apply(done, pod("shell", "n2", namespace=space))
    warren.api.wait("Pod", lambda pods: pods["says"]["status"]["phase"] == "Succeeded", "the end", space)
    assert warren.kubectl("logs", "-n", space, "says").stdout == "hello\n"
    warren.ready("shell", namespace=space)
    assert warren.inside("shell", "hostname", namespace=space).stdout == "shell\n"


def test_host_ports(warren, space, servers, four):
    """To the node's addresses: from the world, from pods here and there."""
    item = pod("published", "n1", namespace=space)
    item["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8088}]
    warren.api.apply(item)
    netns = warren.netns(warren.ready("published", namespace=space)["published"])
    servers.add(netns, "published", *PORTS)
    where = [a["address"] for a in warren.api.get("Node", "n1")["status"]["addresses"] if a["type"] == "InternalIP"]
    assert len(where) == len(warren.families)
    clients = {"world": warren.world, **four}
    questions = [(name, address) for name in clients for address in where]
    answers = ask_all([(clients[name], address, 8088) for name, address in questions], TIMEOUT)
    netns.close()
    for question, answer in zip(questions, answers):
        assert answer[0] == "published", question


def test_names(warren, space):
    """By CoreDNS at its service's address, and then the service that it resolves."""
    if not (KUBE / "images/coredns.tar").exists():
        pytest.skip("there is no CoreDNS: tests/kube/build.sh dns")
    wait_dns(warren)
    warren.api.apply(pod("asks", "n1", namespace=space), service("web", {"app": "web"}, (80, "TCP", 8080), namespace=space))
    warren.ready("asks", namespace=space)
    address = warren.api.get("Service", "web", space)["spec"]["clusterIP"]

    def answered():
        done = warren.inside("asks", "nslookup", f"web.{space}.svc.cluster.local", check=False, namespace=space)
        return address in done.stdout

    wait_for(answered, f"{address} for web.{space}")  # CoreDNS watches, too


def test_nothing_of_a_pod_is_left(warren, space):
    before = {name: set(warren.machine(name).pod_devices()) for name in NODES}
    names = [f"p{i}-{node}" for i in range(5) for node in NODES]
    warren.api.apply(*(pod(name, name[-2:], namespace=space) for name in names))
    warren.ready(*names, namespace=space)
    for name in names:
        warren.api.delete("Pod", name, space, gracePeriodSeconds=0)
    for node in NODES:
        wait_for(lambda: set(warren.machine(node).pod_devices()) <= before[node], f"the devices of {node} to go")
