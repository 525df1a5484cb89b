# SPDX-License-Identifier: BSD-2-Clause
"""`warren flows`: who talks to whom, by workload, from the flows of real pods. Each test has ports of its own, so that no
row of another one is taken for its.
"""

import contextlib
import itertools
import time

import pytest

from cluster import Cluster
from lab import NODE_GATEWAY, Lab
from manifests import endpoint_slice, namespace, pods, policy, port, service, sources
from monitor import Drops, Stream
from overlay import Overlay
from traffic import Denied, Transfer

NAMESPACES = [namespace("shop"), namespace("other")]
WEB1, WEB2, DB = "shop/web-5f6d8c7b9-x2lkq", "shop/web-5f6d8c7b9-7xvbn", "shop/db-0"
CLIENT, LOCKED = "other/client", "other/locked"
PODS = {
    WEB1: {"app": "web", "pod-template-hash": "5f6d8c7b9"},
    WEB2: {"app": "web", "pod-template-hash": "5f6d8c7b9"},
    DB: {"app": "db", "controller-revision-hash": "db-7c9", "statefulset.kubernetes.io/pod-name": "db-0"},
    CLIENT: {"app": "client"},
    LOCKED: {"app": "locked"},
}
POLICIES = [
    policy("shop/db", {"app": "db"}, ingress=[sources(pods(app="web"))]),
    policy("other/locked", {"app": "locked"}, types=["Egress"]),
]
VIP = {4: "10.96.0.10", 6: "fd00:96::10"}

# Below those that the kernel draws from.
PORTS = itertools.count(20000)

IS_WEB = {"kind": "deployment", "namespace": "shop", "name": "web", "address": None}
IS_DB = {"kind": "statefulset", "namespace": "shop", "name": "db", "address": None}
IS_CLIENT = {"kind": "pod", "namespace": "other", "name": "client", "address": None}
IS_HOST = {"kind": "host", "namespace": None, "name": None, "address": None}
NOT_ISOLATED = {"because": "not isolated", "denied": False, "rule": 1}


def is_world(addresses=1, address=None):
    return {"kind": "world", "namespace": None, "name": None, "address": address, "addresses": addresses, "more_addresses": False}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(*NAMESPACES) as cluster:
        for name, labels in PODS.items():
            cluster.pod(name, labels)
        cluster.apply("policies", *POLICIES)
        yield cluster


@pytest.fixture
def number():
    return next(PORTS)


@contextlib.contextmanager
def connected(server, number, *calls):
    """TCP connections to that port of the server: (client, address, port) of each call. They stand until the end."""
    with contextlib.ExitStack() as stack:
        listeners = {6 if ":" in address else 4 for _, address, _ in calls}
        listeners = {family: stack.enter_context(server.tcp_listen(family, number)) for family in listeners}
        for client, address, to in calls:
            stack.enter_context(client.tcp_connect(address, to))
            stack.enter_context(listeners[6 if ":" in address else 4].accept()[0])
        yield


def rows(node, number, *options):
    return [row for row in node.warren_json("flows", *options) if row["port"] == number]


def row_of(node, number, *options):
    (row,) = rows(node, number, *options)
    return row


def without(row, *keys):
    return {key: value for key, value in row.items() if key not in keys}


def test_an_allowed_row_field_by_field(cluster, family, number):
    """Of both pods of a Deployment; `flows list` and `flows` are the same."""
    db, begin = cluster.pods[DB], time.monotonic()
    to = (db.ips[family], number)
    with connected(db, number, (cluster.pods[WEB1], *to), (cluster.pods[WEB1], *to), (cluster.pods[WEB2], *to)):
        row = row_of(cluster.node, number)
        taken = (time.monotonic() - begin) * 1000
        assert without(row_of(cluster.node, number, "list"), "idle") == without(row, "idle")
        single = next(f for f in cluster.node.warren_json("ct", "list") if f["to"]["port"] == number)
    ingress = {key: single["ingress"][key] for key in ("because", "denied", "rule")}
    assert ingress["because"] == "shop/db ingress[0]"
    assert 0 <= row["idle"] <= taken + 2000
    assert without(row, "idle") == {
        "from": IS_WEB,
        "to": IS_DB,
        "protocol": "tcp",
        "port": number,
        "service": None,
        "flows": 3,
        "new": 0,
        "replied": 3,
        "closing": 0,
        "verdict": "allowed",
        "egress": NOT_ISOLATED,
        "ingress": ingress,
        "merged": False,
    }


