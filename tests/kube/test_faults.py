# SPDX-License-Identifier: BSD-2-Clause
"""The API server and the agents fail in every way, and the nodes continue."""

import contextlib
import os
import signal
import time

import pytest

from kube_cluster import (
    NODES,
    Kubernetes,
    agent_pids,
    agents_ready,
    is_ready,
    pod,
    replace_agent,
    wait_agents,
    without_agents,
)
from manifests import pods as with_labels
from manifests import policy, sources
from netns import wait_for
from pair import TCP, blackhole, connected, made_pair, traffic
from whoami import Servers, ask

DOWN = float(os.environ.get("WARREN_DOWN_SECONDS", "30"))  # how long there are no agents


@pytest.fixture(scope="module")
def own(image):
    """A cluster that may be left behind in any state."""
    with Kubernetes("faults", CNI="warren", PROXY="none") as cluster:
        yield cluster


@pytest.fixture
def pair(own):
    with made_pair(own) as pair:
        yield pair


def test_agents_killed_for_a_minute(own, pair):
    """As soon as there is one it is killed, on either node."""
    killed, end = 0, time.monotonic() + 60
    with traffic(pair):
        while time.monotonic() < end:
            for node in NODES:
                old = replace_agent(own, node)
                wait_for(lambda: agent_pids(own, node)[node] not in (old, None), f"another agent of {node}")
                killed += 1
    print(f"\n{killed} agents killed", end="")
    assert killed >= 4
    wait_agents(own, agents_ready, "the agents to be back")
    assert pair.works("client") and not pair.works("other", any)


def test_no_agents(own, pair):
    """Policy, traffic and pods stay, nodes Ready, the plugin's configuration untouched; pods start, and only their host
    reaches them.
    """
    conflists = {name: own.machine(name).outside("/etc/cni/net.d/05-warren.conflist") for name in NODES}
    before = {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in conflists.items()}
    uids = {item["metadata"]["uid"] for item in own.api.list("Pod", pair.space)}
    with traffic(pair), without_agents(own), Servers() as servers:
        end = time.monotonic() + DOWN
        while time.monotonic() < end:
            assert pair.works("client") and not pair.works("other", any)
            assert all(map(is_ready, own.api.list("Node")))
        assert {item["metadata"]["uid"] for item in own.api.list("Pod", pair.space) if is_ready(item)} == uids
        own.api.apply(pod("late", "n2", {"app": "client"}, pair.space))
        late = own.netns(own.ready("late", namespace=pair.space, timeout=60)["late"])
        servers.add(late, "late", TCP)
        for address in late.ips.values():
            assert ask(own.machine("n2"), address, 8080)[0] == "late"
            assert ask(pair.client, address, 8080) == "silence"
            assert ask(pair.server, address, 8080) == "silence"
        for address in pair.server.ips.values():
            assert ask(late, address, 8080) == "silence"
    for address in pair.server.ips.values():
        wait_for(lambda: ask(late, address, 8080)[0] == "server", "the late pod is a client like others")
    late.close()
    assert {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in conflists.items()} == before


@pytest.mark.parametrize("program", ("kubelet", "containerd"))
def test_a_program_of_the_nodes_is_restarted(own, pair, program):
    """In order, and killed: traffic, pods and policy stay. Pods that are being made come up, and so do those made afterwards;
    of none anything is left.
    """

    def containers():
        found = {}
        for item in own.api.list("Pod", None):
            for status in item["status"].get("containerStatuses", ()):
                found[item["metadata"]["uid"], status["name"]] = status["containerID"], status["restartCount"]
        return found

    before = {name: set(own.machine(name).pod_devices()) for name in NODES}
    first, names = containers(), []
    with traffic(pair):
        for turn in ("TERM", "KILL", "after"):
            where = [(app, node) for app in ("client", "x") for node in NODES]
            items = [pod(f"{app}-{turn.lower()}-{node}", node, {"app": app}, pair.space) for app, node in where]
            own.api.apply(*items)
            for node in NODES if turn != "after" else ():
                own.restart(node, program, turn)
            found = own.ready(*(item["metadata"]["name"] for item in items), namespace=pair.space)
            for item in items:
                check_reaches(own, pair, found[item["metadata"]["name"]])
                names.append(item["metadata"]["name"])
            assert pair.works("client") and not pair.works("other", any)
    assert first.items() <= containers().items()
    wait_agents(own, agents_ready, "the agents to be Ready")
    own.api.wait("Node", lambda nodes: all(map(is_ready, nodes.values())), "the nodes to be Ready")
    for name in names:
        own.api.delete("Pod", name, pair.space, gracePeriodSeconds=0)
    for name in NODES:
        machine = own.machine(name)
        wait_for(lambda: set(machine.pod_devices()) <= before[name], f"the devices of {name} to go")
        wait_for(lambda: machine.warren_json("status", check=False)["healthy"], f"{name} is well")


