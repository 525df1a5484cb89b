# SPDX-License-Identifier: BSD-2-Clause
"""Several nodes: an underlay that joins them, an agent in each, pods, the manifests that all of them read, and what is
seen on the wire between them.
"""

import contextlib
import itertools
import os
import socket
import struct

from agent import Agent
from lab import HOST_MAC, Node, Underlay, Wire, network, wait_for
from policy_lab import SERVICES, Flow, Prober, namespace, pod_object, split

ALL = (4, 6)
KEY = "/run/cluster.key"
PORT = 6081
VNI = 1
OPTION = (0xFFF1, 0x01)  # class, type
HEADERS = 8 + 8 + 4 + 8 + 14  # UDP, Geneve, option, inner Ethernet
OVERHEAD = {4: 20 + HEADERS, 6: 40 + HEADERS}
REMOTE_NODE, WORLD = 3, 2
IP_HEADER = {4: 20, 6: 40}


def node_object(name, cidrs, addresses):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)},
        "status": {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]},
    }


class Member(Node):
    """A node of a cluster; its number is in its addresses."""

    def __init__(self, cluster, number, cidr=None):
        super().__init__()
        self.cluster, self.number, self.label = cluster, number, f"n{number}"
        cidr = cidr or number
        self.cidr = {4: f"10.87.{cidr}.0/24", 6: f"fd00:87:0:{cidr:x}::/64"}
        self.gateway = {4: f"10.87.{cidr}.1", 6: f"fd00:87:0:{cidr:x}::1"}
        self.address = {f: cluster.underlay.address(number, f) for f in ALL}
        self.agent = None
        # A node's own defaults of today's distributions; nothing that comes through the tunnel may need them weaker.
        self.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1")
        cluster.underlay.join(self, number)
        self.run("sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=1")
        if cluster.init:
            self.warren("node", "init")

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
        """{name: what the agent says of that node}."""
        return {node["name"]: node for node in self.agent.ask("nodes")["nodes"]}

    @property
    def uplink_mac(self):
        return self.ip("link", "show", "eth0")[0]["address"]


