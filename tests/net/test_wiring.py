# SPDX-License-Identifier: BSD-2-Clause
"""What ADD makes, and that traffic flows through it: pods, host, world; both families."""

import errno
import json
import re
import sys

import pytest
from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import (
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

from lab import GATEWAY, HOST_MAC, LINK_GROUP, NODE_GATEWAY, PORTMAP, Lab, network
from netns import Wire, tcp, udp, wait_for
from rawbpf import PINS

PREFIX = {4: 32, 6: 128}
OFFLOADS_OFF = (
    "tx-udp-segmentation tx-sctp-segmentation tx-udp_tnl-segmentation tx-udp_tnl-csum-segmentation tx-gre-segmentation "
    "tx-gre-csum-segmentation tx-ipxip4-segmentation tx-ipxip6-segmentation tx-gso-list"
).split()


# --- what is made -----------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("families", [(4, 6), (4,), (6,)], ids=["dual", "v4 only", "v6 only"])
def test_what_add_makes(pods, node, families):
    pod = pods("a", network(families))
    assert sorted(pod.ips) == sorted(families)

    link = pod.ip("link", "show", "eth0")[0]
    host = node.ip("link", "show", pod.host_ifname)[0]
    assert re.fullmatch("wr[a-z2-7]{13}", host["ifname"])
    assert (link["address"], host["address"]) == (pod.mac, HOST_MAC)
    assert int(host["group"], 0) == LINK_GROUP
    assert "UP" in link["flags"] and "UP" in host["flags"]
    assert link["linkinfo"]["info_kind"] == "veth"
    assert [a["local"] for a in node.ip("address", "show", pod.host_ifname)[0]["addr_info"]] == []

    addresses = {(a["local"], a["prefixlen"]) for a in pod.ip("address", "show", "eth0")[0]["addr_info"]}
    assert addresses == {(pod.ips[f], PREFIX[f]) for f in families}

    for f in (4, 6):
        routes = {r["dst"]: r for r in pod.ip(f"-{f}", "route", "show", "default")}
        neighbours = pod.ip(f"-{f}", "neighbour", "show")
        to_pod = node.ip(f"-{f}", "route", "show", "dev", pod.host_ifname)
        if f not in families:
            assert (routes, neighbours, to_pod) == ({}, [], [])
            continue
        assert routes["default"]["gateway"] == GATEWAY[f] and routes["default"]["dev"] == "eth0"
        assert [(n["dst"], n["lladdr"], n["state"]) for n in neighbours] == [(GATEWAY[f], HOST_MAC, ["PERMANENT"])]
        assert [(r["dst"], r["protocol"], r["prefsrc"]) for r in to_pod] == [(pod.ips[f], "87", NODE_GATEWAY[f])]
        neighbours = node.ip(f"-{f}", "neighbour", "show", "dev", pod.host_ifname)
        assert [(n["dst"], n["lladdr"], n["state"]) for n in neighbours] == [(pod.ips[f], pod.mac, ["PERMANENT"])]

    pod.check()


@pytest.mark.parametrize("mtu", [1280, 1400, 9000])
def test_mtu(pods, node, mtu):
    pod = pods("a", network(mtu=mtu))
    assert pod.ip("link", "show", "eth0")[0]["mtu"] == mtu
    assert node.ip("link", "show", pod.host_ifname)[0]["mtu"] == mtu


@pytest.mark.parametrize("uplink", [1500, 1400, 9000])
def test_mtu_follows_the_uplink(pods, node, world, uplink):
    for place in (node, world):
        place.run("ip", "link", "set", "eth0", "mtu", uplink)
    try:
        assert pods("a", network()).ip("link", "show", "eth0")[0]["mtu"] == uplink
    finally:
        for place in (node, world):
            place.run("ip", "link", "set", "eth0", "mtu", 1500)


@pytest.mark.smoke
def test_mtu_of_a_member_of_a_cluster(pods, node):
    """What the agent has set (pod_mtu, before the size of ct and the secret's 12 words) applies where the network has
    no MTU.
    """
    (config,) = node.bpf_map("config").values()
    end = len(config) - 4 * 13

    def write(value):
        node.run("bpftool", "map", "update", "pinned", f"{PINS}/maps/config", "key", 0, 0, 0, 0, "value", *value)

    write(config[: end - 2] + (1438).to_bytes(2, sys.byteorder) + config[end:])
    try:
        assert pods("a", network()).ip("link", "show", "eth0")[0]["mtu"] == 1438
        assert pods("b", network(mtu=1300)).ip("link", "show", "eth0")[0]["mtu"] == 1300
        node.warren("node", "init")  # keeps it
        assert pods("c", network()).ip("link", "show", "eth0")[0]["mtu"] == 1438
    finally:
        write(config)


REQUESTS = {  # how a runtime asks for an address and a MAC address
    "capabilities": {"runtime": {"ips": ["10.87.0.77/24", "fd00:87::77/64"], "mac": "02:aa:bb:cc:dd:ee"}},
    "args": {"args": "IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.87.0.77;MAC=02:aa:bb:cc:dd:ee"},
}


@pytest.mark.smoke
@pytest.mark.parametrize("how", REQUESTS)
def test_static_request(pods, node, how):
    pod = pods("a", network(), **REQUESTS[how])
    assert (pod.ips[4], pod.mac) == ("10.87.0.77", "02:aa:bb:cc:dd:ee")
    assert pod.ips[6] == "fd00:87::77" or how == "args"
    node.ping(pod.ips[4])
    path = node.netns_add("second")
    env = node.cni_env("ADD", "second", "eth0", path, "IP=10.87.0.77")
    taken = node.plugin(env, json.dumps(network()))
    assert taken.code and taken.json["code"] == 102
    node.netns_delete(path)


@pytest.mark.smoke
def test_delegated_ipam(pods, node, family):
    """Addresses from host-local, given back at DEL."""
    ranges = [[{"subnet": "10.90.0.0/24"}], [{"subnet": "fd00:90::/64"}]]
    conf = network(name="delegated", cniVersion="1.0.0", ipam={"type": "host-local", "ranges": ranges})
    a, b = pods("a", conf), pods("b", conf)
    assert tcp(a, b, b.ips[family]) == a.ips[family]
    assert tcp(node, a, a.ips[family]) == {4: "10.90.0.1", 6: "fd00:90::1"}[family]
    kept = [f for f in node.files("/var/lib/cni/networks/delegated") if f[0].isdigit() or ":" in f]
    assert len(kept) == 4
    a.delete()
    b.delete()
    assert [f for f in node.files("/var/lib/cni/networks/delegated") if f[0].isdigit() or ":" in f] == []


def test_segmentation_that_encapsulation_loses_is_off(pods):
    shown = pods("a", network()).run("ethtool", "-k", "eth0").stdout
    features = dict(re.findall(r"^\s*([\w-]+): (on|off)", shown, re.M))
    assert {name: features[name] for name in OFFLOADS_OFF if name in features} == {
        name: "off" for name in OFFLOADS_OFF if name in features
    }
    assert features["tcp-segmentation-offload"] == "on"


def test_nothing_but_traffic_on_the_wire(node, pods, family):
    """Neither ARP nor neighbour discovery, from the moment the devices exist."""
    with Wire(node, outgoing=True) as everything:
        a, b = pods("a", network()), pods("b", network())
        a.ping(b.ips[family], count=100, args=["-i", "0.02"])  # two seconds: a stack's first reports come within one
        node.ping(b.ips[family])
        frames = [Ether(f) for f, device in everything.drain_named() if device in (a.host_ifname, b.host_ifname)]
    # Unsolicited, both ends' kernels send MLD reports only, which are dropped.
    frames = [f for f in frames if ICMPv6MLReport2 not in f]
    assert len(frames) >= 102  # of the pings between the pods the host sees requests and replies as they leave the pods
    echo = {
        4: lambda f: ICMP in f and f[ICMP].type in (0, 8),
        6: lambda f: IPv6 in f and f[IPv6].nh == 58 and bytes(f)[54] in (128, 129),
    }
    assert [f.summary() for f in frames if not echo[family](f)] == []


@pytest.mark.smoke
def test_check_names_what_is_missing(pods, node):
    pod = pods("a", network())
    pod.run("ip", "route", "delete", "default")
    done = node.cni("CHECK", dict(pod.chain[0], prevResult=pod.result), pod.container, "eth0", pod.path)
    assert not done.ok and "route" in done.json["msg"]


# --- traffic ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["loose", "strict"])
def rp_filter(node, request):
    """Reverse path filtering of the host, whose value for a device is the larger of `all` and its own."""
    for name in ("all", "default"):
        node.sysctl(f"ipv4/conf/{name}/rp_filter", {"loose": 0, "strict": 1}[request.param])
    yield
    for name in ("all", "default"):
        node.sysctl(f"ipv4/conf/{name}/rp_filter", 0)


PATHS = {  # name: (client, server, address that the client uses, source that the server sees)
    "pod to pod": ("a", "b", "b", "a"),
    "pod to host by gateway address": ("a", "node", "gateway", "a"),
    "pod to host by uplink address": ("a", "node", "uplink", "a"),
    "host to pod": ("node", "a", "a", "gateway"),
    "pod to world, masqueraded": ("a", "world", "world", "uplink"),
    "pod to world, beyond the link": ("a", "world", "beyond", "uplink"),
    "world to pod": ("world", "a", "a", "world"),
    "pod to world, not masqueraded": ("plain", "world", "world", "plain"),
}


@pytest.mark.parametrize("path", PATHS)
def test_traffic(lab, node, world, pods, rp_filter, family, path):
    places = {"node": node, "world": world}
    addresses = {
        "gateway": NODE_GATEWAY[family],
        "uplink": Lab.UPLINK[family],
        "world": Lab.WORLD[family],
        "beyond": Lab.BEYOND[family],
    }
    for name in PATHS[path]:
        if name in ("a", "b", "plain") and name not in places:
            places[name] = pods(name, network(ipMasq=name != "plain"))
            addresses[name] = places[name].ips[family]
    client, server, address, source = PATHS[path]
    client, server, address, source = places[client], places[server], addresses[address], addresses[source]

    client.ping(address, count=3)
    client.ping(address, count=2, size=4000)  # in fragments
    assert tcp(client, server, address) == source
    assert udp(client, server, address) == source
    assert udp(client, server, address, payload=b"x" * 6000) == source
    assert tcp(client, server, address, size=4 << 20) == source


def test_pod_has_one_family(pods, node):
    """A pod without an address of a family cannot use it."""
    a = pods("a", network((4,)))
    with pytest.raises(OSError) as failure:
        a.tcp_connect(NODE_GATEWAY[6], 80)
    assert failure.value.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL)


