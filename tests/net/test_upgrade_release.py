# SPDX-License-Identifier: BSD-2-Clause
"""A node is upgraded to a release with another ABI version in place and under traffic: no packet is lost, no connection
is cut, and no denied packet passes. A downgrade is refused and changes nothing.
"""

import contextlib
import time

import pytest

import releases
from lab import BUILD
from manifests import endpoint, endpoint_slice, pods, policy, port, service, sources
from netns import TIMEOUT, wait_for
from overlay import ALL, Overlay
from rawbpf import PINS
from seed import drawn
from traffic import Datagrams, Transfer, Worker

OLD = "0.1.0"
VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT, TARGET = 80, 8080
CLIENT, SERVER, FAR, DENIED = "default/a1", "default/b1", "default/b2", "default/d1"
PODS = {CLIENT: "n1", SERVER: "n1", FAR: "n2", DENIED: "n1"}


def ports(number):
    return [{"name": p.lower(), **port(number, p)} for p in ("TCP", "UDP")]


def make(build):
    """Two nodes of that build, with pods, policies and a service. Pods `a` take in nothing, so that a reply passes by
    its flow's entry alone.
    """
    overlay = Overlay(build=build)
    with contextlib.ExitStack() as undo:
        undo.push(overlay)
        for name, node in PODS.items():
            overlay.pod(name, node, app=name[8])
        overlay.write("policies", policy("b", {"app": "b"}, ingress=[sources(pods(app="a"))]), policy("a", {"app": "a"}, ingress=[]))
        slices = [
            endpoint_slice(f"web-{f}", "web", [endpoint(overlay.pods[SERVER].ips[f], node="n1")], *ports(TARGET)) for f in ALL
        ]
        overlay.apply("web", service("web", VIP.values(), *ports(PORT)), *slices)
        overlay.wait_resolved()
        undo.pop_all()
    return overlay


@pytest.fixture(scope="module")
def overlay():
    with make(releases.build(OLD)) as overlay:
        yield overlay


class Denied(Worker):
    """Datagrams from a pod that its receiver's policy denies."""

    def __init__(self, client, server, address):
        family = 6 if ":" in address else 4
        self.b = server.udp(family, 0, address)
        self.b.setblocking(False)
        self.a = client.udp(family)
        self.a.connect((address, self.b.getsockname()[1]))
        self.count = 0
        super().__init__()

    def turn(self):
        with contextlib.suppress(ConnectionRefusedError):
            self.a.send(b"denied")
        self.count += 1
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(f"a denied datagram arrived: {self.b.recv(64)}")
        self.ended.wait(0.001)


class Connections(Worker):
    """New connections, one after the other, each with a byte there and back.

    One that begins in the moment of the change may have to send its SYN or SYN-ACK again, after a second; it must not fail.
    """

    def __init__(self, client, server, address):
        self.client, self.listener = client, server.tcp_listen(6 if ":" in address else 4)
        self.target = (address, self.listener.getsockname()[1])
        self.count, self.delayed = 0, 0
        super().__init__()

    def turn(self):
        begin = time.monotonic()
        with self.client.tcp_connect(*self.target) as a, self.listener.accept()[0] as b:
            for source, sink in ((a, b), (b, a)):
                sink.settimeout(TIMEOUT)
                source.send(b"x")
                assert sink.recv(1) == b"x"
        self.delayed += time.monotonic() - begin > 0.9
        self.count += 1
        self.ended.wait(0.001)


class Traffic:
    """Flows of all kinds on the pods of make(), which must not notice anything."""

    def __init__(self, overlay):
        a, b, far, denied = (overlay.pods[name] for name in (CLIENT, SERVER, FAR, DENIED))
        paths = [(x, y, f) for x, y in ((a, b), (a, far)) for f in ALL]
        self.stack = contextlib.ExitStack()
        enter = self.stack.enter_context
        self.transfers = [enter(Transfer(x, y, y.ips[f], down=down)) for x, y, f in paths for down in (False, True)]
        self.transfers += [enter(Transfer(a, b, VIP[f], PORT, TARGET)) for f in ALL]
        self.datagrams = [enter(Datagrams(x, y, y.ips[f])) for x, y, f in paths]
        self.datagrams += [enter(Datagrams(a, b, VIP[f], b.ips[f], PORT, TARGET)) for f in ALL]
        self.connections = [enter(Connections(x, y, y.ips[f])) for x, y, f in paths]
        self.denied = [enter(Denied(denied, y, y.ips[f])) for y in (b, far) for f in ALL]
        self.wait_more()

    def wait_more(self):
        for transfer in self.transfers:
            transfer.wait_more(10000)
        for flow in self.datagrams:
            flow.wait_more(100)
        for worker in (*self.connections, *self.denied):
            count = worker.count + 5
            wait_for(lambda: worker.error or worker.count >= count, "connections")

    def finish(self, lossless=True):
        """Fails if a connection was cut or a denied datagram has passed; `lossless`: or a packet was lost."""
        self.wait_more()
        lost = [len(flow.finish()) for flow in self.datagrams]
        again = [transfer.retransmits for transfer in self.transfers]
        delayed = sum(connection.delayed for connection in self.connections)
        self.stack.close()
        assert all(worker.count for worker in (*self.connections, *self.denied))
        if lossless:
            assert not any(lost) and not any(again), (lost, again)
        print(f"{sum(c.count for c in self.connections)} connections, {delayed} of them delayed")
        assert delayed <= 2 * len(self.connections)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.stack.close()


