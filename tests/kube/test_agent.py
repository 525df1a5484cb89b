# SPDX-License-Identifier: BSD-2-Clause
"""The agent in Kubernetes, by itself: run in the nodes' namespaces as it was built, without image and manifest."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import time

import pytest

from certificates import Authority
from control_plane import HERE
from kube_cluster import IMAGE, NODES, Kubernetes
from lab import BUILD
from netns import wait_for

CONFLIST = "/etc/cni/net.d/05-warren.conflist"
TAINT = "warren.dev/agent-not-ready"
KEY = "/var/lib/warren/cluster.key"


ASK = """
import socket, sys
agent = socket.socket(socket.AF_UNIX)
agent.connect("/run/warren/agent.sock")
agent.sendall(sys.argv[1].encode() + b"\\n")
sys.stdout.write(agent.makefile().readline())
"""


class Agents(Kubernetes):
    """A cluster that waits for its network, and agents for it."""

    def start(self, node, *env, kubeconfig="/run/kube/pki/admin.conf"):
        command = f"env NODE_NAME={node} {' '.join(env)} {BUILD}/warren-agent --kubeconfig {kubeconfig}"
        script = f"echo $$ >/run/agent.pid; exec {command} >>/var/log/agent.log 2>&1 </dev/null"
        self.node(node, "sh", "-c", f"cp -u {BUILD}/warren-cni /opt/cni/bin/; setsid sh -c '{script}' >/dev/null 2>&1 &")
        # There are no replies before it serves.
        wait_for(lambda: self.status(node), f"agent of {node}")

    def signal(self, node, signal):
        self.node(node, "sh", "-c", f"kill -{signal} $(cat /run/agent.pid)")

    def stop(self, node, signal="TERM"):
        self.signal(node, signal)
        self.node(node, "sh", "-c", "tail --pid=$(cat /run/agent.pid) -f /dev/null")

    def warren(self, node, *argv, check=True):
        return self.node(node, str(BUILD / "warren"), *argv, check=check)

    def ask(self, node, method):
        """The status from the agent itself; empty while there is none."""
        done = self.node(node, "/usr/bin/python3", "-c", ASK, json.dumps({"method": method}), check=False)
        return json.loads(done.stdout) if done.stdout else {}

    def status(self, node):
        return self.ask(node, "status")

    def kubernetes(self, node):
        return self.status(node).get("kubernetes") or {}

    def wrong(self, node):
        """The failed checks of `warren status`."""
        checks = json.loads(self.warren(node, "--json", "status", check=False).stdout)["checks"]
        return [check["detail"] for check in checks if check["state"] == "wrong"]

    def log(self, node):
        return self.node(node, "cat", "/var/log/agent.log").stdout

    def condition(self, node, kind):
        conditions = self.get("node", node)["status"]["conditions"]
        return next((c["status"] for c in conditions if c["type"] == kind), None)

    def taints(self, node):
        return [taint["key"] for taint in self.get("node", node)["spec"].get("taints", [])]


@pytest.fixture(scope="module")
def cluster(programs):
    flags = f"--register-with-taints={TAINT}=:NoSchedule --pod-manifest-path=/run/static"
    with Agents("agent", CNI="none", KUBELET_FLAGS=flags) as cluster:
        cluster.kubectl("create", "secret", "generic", "warren-identity", "-n", "kube-system")  # without a key, as in the manifest
        for node in NODES:
            cluster.start(node)
        for node in NODES:
            cluster.kubectl("wait", "--for=condition=Ready", f"node/{node}", "--timeout=60s")
        yield cluster
        for node in NODES:
            print(f"--- {node}\n{cluster.log(node)}")


def pod(name, node, labels=None, **spec):
    container = {
        "name": "c",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "hostname >/www/index.html; exec httpd -f -p 8080 -h /www"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def ready(cluster, *names):
    cluster.kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), "--timeout=30s")
    return [[ip["ip"] for ip in cluster.get("pod", name)["status"]["podIPs"]] for name in names]


@pytest.fixture
def pods(cluster):
    """Makes pods, which are gone when the test is."""
    made = []

    def make(*objects):
        cluster.apply(*objects)
        made.extend(o["metadata"]["name"] for o in objects)
        return ready(cluster, *(o["metadata"]["name"] for o in objects))

    yield make
    if made:
        cluster.kubectl("delete", "pod", *made, "--ignore-not-found", "--timeout=30s")


@pytest.fixture
def policy(cluster):
    """Only pods with role=client may talk to app=web."""
    cluster.apply({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "from-client"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]}],
        },
    })
    yield
    cluster.kubectl("delete", "networkpolicy", "from-client", "--ignore-not-found")


def fetches(cluster, pod, address):
    url = f"http://[{address}]:8080/" if ":" in address else f"http://{address}:8080/"
    return cluster.inside(pod, "timeout", "2", "wget", "-q", "-O", "-", url, check=False).returncode == 0


def endpoint(cluster, node, name):
    return next((e for e in cluster.status(node)["endpoints"] if e["name"] == name), None)


# --- a node becomes ready --------------------------------------------------------------------------------------------


def test_a_node_is_made_ready(cluster):
    secret = cluster.get("secret", "warren-identity", "-n", "kube-system")
    assert secret["immutable"] is True
    for node in NODES:
        wait_for(lambda: cluster.kubernetes(node)["node"]["reported"], f"Node {node} reported")
        said = cluster.kubernetes(node)
        assert said["key"]["state"] == "shared"
        assert said["waits_for"] is None
        assert said["pods"] == "own"
        assert said["configuration"] == {"path": CONFLIST, "written": True, "cidrs": cluster.get("node", node)["spec"]["podCIDRs"]}
        assert cluster.wrong(node) == []
        assert cluster.condition(node, "NetworkUnavailable") == "False"
        assert TAINT not in cluster.taints(node)
        assert cluster.node(node, "ls", "/etc/cni/net.d").stdout.split() == ["05-warren.conflist"]
        assert cluster.node(node, "stat", "-c", "%a %s", KEY).stdout == "600 16\n"
        print(node, "RSS", cluster.status(node)["rss_bytes"] >> 10, "KB")
    same = {cluster.node(node, "base64", KEY).stdout for node in NODES}
    assert same == {secret["data"]["key"] + "\n"}
    answer = cluster.node("n1", "curl", "-s", "http://127.0.0.1:9961/readyz").stdout
    assert answer == "ok\n"


def test_the_configuration_is_kept(cluster):
    """Not written again without need; restored if another program changes it."""
    def inode():
        return cluster.node("n1", "stat", "-c", "%i", CONFLIST, check=False).stdout

    before = inode()
    cluster.signal("n1", "HUP")
    cluster.stop("n1", "KILL")
    assert cluster.condition("n1", "Ready") == "True"
    cluster.start("n1")
    wait_for(lambda: cluster.kubernetes("n1")["configuration"]["written"], "conflist looked at")
    assert inode() == before
    cluster.node("n1", "sh", "-c", f"echo '{{}}' >{CONFLIST}")
    wait_for(lambda: "warren-cni" in cluster.node("n1", "cat", CONFLIST).stdout, "conflist repaired")
    cluster.node("n1", "rm", CONFLIST)
    wait_for(inode, "conflist back")


@pytest.fixture
def restarted_runtime(cluster):
    """At the end n1 gets another containerd: the old one's watch of the removed directory does not follow the next one."""
    yield
    cluster.restart("n1", "containerd")
    cluster.node("n1", "sh", "-c", "until ctr version >/dev/null 2>&1; do sleep 0.05; done")


