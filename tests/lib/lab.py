# SPDX-License-Identifier: BSD-2-Clause
"""Nodes and pods for the tests, on examples/lab/node.

A Node is a set of namespaces held by one process, which dies with this one: an interrupted test leaves nothing. A Pod
is a network namespace in a node, attached by a CNI plugin.
"""

import contextlib
import itertools
import json
import os
import re
import subprocess
from pathlib import Path

from netns import COMMAND, TIMEOUT, Netns, wait_for
from rawbpf import PINS, map_entries

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WARREN_BUILD", REPO / "build")).resolve()
NODE_SCRIPT = REPO / "examples/lab/node"

LINK_GROUP = 0x5752
ADD_TIMEOUT = 50  # seconds: how long an ADD waits for an agent that will reply
POD_CIDR = {4: "10.87.0.0/24", 6: "fd00:87::/64"}
NODE_GATEWAY = {4: "10.87.0.1", 6: "fd00:87::1"}  # first of the pod CIDR: the host's address towards pods
GATEWAY = {4: "169.254.1.1", 6: "fe80::1"}
HOST_MAC = "02:57:52:00:00:01"

_names = itertools.count(1)


def moved(before, after, ignore=("multicast",)):
    """The counters that moved between two Node.metrics(): {(reason, direction): by how much}.

    Multicast is ignored by default: in the first seconds of a device's life both its ends send MLD reports.
    """
    return {
        key: after[key] - before.get(key, 0)
        for key in after
        if after[key] != before.get(key, 0) and key[0] not in ignore
    }


def network(families=(4, 6), name="lab", policy="none", **extra):
    """A configuration of warren-cni with built-in IPAM. The agent has ADD_TIMEOUT to reply to an ADD."""
    ranges = [[{"subnet": POD_CIDR[family]}] for family in families]
    if policy == "agent":
        extra = {"policyTimeout": ADD_TIMEOUT, **extra}
    return {
        "cniVersion": "1.1.0",
        "name": name,
        "type": "warren-cni",
        "policy": policy,
        "ipam": {"ranges": ranges},
        **extra,
    }


# Chained after ours: the reference plugin, as Debian has it (CNI 1.0.0, which our configuration has to be in too).
PORTMAP = {"cniVersion": "1.0.0", "name": "lab", "type": "portmap", "capabilities": {"portMappings": True}, "snat": True}


