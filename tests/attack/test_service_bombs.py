# SPDX-License-Identifier: BSD-2-Clause
"""A tenant that may write Services and EndpointSlices fills this node's maps of services. Its quota is bounded, the
agent reports what was not programmed, and the Services of others change without delay.
"""

import itertools
import time

import pytest

from cluster import Cluster
from manifests import endpoint_slice, port, service
from rawbpf import PINS, map_entries

SHOP = {4: "10.96.0.10", 6: "fd00:96::10"}
PODS = {4: [f"192.0.2.{i}" for i in range(1, 101)], 6: [f"2001:db8::{i:x}" for i in range(1, 101)]}
# user/agent/services/balancer_quota.h
SERVICE_BACKENDS = 16384
ELEMENTS = {4: 1 << 18, 6: 1 << 18}
CHANGE = 1.0  # seconds by which another tenant's change is done: reading of manifests and busy processors included


@pytest.fixture
def cluster():
    with Cluster() as cluster:
        yield cluster


def vip(family, n):
    return f"10.97.{n // 250}.{n % 250 + 1}" if family == 4 else f"fd00:97::{n + 1:x}"


def pod(family, n):
    return f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" if family == 4 else f"fd00:1::{n >> 16:x}:{n & 65535:x}"


def ports(count, target=None):
    """`count` named ports; as a slice's, each with a target of its own, or all with the same."""
    return [{"name": f"p{i}", "port": (target(i) if target else i + 1)} for i in range(count)]


def bomb(name, family, number, port_count=100, endpoints=3000, same=False, each=1000):
    """A Service and its slices, with addresses that no other Service has."""
    first = (number + 1) << 17
    slices = [
        endpoint_slice(
            f"{name}-{family}-{at}",
            name,
            [{"addresses": [pod(family, first + i)]} for i in range(at, min(at + each, endpoints))],
            *ports(port_count, (lambda _: 8080) if same else (lambda i: 1000 + i)),
        )
        for at in range(0, endpoints, each)
    ]
    return [service(name, [vip(family, number)], *ports(port_count)), *slices]


def shop(family, addresses, target=8080):
    return [
        service("shop/web", [SHOP[family]], port(80)),
        endpoint_slice("shop/web-1", "shop/web", addresses, port(target)) if addresses else "",
    ]


def backends(cluster, address):
    """Those in the maps of one address and port."""
    found = cluster.node.warren_json("service", "get", address)[0]
    return {b["backend"] for b in found["backends"]} if found["state"] != "not in maps" else None


def socket_text(address, number):
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


def roll_out(cluster, family, addresses, target=8080):
    """Seconds until the shop's Service has these pods and no others in the maps."""
    began = time.monotonic()
    cluster.write("shop", *shop(family, addresses, target))
    cluster.agent.wait_applied()
    took = time.monotonic() - began
    assert backends(cluster, socket_text(SHOP[family], 80)) == {socket_text(a, target) for a in addresses}
    return took


def problems(cluster):
    return {row["service"]: row["problem"] for row in cluster.node.warren_json("service", "list") if row["problem"]}


def elements(cluster, name):
    return len(map_entries(cluster.node.outside(f"{PINS}/maps/{name}")) or {})


def settle(cluster):
    cluster.agent.wait_applied(timeout=60)


@pytest.mark.long
@pytest.mark.parametrize("family", (4, 6))
def test_one_namespace(cluster, family):
    """Three Services of 100 ports and 3,000 endpoints: 900,000 backends. Another tenant replaces its pods, and gets
    more.
    """
    roll_out(cluster, family, PODS[family][:2])
    cluster.write("bomb", *itertools.chain(*(bomb(f"evil/bomb{i}", family, i) for i in range(3))))
    settle(cluster)
    assert roll_out(cluster, family, PODS[family][2:4]) <= CHANGE
    assert roll_out(cluster, family, PODS[family]) <= CHANGE
    assert elements(cluster, f"backends{family}") <= 3 * SERVICE_BACKENDS + 100
    found = problems(cluster)
    assert found.keys() == {f"evil/bomb{i}" for i in range(3)}
    for text in found.values():
        assert text == f"{SERVICE_BACKENDS} of its 300000 IPv{family} backends are programmed: a Service may have {SERVICE_BACKENDS}"


@pytest.mark.long
@pytest.mark.parametrize("family", (4, 6))
def test_many_namespaces(cluster, family):
    """Together they need more than there is. A Service with few backends gets them, before and after, and a restart
    changes nothing.
    """
    for n in range(20):
        # The small ones get what the large ones have left.
        sizes = (1000, 100, 7, 1)
        made = (bomb(f"evil{n}/bomb{size}", family, 4 * n + i, endpoints=size) for i, size in enumerate(sizes))
        cluster.write(f"bomb{n}", *itertools.chain(*made))
    settle(cluster)
    assert elements(cluster, f"backends{family}") <= ELEMENTS[family] - SERVICE_BACKENDS
    roll_out(cluster, family, PODS[family][:50])
    roll_out(cluster, family, PODS[family][50:])
    assert elements(cluster, f"backends{family}") <= ELEMENTS[family] - SERVICE_BACKENDS
    cluster.agent.restart()
    settle(cluster)
    assert backends(cluster, socket_text(SHOP[family], 80)) == {socket_text(a, 8080) for a in PODS[family][50:]}
    roll_out(cluster, family, PODS[family][:1])


@pytest.mark.parametrize("family", (4, 6))
def test_ports_share_a_list(cluster, family):
    """100 ports with the same pods and the same target are one list; two targets are two; they share again afterwards."""
    cluster.apply("web", *bomb("shop/many", family, 0, endpoints=500, same=True))
    assert elements(cluster, "service_lists") == elements(cluster, "service_members") == 500
    assert elements(cluster, f"backends{family}") == 500
    made = bomb("shop/many", family, 0, endpoints=500, same=True)
    made[1]["ports"][7]["port"] = 8081
    cluster.apply("web", *made)
    assert elements(cluster, "service_lists") == elements(cluster, f"backends{family}") == 1000
    cluster.agent.restart()
    settle(cluster)
    cluster.apply("web", *bomb("shop/many", family, 0, endpoints=500, same=True))
    assert elements(cluster, "service_lists") == elements(cluster, "service_members") == 500
    cluster.remove("web")
    assert elements(cluster, "service_lists") == elements(cluster, f"backends{family}") == 0
