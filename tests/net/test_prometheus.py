# SPDX-License-Identifier: BSD-2-Clause
"""What the agent serves to Prometheus, and the dashboard and alert rules of examples/monitoring, which must agree with it."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from agent import parse_metrics
from cluster import CLIENT, LABELS, NAMESPACES, Cluster
from lab import REPO

MONITORING = REPO / "examples/monitoring"
DASHBOARD = json.loads((MONITORING / "grafana.json").read_text())
ALERTS = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
EXPRESSIONS = {f"{panel['title']}: {target['expr']}": target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])}
EXPRESSIONS.update({rule["alert"]: rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]})
OF_PROMETHEUS = {"up"}  # its own: whether a scrape succeeded


@pytest.fixture(scope="module")
def page():
    with Cluster(*NAMESPACES) as cluster:
        cluster.pod(CLIENT, LABELS[CLIENT])
        cluster.wait_applied()
        return cluster.agent.http(b"GET /metrics HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2].decode()


def promtool(*args, **options):
    return subprocess.run([shutil.which("promtool"), *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def test_conventions(page):
    done = promtool("check", "metrics", input=page)
    assert (done.returncode, done.stdout) == (0, "")


def selectors(expr):
    """(name, [(label, operator, value)]) of each metric in an expression, but for the dashboard's own variables."""
    for name, labels in re.findall(r"\b(warren_\w+|process_\w+|up)\b(?:\{([^}]*)\})?", expr):
        yield name, [m for m in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', labels or "") if "$" not in m[2]]


def matches(labels, required):
    for label, operator, value in required:
        equal = bool(re.fullmatch(value, labels.get(label, ""))) if "~" in operator else labels.get(label, "") == value
        if equal == operator.startswith("!"):
            return False
    return True


@pytest.mark.parametrize("expr", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_every_expression_selects_what_is_served(page, expr):
    """The name, and each label's value: each alternative of a pattern, too."""
    served, found = parse_metrics(page), list(selectors(expr))
    assert found
    for name, required in found:
        if name in OF_PROMETHEUS:
            continue
        assert name in served, expr
        for label, operator, value in required:
            for one in value.split("|"):
                assert any(matches(dict(key), [(label, operator, one)]) for key in served[name]), f"{name}: {label}{operator}{one}"
        assert any(matches(dict(key), required) for key in served[name]), f"{name}{required}"


def test_series_do_not_grow_with_pods_or_policies(page):
    """Labels are of fixed sets, so no tenant chooses the number of series."""
    labels = {label for samples in parse_metrics(page).values() for key in samples for label, _ in key}
    assert labels == {"reason", "direction", "kind", "event", "map", "state", "le", "version"}


def test_alert_rules():
    tests = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    tested = {case["alertname"] for test in tests for case in test["alert_rule_test"]}
    assert tested == {rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]}
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = promtool(*command, cwd=MONITORING)
        assert done.returncode == 0, done.stdout
