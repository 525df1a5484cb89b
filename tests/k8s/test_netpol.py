# SPDX-License-Identifier: BSD-2-Clause
"""Kubernetes' own end-to-end tests of NetworkPolicy. Each is a test here; they run several at a time, once, when the first is asked
for. (SCTP is left out: that kernel module is not everywhere, and tests/vm has it.)"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from kube import BUILD, K8S

SUITE = K8S / "bin/netpol.test"
SKIPPED = r"SCTP|DisabledForThisTest"
FOCUS = os.environ.get("WARREN_NETPOL", "")  # a regular expression: only these
SECONDS = 1800
FLAGS = (
    "--provider=skeleton --num-nodes=2 --minStartupPods=0 --system-pods-startup-timeout=5s --prepull-images=false "
    "--dump-logs-on-failure=false --disable-log-dump --delete-namespace=true"
).split()


def ginkgo(*options):
    selected = [f"--skip={SKIPPED}", *([f"--focus={FOCUS}"] if FOCUS else [])]
    return [K8S / "bin/ginkgo", "--no-color", *selected, *options, SUITE, "--"]


def specs(report):
    for suite in json.loads(report.read_text()):
        for spec in suite["SpecReports"] or []:
            if spec["LeafNodeType"] == "It" and spec["State"] != "skipped":
                words = [*spec["ContainerHierarchyTexts"], spec["LeafNodeText"]]
                yield " ".join(words).replace("[sig-network] Netpol ", "").replace(" [Feature:NetworkPolicy]", ""), spec


def names():
    if not SUITE.exists():
        return []
    report = BUILD / "netpol-dry.json"
    report.parent.mkdir(exist_ok=True)
    subprocess.run([*ginkgo("--dry-run", f"--json-report={report.name}", f"--output-dir={report.parent}"), *FLAGS],
                   check=True, capture_output=True, timeout=60)
    return sorted(name for name, _ in specs(report))


@pytest.fixture(scope="session")
def results(warren):
    """{name: what became of it}"""
    folder = BUILD / "netpol"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").unlink(missing_ok=True)
    processes = os.environ.get("WARREN_NETPOL_PROCESSES", str(2 * os.cpu_count()))
    done = warren.node(
        "cp", *map(str, ginkgo(f"--procs={processes}", f"--timeout={SECONDS}s", "--json-report=report.json",
                               f"--output-dir={folder}", "--keep-going")),
        *FLAGS, "--kubeconfig=/run/k8s/pki/admin.conf", f"--kubectl-path={K8S}/bin/kubectl",
        check=False, timeout=SECONDS + 60,
    )
    (folder / "log").write_text(done.stdout + done.stderr)
    report = folder / "report.json"
    assert report.exists(), done.stdout[-5000:] + done.stderr
    return dict(specs(report))


@pytest.mark.parametrize("name", names() or [pytest.param("", marks=pytest.mark.skip("no netpol.test: tests/k8s/build.sh e2e"))])
def test_spec(results, name):
    spec = results[name]
    failure = spec.get("Failure", {})
    assert spec["State"] == "passed", f"{failure.get('Message')}\n{failure.get('Location', {}).get('FileName')}"
