# SPDX-License-Identifier: BSD-2-Clause
"""The stages of `make test` fail when they should: on a skip that is not expected, without Kubernetes' programs, on a test
that fails each time; and not on one that fails once.
"""

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
RUN = (REPO / "tests/run.sh").read_text()


def function(name):
    """One of run.sh's own."""
    return re.search(rf"^{name}\(\) \{{.*?^\}}\n", RUN, re.M | re.S)[0]


KUBERNETES = function("kubernetes")


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


# --- a test that fails ---------------------------------------------------------------------------------------------------


def pytests(directory, text, prepare="", then="", again="yes", each=60):
    """The stage of a file with these tests, and what the run says of it."""
    (directory / "test_it.py").write_text(text)
    return run(directory, f"again={again} each={each}\n{prepare}\nstage net junit 60 pytests net build test_it.py\n{then}\nfinish", WARREN_SEED="1")


FAILS_ONCE = """
import pathlib
def test_other(): pass
def test_flaky():
    seen = pathlib.Path("seen")
    if not seen.exists():
        seen.touch()
        assert False, "the first time"
"""
FAILS = """
def test_other(): pass
def test_broken(): assert False, "each time"
"""


def test_a_test_that_fails_once_is_flaky(tmp_path):
    status, text = pytests(tmp_path, FAILS_ONCE)
    assert (status, text.splitlines()[-1]) == (0, "2 passed, 0 failed, 0 skipped")
    flaky = text.splitlines()[-2]
    assert re.match(r"FLAKY test_it\.py::test_flaky WARREN_SEED=1 load=[\d.]+ .*the first time", flaky)
    assert (tmp_path / "flaky.txt").read_text() == flaky + "\n"


def test_a_test_that_fails_each_time_fails(tmp_path):
    status, text = pytests(tmp_path, FAILS)
    assert (status, text.splitlines()[-1]) == (1, "1 passed, 1 failed, 0 skipped")
    assert (tmp_path / "net.log").read_text().count("again, alone: test_it.py::test_broken") == 2
    assert "FLAKY" not in text


def test_nothing_runs_again_where_that_is_off(tmp_path):
    status, text = pytests(tmp_path, FAILS_ONCE, again="")
    assert (status, text.splitlines()[-1]) == (1, "1 passed, 1 failed, 0 skipped")


def test_a_test_of_the_change_itself_is_not_run_again(tmp_path):
    prepare = "export GIT_CONFIG_GLOBAL=/dev/null; git init -q; for i in 1 2; do date +%N >test_it.txt; git add .; git -c user.name=n -c user.email=e commit -qm $i; echo >>test_it.py; done"
    status, text = pytests(tmp_path, FAILS_ONCE, prepare)
    assert (status, text.splitlines()[-1]) == (1, "1 passed, 1 failed, 0 skipped")
    assert "not run again: of the change itself: test_it.py::test_flaky" in (tmp_path / "net.log").read_text()


@pytest.mark.parametrize(
    "excuse, text",
    {
        "Failed: Timeout >": "import time\ndef test_other(): pass\ndef test_hangs(): time.sleep(60)",
        "4 tests failed": "import pytest\ndef test_other(): pass\n@pytest.mark.parametrize('n', range(4))\ndef test_many(n): assert False",
        "ERROR at teardown of": "import pytest\n@pytest.fixture\ndef left():\n    yield\n    assert False\ndef test_leaves(left): pass",
        "exit status 2, and no test failed": "raise SystemError",
        "AddressSanitizer": "def test_other(): pass\ndef test_memory(): assert False, 'ERROR: AddressSanitizer: heap-use-after-free'",
    }.items(),
    ids=["hangs", "many", "teardown", "collection", "sanitizer"],
)
def test_what_no_second_run_excuses(tmp_path, excuse, text):
    """One that hangs ends alone: the others of its file run."""
    status, printed = pytests(tmp_path, text, each=2)
    assert status == 1
    assert re.search(r"not run again: .*" + excuse, (tmp_path / "net.log").read_text())
    if "test_other" in text:
        assert re.match(r"1 passed, [1-9]\d* failed, 0 skipped", printed.splitlines()[-1])


def test_what_a_test_leaves_behind_fails(tmp_path):
    functions = "".join(map(function, ("traces", "list_traces", "nothing_left")))
    text = "import subprocess\ndef test_leaves(): subprocess.run(['/sbin/ip', 'netns', 'add', 'forgotten'], check=True)"
    script = f"PATH=$PATH:/usr/sbin:/sbin WARREN_TEST_RUN=$$\n{functions}\ntraces $out/before"
    (tmp_path / "test_it.py").write_text(text)
    inner = f"{STAGES}{script}\nstage net junit 60 pytests net build test_it.py\nstage left-behind check 60 nothing_left\nfinish"
    # A network and a /run of its own: other tests make namespaces meanwhile, and what is left here ends with it.
    done = subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-c", f"mount -t tmpfs run /run && {{ {inner}\n}}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 passed, 1 failed, 0 skipped"), done.stdout + done.stderr
    assert "> netns forgotten" in (tmp_path / "left-behind.log").read_text()


@pytest.fixture
def unit_program(tmp_path):
    """Makes a program of tests/unit; its test one_of_them passes alone."""

    def make(name, *lines):
        program = tmp_path / "build/tests/unit" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        alone = """if [ "$1" = one_of_them ]; then echo '[  PASSED  ] 1 test(s).'; exit 0; fi"""
        program.write_text("\n".join(["#!/bin/sh", alone, *lines]))
        program.chmod(0o755)

    return make


FAILS_ONE = (
    "echo '[  ERROR   ] --- 1 != 2'; echo '[  FAILED  ] one_of_them'",
    "echo '[  PASSED  ] 3 test(s).'; echo '[  FAILED  ] 1 test(s), listed below:'; echo '[  FAILED  ] one_of_them'; exit 1",
)
UNIT = "again=yes\nstage unit cmocka 60 unit build\nfinish"


def test_a_cmocka_test_that_fails_once_is_flaky(tmp_path, unit_program):
    """By its name, alone, in the program whose line stands before it."""
    unit_program("test_some", *FAILS_ONE)
    status, text = run(tmp_path, UNIT)
    assert (status, text.splitlines()[-1]) == (0, "4 passed, 0 failed, 0 skipped")
    assert re.match(r"FLAKY build/tests/unit/test_some one_of_them .*1 != 2", text.splitlines()[-2])


@pytest.mark.parametrize("end", ["exit 1", "kill -ABRT $$", "echo '[  FAILED  ] GROUP SETUP'; exit 1"], ids=["exit", "signal", "setup"])
def test_a_program_that_ends_otherwise_is_not_excused(tmp_path, unit_program, end):
    """Not by the failure of another program's test, which would be."""
    unit_program("test_some", *FAILS_ONE)
    unit_program("test_other", "echo '[  PASSED  ] 3 test(s).'", end)
    status, text = run(tmp_path, UNIT)
    assert (status, text.splitlines()[-1]) == (1, "6 passed, 1 failed, 0 skipped")
    assert "not run again: " in (tmp_path / "unit.log").read_text()