def test_the_directory_of_configurations_is_made_again(cluster, restarted_runtime):
    """Twice: the second one is followed, too. (The agent may be faster than rmdir: it is held meanwhile.)"""
    for _ in range(2):
        cluster.signal("n1", "STOP")
        cluster.node("n1", "rm", "-r", "/etc/cni/net.d")
        cluster.signal("n1", "CONT")
        wait_for(lambda: cluster.node("n1", "test", "-e", CONFLIST, check=False).returncode == 0, "conflist back")
    cluster.node("n1", "rm", CONFLIST)
    wait_for(lambda: cluster.node("n1", "test", "-e", CONFLIST, check=False).returncode == 0, "conflist back in the last one")


@contextlib.contextmanager
def another_configuration(cluster):
    """On n1 meanwhile, before the agent's: the node is not Ready."""
    cluster.node("n1", "sh", "-c", "echo '{\"name\": \"x\", \"plugins\": []}' >/etc/cni/net.d/00-other.conflist")
    try:
        yield
    finally:
        cluster.node("n1", "rm", "/etc/cni/net.d/00-other.conflist")


def test_another_configuration_comes_first(cluster):
    with another_configuration(cluster):
        wait_for(lambda: any("00-other.conflist sorts before" in text for text in cluster.wrong("n1")), "red status")
        cluster.kubectl("wait", "--for=create", "event", "--field-selector=reason=ConflictingNetworkConfiguration", "--timeout=10s")
    wait_for(lambda: cluster.wrong("n1") == [], "green status")


