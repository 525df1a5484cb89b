# SPDX-License-Identifier: BSD-2-Clause
"""Nodes and pods for the tests, on examples/lab/node.

A Node is a set of namespaces held by one process, which dies with this one: an interrupted test leaves nothing. A Pod
is a network namespace in a node, wired by a CNI plugin. Sockets are made inside a namespace by this process itself
(a socket stays in the namespace it was made in), so sending and sniffing need no helper programs.
"""

import contextlib
import ctypes
import ipaddress
import itertools
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from rawbpf import PINS, map_entries

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WARREN_BUILD", REPO / "build")).resolve()
NODE_SCRIPT = REPO / "examples/lab/node"

TIMEOUT = int(os.environ.get("WARREN_TEST_TIMEOUT", 10))  # seconds: how long a test waits for what must happen
LINK_GROUP = 0x5752
POD_CIDR = {4: "10.87.0.0/24", 6: "fd00:87::/64"}
NODE_GATEWAY = {4: "10.87.0.1", 6: "fd00:87::1"}  # first of the pod CIDR: the host's address towards pods
GATEWAY = {4: "169.254.1.1", 6: "fe80::1"}
HOST_MAC = "02:57:52:00:00:01"
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PACKET_IGNORE_OUTGOING = 23
SOL_PACKET = 263
SO_RCVBUFFORCE = 33

_libc = ctypes.CDLL(None, use_errno=True)
_names = itertools.count(1)