def test_a_denial_by_ingress(cluster, family, number):
    """It names the policies as the monitor does."""
    client, db = cluster.pods[CLIENT], cluster.pods[DB]
    with Denied(client, db, db.ips[family], number) as denied, Drops(cluster.node) as monitor:
        event = monitor.wait_sent(denied.a)
        row = row_of(cluster.node, number)
        text = cluster.node.warren("flows", "--from", CLIENT, "--to", "shop/db").stdout
    assert (row["from"], row["to"], row["protocol"], row["verdict"]) == (IS_CLIENT, IS_DB, "udp", "denied")
    assert (row["flows"], row["new"], row["replied"], row["closing"]) == (1, 0, 0, 0)
    assert row["egress"] == NOT_ISOLATED
    assert row["ingress"] == {"because": "isolated by shop/db", "denied": True, "rule": 0}
    assert event["ingress"]["because"].startswith("isolated by shop/db;")
    (line,) = [line for line in text.splitlines() if f" {number}/udp " in line]
    assert line.split() == f"other/client shop/db {number}/udp - 1 0 0 0".split() + line.split()[8:10] + "denied not isolated isolated by shop/db".split()


def test_a_denial_by_egress(cluster, family, number):
    """The other end's policy, which is evaluated too, allows it."""
    client = cluster.pods[CLIENT]
    with Denied(cluster.pods[LOCKED], client, client.ips[family], number) as denied, Drops(cluster.node) as monitor:
        event = monitor.wait_sent(denied.a)
        row = row_of(cluster.node, number)
    assert row["egress"] == {"because": "isolated by other/locked", "denied": True, "rule": 0}
    assert event["egress"]["because"].startswith("isolated by other/locked;")
    assert (row["from"]["name"], row["ingress"], row["verdict"], row["flows"]) == ("locked", NOT_ISOLATED, "denied", 1)


def test_through_a_service(cluster, family, number):
    db = cluster.pods[DB]
    cluster.apply(
        "service",
        service("shop/front", VIP.values(), port(80)),
        endpoint_slice(f"shop/front-{family}", "shop/front", [db.ips[family]], port(number)),
    )
    with connected(db, number, (cluster.pods[WEB1], VIP[family], 80), (cluster.pods[WEB2], db.ips[family], number)):
        found = rows(cluster.node, number)
        text = cluster.node.warren("flows").stdout
    cluster.remove("service")
    direct, through = sorted(found, key=lambda row: row["service"] is not None)
    assert direct["service"] is None and direct["flows"] == through["flows"] == 1
    assert through["service"] == {"address": VIP[family], "port": 80, "name": "shop/front"}
    assert (through["from"], through["to"], through["verdict"]) == (IS_WEB, IS_DB, "allowed")
    assert f" {'[' + VIP[6] + ']' if family == 6 else VIP[4]}:80 shop/front " in text


def test_the_world_is_one_or_one_by_one(cluster, family, number):
    client, far = cluster.pods[CLIENT], (Lab.WORLD[family], Lab.BEYOND[family])
    with connected(cluster.world, number, *((client, address, number) for address in far)):
        row = row_of(cluster.node, number)
        each = rows(cluster.node, number, "--addresses")
        text = cluster.node.warren("flows", "--to", "world").stdout
    assert (row["from"], row["to"], row["flows"], row["ingress"]) == (IS_CLIENT, is_world(2), 2, None)
    assert sorted((r["to"]["address"], r["flows"]) for r in each) == sorted((address, 1) for address in far)
    assert all(r["to"] == is_world(1, r["to"]["address"]) for r in each)
    assert " world (2 addresses) " in text


def test_from_the_world_and_from_the_host(cluster, family, number):
    client = cluster.pods[CLIENT]
    to = (client.ips[family], number)
    with connected(client, number, (cluster.world, *to), (cluster.node, *to)):
        found = {row["from"]["kind"]: row for row in rows(cluster.node, number)}
    assert {kind: row["from"] for kind, row in found.items()} == {"world": is_world(), "host": IS_HOST}
    assert all(row["to"] == IS_CLIENT and row["egress"] is None and row["ingress"]["denied"] is False for row in found.values())