def test_many_connections(pods, family):
    a, b = pods("a", network()), pods("b", network())
    for _ in range(200):
        assert tcp(a, b, b.ips[family]) == a.ips[family]


# --- the gateway ------------------------------------------------------------------------------------------------------


def test_gateway_answers_echo(pods, node, family):
    pod = pods("a", network())
    before = node.metrics()
    pod.ping(GATEWAY[family] + ("%eth0" if family == 6 else ""), count=3)
    wait_for(lambda: node.metrics()[("gateway_reply", "egress")] - before[("gateway_reply", "egress")] == 3, "three answers")


def test_gateway_answers_arp(pods, node):
    pod = pods("a", network())
    with pod.wire() as wire:
        wire.send(pod.ether(dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=pod.mac, psrc=pod.ips[4], pdst=GATEWAY[4]))
        reply = Ether(wire.until(lambda f: Ether(f).type == 0x0806)[-1])
    assert (reply.src, reply.dst) == (HOST_MAC, pod.mac)
    assert (reply[ARP].op, reply[ARP].hwsrc, reply[ARP].psrc) == (2, HOST_MAC, GATEWAY[4])
    assert (reply[ARP].hwdst, reply[ARP].pdst) == (pod.mac, pod.ips[4])


def test_gateway_answers_neighbour_solicitation(pods, node):
    pod = pods("a", network())
    solicitation = IPv6(src=pod.ips[6], dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=GATEWAY[6])
    with pod.wire() as wire:
        wire.send(pod.ether(dst="33:33:ff:00:00:01") / solicitation / ICMPv6NDOptSrcLLAddr(lladdr=pod.mac))
        reply = Ether(wire.until(lambda f: ICMPv6ND_NA in Ether(f))[-1])
    assert (reply.src, reply.dst, reply[IPv6].src, reply[IPv6].dst) == (HOST_MAC, pod.mac, GATEWAY[6], pod.ips[6])
    advertisement = reply[ICMPv6ND_NA]
    assert (advertisement.tgt, advertisement.S, advertisement.R, advertisement.lladdr) == (GATEWAY[6], 1, 1, HOST_MAC)
    sum_before = advertisement.cksum
    del reply[ICMPv6ND_NA].cksum
    assert Ether(bytes(reply))[ICMPv6ND_NA].cksum == sum_before