def test_agents_say_how_they_are(cluster):
    """Each in an annotation of its Node, which the others' `status --cluster` has; with the number of problems, not
    their text.
    """

    def said(node):
        nodes = json.loads(cluster.warren(node, "--json", "status", "--cluster", check=False).stdout)["nodes"]
        return {row["node"]: re.sub(" since .*Z$", " since", row["agent"] or "") for row in nodes}

    version = cluster.status("n1")["version"]
    well = f"{version} ok since"
    for node in NODES:
        wait_for(lambda: said(node) == dict.fromkeys(NODES, well), "all to be well")
    before = cluster.get("node", "n2")["metadata"]["annotations"]["warren.dev/agent"]
    with another_configuration(cluster):
        wait_for(lambda: said("n2") == {"n1": f"{version} 1 wrong since", "n2": well}, "something wrong")
        assert "agents that report problems: 1" in cluster.warren("n2", "status", "--cluster", check=False).stdout
    wait_for(lambda: said("n2") == dict.fromkeys(NODES, well), "all to be well again")
    # An agent writes nothing if nothing has changed, not even after a restart.
    cluster.stop("n2", "KILL")
    cluster.start("n2")
    wait_for(lambda: cluster.kubernetes("n2")["node"]["reported"], "the Node looked at")
    assert cluster.get("node", "n2")["metadata"]["annotations"]["warren.dev/agent"] == before


def test_a_key_that_differs(cluster):
    before = cluster.node("n2", "base64", KEY).stdout
    cluster.stop("n2")
    cluster.node("n2", "sh", "-c", f"head -c 16 /dev/zero >{KEY}")
    cluster.start("n2")
    wait_for(lambda: cluster.kubernetes("n2")["key"]["state"] == "differs", "difference noticed")
    assert any("is not the one of Secret kube-system/warren-identity" in text for text in cluster.wrong("n2"))
    cluster.stop("n2")
    cluster.node("n2", "rm", KEY)
    cluster.start("n2")
    wait_for(lambda: cluster.kubernetes("n2")["key"]["state"] == "shared", "key shared")
    assert cluster.node("n2", "base64", KEY).stdout == before


# --- pods and policy ---------------------------------------------------------------------------------------------------


def test_policy_of_two_nodes(cluster, pods, policy):
    (near, far, client) = pods(pod("near", "n1", {"app": "web"}), pod("far", "n2", {"app": "web"}),
                               pod("client", "n1", {"role": "client"}))
    for address in near + far:
        wait_for(lambda: fetches(cluster, "client", address), f"{address} answers")
    cluster.kubectl("label", "pod/client", "role-")
    for address in near + far:
        wait_for(lambda: not fetches(cluster, "client", address), f"{address} is silent")
    # The policy names pods: those of other nodes are followed.
    assert cluster.kubernetes("n1")["pods"] == "all"
    assert cluster.kubernetes("n2")["pods"] == "all"


