# SPDX-License-Identifier: BSD-2-Clause
"""The output of `make bench`, from stored figures: the table, the JSON and the plot. And its options."""

import json
import re
import subprocess
import sys
from dataclasses import asdict

import pytest

from lab import REPO

BENCH = REPO / "tests/bench"
STORED = BENCH / "stored.json"


@pytest.fixture(scope="module")
def report():
    sys.path.insert(0, str(BENCH))
    import report

    yield report
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def goals(report):
    import goals

    return goals


@pytest.fixture
def rows(report, goals):
    rows = [report.Row(**row) for row in json.loads(STORED.read_text())["rows"]]
    goals.evaluate(rows)
    return rows


def test_stored_results_have_all_that_is_drawn(report, rows):
    drawn = [name for name, _ in report.PANELS]
    assert [name for name in drawn if not any(row.id.startswith(f"{name}.") for row in rows)] == []


def test_table(report, goals, rows, capsys):
    report.table(rows)
    report.explain(rows)
    goals.table(rows)
    out = capsys.readouterr().out
    assert {row.id for row in rows} <= set(re.findall(r"\S+", out))
    assert len(re.findall(r"misses its goal", out)) == sum(row.met is False and row.ratio is not None for row in rows)


def test_json(report, rows, tmp_path):
    report.save_json(rows, tmp_path / "results.json")
    assert [asdict(row) for row in report.load_json(tmp_path / "results.json")] == [asdict(row) for row in rows]


def test_goals(goals, rows, tmp_path):
    """All that has a goal, once, in order; what was not measured is named."""
    goals.save(rows, tmp_path / "goals.json")
    saved = json.loads((tmp_path / "goals.json").read_text())
    assert sorted(one["row"] for one in saved["rows"]) == sorted(row.id for row in rows if row.goal is not None) != []
    assert set(saved["not_measured"]) == {goal.rows for goal in goals.GOALS} - {one["rows"] for one in saved["rows"]} != set()
    assert {one["met"] for one in saved["rows"]} <= {True, False}


@pytest.mark.parametrize("name, ratio, value, rival, met", [
    ("net.crr_p50.v4.warren-policy", 1.11, 9, 1.15, True),
    ("net.crr_p50.v4.warren-policy", 1.11, 9, 1.10, False),  # behind bridge
    ("net.crr_p50.v4.warren-policy", 1.13, 9, 1.15, False),
    ("net.crr_p50.v4.warren-policy", 1.11, 9, None, True),
    ("net.udp.v4.warren-policy", 0.90, 9, None, True),
    ("net.udp.v4.warren-policy", 0.89, 9, None, False),
    ("cni.rss_peak.warren", 9, 4.0, None, True),
    ("cni.rss_peak.warren", 0.1, 4.1, None, False),
    ("policy.denied_v6_lost", None, 0, None, True),
    ("policy.denied_v6_lost", None, 1, None, False),
    ("policy.denied_v6_sent", None, 1, None, None),
    ("net.udp.v4.warren", 0.1, 1, None, None),
    ("prog.flows_65536_v4.from_pod", None, 90, None, None),  # against nothing
    ("prog.flows_65536_v4.from_pod", 1.01, 90, None, False),
])
def test_a_goal(report, goals, name, ratio, value, rival, met):
    rows = [report.Row(name, value, "", None, ratio, None, None, 1)]
    if rival:
        rows.append(report.Row(f"{name.rpartition('.')[0]}.bridge", 1, "", None, rival, None, None, 1))
    goals.evaluate(rows)
    assert rows[0].met is met


def test_plot(report, rows, tmp_path):
    """A panel for each figure, a number at each bar. (report.plot() fails on any message of gnuplot.)"""
    report.plot(rows, tmp_path / "results")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    svg = (tmp_path / "results.svg").read_text()
    assert svg.rstrip().endswith("</svg>")
    texts = re.findall(r"<tspan[^>]*>([^<]*)", svg) + re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    for _, title in report.PANELS:
        assert any(title.split(":")[0].replace("'", "&#39;") in text or title.split(":")[0] in text for text in texts), title
    bars = [row for row in rows if any(row.id.startswith(f"{name}.") for name, _ in report.PANELS)]
    assert sum(bool(re.fullmatch(r"\d+\.\d\d", text.strip())) for text in texts) >= len(bars)


@pytest.mark.parametrize("name", ["service-cross.rr_p50", "net.rr_p50"])
def test_plot_fails_if_gnuplot_reports_an_error(report, rows, tmp_path, name):
    broken = [report.Row(**{**asdict(row), "value": "no number", "ratio": 1.0, "min": "no number"}) for row in rows if row.id.startswith(f"{name}.")]
    with pytest.raises(report.BenchError, match="gnuplot"):
        report.plot(broken, tmp_path / "results")


def test_options():
    done = subprocess.run([BENCH / "run.sh", "--help"], check=True, capture_output=True, text=True)
    assert "--only PATTERN" in done.stdout
    for program in sorted(BENCH.glob("*.py")):
        compile(program.read_text(), program, "exec")
