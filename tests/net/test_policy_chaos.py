# SPDX-License-Identifier: BSD-2-Clause
"""The agent is killed again and again, at any moment, under traffic and policy edits. Every verdict that real packets
meet meanwhile must be one that the manifests of that time give, and in the end the maps are those of an agent that has
never been killed.

A flow passes two enforcement points, the sender's egress and the receiver's ingress. Each pod's policy changes at an
instant of its own (they may be on different nodes), so while an edit is being applied the verdicts of the two points
may belong to different manifests.

WARREN_CHAOS_SECONDS (15): how long. WARREN_CHAOS_SEED: which run, else another each time; it is printed.
"""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import threading
import time

from cluster import Cluster
from connect import fence, one_processor
from manifests import namespace, namespaces, pod_object, pods, policy, port, sources, split, targets
from netns import FAMILY, TIMEOUT, wait_for
from seed import drawn

SECONDS = float(os.environ.get("WARREN_CHAOS_SECONDS", 15))
PENDING = 3  # edits that may be pending at a time
PORTS = (7000, 7001)
NAMESPACES = ("red", "blue")
NAMES = ("red/a", "red/b", "blue/c", "blue/d")
INVALID = "invalid"  # isolates what it selects, in both directions
POLICIES = ("p0", "p1", "p2", INVALID)
FIRST = {
    **{f"ns-{name}": namespace(name, team=name) for name in NAMESPACES},
    **{f"pod-{'-'.join(split(name))}": pod_object(name, {"app": split(name)[1]}) for name in NAMES},
}


# --- what the manifests say -------------------------------------------------------------------------------------------


def matches(selector, labels):
    """matchLabels, and the operators of matchExpressions."""
    operators = {
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
        "Exists": lambda key, values: key in labels,
        "DoesNotExist": lambda key, values: key not in labels,
    }
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        operators[e["operator"]](e["key"], e.get("values")) for e in selector.get("matchExpressions", [])
    )


class Model:
    """A set of manifests, {file: object or None}, and its verdict on UDP at each enforcement point."""

    def __init__(self, files):
        self.namespaces, self.pods, self.policies = {}, {}, []
        for obj in filter(None, files.values()):
            metadata = obj["metadata"]
            if obj["kind"] == "Namespace":
                self.namespaces[metadata["name"]] = metadata["labels"]
            elif obj["kind"] == "Pod":
                self.pods[f"{metadata['namespace']}/{metadata['name']}"] = metadata["labels"]
            else:
                self.policies.append(obj)

    def allows(self, kind, pod, peer, number):
        """Whether the pod may have this flow to (Egress) or from the peer; number: the destination port."""
        if pod not in self.pods:
            return False  # quarantine
        own, isolated = split(pod)[0], False
        for obj in self.policies:
            spec = obj["spec"]
            if obj["metadata"]["namespace"] != own or not matches(spec["podSelector"], self.pods[pod]):
                continue
            invalid = obj["metadata"]["name"] == INVALID
            if kind not in spec["policyTypes"] and not invalid:
                continue
            isolated = True
            if invalid:
                continue
            for rule in spec.get(kind.lower(), []):
                if self._rule(rule, "to" if kind == "Egress" else "from", own, peer, number):
                    return True
        return not isolated

    def _rule(self, rule, key, own, peer, number):
        if rule.get(key) and not any(self._peer(p, own, peer) for p in rule[key]):
            return False
        return not rule.get("ports") or any(
            p["protocol"] == "UDP" and p["port"] <= number <= p.get("endPort", p["port"]) for p in rule["ports"]
        )

    def _peer(self, selectors, own, peer):
        of = split(peer)[0]
        if peer not in self.pods:
            return False  # it has no identity yet
        if "namespaceSelector" in selectors:
            if not matches(selectors["namespaceSelector"], self.namespaces[of]):
                return False
        elif of != own:
            return False
        return matches(selectors.get("podSelector", {}), self.pods[peer])


