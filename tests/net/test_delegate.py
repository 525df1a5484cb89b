# SPDX-License-Identifier: BSD-2-Clause
"""Addresses of another plugin: which ones its GC is to keep. It cannot look into namespaces, so it frees what is not in
its list.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import Node, network
from netns import wait_for

# As host-local: one file for a network, owners by container and interface; GC frees all that the list does not name.
PLUGIN = """#!/usr/bin/python3
import fcntl, json, os, sys
conf, command = json.load(sys.stdin), os.environ["CNI_COMMAND"]
os.makedirs("/run/ledger", exist_ok=True)
def change(edit):
    with open(f"/run/ledger/{conf['name']}.json", "a+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        owners = json.loads(f.read() or "{}")
        value = edit(owners)
        f.truncate(0)
        json.dump(owners, f)
        return value
def give(owners):
    host = next(n for n in range(2, 250) if n not in owners.values())
    owners[me] = host
    return host
me = f"{os.environ.get('CNI_CONTAINERID')}@{os.environ.get('CNI_IFNAME')}"
if command == "ADD":
    host = change(give)
    net = conf["ipam"].get("net", 87)
    ips = [
        {"address": f"10.{net}.0.{host}/24", "gateway": f"10.{net}.0.1"},
        {"address": f"fd00:{net}::{host:x}/64", "gateway": f"fd00:{net}::1"},
    ]
    print(json.dumps({"cniVersion": conf["cniVersion"], "ips": ips}))
elif command == "DEL":
    change(lambda owners: owners.pop(me, None))
elif command == "GC":
    with open("/run/ledger/gc", "w") as f:
        json.dump(conf, f)
    if "gate" in conf["ipam"]:
        open("/run/ledger/waits", "w").close()
        open(conf["ipam"]["gate"]).read()
    keep = {f"{a['containerID']}@{a['ifname']}" for a in conf["cni.dev/valid-attachments"]}
    change(lambda owners: [owners.pop(o) for o in list(owners) if o not in keep])
"""
DELEGATED = network(name="ledger", ipam={"type": "test-ledger"})


@pytest.fixture(scope="module")
def node():
    with Node() as node:
        node.warren("node", "init")
        plugin = node.outside("/opt/cni/bin/test-ledger")
        plugin.write_text(PLUGIN)
        plugin.chmod(0o755)
        yield node


@pytest.fixture(autouse=True)
def empty_ledger(node):
    """Without pods and without owners, before and after each test."""
    yield
    node.assert_clean()
    for path in node.outside("/run/ledger").iterdir():
        path.unlink()


def owners(node, name="ledger"):
    return sorted(json.loads(node.outside(f"/run/ledger/{name}.json").read_text()))


def key(pod):
    return f"{pod.container}@eth0"


def collect(node, *valid, conf=DELEGATED, **more):
    """GC with this list of the runtime's: the list that the delegate gets."""
    named = [{"containerID": v.split("@")[0], "ifname": v.split("@")[1]} for v in valid]
    done = node.cni("GC", {**conf, "cni.dev/valid-attachments": named, **{k: named for k in more.pop("also", [])}, **more})
    assert done.ok, done
    conf = json.loads(node.outside("/run/ledger/gc").read_text())
    return sorted(f"{a['containerID']}@{a['ifname']}" for a in conf["cni.dev/valid-attachments"]), conf


def test_gc_keeps_the_addresses_of_the_living(node):
    """The runtime names one of three pods: the namespace of another lives, and only the dead one's address is freed."""
    named, alive, dead = (node.pod(name, DELEGATED) for name in ("named", "alive", "dead"))
    dead.gone()
    kept, _ = collect(node, key(named))
    assert kept == owners(node) == sorted([key(named), key(alive)])
    # No attachment is named, as by the agent's own GC, or a runtime that has lost its list.
    assert collect(node)[0] == owners(node) == sorted([key(named), key(alive)])
    for pod in (named, alive):
        pod.check()
        pod.delete()
    assert owners(node) == []
    node.assert_clean()


def test_gc_names_what_has_no_record(node):
    """The list keeps every attachment that the runtime names, with or without a record; the rest of the configuration
    is unchanged.
    """
    pod = node.pod("a", DELEGATED)
    kept, passed = collect(node, "unrecorded@net1", also=["cni.dev/attachments"])
    assert kept == sorted([key(pod), "unrecorded@net1"])
    assert passed["cni.dev/attachments"] == passed["cni.dev/valid-attachments"]
    assert {k: v for k, v in passed.items() if not k.startswith("cni.dev")} == DELEGATED
    pod.delete()


def test_gc_names_nothing_of_another_network(node):
    """A pod of another network with the same plugin, which the runtime names too, and which has a stale address here."""
    other = network(name="other", ipam={"type": "test-ledger", "net": 88})
    here, there = node.pod("here", DELEGATED), node.pod("there", other)
    ledger = node.outside("/run/ledger/ledger.json")
    ledger.write_text(json.dumps({**json.loads(ledger.read_text()), key(there): 99}))
    kept, _ = collect(node, key(here), key(there))
    assert kept == owners(node) == [key(here)]
    assert owners(node, "other") == [key(there)]
    assert collect(node, conf=other)[0] == owners(node, "other") == [key(there)]
    for pod in (here, there):
        pod.delete()


def test_gc_keeps_what_a_damaged_record_may_own(node):
    pod = node.pod("a", DELEGATED)
    (record,) = [p for p in node.outside("/run/warren/attachments").rglob("*") if p.is_file()]
    record.write_bytes(b"{")
    assert collect(node)[0] == owners(node) == [key(pod)]
    pod.delete()
    assert owners(node) == []


def test_gc_while_an_add_comes(node):
    """An ADD that begins once the delegate has its list waits for its end: else its address would be freed at once."""
    gate = node.outside("/run/gate")
    os.mkfifo(gate)
    path = node.netns_add("late")
    with ThreadPoolExecutor(2) as pool:
        gc = pool.submit(collect, node, conf={**DELEGATED, "ipam": {**DELEGATED["ipam"], "gate": "/run/gate"}})
        wait_for(lambda: node.outside("/run/ledger/waits").exists(), "GC in the delegate")
        add = pool.submit(node.cni, "ADD", DELEGATED, "late", "eth0", path)
        wait_for(lambda: add.done() or node.locks() == 3, "ADD in need of the network's lock, or done without")
        with open(gate, "w"):
            pass
        kept, _ = gc.result()
        done = add.result()
    assert done.ok, done
    assert kept == []
    assert owners(node) == ["late@eth0"]
    assert node.cni("DEL", DELEGATED, "late", "eth0", path).ok
    node.assert_clean()