class Overlay:
    """`mode` tunnel, direct or auto; `outer` the family of the tunnels (None: that of the nodes' addresses); without
    `init` the agents alone make the nodes; other options are the underlay's.
    """

    UNDERLAY = Underlay

    def __init__(self, nodes=2, mode="tunnel", outer=4, init=True, **underlay):
        self.mode, self.outer, self.init, self.key = mode, outer, init, os.urandom(16)
        self.options = ["--routing-mode", mode, "--underlay", f"ipv{outer}" if outer else "auto"]
        self.manifests = {}  # name: objects, as everybody has them
        self.pods, self.nodes = {}, {}
        self._prober = None
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
        node.outside("/run/manifests").mkdir()
        for name, objects in self.manifests.items():
            self._write_to(node, name, objects)
        node.start()
        if announce:
            self.write(f"node-{node.label}", node.object())
            self.wait_applied()
        return node

    def route_to_pods(self, node):
        """As a network that knows where pods are does: so that the world reaches them."""
        for family in ALL:
            self.underlay.run("ip", f"-{family}", "route", "add", node.cidr[family], "via", node.address[family])

    def destroy(self, node):
        """As if its power had failed. Its manifests stay."""
        for name in [name for name, pod in self.pods.items() if pod.node is node]:
            del self.pods[name]
        del self.nodes[node.label]
        node.__exit__()

    # --- manifests ---

    @staticmethod
    def _write_to(node, name, objects):
        Agent.write_into(node.outside("/run/manifests"), f"{name}.json", *objects)

    def write(self, name, *objects, to=None):
        """Renames a manifest into place, at all nodes or at these."""
        if to is None:
            self.manifests[name] = objects
        for node in self.nodes.values() if to is None else to:
            self._write_to(node, name, objects)

    def apply(self, name, *objects, to=None):
        self.write(name, *objects, to=to)
        self.wait_applied()

    def remove(self, *names):
        for name in names:
            del self.manifests[name]
            for node in self.nodes.values():
                (node.outside("/run/manifests") / f"{name}.json").unlink()
        self.wait_applied()

    def wait_applied(self):
        for node in self.nodes.values():
            if node.agent and node.agent.proc:
                node.agent.wait_applied()

    def wait_resolved(self):
        """Until the nodes know each other's MAC address: over IPv6 the first solicitation is lost now and then, and the next one
        goes a second later.
        """
        for node in self.nodes.values():
            wait_for(lambda: all(n["resolved"] or n["own"] for n in node.known().values()), "next hops to be resolved")

    # --- pods ---

    def pod_manifest(self, name, node, ips=(), **labels):
        manifest = pod_object(name, labels)
        manifest["spec"]["nodeName"] = node.label
        manifest["status"].update(podIP=ips[0], podIPs=[{"ip": ip} for ip in ips]) if ips else None
        return manifest

    def pod(self, name, node, chain=(), runtime=None, announce=True, **labels):
        """A pod at `node` and its manifest, which all nodes have when it returns."""
        node = self.nodes.get(node, node)
        namespace, short = split(name)
        file = f"pod-{namespace}-{short}"
        self.write(file, self.pod_manifest(name, node, **labels), to=None if announce else [node])
        conf = network(policy="agent", ipam={"ranges": [[{"subnet": node.cidr[f]}] for f in ALL]})
        if chain:
            conf["cniVersion"] = "1.0.0"
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={short}"
        pod = self.pods[name] = node.pod(short, [conf, *chain] if chain else conf, args=args, runtime=runtime)
        pod.labels = labels
        if announce:
            self.apply(file, self.pod_manifest(name, node, list(pod.ips.values()), **labels))
        return pod

    def relabel(self, name, to=None, **labels):
        pod = self.pods[name]
        file = "pod-{}-{}".format(*split(name))
        self.apply(file, self.pod_manifest(name, pod.node, list(pod.ips.values()), **labels), to=to)

    def delete(self, name):
        if self._prober and name in self._prober.sides:
            self._prober.remove(name)
        self.pods.pop(name).delete()
        file = "pod-{}-{}".format(*split(name))
        if file in self.manifests:
            self.remove(file)

    def pod_mtu_probe(self):
        """The MTU that a new pod gets."""
        pod = self.pod("default/probe", next(iter(self.nodes)))
        mtu = pod.ip("link", "show", "eth0")[0]["mtu"]
        self.delete("default/probe")
        return mtu

    # --- probes ---

    @property
    def prober(self):
        """Sides: pods; hostN, a node's host by its gateway address; nodeN, by its own; beyond, which is the world."""
        if not self._prober:
            self._prober = Prober(*self.nodes.values())
            self._prober.add("beyond", self.underlay, Underlay.BEYOND)
            for node in self.nodes.values():
                self._prober.add(f"node{node.number}", node, node.address)
        for node in self.nodes.values():
            name = f"host{node.number}"
            if name not in self._prober.sides and any(pod.node is node for pod in self.pods.values()):
                self._prober.add(name, node, node.gateway)
        for name, pod in self.pods.items():
            if name not in self._prober.sides:
                self._prober.add(name, pod, pod.ips)
        return self._prober

    def end_probes(self):
        if self._prober:
            self._prober.close()
            self._prober = None

    def flows(self, services=SERVICES):
        """Every probe there is: pods with pods, with every node by both of its addresses, with the world."""
        others = [name for name in self.prober.sides if "/" not in name]
        pairs = [*itertools.permutations(self.pods, 2)]
        pairs += [pair for name in self.pods for other in others for pair in ((name, other), (other, name))]
        for (src, dst), family, service in itertools.product(pairs, ALL, services):
            if not (service.startswith("sctp") and self.is_masqueraded(src, dst)):
                yield Flow(src, dst, family, service)

    def is_masqueraded(self, src, dst):
        """This kernel's masquerading does not know SCTP."""
        if src not in self.pods or dst in self.pods or dst.startswith("host"):
            return False
        return dst != f"node{self.pods[src].node.number}"

    def check(self, expectation, flows=None):
        return self.prober.check(expectation, flows if flows is not None else self.flows())

    # --- the wire ---

    def capture(self):
        """All that passes between the nodes; each packet once, where it comes in."""
        return Wire(self.underlay)


# --- what is on the wire ----------------------------------------------------------------------------------------------


