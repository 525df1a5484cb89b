#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measures Warren against what else could join two pods. Started by run.sh, in PID and mount namespaces of its own."""

import json
import re
import statistics
import sys

import cnilatency
import crossnode
import datapath
import nodes
import policybench
import receiver
import report
import runtime
import services
from options import options
from nodes import BenchError, run
from report import Row, say

PATHS = {
    "direct": nodes.Direct,
    "warren": nodes.Warren,
    "bridge": nodes.Bridge,
    "ptp": nodes.Ptp,
    "routed-nft-10": nodes.Nft,
    "routed-nft-1000": nodes.Nft1000,
    "iptables-1000": nodes.Iptables1000,
}
BESIDE = {"warren-policy": nodes.WarrenPolicy}  # on warren's own node
EXPLAIN = {"redirect-only": nodes.RedirectOnly, "warren-tcx": nodes.WarrenTcx}


def build_paths(args, failures):
    """What is chosen, and what it is compared with. What explains a shortfall may be absent (tcx before kernel 6.6)."""
    baselines = (datapath.SAME_NODE.baseline, cnilatency.BASELINE)
    makes = {name: make for name, make in PATHS.items() if name in baselines or re.search(args.only, name)}
    paths = nodes.build_paths(makes, args.build, failures, needed=baselines)
    nodes.BesideWarren.warren = next((path.plugin for path in paths if path.name == "warren"), None)
    if nodes.BesideWarren.warren:
        paths += nodes.build_paths({**BESIDE, **EXPLAIN}, args.build, failures, optional=EXPLAIN, first_number=len(PATHS) + 1)
    return paths


def programs(args):
    """Run time of the BPF programs alone, by BPF_PROG_TEST_RUN."""
    say("programs")
    values = {}
    for line in run(f"{args.build}/tests/bpf/bpftest", "--bench", timeout=600).splitlines():
        figure = json.loads(line)
        values.setdefault(figure["id"], []).append(figure["ns"])
    return [program_row(name, ns, values) for name, ns in values.items()]


# What a figure of `bpftest --bench` is to be: at most so many ns, or at most so much of another figure.
PROGRAM_GOALS = {
    "bpf_from_pod_to_pod_tcp_v4": 60,
    "bpf_from_pod_to_pod_tcp_v6": 70,
    **{f"bpf_crr_local_hit_flows_1_{family}": goal for family, goal in (("v4", 60), ("v6", 70))},
    **{f"bpf_from_pod_{kind}_flow_policy_100000_{family}": (f"bpf_from_pod_{kind}_flow_policy_100_{family}", goal)
       for kind, goal in (("known", 1.02), ("new", 1.25)) for family in ("v4", "v6")},
    **{f"bpf_{way}_{kind}_flow_nodes_5000_{family}": (f"bpf_{way}_{kind}_flow_nodes_2_{family}", 1.05)
       for way in ("from_pod_to_node", "from_uplink_to_pod") for kind in ("known", "new") for family in ("v4", "v6")},
}


def program_row(name, ns, values):
    limit = PROGRAM_GOALS.get(name)
    if limit is None:
        return Row.plain(f"prog.{name}", "ns", ns)
    if isinstance(limit, tuple):
        return Row.of(f"prog.{name}", "ns", statistics.median(ns), statistics.median(values[limit[0]]),
                      [a / b for a, b in zip(ns, values[limit[0]])], goal=limit[1])
    return Row.limit(f"prog.{name}", "ns", ns, limit)


def same_node(args, failures):
    say("namespaces")
    paths = build_paths(args, failures)
    if not paths:
        return []
    rounds = datapath.Datapath(args.build, paths, args.seconds, datapath.SAME_NODE)
    rounds.run(args.rounds)
    failures += rounds.failures
    rows = list(rounds.rows())
    plugins = [path.plugin for path in paths if isinstance(path, nodes.CniPath)]
    pods = next((path for path in paths if path.name == "warren-policy"), None)
    parts = [
        lambda: cnilatency.measure(args.build, plugins, args.runs),
    ]
    if pods:
        parts.append(lambda: service_rows(args, pods, failures))
        parts.append(lambda: policybench.measure(args, pods))
    for part in parts:
        try:
            rows += part()
        except BenchError as error:
            failures.append(str(error))
    return rows


def service_rows(args, pods, failures):
    rows, failed = services.measure(args, "service", pods, pods.agent)
    failures += failed
    return rows


def measure(args, failures):
    """What is chosen of the same node's paths, of those between nodes, of what receiver.py has measured, and the programs."""
    nodes.private_mounts()
    rows = same_node(args, failures) if any(re.search(args.only, name) for name in PATHS) else []
    more, failed = crossnode.measure(args)
    rows += more + report.load_json(receiver.results(args))
    failures += failed
    if re.search(args.only, "programs"):
        try:
            rows += programs(args) + runtime.measure(args, failures)
        except BenchError as error:
            failures.append(str(error))
    return rows


def main():
    args = options(__doc__)
    failures = []
    try:
        rows = measure(args, failures)
        report.table(rows)
        report.explain(rows)
        report.goals(rows)
        report.save_json(rows, f"{args.build}/bench/results.json")
        report.plot(rows, f"{args.build}/bench/results")
    except BenchError as error:
        failures.append(str(error))
    for failure in failures:
        say(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
