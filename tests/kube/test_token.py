# SPDX-License-Identifier: BSD-2-Clause
"""A stolen token of an agent, against a real API server with the manifest as it is shipped: what it allows beyond what
the agent of that one node does.
"""

import base64
import contextlib
import copy
import json

import pytest

from control_plane import ControlPlane
from kube_client import MERGE, KubeClient
from lab import REPO
from netns import wait_for

MANIFEST = REPO / "examples/kubernetes/warren.yaml"
TAINT = "warren.dev/agent-not-ready"
OTHER_TAINT = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
SECRETS = "/api/v1/namespaces/kube-system/secrets"
KEY = f"{SECRETS}/warren-identity"
STRATEGIC = "application/strategic-merge-patch+json"
REFUSED = (403, 422)  # by RBAC or the admission policy; by the admission policy with reason Invalid
AVAILABLE = {"type": "NetworkUnavailable", "status": "False", "reason": "WarrenIsUp", "message": "Warren is running on this node"}


@pytest.fixture(scope="module")
def plane(programs):
    with ControlPlane("token") as plane:
        plane.kubectl("apply", "-f", MANIFEST)
        yield plane


class Thief(KubeClient):
    """Has a token, and nothing else."""

    def __init__(self, plane, token):
        super().__init__(plane.world, plane.pki, token)

    def patch(self, path, body, kind=STRATEGIC):
        return self.ask("PATCH", path, body, kind=kind)

    def can(self, method, path, body=None, kind="application/json"):
        """Whether the API server does it; any reply but a refusal and success fails the test."""
        status, answer = self.ask(method, path, body, kind=kind)
        assert status in (200, 201, *REFUSED), (method, path, status, answer)
        return status in (200, 201)

    def can_patch(self, path, body, kind=STRATEGIC):
        return self.can("PATCH", path, body, kind)


def bound_token(plane, node):
    """As a kubelet gets it for the agent's pod on that node."""
    container = {"name": "agent", "image": "x"}
    spec = {"serviceAccountName": "warren", "nodeName": node, "containers": [container]}
    plane.api.create_at("/api/v1/namespaces/kube-system/pods", {"metadata": {"name": f"warren-{node}"}, "spec": spec})
    pod = plane.api.request("GET", f"/api/v1/namespaces/kube-system/pods/warren-{node}")["metadata"]
    reference = {"kind": "Pod", "apiVersion": "v1", "name": pod["name"], "uid": pod["uid"]}
    return request_token(plane, {"boundObjectRef": reference})


def request_token(plane, spec):
    made = plane.api.request("POST", "/api/v1/namespaces/kube-system/serviceaccounts/warren/token", {"spec": spec})
    return made["status"]["token"]


def node(name):
    taints = [{"key": TAINT, "effect": "NoSchedule"}, OTHER_TAINT]
    conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
    addresses = [{"type": "InternalIP", "address": "192.0.2.1"}]
    metadata = {"name": name, "labels": {"zone": "z1"}, "annotations": {"node.example/of": "the kubelet"}}
    return {"metadata": metadata, "spec": {"taints": taints}, "status": {"conditions": conditions, "addresses": addresses}}


@pytest.fixture(scope="module")
def token(plane):
    """Of the agent of node "a"; there is a node "b", too. Returns when the admission policy is enforced, if there is
    one.
    """
    plane.api.create_at("/api/v1/nodes", node("a"), node("b"))
    token = bound_token(plane, "a")
    thief = Thief(plane, token)
    with contextlib.suppress(AssertionError):  # the tests show what is possible without a policy
        wait_for(lambda: not thief.can_patch("/api/v1/nodes/b?dryRun=All", {"metadata": {"labels": {"x": "y"}}}), "policy", 10)
    return token


@pytest.fixture
def thief(plane, token):
    return Thief(plane, token)