class CniResult:
    def __init__(self, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr
        try:
            self.json = json.loads(stdout) if stdout.strip() else None
        except ValueError:
            self.json = None

    @property
    def ok(self):
        return self.code == 0

    def __repr__(self):
        return f"exit {self.code}: {self.stdout.strip()} {self.stderr.strip()}"


class Node(Netns):
    """A node; `with Node() as node`. It is also the network namespace of its host side."""

    def __init__(self, name=None, build=BUILD):
        self.name = name or f"t{os.getpid()}-{next(_names)}"
        self.env = self._env(build)
        self.holder = subprocess.Popen(
            [NODE_SCRIPT, "hold", self.name], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        line = self.holder.stdout.readline()
        assert line == "ready\n", f"examples/lab/node hold {self.name}: {line}"
        self.pid = int(Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()[0])
        self.pods = []
        super().__init__(self, "/proc/1/ns/net")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pod in self.pods:
            pod.close()
        self.close()
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    @staticmethod
    def _env(build):
        return {**os.environ, "WARREN_BUILD": str(build), "LC_ALL": "C", "PATH": f"{build}:{os.environ['PATH']}:/usr/sbin:/sbin"}

    def install(self, build):
        """From now on the programs of this build, the plugin included."""
        self.env = self._env(build)
        self.run("ln", "-sfn", f"{build}/warren-cni", "/opt/cni/bin/warren-cni")

    def outside(self, path):
        """A path in the node as seen from here."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")

    def link(self, ifname, addresses, other, other_ifname, other_addresses):
        """Joins this node to another by a veth pair."""
        subprocess.run(
            [
                NODE_SCRIPT,
                "link",
                ",".join([f"{self.name}:{ifname}", *addresses]),
                ",".join([f"{other.name}:{other_ifname}", *other_addresses]),
            ],
            check=True,
        )

    # --- Warren -----------------------------------------------------------------------------------------------------

    def warren(self, *args, check=True):
        """`warren ...`: its CompletedProcess."""
        return self.run("warren", *args, check=check)

    def warren_json(self, *args, check=True):
        return json.loads(self.warren(*args, "--json", check=check).stdout)

    def metrics(self):
        """{(reason, direction): packets} of every counter."""
        return {(m["reason"], m["direction"]): m["packets"] for m in self.warren_json("metrics", "--all")}

    def assert_moved(self, before, expected, ignore=("multicast",)):
        """These counters move, and no others. A packet is counted where it is handled, maybe after the call that sent
        it has returned: so this waits for as many as are expected.
        """
        with contextlib.suppress(AssertionError):
            wait_for(lambda: sum(moved(before, self.metrics(), ignore).values()) >= sum(expected.values()), "the counters")
        assert moved(before, self.metrics(), ignore) == expected

    def bpf_map(self, name):
        """The entries of a pinned map that are not all zeros, read without the product: {key: value} in bytes."""
        entries = map_entries(self.outside(f"{PINS}/maps/{name}")) or {}
        return {key: value for key, value in entries.items() if any(value)}

    def nft_counters(self, table):
        """(expressions, packets) of every counting rule of an inet table."""
        rules = json.loads(self.run("nft", "-j", "list", "table", "inet", table).stdout)["nftables"]
        expressions = [entry["rule"]["expr"] for entry in rules if "rule" in entry]
        return [(expr, e["counter"]["packets"]) for expr in expressions for e in expr if "counter" in e]

    def guard_drops(self):
        """Packets that the dropping rules of Warren's nftables table have counted."""
        return sum(count for expr, count in self.nft_counters("warren") if {"drop": None} in expr)

    # --- CNI --------------------------------------------------------------------------------------------------------

    def cni_env(self, command, container="", ifname="", netns="", args="", path="/opt/cni/bin"):
        env = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": ifname, "CNI_NETNS": netns}
        env.update(CNI_ARGS=args, CNI_PATH=path)
        return {k: v for k, v in env.items() if v != ""}

    def plugin(self, env, stdin, plugin="warren-cni", wrap=(), timeout=COMMAND):
        """Runs a plugin with this environment and standard input (text or bytes), as a runtime does."""
        clean = {k: v for k, v in self.env.items() if not k.startswith("CNI_")}
        proc = subprocess.Popen(
            self.argv([*wrap, f"/opt/cni/bin/{plugin}"]),
            env={**clean, **env},
            pass_fds=(self.fd,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        try:
            out, err = proc.communicate(data, timeout=timeout)
        except BaseException:
            proc.kill()
            proc.wait()
            raise
        return CniResult(proc.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def cni(self, command, conf, container="", ifname="", netns="", args="", wrap=()):
        """One plugin with one configuration (a dict)."""
        env = self.cni_env(command, container, ifname, netns, args)
        return self.plugin(env, json.dumps(conf), conf.get("type", "warren-cni"), wrap)

    def netns_add(self, name):
        self.run("ip", "netns", "add", name)
        return f"/run/netns/{name}"

    def netns_delete(self, path):
        self.run("ip", "netns", "delete", path.rpartition("/")[2])

    def pod(self, name, conf, **kwargs):
        pod = Pod(self, name, conf, **kwargs)
        pod.add()
        return pod

    # --- what is there ----------------------------------------------------------------------------------------------

    def pod_devices(self):
        """Names of the host-side pod devices."""
        names = [link["ifname"] for link in self.ip("link", "show")]
        return sorted(name for name in names if re.fullmatch(r"wr[a-z2-7]{13}", name))

    def files(self, path):
        root = self.outside(path)
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()) if root.exists() else []

    def locks(self):
        """How often the node's processes have the lock file open: a lock that is held, or waited for."""
        links = self.run("sh", "-c", "readlink /proc/[0-9]*/fd/*", check=False).stdout
        return links.split().count("/run/warren/lock")

    def traces(self):
        """All state of a node that Warren changes: {what: text}."""
        sysctls = self.run("sysctl", "-a", "-r", r"^net\.(ipv4\.(ip_)?(conf\.|forward)|ipv6\.conf)").stdout
        return {
            "links": [(link["ifname"], link["address"], link["flags"]) for link in self.ip("link", "show")],
            "addresses": self.run("ip", "-o", "address", "show").stdout,
            "routes": [self.run("ip", f"-{family}", "route", "show", "table", "all").stdout for family in (4, 6)],
            "rules": self.run("ip", "rule").stdout,
            "neighbours": self.run("ip", "neighbour").stdout,
            "nftables": self.run("nft", "-s", "list", "ruleset").stdout,
            "sysctls": [line for line in sysctls.splitlines() if ".warren" not in line],
            "files": self.run("find", "/sys/fs/bpf", "/run", "-path", "/run/.lab", "-prune", "-o", "-print").stdout,
            "mounts": self.run("cat", "/proc/mounts").stdout,
        }

    def stale(self):
        """What a node without pods must not have: {what: what is there}."""
        found = {
            "devices": self.pod_devices(),
            "attachments": self.files("/run/warren/attachments"),
            "temporary files": [f for f in self.files("/run/warren") if "tmp" in f],
        }
        for family in (4, 6):
            routes = self.ip(f"-{family}", "route", "show", "table", "all", "proto", "87")
            found[f"IPv{family} routes"] = [r["dst"] for r in routes if re.match("wr", r.get("dev", ""))]
        for name in ("endpoints", "addr4", "addr6"):
            found[f"map {name}"] = self.bpf_map(name)
        return {what: value for what, value in found.items() if value}

    def standing(self):
        """stale() once no reaper is at work: what stays until GC removes it."""
        wait_for(
            lambda: not any(f.startswith("deleting/") for f in self.files("/run/warren/attachments")), "no deletion"
        )
        return self.stale()

    def assert_clean(self, besides=None, timeout=TIMEOUT):
        """Nothing of a pod is left (`besides`: of those that were there before, as standing() gave it).

        The reaper deletes devices after DEL has returned, so this waits for it.
        """
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self.stale() == (besides or {}), "a clean node", timeout)
        assert self.stale() == (besides or {})


class Pod(Netns):
    """A pod: a network namespace in a node and its attachment `ifname` to the network(s) of a configuration.

    `conf` is one plugin's configuration, or a list of them (a chain): this class does what libcni does.
    """

    def __init__(self, node, name, conf, ifname="eth0", args="", runtime=None):
        self.name, self.ifname, self.args = name, ifname, args
        self.container = f"{name}-{next(_names)}"
        self.chain = conf if isinstance(conf, list) else [conf]
        self.chain = [dict(c, runtimeConfig=runtime) if runtime and self._accepts(c, runtime) else c for c in self.chain]
        self.result = None
        super().__init__(node, node.netns_add(self.container))
        node.pods.append(self)

    def _accepts(self, conf, runtime):
        """A plugin of a chain gets what it has the capability for; one alone gets everything, for the tests' convenience."""
        return len(self.chain) == 1 or any(conf.get("capabilities", {}).get(name) for name in runtime)

    def _call(self, command, conf, prev):
        conf = dict(conf, prevResult=prev) if prev else conf
        return self.node.cni(command, conf, self.container, self.ifname, self.path, self.args)

    def add(self):
        prev = None
        for conf in self.chain:
            done = self._call("ADD", conf, prev)
            assert done.ok and done.json, f"ADD {conf.get('type')}: {done!r}"
            prev = done.json
        self.result = prev
        self.ips = {4 if "." in ip["address"] else 6: ip["address"].split("/")[0] for ip in prev["ips"]}
        self.host_ifname = next((i["name"] for i in prev["interfaces"] if not i.get("sandbox")), None)
        self.mac = next((i.get("mac") for i in prev["interfaces"] if i.get("sandbox")), None)
        return self

    @property
    def ifindex(self):
        """Of the host-side device: the endpoint's id."""
        return self.node.ip("link", "show", self.host_ifname)[0]["ifindex"]

    def check(self):
        for conf in self.chain:
            done = self._call("CHECK", conf, self.result)
            assert done.ok, f"CHECK {conf.get('type')}: {done!r}"

    def delete(self):
        for conf in reversed(self.chain):
            done = self._call("DEL", conf, self.result)
            assert done.ok, f"DEL {conf.get('type')}: {done!r}"
        self.gone()

    def gone(self):
        """What the runtime does at the end: the namespace goes."""
        self.close()
        self.node.pods.remove(self)
        self.node.netns_delete(self.container)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.delete()

    # --- frames -----------------------------------------------------------------------------------------------------

    def ether(self, **fields):
        """The Ethernet header of a frame that the pod sends to its gateway."""
        from scapy.layers.l2 import Ether

        return Ether(**{"src": self.mac, "dst": HOST_MAC, **fields})

    def packet(self, family, dst, **fields):
        """Ethernet and IP header of a packet from the pod."""
        from scapy.layers.inet import IP
        from scapy.layers.inet6 import IPv6

        return self.ether() / (IP if family == 4 else IPv6)(**{"src": self.ips[family], "dst": dst, **fields})


class Lab:
    """A node with an uplink to the world: another node, which routes to the pods (as a LAN's routers would) and has an
    address beyond the link.
    """

    UPLINK = {4: "198.18.0.1", 6: "2001:db8:1::1"}
    WORLD = {4: "198.18.0.2", 6: "2001:db8:1::2"}
    BEYOND = {4: "198.51.100.1", 6: "2001:db8:2::1"}

    def __init__(self):
        self.node, self.world = Node(), Node()
        size = {4: 24, 6: 64}
        self.node.link(
            "eth0",
            [f"{self.UPLINK[f]}/{size[f]}" for f in (4, 6)],
            self.world,
            "eth0",
            [f"{self.WORLD[f]}/{size[f]}" for f in (4, 6)],
        )
        for f in (4, 6):
            self.node.run("ip", f"-{f}", "route", "add", "default", "via", self.WORLD[f])
            self.world.run("ip", f"-{f}", "route", "add", POD_CIDR[f], "via", self.UPLINK[f])
            self.world.run("ip", f"-{f}", "address", "add", self.BEYOND[f], "dev", "lo")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.world.__exit__()
        self.node.__exit__()
