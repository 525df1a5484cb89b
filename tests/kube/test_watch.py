# SPDX-License-Identifier: BSD-2-Clause
"""Lists and watches of a real API server, with the watch-list (1.34) and without it (1.33), through watchctl."""

import base64

import pytest

from agent_client import Watchctl
from control_plane import ControlPlane
from kube_client import MERGE
from netns import TIMEOUT, wait_for

PODS = "/api/v1/namespaces/d/pods"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/d/networkpolicies"


@pytest.fixture(scope="module", params=["true", "false"], ids=["watch-list", "chunks"])
def plane(request, programs):
    with ControlPlane("watch", API_FLAGS=f"--feature-gates=WatchList={request.param}") as plane:
        plane.api.create_at("/api/v1/namespaces", namespace("d"))
        plane.watch_list = request.param == "true"
        yield plane


def metadata(name, **more):
    return {"name": name, **more}


def namespace(name, **labels):
    return {"metadata": metadata(name, labels=labels)}


def pod(name, node="n1", **spec):
    container = {"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 80}]}
    return {"metadata": metadata(name, labels={"app": name}), "spec": {"nodeName": node, "containers": [container], **spec}}


def policy(name, **spec):
    return {"metadata": metadata(name), "spec": {"podSelector": {}, **spec}}


def rich_objects():
    """(path, object): each field that is kept, in its forms."""
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 81, "protocol": "UDP"}]}
    selector = {"matchLabels": {"a": "b", "c": ""}, "matchExpressions": [{"key": "k", "operator": "NotIn", "values": ["x", "y"]}]}
    block = {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}
    ports = [{"port": 80, "endPort": 90}, {"port": "http", "protocol": "TCP"}, {"protocol": "SCTP"}, {}]
    peers = [{"podSelector": selector}, {"namespaceSelector": {}}, {"podSelector": {}, "namespaceSelector": selector}, {"ipBlock": block}]
    yield "/api/v1/namespaces", namespace("rich", team="x", empty="")
    yield PODS, pod("rich", initContainers=[sidecar])
    yield PODS, pod("other", node="n2")
    yield POLICIES, policy("rich", ingress=[{"from": peers, "ports": ports}, {}], egress=[{"to": peers[:1]}], policyTypes=["Ingress", "Egress"])
    yield POLICIES, policy("deny")
    said = {"annotations": {"warren.dev/agent": "0.1.0 ok", "other": "thing"}}
    yield "/api/v1/nodes", {"metadata": {**metadata("n1"), **said}, "spec": {
        "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd44:1::/64"],
        "taints": [{"key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule"}]}}
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 77}}, "internalTrafficPolicy": "Local"}
    tcp_udp = [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 53, "protocol": "UDP"}]
    yield "/api/v1/namespaces/d/services", {"metadata": metadata("rich"), "spec": {"type": "NodePort", "ports": tcp_udp, **affinity}}
    yield "/api/v1/namespaces/d/services", {
        "metadata": metadata("another", labels={"service.kubernetes.io/service-proxy-name": "x"}), "spec": {"ports": tcp_udp}}
    ranges = {"loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"], "allocateLoadBalancerNodePorts": False}
    yield "/api/v1/namespaces/d/services", {"metadata": metadata("lb"), "spec": {"type": "LoadBalancer", "ports": tcp_udp[:1], **ranges}}
    yield "/apis/networking.k8s.io/v1/servicecidrs", {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.197.0.0/16"]}}
    endpoints = [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": False, "serving": True, "terminating": True}, "nodeName": "n1"},
        {"addresses": ["10.0.0.2"], "hints": {"forZones": [{"name": "z1"}, {"name": "z2"}]}},
    ]
    yield "/apis/discovery.k8s.io/v1/namespaces/d/endpointslices", {
        "metadata": metadata("rich", labels={"kubernetes.io/service-name": "rich"}), "addressType": "IPv4",
        "endpoints": endpoints, "ports": [{"name": "a", "port": 8080}, {"name": "", "protocol": "UDP", "port": 53}]}


def watching(plane, kubeconfig="admin.conf"):
    """As the agent of n1 follows the objects."""
    return Watchctl(plane, f"kubeconfig={plane.pki}/{kubeconfig}", "node=n1")


def printed_at_start(plane):
    with watching(plane) as w:
        w.until(lambda line: line == "synced", "synced")
        w.say("all")
        w.until(lambda line: "d/other" in line, "the other node's pod")
        return sorted(line for line in w.lines if line.startswith(("+", "!")))


def test_json_and_protobuf_say_the_same(plane, monkeypatch):
    for path, o in rich_objects():
        plane.api.create_at(path, o)
    status = {"status": {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}, {"ip": "fd00::9"}]}}
    for name in ("rich", "other"):
        plane.api.request("PATCH", f"{PODS}/{name}/status", status, MERGE)
    addresses = [{"type": "InternalIP", "address": "192.168.0.1"}, {"type": "InternalIP", "address": "fd10::1"}, {"type": "Hostname", "address": "n1"}]
    plane.api.request("PATCH", "/api/v1/nodes/n1/status", {"status": {"addresses": addresses}}, MERGE)
    binary = printed_at_start(plane)
    monkeypatch.setenv("WARREN_API_JSON", "1")
    assert printed_at_start(plane) == binary
    text = "\n".join(binary)
    assert "!" not in text
    for part in (
        "+ Pod d/rich {app=rich} uid", "http:80/TCP side:81/UDP 10.0.0.9 fd00::9 on n1", "+ Node n1 10.244.1.0/24 fd44:1::/64 at 192.168.0.1 fd10::1 created ", " leaving agent \"0.1.0 ok\"", "+ Service d/another other-proxy",
        "+ Namespace rich {empty=,kubernetes.io/metadata.name=rich,team=x}", "10.0.0.0/8 -10.1.0.0/16 -10.2.0.0/16", "TCP/80-90 TCP/http SCTP TCP ]",
        "affinity 77 local", "of rich: 10.0.0.1+serving+terminating@n1 10.0.0.2+ready+serving+zones,z1,z2, : ", "+ NetworkPolicy d/deny () ingress",
        "source-ranges 10.0.0.0/8,fd00::/8", "+ Service d/another other-proxy ", "+ ServiceCIDR more 10.197.0.0/16",
    ):
        assert part in text, text


