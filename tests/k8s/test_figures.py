# SPDX-License-Identifier: BSD-2-Clause
"""How fast and how small: printed, not judged (but for what would be absurd). `make figures-k8s`."""

import contextlib
import os
import select
import socket
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from kube import HERE, K8S, NODES, Kubernetes, agent_pids, agents_ready, made_space, pod, replace_agent, rss_of_agents, wait_agents
from manifests import pods as with_labels
from manifests import policy, sources

pytestmark = pytest.mark.figures

TURNS = 50


@pytest.fixture(scope="module")
def own(image):
    # The load's Nodes say nothing, and nobody is to do anything about it.
    idle = "--controllers=*,-node-lifecycle-controller,-pod-garbage-collector-controller"
    with Kubernetes("figures", CNI="warren", PROXY="none", CONTROLLER_FLAGS=idle) as cluster:
        # Agents for nodes that are objects only would be pods for ever pending.
        for name in NODES:
            cluster.api.merge("Node", name, {"metadata": {"labels": {"real": "yes"}}})
        template = {"spec": {"template": {"spec": {"nodeSelector": {"real": "yes"}}}}}
        cluster.api.merge("DaemonSet", "warren", template, "kube-system")
        wait_agents(cluster, lambda agents: agents_ready(agents) and all("nodeSelector" in a["spec"] for a in agents), "agents")
        yield cluster


def tell(what, seconds):
    cuts = statistics.quantiles(seconds, n=100)
    print(f"\n{what}: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms, most {max(seconds) * 1e3:.1f} ms", end="")


class Stream:
    """A flow whose packets are noted by the time they were sent at, and by whether they arrived."""

    def __init__(self, client, server):
        self.b = server.udp(4, address=server.ips[4])
        self.a = client.udp(4)
        self.a.connect((server.ips[4], self.b.getsockname()[1]))
        for sock in (self.a, self.b):
            sock.setblocking(False)

    def turn(self):
        """Sends one: (when, whether it arrived)."""
        when = time.monotonic()
        with contextlib.suppress(ConnectionRefusedError):
            self.a.send(b"x")
        arrived = bool(select.select([self.b], [], [], 0.001)[0])
        if arrived:
            self.b.recv(16)
        return when, arrived

    def until(self, passes, since, lasting=20):
        """Seconds from `since` to the first of so many packets in a row with which it was so."""
        run, first = 0, 0.0
        deadline = time.monotonic() + 30
        while run < lasting:
            when, arrived = self.turn()
            assert when < deadline, "it never comes"
            if arrived == passes:
                first = first if run else when
                run += 1
            else:
                run = 0
        return max(0.0, first - since)

    def close(self):
        self.a.close()
        self.b.close()


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


def policies(own, space, streams, what):
    for name, stream in streams.items():
        times = {False: [], True: []}
        item = policy(f"{space}/{name}", {"app": name}, ingress=[sources(with_labels(app="nobody"))])
        for _ in range(TURNS):
            own.api.create(item)
            times[False].append(stream.until(False, time.monotonic()))
            own.api.delete("NetworkPolicy", name, space)
            times[True].append(stream.until(True, time.monotonic()))
        tell(f"policy applied, {name}{what}", times[False])
        tell(f"policy deleted, {name}{what}", times[True])


def labels(own, space, streams, what):
    for name, stream in streams.items():
        times = []
        own.api.apply(policy(f"{space}/{name}", {"app": name}, ingress=[sources(with_labels(app="client"))]))
        for turn in range(2 * TURNS):
            own.api.merge("Pod", "client", {"metadata": {"labels": {"app": "other" if turn % 2 == 0 else "client"}}}, space)
            times.append(stream.until(turn % 2 == 1, time.monotonic()))
        own.api.delete("NetworkPolicy", name, space)
        tell(f"label changed, {name}{what}", times)


def test_policy_and_labels(own, flows):
    space, streams = flows
    policies(own, space, streams, "")
    labels(own, space, streams, "")


def cpu(pid):
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def podload(own, *options):
    """How it is called."""
    return [HERE / "cluster", "exec", "cp", K8S / "bin/podload", "--kubeconfig=/run/k8s/pki/admin.conf", *options]


def ready_again(own, node):
    """Seconds from the start of a new agent until its socket says that policy is in force; its processor time."""
    old = agent_pids(own, node)[node]
    replace_agent(own, node)
    while (pid := agent_pids(own, node)[node]) in (None, old):
        time.sleep(0.005)
    begin = time.monotonic()
    while True:
        with contextlib.suppress(OSError, KeyError, ValueError):
            if own.machine(node).agent.status()["enforced"]:
                return time.monotonic() - begin, cpu(pid)
        assert time.monotonic() < begin + 120
        time.sleep(0.005)


@contextlib.contextmanager
def following(own, everything):
    """A pod on n1 under a policy that wants to know of all pods, or none."""
    with made_space(own) as space:
        if everything:
            wide = policy(f"{space}/p", ingress=[sources(with_labels(app="a1"))])
            own.api.apply(pod("p", "n1", namespace=space), wide)
            own.ready("p", namespace=space)
        yield "all pods followed" if everything else "own pods followed"


@pytest.mark.parametrize("pods, nodes", [(0, 0), (5000, 100), (50000, 1000)])
def test_size(own, pods, nodes):
    if pods:
        subprocess.run(podload(own, f"--pods={pods}", f"--nodes={nodes}"), env=own.env, check=True, timeout=900)
    for everything in (False, True):
        with following(own, everything) as what:
            seconds, busy = ready_again(own, "n1")
            wait_agents(own, agents_ready, "the agents", 120)
            rss = rss_of_agents(own)["n1"] / 1024
            print(f"\n{pods} pods, {nodes} nodes, {what}: {rss:.1f} MB, in force after {seconds:.2f} s, "
                  f"{busy:.2f} s of a processor", end="")
    if pods:
        subprocess.run(podload(own, "--remove"), env=own.env, check=True, timeout=900)


def followed_bytes(own):
    return sum(watch["bytes"] for watch in own.machine("n1").watches().values())


def test_churn(own):
    """Ten pods replaced each second on nodes that are not ours."""
    argv = podload(own, "--pods=5000", "--nodes=100", "--churn=10")
    process = subprocess.Popen(argv, env=own.env, stdout=subprocess.PIPE, text=True)
    try:
        while "pods in" not in process.stdout.readline():
            pass
        for everything in (False, True):
            with following(own, everything) as what:
                pid = agent_pids(own, "n1")["n1"]
                begin = cpu(pid), followed_bytes(own)
                time.sleep(20)  # what is measured
                used, told = cpu(pid) - begin[0], followed_bytes(own) - begin[1]
                print(f"\nchurn of 10/s, {what}: {used * 5:.2f} % of a core, {told / 20:.0f} bytes/s", end="")
    finally:
        process.terminate()
        process.wait()
