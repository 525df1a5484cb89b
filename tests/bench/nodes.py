# SPDX-License-Identifier: BSD-2-Clause
"""Namespaces, and the paths between two pods that are measured. All of them exist at once, each with its own host."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

from report import BenchError, say

CNI_DIR = "/usr/lib/cni"  # Debian's containernetworking-plugins
NETNS_DIR = "/run/netns"
RAWBPF_DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib")
sys.path.append(RAWBPF_DIR)
import rawbpf  # noqa: E402


# TCP must be the same everywhere, whatever the machine's defaults: reno is in every kernel and may be chosen in every
# namespace, and paces nothing. TIME_WAIT sockets of one sample would expire in the middle of another.
SYSCTLS = {
    "net/ipv6/conf/all/accept_dad": 0,
    "net/ipv6/conf/default/accept_dad": 0,
    "net/ipv4/tcp_congestion_control": "reno",
    "net/ipv4/tcp_max_tw_buckets": 64,
}
HOST_SYSCTLS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv6/conf/all/forwarding": 1,
    # Absent without br_netfilter. Off, the bridge is at its fastest.
    "net/bridge/bridge-nf-call-iptables": 0,
    "net/bridge/bridge-nf-call-ip6tables": 0,
}


def netns_path(netns):
    """Of a network namespace by its name, or by a path."""
    return os.path.join(NETNS_DIR, netns)


def run(*command, netns=None, stdin=None, env=None, timeout=60):
    if netns:
        command = ("nsenter", f"--net={netns_path(netns)}") + command
    try:
        done = subprocess.run(command, input=stdin, env=env, text=True, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(str(error)) from error
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: exit {done.returncode}: {(done.stderr + done.stdout).strip()}")
    return done.stdout


def write_sysctls(netns, sysctls):
    # The shell enters the namespace: /proc/sys/net shows that of the process which opens it.
    script = "".join(f"[ ! -e /proc/sys/{key} ] || echo {value} >/proc/sys/{key}\n" for key, value in sysctls.items())
    run("sh", "-e", netns=netns, stdin=script)


def netns_add(name, host=False):
    run("ip", "netns", "add", name)
    write_sysctls(name, {**SYSCTLS, **HOST_SYSCTLS} if host else SYSCTLS)
    run("ip", "link", "set", "lo", "up", netns=name)
    return f"{NETNS_DIR}/{name}"


def private_mounts():
    """For a process in a mount namespace of its own."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    os.mkdir("/run/bench")


def kernel_threads(name):
    """Ids of those whose name begins so."""
    for task in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{task}/comm", encoding="ascii") as comm:
            if comm.read().startswith(name):
                yield int(task)


def new_kernel_thread(name, before):
    """The one of that name that was not among those `before`."""
    threads = set(kernel_threads(name)) - before
    if len(threads) != 1:
        raise BenchError(f"{name}: {len(threads)} new kernel threads instead of one")
    return threads.pop()


class Plugin:
    """A CNI network: one configuration, run in its host namespace."""

    def __init__(self, name, host, config, path):
        self.name, self.host, self.path = name, host, path
        self.config = config
        self.config_file = f"/run/bench/{name}.conf"
        with open(self.config_file, "w", encoding="utf-8") as file:
            json.dump(config, file)

    def program(self):
        return f"{self.path.split(':')[0]}/{self.config['type']}"

    def environment(self, command, container, netns, args=""):
        return {
            "CNI_ARGS": args,
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"{NETNS_DIR}/{netns}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.path,
        }

    def add(self, container, netns, args="", labels=None):
        """Adds a pod and gives the plugin's result."""
        config = self.config
        if labels:
            config = {**config, "args": {"cni": {"labels": [{"key": k, "value": v} for k, v in labels.items()]}}}
        return json.loads(run(self.program(), netns=self.host, stdin=json.dumps(config),
                              env=self.environment("ADD", container, netns, args)))


