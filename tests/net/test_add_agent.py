# SPDX-License-Identifier: BSD-2-Clause
"""ADD and the real agent: when ADD has returned, the first packet is evaluated under the pod's policy."""

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent import SOCKET, Agent
from connect import connects
from lab import ADD_TIMEOUT, moved, network
from manifests import namespace, pod_object, pods, policy, port, sources
from netns import TIMEOUT, wait_for

QUARANTINE = 0


PORT = 5432
# db accepts web only, on one port.
DB = policy("shop/db", {"app": "db"}, ingress=[sources(pods(app="web"), ports=[port(PORT)])], types=["Ingress"])


def shop_pod(name, app, uid=None):
    return pod_object(f"shop/{name}", {"app": app}, uid=uid)


@pytest.fixture(scope="module")
def shared_agent(node):
    with Agent(node) as agent:
        yield agent


@pytest.fixture
def agent(shared_agent):
    """One agent for all tests of the file."""
    if not shared_agent.proc:
        shared_agent.start()
    shared_agent.write("shop.json", namespace("shop"), DB)
    shared_agent.wait_applied()
    yield shared_agent
    shared_agent.clear()


def arguments(name, uid=None):
    return f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}" + (f";K8S_POD_UID={uid}" if uid else "")


def strict(wait=ADD_TIMEOUT, **extra):
    return network(policy="agent", policyTimeout=wait, policyFailure="fail", **extra)


def lax(wait=1, **extra):
    return network(policy="agent", policyTimeout=wait, **extra)


@contextlib.contextmanager
def stopped(agent):
    """The agent does nothing meanwhile. (nsenter, its parent, stops with it, and wakes it.)"""
    agent.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        agent.signal(signal.SIGCONT)
        agent.proc.send_signal(signal.SIGCONT)


def asking(node):
    """How many connections wait for the agent to accept them."""
    (line,) = node.run("ss", "-Hxln", "src", SOCKET).stdout.splitlines()
    return int(line.split()[2])


def endpoint_class(node, pod):
    return {e["id"]: e["class"] for e in node.warren_json("endpoint", "list")}[pod.ifindex]


def test_first_packet_is_evaluated(node, agent, pods, family):
    """However long the agent takes: policy allows or denies the very first packet after ADD."""
    names = ["web", "x", *(f"db{i}" for i in range(5))]
    agent.write("pods.json", *(shop_pod(name, name.rstrip("0123456789")) for name in names))
    web, other = (pods(name, strict(), args=arguments(name)) for name in ("web", "x"))
    for i in range(5):
        with ThreadPoolExecutor(1) as pool:
            with stopped(agent):
                adding = pool.submit(pods, f"db{i}", strict(), args=arguments(f"db{i}"))
                wait_for(lambda: adding.done() or asking(node), "ADD to ask")
                assert not adding.done()
            db = adding.result(TIMEOUT)
        # First of all a datagram that the policy denies.
        before = node.metrics()
        with other.udp(family) as sock:
            sock.sendto(b"first", (db.ips[family], PORT))
        reasons = ("egress_denied", "ingress_denied", "quarantine")

        def drops():
            return {key: count for key, count in moved(before, node.metrics()).items() if key[0] in reasons}

        wait_for(drops, "a drop")
        assert drops() == {("ingress_denied", "egress"): 1}
        assert connects(web, db, family, PORT)
        db.delete()


def test_many_at_once(node, agent, pods, family):
    """Ten ADDs together; every one of them returns with the policy enforced."""
    names = [f"db{i}" for i in range(10)]
    agent.write("pods.json", shop_pod("web", "web"), *(shop_pod(name, "db") for name in names))
    web = pods("web", strict(), args=arguments("web"))
    with ThreadPoolExecutor(10) as pool:
        many = list(pool.map(lambda name: pods(name, strict(), args=arguments(name)), names))
    classes = {endpoint_class(node, pod) for pod in many}
    assert len(classes) == 1 and classes.pop() > 1
    assert all(connects(web, pod, family, PORT) for pod in many)


