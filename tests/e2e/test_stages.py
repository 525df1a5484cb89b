# SPDX-License-Identifier: BSD-2-Clause
"""The stages of `make test` fail when they should: on a skip that is not expected, and without Kubernetes' programs."""

import re
import subprocess

import pytest

from lab import REPO

STAGES = f"""
root={REPO} out=$PWD
source {REPO}/tests/lib/stage.sh
"""
# A log as cmocka prints it, of a stage of that name.
CMOCKA = """
tests() {{ printf '[  PASSED  ] 3 test(s).\\n'; printf '[  SKIPPED ] %s\\n' {tests}; printf '[  SKIPPED ] {count} test(s)\\n'; }}
stage {stage} cmocka 60 tests
finish
"""
# The stage's own function of run.sh.
KUBERNETES = re.search(r"^kubernetes\(\) \{.*?^\}\n", (REPO / "tests/run.sh").read_text(), re.M | re.S)[0]


def run(directory, script, **env):
    done = subprocess.run(["bash", "-c", STAGES + script], cwd=directory, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True)
    return done.returncode, done.stdout


def cmocka(directory, stage, *tests):
    return run(directory, CMOCKA.format(stage=stage, tests=" ".join(tests), count=len(tests)))


def test_an_expected_skip_is_counted(tmp_path):
    status, text = cmocka(tmp_path, "policy-san", "without_memory_nothing_is_lost")
    assert (status, text.splitlines()[-1]) == (0, "3 passed, 0 failed, 1 skipped")


@pytest.mark.parametrize("stage", ["policy-san", "policy"])
def test_any_other_skip_fails_the_stage(tmp_path, stage):
    """In another stage an expected one, too."""
    other = {"policy-san": "another", "policy": "without_memory_nothing_is_lost"}[stage]
    status, text = cmocka(tmp_path, stage, other)
    assert (status, text.splitlines()[-1]) == (1, "3 passed, 1 failed, 1 skipped")
    assert f"a skip that is not expected: {other}" in text


def test_an_expected_skip_that_does_not_occur(tmp_path):
    status, text = run(tmp_path, "stage policy-san check 60 true\nfinish")
    assert status == 0
    assert text.splitlines()[1:] == ["expected to be skipped, but not: without_memory_nothing_is_lost", "1 passed, 0 failed, 0 skipped"]


@pytest.mark.parametrize("reason, status", [("with chunks only: it takes 5 minutes", 0), ("no API server", 1)])
def test_a_skip_for_another_reason_is_not_expected(tmp_path, reason, status):
    name = "test_etcd_restored_from_a_backup[watch-list]"
    (tmp_path / "xml").write_text(
        f'<testsuite><testcase classname="tests.kube.test_watch" name="{name}"><skipped message="{reason}"/></testcase></testsuite>'
    )
    done = subprocess.run([REPO / "tests/lib/skips.py", "test-e2e", tmp_path / "log", tmp_path / "xml"], capture_output=True, text=True)
    assert done.returncode == status, done.stdout


def test_a_kernel_that_is_not_there_fails_the_machines(tmp_path):
    status, text = run(tmp_path, """
        machines() { echo 'SKIPPED 6.1: no such kernel from apt'; echo '6.12: 9 passed, 0 failed, 0 skipped'; }
        stage vm vm 60 machines
        finish""")
    assert (status, text.splitlines()[-1]) == (1, "9 passed, 1 failed, 1 skipped")


def test_kubernetes_that_cannot_be_built_fails(tmp_path):
    """Here without a Go compiler; build.sh says that as "not available"."""
    status, text = run(REPO, f"out={tmp_path}\n{KUBERNETES}\nstage kube junit 60 kubernetes\nfinish", GO="/nonexistent", KUBE=str(tmp_path))
    assert (status, text.splitlines()[-1]) == (1, "0 passed, 1 failed, 0 skipped")
    assert "without its programs nothing of this stage can run" in text
