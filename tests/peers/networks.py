# SPDX-License-Identifier: BSD-2-Clause
"""The networks that are measured, and how each is installed in a cluster."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from control_plane import HERE
from kube_cluster import NODES, agent_pids, replace_agent
from lab import BUILD, REPO
from netns import wait_for

PEERS = Path(os.environ.get("PEERS", REPO / "build/peers")).resolve()
POD_NETWORK = "10.244.0.0/16"  # tests/kube/cluster's
SLOW = 120  # seconds until an agent has come up


class Network:
    """`plugin`: its name at the runtime; `agent`: its process's name; `policy`: whether it enforces policy."""

    settings = {"CNI": "none"}
    plugin, agent, policy = None, None, True

    def __init__(self, name):
        self.name = name
        self.processes = []  # started here; they end with their cluster

    def install(self, cluster):
        """Starts the installation; configured() returns when pods may come."""

    def configured(self, cluster, node):
        return any(cluster.machine(node).outside("/etc/cni/net.d").glob("*.conflist"))

    def agent_pid(self, cluster, node):
        """As seen from here."""
        space = os.readlink(f"/proc/{cluster.machine(node).pid}/ns/pid")
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "comm").read_text() == f"{self.agent}\n" and os.readlink(path / "ns/pid") == space:
                    return int(path.name)
        return None

    def restart(self, cluster, node):
        """Seconds from the start of a new agent until it reports that it is ready; None: it has no such report."""

    def run(self, cluster, node, program, options, **environment):
        """A program of a peer in a node, with its output in a file."""
        log = PEERS / f"log/{self.name}-{node}-{program}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [f"{key}={value}" for key, value in environment.items()]
        argv = [HERE / "cluster", "exec", node, "env", *words, PEERS / "bin" / program, *options]
        with open(log, "a", encoding="utf-8") as file:
            self.processes.append(subprocess.Popen(argv, env=cluster.env, stdin=subprocess.DEVNULL, stdout=file, stderr=file))

    def reap(self):
        """After the cluster's end."""
        for process in self.processes:
            process.wait()
        self.processes.clear()


class Warren(Network):
    """By its manifest, as a DaemonSet."""

    settings = {"CNI": "none", "IMAGES": str(BUILD / "image/warren.tar")}
    plugin, agent = "warren-cni", "warren-agent"

    def __init__(self, name, mode):
        super().__init__(name)
        self.mode = mode

    def install(self, cluster):
        text = (REPO / "examples/kubernetes/warren.yaml").read_text()
        key = "ROUTING_MODE: tunnel"
        assert key in text
        cluster.kubectl("apply", "-f", "-", stdin=text.replace(key, f"ROUTING_MODE: {self.mode}"))

    def agent_pid(self, cluster, node):
        return agent_pids(cluster, node)[node]

    def restart(self, cluster, node):
        old = self.agent_pid(cluster, node)
        replace_agent(cluster, node)
        wait_for(lambda: self.agent_pid(cluster, node) not in (None, old), "another agent", SLOW)
        begin = time.monotonic()

        def in_force():
            with contextlib.suppress(OSError, KeyError, ValueError):
                return cluster.machine(node).agent.status()["enforced"]

        wait_for(in_force, "policy to be enforced", SLOW)
        return time.monotonic() - begin


class Bridge(Network):
    """The reference plugins and static routes: what `cluster` makes itself."""

    settings = {"CNI": "bridge"}
    plugin, policy = "bridge", False


FLANNEL = """
	--kube-subnet-mgr --kubeconfig-file=/run/kube/pki/admin.conf --net-config-path=/etc/flannel.json --iface=eth0 --ip-masq
""".split()


