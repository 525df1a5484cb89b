#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measures Warren beside Cilium, flannel and the reference plugins: each as the network of a real Kubernetes of two
nodes in namespaces (tests/kube/cluster), one cluster after the other, every path against a veth pair in the same rounds.
Policy is enforced in all that have it. IPv4. One --quick cluster takes one to four minutes; a whole run has twelve,
longer ones.
"""

import argparse
import contextlib
import random
import re
import signal
import statistics
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS / directory) for directory in ("lib", "kube", "bench")]

import datapath  # noqa: E402
import goals  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
from goals import Goal  # noqa: E402
from kube_cluster import Kubernetes, made_space  # noqa: E402
from lab import BUILD  # noqa: E402
from networks import NETWORKS  # noqa: E402
from nodes import BenchError  # noqa: E402
from report import Row, say  # noqa: E402

FAMILY = "v4"
WAYS = {"same": "on a node", "cross": "between nodes"}
WIRE = "wire"  # the bound for any network between nodes
# What is no ratio to the veth pair: figure -> (unit, what its ratio is to, what it is).
TIMES = {
    "policy.apply": ("ms", "cilium-vxlan", "policy created until felt, from the API's answer"),
    "policy.label": ("ms", "cilium-vxlan", "pod's label changed until felt"),
    "cni.add_p50": ("ms", "bridge", "CNI ADD, one pod at a time"),
    f"cni.add_{measure.BURST}_p50": ("ms", "bridge", f"CNI ADD, {measure.BURST} pods at once"),
    "agent.start": ("s", "cilium-vxlan", "installed until all nodes may have pods"),
    "agent.restart": ("s", "cilium-vxlan", "agent started again until it says that it is ready"),
    "agent.memory": ("MB", "cilium-vxlan", "agent's resident memory, three pods"),
}
TRAFFIC = {
    "rr_p50": "TCP round trip, p50",
    "crr_p50": "connect, round trip, close, p50",
    "udp": "UDP packets per second",
    "stream": "TCP stream, by processor time",
}
NOTES = (
    "x: ratio to a veth pair in the same rounds. wire: two namespaces on the bridge that joins the nodes.",
    '"-": there is no such thing (bridge and flannel have no policy, bridge no agent), or it was not measured.',
    "Installed: Warren as a DaemonSet whose image the nodes have, the peers' agents as plain processes.",
)
# Of Warren's figure the ratio to a peer's: figure, peer, at most.
GOALS = (
    ("same.rr_p50", "cilium-vxlan", 0.88),
    ("cross.rr_p50", "cilium-vxlan", 0.72),
    ("cross.rr_p50", "cilium-native", 1.00),
    ("policy.apply", "cilium-vxlan", 0.20),
    ("policy.label", "cilium-vxlan", 0.20),
    ("cni.add_p50", "cilium-vxlan", 0.05),
    ("cni.add_p50", "bridge", 0.60),
    (f"cni.add_{measure.BURST}_p50", "bridge", 0.30),
)
PANELS = (
    *((f"{way}.{figure}", f"{where}: {TRAFFIC[figure]} ({better} is better)")
      for figure, better in (("rr_p50", "less"), ("crr_p50", "less"), ("udp", "more"), ("stream", "more"))
      for way, where in WAYS.items()),
    *((figure, f"{what}: {unit}") for figure, (unit, _, what) in TIMES.items()),
)


def options():
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, noisier")
    parser.add_argument("--turns", type=int, metavar="N", help="clusters of each network (default 2, quick 1)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of traffic in each (default 15, quick 5)")
    parser.add_argument("--seconds", type=float, metavar="S", default=0.2, help="of each sample (default 0.2)")
    parser.add_argument("--only", default="", metavar="PATTERN", help=f"regular expression: which of {', '.join(NETWORKS)}")
    args = parser.parse_args()
    args.turns = args.turns or (1 if args.quick else 2)
    args.rounds = args.rounds or (5 if args.quick else 15)
    args.changes, args.adds = (4, 5) if args.quick else (10, 10)
    return args


class Results:
    """`samples`: of each network what datapath.Datapath has; `times`: (figure, network) -> a list for each cluster."""

    def __init__(self, networks):
        self.networks = networks
        self.samples = {name: {} for name in networks}
        self.times = {}
        self.failures = []

    def add(self, network, figures):
        for figure, values in figures.items():
            self.times.setdefault((figure, network), []).append(values)


FAILURES = (BenchError, AssertionError, OSError, RuntimeError, subprocess.SubprocessError)


def one_cluster(network, args, results):
    with contextlib.ExitStack() as stack:
        stack.callback(network.reap)
        cluster = stack.enter_context(Kubernetes("peers", PROXY="none", **network.settings))
        if network.agent:
            results.add(network.name, {"agent.start": [measure.install(cluster, network)]})
        links = measure.make_baselines(cluster)
        space = stack.enter_context(made_space(cluster))
        spaces = stack.enter_context(measure.bench_pods(cluster, space))
        links += [measure.pod_link(way, spaces["client"], spaces[end]) for way, end in (("same", "near"), ("cross", "far"))]

        def memory():
            if network.agent:
                results.add(network.name, {"agent.memory": [measure.memory(cluster, network)]})

        def changes():
            if network.policy:
                results.add(network.name, measure.changes(cluster, space, spaces, args.changes))

        def traffic():
            if network.policy:
                cluster.api.apply(measure.allow(space))
            failed = measure.traffic(links, results.samples[network.name], args.rounds, args.seconds)
            results.failures += [f"{network.name}: {failure}" for failure in failed]

        def adds():
            results.add(network.name, measure.adds(cluster, network, args.adds))

        def restart():
            seconds = network.restart(cluster, "n1")
            if seconds is not None:
                results.add(network.name, {"agent.restart": [seconds]})

        for part in (memory, changes, traffic, adds, restart):
            try:
                part()
            except FAILURES as error:
                results.failures.append(f"{network.name}, {part.__name__}: {error}")


def run(args, results):
    for turn in range(args.turns):
        for name in random.sample(results.networks, len(results.networks)):
            say(f"{name}: {turn + 1} of {args.turns}")
            try:
                one_cluster(NETWORKS[name](name), args, results)
            except FAILURES as error:
                results.failures.append(f"{name}: {error}")


# --- rows --------------------------------------------------------------------------------------------------------------------


def traffic_rows(results):
    load = datapath.Datapath("", [], 0, measure.SUITE)
    for figure in measure.FIGURES:
        for way in WAYS:
            for name in results.networks:
                load.samples = results.samples[name]
                yield from load.row(figure, FAMILY, way, measure.BASELINE, f"{way}.{figure.name}.{FAMILY}.{name}")
        load.samples = {}
        for samples in results.samples.values():
            for path in (WIRE, measure.BASELINE):
                load.samples.setdefault((figure, FAMILY, path), []).extend(samples.get((figure, FAMILY, path), []))
        yield from load.row(figure, FAMILY, WIRE, measure.BASELINE, f"cross.{figure.name}.{FAMILY}.{WIRE}")


def time_rows(results):
    for figure, (unit, baseline, _) in TIMES.items():
        base = [value for values in results.times.get((figure, baseline), []) for value in values]
        for name in results.networks:
            clusters = results.times.get((figure, name))
            if not clusters:
                continue
            values = [value for cluster in clusters for value in cluster]
            if not base:
                yield Row.plain(f"{figure}.{name}", unit, values)
                continue
            middle = statistics.median(base)
            yield Row.of(f"{figure}.{name}", unit, statistics.median(values), middle,
                         [statistics.median(cluster) / middle for cluster in clusters],
                         ratio=statistics.median(values) / middle, runs=len(values))


def goal_rows(rows):
    """Warren against a peer, each by its ratio to the veth pair where that is what was measured."""
    found = {row.id: row for row in rows}
    for figure, peer, _ in GOALS:
        stem = f"{figure}.{FAMILY}" if figure.split(".")[0] in WAYS else figure
        ours, theirs = found.get(f"{stem}.warren"), found.get(f"{stem}.{peer}")
        if ours and theirs:
            a, b = (row.ratio if stem != figure else row.value for row in (ours, theirs))
            yield Row.of(f"vs-{peer}.{figure}", "x" if stem != figure else ours.unit, a, b, [a / b],
                         runs=min(ours.runs, theirs.runs))


# --- the table ---------------------------------------------------------------------------------------------------------------


def cell(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def table(rows, results):
    """A line for each figure, a column for each network; "-": it has no such thing, or that was not measured."""
    found = {row.id: row for row in rows}
    columns = [*results.networks, WIRE]
    lines = [["", "", *columns]]
    for way, where in WAYS.items():
        for figure, what in TRAFFIC.items():
            mine = [found.get(f"{way}.{figure}.{FAMILY}.{name}") for name in columns]
            lines.append([f"{where}: {what}", "x", *(cell(row and row.ratio) for row in mine)])
    for figure, (unit, _, what) in TIMES.items():
        mine = [found.get(f"{figure}.{name}") for name in columns]
        lines.append([what, unit, *(cell(row and row.value) for row in mine)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join([line[0].ljust(widths[0]), *(word.rjust(width) for word, width in zip(line[1:], widths[1:]))]) for line in lines]
    return "\n".join([*text, *NOTES, ""])


def main():
    args = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a cluster's directories go with it
    results = Results([name for name in NETWORKS if re.search(args.only, name)])
    try:
        run(args, results)
    except KeyboardInterrupt:
        results.failures.append("interrupted: this is what there was by then")
    rows = [*traffic_rows(results), *time_rows(results)]
    text = table(rows, results)
    evaluated = [*goal_rows(rows)]
    directory = BUILD / "bench-peers"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table.txt").write_text(text)
    print(text, end="")
    peer_goals = [Goal(f"against {peer}", re.escape(f"vs-{peer}.{figure}"), limit) for figure, peer, limit in GOALS]
    goals.evaluate(evaluated, peer_goals)
    goals.table(evaluated, peer_goals)
    report.save_json(rows + evaluated, directory / "results.json")
    report.plot(rows, directory / "results", PANELS)
    for failure in results.failures:
        say(f"FAILED: {failure}")
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
