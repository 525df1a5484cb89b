# SPDX-License-Identifier: BSD-2-Clause
"""Many services: what they cost in memory, how soon a change of one is in the maps, and what a connection through one
costs among them.
"""

import ipaddress
import json
import time

import services
from datapath import FAMILIES, Datapath, Suite
from nodes import BenchError, netns_path, rawbpf, run
from report import Row, say

from manifests import endpoint_slice, port, service
from netns import Netns

FEW, MANY, BACKENDS = 10_000, 30_000, 10
A_FILE = 500  # services in a manifest
ADDRESSES = {"v4": ipaddress.ip_address("10.100.0.0"), "v6": ipaddress.ip_address("fd00:100::")}
PODS = {"v4": ipaddress.ip_address("10.200.0.0"), "v6": ipaddress.ip_address("fd00:200::")}
CHANGED = {"v4": "10.96.0.12", "v6": "fd00:96::12"}
TARGETS = (7001, 7002)  # the changed service's backend has these ports in turn
MAPS = ("backends4", "backends6", "cluster_ips4", "cluster_ips6", "service_lists", "service_members", "services4", "services6")


def write(agent, first, count, backends):
    for begin in range(first, first + count, A_FILE):
        objects = []
        for n in range(begin, min(begin + A_FILE, first + count)):
            # A namespace has quotas, which this is not about.
            name = f"ns{n // 100}/s{n}"
            objects.append(service(name, [str(a + n) for a in ADDRESSES.values()], port(80)))
            objects += (endpoint_slice(f"{name}-{family}", name, [str(PODS[family] + BACKENDS * n + i) for i in range(backends)], port(8080))
                        for family in FAMILIES)
        agent.write(f"scale-{begin}", *objects)


class Changed:
    """A service to which a pod sends datagrams: the socket that gets one tells which of its backend's ports it has."""

    def __init__(self, path, agent):
        self.path, self.agent = path, agent
        self.client, self.server = (Netns(Here, netns_path(pod)) for pod in path.pods)
        self.sockets = {}
        for number in TARGETS:
            self.sockets[number] = self.server.udp(4, number)
            self.sockets[number].setblocking(False)
        self.serve(TARGETS[0])
        self.wait(TARGETS[0])

    def serve(self, number):
        self.agent.write("changed", service("changed", CHANGED.values(), port(7000, "UDP")),
                         *(endpoint_slice(f"changed-{f}", "changed", [self.path.target[f]], port(number, "UDP")) for f in FAMILIES))

    def wait(self, number):
        """Until a datagram of a new flow reaches this port of the backend."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with self.client.udp(4) as sock:
                sock.sendto(b"?", (CHANGED["v4"], 7000))
                for got, listener in self.sockets.items():
                    try:
                        listener.recv(16)
                    except BlockingIOError:
                        continue
                    if got == number:
                        return
        raise BenchError("services: a change is not in the maps after 30 s")

    def changes(self, count):
        """How long each took, from the manifest's rename, in ms."""
        took = []
        for i in range(count):
            number = TARGETS[(i + 1) % len(TARGETS)]
            begin = time.monotonic()
            self.serve(number)
            self.wait(number)
            took.append((time.monotonic() - begin) * 1e3)
        return sorted(took)


class Here:
    @staticmethod
    def outside(path):
        return path


def maps_memory():
    """Of the maps that have services, in bytes, as the kernel says it."""
    return sum(json.loads(run("bpftool", "-j", "map", "show", "pinned", f"{rawbpf.PINS}/maps/{name}"))["bytes_memlock"] for name in MAPS)


def resident(agent):
    return int(agent.status()["VmRSS"].split()[0]) * 1024


def applied(args, pods, agent, count):
    """Until the agent has all of them in the maps."""
    deadline = time.monotonic() + 120
    while (found := entries(args, pods)) < count:
        if time.monotonic() > deadline:
            raise BenchError(f"services: {found} of {count} are in the maps after 120 s")


def entries(args, pods):
    for one in json.loads(run(f"{args.build}/warren", "map", "list", "--json", netns=pods.host)):
        if one["name"] == "services4":
            return one["entries"]
    raise BenchError("warren map list: no services4")


def measure(args, pods, agent):
    """The rows, and what failed."""
    say(f"services: {FEW} with {BACKENDS} backends")
    before = resident(agent)
    write(agent, 0, FEW, BACKENDS)
    applied(args, pods, agent, FEW)
    rows = [Row.plain("service-scale.memory", "MB", [(resident(agent) + maps_memory()) / 1e6]),
            Row.plain("service-scale.agent_more", "MB", [(resident(agent) - before) / 1e6])]
    say(f"services: {MANY}")
    write(agent, FEW, MANY - FEW, 1)
    applied(args, pods, agent, MANY)
    took = Changed(pods, agent).changes(50 if args.quick else 300)
    rows += [Row.plain("service-scale.change_p50", "ms", took), Row.plain("service-scale.change_p99", "ms", took, value=took[len(took) * 99 // 100])]
    ways = [services.Way("pod", pods.pods, pods.target), services.Way("service", pods.pods, services.VIP, services.TARGET)]
    rounds = Datapath(args.build, ways, args.seconds, Suite("service-30000", "pod", services.MODES))
    rounds.run(2 * args.rounds)
    return rows + list(rounds.rows()), rounds.failures