class Flannel(Network):
    """flanneld, and bridge configured from its output, as flannel's own plugin does it."""

    plugin, agent, policy = "bridge", "flanneld", False
    conf = {"Network": POD_NETWORK, "EnableNFTables": True, "Backend": {"Type": "vxlan"}}

    def install(self, cluster):
        for node in NODES:
            cluster.machine(node).outside("/etc/flannel.json").write_text(json.dumps(self.conf))
            self.run(cluster, node, "flanneld", FLANNEL, NODE_NAME=node)

    def configured(self, cluster, node):
        subnet = cluster.machine(node).outside("/run/flannel/subnet.env")
        if not subnet.exists():
            return False
        said = dict(line.split("=", 1) for line in subnet.read_text().split())
        bridge = {"type": "bridge", "bridge": "cni0", "mtu": int(said["FLANNEL_MTU"]), "isDefaultGateway": True, "hairpinMode": True,
                  "ipam": {"type": "host-local", "ranges": [[{"subnet": cluster.get("node", node)["spec"]["podCIDRs"][0]}]],
                           "routes": [{"dst": POD_NETWORK}]}}
        conf = {"cniVersion": "0.4.0", "name": "cbr0",
                "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]}
        directory = cluster.machine(node).outside("/etc/cni/net.d")
        (directory / ".new").write_text(json.dumps(conf))
        (directory / ".new").rename(directory / "10-flannel.conflist")
        return True


HEALTH_PORT = 9879
# Cilium with pods' packets and policy only; IPv4, nothing at layer 7, no clouds. No bpffs but its own: the node's mount
# table has this machine's, too, at the path that the agent uses.
CILIUM = """
	--k8s-kubeconfig-path=/run/kube/pki/admin.conf --k8s-client-qps=100 --k8s-client-burst=200
	--bpf-root=/run/cilium/bpffs --cgroup-root=/sys/fs/cgroup/unified --lib-dir=/var/lib/cilium --state-dir=/run/cilium
	--bpf-map-dynamic-size-ratio=0.0025 --devices=eth0 --enable-ipv4=true --enable-ipv6=false
	--ipam=kubernetes --k8s-require-ipv4-pod-cidr=true --identity-allocation-mode=crd --cluster-id=0 --cluster-name=default
	--enable-bpf-masquerade=true --enable-ipv4-masquerade=true --kube-proxy-replacement=true
	--enable-l7-proxy=false --enable-hubble=false --enable-envoy-config=false
	--enable-health-checking=false --enable-endpoint-health-checking=false --agent-health-port=@
	--cni-exclusive=false --write-cni-conf-when-ready=/etc/cni/net.d/05-cilium.conflist
""".replace("@", str(HEALTH_PORT)).split()
CILIUM_MODES = {
    "vxlan": ("--routing-mode=tunnel", "--tunnel-protocol=vxlan"),
    "native": ("--routing-mode=native", "--auto-direct-node-routes=true", f"--ipv4-native-routing-cidr={POD_NETWORK}"),
}
CILIUM_OPERATOR = """
	--k8s-kubeconfig-path=/run/kube/pki/admin.conf --ipam=kubernetes --cluster-id=0 --cluster-name=default --enable-ipv4=true
	--enable-ipv6=false --identity-allocation-mode=crd --unmanaged-pod-watcher-interval=0 --operator-prometheus-serve-addr=
""".split()
# It writes headers beside its sources, so each node has a copy; and sysctls of the whole machine, one of which cannot
# be undone: it gets files in their place.
CILIUM_PREPARE = f"""
	set -e
	mkdir -p /var/lib/cilium /run/cilium/bpffs /run/cilium-bin
	cp {PEERS}/bin/cilium-cni /opt/cni/bin/
	cp -r {PEERS}/cilium/bpf /var/lib/cilium/bpf
	ln -s "$(command -v clang-19)" /run/cilium-bin/clang
	mount -t bpf bpf /run/cilium/bpffs
	for key in kernel/unprivileged_bpf_disabled kernel/timer_migration net/core/bpf_jit_enable; do
		[ -e /proc/sys/$key ] || continue
		mkdir -p /run/sysctl/${{key%/*}}
		cat /proc/sys/$key >/run/sysctl/$key
		mount --bind /run/sysctl/$key /proc/sys/$key
	done
"""


class Cilium(Network):
    """Agents and operator as plain processes."""

    plugin, agent = "cilium-cni", "cilium-agent"

    def __init__(self, name, mode):
        super().__init__(name)
        self.options = [*CILIUM, *CILIUM_MODES[mode]]

    def install(self, cluster):
        for node in NODES:
            cluster.node(node, "sh", "-c", CILIUM_PREPARE)
        self.start(cluster, "cp", "cilium-operator-generic", CILIUM_OPERATOR)
        for node in NODES:
            self.start(cluster, node, "cilium-agent", self.options)

    def start(self, cluster, node, program, options):
        path = f"/run/cilium-bin:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.run(cluster, node, program, options, PATH=path, K8S_NODE_NAME=node, CILIUM_K8S_NAMESPACE="kube-system")

    def restart(self, cluster, node):
        old = self.agent_pid(cluster, node)
        os.kill(old, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{old}").exists(), "the agent to end")
        begin = time.monotonic()
        self.start(cluster, node, "cilium-agent", self.options)
        wait_for(lambda: self.healthy(cluster.machine(node)), "the agent to be healthy", SLOW)
        return time.monotonic() - begin

    @staticmethod
    def healthy(machine):
        with contextlib.suppress(OSError), machine.tcp_connect("127.0.0.1", HEALTH_PORT, 1) as sock:
            sock.sendall(b"GET /healthz HTTP/1.0\r\nbrief: true\r\n\r\n")
            return b" 200 " in sock.recv(64)
        return False


NETWORKS = {
    "warren": lambda name: Warren(name, "tunnel"),
    "warren-direct": lambda name: Warren(name, "direct"),
    "bridge": Bridge,
    "flannel": Flannel,
    "cilium-vxlan": lambda name: Cilium(name, "vxlan"),
    "cilium-native": lambda name: Cilium(name, "native"),
}