def upgrade(node, build):
    node.agent.stop()
    node.install(build)
    done = node.warren_json("node", "init")
    node.agent.start()
    return done


def versions(node):
    """ABI versions whose from_pod is pinned."""
    return sorted(int(path.parts[-3][1:]) for path in node.outside(PINS).parent.glob("v*/progs/from_pod"))


def programs(node):
    return {pod.ifindex: node.run("tc", "filter", "show", "dev", pod.host_ifname, "ingress").stdout for pod in node.pods}


def test_agent_of_the_old_release_runs(overlay):
    """It would go on writing maps that no program reads: neither `node init` nor an ADD upgrades under it."""
    n1 = overlay.nodes["n1"]
    before = programs(n1)
    n1.install(BUILD)
    refused = n1.warren("node", "init", check=False)
    assert refused.returncode and "restart the agent" in refused.stderr
    path = n1.netns_add("early")
    added = n1.cni("ADD", n1.pods[0].chain[0], "early", "eth0", path)
    assert not added.ok and "restart the agent" in added.stdout
    n1.cni("DEL", n1.pods[0].chain[0], "early", "eth0", path)
    n1.netns_delete(path)
    assert programs(n1) == before and versions(n1) == [releases.abi(BUILD / "releases" / OLD)]
    n1.install(releases.build(OLD))


def test_upgrade_under_traffic(overlay):
    old = releases.abi(BUILD / "releases" / OLD)
    with Traffic(overlay) as traffic:
        for node in overlay.nodes.values():
            assert versions(node) == [old]
            before = programs(node)
            done = upgrade(node, BUILD)
            assert done["upgraded_from_abi"] == old and done["endpoints_replaced"] == len(node.pods) + 1
            assert done["flows_lost"] == 0
            assert versions(node) == [releases.abi()]
            assert not set(before.values()) & set(programs(node).values())
            traffic.wait_more()
        overlay.wait_applied()
        traffic.finish()


def test_pods_live_on(overlay):
    """CHECK finds them whole; a change of policy reaches their flows; they can be deleted."""
    a, b = overlay.pods[CLIENT], overlay.pods[SERVER]
    for name in PODS:
        overlay.pods[name].check()
    for family in ALL:
        with Datagrams(a, b, b.ips[family]) as flow:
            wait_for(lambda: flow.answered, "an answer")
            overlay.apply("later", policy("b", {"app": "b"}, ingress=[]))
            heard = len(flow.heard)
            flow.wait_more(200)
            assert len(flow.heard) <= heard + 1  # one may have been under way
        overlay.remove("later")
    n1 = overlay.nodes["n1"]
    refused = n1.warren("node", "down", check=False)
    assert refused.returncode and "3 endpoints" in refused.stderr
    overlay.delete(DENIED)
    assert DENIED not in {e["pod"] for e in n1.warren_json("endpoint", "list")}
    overlay.pod(DENIED, "n1", app="d")


def test_downgrade_is_refused(overlay):
    """The earlier release cannot read the maps: it says so, and nothing changes."""
    n1 = overlay.nodes["n1"]
    with Traffic(overlay) as traffic:
        before = programs(n1)
        n1.agent.stop()
        n1.install(releases.build(OLD))
        refused = n1.warren("node", "init", check=False)
        assert refused.returncode and "config" in refused.stderr
        path = n1.netns_add("later")
        assert not n1.cni("ADD", n1.pods[0].chain[0], "later", "eth0", path).ok
        n1.cni("DEL", n1.pods[0].chain[0], "later", "eth0", path)
        n1.netns_delete(path)
        assert programs(n1) == before and versions(n1) == [releases.abi()]
        n1.install(BUILD)
        n1.agent.start()
        traffic.finish()


def test_killed_upgrade():
    """Wherever `node init` is killed, flows go on and nothing that is denied passes; the next one completes it."""
    draw = drawn()
    with make(releases.build(OLD)) as overlay, Traffic(overlay) as traffic:
        node = overlay.nodes["n1"]
        node.agent.stop()
        node.install(BUILD)
        for _ in range(12):
            node.run("timeout", "-s", "KILL", f"{draw.uniform(0.05, 3):.3f}", "warren", "node", "init", check=False)
        node.warren("node", "init")
        assert versions(node) == [releases.abi()]
        node.agent.start()
        overlay.wait_applied()
        traffic.finish(lossless=False)
        for name in PODS:
            overlay.pods[name].check()


def test_next_release():
    """A release with another ABI number and the same layouts uses the maps as they are; this one cannot go back."""
    build = releases.build(releases.NEXT)
    with make(BUILD) as overlay:
        node = overlay.nodes["n1"]
        with Traffic(overlay) as traffic:
            done = upgrade(node, build)
            assert done["upgraded_from_abi"] == releases.abi() and versions(node) == [releases.abi() + 1]
            traffic.wait_more()
            before = programs(node)
            node.agent.stop()
            node.install(BUILD)
            refused = node.warren("node", "init", check=False)
            assert refused.returncode and f"ABI version {releases.abi() + 1}" in refused.stderr
            assert programs(node) == before
            refused = node.warren("node", "down", check=False)
            assert refused.returncode and "3 endpoints" in refused.stderr
            node.install(build)
            node.agent.start()
            traffic.finish()
