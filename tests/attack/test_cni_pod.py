# SPDX-License-Identifier: BSD-2-Clause
"""A pod with NET_ADMIN does as it likes in its own network namespace, while the runtime's CHECK, DEL and GC look into
it.
"""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import NODE_GATEWAY, network
from netns import wait_for

CHECK_FAILED = 104


def collect(node, conf):
    return node.cni("GC", {**conf, "cni.dev/valid-attachments": []})


@pytest.mark.parametrize("how", ["no record", "damaged record"])
def test_del_takes_no_forged_device_for_its_own(node, pods, how):
    """The attacker replaces its eth0 by a device with the index of the victim's, whose peer, in a namespace below its
    own, has the index of the victim's device on the node. A DEL without a record (a second one, as a runtime repeats
    it) uses what it finds there.
    """
    victim, attacker = pods("victim", network()), node.pod("attacker", network())
    if how == "no record":
        attacker.run("ip", "link", "delete", "eth0")
        assert node.cni("DEL", attacker.chain[0], attacker.container, "eth0", attacker.path).ok
    else:
        node.outside(f"/run/warren/attachments/ready/{attacker.container}@eth0").write_text("{")
        attacker.run("ip", "link", "delete", "eth0")
    inner = victim.ip("link", "show", "eth0")[0]["ifindex"]
    below = node.netns_add(f"{attacker.container}-below")
    link = f"link add eth0 index {inner} type veth peer name x index {victim.ifindex} netns"
    attacker.run("ip", *link.split(), below.rpartition("/")[2])
    forged = attacker.ip("link", "show", "eth0")[0]
    assert (forged["ifindex"], forged["link_index"]) == (inner, victim.ifindex)
    try:
        assert node.cni("DEL", attacker.chain[0], attacker.container, "eth0", attacker.path).ok
        assert victim.host_ifname in node.pod_devices()
        for family in (4, 6):
            victim.ping(NODE_GATEWAY[family])
        victim.check()
    finally:
        attacker.gone()
        node.netns_delete(below)


def test_recovery_finds_the_pods_own_device(node, pods):
    """What the test above must not break: without a legible record DEL finds the device by the pod's end, under any
    index.
    """
    pod = node.pod("a", network())
    node.outside(f"/run/warren/attachments/ready/{pod.container}@eth0").write_text("{")
    assert node.cni("DEL", pod.chain[0], pod.container, "eth0", pod.path).ok
    wait_for(lambda: pod.host_ifname not in node.pod_devices(), "the device to go")
    pod.gone()


ACTS = {
    "renames eth0": ["ip link set eth0 down", "ip link set eth0 name gone0"],
    "puts another in its place": ["ip link set eth0 down", "ip link set eth0 name gone0", "ip link add eth0 type veth peer name eth1"],
    "deletes eth0": ["ip link delete eth0"],
    "moves eth0 away": ["ip netns add {below}", "ip link set eth0 netns {below}"],
    "takes its neighbours": ["ip neighbour flush all nud permanent"],
    "takes its routes": ["ip route flush table main", "ip -6 route flush table main"],
}


@pytest.mark.parametrize("act", ACTS)
def test_what_a_pod_does_to_its_device(node, pods, act):
    """CHECK reports it; GC, as the namespace lives, frees nothing; DEL leaves nothing. A neighbour pod is not affected."""
    conf = network()
    other, pod = pods("other", conf), node.pod("a", conf)
    below = f"{pod.container}-below"
    for command in ACTS[act]:
        pod.run(*command.format(below=below).split())
    done = node.cni("CHECK", {**conf, "prevResult": pod.result}, pod.container, "eth0", pod.path)
    assert not done.ok and done.json["code"] == CHECK_FAILED, done
    assert collect(node, conf).ok
    assert f"ready/{pod.container}@eth0" in node.files("/run/warren/attachments")
    assert node.cni("DEL", conf, pod.container, "eth0", pod.path).ok
    wait_for(lambda: node.pod_devices() == [other.host_ifname], "the device to go")
    other.check()
    pod.gone()
    if "{below}" in "".join(ACTS[act]):
        node.netns_delete(below)


CROWDS = {  # how many, and a line of `ip -batch` for each; IPv4's addresses take time that grows with their square
    "links": (500, "link add name d{i} type veth peer name e{i}", "link show type veth"),
    "addresses": (5000, "address add 10.99.{a}.{b}/32 dev eth0", "-4 address show dev eth0"),
    "routes": (20000, "route add 10.98.{a}.{b}/32 dev eth0", "-4 route show"),
    "IPv6 routes": (20000, "route add fd99::{i:x}/128 dev eth0", "-6 route show"),
    "neighbours": (20000, "neighbour add 10.97.{a}.{b} lladdr 02:00:00:00:00:01 dev eth0 nud permanent", "neighbour show nud permanent"),
}


@pytest.mark.long
@pytest.mark.parametrize("what", CROWDS)
def test_a_crowded_namespace(node, pods, what):
    """Thousands of each: CHECK, GC and DEL end within a runtime's timeout, and leave nothing."""
    conf = network()
    pod = node.pod("a", conf)
    count, line, listing = CROWDS[what]
    batch = "\n".join(line.format(i=i, a=i >> 8, b=i & 255) for i in range(1, count + 1))
    pod.run("ip", *(["-6"] if what.startswith("IPv6") else []), "-force", "-batch", "-", input=batch)
    assert len(pod.run("ip", "-o", *listing.split()).stdout.splitlines()) >= count
    for command, extra in (("CHECK", {"prevResult": pod.result}), ("GC", {"cni.dev/valid-attachments": []}), ("DEL", {})):
        done = node.cni(command, {**conf, **extra}, pod.container, "eth0", pod.path, wrap=["timeout", "10"])
        assert done.ok, (command, done)
    pod.gone()
    node.assert_clean()


SLOW_IPAM = """#!/bin/sh
cat >/dev/null
[ "$CNI_COMMAND" != ADD ] || read -r _ </run/slow-gate
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.87.0.200/24", "gateway": "10.87.0.1"}]}'
"""


@pytest.mark.long
def test_del_outwaits_a_slow_add(node):
    """The pod is deleted while its ADD still waits. A DEL that timed out first (once after 15 seconds) would leave the
    pod that this ADD still makes.
    """
    conf = network(ipam={"type": "test-slow"})
    plugin = node.outside("/opt/cni/bin/test-slow")
    plugin.write_text(SLOW_IPAM)
    plugin.chmod(0o755)
    os.mkfifo(node.outside("/run/slow-gate"))
    path = node.netns_add("slow")
    with ThreadPoolExecutor(2) as pool:
        add = pool.submit(node.cni, "ADD", conf, "slow", "eth0", path)
        wait_for(lambda: "adding/slow@eth0" in node.files("/run/warren/attachments"), "ADD")
        delete = pool.submit(node.cni, "DEL", conf, "slow", "eth0", path)
        with contextlib.suppress(TimeoutError):
            delete.result(20)  # longer than any lock but an attachment's is waited for
        waited = not delete.done()
        node.outside("/run/slow-gate").write_text("go\n")
        assert add.result().ok
    assert waited and delete.result().ok, delete.result()
    node.assert_clean()
    node.netns_delete("slow")
    for name in ("/run/slow-gate", "/opt/cni/bin/test-slow"):
        node.outside(name).unlink()
