# SPDX-License-Identifier: BSD-2-Clause
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
pytest.register_assert_rewrite("lab")


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: the few that the run under sanitizers repeats")


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root: it makes namespaces"))
