# SPDX-License-Identifier: BSD-2-Clause
"""A thousand pods that come and go on a node, under policies and as backends of Services: each ADD succeeds, and nothing
is left. How long the ADDs took, all against the first ones, is in churn.json, in the directory WARREN_SOAK_OUT.
"""

import collections
import statistics
import time

from cluster import Cluster
from manifests import endpoint, endpoint_slice, namespace, namespaces, pod_file, pod_object, pods, policy, port, service, sources
from soak import objects, report

PODS, FIRST, AT_ONCE, APPS = 1000, 50, 200, 20
WIDE = {"ipam": {"ranges": [[{"subnet": "10.88.0.0/16"}], [{"subnet": "fd00:88::/64"}]]}}


def app(number):
    return f"a{number % APPS}"


def policies():
    """Each app accepts its neighbour's pods, and those of all namespaces at one port."""
    for number in range(APPS):
        near = sources(pods(app=app(number + 1)))
        yield policy(f"churn/p{number}", {"app": app(number)}, ingress=[near, sources(namespaces(), ports=[port(8080)])])


def expose(cluster, number, living):
    """The app's Service, with those of its pods that live."""
    ports = [{"name": "web", **port(8080)}]
    vip = {4: f"10.96.1.{number + 1}", 6: f"fd00:96::1:{number + 1}"}
    slices = [
        endpoint_slice(f"churn/s{number}-{f}", f"s{number}", [endpoint(pod.ips[f], node="node") for pod in living], *ports)
        for f in (4, 6)
    ]
    cluster.write(f"s{number}", service(f"churn/s{number}", vip.values(), {"name": "web", **port(80)}), *(slices if living else ()))


def p99(seconds):
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]


def test_churn():
    with Cluster(namespace("churn"), *policies()) as cluster:
        before, took, living = objects(cluster.node), [], collections.defaultdict(list)
        for number in range(PODS):
            of = number % APPS
            if number >= AT_ONCE:
                cluster.delete(living[of].pop(0).label)
            name = f"churn/x{number}"
            cluster.write(pod_file(name), pod_object(name, {"app": app(of)}))
            begun = time.monotonic()
            pod = cluster.pod(name, manifest=False, **WIDE)
            took.append(time.monotonic() - begun)
            pod.label = name
            living[of].append(pod)
            expose(cluster, of, living[of])
        for of, left in living.items():
            for pod in left:
                cluster.delete(pod.label)
            cluster.unlink(f"s{of}")
        cluster.wait_applied()
        cluster.node.assert_clean()
        after = objects(cluster.node)
        assert {name: (before[name], after[name]) for name in before if after[name] != before[name]} == {}
        figures = {
            "ADDs": len(took), "ms p50": statistics.median(took) * 1000, "ms p99": p99(took) * 1000,
            "ms p50 of the first": statistics.median(took[:FIRST]) * 1000, "ms p99 of the first": p99(took[:FIRST]) * 1000,
        }
        figures["p99 against the first's"] = figures["ms p99"] / figures["ms p99 of the first"]
        report("churn", figures)
