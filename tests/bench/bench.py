#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measures Warren against other ways to connect two pods. Started by run.sh, in PID and mount namespaces of its own."""

import json
import os
import random
import re
import statistics
import sys

import cnilatency
import crossnode
import datapath
import goals
import nodes
import policybench
import receiver
import report
import runtime
import services
import servicescale
from options import options
from nodes import BenchError, run
from report import Row, say

FLOWS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flows.py")
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
    """The chosen paths, and those that they are compared with. Those that only explain a shortfall may be absent (tcx
    before kernel 6.6).
    """
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


# Of `bpftest --bench`: what a figure is measured against, another one of the same run.
PROGRAM_BASELINES = {
    **{f"bpf_from_pod_{kind}_flow_policy_100000_{family}": f"bpf_from_pod_{kind}_flow_policy_100_{family}"
       for kind in ("known", "new") for family in ("v4", "v6")},
    **{f"bpf_{way}_{kind}_flow_nodes_5000_{family}": f"bpf_{way}_{kind}_flow_nodes_2_{family}"
       for way in ("from_pod_to_node", "from_uplink_to_pod") for kind in ("known", "new") for family in ("v4", "v6")},
}


def program_row(name, ns, values):
    baseline = values.get(PROGRAM_BASELINES.get(name))
    if not baseline:
        return Row.plain(f"prog.{name}", "ns", ns)
    return Row.of(f"prog.{name}", "ns", statistics.median(ns), statistics.median(baseline), [a / b for a, b in zip(ns, baseline)])


def many_flows(args):
    """from_pod with 65,536 flows live; against another build's, in turn."""
    say("programs, with 65,536 flows")
    builds = [build for build in (args.build, args.against) if build]
    taken = {build: [] for build in builds}
    for _ in range(max(args.rounds // 4, 3)):
        for build in random.sample(builds, len(builds)):
            out = run("/usr/bin/python3", FLOWS, f"{args.build}/bench/load", str(5 * args.seconds),
                      env={**os.environ, "WARREN_BUILD": build}, timeout=120)
            taken[build].append(json.loads(out))
    for family in datapath.FAMILIES:
        name = f"prog.flows_65536_{family}.from_pod"
        ours, theirs = ([one[family] for one in taken.get(build, [])] for build in (args.build, args.against))
        if theirs:
            yield Row.of(name, "ns", statistics.median(ours), statistics.median(theirs), [a / b for a, b in zip(ours, theirs)])
        else:
            yield Row.plain(name, "ns", ours)


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
        parts.append(lambda: scale_rows(args, pods, failures))
    for part in parts:
        try:
            rows += part()
        except BenchError as error:
            failures.append(str(error))
    return rows


def service_rows(args, pods, failures):
    rows = []
    for prefix, client in (("service", None), ("service-host", pods.host)):
        more, failed = services.measure(args, prefix, pods, pods.agent, client)
        rows += more
        failures += failed
    return rows


def scale_rows(args, pods, failures):
    rows, failed = servicescale.measure(args, pods, pods.agent)
    failures += failed
    return rows


def measure(args, failures):
    """What is chosen of the same node's paths, of those between nodes, of what receiver.py has measured, and the
    programs.
    """
    nodes.private_mounts()
    rows = same_node(args, failures) if any(re.search(args.only, name) for name in PATHS) else []
    more, failed = crossnode.measure(args)
    rows += more + report.load_json(receiver.results(args))
    failures += failed
    if re.search(args.only, "nodeport"):
        try:
            rows += crossnode.measure_nodeport(args, failures)
        except (BenchError, AssertionError, OSError) as error:
            failures.append(f"nodeport: {error}")
    if re.search(args.only, "programs"):
        try:
            rows += programs(args) + runtime.measure(args, failures)
            rows += many_flows(args)
        except BenchError as error:
            failures.append(str(error))
    return rows


def main():
    args = options(__doc__)
    failures = []
    try:
        rows = measure(args, failures)
        goals.evaluate(rows)
        report.table(rows)
        report.explain(rows)
        goals.table(rows)
        report.save_json(rows, f"{args.build}/bench/results.json")
        goals.save(rows, f"{args.build}/bench/goals.json")
        report.plot(rows, f"{args.build}/bench/results")
    except BenchError as error:
        failures.append(str(error))
    for failure in failures:
        say(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