def addresses(result):
    found = {}
    for entry in result["ips"]:
        address = entry["address"].split("/")[0]
        found["v6" if ":" in address else "v4"] = address
    return found


def host_device(result):
    """The host's end of the pod's link: the last interface outside the sandbox (bridge names the bridge first)."""
    return [i["name"] for i in result["interfaces"] if not i.get("sandbox")][-1]


class Path:
    """Two pods, a and b (`pods`: their network namespaces), and what is between them; `target`: b's address by family."""

    receiver_tasks = ()  # kernel threads that receive for b
    server_port = None  # b's, if `target` is a service's

    def __init__(self, name, number, build):
        self.name, self.number, self.programs = name, number, build
        self.host = f"{name}-host"
        self.target = {}
        self.pods = self.make_pods()
        self.build()

    def make_pods(self):
        pods = [f"{self.name}-a", f"{self.name}-b"]
        for pod in pods:
            netns_add(pod)
        return pods

    def build(self):
        raise NotImplementedError

    def gso_packets(self, on):
        """Segmentation offload of the pods' ends: without it TCP sends packets of one MTU."""
        for pod in self.pods:
            run("ethtool", "-K", "eth0", "tso", on, "gso", on, netns=pod)

    def wait(self):
        """Until both families work (a bridge port or a link may still come up)."""
        for family, target in self.target.items():
            deadline = time.monotonic() + 10
            while True:
                try:
                    run("ping", "-nqc1", "-W1", target, netns=self.pods[0])
                    break
                except BenchError as error:
                    if time.monotonic() > deadline:
                        raise BenchError(f"{self.name}: no {family} path between its pods: {error}") from error


def build_paths(makes, build, failures, needed=(), optional=(), first_number=1):
    """Those that can be built. One that fails is a failure, or skipped if it is optional; if one of `needed` fails,
    which the others are measured against, the result is empty.
    """
    paths = []
    for number, (name, make) in enumerate(makes.items(), start=first_number):
        try:
            path = make(name, number, build)
            path.wait()
            paths.append(path)
        except (BenchError, AssertionError, OSError) as error:
            if name in optional:
                say(f"left out: {name}: {error}")
            else:
                failures.append(f"{name}: {error}")
    return paths if set(needed) <= {path.name for path in paths} else []


class Direct(Path):
    """One veth pair, a pod at each end: the limit of what a veth can do."""

    def build(self):
        a, b = self.pods
        run("ip", "link", "add", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b)
        for i, pod in enumerate(self.pods):
            run("ip", "address", "add", f"10.{self.number}.0.{i + 1}/24", "dev", "eth0", netns=pod)
            run("ip", "address", "add", f"fd00:{self.number}::{i + 1}/64", "dev", "eth0", netns=pod)
            run("ip", "link", "set", "eth0", "up", netns=pod)
        self.target = {"v4": f"10.{self.number}.0.2", "v6": f"fd00:{self.number}::2"}


def wire(host, net4, net6, device, pod):
    """A veth pair between host and pod, with addresses of networks of its own, and a default route."""
    run("ip", "link", "add", device, "netns", host, "type", "veth", "peer", "name", "eth0", "netns", pod)
    for netns, dev, last in ((host, device, 1), (pod, "eth0", 2)):
        run("ip", "address", "add", f"{net4}.{last}/24", "dev", dev, netns=netns)
        run("ip", "address", "add", f"{net6}:{last}/64", "dev", dev, netns=netns)
        run("ip", "link", "set", dev, "up", netns=netns)
    run("ip", "route", "add", "default", "via", f"{net4}.1", netns=pod)
    run("ip", "route", "add", "default", "via", f"{net6}:1", netns=pod)


class Routed(Path):
    """A veth pair to each pod, a subnet each, and the host's stack between them."""

    rules = None  # function: text of the ruleset and the program that loads it

    def build(self):
        netns_add(self.host, host=True)
        for i, pod in enumerate(self.pods):
            wire(self.host, f"10.{self.number}.{i}", f"fd00:{self.number}:{i}:", f"p{i}", pod)
        self.target = {"v4": f"10.{self.number}.1.2", "v6": f"fd00:{self.number}:1::2"}
        for text, loader in self.rules():
            run(*loader, netns=self.host, stdin=text)


