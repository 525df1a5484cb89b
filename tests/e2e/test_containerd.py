# SPDX-License-Identifier: BSD-2-Clause
"""Pods by containerd and runc, through `ctr run --cni`."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import fetch_from, write_conflist
from lab import GATEWAY, NODE_GATEWAY, Lab, network
from netns import COMMAND, TIMEOUT, wait_for

HOST_PORT = 8080


@pytest.fixture(scope="module", autouse=True)
def config(node):
    # ctr has no option for a pod's ports: the same mapping for every pod comes with the configuration.
    ports = [{"hostPort": HOST_PORT, "containerPort": 80, "protocol": "tcp"}]
    portmap = {"type": "portmap", "runtimeConfig": {"portMappings": ports}}
    # Debian's plugins support CNI up to 1.0.0.
    write_conflist(node, "lab", [network(), portmap], cniVersion="1.0.0")


@pytest.mark.smoke
def test_pods_talk(runtime, family):
    names = ["a", "b", "c"]
    for name in names:
        runtime.run(name)
    ips = {name: runtime.ips(name) for name in names}
    assert len({ip[family] for ip in ips.values()}) == len(names)
    for source in names:
        for target in names:
            assert runtime.fetch(source, ips[target][family]) == target
            runtime.exec(source, "ping", f"-{family}", "-c", "1", "-W", TIMEOUT, ips[target][family])


def test_host_and_pod_talk(runtime, node, family):
    runtime.run("a")
    address = runtime.ips("a")[family]
    assert fetch_from(node, address) == "a"
    runtime.exec("a", "ping", "-c", "1", "-W", TIMEOUT, NODE_GATEWAY[family])


def test_host_port(runtime, node, world, family):
    runtime.run("a")
    assert fetch_from(world, Lab.UPLINK[family], HOST_PORT) == "a"
    assert fetch_from(node, Lab.UPLINK[family], HOST_PORT) == "a"


def test_pod_reaches_the_world(runtime, world, family):
    runtime.run("a")
    with world.tcp_listen(family) as server, ThreadPoolExecutor() as background:
        port = server.getsockname()[1]
        client = background.submit(runtime.exec, "a", "sh", "-c", f"echo hello | nc -w {TIMEOUT} {Lab.BEYOND[family]} {port}")
        connection, peer = server.accept()
        with connection:
            assert connection.recv(100) == b"hello\n"
        assert peer[0] == Lab.UPLINK[family]
        client.result()


@pytest.mark.smoke
def test_end_of_a_pod_leaves_nothing(runtime, node):
    runtime.run("a")
    runtime.run("b")
    assert len(node.warren_json("endpoint", "list")) == 2
    runtime.kill("a")
    assert len(node.warren_json("endpoint", "list")) == 1
    runtime.kill("b")
    node.assert_clean()
    assert node.files("/var/lib/cni/results") == []


def test_killed_from_outside(runtime, node):
    """The process dies by itself; the runtime's DEL comes without a network namespace."""
    runtime.run("a")
    node.run("kill", "-KILL", runtime.pid("a"))
    runtime.pods.remove("a")
    node.assert_clean()


def test_runtime_killed(runtime, node):
    """No DEL ever comes: the next GC removes the state of the dead pod; the living pod stays."""
    runtime.run("alive")
    runtime.run("dead")
    ctr = node.outside("/run/pods/dead.pid")
    node.run("kill", "-KILL", ctr.read_text().strip())
    ctr.unlink()
    pod = runtime.pid("dead")
    node.run("kill", "-KILL", pod)
    runtime.pods.remove("dead")
    wait_for(lambda: not node.outside(f"/proc/{pod}/ns/net").exists(), "the pod's namespace has gone")
    node.run("ctr", "-n", f"warren-{node.name}", "tasks", "delete", "dead", check=False)
    node.run("ctr", "-n", f"warren-{node.name}", "containers", "delete", "dead")

    done = node.cni("GC", {**network(), "cni.dev/valid-attachments": []})
    assert done.ok, done
    wait_for(lambda: len(node.pod_devices()) == 1, "one pod device")
    assert len(node.bpf_map("endpoints")) == 1
    runtime.exec("alive", "ping", "-c", "1", "-W", TIMEOUT, GATEWAY[4])


def test_many_at_once(runtime, node):
    """Ten pods started together; every one gets an address of its own and they all reach the first."""
    names = [f"p{i}" for i in range(10)]
    node_exec = [
        node.popen("sh", "-c", f"{CTR.format(space=node.name, name=name)}", stdout=-1, stderr=-2, text=True) for name in names
    ]
    outputs = [proc.communicate(timeout=COMMAND)[0] for proc in node_exec]
    assert [proc.returncode for proc in node_exec] == [0] * len(names), outputs
    addresses = [out.split()[-1] for out in outputs]
    assert len(set(addresses)) == len(names), addresses


# A pod that prints its address and ends.
CTR = (
    "exec ctr -n warren-{space} run --rm --cni --snapshotter native warren.example/busybox:1 {name} "
    "sh -c 'ip -o -4 address show eth0 | awk \"{{ print \\$4 }}\"'"
)
