# SPDX-License-Identifier: BSD-2-Clause
import itertools
import os
import random
import signal
import sys
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parent / "lib"
sys.path.insert(0, str(LIB))
pytest.register_assert_rewrite(*(path.stem for path in LIB.glob("*.py")))


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: the few that the run under sanitizers repeats")
    config.addinivalue_line("markers", "long: slow, random, or sensitive to time or load: not in `make test`, but in `make test-long` or `make test-e2e`")
    config.addinivalue_line("markers", "alone: long, and needs the machine for itself: a flood, or a count of lost packets")
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


def in_drawn_order(items, number):
    """The tests of each file in an order of this number: one that passes only behind another hides something. (pytest brings
    those with a module's fixture in common together afterwards.)
    """
    draw = random.Random(number)
    for _, of_file in itertools.groupby(range(len(items)), key=lambda i: items[i].path):
        places = list(of_file)
        drawn = [items[i] for i in places]
        draw.shuffle(drawn)
        items[places[0] : places[-1] + 1] = drawn


@pytest.hookimpl(tryfirst=True)  # before `-m` selects, and before pytest groups tests by fixtures
def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.long)
    if number := os.environ.get("WARREN_ORDER"):
        in_drawn_order(items, number)
    twice = [item.nodeid for item in items if {"lab", "cluster"} <= {*item.fixturenames}]
    if twice:
        raise pytest.UsageError("two nodes that know nothing of each other, by `cluster` and by `lab` (`node`, `world`, ...): " + ", ".join(twice))
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root: it makes namespaces"))
