# SPDX-License-Identifier: BSD-2-Clause
"""hostPorts without another plugin: a port of the node leads to a pod of its own, for clients outside, on other nodes, and
on the node itself.
"""

import contextlib
import socket

import pytest

from clients_outside import NODE_PORT, PORT, SETUPS, TARGET, VIP, made
from crossings import crossed
from lab import network
from manifests import block, endpoint, endpoint_slice, policy, port, service
from named import ASK, Named, ask_tcp, ask_udp
from netns import FAMILY, source_address, tcp, udp
from overlay import ALL
from packets import IPPROTO_SCTP, SCTP_INIT, SCTP_INIT_ACK, raw_payload, sctp_packet, sctp_ports

HOST_PORT, ONE_ADDRESS, LOCAL, SCTP = 18080, 18081, 18082, 18083
PODS = {"default/a1": "n1", "default/b1": "n1", "default/a2": "n2"}
HOST = "default/h1"  # the pod with hostPorts
BOTH = ("tcp", "udp")
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def mapping(number, target=TARGET, protocol="tcp", ip=None):
    return {"hostPort": number, "containerPort": target, "protocol": protocol, **({"hostIP": ip} if ip else {})}


@pytest.fixture(scope="module", params=crossed(SETUPS, "tunnel-over-v6"))
def overlay(request):
    with made(request.param, PODS) as overlay:
        node = overlay.nodes["n1"]
        ports = [mapping(n, protocol=p) for n in (HOST_PORT, NODE_PORT + 100) for p in BOTH]
        ports += [mapping(ONE_ADDRESS, ip=node.address[f]) for f in ALL]
        ports += [mapping(LOCAL, ip=LOOPBACK[f]) for f in ALL]
        ports += [mapping(SCTP, protocol="SCTP")]
        overlay.pod(HOST, "n1", runtime={"portMappings": ports}, app="h")
        yield overlay


@pytest.fixture
def node(overlay):
    return overlay.nodes["n1"]


@pytest.fixture
def pod(overlay):
    return overlay.pods[HOST]


@pytest.fixture
def named_servers(overlay, family):
    with Named([(name, pod, pod.ips[family]) for name, pod in overlay.pods.items()], TARGET) as named_servers:
        yield named_servers


@contextlib.contextmanager
def another(overlay, name, node, *ports):
    pod = overlay.pod(name, node, runtime={"portMappings": list(ports)}, app="x")
    try:
        yield pod
    finally:
        overlay.delete(name)


def host_ports(node):
    """{(address with port, protocol): pod}"""
    return {(r["address"], r["protocol"]): r["pod"] for r in node.warren_json("service", "hostports")}


# --- who reaches it ---------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("number", [HOST_PORT, NODE_PORT + 100], ids=["low", "in-the-nodeport-range"])
def test_client_outside_keeps_its_address(outside, pod, address, family, number):
    own = source_address(outside, address)
    assert tcp(outside, pod, address, number, TARGET, size=1 << 20) == own
    assert udp(outside, pod, address, number, TARGET, pod.ips[family]) == own
    assert udp(outside, pod, address, number, TARGET, pod.ips[family], payload=bytes(1300)) == own


def test_pods_and_hosts(overlay, node, pod, address, family, named_servers):
    """Pods of this node, the pod itself, pods of another node, both nodes' hosts."""
    other = overlay.nodes["n2"]
    for client in (overlay.pods["default/a1"], pod, overlay.pods["default/a2"], other, node):
        assert ask_tcp(client, address, HOST_PORT) == HOST, client.name
        assert ask_udp(client, address, HOST_PORT) == HOST, client.name


def test_host_at_loopback(overlay, node, family, named_servers):
    """Also where only that address was asked for; no other client gets there."""
    for number in (HOST_PORT, LOCAL):
        assert ask_tcp(node, LOOPBACK[family], number) == HOST
    with node.tcp_connect(LOOPBACK[family], HOST_PORT) as sock:
        assert sock.getpeername()[:2] == (LOOPBACK[family], HOST_PORT)
    for client in (overlay.underlay, overlay.pods["default/a1"]):
        with pytest.raises(ConnectionRefusedError):
            ask_tcp(client, node.address[family], LOCAL)


