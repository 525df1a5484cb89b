# SPDX-License-Identifier: BSD-2-Clause
import os
import signal
import sys
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parent / "lib"
sys.path.insert(0, str(LIB))
pytest.register_assert_rewrite(*(path.stem for path in LIB.glob("*.py")))


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: the few that the run under sanitizers repeats")
    config.addinivalue_line("markers", "long: takes more than some seconds; only `make test-attack` or, of a Kubernetes, `make test-e2e` runs it")
    config.addinivalue_line("markers", "kernels: an attack whose outcome depends on the kernel; it runs in the machines of `make test-vm`, too")

    def terminated(*_):
        raise KeyboardInterrupt

    # So that fixtures clean up.
    signal.signal(signal.SIGTERM, terminated)


# Each directory has a `lab` of its own, and these modules depend on it.


@pytest.fixture(scope="module")
def node(lab):
    return lab.node


@pytest.fixture(scope="module")
def world(lab):
    return lab.world


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request):
    return request.param


def pytest_collection_modifyitems(items):
    twice = [item.nodeid for item in items if {"lab", "cluster"} <= {*item.fixturenames}]
    if twice:
        raise pytest.UsageError("two nodes that know nothing of each other, by `cluster` and by `lab` (`node`, `world`, ...): " + ", ".join(twice))
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root: it makes namespaces"))
