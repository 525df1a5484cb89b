# SPDX-License-Identifier: BSD-2-Clause
"""The time of each program for a packet of a real connection: connect, one request, its reply, close, again and again,
with the kernel's run statistics on. In a node, through a service, between nodes; all pods are isolated both ways,
policy allows it.
"""

import crossnode
import services
from datapath import FAMILIES, cpus
from nodes import BenchError, build_paths, netns_path, rawbpf, run
from report import Row, say

NUMBER = 60  # of the addresses
PROGRAMS = ("from_pod", "to_pod", "from_uplink")
SELDOM = 0.1  # calls a connection: a function that is called less often is not shown


class Rig(crossnode.Tunnel):
    """Two nodes: a client, a server beside it and one at the other node."""

    def build(self):
        super().build()
        near = self.pod(0, "server", "near")
        self.applied()
        self.near = str(near.node.outside(near.path))
        self.near_ips = {f"v{family}": near.ips[family] for family in crossnode.ALL}
        self.agents[0].write("services.json", *services.objects(self.near_ips))

    def ways(self):
        """What is measured: its name, and the path."""
        client = self.pods[0]
        yield "crr_local", services.Way("local", [client, self.near], self.near_ips)
        yield "crr_service", services.Way("service", [client, self.near], services.VIP, services.TARGET)
        yield "crr_nodes", services.Way("nodes", self.pods, self.target)

    def run_times(self):
        """{(node, program): (ns, calls)}; node 0 is the client's."""
        return {(i, program): rawbpf.run_time(node.outside(f"{rawbpf.PINS}/progs/{program}"))
                for i, node in enumerate(self.nodes) for program in PROGRAMS}


def connections(netns):
    """How many connections the namespace has opened."""
    text = run("cat", "/proc/net/snmp", netns=netns)
    names, values = (line.split()[1:] for line in text.splitlines() if line.startswith("Tcp:"))
    return int(dict(zip(names, values))["ActiveOpens"])


def sample(args, rig, way, family):
    """{(node, program): (ns for a call, calls for a connection)}."""
    server, client = (netns_path(way.pods[i]) for i in (1, 0))
    server_cpu, client_cpu = cpus("crr")
    port = ("-P", str(way.server_port)) if way.server_port else ()
    with rawbpf.run_statistics():
        begun, before = connections(client), rig.run_times()
        run(f"{args.build}/bench/load", "-t", str(5 * args.seconds), "-s", str(server_cpu), "-c", str(client_cpu), *port, "crr",
            server, client, way.target[family])
        after, count = rig.run_times(), connections(client) - begun
    moved = {key: (ns - before[key][0], calls - before[key][1]) for key, (ns, calls) in after.items()}
    return {key: (ns / calls, calls / count) for key, (ns, calls) in moved.items() if calls > SELDOM * count}


def rows(name, family, samples, nothing):
    for node, program in samples[0]:
        values = [s[node, program] for s in samples if (node, program) in s]
        where = program if name != "crr_nodes" else f"{('client', 'server')[node]}_{program}"
        ns = [ns - nothing for ns, _ in values]
        label = f"prog.{name}_{family}.{where}"
        yield Row.plain(label, "ns", ns)
        yield Row.plain(f"{label}_calls", "/conn", [calls for _, calls in values])


def measure(args, failures):
    say("programs, in connections")
    rigs = build_paths({"runtime": Rig}, args.build, failures, first_number=NUMBER)
    found = []
    for rig in rigs:
        try:
            nothing = rawbpf.run_time_of_nothing()
            for name, way in rig.ways():
                for family in FAMILIES:
                    services.wait(args, way, family)
                    samples = [sample(args, rig, way, family) for _ in range(max(args.rounds // 2, 3))]
                    found += rows(name, family, samples, nothing)
        except (BenchError, AssertionError, OSError) as error:
            failures.append(f"programs, in connections: {error}")
    return found
