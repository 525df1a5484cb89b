# SPDX-License-Identifier: BSD-2-Clause
"""A tenant that may write NetworkPolicies writes the worst ones that the API accepts. Its own pods lose their rules,
which is reported; a change of another namespace at the same moment is enforced without delay, and the agent's memory
does not grow.
"""

import time
from pathlib import Path

import pytest

from agent import Agent
from connect import connected_families
from lab import Lab, network
from manifests import block, namespace, pod_object, pods, policy, port, sources
from netns import TIMEOUT, wait_for

# Goals are 100 ms, 16 MB and 50 ms. Machines are shared, and the first run pays for pages; what these bounds are for
# is to tell "refused" from "tried": without bounds it was 6 s to minutes, and 0.6 to 5.4 GB.
REFUSED_MS = 2000
PEAK_BYTES = 48 << 20
DELAY_MS = 2000


def blocks(count, *except_):
    return [block(f"10.{i >> 8}.{i & 255}.0/24", *except_) for i in range(count)]


def ranges(count):
    """Label values of which none is a prefix of another."""
    return [port(1 + 20 * i, end=14 + 20 * i) for i in range(count)]


def products(name):
    return policy(name, {"app": "bomb"}, ingress=[sources(*blocks(1150), ports=[port(1 + 2 * i) for i in range(1200)])])


def nested(count, excepts):
    """Each block holds where the others' excepts are: every prefix is a set of nearly all blocks."""
    return [
        block("0.0.0.0/0", *[f"{1 + j}.{i >> 8}.{i & 255}.0/24" for j in range(excepts)]) for i in range(count)
    ]


# What is written; the object and the bound that the problem names.
BOMBS = {
    "peers x port ranges": ([policy("mallory/bomb", {"app": "bomb"}, ingress=[sources(*blocks(2500), ports=ranges(2500))])], "entries"),
    "blocks x excepts": ([policy("mallory/bomb", {"app": "bomb"}, ingress=[sources(*nested(1000, 40))])], "prefixes"),
    "blocks x excepts, fewer": ([policy("mallory/bomb", {"app": "bomb"}, ingress=[sources(*nested(300, 40))])], "prefixes"),
    "three that fill the map": ([products(f"mallory/bomb{i or ''}") for i in range(3)], "entries"),
    "selectors": (
        [
            policy(
                "mallory/bomb",
                {"app": "bomb"},
                ingress=[sources(*[pods((f"k{i}", "NotIn", f"v{i}")) for i in range(10000)])],
            )
        ],
        "selectors",
    ),
    "long expressions": (
        [policy("mallory/bomb", {"app": "bomb"}, ingress=[sources(pods(("k", "NotIn", *[f"v{i}" for i in range(60000)])))])],
        "selector values",
    ),
    "names of ports": (
        [policy("mallory/bomb", {"app": "bomb"}, ingress=[sources(*blocks(5000), ports=[port(f"p{i}") for i in range(5000)])])],
        "entries",
    ),
}


class Tenants:
    """A victim's client and server, the attacker's pod, and an agent that enforces the victim's policy."""

    def __init__(self, lab, agent):
        self.lab, self.agent = lab, agent
        self.pods = {}

    def pod(self, name, **labels):
        short = name.partition("/")[2]
        self.agent.write(f"pod-{short}.json", pod_object(name, labels))
        args = "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}".format(*name.split("/"))
        self.pods[short] = self.lab.node.pod(short, network(policy="agent"), args=args)
        return self.pods[short]

    def victim(self, *apps):
        return policy("shop/db", {"app": "db"}, ingress=[sources(*[pods(app=app) for app in apps])])

    def connected(self, a, b):
        return connected_families(self.pods[a], self.pods[b])

    def policies(self):
        return {f"{p['namespace']}/{p['name']}": p for p in self.agent.ask("policies")["policies"]}

    def problem(self, name="mallory/bomb"):
        return self.policies()[name]["problem"]

    def peak(self, begin=False):
        """Resident bytes: now (from here on the peak counts), or the most since."""
        proc = Path(f"/proc/{self.agent.pid}")
        if begin:
            (proc / "clear_refs").write_text("5")
        line = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def shared_tenants(lab):
    with Agent(lab.node, log_level="info") as agent:
        tenants = Tenants(lab, agent)
        agent.write("namespaces.json", namespace("shop"), namespace("mallory"))
        for name, app in (("shop/web", "web"), ("shop/admin", "admin"), ("shop/db", "db"), ("mallory/bomb", "bomb"), ("mallory/idle", "idle")):
            tenants.pod(name, app=app)
        yield tenants


@pytest.fixture
def tenants(shared_tenants):
    """The victim's policy lets in `web` only; the attacker has no policy."""
    shared_tenants.agent.write("victim.json", shared_tenants.victim("web"))
    shared_tenants.agent.wait_applied()
    assert shared_tenants.connected("web", "db") == [4, 6] and shared_tenants.connected("admin", "db") == []
    yield shared_tenants
    for path in shared_tenants.agent.dir.glob("bomb*.json"):
        path.unlink()
    shared_tenants.agent.wait_applied()
    assert shared_tenants.policies().keys() <= {"shop/db"}


def enforced_after(tenants, revision):
    """Waits until that has happened; returns when, and the longest time of a request to the socket meanwhile."""
    slowest = 0

    def enforced():
        nonlocal slowest
        begin = time.monotonic()
        status = tenants.agent.status()
        slowest = max(slowest, time.monotonic() - begin)
        return status["revision"] > revision and not status["pending"]

    wait_for(enforced, "the victim's change")
    return time.monotonic(), slowest


