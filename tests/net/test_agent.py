# SPDX-License-Identifier: BSD-2-Clause
"""warren-agent itself: its life, its socket, its metrics, and policy from a directory to real connections."""

import contextlib
import errno
import json
import os
import signal
import socket
import stat
import threading
import time

import pytest

from agent import MANIFESTS, METRICS, SOCKET, Agent, parse_metrics
from connect import connected_families
from lab import Lab, network
from manifests import block, namespace, namespaces, pod_object, pods, policy, sources
from netns import TIMEOUT, wait_for
from rawbpf import PINS

COMPILE_MS = 2000  # of the large cluster below. The goal is the bench's; this tells a bounded compiler from another


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def shared_agent(lab):
    with Agent(lab.node) as agent:
        yield agent


@pytest.fixture
def agent(shared_agent):
    """An agent without any object, for all tests of the file: to start one takes most of a second."""
    if not shared_agent.proc:
        shared_agent.start()
    yield shared_agent
    shared_agent.clear()


@pytest.fixture
def make(node, agent):
    """Pods that end with the test."""
    made = []

    def make(name, labels=None, manifest=True, uid=None, **conf):
        if manifest:
            agent.write(f"pod-{name}.json", pod_object(name, labels, uid=uid))
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}" + (f";K8S_POD_UID={uid}" if uid else "")
        made.append(node.pod(name, network(policy="agent", **conf), args=args))
        return made[-1]

    yield make
    for pod in made:
        if pod in node.pods:
            pod.delete()


def only_from(**labels):
    return policy("only", {"app": "db"}, ingress=[sources(pods(**labels))])


# --- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_policy_comes_and_goes(agent, make):
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    assert [agent.endpoint(pod)["state"] for pod in (web, db)] == ["not isolated"] * 2
    assert connected_families(web, db) == [4, 6]
    agent.write("policy.json", only_from(app="admin"))
    agent.wait_applied()
    assert agent.endpoint(db)["state"] == "enforced" and agent.endpoint(db)["class"] >= 16
    assert connected_families(web, db) == []
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    assert connected_families(web, db) == [4, 6]
    agent.write("pod-web.json", pod_object("web", {"app": "other"}))
    agent.wait_applied()
    assert connected_families(web, db) == []
    agent.remove("policy.json")
    agent.wait_applied()
    assert agent.endpoint(db)["class"] == 1
    assert connected_families(web, db) == [4, 6]


def test_replicas_share_a_class(agent, make):
    replicas = [make(f"db-{i}", {"app": "db", "replica": str(i)}) for i in range(3)]
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    found = [agent.endpoint(pod) for pod in replicas]
    assert len({e["class"] for e in found}) == 1 and len({e["identity"] for e in found}) == 3
    assert agent.status()["counts"]["classes"] == 1


def test_what_was_there_before(node, agent, make):
    """An agent that starts finds the pods that were added without one."""
    agent.write("policy.json", only_from(app="web"))
    agent.stop()
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    assert connected_families(web, db) == []
    agent.start()
    assert [agent.endpoint(pod)["state"] for pod in (web, db)] == ["not isolated", "enforced"]
    assert connected_families(web, db) == [4, 6] and connected_families(db, web) == [4, 6]


def test_pod_that_ends_leaves_nothing(node, agent, make):
    pod = make("db", {"app": "db"})
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    assert node.bpf_map("classes")
    pod.delete()
    wait_for(lambda: not agent.status()["endpoints"], "the endpoint to be forgotten")
    agent.wait_applied()
    assert not node.bpf_map("classes") and not node.bpf_map("rules")
    assert agent.status()["counts"]["classes"] == 0


# --- life -------------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_restart_changes_nothing(agent, make):
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    before = [agent.endpoint(pod) for pod in (web, db)]
    with db.tcp_listen(4) as listener, web.tcp_connect(db.ips[4], listener.getsockname()[1]) as a:
        b, _ = listener.accept()
        with b:
            for kill in (True, False):
                agent.restart(kill)
                assert [agent.endpoint(pod) for pod in (web, db)] == before
                a.sendall(b"x")
                assert b.recv(1) == b"x"
    assert connected_families(web, db) == [4, 6]