def test_an_agent_comes_and_goes(cluster, pods, policy):
    """Restarts, however they come, lose nothing of what a policy allows, on either side, for pods of other nodes too."""
    (web, client) = pods(pod("web", "n1", {"app": "web"}), pod("client", "n2", {"role": "client"}))
    for address in web:
        wait_for(lambda: fetches(cluster, "client", address), f"{address} answers")
    for address in web:
        done = None
        cluster.inside("client", "sh", "-c", f"ping -i 0.05 -c 160 -q {address} >/ping 2>&1 &")
        for node in NODES:
            cluster.stop(node, "KILL")
            cluster.start(node)
            wait_for(lambda: cluster.status(node)["enforced"], f"policy of {node} enforced")
        done = wait_for(lambda: "packet loss" in (text := cluster.inside("client", "cat", "/ping").stdout) and text, "ping ends")
        assert re.search(r" 0% packet loss", done), done


def test_a_static_pod(cluster):
    """Its mirror object has another uid than the plugin gets from the kubelet."""
    manifest = json.dumps(pod("static", None, {"app": "static"}))
    cluster.node("n1", "sh", "-c", f"mkdir -p /run/static; echo '{manifest}' >/run/static/static.json")
    cluster.kubectl("wait", "--for=create", "pod/static-n1", "--timeout=60s")
    ready(cluster, "static-n1")
    found = wait_for(lambda: endpoint(cluster, "n1", "static-n1"), "endpoint")
    mirror = cluster.get("pod", "static-n1")["metadata"]
    assert found["uid"] == mirror["annotations"]["kubernetes.io/config.mirror"] != mirror["uid"]
    wait_for(lambda: endpoint(cluster, "n1", "static-n1")["state"] == "not isolated", "labels of the mirror object")
    cluster.node("n1", "rm", "/run/static/static.json")
    cluster.kubectl("wait", "--for=delete", "pod/static-n1", "--timeout=60s")


def test_a_pod_of_the_same_name(cluster, pods, policy):
    """As a StatefulSet makes them: the new one never has the labels of the old one."""
    for labels, state in (({"app": "web"}, "enforced"), ({}, "not isolated"), ({"app": "web"}, "enforced")):
        pods(pod("again", "n1", labels))
        uid = cluster.get("pod", "again")["metadata"]["uid"]
        found = {e["uid"]: e["state"] for e in cluster.status("n1")["endpoints"] if e["name"] == "again"}
        assert found.pop(uid) == state
        # The one before may still be going.
        assert set(found.values()) <= {"quarantine"}
        cluster.kubectl("delete", "pod/again", "--timeout=30s")
    wait_for(lambda: not endpoint(cluster, "n1", "again"), "no endpoint")


def test_what_a_dead_pod_has_left(cluster, pods):
    """A pod that ends without a DEL: the agent that starts next removes it, and nothing of pods that live."""
    (alive,) = pods(pod("alive", "n1"))
    cluster.node("n1", "ip", "netns", "add", "dead")
    conf = json.loads(cluster.node("n1", "cat", CONFLIST).stdout)
    conf = json.dumps({**conf["plugins"][0], "cniVersion": "1.0.0", "name": conf["name"], "policyTimeout": 0})
    env = "CNI_COMMAND=ADD CNI_CONTAINERID=dead CNI_NETNS=/run/netns/dead CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin"
    made = json.loads(cluster.node("n1", "sh", "-c", f"echo '{conf}' | {env} /opt/cni/bin/warren-cni").stdout)
    dead = made["ips"][0]["address"].split("/")[0]
    cluster.stop("n1")
    cluster.node("n1", "ip", "netns", "del", "dead")
    records = "/run/warren/attachments/ready"
    assert "dead@eth0" in cluster.node("n1", "ls", records).stdout
    cluster.start("n1")
    wait_for(lambda: "dead@eth0" not in cluster.node("n1", "ls", records).stdout, "dead attachment removed")
    addresses = cluster.warren("n1", "endpoint", "list").stdout
    assert alive[0] in addresses and dead not in addresses


