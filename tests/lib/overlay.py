# SPDX-License-Identifier: BSD-2-Clause
"""Several nodes: an underlay that joins them, an agent in each, pods, and the manifests that all of them read."""

import contextlib
import os

from agent import MANIFESTS, Agent
from cluster import Probed
from connect import arrives_at, connects, fence
from lab import BUILD, Node, network
from manifests import namespace, node_object, pod_file, pod_object
from netns import Wire, wait_for
from underlay import Underlay

ALL = (4, 6)
KEY = "/run/cluster.key"


class Member(Node):
    """A node of a cluster; its number is in its addresses. `families`: of its pods; `outer`: of its Node's addresses."""

    def __init__(self, cluster, number, cidr=None, families=ALL, outer=ALL):
        super().__init__(build=cluster.build)
        self.cluster, self.number, self.label = cluster, number, f"n{number}"
        cidr = cidr or number
        prefix = {4: f"10.87.{cidr}.", 6: f"fd00:87:0:{cidr:x}::"}
        self.cidr = {f: prefix[f] + {4: "0/24", 6: "/64"}[f] for f in families}
        self.gateway = {f: f"{prefix[f]}1" for f in families}
        self.address = {f: cluster.underlay.address(number, f) for f in outer}
        self.agent = None
        # The defaults of today's distributions; tunnel traffic must not need weaker ones.
        self.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1")
        cluster.underlay.join(self, number)
        self.run("sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=1")

    def object(self, **changes):
        parts = {"cidrs": list(self.cidr.values()), "addresses": list(self.address.values()), **changes}
        return node_object(self.label, parts["cidrs"], parts["addresses"])

    def start(self, wait=True):
        self.outside(KEY).write_bytes(self.cluster.key)
        self.agent = Agent(self, "--node-name", self.label, "--cluster-key", KEY, *self.cluster.options, wait=wait)

    def __exit__(self, *_):
        if self.agent:
            self.agent.close()
        super().__exit__()

    def known(self):
        """{name: the agent's entry of that node}."""
        return {node["name"]: node for node in self.agent.ask("nodes")["nodes"]}

    @property
    def uplink_mac(self):
        return self.ip("link", "show", "eth0")[0]["address"]


