# SPDX-License-Identifier: BSD-2-Clause
"""Everything at once, for an hour or as long as one likes: three nodes, pods on each, policies that are edited at random
(policy_edits.py), pods that come and go (some of their ADDs and DELs are killed), TCP connections that last as long as
the run, one of them by a Service, and every ten seconds a fault.

What must hold: no verdict that none of the manifests gives; no datagram lost except while a fault cuts the path, or
where come_back() says why; no lasting connection cut; and at each checkpoint, where faults, edits and churn pause, each
node has what it had at the first one: file descriptors, map entries, links, files, nftables. Of the agent that is never
killed the memory must not grow.

WARREN_SOAK_SECONDS (3600): how long. WARREN_SOAK_SEED: which run, else another each time. The report, soak.json, is in
the directory WARREN_SOAK_OUT.
"""

import collections
import contextlib
import itertools
import os
import re
import signal
import time
from pathlib import Path

from connect import fence
from lab import network
from manifests import endpoint, endpoint_slice, pod_file, pod_object, port, service, split
from netns import wait_for
from overlay import ALL, Overlay
from policy_edits import NAMES, PENDING, Manifests, Observer, first_manifests, random_edit
from seed import drawn
from soak import flows, objects, report
from traffic import Transfer

SECONDS = float(os.environ.get("WARREN_SOAK_SECONDS", 3600))
BETWEEN_FAULTS, BETWEEN_CHECKPOINTS = 10, max(20, SECONDS / 12)
GROWTH = 1.01  # of the agent's memory after the first third
EXPIRED = 300  # s: longer than any flow's entry lives without packets, but for TCP connections that were not closed
STALE = 0.3  # s: how long each CPU may use the lookup of a nexthop: no event tells its end

PLACES = dict(zip(NAMES, ("n1", "n2", "n1", "n3")))
STEADY = {"steady/client": "n1", "steady/server": "n2"}
KILLED, LIVING, REBOOTED = "n2", "n1", "n3"  # whose agent is killed; whose never is; the node that loses its power
VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT, TARGET = 80, 8080


# --- faults -----------------------------------------------------------------------------------------------------------

FAULTS = {}  # {name: (function, whether it cuts paths)}


def fault(cuts=False):
    """A generator: it yields the seconds that pass before it goes on. `cuts`: packets may be lost until it has ended."""

    def register(function):
        FAULTS[function.__name__] = (function, cuts)
        return function

    return register


@fault()
def agent_killed(soak):
    agent = soak.overlay.nodes[KILLED].agent
    agent.kill()
    yield soak.draw.uniform(0, 5)
    agent.start()


@fault()
def agent_ended(soak):
    agent = soak.overlay.nodes[KILLED].agent
    agent.stop()
    yield soak.draw.uniform(0, 2)
    agent.start()


@fault()
def agent_killed_at_start(soak):
    agent = soak.overlay.nodes[KILLED].agent
    for _ in range(4):
        agent.kill()
        agent.start(wait=False)
        wait_for(lambda: agent.pid != agent.proc.pid, "the agent's process")
        yield soak.draw.uniform(0, 0.1)
    agent.restart()


@fault()
def agent_frozen(soak):
    agent = soak.draw.choice(list(soak.overlay.nodes.values())).agent
    agent.signal(signal.SIGSTOP)
    yield soak.draw.uniform(0.5, 5)
    os.kill(agent.proc.pid, signal.SIGCONT)  # nsenter, which stops with its child
    agent.signal(signal.SIGCONT)


@fault()
def node_made_again(soak):
    for node in soak.overlay.nodes.values():
        node.warren("node", "init")
        yield 0


@fault()
def garbage_collected(soak):
    for node in soak.overlay.nodes.values():
        valid = [{"containerID": pod.container, "ifname": pod.ifname} for pod in node.pods]
        valid += [{"containerID": pod.container, "ifname": "eth0"} for pod in soak.churn.pods if pod.node is node]
        done = node.cni("GC", {**soak.churn.conf(node), "cni.dev/valid-attachments": valid})
        assert done.ok, done
        yield 0