# --- without an API server ---------------------------------------------------------------------------------------------


def test_without_an_api_server(cluster, pods, policy):
    """What is enforced stays so; an agent that has a copy of the key starts all the same, and reports what it waits
    for.
    """
    (web, client, other) = pods(pod("web", "n1", {"app": "web"}), pod("client", "n1", {"role": "client"}), pod("other", "n1"))
    wait_for(lambda: fetches(cluster, "client", web[0]), "web answers")
    cluster.stop("n1")
    cluster.node("n1", "sh", "-c", "sed 's/:6443/:6444/' /run/kube/pki/admin.conf >/run/nowhere.conf")
    cluster.start("n1", kubeconfig="/run/nowhere.conf")
    said = cluster.kubernetes("n1")
    assert said["key"]["state"] == "cached"
    assert said["waits_for"] == "objects have not all been read from the API server yet"
    wait_for(lambda: any("identity key" in text for text in cluster.wrong("n1")), "red status")
    assert cluster.node("n1", "curl", "-s", "http://127.0.0.1:9961/readyz").stdout.startswith("kubernetes: objects")
    for address in web:
        assert fetches(cluster, "client", address)
        assert not fetches(cluster, "other", address)
    assert cluster.condition("n1", "Ready") == "True"
    cluster.stop("n1")
    cluster.start("n1")
    wait_for(lambda: cluster.wrong("n1") == [], "green status")


# --- who trusts whom ----------------------------------------------------------------------------------------------------


DAY = 86400


def jwt_part(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).decode().rstrip("=")


