# SPDX-License-Identifier: BSD-2-Clause
"""Random edits of manifests under traffic, and what real packets may meet meanwhile: every verdict must be one that the
manifests of that time give.

A flow passes two enforcement points, the sender's egress and the receiver's ingress. Each pod's policy changes at an
instant of its own (they may be on different nodes), so while an edit is being applied the verdicts of the two points
may belong to different manifests.
"""

import contextlib
import itertools
import socket

from cluster import Cluster
from connect import one_processor
from manifests import namespace, namespaces, pod_file, pods, policy, port, sources, split, targets
from netns import FAMILY, wait_for

PENDING = 3  # edits that may be pending at a time
PORTS = (7000, 7001)
LATE = 5  # s
NAMESPACES = ("red", "blue")
NAMES = ("red/a", "red/b", "blue/c", "blue/d")
INVALID = "invalid"  # isolates what it selects, in both directions
POLICIES = ("p0", "p1", "p2", INVALID)


def first_manifests(pod_manifest):
    """{file: object}: the namespaces, and the pods, whose manifests pod_manifest(name, labels) gives."""
    return {
        **{f"ns-{name}": namespace(name, team=name) for name in NAMESPACES},
        **{pod_file(name): pod_manifest(name, {"app": split(name)[1]}) for name in NAMES},
    }


# --- the cluster ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def made_cluster(files, *options):
    """One node with the pods and these files, and an agent with these options, which may end at any time."""
    with Cluster(options=options) as cluster:
        for file, obj in files.items():
            cluster.write(file, obj)
        for name in NAMES:
            cluster.pod(name, manifest=False, policyTimeout=5)  # there may be no agent
        cluster.agent.wait_applied()
        yield cluster


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


def random_edit(draw, pod_manifest):
    """(file, object or None: it goes)"""
    kind = draw.random()
    if kind < 0.2:
        name = draw.choice(NAMES)
        if kind < 0.03:
            return pod_file(name), None
        labels = {"app": draw.choice([split(name)[1], *"abcd"]), **draw.choice([{}, {"extra": draw.choice("12")}])}
        return pod_file(name), pod_manifest(name, labels)
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

    def __init__(self, cluster, first):
        self.cluster = cluster
        self.versions = {file: [obj] for file, obj in first.items()}
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
                    if number not in self.sent:
                        continue  # sent twice, or late
                    flow, verdicts, answered = self.sent.pop(number)
                    assert True in verdicts, f"{flow} passed, by none of {len(self.manifests.models)} sets of manifests"
                    awaited.discard(number)
                    self.passed += 1
                    if answered:
                        sock.sendto(data, source)
        return not awaited

    def send(self, draw):
        """One datagram on each flow. Some may be lost, and arrive in a later burst: until that no edit may be made.

        None is answered. While paths move, an answer that arrives where its flow is not known (any more) begins one in the
        other direction, and each of the two directions has its own policy: the verdicts would be those of the answers.
        """
        fresh = []
        with contextlib.suppress(OSError):
            self._send(draw, set(), fresh, answered=False)
        for sock in fresh:
            sock.close()
        self._collect(set())

    def burst(self, draw):
        """One datagram on each flow, a few of them new ones; fails if one is lost that must arrive. When it returns, all
        of them have been evaluated: no later edit can have allowed one.
        """
        awaited, fresh = set(), []
        with one_processor():
            self._send(draw, awaited, fresh)
            self._fence()
        self._arrived(awaited)
        lost = [self.sent[number][0] for number in awaited]
        assert not lost, (
            f"allowed by all of {len(self.manifests.models)} sets of manifests, and lost: {lost}; sent again, "
            f"{[flow for flow in lost if self._arrives_again(flow)]} arrived"
        )
        for sock in fresh:
            sock.close()
        self.sent.clear()

    def _arrives_again(self, flow):
        """Whether another datagram of a flow that has lost one arrives: what is lost twice is refused."""
        self.number += 1
        self.sent[self.number] = flow, self.manifests.may(*flow[:3]), False
        awaited = {self.number}
        self.clients[flow].send(self.number.to_bytes(8, "big"))
        self._arrived(awaited)
        return not awaited

    def _fence(self):
        for name, family in itertools.product(NAMES, (4, 6)):
            self.cluster.fence(self.cluster.pods[name], family)

    def _arrived(self, awaited):
        """Waits for these. Between nodes, and beside other traffic, a datagram may be later than the fence."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self._collect(awaited), "datagrams", timeout=LATE)

    def _send(self, draw, awaited, fresh, answered=True):
        for flow in self.flows:
            verdicts = self.manifests.may(*flow[:3])
            sock = self.clients[flow]
            if draw.random() < 0.1:
                sock = self._client(*flow)
                fresh.append(sock)
            self.number += 1
            self.sent[self.number] = flow, verdicts, answered
            if verdicts == {True}:
                awaited.add(self.number)
            self.denied += verdicts == {False}
            sock.send(self.number.to_bytes(8, "big"))

    def close(self):
        for sock in [*self.servers.values(), *self.clients.values()]:
            sock.close()