@fault(cuts=True)
def carrier_lost(soak):
    device = soak.overlay.underlay.port(soak.draw.randrange(1, 4))
    soak.overlay.underlay.run("ip", "link", "set", device, "down")
    yield soak.draw.uniform(0.1, 4)
    soak.overlay.underlay.run("ip", "link", "set", device, "up")


@fault(cuts=True)
def network_card_replaced(soak):
    node = soak.draw.choice(list(soak.overlay.nodes.values()))
    for name in ("ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify"):
        node.sysctl(name, 1)
    node.run("ip", "link", "set", "eth0", "address", "02:00:00:" + ":".join(f"{soak.draw.randrange(256):02x}" for _ in range(3)))
    yield 0


@fault(cuts=True)
def node_object_deleted(soak):
    label = soak.draw.choice(list(soak.overlay.nodes))
    others = [node for node in soak.overlay.nodes.values() if node.label != label]
    for node in others:
        (node.agent.dir / f"node-{label}.json").unlink()
    yield soak.draw.uniform(0, 3)
    soak.overlay.write(f"node-{label}", soak.overlay.nodes[label].object())


@fault(cuts=True)
def power_failed(soak):
    """The node starts again without anything, and its pod is made anew."""
    soak.churn.forget(REBOOTED)
    soak.reboot()
    yield 0


# --- pods that come and go --------------------------------------------------------------------------------------------


class Passing:
    """A pod of the churn: its namespace, and what the runtime calls it."""

    def __init__(self, node, name):
        self.node, self.name = node, name
        self.container = f"churn-{split(name)[1]}"
        self.path = node.netns_add(self.container)

    @property
    def args(self):
        namespace, short = split(self.name)
        return f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={short}"


class Churn:
    """Pods beside those whose verdicts are tested."""

    MOST = 12

    def __init__(self, soak):
        self.soak, self.pods, self.numbers = soak, [], itertools.count()
        self.added, self.killed = 0, 0

    @staticmethod
    def conf(node):
        return network(policy="agent", ipam={"ranges": [[{"subnet": node.cidr[f]}] for f in ALL]})

    def _cni(self, command, pod, wrap=()):
        return pod.node.cni(command, self.conf(pod.node), pod.container, "eth0", pod.path, pod.args, wrap)

    def turn(self):
        draw = self.soak.draw
        if self.pods and draw.random() < len(self.pods) / self.MOST:
            self.delete(draw.choice(self.pods), kill=draw.random() < 0.2)
            return
        node = self.soak.overlay.nodes[draw.choice([LIVING, REBOOTED])]  # the other's agent may be dead
        pod = Passing(node, f"{draw.choice(['red', 'blue'])}/x{next(self.numbers)}")
        self.pods.append(pod)
        node.agent.write(f"{pod_file(pod.name)}.json", pod_object(pod.name, {"app": draw.choice("abcd")}))
        wrap = ()
        if draw.random() < 0.2:
            wrap = ["timeout", "--foreground", "--signal=KILL", f"{draw.uniform(0, 0.02):.6f}"]
        done = self._cni("ADD", pod, wrap)
        self.added += done.ok
        self.killed += not done.ok
        assert done.ok or wrap, done

    def delete(self, pod, kill=False):
        if kill:
            self._cni("DEL", pod, ["timeout", "--foreground", "--signal=KILL", f"{self.soak.draw.uniform(0, 0.02):.6f}"])
        done = self._cni("DEL", pod)
        assert done.ok, done
        pod.node.netns_delete(pod.path)
        pod.node.agent.remove(f"{pod_file(pod.name)}.json")
        self.pods.remove(pod)

    def clear(self):
        for pod in list(self.pods):
            self.delete(pod)

    def forget(self, label):
        self.pods = [pod for pod in self.pods if pod.node.label != label]


# --- what a node has --------------------------------------------------------------------------------------------------


def unnamed(name):
    """The name without what another pod in the same place has otherwise."""
    return re.sub(r"\bwr[a-z2-7]{13}\b|[a-z]+-\d+@|\b\d+\b", "_", name)


