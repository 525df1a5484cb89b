# SPDX-License-Identifier: BSD-2-Clause
"""Paths between two pods of different nodes, which a veth pair joins, against the kernel's own routing without a
tunnel; and what a cluster's size and a node's joining cost.
"""

import re
import secrets
import socket
import time

import datapath
import services
from datapath import FAMILIES, Figure, Mode, Suite
from nodes import HOST_SYSCTLS, SYSCTLS, BenchError, Path, build_paths, netns_add, policies, run, wire, write_sysctls
from report import Row, say

from agent import Agent
from lab import Node, Pod, network
from manifests import namespace, node_object, pod_object
from overlay import ALL, KEY

SUITE = Suite("cross", baseline="routed", modes=(
    Mode("rr", [Figure("rr_p50", "p50", "us", 1e-3), Figure("rr_p99", "p99", "us", 1e-3)]),
    Mode("crr", [Figure("crr_p50", "p50", "us", 1e-3), Figure("crr_mean", "mean", "us", 1e-3)]),
    Mode("udp", [Figure("udp", "rate", "kpps", 1e-3)]),
    Mode("stream", [Figure("stream", "cpu_rate", "Gb/s", 1e-9)]),
    Mode("receive", [Figure("stream_2_cpus", "rate", "Gb/s", 1e-9)]),
))
MANY = 5000
MANY_FIGURES = ("rr_p50", "crr_p50")
KEYED_FIGURES = ("rr_p50", "crr_p50", "udp")


class CrossPath(Path):
    """Pod a on one node, pod b on another. Of each node (0 and 1) by family: its address, its pods' prefix."""

    def address(self, i, family):
        return {4: f"172.31.{self.number}.{i + 1}", 6: f"fd01:{self.number}::{i + 1}"}[family]

    def prefix(self, i, family):
        return {4: f"10.{self.number}.{i}", 6: f"fd00:{self.number}:0:{i}:"}[family]

    def cidr(self, i, family):
        return {4: f"{self.prefix(i, 4)}.0/24", 6: f"{self.prefix(i, 6)}:/64"}[family]

    def join(self, *hosts):
        """Gives both their eth0."""
        run("ip", "link", "add", "eth0", "netns", hosts[0], "type", "veth", "peer", "name", "eth0", "netns", hosts[1])

    def underlay(self, *hosts):
        self.hosts = hosts
        self.join(*hosts)
        for i, host in enumerate(hosts):
            run("ip", "address", "add", f"{self.address(i, 4)}/24", "dev", "eth0", netns=host)
            run("ip", "address", "add", f"{self.address(i, 6)}/64", "dev", "eth0", netns=host)
            run("ip", "link", "set", "eth0", "up", netns=host)


class Routed(CrossPath):
    """The hosts' stacks route: the minimum that the kernel itself needs between two nodes."""

    def build(self):
        self.underlay(*[netns_add(f"{self.name}-host-{i}", host=True) for i in (0, 1)])
        for i, host in enumerate(self.hosts):
            wire(host, self.prefix(i, 4), self.prefix(i, 6), "p0", self.pods[i])
        self.target = {"v4": f"{self.prefix(1, 4)}.2", "v6": f"{self.prefix(1, 6)}:2"}
        for i, host in enumerate(self.hosts):
            self.reach(host, i)

    def reach(self, host, i):
        """Leads from node i to the other one's pods."""
        for family in ALL:
            run("ip", f"-{family}", "route", "add", self.cidr(1 - i, family), "via", self.address(1 - i, family), netns=host)