def remove(plane, path):
    """Also without an agent."""
    plane.api.ask("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE)
    plane.api.ask("DELETE", path)


def renew(plane, name):
    """The node is as it was in the beginning."""
    remove(plane, f"/api/v1/nodes/{name}")
    plane.api.create_at("/api/v1/nodes", node(name))


@pytest.fixture(params=["a", "b"])
def renewed(plane, request):
    """One of the two nodes, as it was in the beginning."""
    renew(plane, request.param)
    return request.param


# --- all that is granted ---------------------------------------------------------------------------------------------------

READ = {"list", "watch"}
RIGHTS = {
    ("", "pods"): READ,
    ("", "namespaces"): READ,
    ("", "services"): READ,
    ("", "nodes"): {"get", "patch"} | READ,
    ("", "nodes/status"): {"patch"},
    ("", "events"): {"create"},
    ("networking.k8s.io", "networkpolicies"): READ,
    ("networking.k8s.io", "servicecidrs"): READ,
    ("discovery.k8s.io", "endpointslices"): READ,
}
KEY_RIGHTS = {("", "secrets", "warren-identity"): {"get", "patch"}}


def rights(thief, namespace):
    """{(group, resource[, name]): verbs}, without those that every account has for reviews of itself."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
    status, answer = thief.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)
    assert status == 201, answer
    found = {}
    for rule in json.loads(answer)["status"]["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [None]):
                    key = (group, resource, name) if name else (group, resource)
                    found.setdefault(key, set()).update(rule["verbs"])
    return {key: verbs for key, verbs in found.items() if key[0] not in ("authorization.k8s.io", "authentication.k8s.io")}


def test_rights_are_these(thief):
    assert rights(thief, "default") == RIGHTS
    assert rights(thief, "kube-system") == {**RIGHTS, **KEY_RIGHTS}


# --- Secrets ---------------------------------------------------------------------------------------------------------------

BOOTSTRAP = {
    "metadata": {"name": "bootstrap-token-abcdef"},
    "type": "bootstrap.kubernetes.io/token",
    "stringData": {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
    },
}
ACCOUNT = {
    "metadata": {"name": "stolen", "annotations": {"kubernetes.io/service-account.name": "clusterrole-aggregation-controller"}},
    "type": "kubernetes.io/service-account-token",
}


@pytest.mark.parametrize("secret", [BOOTSTRAP, ACCOUNT], ids=["a bootstrap token", "an account's token"])
def test_no_secret_is_made(thief, secret):
    """With kubeadm's defaults either of them is the cluster."""
    assert not thief.can("POST", SECRETS, secret)


def test_other_secrets_are_out_of_reach(plane, thief):
    plane.api.create_at(SECRETS, {"metadata": {"name": "other"}, "stringData": {"a": "b"}})
    other = f"{SECRETS}/other"
    assert not thief.can("GET", other)
    assert not thief.can("GET", SECRETS)
    assert not thief.can_patch(other, {"stringData": {"a": "c"}})
    assert not thief.can("PUT", other, {"metadata": {"name": "other"}})
    assert not thief.can("DELETE", other)


@pytest.fixture
def key(plane):
    """The key's Secret as it is shipped."""
    remove(plane, KEY)
    plane.kubectl("apply", "-f", MANIFEST)
    return plane.api.request("GET", KEY)


def filled(key, byte, **more):
    data = {"key": base64.b64encode(byte * 16).decode()}
    return {"metadata": {"resourceVersion": key["metadata"]["resourceVersion"]}, "data": data, **more}


@pytest.mark.parametrize("immutable", [{"immutable": True}, {}], ids=["immutable", "not immutable"])
def test_the_key_is_filled_in_once(plane, thief, key, immutable):
    """It is shipped empty, the first agent's key is stored, the second's is not, and nothing changes it any more."""
    assert "data" not in key
    assert thief.patch(KEY, filled(key, b"1", **immutable), MERGE)[0] == 200
    assert thief.patch(KEY, filled(key, b"2"), MERGE)[0] == 409
    now = plane.api.request("GET", KEY)
    for change in (filled(now, b"2"), {"data": None}, {"data": {"more": "eA=="}}):
        assert not thief.can_patch(KEY, change, MERGE), change
    assert not thief.can("DELETE", KEY)
    assert plane.api.request("GET", KEY)["data"] == now["data"]


def test_the_key_survives_the_manifest(plane, thief, key):
    """Which is applied again with each release."""
    assert thief.patch(KEY, filled(key, b"1", immutable=True), MERGE)[0] == 200
    before = plane.api.request("GET", KEY)
    plane.kubectl("apply", "-f", MANIFEST)
    assert plane.api.request("GET", KEY)["data"] == before["data"]


def test_the_key_of_an_earlier_release(plane, thief, key):
    """Made by an agent, immutable: the manifest takes it over."""
    plane.api.ask("DELETE", KEY)
    labels = {"app.kubernetes.io/name": "warren"}
    data = {"key": base64.b64encode(b"e" * 16).decode()}
    plane.api.create_at(SECRETS, {"metadata": {"name": "warren-identity", "labels": labels}, "type": "Opaque", "immutable": True, "data": data})
    plane.kubectl("apply", "-f", MANIFEST)
    assert plane.api.request("GET", KEY)["data"] == data


def test_a_key_that_is_missing_is_not_made(plane, thief, key):
    """By an apply, either, which creates what is not there."""
    remove(plane, KEY)
    item = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warren-identity"}, "data": filled(key, b"1")["data"]}
    assert not thief.can("POST", SECRETS, item)
    assert not thief.can_patch(f"{KEY}?fieldManager=x", item, "application/apply-patch+yaml")
    assert plane.api.ask("GET", KEY)[0] == 404


OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "00000000-0000-0000-0000-000000000000"}
KEY_METADATA = {
    "an owner that is gone, with which it goes": {"ownerReferences": [OWNER]},
    "a finalizer": {"finalizers": ["x.example/y"]},
    "a label": {"labels": {"x": "y"}},
    "an annotation": {"annotations": {"x": "y"}},
}