class Nft(Routed):
    """Established flows pass first; new ones go through as many rules as there are, none of which matches."""

    count = 10

    def rules(self):
        rule = "ip saddr 203.0.{}.{} drop"
        rule6 = "ip6 saddr 2001:db8:{:x}::{:x} drop"
        lines = [(rule if i % 2 else rule6).format(i >> 8, i & 255) for i in range(self.count)]
        yield "\n".join(["table inet bench {", "chain forward {",
                         "type filter hook forward priority filter; policy accept;",
                         "ct state established,related accept", *lines, "}", "}", ""]), ("nft", "-f", "-")


class Nft1000(Nft):
    count = 1000


class Iptables1000(Routed):
    """As with a rule for every pod: no conntrack, each packet goes through all rules. iptables-nft."""

    def rules(self):
        for tool, source in (("iptables-nft-restore", "203.0.{}.{}/32"),
                             ("ip6tables-nft-restore", "2001:db8:{:x}::{:x}/128")):
            rules = "".join(f"-A FORWARD -s {source.format(i >> 8, i & 255)} -j DROP\n" for i in range(1000))
            yield f"*filter\n:FORWARD ACCEPT [0:0]\n{rules}COMMIT\n", (tool,)


class CniPath(Path):
    """Two pods of a CNI plugin; more of them are added by the latency measurement."""

    def build(self):
        netns_add(self.host, host=True)
        self.plugin = self.make_plugin()
        for pod in self.pods:
            self.target = addresses(self.plugin.add(pod, pod))

    def make_plugin(self):
        raise NotImplementedError

    def host_local(self):
        return {
            "type": "host-local",
            "dataDir": "/run/bench/host-local",
            "ranges": [[{"subnet": f"10.{self.number}.0.0/16"}], [{"subnet": f"fd00:{self.number}::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        }


class Bridge(CniPath):
    """The reference plugin as a node has it, without its masquerading (which costs it more)."""

    def make_plugin(self):
        return Plugin(self.name, self.host, {
            "cniVersion": "1.0.0", "name": self.name, "type": "bridge", "bridge": "cni0", "isGateway": True,
            "mtu": 1500, "ipam": self.host_local(),
        }, CNI_DIR)


class Ptp(CniPath):
    """The reference plugin that routes between its pods."""

    def make_plugin(self):
        return Plugin(self.name, self.host, {
            "cniVersion": "1.0.0", "name": self.name, "type": "ptp", "mtu": 1500, "ipam": self.host_local(),
        }, CNI_DIR)


def warren_plugin(path, policy):
    ranges = [[{"subnet": f"10.{path.number}.0.0/16"}], [{"subnet": f"fd00:{path.number}::/64"}]]
    return Plugin(path.name, path.host, {
        "cniVersion": "1.1.0", "name": path.name, "type": "warren-cni", "policy": policy, "mtu": 1500,
        "ipam": {"ranges": ranges},
    }, f"{path.programs}:{CNI_DIR}")


class Warren(CniPath):
    """This project's plugin with its own IPAM; no pod is isolated."""

    def make_plugin(self):
        return warren_plugin(self, "none")


class BesideWarren(Path):
    """Two more pods of warren's node, with another program at their host-side devices, to explain warren's figures."""

    warren = None  # the Plugin

    def build(self):
        results = [self.warren.add(pod, pod) for pod in self.pods]
        self.target = addresses(results[1])
        devices = [host_device(result) for result in results]
        ifindexes = [json.loads(run("ip", "-j", "link", "show", "dev", device, netns=self.warren.host))[0]["ifindex"]
                     for device in devices]
        for i in (0, 1):
            self.attach(devices[i], ifindexes[i], ifindexes[1 - i])

    def attach(self, device, ifindex, other):
        raise NotImplementedError

    def rawbpf(self, *arguments):
        """In a process of its own, which may enter a network namespace."""
        run("/usr/bin/python3", "-c", "import sys, rawbpf; eval(sys.argv[1])", "rawbpf.{}({!r}, {!r})".format(*arguments),
            netns=self.warren.host, env={**os.environ, "PYTHONPATH": RAWBPF_DIR})


class WarrenPolicy(BesideWarren):
    """Two pods of warren's node that are isolated both ways, by ten policies, one of which allows what is measured."""

    agent = None

    def build(self):
        self.host = self.warren.host
        self.plugin = warren_plugin(self, "agent")
        WarrenPolicy.agent = Agent(self.programs, self.host)
        self.agent.write("bench", *policies())
        for pod, app in zip(self.pods, ("client", "server")):
            self.target = addresses(self.plugin.add(pod, pod, labels={"app": app}))


def policy(name, selector, namespace="default", **spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": namespace, "name": name}, "spec": {"podSelector": selector, **spec}}


def app(name):
    return {"podSelector": {"matchLabels": {"app": name}}}


def policies(**anybody):
    """The client's pod may use the server's; `anybody`: what else may."""
    ports = [{"protocol": "TCP"}, {"protocol": "UDP"}]
    yield policy("deny", {}, policyTypes=["Ingress", "Egress"])
    yield policy("out", app("client")["podSelector"], policyTypes=["Egress"], egress=[{"to": [app("server")], "ports": ports}])
    yield policy("in", app("server")["podSelector"], ingress=[{"from": [app("client")], "ports": ports}])
    yield policy("ping-out", app("client")["podSelector"], policyTypes=["Egress"], egress=[{"to": [app("server")]}])
    yield policy("ping-in", app("server")["podSelector"], ingress=[{"from": [app("client")]}])
    if anybody:
        yield policy("anybody", app("server")["podSelector"], **anybody)
    for i in range(5):
        yield policy(f"other-{i}", {}, ingress=[{"from": [app(f"other-{i}")], "ports": [{"port": 8000 + i}]}])


class Agent:
    """warren-agent on a node, following a directory of manifests."""

    def __init__(self, programs, host):
        self.directory = "/run/bench/manifests"
        os.mkdir(self.directory)
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind("/run/bench/notify")
        ready.settimeout(10)
        with open("/run/bench/agent.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net={NETNS_DIR}/{host}", f"{programs}/warren-agent", "--manifests", self.directory],
                env={**os.environ, "NOTIFY_SOCKET": "/run/bench/notify"}, stderr=log)
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
        except OSError as error:
            with open("/run/bench/agent.log", encoding="utf-8") as log:
                raise BenchError(f"warren-agent does not become ready: {log.read()}") from error

    def write(self, name, *objects):
        """Replaces one manifest by rename."""
        path = f"{self.directory}/{name}.json"
        with open(path + ".tmp", "w", encoding="utf-8") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": list(objects)}, file)
        os.rename(path + ".tmp", path)

    def status(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            return dict(line.split(":", 1) for line in file)


class RedirectOnly(BesideWarren):
    """The lower bound of this design: a program that only redirects, at the same hook."""

    def attach(self, device, ifindex, other):
        pin = f"/sys/fs/bpf/redirect-{device}"
        self.rawbpf("pin_redirect_peer", other, pin)
        run("tc", "filter", "replace", "dev", device, "ingress", "prio", "1", "handle", "1", "bpf", "da", "pinned", pin,
            netns=self.warren.host)


class WarrenTcx(BesideWarren):
    """The same program at tcx (kernel 6.6) instead of cls_bpf: faster, but attaching takes a grace period under rtnl."""

    def attach(self, device, ifindex, other):
        self.rawbpf("attach_tcx", f"{rawbpf.PINS}/progs/from_pod", ifindex)
