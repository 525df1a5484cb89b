# SPDX-License-Identifier: BSD-2-Clause
"""How long a plugin's ADD and DEL take, and how much memory: each in a fresh namespace, all plugins in turn."""

import json
import random
import statistics

from nodes import BenchError, host_device, netns_add, run
from report import Row, say

BASELINE = "bridge"
BLOCK = 10  # runs whose median counts as one for the minimum and maximum of the ratio

# name, key of a sample, unit
FIGURES = (("add_p50", "add", "ms"), ("del_p50", "del", "ms"), ("del_gone_p50", "gone", "ms"), ("rss_peak", "rss", "MB"))


class Latency:
    def __init__(self, build, plugins):
        self.cnitime = f"{build}/bench/cnitime"
        self.plugins = plugins
        self.samples = {plugin.name: [] for plugin in plugins}

    def exec(self, plugin, command, container, *options):
        """One timed run; its result is left in /run/bench/result."""
        out = json.loads(run(self.cnitime, "-n", f"/run/netns/{plugin.host}", "-i", plugin.config_file,
                             "-o", "/run/bench/result", *options, "--", plugin.program(),
                             env=plugin.environment(command, container, container)))
        with open("/run/bench/result", encoding="utf-8") as file:
            result = file.read()
        if out["status"]:
            raise BenchError(f"{plugin.name} {command}: exit {out['status']}: {result}")
        return out, result

    def sample(self, plugin, container):
        add, result = self.exec(plugin, "ADD", container)
        device = host_device(json.loads(result))
        delete, _ = self.exec(plugin, "DEL", container, "-g", device)
        self.samples[plugin.name].append({
            "add": add["exit_ns"] / 1e6,
            "del": delete["exit_ns"] / 1e6,
            "gone": delete["gone_ns"] / 1e6,
            "rss": max(add["max_rss_kb"], delete["max_rss_kb"]) / 1024,
        })

    def run(self, count):
        """Namespaces are made before and removed after: unmaking them takes the kernel long, holding what ADD needs."""
        names = {(p.name, i): f"t-{p.name}-{i}" for p in self.plugins for i in range(count)}
        for name in names.values():
            netns_add(name)
        for i in range(count):
            for plugin in random.sample(self.plugins, len(self.plugins)):
                self.sample(plugin, names[plugin.name, i])
        for name in names.values():
            run("ip", "netns", "delete", name)

    def rows(self):
        for name, key, unit in FIGURES:
            base = [s[key] for s in self.samples[BASELINE]]
            for plugin, samples in self.samples.items():
                values = [s[key] for s in samples]
                # The memory that a plugin needs is its largest run; the time that it takes is the middle one.
                middle = max if key == "rss" else statistics.median
                yield Row.of(f"cni.{name}.{plugin}", unit, value=middle(values), baseline=middle(base),
                             ratios=[middle(values[i:i + BLOCK]) / middle(base[i:i + BLOCK])
                                     for i in range(0, len(values), BLOCK)],
                             ratio=middle(values) / middle(base), runs=len(values))


def measure(build, plugins, count):
    say(f"plugins: {count} times ADD and DEL of each")
    latency = Latency(build, plugins)
    latency.run(count)
    return list(latency.rows())
