# SPDX-License-Identifier: BSD-2-Clause
"""A pod by a service's address against the same pod by its own, in the same rounds: from a pod of its node, of another
node, and from its node itself. And from outside by a NodePort, against plain routing to such a pod.
"""

import time
from dataclasses import dataclass

from datapath import FAMILIES, Datapath, Figure, Mode, Suite
from nodes import BenchError, Path, netns_path, run
from report import say

from manifests import endpoint_slice, port, service

VIP = {"v4": "10.96.0.10", "v6": "fd00:96::10"}
NODEPORT_VIP = {"v4": "10.96.0.11", "v6": "fd00:96::11"}
PORT, TARGET = 5001, 8080  # the service's is `load`'s own
MODES = (
    Mode("rr", [Figure("rr_p50", "p50", "us", 1e-3)]),
    Mode("crr", [Figure("crr_p50", "p50", "us", 1e-3), Figure("crr_mean", "mean", "us", 1e-3)]),
)


@dataclass(eq=False)
class Way:
    """From the first of two namespaces to the second one, which is a pod's."""

    name: str
    pods: list
    target: dict
    server_port: int = None
    receiver_tasks = Path.receiver_tasks


def objects(backend):
    yield service("bench", VIP.values(), port(PORT))
    for family in FAMILIES:
        yield endpoint_slice(f"bench-{family}", "bench", [backend[family]], port(TARGET))


def measure(args, prefix, path, agent, client=None):
    """The rows, and what failed. `agent` is that of the client's node; `client`: not the path's first pod."""
    say(f"services, {prefix}")
    agent.write("services.json", *objects(path.target))
    ends = [client or path.pods[0], path.pods[1]]
    ways = [Way("pod", ends, path.target), Way("service", ends, VIP, TARGET)]
    for family in FAMILIES:
        wait(args, ways[1], family)
    rounds = Datapath(args.build, ways, args.seconds, Suite(prefix, "pod", MODES))
    rounds.run(2 * args.rounds)
    return list(rounds.rows()), rounds.failures


def measure_nodeport(args, plain, path):
    """From the LAN to a pod of the second node, through the first one: routed, and by the first node's NodePort."""
    say("services, nodeport")
    nodeport = {**port(PORT), "nodePort": PORT}
    for agent in path.agents:
        agent.write("nodeport.json", service("nodeport", NODEPORT_VIP.values(), nodeport, type="NodePort"),
                    *(endpoint_slice(f"nodeport-{family}", "nodeport", [path.target[family]], port(TARGET)) for family in FAMILIES))
    address = {f"v{family}": path.address(0, family) for family in (4, 6)}
    ways = [Way("routed", [plain.lan, plain.pods[1]], plain.target), Way("nodeport", [path.lan, path.pods[1]], address, TARGET)]
    for family in FAMILIES:
        wait(args, ways[1], family)
    rounds = Datapath(args.build, ways, args.seconds, Suite("nodeport", "routed", MODES))
    rounds.run(2 * args.rounds)
    return list(rounds.rows()), rounds.failures


def wait(args, way, family):
    """Until the service's address leads to the pod."""
    deadline = time.monotonic() + 10
    server, client = netns_path(way.pods[1]), netns_path(way.pods[0])
    while True:
        try:
            port = ("-P", str(way.server_port)) if way.server_port else ()
            run(f"{args.build}/bench/load", "-t", "0.01", *port, "rr", server, client, way.target[family])
            return
        except BenchError:
            if time.monotonic() > deadline:
                raise
