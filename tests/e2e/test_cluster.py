# SPDX-License-Identifier: BSD-2-Clause
"""examples/lab/cluster as a user runs it: containerd's pods on two nodes reach each other by name and by number."""

import json
import os
import signal
import subprocess

import pytest

from conftest import CONTAINERD, url
from lab import BUILD, REPO
from netns import TIMEOUT, wait_for

CLUSTER, NODE = REPO / "examples/lab/cluster", REPO / "examples/lab/node"
ENV = {**os.environ, "WARREN_BUILD": str(BUILD), "LAB_CLUSTER": "testing"}
NODES = {"testing1", "testing2", "testing-lan"}


def run(*argv, check=True):
    done = subprocess.run([*map(str, argv)], env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def nodes():
    return set(run(NODE, "list").split()) & NODES


@pytest.fixture
def clean():
    yield
    run(CLUSTER, "down")
    assert nodes() == set()


def on(node, *argv):
    return run(NODE, "exec", node, *argv)


@pytest.mark.smoke
def test_two_nodes(clean):
    run(CLUSTER, "up", 2, 1)
    assert nodes() == NODES
    (pod,) = json.loads(on("testing2", "warren", "endpoint", "list", "--json"))
    for address in pod["addresses"]:
        fetch = ["timeout", TIMEOUT, "wget", "-q", "-O", "-", url(address)]
        assert run(CONTAINERD, "exec", "testing1", "default.testing1-1", *fetch).strip() == "default.testing2-1"
    known = {node["name"]: node for node in json.loads(on("testing1", "warren", "node", "list", "--json"))}
    assert set(known) == {"testing1", "testing2"} and known["testing1"]["own"], known


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_it_leaves_nothing(clean, number):
    holding = subprocess.Popen(
        [CLUSTER, "hold", "2", "0"], env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while "ends with this command" not in holding.stdout.readline():
        assert holding.poll() is None
    assert nodes() == NODES
    holding.send_signal(number)
    holding.wait(TIMEOUT)
    holding.stdout.close()
    wait_for(lambda: not nodes(), "the nodes are gone")
