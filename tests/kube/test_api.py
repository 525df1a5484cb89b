# SPDX-License-Identifier: BSD-2-Clause
"""The API client with a real API server (and its HTTP/2): without nodes."""

import json
import subprocess

import pytest

from agent_client import Apictl
from control_plane import ControlPlane

WATCHES = {
    "pods": "/api/v1/pods",
    "nodes": "/api/v1/nodes",
    "namespaces": "/api/v1/namespaces",
    "services": "/api/v1/services",
    "slices": "/apis/discovery.k8s.io/v1/endpointslices",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
}


@pytest.fixture(scope="module")
def plane(programs):
    with ControlPlane("api") as plane:
        yield plane


def binding(group, kind, **members):
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "reader"}, **members}


@pytest.fixture(scope="module")
def token(plane, tmp_path_factory):
    """Of an account that may read pods."""
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    account = {"kind": "ServiceAccount", "name": "reader", "namespace": "default"}
    plane.api.create_at("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "reader"}})
    plane.api.create_at(f"/apis/{rbac}/v1/clusterroles", binding(rbac, "ClusterRole", rules=[rule]))
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": "reader"}
    plane.api.create_at(f"/apis/{rbac}/v1/clusterrolebindings", binding(rbac, "ClusterRoleBinding", roleRef=role, subjects=[account]))
    made = plane.api.request("POST", "/api/v1/namespaces/default/serviceaccounts/reader/token", {"spec": {}})
    file = tmp_path_factory.mktemp("api") / "token"
    file.write_text(made["status"]["token"] + "\n")
    return file


@pytest.fixture
def admin(plane):
    with Apictl(plane, f"kubeconfig={plane.pki}/admin.conf") as client:
        yield client
        client.quit()


def connections(plane):
    """Those of apictl."""
    with plane.popen("ss", "-Htnp", "state", "established", "dport", "6443", stdout=subprocess.PIPE, text=True) as ss:
        return ss.stdout.read().count("apictl")


def test_kubeconfig(admin):
    assert admin.get("/version", "text")["status"] == 200
    assert json.loads(admin.data("get1"))["major"] == "1"


def by_name(plane, *options):
    server = "server=https://10.10.0.10:6443,kubernetes.default.svc"
    return Apictl(plane, server, f"ca={plane.pki}/ca.crt", *options)


def test_token_by_the_name_that_every_server_has(plane, token):
    with by_name(plane, f"token={token}") as client:
        assert client.get("/api/v1/pods")["status"] == 200
        done = client.get("/api/v1/secrets")
        assert (done["status"], done["reason"]) == (403, "Forbidden")
        assert "default:reader" in done["error"] and done["hint"]
        client.quit()


def test_token_that_is_replaced(plane, token, tmp_path):
    own = tmp_path / "token"
    own.write_text("none")
    with by_name(plane, f"token={own}") as client:
        done = client.get("/api/v1/pods")
        assert (done["status"], done["reason"]) == (401, "Unauthorized")
        (tmp_path / "new").write_text(token.read_text())
        (tmp_path / "new").rename(own)
        assert client.get("/api/v1/pods")["status"] == 200
        client.quit()


def test_status_objects(admin):
    done = admin.get("/api/v1/namespaces/none")
    assert (done["status"], done["reason"], done["errno"]) == (404, "NotFound", 2)
    body = '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}'
    done = admin.get("/api/v1/namespaces", f"body={body}", method="POST")
    assert (done["status"], done["reason"]) == (409, "AlreadyExists")
    done = admin.get("/api/v1/pods?limit=1&continue=rubbish")
    assert done["status"] == 400 and "continue" in done["error"]


@pytest.mark.parametrize("accept", ["application/json", "application/vnd.kubernetes.protobuf"])
def test_status_objects_in_both_encodings(admin, accept):
    done = admin.get("/api/v1/namespaces/none", f"accept={accept}")
    assert (done["status"], done["reason"]) == (404, "NotFound")
    assert 'namespaces "none" not found' in done["error"]


def test_one_connection_for_all_watches(plane, admin):
    for name, path in WATCHES.items():
        admin.do("GET", name, f"{path}?watch=1", "text")
    plane.api.create_at("/api/v1/namespaces", *({"metadata": {"name": f"n{i}"}} for i in range(3)))
    seen = ""
    while not all(f'"n{i}"' in seen for i in range(3)):
        seen += admin.data("namespaces")
    assert connections(plane) == 1
    for name in WATCHES:
        admin.do("cancel", name)
    assert admin.get("/version")["status"] == 200


def test_watch_ends_when_the_server_says(admin):
    assert admin.get("/api/v1/pods?watch=1&timeoutSeconds=1")["status"] == 200


def test_large_object(plane, admin):
    data = {"metadata": {"name": "large"}, "data": {"x": "y" * 900_000}}
    plane.api.create_at("/api/v1/namespaces/default/configmaps", data)
    done = admin.get("/api/v1/namespaces/default/configmaps/large")
    assert done["status"] == 200 and done["bytes"] > 900_000


def test_server_killed_and_back(plane, admin):
    """Watches end at once; the next call that is made when it is back finds it."""
    admin.do("GET", "w", "/api/v1/pods?watch=1")
    assert admin.get("/version")["status"] == 200
    plane.stop_api()
    assert admin.done("w")["status"] == 0
    assert "no API server can be reached" in admin.get("/version")["error"]
    plane.start_api()
    assert admin.get("/version")["status"] == 200