def test_changed_while_dead(agent, make):
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    number = agent.endpoint(db)["class"]
    agent.kill()
    agent.write("policy.json", only_from(app="none"))
    assert connected_families(web, db) == [4, 6]
    agent.start()
    assert agent.endpoint(db)["class"] == number  # edited in place: it isolates as before
    assert connected_families(web, db) == []


def test_end_leaves_policy_enforced(node, agent, make):
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    agent.write("policy.json", only_from(app="admin"))
    agent.wait_applied()
    assert agent.stop() == 0
    assert not node.outside(SOCKET).exists() and not node.outside(METRICS).exists()
    assert connected_families(web, db) == [] and connected_families(db, web) == [4, 6]


def test_service_manager_is_notified(agent):
    agent.signal(signal.SIGHUP)
    assert any(line.startswith("MONOTONIC_USEC=") for line in agent.wait_notified("RELOADING=1"))
    agent.wait_notified("READY=1")
    agent.signal(signal.SIGTERM)
    agent.wait_notified("STOPPING=1")
    assert agent.ended() == 0


def test_hangup_reads_everything_again(node, agent, make):
    """Changes that another program made to the maps are repaired; without any, nothing is written."""
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    before = agent.endpoint(db)

    def hangup():
        agent.signal(signal.SIGHUP)
        agent.wait_notified("RELOADING=1")
        agent.wait_notified("READY=1")

    hangup()
    assert agent.endpoint(db) == before
    key = [f"{byte:02x}" for byte in before["class"].to_bytes(4, "little")]
    node.run("bpftool", "map", "delete", "pinned", f"{PINS}/maps/classes", "key", "hex", *key)
    assert connected_families(web, db) == []
    hangup()
    assert connected_families(web, db) == [4, 6] and agent.endpoint(db)["revision"] > before["revision"]


def test_one_agent_a_node(node, agent):
    second = node.run("warren-agent", "--manifests", MANIFESTS, "--metrics", "off", check=False)
    assert second.returncode == 1 and "another agent runs on this node" in second.stderr
    assert agent.status()["synced"]


def test_bad_starts(node, agent):
    agent.stop()
    for args, status, text in (
        ([], 2, "no source of objects"),
        (["--manifests", "/nowhere", "--metrics", "off"], 1, "/nowhere"),
        (["--manifests", "/run", "--metrics", "127.0.0.1"], 1, "not IPV4:PORT"),
        (["--manifests", "/run", "--metrics", "[127.0.0.1]:80"], 1, "not IPV4:PORT"),
        (["--manifests", "/run", "--metrics", "off", "--cluster-key", "/run/nokey"], 1, "/run/nokey"),
        (["--manifests", "/run", "--log-file", "/nowhere/log"], 1, "/nowhere/log"),
    ):
        done = node.run("warren-agent", *args, check=False)
        assert (done.returncode, text in done.stderr) == (status, True), (args, done.stderr)


def test_node_that_is_taken_down(agent, node):
    node.warren("node", "down")
    assert agent.ended() == 1
    agent.start()
    assert agent.status()["enforced"]


def test_key_decides_identities(node, agent, make):
    pod = make("web", {"app": "web"})
    first = agent.endpoint(pod)["identity"]
    agent.stop()
    node.outside("/run/key").write_text("00112233445566778899aabbccddeeff\n")
    with Agent(node, "--cluster-key", "/run/key") as other:
        assert other.endpoint(pod)["identity"] != first
        other.stop()
    agent.start()
    assert agent.endpoint(pod)["identity"] == first


# --- what is wrong with manifests -------------------------------------------------------------------------------------


def test_broken_manifest_keeps_its_previous_version(node, agent, make):
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    agent.write("policy.json", only_from(app="admin"))
    agent.wait_applied()
    agent.write("policy.json", "{ not json")
    wait_for(lambda: agent.status()["problems"], "a problem")
    assert [c["subject"].rpartition("/")[2] for c in agent.status()["problems"]] == ["policy.json"]
    assert connected_families(web, db) == []
    wrong = [c for c in node.warren_json("status", check=False)["checks"] if c["state"] == "wrong"]
    assert node.warren("status", check=False).returncode != 0 and [c["check"] for c in wrong] == ["manifest"]
    assert wrong[0]["detail"].startswith("policy.json: ") and "stays enforced" in wrong[0]["remedy"]
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    assert agent.status()["problems"] == [] and connected_families(web, db) == [4, 6]