@pytest.mark.parametrize("target", ["pod", "world"])
def test_traceroute(lab, node, pods, family, target):
    """The first hop is the node, which sends the error; with one more hop the packet arrives."""
    a, b = pods("a", network()), pods("b", network())
    address = b.ips[family] if target == "pod" else Lab.WORLD[family]
    hops = {4: dict(ttl=1), 6: dict(hlim=1)}[family]
    with a.wire() as wire:
        wire.send(a.packet(family, address, **hops) / UDP(sport=33000, dport=33434) / b"probe")
        exceeded = Ether(wire.until(lambda f: len(f) > 42)[-1])
    assert exceeded[1].dst == a.ips[family]
    assert exceeded[1].src in (NODE_GATEWAY[family], Lab.UPLINK[family])
    if family == 4:
        assert (exceeded[ICMP].type, exceeded[ICMP].code) == (11, 0)
    else:
        assert exceeded[ICMPv6TimeExceeded].code == 0
    a.ping(address, args=["-t", 2])


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["pod to pod", "pod to host", "host to pod", "pod to world", "world to pod"])
def test_port_unreachable_comes_back(lab, node, world, pods, family, path):
    a = pods("a", network())
    where = {"pod": None, "host": node, "world": world}
    source, target = path.split(" to ")
    client = a if source == "pod" else where[source]
    if path == "pod to pod":
        address = pods("b", network()).ips[family]
    else:
        address = {"pod": a.ips, "host": NODE_GATEWAY, "world": Lab.WORLD}[target][family]
    with client.udp(family) as sock:
        sock.connect((address, 9))
        sock.send(b"no listener")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(1)
    with pytest.raises(ConnectionRefusedError):
        client.tcp_connect(address, 9)


