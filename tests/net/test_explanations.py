# SPDX-License-Identifier: BSD-2-Clause
"""Every denial has an author: `policy why`, `monitor` and `trace` name the policies that isolate, say of each rule why it
does not allow the flow, and propose the rule that would; with that rule the flow is allowed.
"""

import pytest
import yaml

from cluster import Cluster
from manifests import block, namespace, pods, policy, port, sources
from monitor import Drops
from probes import Flow

NAMESPACES = [namespace("shop", team="blue"), namespace("other", team="red")]
PODS = {
    "shop/web": {"app": "web", "pod-template-hash": "5f6d8c"},
    "shop/db": {"app": "db"},
    "other/client": {"app": "client"},
}
QUARANTINED = "other/lost"
POLICIES = [
    policy("shop/default-deny", {}, types=["Ingress"]),
    policy(
        "shop/db",
        {"app": "db"},
        ingress=[
            sources(pods(app="api"), ports=[port(8080)]),
            sources(pods(app="web"), ports=[port(5432)]),
            sources(pods(app="web"), ports=[port(53, "UDP")]),
        ],
    ),
]
WEB_TO_DB = "isolated by shop/db and shop/default-deny; of 3 ingress rules none allows: 1 wrong peer, 1 wrong protocol, 1 wrong port"


@pytest.fixture(scope="module")
def cluster():
    with Cluster(*NAMESPACES) as cluster:
        for name, labels in PODS.items():
            cluster.pod(name, labels)
        cluster.pod(QUARANTINED, manifest=False, policyTimeout=0)
        yield cluster
        cluster.end_probes()


@pytest.fixture(autouse=True)
def policies(cluster):
    cluster.apply("policies", *POLICIES)


def why(cluster, src, dst, family, *options):
    args = ("policy", "why", src, dst, "--family", family)
    return cluster.node.warren_json(*args, *options), cluster.node.warren(*args, *options).stdout


def denied(answer, point):
    return next(row for row in answer["evaluated"] if row["point"] == point and row["verdict"] == "denied")


def proposed(text):
    """The YAML of an answer's text."""
    lines = text.partition("To allow it, ")[2].splitlines()[1:]
    return yaml.safe_load("\n".join(line for line in lines if line.startswith("    ")))


def test_why_names_the_policies_and_the_change(cluster, family):
    answer, text = why(cluster, "shop/web", "shop/db:8080/tcp", family)
    point = denied(answer, "ingress")
    assert point["because"] == WEB_TO_DB
    assert f"ingress of shop/db: {WEB_TO_DB}." in text
    assert "  shop/db ingress[0]: wrong peer\n  shop/db ingress[1]: wrong port\n  shop/db ingress[2]: wrong protocol\n" in text
    assert "To allow it, add to shop/db ingress a rule from pods app=web of namespace shop, port 8080/TCP:" in text
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"protocol": "TCP", "port": 8080}]}
    assert point["explanation"]["change"]["rule"] == rule
    assert proposed(text) == {"spec": {"ingress": [rule]}}


@pytest.mark.parametrize(
    "src, dst, point",
    [
        ("shop/web", "shop/db:8080/tcp", "ingress"),  # a rule for shop/db
        ("other/client", "shop/web:8080/tcp", "ingress"),  # only shop/default-deny isolates: a policy of its own
        ("other/client", "shop/db:53/udp", "ingress"),
        ("world", "shop/db:8080/tcp", "ingress"),
    ],
)
def test_the_proposed_change_allows_the_flow(cluster, family, src, dst, point):
    """As `policy why` prints it, put into the manifest. Evaluated by the maps, and with pods by real packets too."""
    answer, text = why(cluster, src, dst, family)
    assert answer["verdict"] == "denied"
    change, fragment = denied(answer, point)["explanation"]["change"], proposed(text)
    objects = [dict(o) for o in POLICIES]
    if change["policy"]:
        target = next(o for o in objects if f"{o['metadata']['namespace']}/{o['metadata']['name']}" == change["policy"])
        target["spec"] = {**target["spec"], point: target["spec"].get(point, []) + fragment["spec"][point]}
    else:
        assert fragment == change["manifest"]
        objects.append(fragment)
    cluster.apply("policies", *objects)
    answer, text = why(cluster, src, dst, family)
    assert answer["verdict"] == "allowed" and "isolated by" not in text
    assert all(row["explanation"] is None for row in answer["evaluated"])
    if src in cluster.pods:
        name, service = dst.split(":")
        number, protocol = service.split("/")
        flow = Flow(src, name, family, f"{protocol}/{number}")
        assert cluster.prober.run([flow])[flow].passed
        cluster.end_probes()


def test_monitor_and_trace_say_the_same(cluster, family):
    """First of a new flow, then of a flow that conntrack holds as denied."""
    web, db = cluster.pods["shop/web"], cluster.pods["shop/db"]
    with Drops(cluster.node) as monitor, web.udp(family) as sock:
        sock.sendto(b"x", (db.ips[family], 8080))
        event = monitor.wait_sent(sock)
        because = WEB_TO_DB.replace("1 wrong protocol, 1 wrong port", "1 wrong port").replace("1 wrong peer", "1 wrong peer, 1 wrong protocol")
        assert event["reason"] == "ingress_denied" and event["ingress"]["because"] == because
        assert event["ingress"]["explanation"]["change"]["policy"] == "shop/db"
        source = sock.getsockname()[1]
        args = ("trace", "shop/web", "shop/db:8080/udp", "--sport", source, "--family", family)
        answer = cluster.node.warren_json(*args)
        assert f"denied before: {because}" in cluster.node.warren(*args).stdout
        assert answer["ingress_explanation"] == event["ingress"]["explanation"]
    answer = cluster.node.warren_json("trace", "shop/web", "shop/db:9/tcp", "--family", family)
    steps = {step["step"]: step["result"] for step in answer["steps"]}
    assert steps["ingress"].startswith(f"denied: {WEB_TO_DB}")
    assert answer["egress_explanation"] is None


def test_quarantine_and_invalid_policies_are_named(cluster, family):
    cause = "in quarantine: there is no pod object of that name"
    answer, text = why(cluster, QUARANTINED, "shop/web:8080/tcp", family)
    assert denied(answer, "egress")["because"] == cause and f"egress of {QUARANTINED}: {cause}." in text
    bad = policy("shop/bad", {"app": "web"}, ingress=[sources(block("10.0.0.0/8", "11.0.0.0/8"))])
    cluster.apply("policies", *POLICIES, bad)
    answer, text = why(cluster, "shop/db", "shop/web:8080/tcp", family)
    assert "isolated by shop/bad (invalid: " in denied(answer, "ingress")["because"]
    assert "To allow it, add a policy that allows ingress from pods app=db of namespace shop" in text


def test_without_an_agent_the_class_is_named(cluster, family):
    cluster.agent.stop()
    try:
        answer, text = why(cluster, "shop/web", "shop/db:8080/tcp", family)
        point = denied(answer, "ingress")
        assert point["because"] == f"no rule of class {point['class']} matched" and point["explanation"] is None
        assert "no agent runs on this node: the maps hold no names of the policies that isolate." in text
        steps = cluster.node.warren("trace", "shop/web", "shop/db:8080/tcp", "--family", family).stdout
        assert f"denied: no rule of class {point['class']} matched" in steps
        with Drops(cluster.node) as monitor, cluster.pods["shop/web"].udp(family) as sock:
            sock.sendto(b"x", (cluster.pods["shop/db"].ips[family], 8080))
            assert monitor.wait_sent(sock)["ingress"]["because"] == point["because"]
    finally:
        cluster.agent.start()