def test_only_at_the_address_that_it_names(overlay, node, outside, address, family, named_servers):
    """Not at the gateway's, which is the host's, too."""
    a1 = overlay.pods["default/a1"]
    for client in (outside, a1, node):
        assert ask_tcp(client, address, ONE_ADDRESS) == HOST
    for client in (a1, node):
        assert ask_tcp(client, node.gateway[family], HOST_PORT) == HOST
        with pytest.raises(ConnectionRefusedError):
            ask_tcp(client, node.gateway[family], ONE_ADDRESS)


def test_only_on_its_own_node(overlay, outside, family, named_servers):
    other = overlay.nodes["n2"].address[family]
    for client in (outside, overlay.pods["default/a1"], overlay.nodes["n1"], overlay.nodes["n2"]):
        with pytest.raises(ConnectionRefusedError):
            ask_tcp(client, other, HOST_PORT)


def test_at_an_address_that_comes_later(node, outside, family, named_servers):
    more, length = {4: ("198.51.100.9", 32), 6: ("2001:db8:9::9", 128)}[family]
    node.run("ip", "address", "add", f"{more}/{length}", "dev", "eth0", *(["nodad"] if family == 6 else []))
    outside.run("ip", f"-{family}", "route", "add", more, "via", node.address[family])
    try:
        assert ask_tcp(outside, more, HOST_PORT) == HOST
        assert ask_udp(outside, more, HOST_PORT) == HOST
    finally:
        outside.run("ip", f"-{family}", "route", "del", more)
        node.run("ip", "address", "del", f"{more}/{length}", "dev", "eth0")


def test_sctp(outside, pod, address, family):
    """Sockets for it are not in every kernel: raw packets, whose checksums are right on both sides."""
    own = source_address(outside, address)
    with pod.socket(FAMILY[family], socket.SOCK_RAW, IPPROTO_SCTP) as server:
        with outside.socket(FAMILY[family], socket.SOCK_RAW, IPPROTO_SCTP) as client:
            client.sendto(sctp_packet(40001, SCTP, SCTP_INIT), (address, 0))
            data, source = server.recvfrom(256)
            assert source[0] == own and sctp_ports(raw_payload(family, data)) == (40001, TARGET)
            server.sendto(sctp_packet(TARGET, 40001, SCTP_INIT_ACK), (own, 0))
            data, source = client.recvfrom(256)
            assert source[0] == address and sctp_ports(raw_payload(family, data)) == (SCTP, 40001)


def test_policy_sees_the_client(overlay, outside, address, family, named_servers, drops):
    own = source_address(outside, address)
    bits = 32 if family == 4 else 128
    rule = policy("hosts", {"app": "h"}, ingress=[{"from": [block(f"{own}/{bits}")]}])
    overlay.apply("hosts", rule)
    try:
        assert ask_tcp(outside, address, HOST_PORT) == HOST
        with pytest.raises(TimeoutError):
            ask_tcp(overlay.pods["default/a1"], address, HOST_PORT, timeout=1)
        assert drops.wait(lambda e: e["reason"] == "ingress_denied")
    finally:
        overlay.remove("hosts")


# --- what else has the port -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ASK)
def test_node_port_precedes(overlay, outside, address, family, named_servers, protocol):
    """As with portmap (CVE-2019-9946): a pod does not take over a Service's port. Afterwards the hostPort is back."""
    spec = {"name": protocol, **port(PORT, protocol.upper()), "nodePort": NODE_PORT + 100}
    assert ASK[protocol](outside, address, NODE_PORT + 100) == HOST
    slices = [
        endpoint_slice(f"web-{f}", "web", [endpoint(overlay.pods["default/b1"].ips[f], node="n1")],
                       {"name": protocol, **port(TARGET, protocol.upper())})
        for f in ALL
    ]
    overlay.apply("web", service("web", VIP.values(), spec, type="NodePort"), *slices)
    try:
        for client in (outside, overlay.pods["default/a1"], overlay.nodes["n1"]):
            assert ASK[protocol](client, address, NODE_PORT + 100) == "default/b1"
    finally:
        overlay.remove("web")
    assert ASK[protocol](outside, address, NODE_PORT + 100) == HOST