# --- edits ------------------------------------------------------------------------------------------------------------


def random_peer(draw):
    peer = {}
    if draw.random() < 0.6:
        team = draw.choice(["red", "blue", "green"])
        peer.update(draw.choice([namespaces(), namespaces(team=team), namespaces(("team", "NotIn", team))]))
    if not peer or draw.random() < 0.6:
        peer.update(draw.choice([pods(), pods(app=draw.choice("abcd")), pods(("extra", "Exists"))]))
    return peer


def random_rules(draw, make):
    ports = [None, [port(PORTS[0], "UDP")], [port(PORTS[0], "UDP", end=PORTS[1])], [port(PORTS[1], "TCP")]]
    return [
        make(*[random_peer(draw) for _ in range(draw.randrange(3))], ports=draw.choice(ports))
        for _ in range(draw.randrange(3))
    ]


def random_edit(draw):
    """(file, object or None: it goes)"""
    kind = draw.random()
    if kind < 0.2:
        name = draw.choice(NAMES)
        if kind < 0.03:
            return f"pod-{'-'.join(split(name))}", None
        labels = {"app": draw.choice([split(name)[1], *"abcd"]), **draw.choice([{}, {"extra": draw.choice("12")}])}
        return f"pod-{'-'.join(split(name))}", pod_object(name, labels)
    if kind < 0.3:
        name = draw.choice(NAMESPACES)
        return f"ns-{name}", namespace(name, team=draw.choice([name, name, "green"]))
    name = f"{draw.choice(NAMESPACES)}/{draw.choice(POLICIES)}"
    file = f"policy-{'-'.join(split(name))}"
    if kind < 0.5:
        return file, None
    if split(name)[1] == INVALID:
        bad = {"ports": [port(2, end=1)]}
        return file, policy(name, {"app": draw.choice("abcd")}, ingress=[bad], types=["Ingress"])
    types = draw.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
    rules = {"ingress": random_rules(draw, sources), "egress": random_rules(draw, targets)}
    rules = {key: value for key, value in rules.items() if key.capitalize() in types}
    return file, policy(name, draw.choice([{}, {}, {"app": draw.choice("abcd")}]), types=types, **rules)


class Manifests:
    """The content of the files, and what may still be enforced: all versions of each since the last time that all were
    applied.
    """

    def __init__(self, cluster):
        self.cluster = cluster
        self.versions = {file: [obj] for file, obj in FIRST.items()}
        self.changed()

    def changed(self):
        files = list(self.versions)
        self.models = [Model(dict(zip(files, choice))) for choice in itertools.product(*self.versions.values())]
        self.verdicts = {}

    @property
    def pending(self):
        return sum(len(versions) - 1 for versions in self.versions.values())

    def edit(self, file, obj):
        if obj == self.versions.get(file, [None])[-1]:
            return
        self.versions.setdefault(file, [None]).append(obj)
        self.changed()
        if obj:
            self.cluster.write(file, obj)
        else:
            self.cluster.unlink(file)

    def applied(self):
        self.versions = {file: versions[-1:] for file, versions in self.versions.items()}
        self.changed()

    def may(self, src, dst, number):
        """The verdicts that this flow may get."""
        flow = src, dst, number
        if flow not in self.verdicts:
            sent = {model.allows("Egress", src, dst, number) for model in self.models}
            received = {model.allows("Ingress", dst, src, number) for model in self.models}
            self.verdicts[flow] = {a and b for a, b in itertools.product(sent, received)}
        return self.verdicts[flow]


# --- the observer -----------------------------------------------------------------------------------------------------


