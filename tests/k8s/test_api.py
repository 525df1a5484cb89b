# SPDX-License-Identifier: BSD-2-Clause
"""The API client with a real API server (and its HTTP/2): a control plane without nodes."""

import json
import subprocess
import time

import pytest

from apiserver import Client
from conftest import Kubernetes
from netns import wait_for

PKI = "/run/k8s/pki"
ADDRESS = {4: "10.10.0.10", 6: "[fd10::10]"}
WATCHES = {
    "pods": "/api/v1/pods",
    "nodes": "/api/v1/nodes",
    "namespaces": "/api/v1/namespaces",
    "services": "/api/v1/services",
    "slices": "/apis/discovery.k8s.io/v1/endpointslices",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
}


class Outside:
    """Where kubectl runs, as a place for apictl."""

    def __init__(self, cluster):
        self.cluster = cluster
        out = subprocess.run(["pgrep", "-u", "0", "-o", "-f", f"^warren-k8s:{cluster.env['NAME']} "], capture_output=True, text=True)
        self.pid = int(out.stdout)

    def argv(self, *argv):
        return ["nsenter", "-t", str(self.pid), "--mount", "--net", "--pid", "--uts", "--", *map(str, argv)]

    def popen(self, *argv, env=None, **kwargs):
        return subprocess.Popen(self.argv(*argv), env={**self.cluster.env, **(env or {})}, **kwargs)

    def run(self, *argv):
        return subprocess.run(self.argv(*argv), capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def cluster(programs):
    with Kubernetes("api", NODES="0", CNI="none") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def outside(cluster):
    return Outside(cluster)


@pytest.fixture(scope="module")
def token(cluster, outside):
    """Of an account that may read pods."""
    cluster.kubectl("create", "serviceaccount", "reader")
    cluster.kubectl("create", "clusterrole", "reader", "--verb=get,list,watch", "--resource=pods")
    cluster.kubectl("create", "clusterrolebinding", "reader", "--clusterrole=reader", "--serviceaccount=default:reader")
    text = cluster.kubectl("create", "token", "reader").stdout
    outside.run("sh", "-c", f"umask 077; echo {text.strip()} >/run/token")
    return "token=/run/token"


@pytest.fixture
def admin(outside):
    with Client(outside, f"kubeconfig={PKI}/admin.conf") as client:
        yield client
        client.quit()


def connections(outside):
    return outside.run("ss", "-Htn", "state", "established", "dport", "6443").count("\n")


def test_kubeconfig(admin):
    assert admin.get("/version", "text")["status"] == 200
    assert json.loads(admin.data("get1"))["major"] == "1"


@pytest.mark.parametrize("family", [4, 6])
def test_token_by_the_name_that_every_server_has(outside, token, family):
    with Client(outside, f"server=https://{ADDRESS[family]}:6443,kubernetes.default.svc", f"ca={PKI}/ca.crt", token) as client:
        assert client.get("/api/v1/pods")["status"] == 200
        done = client.get("/api/v1/secrets")
        assert (done["status"], done["reason"]) == (403, "Forbidden")
        assert "default:reader" in done["error"] and done["hint"]
        client.quit()


def test_unknown_token(outside):
    outside.run("sh", "-c", "echo none >/run/none")
    with Client(outside, f"server=https://{ADDRESS[4]}:6443", f"ca={PKI}/ca.crt", "token=/run/none") as client:
        done = client.get("/api/v1/pods")
        assert (done["status"], done["reason"]) == (401, "Unauthorized")
        client.quit()


def test_status_objects(admin):
    done = admin.get("/api/v1/namespaces/none")
    assert (done["status"], done["reason"], done["errno"]) == (404, "NotFound", 2)
    body = '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}'
    done = admin.get("/api/v1/namespaces", f"body={body}", method="POST")
    assert (done["status"], done["reason"]) == (409, "AlreadyExists")
    done = admin.get("/api/v1/pods?limit=1&continue=rubbish")
    assert done["status"] == 400 and "continue" in done["error"]


def test_one_connection_for_all_watches(cluster, outside, admin):
    before = connections(outside)
    for name, path in WATCHES.items():
        admin.do("GET", name, f"{path}?watch=1", "text")
    for i in range(3):
        cluster.kubectl("create", "namespace", f"n{i}")
    seen = ""
    while '"n2"' not in seen:
        seen += admin.data("namespaces")
    assert connections(outside) == before + 1
    for name in WATCHES:
        admin.do("cancel", name)
    assert admin.get("/version")["status"] == 200


def test_watch_ends_when_the_server_says(admin):
    start = time.monotonic()
    done = admin.get("/api/v1/pods?watch=1&timeoutSeconds=1")
    assert done["status"] == 200 and done["at"] - start < 20


def test_server_killed_and_back(cluster, outside, admin):
    """Watches end at once, and the next call that is made when it is back finds it."""
    admin.do("GET", "w", "/api/v1/pods?watch=1")
    assert admin.get("/version")["status"] == 200
    pid = outside.run("cat", "/run/k8s/kube-apiserver.pid").strip()
    command = outside.run("sh", "-c", f"tr '\\0' '\\n' </proc/{pid}/cmdline").splitlines()
    outside.run("kill", "-KILL", pid)
    assert admin.done("w")["status"] == 0
    assert "no API server can be reached" in admin.get("/version")["error"]
    again = subprocess.Popen(
        outside.argv("nsenter", "--net=/run/netns/cp", "setpriv", "--pdeathsig", "KILL", *command),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: admin.get("/readyz")["status"] == 200, "the API server is back", 60)
    finally:
        again.kill()
        again.wait()
