# SPDX-License-Identifier: BSD-2-Clause
"""What policy costs: compiling, a change until it is enforced, the agent's memory, floods of new flows."""

import json
import os
import random
import statistics
import struct
import subprocess
import time

from nodes import NETNS_DIR, BenchError, addresses, app, netns_add, policy, rawbpf, run
from report import Row, say

NAMESPACES, POLICIES, PODS = 50, 1000, 5000
LOCAL_PODS = 30
ENDPOINTS = f"{rawbpf.PINS}/maps/endpoints"
# struct wr_endpoint (bpf/abi/endpoint.h): its size, the offset of its policy tag, and the number of endpoints.
ENDPOINT_SIZE, POLICY_WORD, ENDPOINT_SLOTS = 64, 32, 16384


def measure(args, pods):
    rows = compiler(args)
    victims = Pair(pods, ("victim-a", "victim-b"), ("client", "server"))  # labelled as the first two
    rows += floods(args, pods, victims)
    rows += denied(args, pods, victims)
    rows += changes(args, pods)
    return rows


def compiler(args):
    """From objects to map entries, all of it."""
    say("compiler")
    figures = [json.loads(line) for line in run(f"{args.build}/tests/policy/policytest", "--bench").splitlines()]
    return [Row.plain(f"policy.compile, {f['shape']}", "ms", [f["put_ms"] + f["compile_ms"]])
            for f in figures if f["figure"] == "full compile"]


# --- a change, from the manifest's rename to the endpoint's policy tag ----------------------------------------------

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
    """The policy tag of the endpoint: class and revision."""
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
        Row.plain("policy.change_p50", "ms", took),
        Row.plain("policy.change_p99", "ms", took, value=took[len(took) * 99 // 100]),
        Row.plain("policy.agent_rss", "MB", [resident]),
        Row.plain("policy.agent_peak", "MB", [int(agent.status()["VmHWM"].split()[0]) / 1024]),
    ]


def local_pod(pods, n):
    """A pod of the cluster on this node; the ifindex of its endpoint. `edited` selects each of them."""
    name = f"local{n}"
    netns_add(name)
    result = pods.plugin.add(name, name, args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE=ns{n};K8S_POD_NAME=p3")
    device = [i["name"] for i in result["interfaces"] if not i.get("sandbox")][-1]
    return json.loads(run("ip", "-j", "link", "show", "dev", device, netns=pods.host))[0]["ifindex"]


# --- floods ----------------------------------------------------------------------------------------------------------

def load(args, mode, server, client, target, seconds, port, cpus=None):
    """`cpus`: the server's and the client's; (): wherever."""
    cpus = (min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))) if cpus is None else cpus
    pinned = [word for option, cpu in zip("sc", cpus) for word in (f"-{option}", str(cpu))]
    return subprocess.Popen(
        [f"{args.build}/bench/load", "-t", str(seconds), "-p", str(port), *pinned, mode, f"{NETNS_DIR}/{server}", f"{NETNS_DIR}/{client}", target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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


def floods(args, aggressors, victims):
    """Against the rate that is left when the aggressors send just as fast in one flow."""
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
                               statistics.median(baselines) / 1e3, ratios))
            cut = Connections.COUNT - connections.alive()
            rows.append(Row.plain(f"policy.{mode}_{family}_cut", "conn", [cut]))
    return rows


# --- a flood of what is denied: a pod that may send to no destination -----------------------

FLOOD_SECONDS = 6  # longer than exchanges.py runs


class Exchanges:
    """New connections between the victims, with a round trip of 0.3 s, on one processor."""

    SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "exchanges.py")

    def __init__(self, pods, family, cpu):
        self.pods, self.cpu = pods, cpu
        self.target = [pods.target[family], "6005"]
        self.server = self.popen(pods.pods[1], "serve")
        if self.server.stdout.readline() != "ready\n":
            raise BenchError("exchanges: no server")

    def popen(self, netns, what):
        return subprocess.Popen(["nsenter", f"--net={NETNS_DIR}/{netns}", "taskset", "-c", str(self.cpu), "/usr/bin/python3",
                                 self.SCRIPT, what, *self.target], stdout=subprocess.PIPE, text=True)

    def lost(self):
        out, _ = self.popen(self.pods.pods[0], "ask").communicate(timeout=60)
        return int(out)

    def end(self):
        self.server.kill()
        self.server.wait()


def denied(args, pods, victims):
    """Others' new connections and packets under it, these against those without it."""
    attackers = Pair(pods, ("attacker", "attacked"), ("no-peer", "no-peer"))
    flooded, others = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    rows = []
    for family in ("v4", "v6"):
        def flood(seconds, cpus):
            return load(args, "blind", attackers.pods[1], attackers.pods[0], attackers.target[family],  # pylint: disable=cell-var-from-loop
                        seconds, 6004, cpus)

        def packets(seconds):
            return rate(load(args, "udp", victims.pods[1], victims.pods[0], victims.target[family],  # pylint: disable=cell-var-from-loop
                             seconds, 6006, (others, others)))

        say(f"denied, {family}")
        rows += denied_packets(args, family, lambda seconds: flood(seconds, (flooded, flooded)), packets)  # pylint: disable=cell-var-from-loop
        exchanges = Exchanges(victims, family, others)
        try:
            # From each processor in turn: this evicts entries of per-processor maps, too.
            rows += denied_exchanges(args, family, lambda seconds: flood(seconds, ()), exchanges)  # pylint: disable=cell-var-from-loop
        finally:
            exchanges.end()
    return rows


def denied_packets(args, family, flood, packets):
    seconds = 1 if args.quick else 3
    values, baselines, sent = [], [], []
    for _ in range(3 if args.quick else 8):
        baselines.append(packets(seconds))
        aggressor = flood(3 * seconds)
        time.sleep(0.2)  # until it is at its full rate
        values.append(packets(seconds))
        sent.append(rate(aggressor) / 1e3)
    return [Row.of(f"policy.denied_{family}", "kpps", statistics.median(values) / 1e3, statistics.median(baselines) / 1e3,
                   [v / b for v, b in zip(values, baselines)]),
            Row.plain(f"policy.denied_{family}_sent", "kpps", sent)]


def denied_exchanges(args, family, flood, exchanges):
    if without := exchanges.lost():
        raise BenchError(f"denied, {family}: {without} exchanges are lost without a flood")
    lost = []
    for _ in range(1 if args.quick else 5):
        aggressor = flood(FLOOD_SECONDS)
        lost.append(exchanges.lost())
        rate(aggressor)
    return [Row.plain(f"policy.denied_{family}_lost", "conn", lost, value=max(lost))]


class Pair:
    """Two more pods of the policy network."""

    def __init__(self, path, pods, labels):
        self.pods = pods
        for pod, label in zip(pods, labels):
            netns_add(pod)
            result = path.plugin.add(pod, pod, labels={"app": label})
        self.target = addresses(result)
