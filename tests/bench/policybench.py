# SPDX-License-Identifier: BSD-2-Clause
"""What policy costs: compiling, a change until it is in force, the agent's memory, floods of new flows."""

import json
import os
import random
import statistics
import struct
import subprocess
import time

from nodes import NETNS_DIR, BenchError, app, netns_add, policy, rawbpf, run
from report import Row, say

NAMESPACES, POLICIES, PODS = 50, 1000, 5000
LOCAL_PODS = 30
ENDPOINTS = f"{rawbpf.PINS}/maps/endpoints"
# struct wr_endpoint (bpf/abi/endpoint.h): its size, the offset of its policy word, and how many there are.
ENDPOINT_SIZE, POLICY_WORD, ENDPOINT_SLOTS = 56, 32, 16384


def measure(args, pods):
    rows = compiler(args)
    rows += floods(args, pods)
    rows += changes(args, pods)
    return rows


def compiler(args):
    """From objects to map entries, all of it."""
    say("compiler")
    figures = [json.loads(line) for line in run(f"{args.build}/tests/policy/policytest", "--bench").splitlines()]
    return [Row.limit(f"policy.compile, {f['shape']}", "ms", [f["put_ms"] + f["compile_ms"]], 200)
            for f in figures if f["figure"] == "full compile"]


# --- a change, from the manifest's rename to the endpoint's policy word ----------------------------------------------

