# SPDX-License-Identifier: BSD-2-Clause
"""A host on the nodes' link that can send, and cannot listen (off path): it forges tunnel packets of a node, about that
node's pods. Without the keyed tag in the Geneve option a node's address is all that this takes. With it, nothing forged
arrives, by tc or by XDP; and a tag that was read on one path is worth nothing on another.
"""

import contextlib
import os
import signal
import struct
import threading
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from crossings import OUTER, crossed
from geneve import KEY_OPTION, KEY_SIZE, OPTION, OVERHEAD, REMOTE_NODE, Tunnelled, geneve, inner_ends, is_tunnel
from lab import moved
from netns import TIMEOUT, tcp, udp, wait_for
from overlay import ALL, Overlay

PORT = 7777
COPIES = 50
PODS = (("default/a1", "n1"), ("default/b2", "n2"), ("default/c3", "n3"))


KEYS = "/run/tunnel.keys"  # of --tunnel-keys, in each node
SECRETS = [os.urandom(16).hex() for _ in range(2)]


class KeyedOverlay(Overlay):
    """Three nodes whose agents have `mode` as --tunnel-key, and XDP on their uplinks or not. `keys`: lines of a file."""

    def __init__(self, mode=None, xdp="off", keys=None, **kwargs):
        self.tunnel_options = ["--xdp", xdp]
        self.tunnel_options += ["--tunnel-key", mode] if mode else []
        self.tunnel_options += ["--tunnel-keys", KEYS] if keys else []
        self.keys = keys
        super().__init__(nodes=3, **kwargs)
        for name, node in PODS:
            self.pod(name, node)
        self.wait_resolved()

    @property
    def options(self):
        return [*self._options, *self.tunnel_options]

    @options.setter
    def options(self, options):
        self._options = options

    def _write_to(self, node, name, objects):
        # The agent needs the file when it starts.
        if self.keys and not node.outside(KEYS).exists():
            self.write_keys(node, self.keys)
        super()._write_to(node, name, objects)

    @staticmethod
    def write_keys(node, lines):
        new = node.outside(f"{KEYS}.new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.rename(node.outside(KEYS))

    def follow_keys(self, lines, hangup=True):
        """Until every node's agent has these keys, and the maps."""
        ids = [int(line.split()[0]) for line in lines]
        for node in self.nodes.values():
            self.write_keys(node, lines)
            if hangup:
                node.agent.signal(signal.SIGHUP)
        for node in self.nodes.values():
            wait_for(lambda: known_keys(node) == ids, f"keys {ids} at {node.label}")


def known_keys(node):
    """From the maps, the one for sending first."""
    (cluster,) = node.warren_json("map", "dump", "cluster")
    flags, places = cluster["value"]["flags"], [cluster["value"]["key_even"], cluster["value"]["key_odd"]]
    if "key-odd" in flags:
        places.reverse()
    return [key for key in places if key is not None]


def tag_between(overlay, client, server):
    """The tag of the packets between two pods, read on the wire as an on-path attacker does."""
    family = 4
    with overlay.capture() as wire:
        udp(client, server, server.ips[family])
        frame = wire.until(lambda f: is_tunnel(f) and inner_ends(family, Tunnelled(f).inner)[0] == client.ips[family])[-1]
    identity, tag = Tunnelled(frame).options
    assert identity[:2] == OPTION and tag[:2] == KEY_OPTION and len(tag[2]) == 8
    return tag[2]


class Attacker:
    """On the link of the nodes; what it sends reaches n1 with `source`'s address, and the identity of `pod`."""

    def __init__(self, overlay, source="n2", pod="default/b2"):
        self.overlay, self.source, self.pod = overlay, overlay.nodes[source], overlay.pods[pod]
        self.identity = self.pod.node.agent.identity(self.pod)

    def frame(self, family, to="default/a1", tag=None, src=None, identity=None):
        """`tag`: bytes of the key's option; None: there is none."""
        target = self.overlay.pods[to]
        ip = IPv6 if family == 6 else IP
        inner = ip(src=src or self.pod.ips[family], dst=target.ips[family]) / UDP(sport=4444, dport=PORT) / b"forged"
        options = struct.pack("!HBBQ", *OPTION, 2, identity or self.identity)
        if tag is not None:
            options += struct.pack("!HBB", *KEY_OPTION, len(tag) // 4) + tag
        outer = self.overlay.outer
        packet = geneve(self.source.address[outer], target.node.address[outer], inner, options=options)
        return Ether(src=self.source.uplink_mac, dst=target.node.uplink_mac) / packet

    def send(self, *frames, to="default/a1"):
        with self.overlay.underlay.wire(self.overlay.underlay.port(self.overlay.pods[to].node.number)) as out:
            for frame in frames:
                out.send(frame)


@contextlib.contextmanager
def arrivals(pod):
    sock = pod.udp(6, PORT)
    sock.settimeout(TIMEOUT)
    yield sock
    sock.close()


def pending(sock):
    """How many datagrams there are, now."""
    sock.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while sock.recv(65536):
            count += 1
    sock.settimeout(TIMEOUT)
    return count


# --- what the key is for -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=OUTER)
def open_overlay(request):
    with KeyedOverlay(outer=request.param) as overlay:
        yield overlay


def test_without_a_key_an_address_is_enough(open_overlay, family):
    """The attack itself: if it failed here, the tests below would prove nothing."""
    attacker = Attacker(open_overlay)
    with arrivals(open_overlay.pods["default/a1"]) as sock:
        attacker.send(*[attacker.frame(family)] * COPIES)
        for _ in range(COPIES):
            assert sock.recv(65536) == b"forged"


# --- required --------------------------------------------------------------------------------------------------------------


SETUPS = {f"over-v{outer}-{path}": (outer, xdp) for path, xdp in (("tc", "off"), ("xdp", "native")) for outer in ALL}


@pytest.fixture(scope="module", params=crossed(SETUPS, "over-v6-tc", "over-v6-xdp"))
def keyed(request):
    outer, xdp = SETUPS[request.param]
    with KeyedOverlay("require", xdp, outer=outer) as overlay:
        yield overlay


def tags():
    """What a sender without the key can forge. None: no option."""
    yield "none", None
    yield "zeros", bytes(8)
    yield "a guess", os.urandom(8)
    yield "half a tag", os.urandom(4)
    yield "too long", os.urandom(12)


def test_forged_packet_is_dropped_by_name(keyed, family):
    attacker, n1 = Attacker(keyed), keyed.nodes["n1"]
    frames = [attacker.frame(family, tag=tag) for _, tag in tags()]
    frames += [attacker.frame(family, src=attacker.source.gateway[family], identity=REMOTE_NODE, tag=tag) for _, tag in tags()]
    with arrivals(keyed.pods["default/a1"]) as sock:
        before = n1.metrics()
        attacker.send(*frames * COPIES)
        n1.assert_moved(before, {("tunnel_key", "ingress"): len(frames) * COPIES})
        assert not pending(sock)
        # No other packet is queued before it.
        udp(keyed.pods["default/b2"], keyed.pods["default/a1"], keyed.pods["default/a1"].ips[family], listen_port=PORT + 1, port=PORT + 1)


def test_traffic_with_the_key(keyed, family):
    """In both directions, streams too, with an MTU that leaves room for the tag."""
    a1, b2 = keyed.pods["default/a1"], keyed.pods["default/b2"]
    assert a1.ip("link", "show", "eth0")[0]["mtu"] == 1500 - OVERHEAD[keyed.outer] - KEY_SIZE
    udp(a1, b2, b2.ips[family])
    tcp(a1, b2, b2.ips[family], size=1 << 20)
    tcp(b2, a1, a1.ips[family], size=1 << 20)
    status = {row["check"]: row for row in keyed.nodes["n1"].warren_json("status", check=False)["checks"]}
    assert status["tunnel_key"]["detail"] == "required: key 0", status


def test_tag_of_one_path_opens_no_other(keyed, family):
    """A reader of what n2 sends to n1 can forge that (only encryption would prevent it), and nothing else."""
    pods = keyed.pods
    tag = tag_between(keyed, pods["default/b2"], pods["default/a1"])
    on_path = Attacker(keyed)
    with arrivals(pods["default/a1"]) as sock:
        on_path.send(on_path.frame(family, tag=tag))
        assert sock.recv(65536) == b"forged"
    for source, pod, to in (
        ("n2", "default/b2", "default/c3"),  # the same sender to another node
        ("n3", "default/c3", "default/a1"),  # another sender to the same node
        ("n1", "default/a1", "default/b2"),  # back
    ):
        attacker, target = Attacker(keyed, source, pod), pods[to].node
        with arrivals(pods[to]) as sock:
            before = target.metrics()
            attacker.send(*[attacker.frame(family, to, tag)] * COPIES, to=to)
            target.assert_moved(before, {("tunnel_key", "ingress"): COPIES})
            assert not pending(sock)


# --- without loss --------------------------------------------------------------------------------------------------------


class Stream:
    """Datagrams from one pod that another one echoes, one after the other: which of them were lost."""

    GAP = 0.001

    def __init__(self, client, server, family):
        self.server, self.client = server.udp(family, 7000), client.udp(family, 7001)
        self.server.settimeout(0.2)
        self.client.settimeout(0.2)
        self.to = (server.ips[family], 7000)
        self.sent, self.back, self.over = 0, set(), threading.Event()
        self.threads = [threading.Thread(target=run) for run in (self.send, self.echo, self.receive)]

    def send(self):
        while not self.over.is_set():
            self.client.sendto(struct.pack("!Q", self.sent), self.to)
            self.sent += 1
            time.sleep(self.GAP)

    def echo(self):
        while not self.over.is_set() or self.sent > len(self.back):
            with contextlib.suppress(TimeoutError):
                data, peer = self.server.recvfrom(100)
                self.server.sendto(data, peer)
            if self.over.is_set() and time.monotonic() > self.end:
                break

    def receive(self):
        while not self.over.is_set() or self.sent > len(self.back):
            with contextlib.suppress(TimeoutError):
                self.back.add(struct.unpack("!Q", self.client.recv(100))[0])
            if self.over.is_set() and time.monotonic() > self.end:
                break

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end = time.monotonic() + 2  # for the last ones
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.server.close()
        self.client.close()

    def lost(self):
        return sorted(set(range(self.sent)) - self.back)


ROTATION = [["0"], ["0", f"1 {SECRETS[0]}"], [f"1 {SECRETS[0]}", "0"], [f"1 {SECRETS[0]}"]]
ROTATION += [[f"1 {SECRETS[0]}", f"2 {SECRETS[1]}"], [f"2 {SECRETS[1]}", f"1 {SECRETS[0]}"], [f"2 {SECRETS[1]}"]]


@pytest.mark.long
def test_rotation_loses_nothing_and_ends_the_old_key(family):
    with KeyedOverlay("require", keys=ROTATION[0], outer=4) as overlay:
        a1, b2 = overlay.pods["default/a1"], overlay.pods["default/b2"]
        n1 = overlay.nodes["n1"]
        assert known_keys(n1) == [0]
        seen = [tag_between(overlay, b2, a1)]
        before = n1.metrics()
        with Stream(a1, b2, family) as stream:
            for step, lines in enumerate(ROTATION[1:]):
                overlay.follow_keys(lines, hangup=step > 0)  # without: the file alone is enough
                seen.append(tag_between(overlay, b2, a1))
        assert stream.sent > 1000 and stream.lost() == []
        assert not {key[0] for key in moved(before, n1.metrics())} & {"tunnel_key", "tunnel_unkeyed"}
        # Sent with the first key of each step; packets of the first and second step are refused by now.
        assert seen[0] == seen[1] and seen[2] == seen[3] == seen[4] and seen[5] == seen[6] and len(set(seen)) == 3
        attacker = Attacker(overlay)
        with arrivals(a1) as sock:
            attacker.send(attacker.frame(family, tag=seen[-1]))
            assert sock.recv(65536) == b"forged"
            before = n1.metrics()
            attacker.send(*[attacker.frame(family, tag=tag) for tag in (seen[0], seen[2])])
            n1.assert_moved(before, {("tunnel_key", "ingress"): 2})
            assert not pending(sock)


@pytest.mark.long
def test_broken_key_file_changes_nothing():
    with KeyedOverlay("require", keys=["7"], outer=4) as overlay:
        n1, a1, b2 = overlay.nodes["n1"], overlay.pods["default/a1"], overlay.pods["default/b2"]
        for lines in (["7", "9"], ["seven"], []):
            overlay.write_keys(n1, lines)
            n1.agent.signal(signal.SIGHUP)
            wait_for(lambda: any(KEYS in c["message"] for c in n1.agent.status()["problems"]), "a problem")
            assert known_keys(n1) == [7]
            udp(a1, b2, b2.ips[4])
        overlay.write_keys(n1, ["7"])
        n1.agent.signal(signal.SIGHUP)
        wait_for(lambda: not n1.agent.status()["problems"], "no problem")


def set_mode(node, mode):
    args = node.agent.args
    if "--tunnel-key" in args:
        at = args.index("--tunnel-key")
        del args[at : at + 2]
    node.agent.args += ["--tunnel-key", mode]
    node.agent.restart(kill=False)
    node.agent.wait_applied()


@pytest.mark.long
def test_turned_on_and_off_without_loss(family):
    """Node by node, as an upgrade goes: off, accept, require, and back. Nodes that lack the key are counted meanwhile."""
    with KeyedOverlay(outer=4) as overlay:
        a1, b2 = overlay.pods["default/a1"], overlay.pods["default/b2"]
        n1, n2 = overlay.nodes["n1"], overlay.nodes["n2"]
        first = [node.metrics() for node in (n1, n2)]
        with Stream(a1, b2, family) as stream, Stream(b2, a1, family) as other:
            set_mode(n1, "accept")
            before = n1.metrics()
            wait_for(lambda: ("tunnel_unkeyed", "ingress") in moved(before, n1.metrics()), "packets without a tag")
            for mode in ("accept", "require", "accept", "off"):
                for node in overlay.nodes.values():
                    set_mode(node, mode)
                if mode == "require":
                    before = [node.metrics() for node in (n1, n2)]
                    sent = stream.sent
                    wait_for(lambda: stream.sent > sent + 100, "packets")
                    for node, was in zip((n1, n2), before):
                        assert not {key[0] for key in moved(was, node.metrics())} & {"tunnel_key", "tunnel_unkeyed"}
        drops = [moved(was, node.metrics()) for node, was in zip((n1, n2), first)]
        assert stream.lost() == [] and other.lost() == [], drops


@pytest.mark.long
def test_packets_of_a_node_without_the_key_are_dropped(family):
    """A node with another key is treated as an attacker until its key is fixed."""
    with KeyedOverlay("require", outer=4) as overlay:
        n1, n3 = overlay.nodes["n1"], overlay.nodes["n3"]
        set_mode(n3, "off")
        attacker = overlay.pods["default/c3"]
        with arrivals(overlay.pods["default/a1"]) as sock, attacker.udp(family) as out:
            before = n1.metrics()
            for _ in range(COPIES):
                out.sendto(b"unkeyed", (overlay.pods["default/a1"].ips[family], PORT))
            n1.assert_moved(before, {("tunnel_key", "ingress"): COPIES})
            assert not pending(sock)