def test_to_the_host(cluster, family, number):
    address = NODE_GATEWAY[family]
    with connected(cluster.node, number, (cluster.pods[CLIENT], address, number)):
        assert row_of(cluster.node, number)["to"] == IS_HOST


def test_filters_and_top(cluster, family, number):
    db, client = cluster.pods[DB], cluster.pods[CLIENT]
    calls = [(cluster.pods[WEB1], db.ips[family], number)] * 40
    with connected(db, number, *calls), connected(client, number, (db, client.ips[family], number)):
        for options, expected in [
            ((), {"shop/web", "shop/db"}),
            (("--from", "shop/web"), {"shop/web"}),
            (("--from", "web"), {"shop/web"}),
            (("--from", "other/web"), set()),
            (("--to", "client"), {"shop/db"}),
            (("--namespace", "other"), {"shop/db"}),
            (("--namespace", "shop"), {"shop/web", "shop/db"}),
            (("--verdict", "allowed"), {"shop/web", "shop/db"}),
            (("--verdict", "denied"), set()),
            (("--from", "shop/db", "--to", "world"), set()),
        ]:
            found = {"{namespace}/{name}".format(**row["from"]) for row in rows(cluster.node, number, *options)}
            assert found == expected, options
        rows_of_all = cluster.node.warren_json("flows", "top", "--count", 1000)
        counts = [row["flows"] for row in rows_of_all]
        assert counts == sorted(counts, reverse=True)
        assert [row["flows"] for row in rows_of_all if row["port"] == number] == [40, 1]
        assert [row["flows"] for row in cluster.node.warren_json("flows", "top", "--count", 1)] == counts[:1]


def test_follow_prints_new_rows_and_verdicts(cluster, family, number):
    """A row that appears; then the same one denied, since a policy has changed under its traffic."""
    db = cluster.pods[DB]

    def is_it(row):
        return row["port"] == number

    stream = Stream(cluster.node, "flows", "--follow", "--interval", 1, "--to", "shop/db", ready=b"following")
    with stream, Transfer(cluster.pods[WEB1], db, db.ips[family], listen_port=number, port=number) as transfer:
        row = stream.wait(is_it)
        assert (row["change"], row["verdict"], row["from"]) == ("new", "allowed", IS_WEB)
        cluster.apply("policies", policy("shop/db", {"app": "db"}, types=["Ingress"]), *POLICIES[1:])
        row = stream.wait(is_it)
        assert (row["change"], row["verdict"], row["ingress"]["because"]) == ("verdict", "denied", "isolated by shop/db")
        transfer.pause()
        cluster.apply("policies", *POLICIES)
        assert stream.close() == 0


def test_without_an_agent_each_pod_stands_for_itself(cluster, family, number):
    db = cluster.pods[DB]
    with connected(db, number, (cluster.pods[WEB1], db.ips[family], number)):
        cluster.agent.stop()
        try:
            row, text = row_of(cluster.node, number), cluster.node.warren("flows").stdout
        finally:
            cluster.agent.start()
    assert (row["from"]["kind"], row["from"]["name"]) == ("pod", "web-5f6d8c7b9-x2lkq")
    assert "without labels each pod is shown by itself" in text


def test_pods_of_another_node_and_that_node(family, number):
    """The same workload at both ends, as both nodes show it; a pod's label that is not from its owner is not believed."""
    with Overlay() as overlay:
        labels = {"app": "web", "pod-template-hash": "5f6d8c7b9"}
        a = overlay.pod("default/web-5f6d8c7b9-x2lkq", "n1", **labels)
        b = overlay.pod("default/web-5f6d8c7b9-7xvbn", "n2", **labels)
        other = overlay.pod("default/api-7xvbn", "n2", **{"pod-template-hash": "1"})
        overlay.wait_applied()
        overlay.wait_resolved()
        web = {**IS_WEB, "namespace": "default"}
        with connected(b, number, (a, b.ips[family], number)), connected(other, number, (overlay.nodes["n1"], other.ips[family], number)):
            for node in overlay.nodes.values():
                row = row_of(node, number, "--to", "web")
                assert (row["from"], row["to"], row["flows"]) == (web, web, 1)
            row = row_of(overlay.nodes["n2"], number, "--to", "api-7xvbn")
            assert row["from"] == {**IS_HOST, "kind": "node", "name": "n1"}
            assert row["to"] == {"kind": "pod", "namespace": "default", "name": "api-7xvbn", "address": None}