def cluster():
    """Manifests by name: each policy in its own, pods a hundred together."""
    draw = random.Random(4)
    for n in range(NAMESPACES):
        namespace = f"ns{n}"
        pods = [{"apiVersion": "v1", "kind": "Pod",
                 "metadata": {"namespace": namespace, "name": f"p{i}",
                              "labels": {"app": f"a{i % 10}", "pod": f"p{i}", "tier": draw.choice("abc")}},
                 "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]}}
                for i in range(PODS // NAMESPACES)]
        yield namespace, [{"apiVersion": "v1", "kind": "Namespace",
                           "metadata": {"name": namespace, "labels": {"team": f"t{n % 7}"}}}, *pods]
        for i in range(POLICIES // NAMESPACES):
            peers = [app(f"a{draw.randrange(10)}"), {"namespaceSelector": {"matchLabels": {"team": f"t{draw.randrange(7)}"}}}]
            yield f"{namespace}-{i}", [policy(
                f"policy{i}", {"matchLabels": {"app": f"a{i % 10}"}}, namespace,
                ingress=[{"from": peers, "ports": [{"port": 8080}, {"port": 9000 + i, "endPort": 9100 + i}]}])]


def word(memory, ifindex):
    """The policy word of the endpoint: class and revision."""
    for probe in range(8):
        at = (ifindex + probe * 0x9E37) % ENDPOINT_SLOTS * ENDPOINT_SIZE
        if struct.unpack_from("<I", memory, at)[0] == ifindex:
            return struct.unpack_from("<Q", memory, at + POLICY_WORD)[0]
    raise BenchError(f"no endpoint {ifindex}")


def until(condition, what, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not after {seconds} s")


def changes(args, pods):
    agent = pods.agent
    say(f"agent: {POLICIES} policies, {PODS} pods")
    for name, objects in cluster():
        agent.write(name, *objects)
    ifindexes = [local_pod(pods, n) for n in range(LOCAL_PODS)]
    resident = int(agent.status()["VmRSS"].split()[0]) / 1024
    took = []
    with rawbpf.map_memory(ENDPOINTS) as memory:
        for i in range(50 if args.quick else 300):
            ifindex = ifindexes[i % LOCAL_PODS]
            peer = app("a1") if i // LOCAL_PODS % 2 else app("a2")
            edited = policy("edited", {"matchLabels": {"app": "a3"}}, f"ns{i % LOCAL_PODS}", ingress=[{"from": [peer]}])
            before = word(memory, ifindex)
            begin = time.monotonic()
            agent.write("edited", edited)
            until(lambda: word(memory, ifindex) != before, "a changed policy", 10)  # pylint: disable=cell-var-from-loop
            took.append((time.monotonic() - begin) * 1e3)
    took.sort()
    return [
        Row.limit("policy.change_p50", "ms", took, 5),
        Row.limit("policy.change_p99", "ms", took, 20, value=took[len(took) * 99 // 100]),
        Row.limit("policy.agent_rss", "MB", [resident], 24),
        Row.plain("policy.agent_peak", "MB", [int(agent.status()["VmHWM"].split()[0]) / 1024]),
    ]


def local_pod(pods, n):
    """A pod of the cluster on this node; the ifindex of its endpoint. Each is one that `edited` selects."""
    name = f"local{n}"
    netns_add(name)
    result = pods.plugin.add(name, name, args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE=ns{n};K8S_POD_NAME=p3")
    device = [i["name"] for i in result["interfaces"] if not i.get("sandbox")][-1]
    return json.loads(run("ip", "-j", "link", "show", "dev", device, netns=pods.host))[0]["ifindex"]


# --- floods ----------------------------------------------------------------------------------------------------------

def load(args, mode, server, client, target, seconds, port):
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    return subprocess.Popen(
        [f"{args.build}/bench/load", "-t", str(seconds), "-p", str(port), "-s", str(first), "-c", str(last), mode,
         f"{NETNS_DIR}/{server}", f"{NETNS_DIR}/{client}", target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rate(process):
    out, err = process.communicate(timeout=120)
    if process.returncode:
        raise BenchError(f"load: {err.strip()}")
    return json.loads(out)["rate"]


def victims_rate(args, victims, aggressors, mode, family, seconds):
    """Packets of one established flow while the aggressors run `mode` for as long."""
    flood = load(args, mode, aggressors.pods[1], aggressors.pods[0], aggressors.target[family], seconds, 6001)
    victim = load(args, "udp", victims.pods[1], victims.pods[0], victims.target[family], seconds, 6002)
    result = rate(victim)
    rate(flood)
    return result


class Connections:
    """Idle TCP connections between two pods, held by a process in each."""

    COUNT = 200
    SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "connections.py")

    def __init__(self, pods, family):
        command = ["/usr/bin/python3", self.SCRIPT, str(self.COUNT)]
        target = [pods.target[family], "6003"]
        self.server = self.popen(pods.pods[1], *command, "serve", *target)
        if self.server.stdout.readline() != "listening\n":
            raise BenchError("connections: no listener")
        self.client = self.popen(pods.pods[0], *command, "dial", *target)
        if self.client.stdout.readline() != "connected\n":
            raise BenchError("connections: not connected")

    @staticmethod
    def popen(netns, *command):
        return subprocess.Popen(["nsenter", f"--net={NETNS_DIR}/{netns}", *command], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)

    def alive(self):
        """How many still carry data both ways."""
        out, _ = self.client.communicate("try\n", timeout=60)
        self.server.kill()
        self.server.wait()
        return int(out)


def floods(args, aggressors):
    """Against what is left when the aggressors send just as fast in one flow."""
    victims = Victims(aggressors)
    rows = []
    seconds = 3 if args.quick else 10
    rounds = 1 if args.quick else 6  # 60 s of each
    for family in ("v4", "v6"):
        for mode in ("flood", "answered"):
            say(f"{mode}, {family}")
            connections = Connections(victims, family)
            ratios, values, baselines = [], [], []
            for _ in range(rounds):
                baselines.append(victims_rate(args, victims, aggressors, "udp", family, min(seconds, 3)))
                values.append(victims_rate(args, victims, aggressors, mode, family, seconds))
                ratios.append(values[-1] / baselines[-1])
            rows.append(Row.of(f"policy.{mode}_{family}", "kpps", statistics.median(values) / 1e3,
                               statistics.median(baselines) / 1e3, ratios, goal=0.9, more_is_better=True))
            cut = Connections.COUNT - connections.alive()
            rows.append(Row.limit(f"policy.{mode}_{family}_cut", "conn", [cut], 0))
    return rows


class Victims:
    """Two more pods of the policy network, with the labels of the first two."""

    def __init__(self, path):
        self.pods = ["victim-a", "victim-b"]
        for pod, label in zip(self.pods, ("client", "server")):
            netns_add(pod)
            result = path.plugin.add(pod, pod, labels={"app": label})
        self.target = {}
        for entry in result["ips"]:
            address = entry["address"].split("/")[0]
            self.target["v6" if ":" in address else "v4"] = address