def test_watch_list_where_there_is_one(plane):
    with watching(plane) as w:
        w.until(lambda line: line == "synced", "synced")
        # After a list in chunks the watch has still to start.
        wait_for(lambda: all(watch["connected"] for watch in w.status()[0].values()), "all kinds to be followed")
        watches, used = w.status()
        assert all(watch["lists"] == 1 and watch["synced"] for watch in watches.values()), watches
        # The list's items come as events where they come in a watch.
        assert (watches["Namespaces"]["events"] > 0) == plane.watch_list
        assert used["rss_kb"] < 20000


def test_which_pods(plane):
    with watching(plane) as w:
        w.until(lambda line: line == "synced", "synced")
        plane.api.create_at(PODS, pod("here"), pod("host", hostNetwork=True), pod("there", node="n3"), pod("last"))
        seen = w.until(lambda line: "+ Pod d/last" in line, "the pod of this node")
        assert not any("d/host" in line or "d/there" in line for line in seen)
        w.say("all")
        w.until(lambda line: "+ Pod d/there" in line, "the pod of another node")
        plane.api.request("PATCH", f"{PODS}/here/status", {"status": {"phase": "Succeeded"}}, MERGE)
        w.until(lambda line: line == "- Pod d/here", "that it has completed")
        w.say("own")
        w.until(lambda line: line == "- Pod d/there", "that it is not followed")
        plane.api.delete_at(PODS, "here", "host", "there", "last")
        w.until(lambda line: line == "- Pod d/last", "that it is gone")


def test_300_made_and_deleted_at_once(plane):
    names = [f"p{i}" for i in range(300)]
    with watching(plane) as w:
        w.until(lambda line: line == "synced", "synced")
        plane.api.create_at(POLICIES, *[policy(name) for name in names])
        plane.api.delete_at(POLICIES, *names)
        left, seen = set(names), []

        def done(line):
            seen.append(line)
            if line.startswith("- NetworkPolicy d/p"):
                left.discard(line.split("/")[1])
            return not left

        w.until(done, "that all are gone", 3 * TIMEOUT)
        assert {line.split()[2] for line in seen if line.startswith("+ NetworkPolicy d/p")} == {f"d/{name}" for name in names}


