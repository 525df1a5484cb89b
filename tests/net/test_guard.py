# SPDX-License-Identifier: BSD-2-Clause
"""The attach point does not fail open: a program ahead of from_pod, or its removal, opens nothing. nftables drops
packets that from_pod has not marked, and `warren status` reports what is wrong.
"""

import fcntl
import json
import os
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from scapy.layers.inet import UDP

from lab import NODE_GATEWAY, Lab, Node, network
from netns import tcp, wait_for
from rawbpf import PINS, other_program, map_put


def wrong(node):
    """The problems that `warren status` prints; its exit status must agree."""
    done = node.warren("status", "--json", check=False)
    found = [c for c in json.loads(done.stdout)["checks"] if c["state"] == "wrong"]
    assert done.returncode == (1 if found else 0), done.stdout
    return "\n".join(f"{c['check']}: {c['detail']}" for c in found)


def attempts(a, b):
    """What an unfiltered pod may try: every destination, with its own address and with another's."""
    for family in (4, 6):
        for dst in (b.ips, NODE_GATEWAY, Lab.UPLINK, Lab.WORLD, Lab.BEYOND):
            for src in (a.ips, b.ips, Lab.WORLD):
                if src[family] != dst[family]:
                    yield a.packet(family, dst[family], src=src[family]) / UDP(sport=1, dport=9) / b"unguarded"


def assert_shut(lab, a, b, watch):
    """No packet of pod a arrives: at pod b, in the host's stack, in the world."""
    frames = list(attempts(a, b))
    before, passed = lab.node.guard_drops(), watch()
    with a.wire() as out, b.wire() as at_b, lab.world.wire() as at_world:
        out.send(*frames)
        # The kernel itself drops some whose source is impossible; the guard drops the others.
        possible = len([f for f in frames if f[1].src != Lab.WORLD[4 if f[1].version == 4 else 6]])
        wait_for(lambda: lab.node.guard_drops() - before >= possible, "the guard has dropped everything")
        assert watch() == passed
        lab.node.ping(b.ips[4])  # on the same paths, later: all earlier packets have arrived
        lab.node.ping(Lab.WORLD[4])
        assert [f for f in at_b.drain() + at_world.drain() if b"unguarded" in f] == []


def test_other_tcx_ahead(lab, node, pods, watch):
    a, b = pods("a", network()), pods("b", network())
    assert wrong(node) == ""
    with other_program(node, a.ifindex, "tcx ingress"):
        assert_shut(lab, a, b, watch)
        problem = wrong(node)
        assert a.host_ifname in problem and "tcx" in problem
    assert wrong(node) == ""
    a.ping(b.ips[4])


def test_other_xdp_is_reported(node, pods):
    a = pods("a", network())
    with other_program(node, a.ifindex, "xdp"):
        problem = wrong(node)
        assert a.host_ifname in problem and "XDP" in problem
    wait_for(lambda: wrong(node) == "", "green again")


@pytest.mark.parametrize(
    "command,missing",
    [
        (["tc", "qdisc", "del", "dev", "{}", "clsact"], ["from_pod", "to_pod"]),
        (["tc", "filter", "del", "dev", "{}", "ingress"], ["from_pod"]),
    ],
    ids=["clsact deleted", "filter deleted"],
)
def test_program_removed(lab, node, pods, watch, command, missing):
    a, b = pods("a", network()), pods("b", network())
    node.run(*[part.format(a.host_ifname) for part in command])
    assert_shut(lab, a, b, watch)
    problem = wrong(node)
    assert all(name in problem for name in missing) and a.host_ifname in problem
    node.warren("node", "init")  # attaches again
    assert wrong(node) == ""
    a.ping(b.ips[6])


def test_quarantine_without_program(lab, node, pods):
    """With to_pod gone a quarantined pod is open to packets from outside: status must report it."""
    a = pods("a", network(policy="agent"))
    node.run("tc", "filter", "del", "dev", a.host_ifname, "egress")
    assert "to_pod" in wrong(node)


@pytest.mark.parametrize(
    "damage",
    [
        "delete table inet warren",
        "flush table inet warren",
        "flush chain inet warren forward",
        "insert rule inet warren forward accept",
        "add table inet warren { flags dormant; }",
    ],
)
@pytest.mark.parametrize("repair", ["ADD", "node init"])
def test_nft_table_restored(lab, node, pods, damage, repair):
    a = pods("a", network())
    before = node.run("nft", "-s", "list", "table", "inet", "warren").stdout
    node.run("nft", damage)
    assert "nftables" in wrong(node)
    if repair == "ADD":
        pods("b", network())
    else:
        node.warren("node", "init")
    assert wrong(node) == ""
    assert node.run("nft", "-s", "list", "table", "inet", "warren").stdout == before
    assert tcp(a, lab.world, Lab.WORLD[4]) == Lab.UPLINK[4]


F_OFD_SETLK = 37  # fcntl.h
TUNNEL_PORT_AT = 52  # struct wr_config, bpf/abi/abi.h


def test_guard_is_made_by_the_settings_of_now():
    """The agent joins a cluster while an ADD finds the table incomplete: the ADD waits for the agent's lock, and makes
    the table by the settings that the agent has left, not by those that it read at its start.
    """
    with Node() as node, ThreadPoolExecutor(1) as pool:
        node.warren("node", "init")
        ((key, config),) = node.bpf_map("config").items()
        fd = os.open(node.outside("/run/warren/lock"), os.O_RDWR)
        fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))  # LOCK_NODE
        try:
            node.run("nft", "delete", "table", "inet", "warren")
            path = node.netns_add("pod")
            add = pool.submit(node.cni, "ADD", network(), "pod", "eth0", path)
            wait_for(lambda: add.done() or node.locks() == 2, "ADD in need of the node's lock, or done without")
            port = struct.pack("!H", 6081)
            map_put(node.outside(f"{PINS}/maps/config"), key, config[:TUNNEL_PORT_AT] + port + config[TUNNEL_PORT_AT + 2 :])
            assert "warren" not in node.run("nft", "list", "tables").stdout
        finally:
            os.close(fd)
        done = add.result()
        assert done.ok, done
        assert "udp dport 6081" in node.run("nft", "list", "table", "inet", "warren").stdout
        assert wrong(node) == ""
        assert node.cni("DEL", network(), "pod", "eth0", path).ok
