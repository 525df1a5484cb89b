# SPDX-License-Identifier: BSD-2-Clause
"""Traffic between two pods over each path, against a baseline in the same round."""

import json
import os
import random
import statistics
from dataclasses import dataclass

from nodes import BenchError, netns_path, run
from report import Row, say

FAMILIES = ("v4", "v6")


@dataclass(frozen=True)
class Figure:
    """One figure of a load mode's output."""

    name: str
    key: str
    unit: str
    scale: float


@dataclass(frozen=True, eq=False)
class Mode:
    """A mode of `load`; with segmentation offload in the pods or without it."""

    load: str
    figures: list
    gso_packets: bool = True


@dataclass(frozen=True)
class Suite:
    """Paths that are measured in the same rounds; `prefix` is that of their rows."""

    prefix: str
    baseline: str
    modes: tuple


SAME_NODE = Suite("net", baseline="direct", modes=(
    Mode("rr", [Figure("rr_p50", "p50", "us", 1e-3), Figure("rr_p99", "p99", "us", 1e-3)]),
    Mode("crr", [Figure("crr_p50", "p50", "us", 1e-3), Figure("crr_mean", "mean", "us", 1e-3)]),
    Mode("udp", [Figure("udp", "rate", "kpps", 1e-3)]),
    Mode("receive", [Figure("stream_gso_off", "rate", "Gb/s", 1e-9)], gso_packets=False),
))


def cpus(mode):
    """Round trips and streams with both ends on one core: across cores they measure how fast a virtual CPU wakes up."""
    last = max(os.sched_getaffinity(0))
    first = min(os.sched_getaffinity(0))
    return (last, last) if mode in ("rr", "crr", "stream") else (first, last)


class Datapath:
    def __init__(self, build, paths, seconds, suite):
        self.load = f"{build}/bench/load"
        self.paths, self.seconds, self.suite = paths, seconds, suite
        self.samples = {}  # (figure, family, path) -> one value a round, None where it failed
        self.failures = []

    def sample(self, mode, family, path):
        server_cpu, client_cpu = cpus(mode.load)
        server, client = netns_path(path.pods[1]), netns_path(path.pods[0])
        tasks = [word for task in path.receiver_tasks for word in ("-w", str(task))]
        ports = ("-P", str(path.server_port)) if path.server_port else ()
        out = run(self.load, "-t", str(self.seconds), "-s", str(server_cpu), "-c", str(client_cpu), *tasks, *ports, mode.load,
                  server, client, path.target[family])
        return json.loads(out)

    def measure(self, mode, family):
        """All paths that have the family in one shuffled order, close together in time."""
        paths = [path for path in self.paths if family in path.target]
        for path in random.sample(paths, len(paths)):
            try:
                out = self.sample(mode, family, path)
            except BenchError as error:
                self.failures.append(f"{mode.load} {family} {path.name}: {error}")
                out = None
            for figure in mode.figures:
                self.samples.setdefault((figure, family, path.name), []).append(
                    out and out[figure.key] * figure.scale)

    def run(self, rounds):
        for i in range(rounds):
            say(f"traffic, {self.suite.prefix}: round {i + 1} of {rounds}")
            self.round()

    def round(self):
        for mode in random.sample(self.suite.modes, len(self.suite.modes)):
            if not mode.gso_packets:
                self.gso_packets("off")
            for family in random.sample(FAMILIES, len(FAMILIES)):
                self.measure(mode, family)
            if not mode.gso_packets:
                self.gso_packets("on")

    def gso_packets(self, on):
        for path in self.paths:
            path.gso_packets(on)

    def rows(self):
        suite = self.suite
        for figure in (figure for mode in suite.modes for figure in mode.figures):
            for family in FAMILIES:
                for path in self.paths:
                    yield from self.row(figure, family, path.name, suite.baseline,
                                        f"{suite.prefix}.{figure.name}.{family}.{path.name}")

    def row(self, figure, family, path, baseline, name):
        """One row, or none if either was not measured."""
        pairs = [(v, b) for v, b in zip(self.samples.get((figure, family, path), []),
                                        self.samples.get((figure, family, baseline), [])) if v and b]
        if pairs:
            yield Row.of(name, figure.unit, value=statistics.median(v for v, _ in pairs),
                         baseline=statistics.median(b for _, b in pairs), ratios=[v / b for v, b in pairs])