def test_process_of_the_node_precedes(overlay, node, outside, pod, address, family, named_servers):
    """One that begins to listen later; a datagram is its socket's, too."""
    assert tcp(outside, node, address, HOST_PORT, HOST_PORT) == source_address(outside, address)
    assert udp(outside, node, address, HOST_PORT, HOST_PORT) == source_address(outside, address)
    assert tcp(node, node, LOOPBACK[family], HOST_PORT, HOST_PORT)
    assert tcp(overlay.pods["default/a1"], node, address, HOST_PORT, HOST_PORT)
    assert ask_tcp(outside, address, HOST_PORT) == HOST


def test_replies_to_the_node_are_not_taken(outside, node, address, family, named_servers):
    """A process of the node has sent from that port, whose number a hostPort has."""
    with node.udp(family, HOST_PORT, address) as sock, outside.udp(family, 0, source_address(outside, address)) as peer:
        sock.sendto(b"ask", peer.getsockname()[:2])
        data, source = peer.recvfrom(64)
        peer.sendto(b"reply", source)
        assert sock.recv(64) == b"reply"


def refused(overlay, node, *ports):
    """The message of an ADD that fails; nothing of it is left."""
    before = host_ports(node)
    conf = network(ipam={"ranges": [[{"subnet": cidr}] for cidr in node.cidr.values()]})
    path = node.netns_add("refused")
    try:
        done = node.cni("ADD", dict(conf, runtimeConfig={"portMappings": list(ports)}), "refused", "eth0", path)
        node.cni("DEL", conf, "refused", "eth0", path)
    finally:
        node.netns_delete("refused")
    assert not done.ok and host_ports(node) == before
    return done.json["msg"] + done.json.get("details", ""), done.json["code"]


def test_add_refuses(overlay, node, family):
    """Another pod's, at the same address or where one of both is every address; the tunnel's; a process's; replies'."""
    text, code = refused(overlay, node, mapping(HOST_PORT))
    assert f"has the hostPort 0.0.0.0:{HOST_PORT}/TCP" in text and code == 105
    assert "has the hostPort" in refused(overlay, node, mapping(HOST_PORT, ip=node.address[family]))[0]
    assert "has the hostPort" in refused(overlay, node, mapping(ONE_ADDRESS))[0]
    assert "tunnel" in refused(overlay, node, mapping(6081, protocol="udp"))[0]
    assert "get their replies" in refused(overlay, node, mapping(40000, protocol="udp"))[0]
    with node.tcp_listen(family, 18099), node.udp(family, 18098):
        assert "a process of this node has the hostPort" in refused(overlay, node, mapping(18099))[0]
        assert "a process of this node has the hostPort" in refused(overlay, node, mapping(18098, protocol="udp"))[0]
        with another(overlay, "default/x1", "n1", mapping(18098), mapping(18099, protocol="udp")):
            pass
    with node.tcp_listen(family, 18097, LOOPBACK[family]) as listener, another(overlay, "default/x1", "n1", mapping(18097)):
        with node.tcp_connect(LOOPBACK[family], 18097):
            listener.accept()[0].close()  # that process keeps its address
    with another(overlay, "default/x1", "n1", mapping(HOST_PORT + 50), mapping(50000, protocol="udp")):
        pass


def test_address_of_another_host_is_not_taken_over(overlay, node, outside, family):
    """hostIP is an address of another host: what the node forwards or sends to there is not changed."""
    a1, away = overlay.pods["default/a1"], source_address(outside, node.address[family])
    with another(overlay, "default/x1", "n1", mapping(18090, ip=away)):
        assert tcp(a1, outside, away, 18090, 18090)
        assert tcp(node, outside, away, 18090, 18090)