class Overlay(Probed):
    """`mode` tunnel, direct or auto; `outer` the family of the tunnels (None: that of the nodes' addresses); `options`
    the agents'; `build` the directory of their programs; others are the underlay's. The agents make the nodes.
    """

    UNDERLAY = Underlay

    def __init__(self, nodes=2, mode="tunnel", outer=4, options=(), build=BUILD, **underlay):
        super().__init__()
        self.build = build
        self.mode, self.outer, self.key = mode, outer, os.urandom(16)
        self.options = ["--routing-mode", mode, "--underlay", f"ipv{outer}" if outer else "auto", *options]
        self.nodes = {}
        self.stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self.stack)
            self.underlay = self.stack.enter_context(self.UNDERLAY(**underlay))
            self.write("namespaces", namespace("default"), namespace("other", team="other"))
            for number in range(1, nodes + 1):
                self.route_to_pods(self.add_node(number))
            undo.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end_probes()
        self.stack.close()

    # --- nodes ---

    def add_node(self, number, announce=True, **kwargs):
        """A node with an agent that has the manifests of the others; `announce`: and they have its own."""
        node = Member(self, number, **kwargs)
        self.stack.push(node)
        self.nodes[node.label] = node
        self.manifests[f"node-{node.label}"] = [node.object()]
        node.outside(MANIFESTS).mkdir()
        for name, objects in self.manifests.items():
            self._write_to(node, name, objects)
        node.start()
        if announce:
            self.write(f"node-{node.label}", node.object())
            self.wait_applied()
        return node

    def route_to_pods(self, node):
        """Routes to the pods, as a routed network has them: so that the world reaches them."""
        for family, cidr in node.cidr.items():
            self.underlay.run("ip", f"-{family}", "route", "add", cidr, "via", node.address[family])

    def destroy(self, node):
        """Like a power failure. Its manifests stay."""
        for name in [name for name, pod in self.pods.items() if pod.node is node]:
            del self.pods[name]
        del self.nodes[node.label]
        node.__exit__()

    # --- manifests ---

    @staticmethod
    def _write_to(node, name, objects):
        Agent.write_into(node.outside(MANIFESTS), f"{name}.json", *objects)

    def write(self, name, *objects, to=None):
        """Renames a manifest into place, at all nodes or at these."""
        if to is None:
            self.manifests[name] = objects
        for node in self.nodes.values() if to is None else to:
            self._write_to(node, name, objects)

    def unlink(self, name):
        del self.manifests[name]
        for node in self.nodes.values():
            (node.outside(MANIFESTS) / f"{name}.json").unlink()

    def wait_applied(self):
        for node in self.nodes.values():
            if node.agent and node.agent.proc:
                node.agent.wait_applied()

    def wait_resolved(self):
        """Until the nodes have each other's MAC address: over IPv6 the first solicitation is lost now and then, and the
        next one follows a second later. The agent waits for the address of one family only; packets of pods that go
        without a tunnel need that of their own.
        """
        for node in self.nodes.values():
            wait_for(lambda: all(n["resolved"] or n["own"] for n in node.known().values()), "next hops to be resolved")
            for other in self.nodes.values():
                for address in other.address.values() if other is not node else ():
                    wait_for(lambda: node.ping(address, check=False), "a reply of the other node")

    # --- pods ---

    def pod_manifest(self, name, node, ips=(), **labels):
        manifest = pod_object(name, labels)
        manifest["spec"]["nodeName"] = node.label
        if ips:
            manifest["status"].update(podIP=ips[0], podIPs=[{"ip": ip} for ip in ips])
        return manifest

    def pod(self, name, node, chain=(), runtime=None, announce=True, **labels):
        """A pod at `node` and its manifest, which all nodes have when it returns."""
        node = self.nodes.get(node, node)
        file = pod_file(name)
        self.write(file, self.pod_manifest(name, node, **labels), to=None if announce else [node])
        conf = network(policy="agent", ipam={"ranges": [[{"subnet": cidr}] for cidr in node.cidr.values()]})
        if chain:
            conf["cniVersion"] = "1.0.0"
        pod = self.add_pod(node, name, conf, chain, runtime)
        pod.labels = labels
        if announce:
            self.apply(file, self.pod_manifest(name, node, list(pod.ips.values()), **labels))
        return pod

    def relabel(self, name, to=None, **labels):
        pod = self.pods[name]
        self.apply(pod_file(name), self.pod_manifest(name, pod.node, list(pod.ips.values()), **labels), to=to)

    def identity(self, name):
        """Of a pod, from its own node's agent."""
        return self.pods[name].node.agent.identity(self.pods[name])

    def pod_mtu_probe(self):
        """The MTU that a new pod gets."""
        pod = self.pod("default/probe", next(iter(self.nodes)))
        mtu = pod.ip("link", "show", "eth0")[0]["mtu"]
        self.delete("default/probe")
        return mtu

    # --- probes ---

    def sides(self):
        """hostN: a node's host by its gateway address; nodeN: by its own; beyond, which is the world."""
        yield "beyond", self.underlay, Underlay.BEYOND
        for node in self.nodes.values():
            yield f"node{node.number}", node, node.address
            if any(pod.node is node for pod in self.pods.values()):
                yield f"host{node.number}", node, node.gateway

    def is_masqueraded(self, src, dst):
        if src not in self.pods or dst in self.pods or dst.startswith("host"):
            return False
        return dst != f"node{self.pods[src].node.number}"

    # --- one flow: the fence goes to the world, which is farther than any node ---

    def connects(self, client, server, family, port=0):
        return connects(client, server, family, port, via=Underlay.BEYOND[family])

    def arrives_at(self, client, address, port, receivers, protocol="tcp"):
        return arrives_at(client, address, port, receivers, protocol, via=Underlay.BEYOND[6 if ":" in address else 4])

    def fence(self, client, family):
        fence(client, family, via=Underlay.BEYOND[family])

    # --- the wire ---

    def capture(self):
        """All that passes between the nodes; each packet once, where it comes in."""
        return Wire(self.underlay)