def test_path_mtu(lab, node, world, pods, family):
    """A narrower uplink: the node's own error comes back through to_pod, and the pod adapts."""
    a = pods("a", network())
    route = [f"-{family}", "route", "replace", Lab.BEYOND[family], "via", Lab.WORLD[family]]
    node.run("ip", *route, "mtu", "lock", 1300)
    try:
        assert not a.ping(Lab.BEYOND[family], size=1400, args=["-M", "do"], check=False)
        tcp(a, world, Lab.BEYOND[family], size=1 << 20)
        cached = a.ip(f"-{family}", "route", "get", Lab.BEYOND[family])[0]
        assert any(m.get("mtu") == 1300 for m in cached.get("metrics", [])), cached
    finally:
        node.run("ip", *route[:2], "delete", Lab.BEYOND[family])


def test_no_such_pod(lab, node, pods, family):
    """The rest of the pod CIDR is unreachable: it never takes the default route."""
    a = pods("a", network())
    unused = {4: "10.87.0.200", 6: "fd00:87::200"}[family]
    for client in (a, node):
        with pytest.raises(OSError) as failure:
            client.tcp_connect(unused, 80)
        assert failure.value.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)


# --- hostPort ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["world", "node"])
def test_host_port(lab, node, world, pods, family, client):
    """With the reference portmap chained after ours: from outside and from the host itself."""
    mappings = [{"hostPort": 8080, "containerPort": 80, "protocol": p} for p in ("tcp", "udp")]
    pod = pods("a", [network(cniVersion="1.0.0"), PORTMAP], runtime={"portMappings": mappings})
    place = {"world": world, "node": node}[client]
    source = {"world": Lab.WORLD, "node": NODE_GATEWAY}[client][family]
    seen = tcp(place, pod, Lab.UPLINK[family], port=8080, listen_port=80, size=100000)
    assert seen == source or (client == "node" and seen == Lab.UPLINK[family])
    seen = udp(place, pod, Lab.UPLINK[family], port=8080, listen_port=80, listen_address=pod.ips[family])
    assert seen == source or (client == "node" and seen == Lab.UPLINK[family])
    if client == "node" and family == 4:
        tcp(node, pod, "127.0.0.1", port=8080, listen_port=80)
