# SPDX-License-Identifier: BSD-2-Clause
"""What `warren` reports of several nodes: their state, whether they reply, and the verdict of a packet between them."""

import ipaddress
import socket

import pytest
from crossings import crossed
from manifests import namespaces, pods, policy, port, sources
from monitor import Drops
from netns import FAMILY, TIMEOUT, wait_for
from overlay import ALL, Overlay
from probes import Flow

MODES = [("tunnel", 4), ("tunnel", 6), ("direct", 4)]
SERVICES = ("tcp/8080", "udp/53", "icmp")
POLICY = policy(
    "default/db",
    {"app": "db"},
    ingress=[
        sources(pods(app="front"), ports=[port(8080)]),
        sources(namespaces(team="other"), ports=[port(53, "UDP")]),
    ],
)


@pytest.fixture(scope="module", params=crossed(MODES, ("tunnel", 4)), ids=lambda p: f"{p[0]} over v{p[1]}")
def overlay(request):
    mode, outer = request.param
    with Overlay(mode=mode, outer=outer) as overlay:
        overlay.pod("default/front", "n1", app="front")
        overlay.pod("default/db", "n2", app="db")
        overlay.pod("other/client", "n1", app="client")
        overlay.apply("policies", POLICY)
        overlay.wait_resolved()
        yield overlay


def written(address):
    return str(ipaddress.ip_address(address))


def trace(node, flow, *options):
    service = f"{flow.port}/{flow.protocol}" if flow.port else flow.protocol
    return node.warren_json("trace", flow.src, f"{flow.dst}:{service}", "--family", flow.family, *options)


def test_nodes_by_name(overlay):
    n1 = overlay.nodes["n1"]
    own, other = n1.warren_json("node", "list")
    assert (own["name"], own["own"], own["slot"]) == ("n1", True, 0)
    assert (other["name"], other["own"], other["state"]) == ("n2", False, "ok")
    assert other["mode"] == overlay.mode and other["uplink"] == "eth0"
    n2 = overlay.nodes["n2"]
    assert other["remote"] == written(n2.address[overlay.outer]) and other["dmac"] == n2.uplink_mac
    assert sorted(other["addresses"]) == sorted(map(written, n2.address.values()))
    assert other["cidrs"] == [n2.cidr[f] for f in ALL]
    assert n1.warren_json("node", "get", "n2")["slot"] == other["slot"]
    said = n1.warren("status").stdout
    assert "1 other node: " in said and "0 unresolved" in said


def test_ping(overlay):
    """Both families of every other node; with a tunnel, each request and each reply is a tunnel packet."""
    n1 = overlay.nodes["n1"]
    # Without a tunnel the stack may still have to resolve the neighbour of the other family.
    wait_for(lambda: n1.warren("node", "ping", "--count", "1", check=False).returncode == 0, "both answer")
    before = n1.warren_json("node", "get", "n2")
    rows = n1.warren_json("node", "ping", "--count", 3, "--interval", 1, "--timeout", 1000 * TIMEOUT)
    assert [(r["node"], r["family"], r["sent"], r["received"], r["result"]) for r in rows] == [
        ("n2", family, 3, 3, None) for family in ALL
    ]
    assert all(0 < r["min"] <= r["avg"] <= r["max"] < 1000 * TIMEOUT for r in rows)
    after = n1.warren_json("node", "get", "n2")
    if overlay.mode == "tunnel":
        for way in ("packets_sent", "packets_received"):
            assert after[way] - before[way] == 6


def test_status_of_the_cluster(overlay):
    n1 = overlay.nodes["n1"]

    def well():
        said = n1.warren_json("status", "--cluster", check=False)
        return said["healthy"] and said

    said = wait_for(well, "all to be well")
    own, other = said["nodes"]
    assert said["healthy"] and (own["node"], own["state"], other["node"], other["state"]) == ("n1", "this node", "n2", "ok")
    assert (other["mode"], other["uplink"], other["problem"]) == (overlay.mode, "eth0", None)
    assert 0 < other["ipv4"] < 1000 and 0 < other["ipv6"] < 1000 and own["ipv4"] is None
    ok = "1 other node: 1 ok, 0 faulty, 0 unreachable"
    wait_for(lambda: ok in n1.warren("status", "--cluster", check=False).stdout, "the same in words")


def test_what_agents_say_of_themselves(overlay):
    """From the Node's annotation; here, in its manifest. Unprintable bytes are cut off; a node without one is not a
    problem.
    """
    n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
    rows = (("0.1.0 ok since 2026-01-02T03:04:05Z", True), ("0.1.0 2 wrong since 2026-01-02T03:04:05Z", False))
    for text, well in (*rows, ("0.1.0 ok since \x1b[31m\u00e4", True)):
        item = n2.object()
        item["metadata"]["annotations"] = {"warren.dev/agent": text}
        overlay.apply("node-n2", item)
        said = n1.warren_json("status", "--cluster", check=False)
        assert [(row["state"], row["agent"]) for row in said["nodes"]] == [("this node", None), ("ok", text.split("\x1b")[0])]
        assert said["healthy"] is well
        done = n1.warren("status", "--cluster", check=False)
        assert done.returncode == (0 if well else 1) and f"agents that report problems: {0 if well else 1}" in done.stdout
    overlay.apply("node-n2", n2.object())
    assert n1.warren_json("status", "--cluster")["nodes"][1]["agent"] is None