@pytest.mark.parametrize("what", KEY_METADATA)
def test_the_key_gets_nothing_but_a_key(thief, key, what):
    assert not thief.can_patch(KEY, {"metadata": KEY_METADATA[what]}, MERGE)


# --- Nodes -----------------------------------------------------------------------------------------------------------------


def agents_patches(plane, name):
    """What the agent itself does to its Node, in its order. (The API server has added a taint of its own.)"""
    now = "2026-01-01T00:00:00Z"
    condition = {**AVAILABLE, "lastHeartbeatTime": now, "lastTransitionTime": now}
    taints = [taint for taint in plane.api.request("GET", f"/api/v1/nodes/{name}")["spec"]["taints"] if taint["key"] != TAINT]
    return [
        (f"/api/v1/nodes/{name}/status", {"status": {"conditions": [condition]}}),
        (f"/api/v1/nodes/{name}", {"spec": {"taints": taints}}),
        (f"/api/v1/nodes/{name}", {"metadata": {"annotations": {"warren.dev/agent": "0.1.0 ok since 2026-01-01T00:00:00Z"}}}),
    ]


def without_bookkeeping(item):
    item = copy.deepcopy(item)
    for field in ("resourceVersion", "managedFields"):
        item["metadata"].pop(field)
    return item


def test_its_own_node(plane, thief):
    renew(plane, "a")
    for path, body in agents_patches(plane, "a"):
        status, answer = thief.patch(path, body)
        assert status == 200, answer
    now = plane.api.request("GET", "/api/v1/nodes/a")
    keys = [taint["key"] for taint in now["spec"]["taints"]]
    assert TAINT not in keys and OTHER_TAINT["key"] in keys
    assert {c["type"]: c["status"] for c in now["status"]["conditions"]} == {"Ready": "True", "NetworkUnavailable": "False"}
    assert "warren.dev/agent" in now["metadata"]["annotations"]


HOSTILE = {
    "labels": {"metadata": {"labels": {"node-restriction.kubernetes.io/tier": "secret"}}},
    "a label of the kubelet's is removed": {"metadata": {"labels": {"zone": None}}},
    "annotations": {"metadata": {"annotations": {"node.example/of": "a thief"}}},
    "an annotation of the kubelet's is removed": {"metadata": {"annotations": {"node.example/of": None}}},
    "an owner that is gone": {"metadata": {"ownerReferences": [OWNER]}},
    "a finalizer": {"metadata": {"finalizers": ["x.example/y"]}},
    "a taint": {"spec": {"taints": [*node("a")["spec"]["taints"], {"key": "x", "effect": "NoExecute"}]}},
    "other taints are removed": {"spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]}},
    "all taints are removed": {"spec": {"taints": None}},
    "other taints are changed": {"spec": {"taints": [{**OTHER_TAINT, "value": "none"}]}},
    "cordoned": {"spec": {"unschedulable": True}},
    "pod CIDR": {"spec": {"podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"]}},
    "provider": {"spec": {"providerID": "x://y"}},
}
HOSTILE_STATUS = {
    "addresses": {"addresses": [{"type": "InternalIP", "address": "192.0.2.66"}]},
    "not Ready": {"conditions": [{"type": "Ready", "status": "False"}]},
    "Ready is removed": {"conditions": [{"$patch": "delete", "type": "Ready"}]},
    "another condition": {"conditions": [{"type": "DiskPressure", "status": "True"}]},
    "capacity": {"capacity": {"cpu": "1000"}, "allocatable": {"cpu": "1000"}},
    "kubelet's port": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 6666}}},
    "node's information": {"nodeInfo": {**dict.fromkeys(
        ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
         "kubeProxyVersion", "operatingSystem", "architecture"), "x")}},
}