class Lan:
    """The nodes are joined by a switch, on which the client outside is, too: `lan`, which uses the first node as the
    router to the pods.
    """

    def join(self, *hosts):
        self.lan = netns_add(f"{self.name}-lan")
        run("ip", "link", "add", "lan", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0", netns=self.lan)
        for i, host in enumerate(hosts):
            run("ip", "link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", f"port{i}", "netns", self.lan)
            run("ip", "link", "set", f"port{i}", "master", "lan", "up", netns=self.lan)
            write_sysctls(host, {"net/ipv4/conf/all/send_redirects": 0, "net/ipv4/conf/eth0/send_redirects": 0})
        run("ip", "link", "set", "lan", "up", netns=self.lan)
        for family, length in ((4, 24), (6, 64)):
            run("ip", "address", "add", f"{self.address(252, family)}/{length}", "dev", "lan", netns=self.lan)
            run("ip", f"-{family}", "route", "add", self.cidr(1, family), "via", self.address(0, family), netns=self.lan)
        write_sysctls(self.lan, {"net/ipv6/conf/lan/accept_redirects": 0, "net/ipv4/conf/lan/accept_redirects": 0})


class RoutedLan(Lan, Routed):
    pass


class Vxlan(Routed):
    """The same through the kernel's VXLAN device, over IPv4, without checksums: an L3 overlay as flannel builds it."""

    def reach(self, host, i):
        run("ip", "link", "add", "vx0", "type", "vxlan", "id", "1", "local", self.address(i, 4), "remote",
            self.address(1 - i, 4), "dev", "eth0", "dstport", "4789", "nolearning", "noudpcsum", netns=host)
        inside = {4: f"192.168.{self.number}.{{}}", 6: f"fd02:{self.number}::{{}}"}
        for family, length in ((4, 24), (6, 64)):
            run("ip", "address", "add", f"{inside[family].format(i + 1)}/{length}", "dev", "vx0", netns=host)
        run("ip", "link", "set", "vx0", "up", netns=host)
        for family in ALL:
            run("ip", f"-{family}", "route", "add", self.cidr(1 - i, family), "via", inside[family].format(2 - i), netns=host)
        run("ip", "link", "set", "eth0", "mtu", "1450", netns=self.pods[i])


class Tunnel(CrossPath):
    """Warren with its agent at either end. The pods are isolated both ways, as those of warren-policy are."""

    mode = "tunnel"
    options = ()  # the agents' others
    others = 0  # nodes beside the two
    cluster_key = secrets.token_bytes(16)

    policies = staticmethod(policies)

    def make_pods(self):
        return []

    def build(self):
        self.nodes = [Node() for _ in (0, 1)]
        hosts = [str(node.outside(node.path)) for node in self.nodes]
        for host in hosts:
            write_sysctls(host, {**SYSCTLS, **HOST_SYSCTLS})
        self.underlay(*hosts)
        self.agents = [self.start(node, i) for i, node in enumerate(self.nodes)]
        pods = [self.pod(i, app) for i, app in enumerate(("client", "server"))]
        self.pod_a, self.pod_b = pods
        self.pods = [str(pod.node.outside(pod.path)) for pod in pods]
        self.target = {f"v{family}": pods[1].ips[family] for family in ALL}
        self.applied()

    def start(self, node, i):
        # The other nodes' addresses: routed through the one that exists.
        for family, net in ((4, "198.18.0.0/15"), (6, "fd03::/16")):
            run("ip", f"-{family}", "route", "add", net, "via", self.address(1 - i, family),
                netns=self.hosts[i])
        node.warren("node", "init")
        node.outside(KEY).write_bytes(self.cluster_key)
        agent = Agent(node, "--node-name", f"n{i}", "--cluster-key", KEY, "--routing-mode", self.mode, "--underlay", "ipv4",
                      *self.options, log_level="info")
        agent.write("policies.json", namespace("default"), *self.policies())
        for n in (0, 1):
            agent.write(f"n{n}.json", self.node(n))
        if self.others:
            agent.write("others.json", *map(self.other, range(self.others)))
        return agent

    def node(self, i):
        return node_object(f"n{i}", [self.cidr(i, f) for f in ALL], [self.address(i, f) for f in ALL])

    @staticmethod
    def other(n):
        high, low = n >> 8, n & 255
        return node_object(f"other{n}", [f"100.{64 + high}.{low}.0/24", f"fd04:0:0:{n:x}::/64"],
                           [f"198.18.{high}.{low}", f"fd03::{n:x}"])

    def pod(self, i, app, name=None):
        """A pod of node i; both nodes have its object."""
        name = name or app
        node, manifest = self.nodes[i], pod_object(name, {"app": app})
        manifest["spec"]["nodeName"] = f"n{i}"
        self.agents[i].write(f"pod-{name}.json", manifest)
        conf = network(policy="agent", ipam={"ranges": [[{"subnet": self.cidr(i, f)}] for f in ALL]})
        pod = Pod(node, name, conf, args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}")
        write_sysctls(str(node.outside(pod.path)), SYSCTLS)
        pod.add()
        ips = list(pod.ips.values())
        manifest["status"].update(podIP=ips[0], podIPs=[{"ip": ip} for ip in ips])
        for agent in self.agents:
            agent.write(f"pod-{name}.json", manifest)
        return pod

    def applied(self):
        for agent in self.agents:
            agent.wait_applied(timeout=60)


class Direct(Tunnel):
    """Without encapsulation: to the other node's MAC address, identities from the agents."""

    mode = "direct"


class TunnelKeyed(Tunnel):
    """Tunnel packets must carry the keyed tag."""

    options = ("--tunnel-key", "require")


class Tunnel5000(Tunnel):
    others = MANY - 2


class TunnelLan(Lan, Tunnel):
    """Its pods accept everybody."""

    @staticmethod
    def policies():
        return policies(ingress=[{}])


PATHS = {"routed": Routed, "vxlan": Vxlan, "tunnel": Tunnel, "tunnel-keyed": TunnelKeyed, f"tunnel-{MANY}": Tunnel5000, "node-direct": Direct}
NEEDED_BY = {f"tunnel-{MANY}": "tunnel", "tunnel-keyed": "tunnel"}  # what else a path is compared with
FIRST_NUMBER = 32


def chosen(only):
    """Those paths that `only` names, with what they are compared with."""
    names = {name for name in PATHS if re.search(only, name)}
    names |= {NEEDED_BY[name] for name in names if name in NEEDED_BY}
    return {name: make for name, make in PATHS.items() if names and name in names | {SUITE.baseline}}


def measure(args):
    """The rows, and what failed."""
    makes, failures = chosen(args.only), []
    if makes:
        say("nodes")
    paths = build_paths(makes, args.build, failures, needed=[SUITE.baseline], optional=["vxlan"], first_number=FIRST_NUMBER)
    if not paths:
        return [], failures
    rounds = datapath.Datapath(args.build, paths, args.seconds, SUITE)
    rounds.run(args.rounds)
    rows = [*rounds.rows(), *many_rows(rounds), *keyed_rows(rounds)]
    tunnel = next((path for path in paths if path.name == "tunnel"), None)
    if tunnel:
        try:
            more, failed = services.measure(args, "service-cross", tunnel, tunnel.agents[0])
            rows += more
            failures += failed
            rows += join(tunnel, 10 if args.quick else 50)
        except (BenchError, AssertionError, OSError) as error:
            failures.append(f"join: {error}")
    return rows, failures + rounds.failures


def measure_nodeport(args, failures):
    """From outside to a pod of another node than the one that the client uses."""
    makes = {"routed-lan": RoutedLan, "tunnel-lan": TunnelLan}
    paths = build_paths(makes, args.build, failures, needed=makes, first_number=FIRST_NUMBER + len(PATHS))
    if not paths:
        return []
    rows, failed = services.measure_nodeport(args, *paths)
    failures += failed
    return rows


def many_rows(rounds):
    """The same tunnel with MANY nodes in the maps, against two, in the same rounds."""
    for figure in (figure for mode in SUITE.modes for figure in mode.figures if figure.name in MANY_FIGURES):
        for family in FAMILIES:
            yield from rounds.row(figure, family, f"tunnel-{MANY}", baseline="tunnel",
                                  name=f"nodes.{MANY}_{figure.name}.{family}")


def keyed_rows(rounds):
    """The tunnel with the keyed tag, against the one without, in the same rounds."""
    for figure in (figure for mode in SUITE.modes for figure in mode.figures if figure.name in KEYED_FIGURES):
        for family in FAMILIES:
            yield from rounds.row(figure, family, "tunnel-keyed", baseline="tunnel",
                                  name=f"nodes.keyed_{figure.name}.{family}")


# --- a node joins -----------------------------------------------------------------------------------------------------

def join(path, times):
    """From the rename of a Node's manifest until a pod that keeps sending has its first datagram delivered there."""
    say("join")
    rows = []
    for family in ALL:
        took = [join_once(path, family) for _ in range(times)]
        rows.append(Row.plain(f"nodes.join_v{family}", "ms", took))
        rows.append(Row.plain(f"nodes.join_max_v{family}", "ms", took, value=max(took)))
    return rows


def join_once(path, family):
    agent = path.agents[0]
    agent.remove("n1.json")
    agent.wait_applied()
    target = path.target[f"v{family}"]
    with path.pod_b.udp(family, address=target) as server, path.pod_a.udp(family) as client:
        server.settimeout(0.0005)
        client.connect((target, server.getsockname()[1]))
        if delivered(client, server):
            raise BenchError("join: there is a way to a node that has gone")
        begin = time.monotonic()
        agent.write("n1.json", path.node(1))
        while not delivered(client, server):
            if time.monotonic() > begin + 10:
                raise BenchError("join: no datagram is delivered")
        took = (time.monotonic() - begin) * 1e3
    agent.wait_applied()
    return took


def delivered(client, server):
    """Whether a datagram comes through in half a millisecond. An ICMP error to one before it does not matter."""
    try:
        client.send(b"x")
    except OSError:
        pass
    try:
        return bool(server.recv(16))
    except (socket.timeout, BlockingIOError):
        return False
