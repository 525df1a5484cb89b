# SPDX-License-Identifier: BSD-2-Clause
"""The Service of examples/services as it is: containerd's pods get the addresses that its endpoints have."""

import pytest

from agent import Agent
from conftest import write_agent_conflist
from lab import REPO

SERVICES = REPO / "examples/services"
SERVICE = {4: "10.96.0.10", 6: "fd00:96::10"}
PODS = ("shop.web-1", "shop.web-2", "visitors.client")


@pytest.fixture(scope="module")
def agent(node):
    write_agent_conflist(node)
    with Agent(node) as agent:
        for file in ("pods.yaml", "web.yaml"):
            agent.write(file, (SERVICES / file).read_text())
        agent.wait_applied()
        yield agent


def test_the_example(runtime, agent):
    for name in PODS:
        runtime.run(name, "--env", "PORT=8080")

    def answers(count):
        return {runtime.fetch("visitors.client", address) for address in SERVICE.values() for _ in range(count)}

    assert answers(5) == {"shop.web-1"}
    agent.write("web.yaml", (SERVICES / "web.yaml").read_text().replace("ready: false", "ready: true"))
    agent.wait_applied()
    assert answers(15) == {"shop.web-1", "shop.web-2"}  # fails by chance once in 10^9 runs
