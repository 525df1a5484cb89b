# SPDX-License-Identifier: BSD-2-Clause
"""Kubernetes' own end-to-end tests of Services, names and the rest of the network, beside kube-proxy and with CoreDNS."""

import pytest

from kube_cluster import wait_dns
from upstream_specs import Specs, check, name_images

# What is left out, and why.
NOT_HERE = {
    r"Netpol|NetworkPolicy": "test_netpol.py",
    r"\[(Disruptive|Serial|Slow)\]": "needs the cluster for itself, or minutes",
    r"LoadBalancer|\[Feature:Ingress|IngressClass|Ingress API": "of a cloud's load balancers, which are not there",
    r"Service endpoints latency": "measures the control plane",
    r"KubeProxy|invalid conntrack state|pod resolv.conf": "programs in images that only a registry has",
    r"\[Alpha\]": "off by default",
    r"SCTP": "its kernel module is not everywhere; tests/vm has it",
    r"\[Feature:Networking-": "the world's servers, which are not there",
}
SPECS = Specs("network", ".*", *NOT_HERE)


@pytest.fixture(scope="session")
def results(warren):
    wait_dns(warren)
    name_images(warren)
    return SPECS.run(warren)


@pytest.mark.parametrize("name", SPECS.params())
def test_spec(results, name):
    check(results[name])
