# SPDX-License-Identifier: BSD-2-Clause
"""from_pod with 65,536 flows live: `flows.py LOAD SECONDS` prints the time of a packet, {"v4": ns, "v6": ns}, by the
kernel's run statistics. Of the build that WARREN_BUILD names, which may be another release's: bench.py starts it as a
process of its own.

Two isolated pods whose policy allows it: one sends a datagram from each port in turn, the other replies to each.
"""

import json
import os
import subprocess
import sys

LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib")
sys.path.append(LIB)

import rawbpf  # noqa: E402
from cluster import Cluster  # noqa: E402
from manifests import namespace, policy  # noqa: E402

FLOWS = 1 << 16
ENTRIES = 1 << 20  # of which a pod may own an eighth


def program(node):
    """The pin of from_pod, whichever ABI the build has."""
    pins, = node.outside("/sys/fs/bpf/warren").glob("v*")
    return pins / "progs/from_pod"


def send(load, client, server, family, seconds):
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    paths = [str(pod.node.outside(pod.path)) for pod in (server, client)]
    subprocess.run([load, "-t", str(seconds), "-s", str(first), "-c", str(last), "answered", *paths, server.ips[family]],
                   check=True, stdout=subprocess.DEVNULL)


def live(node, family):
    return sum(row["entries"] for row in node.warren_json("ct", "stats")["tables"] if row["table"] == f"ct{family}")


def measure(load, seconds, cluster, client, server, family, nothing):
    pin = program(cluster.node)
    for _ in range(40):
        send(load, client, server, family, seconds)
        if live(cluster.node, family) >= 0.9 * FLOWS:  # the next turn makes up for a lost reply
            break
    else:
        raise SystemExit(f"flows: only {live(cluster.node, family)} are live")
    with rawbpf.run_statistics():
        began = rawbpf.run_time(pin)
        send(load, client, server, family, seconds)
        ns, calls = (b - a for a, b in zip(began, rawbpf.run_time(pin)))
    return ns / calls - nothing


def main():
    load, seconds = sys.argv[1], float(sys.argv[2])
    nothing = rawbpf.run_time_of_nothing()
    with Cluster(namespace("default"), init=["--ct-entries", str(ENTRIES)]) as cluster:
        client, server = (cluster.pod(f"default/{name}", {"app": name}) for name in ("client", "server"))
        cluster.apply("policies", policy("default/all", {}, ingress=[{}], egress=[{}], types=["Ingress", "Egress"]))
        print(json.dumps({f"v{family}": measure(load, seconds, cluster, client, server, family, nothing) for family in (4, 6)}))


if __name__ == "__main__":
    main()