def test_labels_of_the_configuration(node, agent, pods, family):
    """A pod that no object describes."""

    def labelled(name, app):
        return pods(name, strict(args={"cni": {"labels": [{"key": "app", "value": app}]}}), args=arguments(name))

    web, other, db = labelled("a", "web"), labelled("b", "x"), labelled("c", "db")
    assert connects(web, db, family, PORT)
    assert not connects(other, db, family, PORT)
    assert not connects(web, db, family, PORT + 1)


def test_labels_that_are_none(node, agent):
    """A label that Kubernetes would refuse is ignored: the pod stays in quarantine."""
    conf = lax(args={"cni": {"labels": [{"key": "app", "value": "not a label!"}]}})
    pod = node.pod("a", conf, args=arguments("a"))
    assert endpoint_class(node, pod) == QUARANTINE
    pod.delete()


def test_an_older_pod_of_the_name(node, agent, pods, family):
    """The labels of its object never count; the right object ends the quarantine."""
    agent.write("pods.json", shop_pod("web", "web"), shop_pod("db", "web", uid="old"))
    agent.wait_applied()
    web = pods("web", strict(), args=arguments("web"))
    db = pods("db", lax(), args=arguments("db", "new"))
    assert endpoint_class(node, db) == QUARANTINE
    assert not connects(web, db, family, PORT)
    done = node.cni("ADD", strict(1), "second", "eth0", node.netns_add("second"), arguments("db", "new"))
    assert not done.ok and done.json["code"] == 11, done
    node.netns_delete("/run/netns/second")
    agent.write("pods.json", shop_pod("web", "web"), shop_pod("db", "db", uid="new"))
    wait_for(lambda: endpoint_class(node, db) > 1, "the pod's policy")
    assert connects(web, db, family, PORT)
    assert not connects(web, db, family, PORT + 1)


def test_object_comes_while_add_waits(node, agent, pods):
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(pods, "late", strict(), args=arguments("late"))
        wait_for(lambda: node.files("/run/warren/attachments/adding"), "ADD to begin")
        wait_for(lambda: node.warren_json("endpoint", "list"), "the endpoint")
        assert not adding.done()
        begin = time.monotonic()
        agent.write("late.json", shop_pod("late", "db"))
        pod = adding.result(2 * ADD_TIMEOUT)
        assert time.monotonic() - begin < ADD_TIMEOUT / 2
    assert endpoint_class(node, pod) > 1


def test_agent_dies_while_add_waits(node, agent, pods):
    """ADD ends before its timeout; the next agent takes the pod out of quarantine."""
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(pods, "stale", lax(ADD_TIMEOUT), args=arguments("stale"))
        wait_for(lambda: node.warren_json("endpoint", "list"), "the endpoint")
        begin = time.monotonic()
        agent.kill()
        pod = adding.result(2 * ADD_TIMEOUT)
        assert time.monotonic() - begin < ADD_TIMEOUT / 2
    assert endpoint_class(node, pod) == QUARANTINE
    agent.start()
    agent.write("stale.json", shop_pod("stale", "db"))
    wait_for(lambda: endpoint_class(node, pod) > 1, "the pod's policy")


def test_started_without_an_agent(node, shared_agent, pods, family):
    """In quarantine at once, and out of it once there is an agent."""
    if shared_agent.proc:
        shared_agent.stop()
    web, db = (pods(name, lax(60), args=arguments(name)) for name in ("web", "db"))
    assert not connects(web, db, family, PORT)
    shared_agent.start()
    shared_agent.write("shop.json", namespace("shop"), DB, shop_pod("web", "web"), shop_pod("db", "db"))
    wait_for(lambda: endpoint_class(node, db) > 1 and endpoint_class(node, web) != QUARANTINE, "policy")
    assert connects(web, db, family, PORT)
    assert not connects(web, db, family, PORT + 1)
    shared_agent.clear()