class Trust:
    """The token that an agent sends to the API server, and the CA that it verifies it by: files that tests damage and
    restore.
    """

    def __init__(self, cluster):
        self.pki, self.directory = cluster.pki, cluster.home / "trust"
        self.directory.mkdir()
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trusted", "namespace": "default"}}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "trusted"}}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        subject = {"kind": "ServiceAccount", "name": "trusted", "namespace": "default"}
        cluster.apply(account, {**binding, "roleRef": role, "subjects": [subject]})
        self.uid = cluster.get("serviceaccount", "trusted")["metadata"]["uid"]
        self.other = Authority(self.directory / "other").ca
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", self.directory / "skew.so", HERE / "skew.c"], check=True)
        server = {"server": "https://10.10.0.10:6443", "certificate-authority": "ca.crt"}
        (self.directory / "config").write_text(json.dumps({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": server}],
            "users": [{"name": "u", "user": {"tokenFile": "token"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }))
        self.good()

    def token(self, begin, end):
        """Valid between these two times, in seconds from now."""
        now = int(time.time())
        account = {"namespace": "default", "serviceaccount": {"name": "trusted", "uid": self.uid}}
        issuer = "https://kubernetes.default.svc"
        claims = {"iss": issuer, "aud": [issuer], "sub": "system:serviceaccount:default:trusted", "iat": now + begin,
                  "nbf": now + begin, "exp": now + end, "kubernetes.io": account}
        text = f"{jwt_part({'alg': 'RS256'})}.{jwt_part(claims)}"
        argv = ["openssl", "dgst", "-sha256", "-sign", self.pki / "sa.key"]
        signature = subprocess.run(argv, input=text.encode(), capture_output=True, check=True).stdout
        (self.directory / "token").write_text(f"{text}.{jwt_part(signature)}\n")

    def skew(self, seconds):
        (self.directory / "skew").write_text(str(seconds))

    def ca(self, file):
        shutil.copy(file, self.directory / "ca.crt")

    def good(self):
        self.token(-DAY, DAY)
        self.skew(0)
        self.ca(self.pki / "ca.crt")


BAD = {
    "a token that has expired": (lambda trust: trust.token(-DAY, -120), "401"),
    "a token of tomorrow": (lambda trust: trust.token(DAY, 2 * DAY), "401"),
    "another CA": (lambda trust: trust.ca(trust.other), "certificate"),
    "a clock of yesterday": (lambda trust: trust.skew(-DAY), "not yet valid"),
    "a clock of next year": (lambda trust: trust.skew(365 * DAY), "expired"),
}


@pytest.fixture(scope="module")
def trust(cluster):
    return Trust(cluster)


@pytest.fixture
def start_trusting(cluster, trust):
    """Starts the agent of n1 with these files; afterwards it is as it was."""
    trust.good()
    yield lambda: cluster.start("n1", "SKEW=/run/kube/trust/skew", "LD_PRELOAD=/run/kube/trust/skew.so", kubeconfig="/run/kube/trust/config")
    cluster.stop("n1")
    cluster.start("n1")
    wait_for(lambda: cluster.wrong("n1") == [], "green status")


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_trusted(cluster, pods, policy, trust, start_trusting, what):
    """The status reports it; policy stays enforced; when the file is good again the running agent continues by itself."""
    spoil, word = BAD[what]
    (web, client, other) = pods(pod("web", "n1", {"app": "web"}), pod("client", "n1", {"role": "client"}), pod("other", "n1"))
    wait_for(lambda: fetches(cluster, "client", web[0]), "web answers")
    cluster.stop("n1")
    spoil(trust)
    start_trusting()
    wait_for(lambda: any(word in text for text in cluster.wrong("n1")), "red status")
    for address in web:
        assert fetches(cluster, "client", address)
        assert not fetches(cluster, "other", address)
    assert cluster.kubernetes("n1")["waits_for"] == "objects have not all been read from the API server yet"
    trust.good()
    wait_for(lambda: cluster.wrong("n1") == [], "green status", 60)


def test_a_token_expires_and_another_comes(cluster, pods, policy, trust, start_trusting):
    """While the agent runs, and its connections go with the server's."""
    (web, client) = pods(pod("web", "n1", {"app": "web"}), pod("client", "n1", {"role": "client"}))
    cluster.stop("n1")
    start_trusting()
    wait_for(lambda: cluster.wrong("n1") == [], "green status")
    trust.token(-DAY, -120)
    cluster.stop_api()
    cluster.start_api()
    wait_for(lambda: any("401" in text for text in cluster.wrong("n1")), "red status", 60)
    assert all(fetches(cluster, "client", address) for address in web)
    trust.good()
    wait_for(lambda: cluster.wrong("n1") == [], "green status", 60)
    cluster.kubectl("label", "pod/client", "role-")
    for address in web:
        wait_for(lambda: not fetches(cluster, "client", address), "the change is enforced")


# --- another Node of the same name ---------------------------------------------------------------------------------------


def test_a_node_that_is_made_again(cluster, pods):
    """With other pod CIDRs and the taint back: the last test, since pods of the node are gone after it."""
    old = cluster.get("node", "n2")
    cidrs = ["10.244.99.0/24", "fd44:0:0:63::/64"]
    cluster.kubectl("delete", "node/n2")
    cluster.apply({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n2", "labels": old["metadata"]["labels"]},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs, "taints": [{"key": TAINT, "effect": "NoSchedule"}]},
    })
    wait_for(lambda: cluster.kubernetes("n2")["configuration"]["cidrs"] == cidrs, "configuration of the new CIDRs")
    wait_for(lambda: TAINT not in cluster.taints("n2"), "taint gone")
    assert cluster.condition("n2", "NetworkUnavailable") == "False"
    cluster.kubectl("wait", "--for=condition=Ready", "node/n2", "--timeout=60s")
    ((v4, v6), far) = pods(pod("new", "n2"), pod("near", "n1"))
    assert v4.startswith("10.244.99.") and v6.startswith("fd44:0:0:63:")
    for address in (v4, v6):
        wait_for(lambda: fetches(cluster, "near", address), f"{address} answers")