def check_reaches(own, pair, item):
    """A pod reaches the server if it is a client, and only then."""
    with contextlib.closing(own.netns(item)) as netns:
        for address in pair.server.ips.values():
            if item["metadata"]["labels"]["app"] == "client":
                wait_for(lambda: ask(netns, address, 8080)[0] == "server", f"{netns.name} reaches the server")
            else:
                assert ask(netns, address, 8080) == "silence", netns.name


def test_a_label_lost_while_the_agent_of_its_node_is_dead(own, pair):
    """The identity from the receiver's agent overrides the one in the packet."""
    os.kill(agent_pids(own, "n1")["n1"], signal.SIGSTOP)  # so that no other one is started
    try:
        own.api.merge("Pod", "client", {"metadata": {"labels": {"app": "y"}}}, pair.space)
        begin = time.monotonic()
        wait_for(lambda: not pair.works("client", any), "the client is denied")
        print(f"\ndenied after less than {time.monotonic() - begin:.2f} s", end="")
    finally:
        os.kill(agent_pids(own, "n1")["n1"], signal.SIGCONT)
    assert not pair.works("client", any)


def test_the_api_server_is_gone_for_a_minute(own, pair):
    """Traffic continues, the status reports the problem; what was changed meanwhile is enforced when it is back."""
    with traffic(pair):
        own.stop_api()
        wait_for(lambda: not any(connected(own)), "the agent to tell")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert pair.works("client")
            assert not pair.works("other", any)
        own.start_api()
    own.api.apply(policy(f"{pair.space}/server", {"app": "server"}, ingress=[sources(with_labels(app="x"))]))
    begin = time.monotonic()
    wait_for(lambda: pair.works("other") and not pair.works("client", any), "the new policy", 40)
    print(f"\nthe new policy: enforced {time.monotonic() - begin:.1f} s after it was applied, at once when the server was back", end="")


def test_the_api_server_flaps(own, pair):
    """It comes and goes for half a minute, and goes as soon as it has taken an edit. At the end the last edit is enforced; what
    all edits have in common always is.
    """
    peers = [with_labels(app="client"), with_labels(app="x")]
    turns, end = 0, time.monotonic() + 30
    with traffic(pair):
        while time.monotonic() < end or turns % 2:
            own.stop_api()
            assert pair.works("client")
            own.start_api()
            rule = sources(*peers[: 1 + turns % 2])
            own.api.apply(policy(f"{pair.space}/server", {"app": "server"}, ingress=[rule]))
            turns += 1
        own.stop_api()
        own.start_api()
        wait_for(lambda: pair.works("other"), "the last edit", 40)
        wait_for(lambda: all(connected(own)) and all(connected(own, "n2")), "all kinds to be followed", 60)
    assert turns >= 4
    print(f"\n{turns} times", end="")
    assert pair.works("client")


def test_the_api_server_falls_silent(own, pair):
    """The connections are not reset: the agent must notice within 30 s."""
    blackhole(own, True)
    try:
        begin = time.monotonic()
        wait_for(lambda: not all(connected(own)), "the agent to tell", 60)
        seconds = time.monotonic() - begin
        print(f"\nnoticed after {seconds:.1f} s", end="")
    finally:
        blackhole(own, False)
    assert seconds <= 35
    own.api.close()
    own.api.apply(policy(f"{pair.space}/server", {"app": "server"}, ingress=[sources(with_labels(app="x"))]))
    wait_for(lambda: pair.works("other") and not pair.works("client", any), "the new policy", 40)


def lists(own):
    return sum(watch["lists"] for watch in own.machine("n1").watches().values())


def test_the_history_is_compacted(own, pair):
    """The versions to resume from are gone with the server's memory: the agents list again, and nothing is denied
    meanwhile.
    """
    before = lists(own)
    with traffic(pair):
        own.stop_api()
        revision = own.etcd("range", key="AA==")["header"]["revision"]
        own.etcd("compaction", revision=revision, physical=True)
        own.start_api()
        own.api.merge("Pod", "other", {"metadata": {"labels": {"app": "client"}}}, pair.space)
        wait_for(lambda: pair.works("other"), "a change after it", 60)
    wait_for(lambda: all(connected(own)), "all kinds to be followed", 60)
    assert lists(own) > before
