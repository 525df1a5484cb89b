# SPDX-License-Identifier: BSD-2-Clause
"""`warren node init` and `down`: what they make, that they can be repeated, and that nothing stays."""

import json
import os

import pytest

from lab import NODE_GATEWAY, Node, network
from memory import memory_cgroup
from netns import tcp
from rawbpf import PINS

pytestmark = pytest.mark.long


@pytest.fixture
def node():
    with Node() as node:
        node.netns_delete(node.netns_add("first"))  # leaves the directory of namespaces, which is not ours
        # An uplink whose default route a router has announced: with forwarding the kernel would ignore that router.
        node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "lan")
        for name in ("eth0", "lan"):
            # No link-local address, whose duplicate address detection ends at some time during a test.
            node.run("ip", "link", "set", name, "addrgenmode", "none")
            node.run("ip", "link", "set", name, "up")
        node.run("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
        node.run("ip", "-6", "route", "add", "default", "via", "2001:db8::2", "dev", "eth0", "proto", "ra")
        yield node


@pytest.mark.smoke
def test_down_leaves_nothing(node):
    before = node.traces()
    node.warren("node", "init")
    made = node.traces()
    assert all(made[what] != before[what] for what in ("links", "nftables", "sysctls", "files"))
    assert node.sysctl("ipv6/conf/eth0/accept_ra") == "2"
    node.pod("a", network()).delete()
    node.assert_clean()
    node.warren("node", "down")
    assert node.traces() == before
    assert node.warren("status", check=False).returncode == 3


def test_down_without_init(node):
    before = node.traces()
    node.warren("node", "down", check=False)
    assert node.traces() == before


@pytest.mark.smoke
def test_init_is_idempotent(node):
    assert node.warren_json("node", "init")["fresh"]
    once, maps = node.traces(), node.warren_json("map", "list")
    assert not node.warren_json("node", "init")["fresh"]
    assert (node.traces(), [m["id"] for m in node.warren_json("map", "list")]) == (once, [m["id"] for m in maps])


@pytest.fixture
def limited_memory():
    with memory_cgroup(256 << 20) as made:
        yield made


def test_conntrack_fits_into_the_cgroup(node, limited_memory):
    """A quarter of the memory that the loader may use; from then on the size stays."""
    limited = json.loads(node.run("sh", "-c", f"echo $$ >{limited_memory.path}/cgroup.procs && exec warren node init --json").stdout)
    assert limited["ct_memory"] <= (256 << 20) // 4
    again = node.warren_json("node", "init", "--ct-entries", "auto")
    assert (again["fresh"], again["ct_entries"]) == (False, limited["ct_entries"])
    assert node.warren_json("node", "show")["ct_entries"] == limited["ct_entries"]
    refused = node.warren("node", "init", "--ct-entries", "2048", check=False)
    assert refused.returncode == 1 and f"{limited['ct_entries']} flows, not 2048" in refused.stderr
    node.warren("node", "down")
    if os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >= 16 << 30:
        assert node.warren_json("node", "init")["ct_entries"] > limited["ct_entries"]


def test_down_refuses_while_there_are_pods(node):
    before = node.traces()
    node.warren("node", "init")
    pod = node.pod("a", network())
    refused = node.warren("node", "down", check=False)
    assert refused.returncode == 1 and "--force" in refused.stderr
    pod.ping(NODE_GATEWAY[4])
    node.warren("node", "down", "--force")
    pod.delete()  # a runtime that still calls DEL gets success
    after = node.traces()
    for what in ("links", "addresses", "routes", "nftables", "sysctls"):
        assert after[what] == before[what]


@pytest.mark.smoke
def test_first_add_loads(node):
    pod = node.pod("a", network())
    assert node.warren("status").returncode == 0
    pod.ping(NODE_GATEWAY[6])
    pod.delete()


def test_gateway_link_is_made_again(node):
    a = node.pod("a", network())
    node.run("ip", "link", "delete", "warren0")
    assert node.warren("status", check=False).returncode == 1
    b = node.pod("b", network())
    assert node.warren("status").returncode == 0
    b.ping(NODE_GATEWAY[4])
    a.ping(NODE_GATEWAY[6])
    a.delete()
    b.delete()


@pytest.mark.parametrize("shift", [0, 8, 29])
def test_mark_bits(node, shift):
    """Another three bits, which no other user of marks has here."""
    node.warren("node", "init", "--mark-shift", shift)
    shown = node.warren_json("node", "show")
    marks = [int(shown[f"mark_{name}"], 0) for name in ("pod", "masquerade", "host_only")]
    assert marks == [1 << shift, 2 << shift, 4 << shift]
    a, b = node.pod("a", network()), node.pod("b", network())
    tcp(a, node, NODE_GATEWAY[4])
    tcp(a, b, b.ips[6])
    node.warren("node", "init")  # keeps them
    assert {k: v for k, v in node.warren_json("node", "show").items() if k.startswith("mark_")} == {
        k: v for k, v in shown.items() if k.startswith("mark_")
    }
    tcp(a, node, NODE_GATEWAY[6])
    a.delete()
    b.delete()


# --- what may be wrong with the host ----------------------------------------------------------------------------------


def test_bpffs_is_mounted_and_unmounted(node):
    node.run("umount", "/sys/fs/bpf")
    before = node.traces()
    node.warren("node", "init")
    node.pod("a", network()).delete()
    node.assert_clean()
    node.warren("node", "down")
    assert node.traces() == before


def test_pins_removed_under_a_pod(node):
    """It runs on with programs and maps that are no longer pinned: status names it until it is deleted."""
    node.warren("node", "init")
    pod = node.pod("a", network())
    assert node.warren("status").returncode == 0
    node.run("rm", "-r", "/sys/fs/bpf/warren")
    node.warren("node", "init")
    done = node.warren("status", check=False)
    assert done.returncode == 1 and f"{pod.host_ifname} of container" in done.stdout
    pod.delete()
    assert node.warren("status").returncode == 0
    node.assert_clean()


def test_no_bpffs_and_none_can_be_mounted(node):
    node.run("umount", "/sys/fs/bpf")
    before = node.traces()
    crippled = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    done = node.run(*crippled, "warren", "node", "init", check=False)
    assert done.returncode == 1 and "bpffs" in done.stderr
    path = node.netns_add("pod")
    done = node.cni("ADD", network(), "pod-1", "eth0", path, wrap=crippled)
    assert not done.ok and done.json["code"] and "bpffs" in done.json["msg"]
    node.netns_delete("pod")
    assert node.cni("DEL", network(), "pod-1", "eth0", wrap=crippled).ok
    after = node.traces()
    new = set(after.pop("files").split()) - set(before.pop("files").split())
    assert new <= {"/run/warren", "/run/warren/lock"}
    assert after == before
    assert node.stale() == {}


@pytest.mark.smoke
def test_pinned_map_of_another_shape(node):
    """A map of another layout, pinned under our ABI version: refused, nothing changed."""
    node.run("mkdir", "-p", f"{PINS}/maps")
    pin = f"{PINS}/maps/endpoints"
    node.run("bpftool", "map", "create", pin, "type", "hash", "key", 4, "value", 8, "entries", 10, "name", "endpoints")
    before = node.traces()
    done = node.warren("node", "init", check=False)
    assert done.returncode == 1 and "endpoints" in done.stderr
    after = node.traces()
    assert {k: v for k, v in after.items() if k != "files"} == {k: v for k, v in before.items() if k != "files"}
    assert [f for f in before["files"].split() if f not in after["files"].split()] == []


@pytest.mark.smoke
def test_other_abi_version(node):
    """The settings have another version than the pins' directory: neither init nor ADD touches what is there."""
    pod = node.pod("a", network())
    config = f"{PINS}/maps/config"
    (good,) = node.bpf_map("config").values()
    bad = bytes([77]) + good[1:]

    def write(value):
        node.run("bpftool", "map", "update", "pinned", config, "key", 0, 0, 0, 0, "value", *value)

    write(bad)
    before = node.traces()
    done = node.warren("node", "init", check=False)
    assert done.returncode == 1 and "77" in done.stderr
    assert node.traces() == before
    path = node.netns_add("pod")
    done = node.cni("ADD", network(), "pod-1", "eth0", path)
    assert not done.ok and done.json["msg"]
    node.netns_delete("pod")
    assert node.cni("DEL", network(), "pod-1", "eth0").ok
    write(good)
    node.warren("node", "init")
    pod.ping(NODE_GATEWAY[4])
    pod.delete()
    node.assert_clean()


def test_kernel_state_outlives_user_space(node):
    """With the run directory lost, pods go on; `down --force` still removes everything."""
    a, b = node.pod("a", network()), node.pod("b", network())
    node.run("rm", "-r", "/run/warren")
    tcp(a, b, b.ips[4])
    tcp(a, b, b.ips[6])
    node.warren("node", "down", "--force")
    assert node.pod_devices() == []
    assert json.loads(node.run("nft", "-j", "list", "tables").stdout)["nftables"][1:] == []