# --- their life -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["with", "without"])
def test_comes_and_goes_with_its_pod(overlay, node, outside, address, family, agent):
    """DEL needs no agent; the next pod may have the port at once, and gets a flow that the first one had."""
    before = host_ports(node)
    with outside.udp(family) as client:
        client.connect((address, 18091))
        for _ in range(2):
            with another(overlay, "default/x1", "n1", mapping(18091, protocol="udp"), mapping(18091)) as pod:
                pod.check()
                assert set(host_ports(node).values()) - set(before.values()) == {"default/x1"}
                with pod.udp(family, TARGET, pod.ips[family]) as server:
                    client.send(b"hello")
                    data, source = server.recvfrom(64)
                    server.sendto(b"reply", source)
                    assert client.recv(64) == b"reply"
                if agent == "without":
                    node.agent.kill()
                    pod.delete()
                    assert host_ports(node) == before
                    del overlay.pods["default/x1"]
                    node.agent.start()
                    node.agent.wait_applied()
                    pod = overlay.pod("default/x1", "n1", runtime={"portMappings": [mapping(18091)]}, app="x")
            assert host_ports(node) == before
    with pytest.raises(ConnectionRefusedError):
        ask_tcp(outside, address, 18091)


def test_check_finds_what_is_missing(overlay, node):
    with another(overlay, "default/x1", "n1", mapping(18092)) as pod:
        pod.check()
        key = bytes(4) + (18092).to_bytes(2, "big") + bytes([6, 0])
        (pin,) = node.outside("/sys/fs/bpf/warren").glob("v*/maps/host_ports4")
        node.run("bpftool", "map", "delete", "pinned", f"/{pin.relative_to(node.outside('/'))}", "key", "hex", *(f"{b:02x}" for b in key))
        done = pod._call("CHECK", pod.chain[0], pod.result)
        assert not done.ok and "1 of its 2 hostPorts are in the maps" in done.json["msg"]


def test_agent_restarts(overlay, node, outside, address, family, named_servers):
    """It works on while there is none, and after it has started again."""
    before = host_ports(node)
    node.agent.kill()
    assert ask_tcp(outside, address, HOST_PORT) == HOST
    node.agent.start()
    node.agent.wait_applied()
    assert ask_tcp(outside, address, HOST_PORT) == HOST and host_ports(node) == before


def test_thousand_mappings(overlay, node, outside, address, family):
    ports = [mapping(20000 + n) for n in range(1000)]
    before = host_ports(node)
    with another(overlay, "default/x1", "n1", *ports) as pod:
        assert len(host_ports(node)) == len(before) + 2000
        pod.check()
        assert tcp(outside, pod, address, 20999, TARGET) == source_address(outside, address)
    assert host_ports(node) == before


# --- what shows it ----------------------------------------------------------------------------------------------------


def test_commands_show_it(overlay, node, outside, pod, address, family, named_servers):
    every = {4: "0.0.0.0", 6: "[::]"}[family]
    rows = node.warren_json("service", "hostports")
    (row,) = [r for r in rows if r["address"] == f"{every}:{HOST_PORT}" and r["protocol"] == "tcp"]
    ip = pod.ips[family] if family == 4 else f"[{pod.ips[family]}]"
    assert (row["pod"], row["target"], row["state"]) == (HOST, f"{ip}:{TARGET}", "ok")
    with outside.tcp_connect(address, HOST_PORT) as sock:
        assert sock.recv(64) == HOST.encode()
        own, number = sock.getsockname()[:2]
        flows = [f for f in node.warren_json("ct", "list") if f["from"] == {"address": own, "port": number}]
        assert [f["service"] for f in flows] == [{"address": address, "port": HOST_PORT, "name": "hostPort", "client_port": None}]


def test_trace(overlay, node, outside, address, family):
    own = source_address(outside, address)
    frontend = f"[{address}]" if family == 6 else address
    for number, expected in ((HOST_PORT, "to_endpoint"), (HOST_PORT + 10, "none")):
        run = node.warren_json("trace", own, f"{frontend}:{number}/tcp")
        steps = {step["step"]: step["result"] for step in run["steps"]}
        assert (run["program"], run["reason"]) == ("from_uplink", expected), steps
        assert expected == "none" or "to backend" in steps["service"], steps
