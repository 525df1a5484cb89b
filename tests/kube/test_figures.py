# SPDX-License-Identifier: BSD-2-Clause
"""Times and sizes: printed beside the goals; only absurd values fail. `make figures-kube`."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest

import kube_cluster
from figures import Table, agent_starts, cpu, curl_lists, memory, quantiles, watchers
from control_plane import HERE, KUBE
from kube_cluster import NODES, Kubernetes, agent_pids, agents_ready, made_space, pod, wait_agents
from manifests import pods as with_labels
from manifests import policy, sources
from policy_latency import Stream, label_times, policy_times

pytestmark = pytest.mark.figures

TURNS = 50
STARTS = 3
ADDS, AT_ONCE = 30, 20


@pytest.fixture(scope="module")
def own(image):
    # No kubelet reports for the load's Nodes, and no controller may react to that.
    idle = "--controllers=*,-node-lifecycle-controller,-pod-garbage-collector-controller"
    with Kubernetes("figures", CNI="warren", PROXY="none", CONTROLLER_FLAGS=idle) as cluster:
        # Agents for nodes that are objects only would be pending pods without end.
        for name in NODES:
            cluster.api.merge("Node", name, {"metadata": {"labels": {"real": "yes"}}})
        template = {"spec": {"template": {"spec": {"nodeSelector": {"real": "yes"}}}}}
        cluster.api.merge("DaemonSet", "warren", template, "kube-system")
        wait_agents(cluster, lambda agents: agents_ready(agents) and all("nodeSelector" in a["spec"] for a in agents), "agents")
        yield cluster


@pytest.fixture(scope="module")
def table():
    table = Table()
    yield table
    print(table)


def tell(table, what, seconds, *goals):
    for which, value, goal in zip(("p50", "p99"), quantiles(seconds), goals or (None, None)):
        table.add(f"{what}, {which}", value, "ms", goal, f"{len(seconds)} times")


@pytest.fixture
def flows(own):
    """Streams of a client to a server here and to one there."""
    with made_space(own) as space:
        where = {"client": "n1", "near": "n1", "far": "n2"}
        own.api.apply(*(pod(name, node, {"app": name}, space) for name, node in where.items()))
        found = {name: own.netns(item) for name, item in own.ready(*where, namespace=space).items()}
        streams = {name: Stream(found["client"], found[name]) for name in ("near", "far")}
        for stream in streams.values():
            stream.until(True, 0)
        yield space, streams
        for item in (*streams.values(), *found.values()):
            item.close()


def policies(own, table, space, streams, what):
    for name, stream in streams.items():
        applied, deleted = policy_times(own.api, space, name, stream, TURNS)
        tell(table, f"policy created -> enforced, {name}{what}", applied, 20, 100)
        tell(table, f"policy deleted -> not enforced, {name}{what}", deleted)


def labels(own, table, space, streams, what):
    for name, stream in streams.items():
        times = label_times(own.api, space, "client", name, stream, TURNS)
        tell(table, f"label changed -> enforced, {name}{what}", times, 20, 100)


def test_policy_and_labels(own, table, flows):
    space, streams = flows
    policies(own, table, space, streams, "")
    labels(own, table, space, streams, "")


def podload(own, *options):
    """Its name in the table."""
    return [HERE / "cluster", "exec", "cp", KUBE / "bin/podload", "--kubeconfig=/run/kube/pki/admin.conf", *options]


def unload(own):
    subprocess.run(podload(own, "--remove"), env=own.env, check=True, timeout=3600)


@contextlib.contextmanager
def loaded(own, pods, nodes):
    """So many objects meanwhile."""
    if pods:
        subprocess.run(podload(own, f"--pods={pods}", f"--nodes={nodes}"), env=own.env, check=True, timeout=3600)
    try:
        yield
    finally:
        if pods:
            unload(own)


@contextlib.contextmanager
def following(own, everything):
    """A pod on n1 under a policy for which the agent must follow all pods, or none."""
    with made_space(own) as space:
        if everything:
            wide = policy(f"{space}/p", ingress=[sources(with_labels(app="a1"))])
            own.api.apply(pod("p", "n1", namespace=space), wide)
            own.ready("p", namespace=space)
        yield "all pods followed" if everything else "own pods followed"


def starts(own, table, what, everything, goals):
    """The agent's starts, and curl's lists between them."""
    agent, lists = [], []
    for _ in range(STARTS):
        agent.append(agent_starts(own, "n1"))
        lists.append(curl_lists(own, "n1", everything))
    seconds, busy = (statistics.median(values) for values in zip(*agent))
    note = f"{seconds:.2f} s; curl {statistics.median(lists):.2f} s"
    table.add(f"start -> policy enforced / curl's lists, {what}", seconds / statistics.median(lists), "x", goals[0], note)
    table.add(f"processor time of the start, {what}", busy, "s", goals[1])


@pytest.mark.parametrize("pods, nodes, most", [(0, 0, 12), (5000, 100, 24), (50000, 1000, 64)])
def test_size(own, table, pods, nodes, most):
    with loaded(own, pods, nodes):
        sizes(own, table, pods, nodes, most)


def sizes(own, table, pods, nodes, most):
    for everything in (False, True):
        with following(own, everything) as what:
            what = f"{pods} pods, {nodes} nodes, {what}"
            starts(own, table, what, everything, (1.3, 1.5) if pods == 50000 else (None, None))
            wait_agents(own, agents_ready, "the agents", 120)
            found = memory(agent_pids(own, "n1")["n1"])
            maps = sum(item["memory"] for item in own.machine("n1").warren_json("map", "list")) / (1 << 20)
            note = f"anonymous {found['RssAnon']:.1f}, Pss {found['Pss']:.1f}; maps {maps:.1f}"
            table.add(f"resident, {what}", found["VmRSS"], "MB", most, note)


def followed_bytes(own):
    return sum(watch["bytes"] for watch in own.machine("n1").watches().values())


def churned(own, table, everything):
    """Bytes a second from the API server."""
    with following(own, everything) as what:
        pid = agent_pids(own, "n1")["n1"]
        begin = cpu(pid), followed_bytes(own)
        time.sleep(20)  # what is measured
        used, received = cpu(pid) - begin[0], followed_bytes(own) - begin[1]
        table.add(f"processor, 5000 pods churning 10/s, {what}", used * 5, "%", None if everything else 1)
        table.add(f"from the API server, {what}", received / 20, "B/s")
        return received


def test_churn(own, table, flows):
    """Ten pods replaced each second on nodes that are not ours."""
    argv = podload(own, "--pods=5000", "--nodes=100", "--churn=10")
    process = subprocess.Popen(argv, env=own.env, stdout=subprocess.PIPE, text=True)
    try:
        assert any("pods in" in line for line in iter(process.stdout.readline, "")), "podload has ended"
        few, many = churned(own, table, False), churned(own, table, True)
        table.add("from the API server, own pods / all pods followed", few / many, "x", 0.05)
        with watchers(own, "n2", 100):
            policies(own, table, *flows, ", 100 watchers, churn")
    finally:
        process.terminate()
        process.wait()
        unload(own)


# --- ADD ---------------------------------------------------------------------------------------------------------------------

BRIDGE = {
    "cniVersion": "1.0.0", "name": "figures", "type": "bridge", "bridge": "figures0", "isGateway": True, "hairpinMode": True,
    "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd99::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}], "dataDir": "/run/figures",
    },
}


@contextlib.contextmanager
def kubelet_stopped(own, node):
    """So that the agent's pods of these nodes stay without a network."""
    of_node = kube_cluster.processes(f"/warren-kube-{own.name}/{node}")
    pid = next(pid for pid in of_node if Path(f"/proc/{pid}/comm").read_text() == "kubelet\n")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_add(own, table):
    """Pods under policy, whose ADD waits until the agent has it enforced; against the reference plugin."""
    conflist = json.loads(own.node("n1", "cat", "/etc/cni/net.d/05-warren.conflist").stdout)
    warren = {**conflist["plugins"][0], "cniVersion": conflist["cniVersion"], "name": conflist["name"]}
    with made_space(own) as space, kubelet_stopped(own, "n1"):
        own.api.apply(policy(f"{space}/p", ingress=[sources(with_labels(app="none"))]))
        made = own.api.apply(*(pod(f"p{i}", "n1", namespace=space) for i in range(ADDS + 2 * AT_ONCE)))
        pods = [{"namespace": space, "name": item["metadata"]["name"], "uid": item["metadata"]["uid"]} for item in made]
        order = {"plugins": {"bridge": BRIDGE, "warren": warren}, "alone": pods[:ADDS], "together": pods[ADDS:], "at_once": AT_ONCE}
        found = json.loads(own.node("n1", "/usr/bin/python3", HERE / "adds.py", stdin=json.dumps(order)).stdout)
        own.node("n1", "ip", "link", "delete", "figures0")
        for item in pods:
            own.api.delete("Pod", item["name"], space, gracePeriodSeconds=0)
    for key, what, goal in (("alone", "ADD", 0.6), ("together", f"ADD, {AT_ONCE} at once", 0.3)):
        ours, theirs = (statistics.median(found[name][key]) for name in ("warren", "bridge"))
        table.add(f"{what}, p50 / that of bridge and host-local", ours / theirs, "x", goal, f"{ours:.1f} ms; {theirs:.1f} ms")