def wait_for(condition, what, timeout=TIMEOUT):
    """Polls until condition() is true and returns its value; for state that nothing announces."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s in vain: {what}"
        time.sleep(0.005)


class Wire:
    """An AF_PACKET socket: frames out, frames in (and, with `outgoing`, what others send there).

    Without a name it hears every device of the namespace, those yet to come included.
    """

    def __init__(self, netns, ifname=None, outgoing=False):
        with netns.entered():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0 if ifname else socket.htons(ETH_P_ALL))
            self.sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, not outgoing)
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            if ifname:
                self.sock.bind((ifname, ETH_P_ALL))

    def send(self, *frames):
        for frame in frames:
            self.sock.send(bytes(frame))

    def until(self, match, timeout=TIMEOUT):
        """The frames up to and including the first for which match(frame bytes) holds; None if it never comes."""
        frames, deadline = [], time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return None
            frames.append(self.sock.recv(65536))
            if match(frames[-1]):
                return frames

    def drain_named(self):
        """What has come in so far: (frame, name of the device)."""
        frames = []
        while select.select([self.sock], [], [], 0)[0]:
            frame, address = self.sock.recvfrom(65536)
            frames.append((frame, address[0]))
        return frames

    def drain(self):
        return [frame for frame, _ in self.drain_named()]

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Netns:
    """A network namespace in a node. `path` is as seen in the node."""

    def __init__(self, node, path):
        self.node, self.path = node, path
        self.fd = os.open(node.outside(path), os.O_RDONLY | os.O_CLOEXEC)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace meanwhile."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(self.fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            _libc.setns(home, CLONE_NEWNET)
            os.close(home)

    def socket(self, *args):
        with self.entered():
            sock = socket.socket(*args)
        sock.settimeout(TIMEOUT)
        return sock

    def wire(self, ifname="eth0"):
        return Wire(self, ifname)

    def tcp_listen(self, family, port=0, address=None):
        sock = self.socket(FAMILY[family], socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address or ("0.0.0.0" if family == 4 else "::"), port))
        sock.listen(64)
        return sock

    def tcp_connect(self, address, port, timeout=TIMEOUT):
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock

    def udp(self, family, port=0, address=None):
        sock = self.socket(FAMILY[family], socket.SOCK_DGRAM)
        sock.bind((address or ("0.0.0.0" if family == 4 else "::"), port))
        return sock

    def argv(self, argv):
        target = str(self.node.pid)
        return ["nsenter", "-t", target, "-m", "-p", "-u", f"--net=/proc/self/fd/{self.fd}", "--", *map(str, argv)]

    def popen(self, *argv, env=None, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.argv(argv), env={**self.node.env, **(env or {})}, pass_fds=(self.fd,), **kwargs)

    def run(self, *argv, check=True, env=None, input=None, timeout=60):
        """Runs a command here and returns its CompletedProcess (text)."""
        proc = self.popen(
            *argv, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = proc.communicate(input, timeout=timeout)
        except BaseException:
            proc.kill()
            proc.wait()
            raise
        if check and proc.returncode:
            raise AssertionError(f"{' '.join(map(str, argv))}: exit {proc.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(argv, proc.returncode, out, err)

    def ip(self, *args):
        """The parsed output of `ip -json -details ...`."""
        out = self.run("ip", "-json", "-details", *args).stdout
        return json.loads(out) if out.strip() else []

    def sysctl(self, name, value=None):
        """Reads or writes net.<name> ('/' between its parts)."""
        args = ["-n", f"net/{name}"] if value is None else ["-w", f"net/{name}={value}"]
        return self.run("sysctl", *args).stdout.strip()

    def ping(self, address, count=1, size=56, check=True, args=()):
        done = self.run("ping", "-n", "-c", count, "-i", "0.01", "-W", "2", "-s", size, *args, address, check=False)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done.returncode == 0


def tcp(client, server, address, port=0, listen_port=0, size=1, timeout=TIMEOUT):
    """One connection from `client` to `address`, where `server` listens: `size` bytes there and back.

    Returns the address that the server saw. Raises OSError (a timeout, too) if it does not come about.
    """
    family = 6 if ":" in address else 4
    with server.tcp_listen(family, listen_port) as listener:
        with client.tcp_connect(address, port or listener.getsockname()[1], timeout) as a:
            b, source = listener.accept()
            with b:
                b.settimeout(timeout)
                data = os.urandom(size)
                for src, dst in ((a, b), (b, a)):
                    _transfer(src, dst, data, timeout)
    return source[0]


def _transfer(src, dst, data, timeout):
    sent, got, deadline = 0, bytearray(), time.monotonic() + timeout
    src.setblocking(False)
    while len(got) < len(data):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{len(got)} of {len(data)} bytes in {timeout} s")
        readable, writable, _ = select.select([dst], [src] if sent < len(data) else [], [], left)
        if writable:
            sent += src.send(data[sent : sent + 262144])
        if readable:
            got += dst.recv(262144)
    src.settimeout(timeout)
    assert got == data


def udp(client, server, address, port=0, listen_port=0, listen_address=None, payload=b"there", timeout=TIMEOUT):
    """As tcp(), one datagram there and one back. (A server on every address would answer from any of them.)"""
    family = 6 if ":" in address else 4
    with server.udp(family, listen_port, listen_address or address) as b, client.udp(family) as a:
        a.settimeout(timeout)
        b.settimeout(timeout)
        a.connect((address, port or b.getsockname()[1]))
        a.send(payload)
        data, source = b.recvfrom(65536)
        assert data == payload
        b.sendto(payload[::-1], source)
        assert a.recv(65536) == payload[::-1]
    return source[0]


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
    """A configuration of warren-cni with built-in IPAM."""
    ranges = [[{"subnet": POD_CIDR[family]}] for family in families]
    return {
        "cniVersion": "1.1.0",
        "name": name,
        "type": "warren-cni",
        "policy": policy,
        "ipam": {"ranges": ranges},
        **extra,
    }


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

    def __init__(self, name=None):
        self.name = name or f"t{os.getpid()}-{next(_names)}"
        self.env = {**os.environ, "WARREN_BUILD": str(BUILD), "LC_ALL": "C"}
        self.env["PATH"] = f"{BUILD}:{self.env['PATH']}:/usr/sbin:/sbin"
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

    def plugin(self, env, stdin, plugin="warren-cni", wrap=(), timeout=60):
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

    def leftovers(self):
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

    def assert_clean(self, besides=None, timeout=10):
        """Nothing of a pod is left (`besides`: of those that were there before, as leftovers() gave it).

        The reaper deletes devices after DEL has returned, so this waits for it.
        """
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self.leftovers() == (besides or {}), "a clean node", timeout)
        assert self.leftovers() == (besides or {})


class Pod(Netns):
    """A pod: a network namespace in a node and its attachment `ifname` to the network(s) of a configuration.

    `conf` is one plugin's configuration, or a list of them (a chain): libcni's part is played here.
    """

    def __init__(self, node, name, conf, ifname="eth0", args="", runtime=None):
        self.name, self.ifname, self.args = name, ifname, args
        self.container = f"{name}-{next(_names)}"
        self.chain = conf if isinstance(conf, list) else [conf]
        self.chain = [dict(c, runtimeConfig=runtime) if runtime else c for c in self.chain]
        self.result = None
        super().__init__(node, node.netns_add(self.container))
        node.pods.append(self)

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
        self.ips = {int(4 if "." in ip["address"] else 6): ip["address"].split("/")[0] for ip in prev["ips"]}
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
        """The runtime's part of the end: the namespace goes."""
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