def test_whose_address(overlay, family):
    n1 = overlay.nodes["n1"]
    db = n1.warren_json("ipcache", "get", overlay.pods["default/db"].ips[family])
    assert (db["what"], db["pod"], db["node"], db["labels"]) == ("a pod of another node", "default/db", "n2", {"app": "db"})
    listed = {row["address"]: row for row in n1.warren_json("ipcache", "list")}
    assert listed[db["address"]]["identity"] == db["identity"]
    assert listed[written(overlay.nodes["n2"].address[family])]["identity"] == "remote-node"
    # Every node computes the same.
    local = overlay.nodes["n2"].warren_json("ipcache", "get", db["address"])
    assert (local["what"], local["identity"]) == ("a pod of this node", db["identity"])


def test_trace_agrees_with_traffic(overlay):
    """The sending half on the one node, the receiving half on the other: the packet passes if both allow it."""
    pairs = [(a, b) for a in overlay.pods for b in overlay.pods if overlay.pods[a].node is not overlay.pods[b].node]
    flows = [Flow(*pair, family, service) for pair in pairs for family in ALL for service in SERVICES]
    outcomes = overlay.prober.run(flows)
    overlay.end_probes()
    for node in overlay.nodes.values():
        node.warren("ct", "flush")
    for flow, outcome in outcomes.items():
        sent = trace(overlay.pods[flow.src].node, flow)
        received = trace(overlay.pods[flow.dst].node, flow)
        assert (sent["program"], sent["verdict"], sent["reason"]) == ("from_pod", "pass", "to_node"), flow
        assert received["program"] == "from_uplink"
        said = (received["verdict"] == "pass", received["reason"] if received["verdict"] == "drop" else None)
        assert said == (outcome.passed, outcome.reason), f"{flow}: {outcome}, said {received}"
        # `policy why` reads the same from the maps, and names the rule.
        why = overlay.pods[flow.dst].node.warren_json(
            "policy", "why", flow.src, f"{flow.dst}:{f'{flow.port}/{flow.protocol}' if flow.port else 'icmp'}",
            "--family", flow.family,
        )
        assert (why["verdict"] == "allowed") == outcome.passed, flow
    assert {o.reason for o in outcomes.values()} == {None, "ingress_denied"}


def test_events_and_flows_name_the_other_side(overlay, family):
    """A denial at the receiver, and a flow that is allowed, at both ends."""
    n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
    overlay.end_probes()  # the ring has one reader
    with Drops(n2) as monitor, overlay.pods["other/client"].socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (overlay.pods["default/db"].ips[family], 8080))
        event = monitor.wait(lambda e: e["reason"] == "ingress_denied")
    assert (event["peer"], event["peer_node"], event["peer_pod"]) == ("node", "n1", "other/client")
    assert event["pod"] == "default/db"
    assert overlay.prober.drop_reason("default/front", "default/db", "tcp/8080", family) is None
    overlay.end_probes()
    (out,) = n1.warren_json("ct", "get", "default/front", f"{overlay.pods['default/db'].ips[family]}"
                            if family == 4 else f"[{overlay.pods['default/db'].ips[6]}]")[:1]
    assert (out["to"]["node"], out["to"]["pod"]) == ("n2", "default/db")
    known = n2.warren_json("ct", "get", overlay.pods["default/front"].ips[family], "default/db")
    into = next(flow for flow in known if (flow["protocol"], flow["to"]["port"]) == ("tcp", 8080))
    assert (into["from"]["node"], into["from"]["pod"]) == ("n1", "default/front")
    assert into["ingress"]["because"] == "default/db ingress[0].ports[0]"


def test_works_without_the_agent(overlay):
    """All but the names."""
    n1 = overlay.nodes["n1"]
    n1.agent.kill()
    try:
        _, other = n1.warren_json("node", "list")
        assert other["name"] is None and other["remote"] == written(overlay.nodes["n2"].address[overlay.outer])
        assert [r["received"] for r in n1.warren_json("node", "ping", "--count", 1)] == [1, 1]
        ip = overlay.pods["default/db"].ips[4]
        said = n1.warren_json("trace", "default/front", f"{ip}:8080/tcp")
        assert said["reason"] == "to_node" and said["to"]["node"] is None and said["to"]["slot"] == other["slot"]
        assert n1.warren("trace", "default/front", "default/db", check=False).returncode == 1
    finally:
        n1.agent.start()
        n1.agent.wait_applied()


@pytest.mark.long
def test_ping_says_how_far_it_went():
    """No replies any more: the requests leave, and nothing comes back. A node that is not probed is listed as such."""
    with Overlay(2) as overlay:
        n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
        # One family replies.
        n2.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")

        def half():
            said = n1.warren_json("status", "--cluster", check=False)["nodes"][1]
            return said["state"] == "faulty" and said["ipv4"] is None and said["ipv6"]

        wait_for(half, "half of it")
        n2.ip("link", "set", "warren0", "down")
        rows = n1.warren_json("node", "ping", "n2", "--count", 2, "--interval", 1, "--timeout", 100, check=False)
        assert {r["result"] for r in rows} == {"no answer: packets are sent to it, none is received from it"}
        said = n1.warren_json("status", "--cluster", check=False)
        assert not said["healthy"] and said["nodes"][1]["state"] == "unreachable"
        assert said["nodes"][1]["problem"] == "no answer: packets are sent to it, none is received from it"
        n1.ip("link", "set", "eth0", "down")
        rows = n1.warren_json("node", "ping", "--count", 1, "--timeout", 100, check=False)
        assert all(r["received"] == 0 for r in rows) and len(rows) == 2
        assert n1.warren("node", "ping", "--count", "1", "--timeout", "100", check=False).returncode == 1