def test_invalid_policy_isolates(node, agent, make):
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    bad = policy("bad", {"app": "db"}, ingress=[{"ports": [{"port": 99999}]}])
    agent.write("policy.json", bad)
    agent.wait_applied()
    assert agent.status()["counts"]["policies_invalid"] == 1
    answer = agent.ask("policies")["policies"]
    assert len(answer) == 1 and "ports[0].port" in answer[0]["invalid"]
    assert connected_families(web, db) == [] and connected_families(db, web) == []
    assert node.warren("status", check=False).returncode != 0


# --- the socket -------------------------------------------------------------------------------------------------------


def test_socket_is_roots(node, agent):
    path = node.outside(SOCKET)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_answers_hold_everything(agent, make):
    make("web", {"app": "web"}), make("db", {"app": "db"})
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    identities = {i["labels"]["app"]: i for i in agent.ask("identities")["identities"]}
    web = identities["web"]
    assert web["peer_class"] and web["selectors"] == ["default/app=web"] and web["pods"] == 1
    assert identities["db"]["peer_class"] is None and not identities["db"]["collision"]
    (found,) = agent.ask("policies")["policies"]
    assert (found["namespace"], found["name"], found["selector"], found["isolates"]) == ("default", "only", "app=db", ["ingress"])
    assert found["rules"]["ingress"] == [{"peers": [{"namespaces": None, "pods": "app=web"}], "ports": []}]
    assert found["endpoints"] == identities["db"]["endpoints"] and found["entries"] == 1 and found["invalid"] is None
    (cls,) = found["classes"]
    assert cls["class"] >= 16 and not cls["denied"]


