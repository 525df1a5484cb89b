# SPDX-License-Identifier: BSD-2-Clause
"""Traffic between two pods over each path, against one veth pair in the same round."""

import json
import os
import random
import statistics
from dataclasses import dataclass

from nodes import NETNS_DIR, BenchError, run
from report import Row, say

BASELINE = "direct"
GOAL_PATH = "warren-policy"
FAMILIES = ("v4", "v6")


@dataclass(frozen=True)
class Figure:
    """One figure of a load mode's output; the goal is for the ratio of GOAL_PATH over IPv4 to the baseline."""

    name: str
    key: str
    unit: str
    scale: float
    goal: float = None
    more_is_better: bool = False


MODES = {
    "rr": [Figure("rr_p50", "p50", "us", 1e-3, 1.06), Figure("rr_p99", "p99", "us", 1e-3)],
    "crr": [Figure("crr_p50", "p50", "us", 1e-3, 1.12), Figure("crr_mean", "mean", "us", 1e-3)],
    "udp": [Figure("udp", "rate", "kpps", 1e-3, 0.88, True)],
    "stream": [Figure("stream_gso_off", "rate", "Gb/s", 1e-9, 0.84, True)],
}


def cpus(mode):
    """Round trips with both ends on one core: across cores they measure how fast a virtual CPU wakes up."""
    last = max(os.sched_getaffinity(0))
    first = min(os.sched_getaffinity(0))
    return (last, last) if mode in ("rr", "crr") else (first, last)


class Datapath:
    def __init__(self, build, paths, seconds):
        self.load = f"{build}/bench/load"
        self.paths, self.seconds = paths, seconds
        self.samples = {}  # (figure, family, path) -> one value a round, None where it failed
        self.failures = []

    def sample(self, mode, family, path):
        server_cpu, client_cpu = cpus(mode)
        out = run(self.load, "-t", str(self.seconds), "-s", str(server_cpu), "-c", str(client_cpu), mode,
                  f"{NETNS_DIR}/{path.pods[1]}", f"{NETNS_DIR}/{path.pods[0]}", path.target[family])
        return json.loads(out)

    def measure(self, mode, family):
        """All paths in one shuffled order, close together in time."""
        for path in random.sample(self.paths, len(self.paths)):
            try:
                out = self.sample(mode, family, path)
            except BenchError as error:
                self.failures.append(f"{mode} {family} {path.name}: {error}")
                out = None
            for figure in MODES[mode]:
                self.samples.setdefault((figure, family, path.name), []).append(
                    out and out[figure.key] * figure.scale)

    def round(self):
        for mode in random.sample(list(MODES), len(MODES)):
            if mode == "stream":
                self.super_packets("off")
            for family in random.sample(FAMILIES, len(FAMILIES)):
                self.measure(mode, family)
            if mode == "stream":
                self.super_packets("on")

    def super_packets(self, on):
        for path in self.paths:
            path.super_packets(on)

    def rows(self):
        for figure in (figure for figures in MODES.values() for figure in figures):
            for family in FAMILIES:
                for path in self.paths:
                    yield from self.row(figure, family, path.name)

    def row(self, figure, family, path):
        pairs = [(v, b) for v, b in zip(self.samples[figure, family, path], self.samples[figure, family, BASELINE])
                 if v and b]
        if pairs:
            yield Row.of(f"net.{figure.name}.{family}.{path}", figure.unit,
                         value=statistics.median(v for v, _ in pairs), baseline=statistics.median(b for _, b in pairs),
                         ratios=[v / b for v, b in pairs],
                         goal=figure.goal if (path, family) == (GOAL_PATH, "v4") else None,
                         more_is_better=figure.more_is_better)


def measure(build, paths, rounds, seconds):
    datapath = Datapath(build, paths, seconds)
    for i in range(rounds):
        say(f"traffic: round {i + 1} of {rounds}")
        datapath.round()
    return list(datapath.rows()), datapath.failures
