# SPDX-License-Identifier: BSD-2-Clause
"""What `make bench` makes of its figures, from stored ones: the table, the JSON and the plot. And its options."""

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


@pytest.fixture
def rows(report):
    return [report.Row(**row) for row in json.loads(STORED.read_text())["rows"]]


def test_stored_results_have_all_that_is_drawn(report, rows):
    drawn = [name for name, _ in report.PANELS]
    assert [name for name in drawn if not any(row.id.startswith(f"{name}.") for row in rows)] == []


def test_table(report, rows, capsys):
    report.table(rows)
    report.explain(rows)
    report.goals(rows)
    out = capsys.readouterr().out
    assert {row.id for row in rows} <= set(re.findall(r"\S+", out))
    assert len(re.findall(r"misses its goal", out)) == sum(row.met is False and row.ratio is not None for row in rows)


def test_json(report, rows, tmp_path):
    report.save_json(rows, tmp_path / "results.json")
    assert [asdict(row) for row in report.load_json(tmp_path / "results.json")] == [asdict(row) for row in rows]


def test_plot(report, rows, tmp_path):
    """A panel for each figure, a number at each bar. (report.plot() fails on whatever gnuplot says.)"""
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
def test_plot_fails_if_gnuplot_complains(report, rows, tmp_path, name):
    broken = [report.Row(**{**asdict(row), "value": "no number", "ratio": 1.0, "min": "no number"}) for row in rows if row.id.startswith(f"{name}.")]
    with pytest.raises(report.BenchError, match="gnuplot"):
        report.plot(broken, tmp_path / "results")


def test_options():
    done = subprocess.run([BENCH / "run.sh", "--help"], check=True, capture_output=True, text=True)
    assert "--only PATTERN" in done.stdout
    for program in sorted(BENCH.glob("*.py")):
        compile(program.read_text(), program, "exec")