class Observer:
    """Every pod sends numbered datagrams to every other, on flows that stay and on new ones; each outcome is checked."""

    def __init__(self, cluster, manifests):
        self.cluster, self.manifests = cluster, manifests
        self.servers, self.clients, self.sent = {}, {}, {}
        self.number, self.passed, self.denied = 0, 0, 0
        for name, family in itertools.product(NAMES, (4, 6)):
            for number in PORTS:
                sock = cluster.pods[name].udp(family, number, cluster.pods[name].ips[family])
                sock.setblocking(False)
                self.servers[name, family, number] = sock
        self.flows = [
            (src, dst, number, family)
            for (src, dst), number, family in itertools.product(itertools.permutations(NAMES, 2), PORTS, (4, 6))
        ]
        for src, dst, number, family in self.flows:
            self.clients[src, dst, number, family] = self._client(src, dst, number, family)

    def _client(self, src, dst, number, family):
        sock = self.cluster.pods[src].socket(FAMILY[family], socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect((self.cluster.pods[dst].ips[family], number))
        return sock

    def _collect(self, awaited):
        for sock in self.servers.values():
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, source = sock.recvfrom(64)
                    number = int.from_bytes(data, "big")
                    flow, verdicts = self.sent.pop(number)
                    assert True in verdicts, f"{flow} passed, by none of {len(self.manifests.models)} sets of manifests"
                    awaited.discard(number)
                    self.passed += 1
                    sock.sendto(data, source)
        return not awaited

    def burst(self, draw):
        """One datagram on each flow, a few of them new ones; waits for those that must arrive. When it returns, all of
        them have been evaluated: no later edit can have allowed one.
        """
        awaited, fresh = set(), []
        with one_processor():
            self._send(draw, awaited, fresh)
            for name, family in itertools.product(NAMES, (4, 6)):
                fence(self.cluster.pods[name], family)
        self._collect(awaited)
        lost = [str(self.sent[number][0]) for number in awaited]
        assert not lost, f"allowed by all of {len(self.manifests.models)} sets of manifests, and lost: {lost}"
        for sock in fresh:
            sock.close()
        self.sent.clear()

    def _send(self, draw, awaited, fresh):
        for flow in self.flows:
            verdicts = self.manifests.may(*flow[:3])
            sock = self.clients[flow]
            if draw.random() < 0.1:
                sock = self._client(*flow)
                fresh.append(sock)
            self.number += 1
            self.sent[self.number] = flow, verdicts
            if verdicts == {True}:
                awaited.add(self.number)
            self.denied += verdicts == {False}
            sock.send(self.number.to_bytes(8, "big"))

    def close(self):
        for sock in [*self.servers.values(), *self.clients.values()]:
            sock.close()


class Killer(threading.Thread):
    """Kills the agent after a while, at any point of its work."""

    def __init__(self, pid, seconds):
        super().__init__(daemon=True)
        self.fd, self.seconds, self.called_off = os.pidfd_open(pid), seconds, threading.Event()
        self.killed = False
        self.start()

    def run(self):
        self.killed = not self.called_off.wait(self.seconds)
        if self.killed:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.fd, signal.SIGKILL)
        os.close(self.fd)


# --- what the maps hold -----------------------------------------------------------------------------------------------


def dump(node, name):
    return [{**entry["key"], **entry["value"]} for entry in node.warren_json("map", "dump", name)]


def holdings(cluster):
    """The maps' content, by the rules' names and the classes' content: each agent numbers them in its own way."""
    node = cluster.node
    rules = {entry["rule"]: entry["text"] for entry in dump(node, "rules")}
    classes = {}
    for table in ("classes", "policy", "cidrs4", "cidrs6"):
        for entry in dump(node, table):
            if "rule" in entry:
                entry["rule"] = rules[entry["rule"]]
            classes.setdefault(str(entry.pop("class")), []).append(f"{table} {json.dumps(entry, sort_keys=True)}")
    endpoints = {e["pod"]: e for e in node.warren_json("endpoint", "list")}
    return {
        "rules": sorted(rules.values()),
        "identities": sorted(json.dumps(entry) for entry in dump(node, "identities")),
        "pods": {
            name: (e["identity"], sorted(classes.get(str(e["class"]), [e["class"]]))) for name, e in endpoints.items()
        },
        "classes that no pod is in": sorted(set(classes) - {str(e["class"]) for e in endpoints.values()}),
    }


