# SPDX-License-Identifier: BSD-2-Clause
"""Rows of results: as a table, as JSON and as a plot."""

import json
import os
import re
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass


class BenchError(Exception):
    """A measurement that failed, or cannot be shown."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


@dataclass
class Row:
    """`value` and `baseline` are medians (of memory: maxima); `min` and `max` are those of the ratio; `goal` and `met`
    are written by goals.evaluate().
    """

    id: str
    value: float
    unit: str
    baseline: float
    ratio: float
    min: float
    max: float
    runs: int
    goal: float = None
    met: bool = None

    @classmethod
    def of(cls, name, unit, value, baseline, ratios, ratio=None, runs=None):
        ratio = statistics.median(ratios) if ratio is None else ratio
        return cls(name, value, unit, baseline, ratio, min(ratios), max(ratios), runs or len(ratios))

    @classmethod
    def plain(cls, name, unit, values, value=None):
        """A figure without a baseline; `value` instead of the median."""
        value = statistics.median(values) if value is None else value
        return cls(name, value, unit, None, None, None, None, len(values))


def number(value, digits=2):
    return "" if value is None else f"{value:.{digits}f}"


def table(rows):
    width = max((len(row.id) for row in rows), default=2)
    columns = f"{{:{width}}} {{:>10}} {{:5}} {{:>10}} {{:>6}} {{:>6}} {{:>6}} {{:>5}} {{:>5}} {{}}"
    print(columns.format("id", "value", "unit", "baseline", "ratio", "min", "max", "runs", "goal", "").rstrip())
    group = None
    for row in rows:
        mine = row.id.split(".")[0 if row.id.startswith("prog.") else 1]
        if group not in (None, mine):
            print()
        group = mine
        numbers = map(number, (row.value, row.baseline, row.ratio, row.min, row.max, row.goal))
        value, baseline, ratio, least, most, goal = numbers
        verdict = {None: "", True: "met", False: "NOT MET"}[row.met]
        print(columns.format(row.id, value, row.unit, baseline, ratio, least, most, row.runs, goal, verdict).rstrip())


def explain(rows):
    """For each missed goal of the data path, how much of it the program does not cause."""
    ratio = {row.id: row.ratio for row in rows}
    for row in rows:
        if row.met is not False or row.ratio is None:
            continue
        print(f"\n{row.id} misses its goal: {number(row.ratio, 3)}; it is to be {number(row.goal, 3)}.")
        stem = row.id.rpartition(".")[0]
        floor, tcx = ratio.get(f"{stem}.redirect-only"), ratio.get(f"{stem}.warren-tcx")
        if floor:
            print(f"  {number(floor, 3)} is the floor here: a program at the same hook that only calls bpf_redirect_peer.")
        if tcx:
            print(f"  {number(tcx, 3)} with the same program at tcx instead of cls_bpf. ADD does not attach it there, since"
                  " that waits for an RCU grace period with the rtnl lock held.")


def save_json(rows, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump([{k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows],
                  file, indent=1)
        file.write("\n")


def load_json(path):
    """What another program has saved, if it came so far."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [Row(**row) for row in json.load(file)]


# --- the plot: one panel a figure, one bar a path --------------------------------------------------------------------

PANELS = (
    ("net.rr_p50", "TCP round trip, p50: ratio to direct (less is better)"),
    ("net.crr_p50", "connect + round trip + close, p50: ratio (less is better)"),
    ("net.udp", "UDP packets per second: ratio (more is better)"),
    ("net.stream_gso_off", "TCP stream, GSO off: ratio (more is better)"),
    ("cross.rr_p50", "two nodes: TCP round trip, p50: ratio to routed without a tunnel (less is better)"),
    ("cross.crr_p50", "two nodes: connect + round trip + close, p50: ratio (less is better)"),
    ("cross.udp", "two nodes: UDP packets per second: ratio (more is better)"),
    ("cross.stream", "two nodes: TCP stream: ratio (more is better)"),
    ("service.rr_p50", "by a service's address, round trip: ratio to the pod's own (less is better)"),
    ("service.crr_p50", "by a service's address, connect + round trip + close (less is better)"),
    ("service-cross.rr_p50", "the same to another node, round trip (less is better)"),
    ("service-cross.crr_p50", "the same to another node, connect + round trip + close (less is better)"),
    ("nic.cost", "single frames, processor time per byte: ratio to routed (less is better)"),
    ("deny.drop", "denied packets dropped: ratio to nftables' ingress hook (more is better)"),
    ("cni.add_p50", "CNI ADD, p50: ms"),
    ("cni.del_p50", "CNI DEL, p50: ms"),
    ("cni.del_gone_p50", "CNI DEL until the link is gone, p50: ms"),
    ("cni.rss_peak", "plugin's peak memory: MB"),
)