def changes(thief, plane, name, path, body):
    """Whether the patch is accepted and changes the object: fields that a subresource ignores are no change."""
    before = without_bookkeeping(plane.api.request("GET", f"/api/v1/nodes/{name}"))
    thief.can_patch(path, body)
    return without_bookkeeping(plane.api.request("GET", f"/api/v1/nodes/{name}")) != before


@pytest.mark.parametrize("part", ["", "/status"], ids=["nodes", "nodes-status"])
@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_else_of_a_node(plane, thief, renewed, what, part):
    """Neither of its own nor of another one. By nodes/status metadata can be patched, too."""
    assert not changes(thief, plane, renewed, f"/api/v1/nodes/{renewed}{part}", HOSTILE[what])


@pytest.mark.parametrize("what", HOSTILE_STATUS)
def test_nothing_else_of_a_status(plane, thief, renewed, what):
    for part in ("", "/status"):
        assert not changes(thief, plane, renewed, f"/api/v1/nodes/{renewed}{part}", {"status": HOSTILE_STATUS[what]})


@pytest.mark.parametrize("step", [0, 1, 2], ids=["condition", "taint", "annotation"])
def test_another_node(plane, thief, step):
    """Not even what its own agent does there."""
    renew(plane, "b")
    before = plane.api.request("GET", "/api/v1/nodes/b")
    path, body = agents_patches(plane, "b")[step]
    assert not thief.can_patch(path, body)
    assert plane.api.request("GET", "/api/v1/nodes/b") == before


def test_no_node_is_made_or_removed(thief):
    assert not thief.can("POST", "/api/v1/nodes", node("c"))
    assert not thief.can("DELETE", "/api/v1/nodes/a")
    assert not thief.can("DELETE", "/api/v1/nodes/b")
    assert not thief.can("PUT", "/api/v1/nodes/b", node("b"))


# --- tokens of no node -------------------------------------------------------------------------------------------------------


def test_token_of_no_node(plane, token, key):
    """Of the same account, bound to no pod, as a long-lived one in a Secret is, too: it changes nothing at all."""
    renew(plane, "a")
    thief = Thief(plane, request_token(plane, {}))
    assert thief.can("GET", "/api/v1/nodes/a")
    for name in ("a", "b"):
        for path, body in agents_patches(plane, name):
            assert not thief.can_patch(path, body)
    for host in ("a", ""):
        assert not thief.can("POST", EVENTS, event(host=host))
    assert not thief.can_patch(KEY, filled(key, b"1"), MERGE)


def test_token_of_a_pod_that_is_gone(plane, token):
    """It ends with the agent's pod."""
    thief = Thief(plane, bound_token(plane, "c"))
    assert thief.ask("GET", "/api/v1/nodes/a")[0] == 200
    plane.api.delete_at("/api/v1/namespaces/kube-system/pods", "warren-c")
    wait_for(lambda: thief.ask("GET", "/api/v1/nodes/a")[0] == 401, "the token to be refused")


# --- Events ----------------------------------------------------------------------------------------------------------------

EVENTS = "/api/v1/namespaces/default/events"


def event(host="a", about=None, component="warren-agent"):
    about = about or {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "p", "uid": "u"}
    return {
        "metadata": {"generateName": "p.", "namespace": "default"},
        "involvedObject": about,
        "type": "Warning",
        "reason": "R",
        "message": "m",
        "source": {"component": component, "host": host},
        "reportingComponent": component,
        "reportingInstance": host,
    }


def test_events_are_of_its_own_node(thief):
    node = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "a"}
    assert thief.can("POST", EVENTS, event())
    assert thief.can("POST", EVENTS, event(about=node))
    assert not thief.can("POST", EVENTS, event(about={**node, "name": "b"}))
    assert not thief.can("POST", EVENTS, event(host="b"))
    assert not thief.can("POST", EVENTS, event(component="kubelet"))


# --- others ----------------------------------------------------------------------------------------------------------------


def test_others_are_not_concerned(plane, thief):
    """The admission policy applies to the agents' account only: kubelets and administrators write as before."""
    assert plane.api.ask("PATCH", "/api/v1/nodes/b", {"metadata": {"labels": {"x": "y"}}}, kind=MERGE)[0] == 200
    assert plane.api.ask("PATCH", f"{SECRETS}/other", {"metadata": {"labels": {"x": "y"}}}, kind=MERGE)[0] == 200