GARBAGE = [
    b"\n",
    b"garbage\n",
    b"{}\n",
    b"[" * 10000 + b"\n",
    b'{"method": "nonsense"}\n',
    b'{"method": "endpoint"}\n',
    b'{"method": "status", "method": "status"}\n',
    b"\xff\xfe\x00\n",
    b'{"method": "' + b"x" * 10000 + b'"}\n',
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_answered(agent, garbage):
    with agent.connect() as sock:
        sock.sendall(garbage)
        answer = json.loads(agent.receive(sock))
        assert answer["error"]["errno"] == errno.EINVAL and answer["error"]["message"]
        assert sock.recv(1) == b""
    assert agent.status()["synced"]


def test_socket_abuse_disturbs_no_other_client(agent):
    """Half requests, oversized ones, clients that never read, and that hang up: the others are served meanwhile."""
    with contextlib.ExitStack() as stack:
        for n in range(50):
            sock = stack.enter_context(agent.connect())
            sock.sendall((b"", b"{", b'{"method": "status"', b'{"method": "identities"}\n')[n % 4])
        big = stack.enter_context(agent.connect())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(40):
                big.sendall(b"x" * 65536)
        assert json.loads(agent.receive(big))["error"]["errno"] == errno.EMSGSIZE
        for _ in range(50):
            agent.connect().close()
        assert agent.status()["synced"]
    fds = f"/proc/{agent.pid}/fd"
    few = len(os.listdir(fds))
    for _ in range(100):
        with agent.connect() as sock:
            sock.sendall(b'{"method": "status"}\n')
    wait_for(lambda: len(os.listdir(fds)) <= few, "the connections to be forgotten")


def test_half_closed_client_gets_its_reply(agent):
    with agent.connect() as sock:
        sock.sendall(b'{"method": "status"}\n')
        sock.shutdown(socket.SHUT_WR)
        assert json.loads(agent.receive(sock))["synced"]


def test_waiting_for_an_endpoint(agent, make):
    """The pod's object comes late: callers get the reply when its policy is enforced, many at once."""
    pod = make("late", manifest=False, policyTimeout=0)
    assert agent.endpoint(pod)["state"] == "quarantine"
    early = agent.ask("endpoint", container=pod.container, ifname="eth0", wait_ms=0)
    assert early["error"]["errno"] == errno.EAGAIN and "there is no pod default/late" in early["error"]["message"]
    answers = []

    def wait():
        answers.append(agent.ask("endpoint", container=pod.container, ifname="eth0", wait_ms=60000))

    threads = [threading.Thread(target=wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    with agent.connect() as sock:  # one that hangs up
        sock.sendall(f'{{"method": "endpoint", "container": "{pod.container}", "ifname": "eth0", "wait_ms": 60000}}\n'.encode())
    began = time.monotonic()
    agent.write("pod-late.json", pod_object("late", {"app": "late"}))
    for thread in threads:
        thread.join()
    assert answers == [{}] * 20 and time.monotonic() - began < TIMEOUT
    assert agent.endpoint(pod)["state"] == "not isolated"


def test_waiting_ends_in_time(agent):
    began = time.monotonic()
    answer = agent.ask("endpoint", container="unknown", ifname="eth0", wait_ms=300)
    assert answer["error"]["errno"] == errno.EAGAIN and "unknown@eth0" in answer["error"]["message"]
    assert 0.29 <= time.monotonic() - began < 20  # the loop's clock is read once an iteration, in milliseconds


def test_stale_socket_is_replaced(agent):
    agent.kill()
    with pytest.raises(ConnectionRefusedError):
        agent.connect()
    agent.start()
    assert agent.status()["synced"]


def test_says_what_conntrack_takes():
    """With auto the loaded size stays; with another number the agent ends with an error."""
    with Lab() as other:
        other.node.warren("node", "init", "--ct-entries", "2048")
        with Agent(other.node) as agent:
            assert "conntrack has room for 2048 flows of each family, which take 0 MiB when it is full, as loaded before; auto is" \
                in agent.log.read_text(encoding="utf-8")
        with Agent(other.node, "--ct-entries", "4096", wait=False) as agent:
            assert agent.proc.wait(TIMEOUT) == 1
            assert "room for 2048 flows, not 4096" in agent.log.read_text(encoding="utf-8")


# --- room -------------------------------------------------------------------------------------------------------------


def test_no_room_denies_and_comes_back(node, agent, make):
    agent.stop()
    with Agent(node, "--max-policy-entries", "3") as small:
        web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
        ports = [{"port": 1 + 2 * n} for n in range(6)]
        small.write("big.json", policy("big", {"app": "web"}, ingress=[{"ports": ports}]))
        small.write("small.json", only_from(app="web"))
        status = small.wait_applied()
        assert status["classes_denied"] == 1
        assert small.endpoint(web)["state"] == "denied" and small.endpoint(db)["state"] == "enforced"
        assert connected_families(web, db) == [4, 6] and connected_families(db, web) == []
        assert small.metrics()["warren_policy_classes_denied"][()] == 1
        assert node.warren("status", check=False).returncode != 0
        small.write("big.json", policy("big", {"app": "web"}, ingress=[{}]))
        assert small.wait_applied()["classes_denied"] == 0
        assert connected_families(db, web) == [4, 6]
        small.stop()


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_large_cluster(node, agent, make):
    """1,000 policies and 5,000 pods: in 24 MB, and at once."""
    apps = [f"app{n}" for n in range(20)]
    for n in range(50):
        objects = [pod_object(f"ns{n}/p{i}", {"app": apps[i % 20], "unique": f"u{n}-{i}"}) for i in range(100)]
        agent.write(f"pods{n}.json", namespace(f"ns{n}", team=f"t{n % 7}"), *objects)
        rules = [sources(pods(app=apps[n % 20]), namespaces(team=f"t{n % 7}"), block(f"10.{n}.0.0/16", f"10.{n}.1.0/24"))]
        agent.write(f"policies{n}.json", *[policy(f"ns{n}/p{i}", {"app": app}, ingress=rules) for i, app in enumerate(apps)])
    web = make("web", {"app": "web"})
    agent.write("policy.json", *[policy(f"p{i}", {"app": "web"}, ingress=[sources(namespaces(team=f"t{i}"))]) for i in range(7)])
    status = agent.wait_applied(2 * TIMEOUT)
    assert (status["counts"]["pods"], status["counts"]["policies"]) == (5001, 1007)
    assert agent.endpoint(web)["state"] == "enforced"
    assert len(agent.ask("identities")["identities"]) == 5001 and len(agent.ask("policies")["policies"]) == 1007
    assert agent.status()["rss_bytes"] < 24e6
    agent.restart()
    status = agent.status()
    assert status["rss_bytes"] < 24e6
    assert status["compile_us"] / 1000 < COMPILE_MS


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics(node, agent, make):
    web, db = make("web", {"app": "web"}), make("db", {"app": "db"})
    agent.write("policy.json", only_from(app="web"))
    agent.wait_applied()
    before = agent.metrics()
    assert connected_families(web, db) == [4, 6]
    after = agent.metrics()
    key = (("direction", "egress"), ("kind", "pass"), ("reason", "to_endpoint"))
    assert after["warren_packets_total"][key] > before["warren_packets_total"][key]
    assert after["warren_bytes_total"][key] > before["warren_bytes_total"][key]
    assert after["warren_endpoints"][(("state", "enforced"),)] == 1
    assert after["warren_endpoints"][(("state", "not_isolated"),)] == 1
    assert after["warren_objects"][(("kind", "Pod"),)] == 2
    assert after["warren_objects"][(("kind", "NetworkPolicy"),)] == 1
    assert after["warren_policy_revision"][()] == agent.status()["revision"]
    for name in ("policy", "identities", "classes", "ct_new4", "ct_new6", "addr4"):
        entries, capacity = (after[f"warren_map_{what}"][(("map", name),)] for what in ("entries", "capacity"))
        assert 0 < entries <= capacity, name
    assert after["warren_policy_latency_seconds_count"][()] >= 3
    assert 1e6 < after["process_resident_memory_bytes"][()] < 48e6
    assert after["warren_conntrack_events_total"][(("event", "created"),)] > 0


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b"405"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /healthz?verbose=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"200"),
        (b"HEAD /readyz HTTP/1.0\r\n\r\n", b"200"),
        (b"POST /readyz HTTP/1.0\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"GET /readyz/ HTTP/1.0\r\n\r\n", b"404"),
        (b"nonsense\r\n\r\n", b"4"),
    ],
)
def test_metrics_http(agent, request_, status):
    answer = agent.http(request_)
    assert answer == b"" or answer.split(b" ")[1].startswith(status), answer
    assert agent.metrics()


def probe(agent, path):
    """(status, body) of a kubelet's probe."""
    head, _, body = agent.http(f"GET {path} HTTP/1.0\r\n\r\n".encode()).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body.decode()


def test_ready_when_policy_is_enforced(node, agent):
    """A file that was broken from the start may hold any policy: the agent stays alive, and reports what it waits for."""
    assert probe(agent, "/healthz") == probe(agent, "/readyz") == (200, "ok\n")
    agent.kill()
    agent.write("broken.json", "{")
    agent.start(wait=False)

    def answers():
        with contextlib.suppress(ConnectionRefusedError):  # its predecessor's socket
            return agent.status()

    wait_for(answers, "the agent to answer")
    assert probe(agent, "/healthz") == (200, "ok\n")
    assert probe(agent, "/readyz") == (503, "objects: not all of them have been read yet\n")
    agent.remove("broken.json")
    agent.wait_notified("READY=1")
    assert probe(agent, "/readyz") == (200, "ok\n")


@pytest.mark.parametrize("address", ["127.0.0.1:9962", "[::1]:9962"])
def test_metrics_by_tcp(node, agent, address):
    agent.stop()
    with Agent(node) as other:
        other.stop()
        other.args[other.args.index(f"unix:{METRICS}")] = address
        other.start()
        host, _, port = address.rpartition(":")
        with node.tcp_connect(host.strip("[]"), int(port)) as sock:
            sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            data = b""
            while more := sock.recv(65536):
                data += more
        assert parse_metrics(data.partition(b"\r\n\r\n")[2].decode())["warren_build_info"]
        other.stop()