def reasons(cluster):
    """The output of `policy why` for every pair, without the classes' numbers."""
    said = {}
    for (src, dst), number in itertools.product(itertools.permutations(NAMES, 2), PORTS):
        answer = cluster.node.warren_json("policy", "why", src, f"{dst}:{number}/udp")
        because = [re.sub(r"of class \d+ ", "", point["because"]) for point in answer["evaluated"]]
        said[src, dst, number] = answer["verdict"], because
    return said


# --- the test ---------------------------------------------------------------------------------------------------------


def is_applied(agent):
    """As Agent.wait_applied(), for an agent that may be dead, or die during the request."""
    with contextlib.suppress(OSError, ValueError):
        agent.status()
        status = agent.status()
        return status["enforced"] and not status["pending"]
    return False


class Victim:
    """The agent, and its killer."""

    def __init__(self, agent, draw):
        self.agent, self.draw, self.kills, self.killer = agent, draw, 0, None
        self.hire()

    def hire(self):
        # The child of nsenter is the agent; a signal to nsenter would not reach it.
        wait_for(lambda: self.agent.pid != self.agent.proc.pid, "the agent's process")
        self.killer = Killer(self.agent.pid, 10 ** self.draw.uniform(-2.3, 0.3))

    def look(self):
        """Whether it is alive; a dead one is restarted, sooner or later."""
        if self.agent.proc and self.agent.proc.poll() is not None:
            assert self.agent.ended() != 1, f"the agent failed:\n{self.agent.tail()}"
            self.kills += 1
        if not self.agent.proc and self.draw.random() < 0.2:
            self.agent.start(wait=False)
            self.hire()
        return self.agent.proc is not None

    def spare(self):
        """From here on it lives."""
        self.killer.called_off.set()
        self.killer.join()
        if self.agent.proc and (self.killer.killed or self.agent.proc.poll() is not None):
            self.agent.ended()
        if not self.agent.proc:
            self.agent.start()
        wait_for(lambda: is_applied(self.agent), "the last edits to be enforced")


@contextlib.contextmanager
def made_cluster(files, *options):
    with Cluster(options=options) as cluster:
        for file, obj in files.items():
            cluster.write(file, obj)
        for name in NAMES:
            cluster.pod(name, manifest=False, policyTimeout=5)  # there may be none
        cluster.agent.wait_applied()
        yield cluster


def test_agent_killed_under_traffic_and_edits(tmp_path):
    draw = drawn("WARREN_CHAOS_SEED")
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 2)
    options = ("--cluster-key", key)
    with made_cluster(FIRST, *options) as cluster:
        manifests = Manifests(cluster)
        observer = Observer(cluster, manifests)
        victim = Victim(cluster.agent, draw)
        edits, deadline = 0, time.monotonic() + SECONDS

        def enough():
            return victim.kills >= SECONDS / 5 and edits >= SECONDS and observer.passed and observer.denied

        # A busy machine needs longer for as much.
        while time.monotonic() < deadline or not enough() and time.monotonic() < deadline + 2 * TIMEOUT:
            alive = victim.look()
            if manifests.pending < PENDING and draw.random() < 0.3:
                edits += 1
                manifests.edit(*random_edit(draw))
            observer.burst(draw)
            if alive and manifests.pending and is_applied(cluster.agent):
                manifests.applied()
        victim.spare()
        manifests.applied()
        observer.burst(draw)
        observer.close()
        print(f"{victim.kills} kills, {edits} edits, {observer.passed} passed, {observer.denied} were to be denied")
        assert enough()
        files = {file: versions[-1] for file, versions in manifests.versions.items() if versions[-1]}
        with made_cluster(files, *options) as fresh:
            assert holdings(cluster) == holdings(fresh)
            assert reasons(cluster) == reasons(fresh)
        assert holdings(cluster)["classes that no pod is in"] == []
