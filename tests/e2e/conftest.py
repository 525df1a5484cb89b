# SPDX-License-Identifier: BSD-2-Clause
"""The real callers of a CNI plugin: containerd with runc, and libcni's own tool."""

import json
import subprocess

import pytest

from lab import BUILD, REPO, Lab
from netns import COMMAND, TIMEOUT

CONTAINERD = REPO / "examples/lab/containerd"


def write_conflist(node, name, plugins, **extra):
    """The only network of a node: a configuration list of these plugins."""
    for old in node.files("/etc/cni/net.d"):
        node.outside(f"/etc/cni/net.d/{old}").unlink()
    conf = {"cniVersion": "1.1.0", "name": name, **extra, "plugins": plugins}
    node.outside(f"/etc/cni/net.d/10-{name}.conflist").write_text(json.dumps(conf))


def write_agent_conflist(node):
    """The example's network for nodes with an agent."""
    example = REPO / "examples/40-agent.conflist"
    node.outside("/etc/cni/net.d").mkdir(parents=True, exist_ok=True)
    node.outside(f"/etc/cni/net.d/{example.name}").write_text(example.read_text())


@pytest.fixture(scope="module")
def lab():
    """A node with an uplink to the world. The first ADD has to load the programs."""
    with Lab() as lab:
        yield lab


# --- containerd ---------------------------------------------------------------------------------------------------------


class Runtime:
    """containerd in a node, and pods by `ctr run --cni`; each serves its name by HTTP on port 80."""

    def __init__(self, node):
        self.node, self.pods = node, []

    def _run(self, *argv, check=True, timeout=COMMAND):
        done = subprocess.run(
            [CONTAINERD, argv[0], self.node.name, *map(str, argv[1:])],
            env=self.node.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, f"containerd {argv}: {done.stdout}{done.stderr}"
        return done

    def up(self):
        self._run("up")

    def down(self):
        self._run("down")

    def run(self, pod, *options):
        self._run("run", pod, *options)
        self.pods.append(pod)

    def kill(self, pod):
        self.pods.remove(pod)
        self._run("kill", pod)

    def exec(self, pod, *argv, check=True):
        return self._run("exec", pod, *argv, check=check)

    def pid(self, pod):
        return int(self._run("pid", pod).stdout)

    def ips(self, pod):
        """{family: address} of the pod's eth0."""
        words = [line.split() for line in self.exec(pod, "ip", "-o", "address", "show", "eth0").stdout.splitlines()]
        found = {{"inet": 4, "inet6": 6}[w[2]]: w[3].split("/")[0] for w in words if not w[3].startswith("fe80:")}
        assert found, words
        return found

    def fetch(self, pod, address, port=80):
        """The reply of an HTTP server to the pod."""
        return self.exec(pod, "timeout", TIMEOUT, "wget", "-q", "-O", "-", url(address, port)).stdout.strip()


def url(address, port=80):
    return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"


def fetch_from(netns, address, port=80):
    """The reply of an HTTP server to a node or pod of the lab."""
    return netns.run("busybox", "timeout", TIMEOUT, "busybox", "wget", "-q", "-O", "-", url(address, port)).stdout.strip()


@pytest.fixture(scope="module")
def containerd(node):
    runtime = Runtime(node)
    runtime.up()
    yield runtime
    runtime.down()


@pytest.fixture
def runtime(containerd):
    """Pods end with the test; then nothing of them may be left."""
    yield containerd
    for pod in list(containerd.pods):
        containerd.kill(pod)
    containerd.node.assert_clean()


# --- cnitool ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cnitool_path():
    path = BUILD.parent / "build" / "cnitool"
    if not path.exists():
        done = subprocess.run([REPO / "tests/lib/cnitool.sh", path], capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip(done.stderr.strip().splitlines()[-1])
        assert done.returncode == 0, done.stderr
    return path


class Cnitool:
    """cnitool in a node, on the network that write_conflist() made; a pod is a named network namespace."""

    def __init__(self, node, path):
        self.node, self.path, self.pods = node, path, []

    def pod(self, name):
        self.pods.append(name)
        return self.node.netns_add(name)

    def delete_pod(self, name):
        self.pods.remove(name)
        self.node.netns_delete(name)

    def __call__(self, command, network, netns, capabilities=None, args=None, check=True):
        env = {"CNI_PATH": "/opt/cni/bin", "NETCONFPATH": "/etc/cni/net.d"}
        if capabilities:
            env["CAP_ARGS"] = json.dumps(capabilities)
        if args:
            env["CNI_ARGS"] = args
        return self.node.run(self.path, command, network, netns, env=env, check=check)

    def add(self, *args, **kwargs):
        return json.loads(self("add", *args, **kwargs).stdout)

    def fails(self, command, *args, **kwargs):
        """The message of a command that must fail, as libcni reports it."""
        done = self(command, *args, check=False, **kwargs)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip()


@pytest.fixture
def cnitool(node, cnitool_path):
    tool = Cnitool(node, cnitool_path)
    yield tool
    for name in list(tool.pods):
        tool.delete_pod(name)
