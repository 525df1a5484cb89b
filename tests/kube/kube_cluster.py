# SPDX-License-Identifier: BSD-2-Clause
"""A real Kubernetes: control plane and kubelets in namespaces (`cluster`), and what tests need of it."""

import contextlib
import itertools
import json
import os
import signal
from pathlib import Path

from agent import Agent
from control_plane import HERE, ControlPlane, ProcessNetns
from kube_client import POD_TIMEOUT
from lab import BUILD, Node
from netns import wait_for

NODES = ("n1", "n2")
IMAGE = "warren.example/busybox:1"


class Kubernetes(ControlPlane):
    """With nodes."""

    nodes = len(NODES)

    def __init__(self, name, **settings):
        self.machines = {}
        super().__init__(name, **settings)
        self.names = tuple(f"n{number + 1}" for number in range(int(self.env["NODES"])))

    def close(self):
        for machine in self.machines.values():
            machine.close()
        super().close()

    def get(self, *argv):
        """The object, or the items of a list."""
        found = json.loads(self.kubectl("get", *argv, "-o", "json").stdout)
        return found["items"] if "items" in found else found

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def holder_shell(self, script):
        """Runs it where the bridge between the nodes is, and the names of network namespaces are."""
        return self.run("exec", stdin=f"set -e\n{script}")

    def inside(self, pod, *argv, check=True, namespace="default"):
        return self.kubectl("exec", "-n", namespace, pod, "--", *argv, check=check)

    def looks(self):
        """The state of the cluster, to find out what is wrong."""
        words = [["get", "nodes,pods", "-A", "-o", "wide"], ["get", "events", "-A", "--field-selector", "type=Warning"]]
        words += [["logs", "-n", AGENTS["namespace"], "-l", AGENTS["labelSelector"], "--all-containers", "--prefix", "--tail=20"]]
        done = [self.kubectl(*argv, "--request-timeout=10s", check=False) for argv in words]
        logs = [f"{name}: {self.node(name, 'tail', '-n', '5', '/var/log/kubelet.log', check=False).stdout}" for name in NODES]
        return "\n".join([*(d.stdout[-6000:] + d.stderr[-1000:] for d in done), *logs])

    # --- what is in it ---

    def machine(self, name):
        """The node as a set of namespaces."""
        if name not in self.machines:
            self.machines[name] = Machine(self, name)
        return self.machines[name]

    def power(self, name, what):
        """Switches a node on or off."""
        if name in self.machines:
            self.machines.pop(name).close()
        self.run("node", name, what)

    def restart(self, name, program, signal="TERM"):
        """Ends containerd, the kubelet or kube-proxy of a node; returns when the next one has been started."""
        script = 'old=$(cat "/run/$0.pid"); kill "-$1" "$old"; while [ "$(cat "/run/$0.pid")" = "$old" ]; do sleep 0.02; done'
        self.node(name, "sh", "-ec", script, program, signal)

    def turn_off(self, name, program):
        """Returns when it has ended."""
        script = 'touch "/run/$0.off"; old=$(cat "/run/$0.pid"); kill "$old"; while [ -d "/proc/$old" ]; do sleep 0.02; done'
        self.node(name, "sh", "-ec", script, program)

    def turn_on(self, name, program):
        self.node(name, "rm", "-f", f"/run/{program}.off")

    def netns(self, pod):
        """Of a pod (its object)."""
        return PodNetns(self.machine(pod["spec"]["nodeName"]), pod)

    def ready(self, *names, namespace="default", timeout=POD_TIMEOUT):
        """{name: object} of these pods once they are Ready."""

        def all_ready(pods):
            return all(name in pods and is_ready(pods[name]) for name in names) and pods

        pods = self.api.wait("Pod", all_ready, f"{names} to be Ready", namespace, timeout)
        return {name: pods[name] for name in names}


