# SPDX-License-Identifier: BSD-2-Clause
"""What the cluster can do with the reference plugins: a failure here is not Warren's."""

import pytest

from kube_cluster import IMAGE, NODES, Kubernetes
from netns import wait_for

PROBE = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}


@pytest.fixture(scope="module")
def cluster(programs):
    with Kubernetes("smoke", CNI="bridge", PROXY="nftables") as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["IPv4", "IPv6"])
def family(request):
    return request.param


def deployment(name, replicas):
    container = {
        "name": "c",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "hostname >/www/index.html; exec httpd -f -p 8080 -h /www"],
        "readinessProbe": PROBE,
        "livenessProbe": PROBE,
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": name}},
    }
    pod = {"terminationGracePeriodSeconds": 1, "topologySpreadConstraints": [spread], "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }


def service(name, app, family, **spec):
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": app}, "ipFamilies": [family], "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def web(cluster):
    """{node: a ready pod of the deployment there}"""
    cluster.apply(deployment("web", 4))
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    pods = {pod["spec"]["nodeName"]: pod for pod in cluster.get("pods", "-l", "app=web")}
    assert set(pods) == set(NODES)
    return pods


def address(pod, family):
    return next(a["ip"] for a in pod["status"]["podIPs"] if (":" in a["ip"]) == (family == "IPv6"))


def url(host, port=80):
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def fetch(cluster, pod, *where):
    return cluster.inside(pod["metadata"]["name"], "timeout", "5", "wget", "-q", "-O", "-", url(*where)).stdout.strip()


def test_nodes(cluster):
    nodes = {node["metadata"]["name"]: node for node in cluster.get("nodes")}
    assert set(nodes) == set(NODES)
    for node in nodes.values():
        assert len(node["spec"]["podCIDRs"]) == 2
        assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"


def test_pods_of_two_nodes_talk(cluster, web, family):
    near, far = (web[node] for node in NODES)
    cluster.inside(near["metadata"]["name"], "ping", "-c", "1", "-W", "5", address(far, family))
    assert fetch(cluster, near, address(far, family), 8080) == far["metadata"]["name"]


def test_services(cluster, web, family):
    name = f"web-{family.lower()}"
    cluster.apply(service(name, "web", family))
    cluster.kubectl("wait", "--for=jsonpath={.endpoints[0].conditions.ready}=true", "endpointslice",
                    "-l", f"kubernetes.io/service-name={name}", "--timeout=30s")
    ip = cluster.get("service", name)["spec"]["clusterIP"]
    assert fetch(cluster, web["n1"], ip).startswith("web-")


def test_logs(cluster):
    cluster.kubectl("run", "says", f"--image={IMAGE}", "--image-pull-policy=Never", "--restart=Never", "--", "echo", "hello")
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/says", "--timeout=30s")
    assert cluster.kubectl("logs", "says").stdout == "hello\n"
    cluster.kubectl("delete", "pod/says", "--timeout=30s")


def test_each_node_has_its_own_bpffs(cluster):
    """A pinned object of one node is not visible in another one."""
    cluster.node("n1", "mkdir", "/sys/fs/bpf/mine")
    assert cluster.node("n2", "ls", "/sys/fs/bpf/mine", check=False).returncode != 0
    cluster.node("n1", "rmdir", "/sys/fs/bpf/mine")


def test_nothing_is_left(cluster, web):
    """Of pods that are gone: neither containers nor network namespaces."""
    pods = [f"pod/{pod['metadata']['name']}" for pod in cluster.get("pods")]
    cluster.kubectl("delete", "deploy/web")
    cluster.kubectl("wait", "--for=delete", *pods, "--timeout=60s")
    for node in NODES:
        # The sandbox goes a moment after the object.
        wait_for(lambda: not cluster.node(node, "ctr", "-n", "k8s.io", "tasks", "ls", "-q").stdout, f"containers of {node}")
        assert cluster.node(node, "ls", "/run/netns").stdout == ""