def panel(figure, series, names, goals, top):
    """Bars with their minimum and maximum, cut off at `top`, each with its number. `series`: title -> name -> (value,
    min, max)."""
    lines = []
    for name in names:
        cells = [" ".join(map(str, values.get(name, ("NaN",) * 3))) for values in series.values()]
        lines.append(f'"{name}" ' + " ".join(cells))
    width = 1 / (len(series) + 1)  # of a bar; a gap of one is between the clusters
    plots, labels = [], []
    for i, title in enumerate(series):
        column, shift = 2 + 3 * i, (i - (len(series) - 1) / 2) * width
        plots.append(f"${figure} using {column}:{column + 1}:{column + 2}:xtic(1) title '{title}'")
        height = f"(column({column + 2}) > {top * 0.9} ? {top * 0.9} : column({column + 2}))"
        labels.append(f"${figure} using ($0{shift:+}):{height}:"
                      f"(sprintf('%.2f', column({column}))) with labels offset 0,0.6 font ',8' notitle")
    plots += labels
    plots += [f"{goal} with lines dashtype 2 linecolor 'black' title 'goal'" for goal in goals]
    data = "\n".join(lines)
    return f"${figure} << EOD\n{data}\nEOD\nset yrange [0:{top}]\nplot {', '.join(plots)}\n"


def net_panel(figure, rows):
    series = {"IPv4": {}, "IPv6": {}}
    for row in rows:
        _, _, family, path = row.id.split(".")
        series["IPv4" if family == "v4" else "IPv6"][path] = (row.ratio, row.min, row.max)
    series = {title: values for title, values in series.items() if values}
    names = list(dict.fromkeys(row.id.split(".")[3] for row in rows))
    goals = list(dict.fromkeys(row.goal for row in rows if row.goal))
    top = max(2.5, 1.35 * max(row.ratio for row in rows))  # some round may have been far off
    return panel(figure, series, names, goals, top=min(max(row.max for row in rows) * 1.35, top))


def cni_panel(figure, rows):
    series = {row.id.split(".")[2]: (row.value, *(row.value if row.baseline is None else part * row.baseline
                                                  for part in (row.min, row.max))) for row in rows}
    goals = [row.goal if figure == "cni_rss_peak" else row.goal * row.baseline for row in rows if row.goal]
    return panel(figure, {"": series}, list(series), goals,
                 top=1.35 * max([most for _, _, most in series.values()] + goals))


def plot(rows, stem, panels=PANELS):
    drawn = []
    for name, title in panels:
        mine = [row for row in rows if row.id.startswith(f"{name}.")]
        if mine:
            draw = net_panel if mine[0].id.count(".") == 3 else cni_panel
            # gnuplot takes letters, digits and underscores as the name of data.
            drawn.append(f"set title \"{title}\"\n" + draw(re.sub(r"\W", "_", name), mine))
    if not drawn:
        return
    lines = (len(drawn) + 1) // 2
    head = (
        f"set multiplot layout {lines},2\n"
        "set style data histograms\nset style histogram errorbars gap 1 linewidth 1\n"
        "set style fill solid 0.7 border -1\n"
        "set boxwidth 0.9\nset grid ytics\nset xtics rotate by -20 nomirror\nset key horizontal top left samplen 2\n"
    )
    size = f"size 1200,{350 * lines}"
    for kind, terminal in (("svg", f"svg {size} background 'white'"), ("png", f"pngcairo {size}")):
        script = f"set terminal {terminal}\nset output '{stem}.{kind}'\n{head}{''.join(drawn)}unset multiplot\n"
        # gnuplot reports what it cannot parse, draws the rest, and in some cases still exits with 0.
        done = subprocess.run(["gnuplot"], input=script, text=True, stderr=subprocess.PIPE, check=False)
        if done.returncode or done.stderr.strip():
            raise BenchError(f"gnuplot: exit {done.returncode}: {done.stderr.strip()}")