class Tunnelled:
    """A Geneve packet, taken apart without any of our code. Anything that RFC 8926 and the contract rule out fails."""

    def __init__(self, frame):
        self.frame = frame
        ethertype = struct.unpack_from("!H", frame, 12)[0]
        self.outer = {0x0800: 4, 0x86DD: 6}[ethertype]
        at = 14 + IP_HEADER[self.outer]
        if self.outer == 4:
            self.tos, self.id, self.frag, self.hop_limit = (
                frame[15], *struct.unpack_from("!HH", frame, 18), frame[22]
            )
            assert frame[14] == 0x45, "IPv4 options"
            self.size = struct.unpack_from("!H", frame, 16)[0]
            assert self.frag == 0x4000, f"DF alone is to be set: {self.frag:#x}"
            self.addresses = [".".join(map(str, frame[i : i + 4])) for i in (26, 30)]
        else:
            self.tos = struct.unpack_from("!H", frame, 14)[0] >> 4 & 0xFF
            self.hop_limit = frame[21]
            self.size = struct.unpack_from("!H", frame, 18)[0] + 40

            self.addresses = [socket.inet_ntop(socket.AF_INET6, frame[i : i + 16]) for i in (22, 38)]
        self.sport, self.dport, length, checksum = struct.unpack_from("!4H", frame, at)
        assert length == self.size - IP_HEADER[self.outer], "UDP and IP length differ"
        assert checksum == 0
        head, flags, protocol = struct.unpack_from("!BBH", frame, at + 8)
        assert head >> 6 == 0 and protocol == 0x6558
        self.vni = int.from_bytes(frame[at + 12 : at + 15], "big")
        assert flags == 0 and frame[at + 15] == 0, "O, C or reserved bits"
        self.options, i, end = [], at + 16, at + 16 + (head & 63) * 4
        while i < end:
            klass, kind, words = struct.unpack_from("!HBB", frame, i)
            words &= 31
            self.options.append((klass, kind, frame[i + 4 : i + 4 + words * 4]))
            i += 4 + words * 4
        assert i == end
        self.inner_frame = frame[end : 14 + self.size]
        self.inner_family = {0x0800: 4, 0x86DD: 6}[struct.unpack_from("!H", self.inner_frame, 12)[0]]
        self.inner = self.inner_frame[14:]

    @property
    def identity(self):
        (option,) = self.options
        assert option[:2] == OPTION and len(option[2]) == 8
        return int.from_bytes(option[2], "big")


def is_tunnel(frame):
    ethertype = struct.unpack_from("!H", frame, 12)[0]
    if ethertype == 0x0800:
        at, protocol = 14 + (frame[14] & 15) * 4, frame[23]
    elif ethertype == 0x86DD:
        at, protocol = 54, frame[20]
    else:
        return False
    return protocol == 17 and struct.unpack_from("!H", frame, at + 2)[0] == PORT


def inner_ends(family, packet):
    """Source and destination of an IP packet."""

    size, at = {4: (4, 12), 6: (16, 8)}[family]
    kind = {4: socket.AF_INET, 6: socket.AF_INET6}[family]
    return tuple(socket.inet_ntop(kind, packet[i : i + size]) for i in (at, at + size))


def geneve(src, dst, inner, identity=None, sport=50000, vni=VNI, options=None, **fields):
    """A hand-made UDP payload and its outer headers, as scapy's layers: what an attacker or another node sends."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

    return (IPv6 if ":" in src else IP)(src=src, dst=dst) / UDP(sport=sport, dport=PORT, chksum=0) / geneve_payload(
        inner, identity, vni, options, **fields
    )


def geneve_payload(inner, identity=None, vni=VNI, options=None, version=0, flags=0, protocol=0x6558):
    """`inner`: an IP packet (scapy's, or bytes)."""
    from scapy.layers.l2 import Ether

    if options is None:
        options = b"" if identity is None else struct.pack("!HBBQ", *OPTION, 2, identity)
    data = bytes(inner)
    ethertype = {4: 0x0800, 6: 0x86DD}[data[0] >> 4]
    frame = bytes(Ether(src=HOST_MAC, dst=HOST_MAC, type=ethertype)) + data
    head = struct.pack("!BBH", version << 6 | len(options) // 4, flags, protocol) + (vni << 8).to_bytes(4, "big")
    return head + options + frame