class Underlay(Node):
    """What joins nodes, and their way to the world: a switch; or, `routed`, a router with each node on a link of its own, or
    only those of these numbers.

    It hears all that passes between them. A node's uplink is eth0; nodes are numbered from 1.
    """

    BEYOND = Lab.BEYOND

    def __init__(self, mtu=1500, routed=False):
        super().__init__()
        self.mtu, self.routed = mtu, routed
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for f in (4, 6):
            self.run("ip", f"-{f}", "address", "add", self.BEYOND[f], "dev", "lo")
        if routed is not True:
            # A bridge takes the smallest MTU of its ports, does not wait before it forwards, and has a MAC address of its own,
            # not that of whichever port is there.
            self.run("ip", "link", "add", "lan", "address", "02:00:00:00:10:fe", "type", "bridge", "forward_delay", 0, "mcast_snooping", 0)
            for f in (4, 6):
                self.run("ip", f"-{f}", "address", "add", self._with_length(f, self.router(1, f)), "dev", "lan", *self._nodad(f))
            self.run("ip", "link", "set", "lan", "up")

    def is_routed(self, number):
        return self.routed is True or bool(self.routed) and number in self.routed

    @staticmethod
    def _nodad(family):
        return ["nodad"] if family == 6 else []

    @staticmethod
    def _with_length(family, address):
        return f"{address}/{ {4: 24, 6: 64}[family] }"

    def address(self, number, family):
        """A node's own address."""
        link = number if self.is_routed(number) else 0
        return str(ipaddress.ip_address({4: f"198.18.{link}.{number}", 6: f"2001:db8:10:{link:x}::{number:x}"}[family]))

    def router(self, number, family):
        """The next hop of a node's default route."""
        link = number if self.is_routed(number) else 0
        return str(ipaddress.ip_address({4: f"198.18.{link}.254", 6: f"2001:db8:10:{link:x}::fe"}[family]))

    def port(self, number):
        return f"port{number}"

    def attach(self, node, own, port, theirs):
        """The link itself, and both ends' addresses."""
        node.link("eth0", own, self, port, theirs)

    def join(self, node, number):
        port = self.port(number)
        own = [self._with_length(f, self.address(number, f)) for f in (4, 6)]
        theirs = [self._with_length(f, self.router(number, f)) for f in (4, 6)] if self.is_routed(number) else []
        self.attach(node, own, port, theirs)
        self.run("ip", "link", "set", port, "mtu", self.mtu, *([] if self.is_routed(number) else ["master", "lan"]))
        # The node's own as a network card's is: it stays over a reboot.
        node.run("ip", "link", "set", "eth0", "mtu", self.mtu, "address", f"02:00:00:00:10:{number:02x}")
        for f in (4, 6):
            node.run("ip", f"-{f}", "route", "add", "default", "via", self.router(number, f))

    def set_mtu(self, node, number, mtu):
        self.run("ip", "link", "set", self.port(number), "mtu", mtu)
        node.run("ip", "link", "set", "eth0", "mtu", mtu)


class Monitor:
    """`warren monitor --json`: its events as they come."""

    def __init__(self, node, *args):
        self.proc = node.popen("warren", "monitor", "--json", *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pending = b""
        line = self.proc.stderr.readline()
        assert line.startswith(b"listening"), line

    def next(self, timeout=TIMEOUT):
        """The next event, or None if there is none in time."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                return None
            data = os.read(self.proc.stdout.fileno(), 65536)
            assert data, f"warren monitor ended: {self.proc.stderr.read().decode()}"
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        event = json.loads(line)
        return self.next(deadline - time.monotonic()) if self.is_noise(event) else event

    @staticmethod
    def is_noise(event):
        """A kernel's own MLD report (see moved())."""
        return event["headers"].get("destination") == "ff02::16" and event["headers"].get("source") == "::"

    def wait(self, match, timeout=TIMEOUT):
        """The first event for which match(event) holds; None if it never comes."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            event = self.next(left)
            if event and match(event):
                return event
        return None

    def close(self):
        # nsenter waits for the program itself, which is what is to end.
        for child in Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        self.proc.wait(TIMEOUT)
        self.proc.stdout.close()
        self.proc.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
