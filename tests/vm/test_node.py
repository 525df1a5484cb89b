# SPDX-License-Identifier: BSD-2-Clause
"""What a node does with parts of the kernel that differ: policy on live connections, services, conntrack, XDP at an
uplink, the plugin's commands. With the nodes of `overlay`: their programs are loaded already.
"""

import pytest

from lab import network
from manifests import endpoint, endpoint_slice, matching, pod_file, policy, port, service
from monitor import Drops
from named import ASK, Named
from netns import tcp, udp, wait_for
from overlay import ALL
from traffic import Transfer

pytestmark = pytest.mark.parametrize("overlay", [6], indirect=True, ids=["over-v6"])
VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT, TARGET = 80, 8080
CLOSED = policy("closed", matching(("app", "NotIn", "a")), types=["Ingress"])


@pytest.fixture
def client(overlay):
    return overlay.pods["default/a"]


@pytest.fixture(params={"same-node": "default/c", "other-node": "default/b"}.values(), ids=["same-node", "other-node"])
def server(overlay, request):
    return overlay.pods[request.param]


def test_policy_comes_and_goes(overlay, client, server, family):
    """New connections and one that is established, which continues afterwards."""
    with Transfer(client, server, server.ips[family]) as old:
        old.wait_more(2000)
        overlay.apply("closed", CLOSED)
        try:
            with Drops(server.node) as drops:
                with pytest.raises(OSError):
                    tcp(client, server, server.ips[family], timeout=0.5)
                assert drops.wait(lambda e: e["headers"].get("protocol") == "tcp")["reason"] == "ingress_denied"
        finally:
            overlay.remove("closed")
        tcp(client, server, server.ips[family])
        old.wait_more(2000)


@pytest.mark.parametrize("protocol", ASK)
def test_service_leads_to_both_nodes(overlay, client, family, protocol):
    """And to the one that is left when the other backend has gone."""
    backends = {name: overlay.pods[name] for name in ("default/b", "default/c")}

    def lead(*names):
        ends = [endpoint(backends[name].ips[family], node=backends[name].node.label) for name in names]
        numbers = [[{"name": p.lower(), **port(number, p)} for p in ("TCP", "UDP")] for number in (PORT, TARGET)]
        overlay.apply("web", service("web", VIP.values(), *numbers[0]), endpoint_slice("web", "web", ends, *numbers[1]))

    lead(*backends)
    try:
        with Named([(name, pod, pod.ips[family]) for name, pod in backends.items()], TARGET):
            assert {ASK[protocol](client, VIP[family], PORT) for _ in range(25)} == set(backends)
            lead("default/b")
            assert {ASK[protocol](client, VIP[family], PORT) for _ in range(10)} == {"default/b"}
    finally:
        overlay.remove("web")


def test_conntrack(overlay, client, family):
    """The flow of a connection while it is open and when it is closed, at the client's node and at the server's."""
    server = overlay.pods["default/b"]

    def states():
        """Of the connection, by node."""
        return [
            flow["state"]
            for node in overlay.nodes.values()
            for flow in node.warren_json("ct", "list")
            if (flow["protocol"], flow["to"]["address"], flow["to"]["port"]) == ("tcp", server.ips[family], number)
        ]

    with server.tcp_listen(family) as listener:
        number = listener.getsockname()[1]
        with client.tcp_connect(server.ips[family], number) as a, listener.accept()[0] as b:
            a.send(b"x")
            assert b.recv(1) == b"x"
            wait_for(lambda: states() == ["replied"] * 2, "the flow to be established")
    wait_for(lambda: states() == ["closing"] * 2, "the flow to be closing")
    udp(client, server, server.ips[family])


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_denylist_in_xdp(overlay, mode):
    """Packets of the link's other hosts are dropped there, and what is not on the list passes."""
    n2, beyond = overlay.nodes["n2"], overlay.underlay.BEYOND

    def answered(family):
        return overlay.underlay.ping(n2.address[family], check=False, args=["-I", beyond[family], "-W", "1"])

    n2.warren("uplink", "xdp", "eth0", mode)
    try:
        assert all(answered(f) for f in ALL)
        added = n2.warren_json("deny", "add", *beyond.values())
        assert added == {"added": 2, "enforced_at": [{"device": "eth0", "by": f"xdp {mode}"}]}
        assert not any(answered(f) for f in ALL)
        assert overlay.underlay.ping(n2.address[4])
        assert {entry["packets"] for entry in n2.warren_json("deny", "list")["prefixes"]} == {1}
        n2.warren("deny", "flush")
        assert all(answered(f) for f in ALL)
    finally:
        n2.warren("deny", "flush")
        n2.warren("uplink", "xdp", "eth0", "off")


def test_tunnels_beside_native_xdp(overlay, client, family):
    n2, server = overlay.nodes["n2"], overlay.pods["default/b"]
    n2.warren("uplink", "xdp", "eth0", "native")
    try:
        tcp(client, server, server.ips[family], size=200_000)
        udp(client, server, server.ips[family])
    finally:
        n2.warren("uplink", "xdp", "eth0", "off")


def test_plugin_commands(overlay):
    """ADD, CHECK of a pod that is whole and of one that is not, DEL; GC removes what has no namespace, and no more."""
    n1 = overlay.nodes["n1"]
    before = n1.pod_devices()
    pod = overlay.pod("default/checked", "n1")
    pod.check()
    pod.run("ip", "address", "flush", "dev", "eth0")
    with pytest.raises(AssertionError, match="CHECK"):
        pod.check()
    overlay.delete("default/checked")
    assert n1.pod_devices() == before
    alive, dead = (overlay.pod(f"default/{name}", "n1") for name in ("alive", "dead"))
    dead.gone()
    del overlay.pods["default/dead"]
    valid = [{"containerID": pod.container, "ifname": "eth0"} for pod in overlay.pods.values() if pod.node is n1 and pod is not alive]
    done = n1.cni("GC", {**network(policy="agent"), "cni.dev/valid-attachments": valid})
    assert done.ok, done
    wait_for(lambda: n1.pod_devices() == sorted([*before, alive.host_ifname]), "the dead one's device to go")
    overlay.delete("default/alive")
    overlay.remove(pod_file("default/dead"))
    assert n1.pod_devices() == before
