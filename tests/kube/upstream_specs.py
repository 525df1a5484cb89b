# SPDX-License-Identifier: BSD-2-Clause
"""Kubernetes' own end-to-end tests of networking. Each is a test here; they run several at a time, once, when the first
result is needed.
"""

import json
import os
import re
import subprocess

import pytest

from control_plane import KUBE
from lab import BUILD

PROGRAM = KUBE / "bin/e2e.test"
SEED = os.environ.get("WARREN_SEED")  # of the order of the specs
FOCUS = os.environ.get("WARREN_SPECS", "")  # a regular expression: only these
PROCESSES = os.environ.get("WARREN_SPECS_PROCESSES", str(2 * os.cpu_count()))
SECONDS = 1800
FLAGS = (
    "--provider=skeleton --num-nodes=2 --minStartupPods=0 --system-pods-startup-timeout=5s --prepull-images=false "
    "--dump-logs-on-failure=false --disable-log-dump --delete-namespace=true"
).split()


def exactly(name):
    """A regular expression for one spec."""
    return re.escape(name) + "$"


class Specs:
    """The specs that match one regular expression and none of the others."""

    def __init__(self, name, included, *excluded):
        self.directory = BUILD / name
        # Ginkgo selects the specs that match any of several --focus.
        self.selected = [rf"--focus=\[sig-network\] ({included}).*({FOCUS})", *(f"--skip={pattern}" for pattern in excluded)]

    def _ginkgo(self, report, *options):
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / report).unlink(missing_ok=True)
        place = (f"--json-report={report}", f"--output-dir={self.directory}")
        return [str(KUBE / "bin/ginkgo"), "--no-color", *self.selected, *place, *options, str(PROGRAM), "--", *FLAGS]

    def _specs(self, report):
        for suite in json.loads((self.directory / report).read_text()):
            for spec in suite["SpecReports"] or []:
                if spec["LeafNodeType"] == "It":
                    yield " ".join([*spec["ContainerHierarchyTexts"], spec["LeafNodeText"]]).removeprefix("[sig-network] "), spec

    def params(self):
        """For pytest.mark.parametrize()."""
        if not PROGRAM.exists():
            return [pytest.param("", marks=pytest.mark.skip("no e2e.test: run tests/kube/build.sh e2e"))]
        subprocess.run(self._ginkgo("dry.json", "--dry-run"), check=True, capture_output=True, timeout=60)
        return sorted(name for name, spec in self._specs("dry.json") if spec["State"] != "skipped")

    def run(self, cluster, processes=PROCESSES, seconds=SECONDS):
        """{name: its result}"""
        options = [f"--procs={processes}", f"--timeout={seconds}s", "--keep-going", *([f"--seed={SEED}"] if SEED else [])]
        done = cluster.node(
            "cp", *self._ginkgo("report.json", *options), "--kubeconfig=/run/kube/pki/admin.conf", f"--kubectl-path={KUBE}/bin/kubectl",
            check=False, timeout=seconds + 60,
        )
        (self.directory / "log").write_text(done.stdout + done.stderr)
        assert (self.directory / "report.json").exists(), done.stdout[-5000:] + done.stderr
        return dict(self._specs("report.json"))


# Programs of these images that the tests call are in agnhost's here, too (build.sh); nginx must only run.
ALIASES = ("jessie-dnsutils", "nginx", "busybox")


def name_images(cluster):
    """All images of the tests, without a registry."""
    names = subprocess.run([PROGRAM, "--list-images"], check=True, capture_output=True, text=True).stdout.split()
    short = {name: name.rpartition("/")[2].partition(":")[0] for name in names if "/e2e-test-images/" in name}
    agnhost = next(name for name in short if short[name] == "agnhost")
    for node in cluster.names:
        for name in short:
            if short[name] in ALIASES:
                cluster.node(node, "ctr", "-n", "k8s.io", "images", "tag", "--force", agnhost, name)


def check(spec, skips=True):
    failure = spec.get("Failure", {})
    if skips and spec["State"] == "skipped":
        pytest.skip(failure.get("Message", "not run"))  # the cluster lacks what it needs
    assert spec["State"] == "passed", f"{failure.get('Message')}\n{failure.get('Location', {}).get('FileName')}"
