# SPDX-License-Identifier: BSD-2-Clause
"""The kernel ends the agent, which lacks memory, in the middle of whatever it does with an edit: no packet meets a verdict
that none of the manifests gives, no flow that all of them allow loses one, and the next start completes the edit.
"""

import time

import pytest

from manifests import namespaces, pod_object, pods, policy, port, sources
from memory import memory_cgroup
from netns import TIMEOUT
from policy_edits import Manifests, Observer, first_manifests, made_cluster, random_edit
from seed import drawn

ROUNDS = 6
CROWD = 400  # objects of one edit


def crowd(number):
    """More and more objects, of pods that are on no node: the agent needs memory for them, and no verdict depends on
    them.
    """
    objects = []
    for i in range(CROWD):
        name = f"crowd/{number}-{i}"
        objects.append(pod_object(name, {"app": name[6:], "filler": "x" * 60}))
        peers = [sources({**namespaces(team=f"{number}"), **pods(app=f"{j}")}, ports=[port(1000 + j)]) for j in range(20)]
        objects.append(policy(name, {"app": name[6:]}, ingress=peers))
    return objects


@pytest.mark.long
def test_agent_ended_without_memory(tmp_path):
    draw = drawn("WARREN_SEED")
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 2)
    first = first_manifests(pod_object)
    with memory_cgroup(1 << 30) as cgroup, made_cluster(first, "--cluster-key", key) as cluster:
        manifests = Manifests(cluster, first)
        observer = Observer(cluster, manifests)
        crowds = 0
        for ended in range(ROUNDS):
            cgroup.limit(1 << 30)
            cgroup.add(cluster.agent.pid)
            cgroup.limit(int(2 ** draw.uniform(17, 22)))
            deadline = time.monotonic() + TIMEOUT
            while cluster.agent.proc.poll() is None:
                assert time.monotonic() < deadline, f"the agent has room for {crowds * CROWD} objects\n{cluster.agent.tail()}"
                if not manifests.pending:
                    manifests.edit(*random_edit(draw, pod_object))
                cluster.agent.write(f"crowd-{crowds}.json", *crowd(crowds))
                crowds += 1
                observer.burst(draw)
            assert cluster.agent.ended() != 1, f"the agent failed:\n{cluster.agent.tail()}"
            assert cgroup.ended == ended + 1
            observer.burst(draw)
            cluster.agent.start()
            cluster.agent.wait_applied()
            manifests.applied()
            observer.burst(draw)
        observer.close()
        print(f"{crowds * CROWD} objects, {observer.passed} passed, {observer.denied} were to be denied")
        assert observer.passed and observer.denied
