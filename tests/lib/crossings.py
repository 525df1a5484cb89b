# SPDX-License-Identifier: BSD-2-Clause
"""Tests that run over several underlays: which of these are in the gate (`make test`). The others are marked `long`."""

import pytest

from overlay import ALL


def crossed(setups, *gate):
    """The setups as parameters of a fixture or test; of these the gate has only `gate`."""
    return [pytest.param(name, marks=[] if name in gate else [pytest.mark.long]) for name in setups]


# The two families of tunnels, in a file that has no other difference between them than the outer header.
OUTER = [pytest.param(family, id=f"over-v{family}", marks=[] if family == 6 else [pytest.mark.long]) for family in ALL]