def test_more_than_a_chunk(plane):
    names = [f"c{i}" for i in range(520)]
    plane.api.create_at(POLICIES, *[policy(name) for name in names])
    with watching(plane) as w:
        seen = w.until(lambda line: line == "synced", "synced")
        assert len({line for line in seen if line.startswith("+ NetworkPolicy d/c")}) == 520
        watches, _ = w.status()
        assert watches["NetworkPolicies"]["lists"] == 1
    plane.api.delete_at(POLICIES, *names)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_object_of_one_and_a_half_megabytes(plane, encoding, monkeypatch):
    if encoding == "json":
        monkeypatch.setenv("WARREN_API_JSON", "1")
    name = f"huge-{encoding}"
    with watching(plane) as w:
        w.until(lambda line: line == "synced", "synced")
        before = w.status()[1]
        container = {"name": "c", "image": "i", "args": ["x" * 1_400_000]}
        plane.api.create_at(PODS, pod(name, containers=[container]))
        w.until(lambda line: f"+ Pod d/{name}" in line, "the pod")
        after = w.status()[1]
        assert after["rss_kb"] - before["rss_kb"] < 2000
        assert after["peak_kb"] - before["peak_kb"] < 10000
        plane.api.delete_at(PODS, name)
        w.until(lambda line: line == f"- Pod d/{name}", "that it is gone")


def test_away_compacted_and_back(plane):
    """What has changed meanwhile is reported, once, and nothing else is."""
    plane.api.create_at("/api/v1/namespaces", namespace("gone"), namespace("stays"))
    with watching(plane) as w:
        w.until(lambda line: line == "synced", "synced")
        plane.stop_api()
        titles = set(w.status()[0])
        w.until_printed([f"! {title}: " for title in titles])
        key = base64.b64encode(b"/registry/namespaces/gone").decode()
        revision = int(plane.etcd("deleterange", key=key)["header"]["revision"])
        plane.etcd("compaction", revision=str(revision), physical=True)
        before = len(w.lines)
        plane.start_api()
        w.until(lambda line: line == "- Namespace gone", "that it is gone", 2 * TIMEOUT)
        plane.api.create_at("/api/v1/namespaces", namespace("new"))
        w.until(lambda line: line.startswith("+ Namespace new "), "what is new", 2 * TIMEOUT)
        w.until_printed([f"ok {title}" for title in titles], before, 2 * TIMEOUT)
        changes = [line for line in w.lines[before:] if line.startswith(("+", "-"))]
        # The server may bring its own slice anew as it starts.
        assert [c for c in changes if "default/kubernetes" not in c] == [
            "- Namespace gone", "+ Namespace new {kubernetes.io/metadata.name=new}"], w.lines[before:]
        watches, _ = w.status()
        assert watches["Namespaces"]["lists"] == 2
        assert all(watch["problem"] == "" and watch["connected"] for watch in watches.values()), watches
    plane.api.delete_at("/api/v1/namespaces", "new", "stays")


def test_etcd_restored_from_a_backup(plane):
    """The server goes back in time. It accepts the old watches, and sends no event until its versions have reached
    theirs.

    Only its silence shows that, of more than two minutes, twice: so one of the two servers must be enough.
    """
    if plane.watch_list:
        pytest.skip("with chunks only: it takes 5 minutes")
    plane.api.create_at("/api/v1/namespaces", namespace("before"))
    plane.backup_etcd()
    names = [f"after{i}" for i in range(300)]
    with watching(plane) as w:
        w.until(lambda line: line == "synced", "synced")
        plane.api.create_at("/api/v1/namespaces", *[namespace(name) for name in names])
        w.until_printed([f"+ Namespace {name} " for name in names])
        plane.restore_etcd()
        before = len(w.lines)
        plane.api.create_at("/api/v1/namespaces", namespace("anew"))
        w.until_printed(["+ Namespace anew ", *(f"- Namespace {name}" for name in names)], before, 2 * 130 + 20 + 2 * TIMEOUT)
        assert "- Namespace before" not in w.lines
        plane.api.create_at("/api/v1/namespaces", namespace("more"))
        w.until(lambda line: line.startswith("+ Namespace more "), "what is new after that")
    plane.api.delete_at("/api/v1/namespaces", "before", "anew", "more")


def test_not_allowed(plane):
    """To a user that may not list pods. A list that is forbidden is a problem by its name; nothing is synced before all is."""
    with watching(plane, "kube-proxy.conf") as w:
        seen = w.until(lambda line: line.startswith("! Pods of this node: "), "a problem")
        assert "403 Forbidden" in seen[-1] and 'User "system:kube-proxy" cannot' in seen[-1]
        assert w.status()[1]["synced"] == 0
