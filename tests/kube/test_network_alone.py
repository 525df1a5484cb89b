# SPDX-License-Identifier: BSD-2-Clause
"""All of Kubernetes' own end-to-end tests of the network in a cluster without kube-proxy, [Slow], [Serial] and [Disruptive]
ones included: Warren is the only service proxy. None may be skipped but those that are left out here by name.
"""

import json

import pytest

from kube_cluster import Kubernetes, wait_dns
from load_balancer import LoadBalancer
from upstream_specs import Specs, check, exactly, name_images

INTERNET = "servers of the internet"
CLOUD = "names that only Google's cloud has"
SCTP = "SCTP sockets: that kernel module is not everywhere; tests/vm has it"
KUBE_PROXY = "of kube-proxy itself: its pods, its ports, its rules"
ALPHA = "off by default"
PROGRAM = "a program that only a registry has: iperf2"
NAMES = "10,000 Services' names: measures CoreDNS"
RESTART = "an API server in a pod; test_faults.py restarts ours"
SKEW = "measures the control plane"
NOT_RUN = {
    "DNS should provide DNS for the cluster [Provider:GCE]": CLOUD,
    "DNS configMap nameserver Forward PTR lookup should forward PTR records lookup to upstream nameserver [Slow] [Serial]": INTERNET,
    "DNS configMap nameserver Forward external name lookup should forward externalname lookup to upstream nameserver [Slow] "
    "[Serial]": INTERNET,
    "DNS should work with a service name that starts with a digit "
    "[FeatureGate:RelaxedServiceNameValidation] [Alpha] [Feature:OffByDefault]": ALPHA,
    "KubeProxy should set TCP CLOSE_WAIT timeout [Privileged]": KUBE_PROXY,
    "KubeProxyNFAcct [Feature:KubeProxyNFAcct] should update metric for tracking accepted packets destined for localhost "
    "nodeports": KUBE_PROXY,
    "Networking Granular Checks: Pods should function for intra-pod communication: sctp [LinuxOnly] [Feature:SCTPConnectivity]": SCTP,
    "Networking Granular Checks: Pods should function for node-pod communication: sctp [LinuxOnly] [Feature:SCTPConnectivity]": SCTP,
    "Networking Granular Checks: Services should function for endpoint-Service: sctp [Feature:SCTPConnectivity]": SCTP,
    "Networking Granular Checks: Services should function for node-Service: sctp [Feature:SCTPConnectivity]": SCTP,
    "Networking Granular Checks: Services should function for pod-Service: sctp [Feature:SCTPConnectivity]": SCTP,
    "[Feature:IPv6DualStack] Granular Checks: Services Secondary IP Family [LinuxOnly] should function for pod-Service: sctp "
    "[Feature:SCTPConnectivity]": SCTP,
    "Networking IPerf2 [Feature:Networking-Performance] should run iperf2": PROGRAM,
    "Networking should check kube-proxy urls": KUBE_PROXY,
    "Networking should provide Internet connection for containers [Feature:Networking-IPv4]": INTERNET,
    "Networking should provide Internet connection for containers [Feature:Networking-IPv6] [Experimental][LinuxOnly]": INTERNET,
    "Networking should provider Internet connection for containers using DNS [Feature:Networking-DNS]": INTERNET,
    "Networking should recreate its iptables rules if they are deleted [Disruptive]": KUBE_PROXY,
    "Service endpoints latency should not be very high [Conformance]": SKEW,
    "Services should work after restarting apiserver [Disruptive]": RESTART,
    "Services should work after restarting kube-proxy [Disruptive]": KUBE_PROXY,
    "[Feature:PerformanceDNS] [Serial] Should answer DNS query for maximum number of services per cluster": NAMES,
}
ELSEWHERE = {"Netpol": "test_netpol.py"}

# What needs more than two nodes, or zones of them.
IN_ZONES = r"Traffic Distribution|Topology Hints|.*HealthCheckNodePort correctly when ExternalTrafficPolicy changes"
CLUSTERS = {
    "two nodes": (Specs("alone", ".*", IN_ZONES, *ELSEWHERE, *map(exactly, NOT_RUN)), {}),
    "zones": (Specs("alone-zones", IN_ZONES), {"NODES": "6"}),
}
SECONDS = 5400
SPECS = [(cluster, name) for cluster, (specs, _) in CLUSTERS.items() for name in specs.params()]


@pytest.fixture(scope="module")
def results(request, image):
    """Of the specs of a cluster."""
    specs, settings = CLUSTERS[request.param]
    with Kubernetes("alone", CNI="warren", PROXY="none", IMAGES="agnhost coredns regression-issue-74839", **settings) as cluster:
        for place, node in enumerate(cluster.names):
            zone = {"metadata": {"labels": {"topology.kubernetes.io/zone": f"zone-{place // 2}"}}}
            cluster.api.merge("Node", node, zone if len(cluster.names) > 2 else {})
        # A cloud's load balancer finds nodes by it.
        cluster.api.merge("ConfigMap", "warren", {"data": {"SERVICE_HEALTHZ": "0.0.0.0:10256"}}, "kube-system")
        add_argument(cluster, "--external-ips=on")
        wait_dns(cluster)
        name_images(cluster)
        with LoadBalancer(cluster):
            yield specs.run(cluster, seconds=SECONDS)


def add_argument(cluster, argument):
    """Of the agents."""
    patch = [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": argument}]
    cluster.kubectl("patch", "daemonset", "warren", "-n", "kube-system", "--type=json", "-p", json.dumps(patch))
    cluster.kubectl("rollout", "status", "daemonset/warren", "-n", "kube-system", "--timeout=240s", timeout=300)


@pytest.mark.parametrize(("results", "name"), SPECS, indirect=["results"], scope="module")
def test_spec(results, name):
    check(results[name], skips=False)
