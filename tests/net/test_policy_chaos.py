# SPDX-License-Identifier: BSD-2-Clause
"""The agent is killed again and again, at any moment, under traffic and policy edits (policy_edits.py says what packets
may meet meanwhile), and in the end the maps are those of an agent that has never been killed.

WARREN_CHAOS_SECONDS (15): how long. WARREN_CHAOS_SEED: which run, else another each time; it is printed.
"""

import contextlib
import itertools
import json
import os
import re
import signal
import threading
import time

import pytest

from manifests import pod_object
from netns import TIMEOUT, wait_for
from policy_edits import NAMES, PENDING, PORTS, Manifests, Observer, first_manifests, made_cluster, random_edit
from seed import drawn

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("WARREN_CHAOS_SECONDS", 15))


class Killer(threading.Thread):
    """Kills the agent after a while, at any point of its work."""

    def __init__(self, pid, seconds):
        super().__init__(daemon=True)
        self.fd, self.seconds, self.called_off = os.pidfd_open(pid), seconds, threading.Event()
        self.killed = False
        self.start()

    def run(self):
        self.killed = not self.called_off.wait(self.seconds)
        if self.killed:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.fd, signal.SIGKILL)
        os.close(self.fd)


# --- what the maps hold -----------------------------------------------------------------------------------------------


def dump(node, name):
    return [{**entry["key"], **entry["value"]} for entry in node.warren_json("map", "dump", name)]


def holdings(cluster):
    """The maps' content, by the rules' names and the classes' content: each agent numbers them in its own way."""
    node = cluster.node
    rules = {entry["rule"]: entry["text"] for entry in dump(node, "rules")}
    classes = {}
    for table in ("classes", "policy", "cidrs4", "cidrs6"):
        for entry in dump(node, table):
            if "rule" in entry:
                entry["rule"] = rules[entry["rule"]]
            classes.setdefault(str(entry.pop("class")), []).append(f"{table} {json.dumps(entry, sort_keys=True)}")
    endpoints = {e["pod"]: e for e in node.warren_json("endpoint", "list")}
    return {
        "rules": sorted(rules.values()),
        "identities": sorted(json.dumps(entry) for entry in dump(node, "identities")),
        "pods": {
            name: (e["identity"], sorted(classes.get(str(e["class"]), [e["class"]]))) for name, e in endpoints.items()
        },
        "classes that no pod is in": sorted(set(classes) - {str(e["class"]) for e in endpoints.values()}),
    }


def reasons(cluster):
    """The output of `policy why` for every pair, without the classes' numbers."""
    said = {}
    for (src, dst), number in itertools.product(itertools.permutations(NAMES, 2), PORTS):
        answer = cluster.node.warren_json("policy", "why", src, f"{dst}:{number}/udp")
        because = [re.sub(r"of class \d+ ", "", point["because"]) for point in answer["evaluated"]]
        said[src, dst, number] = answer["verdict"], because
    return said


# --- the test ---------------------------------------------------------------------------------------------------------


class Victim:
    """The agent, and its killer."""

    def __init__(self, agent, draw):
        self.agent, self.draw, self.kills, self.killer = agent, draw, 0, None
        self.hire()

    def hire(self):
        # The child of nsenter is the agent; a signal to nsenter would not reach it.
        wait_for(lambda: self.agent.pid != self.agent.proc.pid, "the agent's process")
        self.killer = Killer(self.agent.pid, 10 ** self.draw.uniform(-2.3, 0.3))

    def look(self):
        """Whether it is alive; a dead one is restarted, sooner or later."""
        if self.agent.proc and self.agent.proc.poll() is not None:
            assert self.agent.ended() != 1, f"the agent failed:\n{self.agent.tail()}"
            self.kills += 1
        if not self.agent.proc and self.draw.random() < 0.2:
            self.agent.start(wait=False)
            self.hire()
        return self.agent.proc is not None

    def spare(self):
        """From here on it lives."""
        self.killer.called_off.set()
        self.killer.join()
        if self.agent.proc and (self.killer.killed or self.agent.proc.poll() is not None):
            self.agent.ended()
        if not self.agent.proc:
            self.agent.start()
        wait_for(lambda: self.agent.is_applied(), "the last edits to be enforced")


def test_agent_killed_under_traffic_and_edits(tmp_path):
    draw = drawn("WARREN_CHAOS_SEED")
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 2)
    options = ("--cluster-key", key)
    first = first_manifests(pod_object)
    with made_cluster(first, *options) as cluster:
        manifests = Manifests(cluster, first)
        observer = Observer(cluster, manifests)
        victim = Victim(cluster.agent, draw)
        edits, deadline = 0, time.monotonic() + SECONDS

        def enough():
            return victim.kills >= SECONDS / 5 and edits >= SECONDS and observer.passed and observer.denied

        # A busy machine needs longer for as much.
        while time.monotonic() < deadline or not enough() and time.monotonic() < deadline + 2 * TIMEOUT:
            alive = victim.look()
            if manifests.pending < PENDING and draw.random() < 0.3:
                edits += 1
                manifests.edit(*random_edit(draw, pod_object))
            observer.burst(draw)
            if alive and manifests.pending and cluster.agent.is_applied():
                manifests.applied()
        victim.spare()
        manifests.applied()
        observer.burst(draw)
        observer.close()
        print(f"{victim.kills} kills, {edits} edits, {observer.passed} passed, {observer.denied} were to be denied")
        assert enough()
        files = {file: versions[-1] for file, versions in manifests.versions.items() if versions[-1]}
        with made_cluster(files, *options) as fresh:
            assert holdings(cluster) == holdings(fresh)
            assert reasons(cluster) == reasons(fresh)
        assert holdings(cluster)["classes that no pod is in"] == []
