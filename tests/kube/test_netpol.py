# SPDX-License-Identifier: BSD-2-Clause
"""Kubernetes' own end-to-end tests of NetworkPolicy. (SCTP is left out: that kernel module is not everywhere, and tests/vm has it.)"""

import pytest

from upstream_specs import Specs, check

SPECS = Specs("netpol", r"Netpol|NetworkPolicy", r"SCTP|DisabledForThisTest")


@pytest.fixture(scope="session")
def results(warren):
    return SPECS.run(warren)


@pytest.mark.parametrize("name", SPECS.params())
def test_spec(results, name):
    check(results[name])