def holdings(node):
    """What must be as it was, where nothing has changed."""
    pid = node.agent.pid
    return {
        "file descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "map entries": objects(node),
        "links": collections.Counter(unnamed(link["ifname"]) for link in node.ip("link", "show")),
        "files": collections.Counter(unnamed(file) for file in node.files("/run/warren")),
        "pins": collections.Counter(unnamed(file) for file in node.files("/sys/fs/bpf")),
        "nftables": node.run("nft", "-s", "list", "ruleset").stdout,
    }


def differences(before, after):
    """(what, before, after) of everything that two holdings() do not share."""
    for what in before:
        one, other = before[what], after[what]
        if isinstance(one, dict):
            one, other = sorted(one.items() - other.items()), sorted(other.items() - one.items())
        if one != other:
            yield what, one, other


def memory(node):
    """KiB of the agent that are its own: not the program's text, which the agents share."""
    text = Path(f"/proc/{node.agent.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("RssAnon:"))


# --- the run ----------------------------------------------------------------------------------------------------------


class Nodes(Overlay):
    """A fence that no policy denies: the gateway's reply, then those of the other nodes to the sender's node."""

    def fence(self, client, family):
        fence(client, family)
        for node in self.nodes.values():
            if node is not client.node:
                fence(client.node, family, via=node.address[family])


class Soak:
    def __init__(self, draw, overlay):
        self.draw, self.overlay = draw, overlay
        for name, node in {**PLACES, **STEADY}.items():
            overlay.pod(name, node, app=split(name)[1])
        server = overlay.pods["steady/server"]
        ports = [{"name": "tcp", **port(TARGET, "TCP")}]
        slices = [endpoint_slice(f"web-{f}", "web", [endpoint(server.ips[f], node="n2")], *ports) for f in ALL]
        overlay.apply("web", service("web", VIP.values(), {"name": "tcp", **port(PORT, "TCP")}), *slices)
        first = first_manifests(self.pod_manifest)
        for file, obj in first.items():
            overlay.write(file, obj)
        overlay.wait_applied()
        overlay.wait_resolved()
        self.manifests, self.first = Manifests(overlay, first), dict(first)
        self.observer, self.churn = Observer(overlay, self.manifests), Churn(self)
        self.passed = self.denied = self.bursts = self.edits = 0
        self.faults, self.checkpoints = collections.Counter(), []
        self.begun = time.monotonic()

    def pod_manifest(self, name, labels):
        pod = self.overlay.pods[name]
        return self.overlay.pod_manifest(name, pod.node, list(pod.ips.values()), **labels)

    def observe(self):
        """Another observer: sockets of pods that have gone are of no use."""
        self.passed, self.denied = self.passed + self.observer.passed, self.denied + self.observer.denied
        self.observer.close()
        self.observer = Observer(self.overlay, self.manifests)

    def reboot(self):
        (name,) = (name for name, label in PLACES.items() if label == REBOOTED)
        self.manifests.edit(pod_file(name), self.first[pod_file(name)])
        self.settle()
        self.overlay.destroy(self.overlay.nodes[REBOOTED])
        self.overlay.add_node(3)
        self.overlay.pod(name, REBOOTED, app=split(name)[1])
        self.first[pod_file(name)] = self.pod_manifest(name, {"app": split(name)[1]})
        self.manifests.edit(pod_file(name), self.first[pod_file(name)])
        self.observe()

    def settle(self):
        """Until all edits are enforced, and all paths are there."""
        self.overlay.wait_applied()
        self.overlay.wait_resolved()
        time.sleep(STALE)
        self.manifests.applied()

    def come_back(self):
        """Flows that went another way meanwhile, or none, come back to theirs: a datagram of each may be lost then."""
        end = time.monotonic() + STALE
        while time.monotonic() < end:
            self.observer.send(self.draw)

    def edit(self):
        if self.manifests.pending < PENDING and self.draw.random() < 0.3:
            self.edits += 1
            self.manifests.edit(*random_edit(self.draw, self.pod_manifest))

    def turn(self, cut, still):
        """`cut`: a fault cuts paths; `still`: no fault is at work."""
        if cut:
            self.observer.send(self.draw)
            return
        self.edit()
        if still and self.draw.random() < 0.3:
            self.churn.turn()
        self.observer.burst(self.draw)
        self.bursts += 1
        if still and self.manifests.pending and all(node.agent.is_applied() for node in self.overlay.nodes.values()):
            self.manifests.applied()

    def run_fault(self, name):
        function, cuts = FAULTS[name]
        print(f"{time.monotonic() - self.begun:.1f} s: {name}")
        if cuts:
            self.settle()
        for seconds in function(self):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                self.turn(cuts, False)
        if cuts:
            self.settle()
            self.come_back()
        self.faults[name] += 1

    def checkpoint(self):
        """Back to the first manifests and pods; what each node has then."""
        self.churn.clear()
        for file in list(self.manifests.versions):
            self.manifests.edit(file, self.first.get(file))
        self.settle()
        self.observer.burst(self.draw)
        for node in self.overlay.nodes.values():
            wait_for(lambda: not any(f.startswith("deleting/") for f in node.files("/run/warren/attachments")), "no deletion")
        found = {label: holdings(node) for label, node in self.overlay.nodes.items()}
        self.checkpoints.append({"seconds": time.monotonic() - self.begun, "memory": memory(self.overlay.nodes[LIVING])})
        if len(self.checkpoints) == 1:
            self.holdings = found
        changed = [f"{label}: {what}: {before}, now {after}" for label in found for what, before, after in differences(self.holdings[label], found[label])]
        assert not changed, "\n".join(changed)
        self.report()

    def report(self):
        content = {
            "seed": self.draw.repeat, "seconds": round(time.monotonic() - self.begun), "mode": self.overlay.mode, "outer": self.overlay.outer,
            "faults": dict(self.faults), "edits": self.edits, "bursts": self.bursts,
            "datagrams": {"passed": self.passed + self.observer.passed, "denied": self.denied + self.observer.denied},
            "pods": {"added": self.churn.added, "killed": self.churn.killed}, "agent's memory, KiB": self.checkpoints,
        }
        report("soak", content)

    def growth(self):
        """Of the memory, between the second and the last third of the checkpoints; each by its least, as some is cached."""
        found = [checkpoint["memory"] for checkpoint in self.checkpoints]
        third = len(found) // 3
        return min(found[-third:]) / min(found[third:-third])

    def run(self):
        faults, checkpoints = (itertools.count(self.begun + between, between) for between in (BETWEEN_FAULTS, BETWEEN_CHECKPOINTS))
        next_fault, next_checkpoint = next(faults), self.begun
        while time.monotonic() < self.begun + SECONDS:
            now = time.monotonic()
            if now >= next_checkpoint:
                self.checkpoint()
                next_checkpoint = next(at for at in checkpoints if at > time.monotonic())
            if now >= next_fault:
                self.run_fault(self.draw.choice(list(FAULTS)))
                next_fault = next(at for at in faults if at > time.monotonic())
            self.turn(False, True)
        self.checkpoint()


def test_soak():
    draw = drawn("WARREN_SOAK_SEED")
    mode, outer = draw.choice(["tunnel", "direct", "auto"]), draw.choice(ALL)
    with Nodes(3, mode=mode, outer=outer) as overlay, contextlib.ExitStack() as stack:
        soak = Soak(draw, overlay)
        client, server = (overlay.pods[name] for name in STEADY)
        for family in ALL:
            stack.enter_context(Transfer(client, server, server.ips[family]))
            stack.enter_context(Transfer(client, server, VIP[family], PORT, TARGET))
        soak.run()
        assert soak.growth() <= GROWTH, soak.checkpoints
        soak.observer.close()
        stack.close()
        for node in overlay.nodes.values():
            wait_for(lambda: not any(flows(node).values()), "the flows' entries to expire", EXPIRED)
        assert sum(soak.faults.values()) >= SECONDS / BETWEEN_FAULTS / 3