@pytest.mark.long
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_hurts_its_own_pods_only(tenants, name):
    objects, bound = BOMBS[name]
    revision, before = tenants.agent.status()["revision"], tenants.peak(begin=True)
    tenants.agent.write("bomb.json", *objects)
    bombed = time.monotonic()
    tenants.agent.write("victim.json", tenants.victim("web", "admin"))
    changed = time.monotonic()
    end, slowest = enforced_after(tenants, revision)
    refused, delay, peak = (end - bombed) * 1000, (end - changed) * 1000, tenants.peak() - before
    print(f"\n{name}: refused and the other's change enforced after {refused:.0f} ms ({delay:.0f} ms after it was written), ", end="")
    print(f"peak +{peak / 1e6:.1f} MB, socket's longest {slowest * 1000:.0f} ms, ", end="")
    status = tenants.agent.status()
    print(f"compiled in {status['compile_us'] / 1000:.1f} ms, applied in {status['apply_us'] / 1000:.1f} ms")

    # The victim: not affected.
    assert tenants.connected("web", "db") == [4, 6] and tenants.connected("admin", "db") == [4, 6]
    assert tenants.problem("shop/db") is None
    # The bomber: isolated, and its problem names the bound that is exceeded.
    assert tenants.connected("web", "bomb") == []
    assert bound in tenants.problem() and any(c.isdigit() for c in tenants.problem()), tenants.problem()
    assert any("mallory/bomb" in c["message"] for c in tenants.agent.status()["problems"]), tenants.agent.status()["problems"]
    # The attacker's other pods are not affected either.
    assert tenants.connected("web", "idle") == [4, 6]
    assert refused <= REFUSED_MS and delay <= DELAY_MS and peak <= PEAK_BYTES and slowest * 1000 <= DELAY_MS


@pytest.mark.long
def test_the_names_of_33000_ports(tenants):
    """Verdicts come before names: each port has the right verdict even if not each rule can be named; the others' rules
    keep their names.
    """
    before = tenants.peak(begin=True)
    ports = [port(1 + i) for i in range(10000)] + [port(1 + i, "UDP") for i in range(6000)]
    rules = [sources(pods(app="web"), ports=ports[i : i + 8]) for i in range(0, len(ports), 8)]
    tenants.agent.write("bomb.json", policy("mallory/bomb", {"app": "bomb"}, ingress=rules))
    tenants.agent.write("victim.json", tenants.victim("web", "admin"))
    tenants.agent.wait_applied()
    status = tenants.agent.status()
    assert status["counts"]["rules"] < 8192, "the names of one namespace's rules take what others need"
    names = tenants.lab.node.warren("policy", "get", "shop/db").stdout
    assert "ingress[0]" in names
    assert tenants.connected("admin", "db") == [4, 6]
    assert tenants.peak() - before <= PEAK_BYTES


@pytest.mark.long
def test_a_bomb_in_many_pieces(tenants):
    """Each policy is below the bounds of an object: the bound of the namespace applies, and the last ones are refused."""
    before = tenants.peak(begin=True)
    for i in range(40):
        ingress = [sources(*[block(f"10.{i}.{j}.0/24") for j in range(100)], ports=[port(1 + 2 * i) for i in range(100)])]
        tenants.agent.write(f"bomb{i}.json", policy(f"mallory/bomb{i}", {"app": "bomb"}, ingress=ingress))
    revision = tenants.agent.wait_applied()["revision"]
    changed = time.monotonic()
    tenants.agent.write("victim.json", tenants.victim("web", "admin"))
    end, slowest = enforced_after(tenants, revision)
    peak = tenants.peak() - before
    print(f"\n40 pieces: the other's change {(end - changed) * 1000:.0f} ms, peak +{peak / 1e6:.1f} MB, socket {slowest * 1000:.0f} ms")
    assert tenants.connected("web", "db") == [4, 6] and tenants.connected("admin", "db") == [4, 6]
    assert any(p["problem"] for p in tenants.policies().values())
    assert tenants.connected("web", "bomb") == []
    assert (end - changed) * 1000 <= DELAY_MS and peak <= PEAK_BYTES


def test_a_large_legitimate_policy_fits(tenants):
    """1,000 CIDR blocks, a few ports."""
    objects = [policy("mallory/bomb", {"app": "bomb"}, ingress=[sources(*blocks(1000), ports=[port(80), port(443), port(8000, end=8080)])])]
    tenants.agent.write("bomb.json", *objects)
    tenants.agent.wait_applied()
    found = tenants.policies()["mallory/bomb"]
    assert found["problem"] is None and found["entries"] >= 3000


def test_a_refusal_ends_with_its_reason(tenants):
    tenants.agent.write("bomb.json", *BOMBS["peers x port ranges"][0])
    tenants.agent.wait_applied()
    assert tenants.problem() and tenants.connected("web", "bomb") == []
    tenants.agent.write("bomb.json", policy("mallory/bomb", {"app": "bomb"}, ingress=[{}]))
    tenants.agent.wait_applied()
    assert tenants.problem() is None and tenants.connected("web", "bomb") == [4, 6]
    wait_for(lambda: not tenants.agent.status()["problems"], "an end of problems", TIMEOUT)