def is_ready(item):
    conditions = {c["type"]: c["status"] for c in item.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in item["metadata"]


def processes(part):
    """Numbers of the processes in control groups whose name has this part."""
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if part in path.read_text():
                yield int(path.parent.name)
        except OSError:
            pass  # it has ended


class Machine(ProcessNetns, Node):
    """A node of the cluster, for what the lab's nodes can do, too."""

    def __init__(self, cluster, name):
        self.name, self.pods = name, []
        self.env = {**os.environ, "WARREN_BUILD": str(BUILD), "LC_ALL": "C"}
        self.env["PATH"] = f"{BUILD}:{self.env['PATH']}:/usr/sbin:/sbin"
        self.pid = next(pid for pid in processes(f"/warren-kube-{cluster.name}/{name}\n") if _is_first(pid))
        ProcessNetns.__init__(self, self, self.pid)
        self.agent = RunningAgent(self)

    def watches(self):
        """{kind: the agent's figures of its watch}"""
        return {watch["kind"]: watch for watch in self.agent.status()["kubernetes"]["watches"]}

    def __exit__(self, *_):
        self.close()


def _is_first(pid):
    """In the node's PID namespace: node.sh."""
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
    return numbers[-1] == "1" and b"node.sh" in Path(f"/proc/{pid}/cmdline").read_bytes()


class RunningAgent(Agent):
    """That of a DaemonSet: it gets requests only, the DaemonSet starts and ends it."""

    def __init__(self, node):
        self.node = node


class PodNetns(ProcessNetns):
    def __init__(self, machine, pod):
        self.name = pod["metadata"]["name"]
        self.ips = {6 if ":" in a["ip"] else 4: a["ip"] for a in pod["status"]["podIPs"]}
        super().__init__(machine, next(processes(f"/pod{pod['metadata']['uid']}/")))


# --- objects -----------------------------------------------------------------------------------------------------------------


def pod(name, node=None, labels=None, namespace="default", **spec):
    """One that does nothing."""
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "2147483647"]}
    parts = {"containers": [container], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, **spec}
    if node:
        parts["nodeName"] = node
        parts["tolerations"] = [{"operator": "Exists"}]
    metadata = {"name": name, "namespace": namespace, "labels": labels or {"name": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": parts}


def service(name, selector, *ports, namespace="default", **spec):
    """Of all families of the cluster. `ports`: (number, protocol, target)."""
    ports = [{"name": f"{p}-{n}".lower(), "port": n, "protocol": p, "targetPort": target} for n, p, target in ports]
    spec = {"selector": selector, "ipFamilyPolicy": "PreferDualStack", "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


_numbers = itertools.count(1)


@contextlib.contextmanager
def made_space(cluster, **labels):
    """A namespace meanwhile; its pods go at once."""
    name, api = f"space-{next(_numbers)}", cluster.api
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"name": name, **labels}}})
    # Pods are refused before. (Controllers that have lost the API server retry after a while.)
    api.wait("ServiceAccount", lambda found: "default" in found, "the service account", name)
    yield name
    for item in api.list("Pod", name):
        api.delete("Pod", item["metadata"]["name"], name, gracePeriodSeconds=0)
    api.delete("Namespace", name)


def wait_dns(cluster):
    """CoreDNS at the address that the kubelets give to pods."""
    addresses = [address for family, address in ((4, "10.96.0.10"), (6, "fd96::a")) if family in cluster.families]
    manifest = (HERE / "dns.yaml").read_text().replace('[10.96.0.10, "fd96::a"]', json.dumps(addresses))
    cluster.kubectl("apply", "-f", "-", stdin=manifest.replace("clusterIP: 10.96.0.10", f"clusterIP: {addresses[0]}"))
    cluster.api.wait("Pod", lambda found: found and all(map(is_ready, found.values())), "CoreDNS", "kube-system",
                     labelSelector="k8s-app=kube-dns")


# --- the agents --------------------------------------------------------------------------------------------------------------


def agent_pids(cluster, *nodes):
    """{node: its process number, as seen from here}"""
    found = {}
    for name in nodes or NODES:
        of_node = processes(f"/warren-kube-{cluster.name}/{name}/")
        found[name] = next((pid for pid in of_node if _is_agent(pid)), None)
    return found


def _is_agent(pid):
    """Not the init container, which runs the same program."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"warren-agent\0--kubernetes\0")
    return False


def rss_of_agents(cluster):
    """{node: KiB}"""
    status = {name: Path(f"/proc/{pid}/status").read_text() for name, pid in agent_pids(cluster).items()}
    return {name: int(text.partition("VmRSS:")[2].split()[0]) for name, text in status.items()}


AGENTS = {"namespace": "kube-system", "labelSelector": "app.kubernetes.io/name=warren"}


def wait_agents(cluster, condition, what, timeout=POD_TIMEOUT):
    """Until condition([pod of an agent]) holds."""
    return cluster.api.wait("Pod", lambda found: condition(list(found.values())), what, timeout=timeout, **AGENTS)


def agents_ready(agents):
    return len(agents) == len(NODES) and all(map(is_ready, agents))


@contextlib.contextmanager
def without_agents(cluster):
    """No agent on any node meanwhile."""
    selector = {"spec": {"template": {"spec": {"nodeSelector": {"no-node": "here"}}}}}
    cluster.api.merge("DaemonSet", "warren", selector, "kube-system")
    wait_agents(cluster, lambda agents: not agents, "the agents to end")
    yield
    selector["spec"]["template"]["spec"]["nodeSelector"] = None
    cluster.api.merge("DaemonSet", "warren", selector, "kube-system")
    wait_agents(cluster, agents_ready, "the agents to be back")


def is_of(agent, node):
    return agent["spec"].get("nodeName") == node and "deletionTimestamp" not in agent["metadata"]


def replace_agent(cluster, node):
    """Its agent is killed and another one started at once: a kubelet would restart the container after a delay. Returns the
    number of the process.
    """
    pid = wait_for(lambda: agent_pids(cluster, node)[node], f"an agent of {node}")
    item = next(agent for agent in cluster.api.list("Pod", **AGENTS) if is_of(agent, node))
    with contextlib.suppress(ProcessLookupError):  # it was that of an earlier pod, and has ended by itself
        os.kill(pid, signal.SIGKILL)
    cluster.api.delete("Pod", item["metadata"]["name"], "kube-system", gracePeriodSeconds=0)
    return pid
