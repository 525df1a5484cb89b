# SPDX-License-Identifier: BSD-2-Clause
"""The three-tier example as it is: containerd's pods, the agent, and the manifests of examples/policy."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from agent import Agent
from lab import REPO
from netns import TIMEOUT
from conftest import url, write_agent_conflist

POLICY = REPO / "examples/policy"
PORTS = {"visitors.client": 80, "shop.web": 80, "shop.api": 8080, "shop.db": 5432}
ALLOWED = {("visitors.client", "shop.web"), ("shop.web", "shop.api"), ("shop.api", "shop.db")}
# No policy isolates the client: what the shop lets out reaches it, which is nothing.
PAIRS = [(source, target) for source, target in product(PORTS, PORTS) if source != target]


@pytest.fixture(scope="module")
def agent(node):
    write_agent_conflist(node)
    with Agent(node) as agent:
        agent.write("cluster.yaml", (POLICY / "cluster.yaml").read_text())
        yield agent


def reached(runtime, ips, expected):
    """The pairs of which the first fetches the other's name. A pair that must be refused has a short timeout."""

    def fetch(pair):
        source, target = pair
        timeout = TIMEOUT if pair in expected else 1
        address = url(ips[target], PORTS[target])
        done = runtime.exec(source, "timeout", timeout, "wget", "-q", "-O", "-", address, check=False)
        answered = done.stdout.strip() == target
        assert (answered or pair not in expected) and "ctr:" not in done.stderr, f"{pair}: {done}"
        return answered

    with ThreadPoolExecutor(len(PAIRS)) as pool:
        return {pair for pair, ok in zip(PAIRS, pool.map(fetch, PAIRS)) if ok}


def test_three_tiers(runtime, agent, family):
    for name, port in PORTS.items():
        runtime.run(name, "--env", f"PORT={port}")
    ips = {name: runtime.ips(name)[family] for name in PORTS}
    assert reached(runtime, ips, PAIRS) == set(PAIRS)
    policies = sorted(set(POLICY.glob("*.yaml")) - {POLICY / "cluster.yaml"})
    for file in policies:
        agent.write(file.name, file.read_text())
    agent.wait_applied()
    assert reached(runtime, ips, ALLOWED) == ALLOWED
    agent.write("db.yaml", (POLICY / "maintenance/db.yaml").read_text())
    agent.wait_applied()
    allowed = ALLOWED - {("shop.api", "shop.db")}
    assert reached(runtime, ips, allowed) == allowed
    agent.remove(*(file.name for file in policies))
    agent.wait_applied()
