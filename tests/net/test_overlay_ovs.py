# SPDX-License-Identifier: BSD-2-Clause
"""Open vSwitch, with its userspace datapath, as another node: we decapsulate what it sends, options included, and it
decapsulates what we send.
"""

import shutil

import pytest

from geneve import OPTION, VNI
from lab import Node, Pod
from overlay import ALL, Overlay
from manifests import node_object, pods, policy, sources
from netns import TIMEOUT, tcp, udp, wait_for

pytestmark = pytest.mark.long

DB = "unix:/run/openvswitch/db.sock"
NUMBER = 9
POD_MAC = "02:00:00:00:09:02"
ADDRESS = {4: f"10.87.{NUMBER}.2", 6: f"fd00:87:0:{NUMBER}::2"}
GATEWAY_MAC = "02:00:00:00:09:01"


class OpenVSwitch(Node):
    """A node whose network is Open vSwitch alone: the bridge `phy` has the uplink and the node's addresses, the bridge
    `pods` a tunnel to another node, and a pod.
    """

    def __init__(self, underlay, number, remote):
        super().__init__()
        self.outer = {f: underlay.address(number, f) for f in ALL}
        underlay.join(self, number)
        self.programs = []
        self.run("mkdir", "-p", "/run/openvswitch")
        self.run("ovsdb-tool", "create", "/run/openvswitch/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self.start("ovsdb-server", "/run/openvswitch/conf.db", f"--remote=p{DB}")
        wait_for(lambda: self.outside("/run/openvswitch/db.sock").exists(), "ovsdb-server")
        self.run("ovs-vsctl", f"--db={DB}", "--no-wait", "init")
        self.start("ovs-vswitchd", DB, "--pidfile=/run/openvswitch/ovs-vswitchd.pid")
        self.vsctl("add-br", "phy", "--", "set", "bridge", "phy", "datapath_type=netdev")
        self.vsctl("add-port", "phy", "eth0")
        for f, length in ((4, 24), (6, 64)):
            self.run("ip", f"-{f}", "address", "flush", "dev", "eth0", "scope", "global")
            self.run("ip", f"-{f}", "address", "add", f"{self.outer[f]}/{length}", "dev", "phy", *["nodad"][: f == 6])
        self.run("ip", "link", "set", "phy", "up")
        self.vsctl("add-br", "pods", "--", "set", "bridge", "pods", "datapath_type=netdev", "fail-mode=secure")
        self.make_pod()
        self.vsctl("add-port", "pods", "veth", "--", "set", "interface", "veth", "ofport_request=1")
        self.vsctl("add-port", "pods", "geneve", "--", "set", "interface", "geneve", "type=geneve", "ofport_request=2",
                   f"options:remote_ip={remote}", f"options:key={VNI}", "options:csum=false")
        self.ofctl("add-tlv-map", "pods", f"{{class={OPTION[0]:#x},type={OPTION[1]:#x},len=8}}->tun_metadata0")
        wait_for(lambda: self.outer[4] in self.run("ovs-appctl", "-t", self.vswitchd, "ovs/route/show").stdout, "routes")

    def start(self, *argv):
        env = {"OVS_RUNDIR": "/run/openvswitch", "OVS_LOGDIR": "/run", "OVS_SYSCONFDIR": "/run"}
        self.programs.append(self.popen(*argv, "-vconsole:off", env=env))

    @property
    def vswitchd(self):
        pid = self.outside("/run/openvswitch/ovs-vswitchd.pid").read_text().strip()
        return f"/run/openvswitch/ovs-vswitchd.{pid}.ctl"

    def vsctl(self, *args):
        self.run("ovs-vsctl", f"--db={DB}", f"--timeout={TIMEOUT}", *args)

    def ofctl(self, *args):
        self.run("ovs-ofctl", *args, env={"OVS_RUNDIR": "/run/openvswitch"})

    def make_pod(self):
        pod = self.pod_netns = OvsPod(self)
        self.run("ip", "link", "add", "veth", "type", "veth", "peer", "name", "eth0", "netns", pod.container, "address", POD_MAC)
        self.run("ip", "link", "set", "veth", "up")
        pod.run("ethtool", "-K", "eth0", "tx", "off")  # the switch reads packets from a socket, and computes no checksums
        pod.run("ip", "link", "set", "eth0", "mtu", 1400, "up")
        for f, length in ((4, 32), (6, 128)):
            pod.run("ip", f"-{f}", "address", "add", f"{ADDRESS[f]}/{length}", "dev", "eth0", *["nodad"][: f == 6])
            gateway = {4: "169.254.1.1", 6: "fe80::1"}[f]
            pod.run("ip", f"-{f}", "route", "add", "default", "via", gateway, "dev", "eth0", *["onlink"][: f == 4])
            pod.run("ip", "neighbour", "add", gateway, "lladdr", GATEWAY_MAC, "dev", "eth0")

    def flows(self, identity, expected):
        """The pod's packets carry `identity`; those with `expected`, and no others, reach it."""
        self.ofctl("del-flows", "pods")
        for family in ("ip", "ipv6"):
            self.ofctl("add-flow", "pods", f"{family},in_port=1,actions=set_field:{identity:#x}->tun_metadata0,output:2")
            self.ofctl(
                "add-flow",
                "pods",
                f"{family},in_port=2,tun_id={VNI},tun_metadata0={expected:#x},actions=mod_dl_dst:{POD_MAC},output:1",
            )

    def __exit__(self, *_):
        super().__exit__()
        for program in self.programs:
            program.wait()


class OvsPod(Pod):
    def __init__(self, node):
        super().__init__(node, "pod", {})
        self.ips = ADDRESS


@pytest.fixture(scope="module", params=ALL, ids=["over-v4", "over-v6"])
def overlay(request):
    if not shutil.which("ovs-vswitchd", path="/usr/sbin:/sbin:/usr/bin"):
        pytest.skip("no Open vSwitch here")
    with Overlay(nodes=1, outer=request.param, options=["--tunnel-source-ports", "any"]) as overlay:
        overlay.pod("default/a", "n1", app="a")
        overlay.pod("default/b", "n1", app="b")
        # The switch must read packets as they would be on a wire: complete checksums, no GSO packets.
        overlay.nodes["n1"].run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off")
        with OpenVSwitch(overlay.underlay, NUMBER, overlay.nodes["n1"].address[overlay.outer]) as peer:
            cidrs = [f"10.87.{NUMBER}.0/24", f"fd00:87:0:{NUMBER}::/64"]
            overlay.apply("node-ovs", node_object("ovs", cidrs, peer.outer.values()))
            overlay.peer = peer
            yield overlay


def test_both_ways(overlay, family):
    """Pings, TCP and datagrams; each packet to Open vSwitch has the sender's identity, or it goes nowhere there."""
    a, pod = overlay.pods["default/a"], overlay.peer.pod_netns
    overlay.peer.flows(overlay.identity("default/b"), expected=overlay.identity("default/a"))
    # It resolves the tunnel's nexthop with the first packet, and drops that packet.
    wait_for(lambda: a.ping(ADDRESS[family], check=False), "an answer")
    a.ping(ADDRESS[family], count=3)
    pod.ping(a.ips[family], count=3, size=1300)
    tcp(a, pod, ADDRESS[family], size=1 << 20)
    tcp(pod, a, a.ips[family], size=1 << 20)
    udp(pod, a, a.ips[family])
    node = overlay.nodes["n1"]
    overlay.peer.flows(overlay.identity("default/b"), expected=3)
    node.ping(ADDRESS[family])


def test_the_carried_identity_is_what_counts(overlay, family):
    """An address without a manifest has the identity that the packet carries."""
    a, pod = overlay.pods["default/a"], overlay.peer.pod_netns
    overlay.apply("policy", policy("a", {"app": "a"}, ingress=[sources(pods(app="b"))], types=["Ingress"]))
    try:
        overlay.peer.flows(overlay.identity("default/b"), expected=overlay.identity("default/a"))
        pod.ping(a.ips[family])
        overlay.peer.flows(overlay.identity("default/a"), expected=overlay.identity("default/a"))
        assert not pod.ping(a.ips[family], check=False)
    finally:
        overlay.remove("policy")
