# SPDX-License-Identifier: BSD-2-Clause
"""The measurements in a cluster with one of the networks."""

import contextlib
import ipaddress
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import datapath
from datapath import Figure, Mode, Suite
from kube_cluster import NODES, made_space, pod
from lab import BUILD
from manifests import pods as with_labels
from manifests import policy, port, sources, targets
from networks import SLOW
from nodes import SYSCTLS, run, write_sysctls
from netns import wait_for
from policy_latency import NewFlows, label_times, policy_times

PORT = 5001  # of `load`
BASELINE = "direct"
SUITE = Suite("", BASELINE, (
    Mode("rr", [Figure("rr_p50", "p50", "us", 1e-3)]),
    Mode("crr", [Figure("crr_p50", "p50", "us", 1e-3)]),
    Mode("udp", [Figure("udp", "rate", "kpps", 1e-3)]),
    Mode("stream", [Figure("stream", "cpu_rate", "Gb/s", 1e-9)]),
))
FIGURES = [figure for mode in SUITE.modes for figure in mode.figures]
PAUSE = 1.2  # s before each change: Cilium takes those of one second together, and here each is to be the first
BURST = 20  # pods at once


# --- traffic -----------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Link:
    """A path for datapath.Datapath: network namespaces of client and server, the server's address by family."""

    name: str
    pods: list
    target: dict
    receiver_tasks = ()
    server_port = None


def make_baselines(cluster):
    """A veth pair, and two namespaces on the bridge that also joins the nodes ("wire"); they end with the cluster."""
    cluster.holder_shell("""
        for name in direct1 direct2 wire1 wire2; do ip netns add $name; done
        ip link add eth0 netns direct1 type veth peer name eth0 netns direct2
        for i in 1 2; do ip link add wire$i master br0 up type veth peer name eth0 netns wire$i; done
    """)
    links = []
    for name, net4, net6 in (("direct", "10.99.0.200", "fd99::200"), ("wire", "10.10.0.200", "fd10::200")):
        spaces = [f"/proc/{cluster.holder.pid}/root/run/netns/{name}{i}" for i in (1, 2)]
        ips = [{"v4": str(ipaddress.ip_address(net4) + i), "v6": str(ipaddress.ip_address(net6) + i)} for i in (1, 2)]
        for space, ip in zip(spaces, ips):
            write_sysctls(space, SYSCTLS)
            words = [f"address add {ip['v4']}/24 dev eth0", f"address add {ip['v6']}/64 dev eth0 nodad", "link set eth0 up"]
            run("ip", "-batch", "-", netns=space, stdin="\n".join(words))
        links.append(Link(name, spaces, ips[1]))
    return links


def pod_link(name, client, server):
    paths = [f"/proc/{os.getpid()}/fd/{end.fd}" for end in (client, server)]
    return Link(name, paths, {f"v{family}": ip for family, ip in server.ips.items()})


def allow(space):
    """Isolates all pods of the bench in both directions, and allows the traffic of `load`."""
    ports, peer = [port(PORT), port(PORT, "UDP")], with_labels(bench="yes")
    return policy(f"{space}/bench", {"bench": "yes"}, ingress=[sources(peer, ports=ports)], egress=[targets(peer, ports=ports)])


def answered(link):
    """One short measurement, repeated until it succeeds."""
    target = link.target["v4"]
    argv = [BUILD / "bench/load", "-t", "0.01", "rr", link.pods[1], link.pods[0], target]
    return subprocess.run(list(map(str, argv)), capture_output=True, check=False).returncode == 0


def traffic(links, samples, rounds, seconds):
    """Adds to `samples` of the same network in earlier clusters."""
    for link in links:
        for space in link.pods:
            write_sysctls(space, SYSCTLS)
        wait_for(lambda link=link: answered(link), f"a way over {link.name}")
    load = datapath.Datapath(str(BUILD), links, seconds, SUITE)
    load.samples = samples
    for _ in range(rounds):
        load.round()
    return load.failures


@contextlib.contextmanager
def bench_pods(cluster, space):
    """{name: network namespace} of client and near on n1, far on n2."""
    where = {"client": "n1", "near": "n1", "far": "n2"}
    cluster.api.apply(*(pod(name, node, {"app": name, "bench": "yes"}, space) for name, node in where.items()))
    found = cluster.ready(*where, namespace=space, timeout=SLOW)
    with contextlib.ExitStack() as stack:
        spaces = {name: cluster.netns(found[name]) for name in where}
        for item in spaces.values():
            stack.callback(item.close)
        yield spaces


# --- policy ------------------------------------------------------------------------------------------------------------------


def changes(cluster, space, spaces, turns):
    """{figure: milliseconds} from the API's reply until it affects new flows on the same node."""
    stream = NewFlows(spaces["client"], spaces["near"])
    with contextlib.closing(stream):
        stream.until(True, 0)
        applied, _ = policy_times(cluster.api, space, "near", stream, turns, PAUSE)
        labels = label_times(cluster.api, space, "client", "near", stream, turns // 2, PAUSE)
    return {"policy.apply": [1e3 * s for s in applied], "policy.label": [1e3 * s for s in labels]}


# --- the plugin --------------------------------------------------------------------------------------------------------------

TIMES = "/run/plugin-times"


def time_plugin(machine, name):
    """From now on a wrapper that the runtime calls records the plugin's time."""
    directory = machine.outside("/opt/cni/bin")
    (directory / "timed").mkdir()
    machine.run("cp", f"/opt/cni/bin/{name}", f"/opt/cni/bin/timed/{name}")  # in the node: it may be a link
    shutil.copy(BUILD / "bench/plugintime", directory / ".new")
    (directory / ".new").rename(directory / name)
    machine.outside(TIMES).touch()


def noted(machine, command):
    """[milliseconds] of the calls since the last clearing. An ADD that failed is an error; a DEL will be called again."""
    lines = [line.split() for line in machine.outside(TIMES).read_text().splitlines()]
    assert all(status == "0" for word, _, status in lines if word == "ADD"), f"a plugin failed: {lines}"
    return [int(ns) / 1e6 for word, ns, _ in lines if word == command]


def start_pods(cluster, space, names):
    """[milliseconds] of their ADDs; they are gone again."""
    machine = cluster.machine("n1")
    machine.outside(TIMES).write_text("")
    for name in names:
        cluster.api.create(pod(name, "n1", namespace=space))
    cluster.ready(*names, namespace=space, timeout=SLOW)
    for name in names:
        cluster.api.delete("Pod", name, space, gracePeriodSeconds=0)
    wait_for(lambda: len(noted(machine, "DEL")) >= len(names), "the pods' DEL", SLOW)
    return noted(machine, "ADD")


def adds(cluster, network, one_by_one):
    """{figure: milliseconds}"""
    time_plugin(cluster.machine("n1"), network.plugin)
    with made_space(cluster) as space:
        alone = [ms for i in range(one_by_one) for ms in start_pods(cluster, space, [f"one-{i}"])]
        together = start_pods(cluster, space, [f"many-{i}" for i in range(BURST)])
    return {"cni.add_p50": alone, f"cni.add_{BURST}_p50": together}


# --- the agent ---------------------------------------------------------------------------------------------------------------


def install(cluster, network):
    """Seconds until all nodes have their configuration, by which pods may come."""
    begin = time.monotonic()
    network.install(cluster)
    for node in NODES:
        wait_for(lambda node=node: network.configured(cluster, node), f"{network.name} on {node}", SLOW)
    return time.monotonic() - begin


def memory(cluster, network):
    """MB that are resident."""
    status = Path(f"/proc/{network.agent_pid(cluster, 'n1')}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
