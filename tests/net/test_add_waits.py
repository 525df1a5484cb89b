# SPDX-License-Identifier: BSD-2-Clause
"""ADD with `policy: agent` waits for the agent's reply: however the agent behaves, ADD ends in time, in one of two
ways.
"""

import contextlib
import json
import os
import queue
import select
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent import SOCKET
from lab import Lab, network
from netns import TIMEOUT

TRY_AGAIN = 11
WAIT = 1  # seconds: policyTimeout of tests that let it pass
LONG = 50  # ... and of those that must not reach it
SLACK = 20  # margin for ADD's own work on a loaded machine

MODES = ("quarantine", "fail")


class Question:
    """One request: its content, the process that sent it, and the connection for the reply."""

    def __init__(self, conn, asked):
        self.conn, self.asked = conn, asked
        credentials = conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid = struct.unpack("3i", credentials)[0]

    def answer(self, value=None):
        self.conn.sendall(json.dumps(value or {}).encode() + b"\n")


class FakeAgent:
    """A socket where the agent's would be; `serve(question, ended)` handles each request, in a thread."""

    def __init__(self, node, serve):
        self.serve, self.questions, self.ended = serve, queue.Queue(), threading.Event()
        self.path = node.outside(SOCKET)
        self.conns, self.threads = [], []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(self.path))
        self.sock.listen(64)
        self._start(self._accept)

    def _start(self, target, *args):
        self.threads.append(threading.Thread(target=target, args=args))
        self.threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while not self.ended.is_set():
                conn, _ = self.sock.accept()
                self.conns.append(conn)
                self._start(self._talk, conn)

    def _talk(self, conn):
        with contextlib.suppress(OSError), conn, conn.makefile("rb") as lines:
            question = Question(conn, json.loads(lines.readline()))
            self.questions.put(question)
            self.serve(question, self.ended)

    def close(self):
        self.ended.set()
        for sock in [self.sock, *self.conns]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.sock.close()
        self.path.unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- how agents behave ------------------------------------------------------------------------------------------------


def answers(question, ended):
    question.answer()


def answers_when_released(release):
    def serve(question, ended):
        release.wait(LONG)
        question.answer()

    return serve


def never(question, ended):
    ended.wait()


def sends(data):
    """Sends this and hangs up."""
    return lambda question, ended: question.conn.sendall(data)


def sends_and_waits(data):
    def serve(question, ended):
        question.conn.sendall(data)
        ended.wait()

    return serve


def dribbles(question, ended):
    while not ended.wait(0.05):
        question.conn.sendall(b" ")


def floods(question, ended):
    """The beginning of a reply, without end."""
    question.conn.sendall(b'{"x": "')
    while not ended.is_set():
        question.conn.sendall(b"x" * 65536)


REFUSAL = {"error": {"errno": 110, "message": "pod shop/web is unknown", "hint": "apply its manifest"}}

# name: (behaviour, part of the message, whether ADD times out)
BAD = {
    "refuses": (sends(json.dumps(REFUSAL).encode() + b"\n"), "pod shop/web is unknown", False),
    "hangs up": (sends(b""), "", False),
    "half a line": (sends(b'{"a": '), "", False),
    "garbage": (sends(b"\xff\x00{]\n"), "", False),
    "no object": (sends(b"[]\n"), "", False),
    "an error without form": (sends(b'{"error": 7}\n'), "", False),
    "never": (never, "", True),
    "half a line and silence": (sends_and_waits(b'{"a": '), "", True),
    "dribbles": (dribbles, "", True),
    "floods": (floods, "", None),
}


# --- ADD --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        lab.node.warren("node", "init")
        lab.node.outside("/run/warren").mkdir(exist_ok=True)
        yield lab


@pytest.fixture(autouse=True)
def nothing_left(node):
    yield
    node.assert_clean()


@pytest.fixture
def attach(node):
    """ADDs by name, each into a namespace of its own; pods that are left at the end are deleted."""
    made = {}

    class Attach:
        path = staticmethod(lambda name: f"/run/netns/{name}")

        def make(self, name):
            made[name] = network(policy="agent")
            return node.netns_add(name)

        def add(self, name, failure="quarantine", wait=WAIT, **extra):
            """(result, seconds it took)."""
            if name not in made:
                self.make(name)
            made[name] = network(policy="agent", policyTimeout=wait, policyFailure=failure, **extra)
            begin = time.monotonic()
            done = self.call("ADD", name)
            return done, time.monotonic() - begin

        def call(self, command, name, **extra):
            args = f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name};K8S_POD_UID=uid-{name}"
            return node.cni(command, {**made[name], **extra}, name, "eth0", self.path(name), args)

        def delete(self, name):
            done = self.call("DEL", name)
            assert done.ok, done
            node.netns_delete(self.path(name))
            del made[name]

    attach = Attach()
    yield attach
    for name in list(made):
        attach.delete(name)


def record(node, state, container):
    return json.loads(node.outside(f"/run/warren/attachments/{state}/{container}@eth0").read_text())


def assert_quarantined(node, name):
    endpoint = {e["pod"]: e for e in node.warren_json("endpoint", "list")}[f"shop/{name}"]
    assert endpoint["class"] == 0, endpoint


@pytest.mark.parametrize("how", BAD)
def test_agent_misbehaves(node, attach, how):
    """Both settings of policyFailure at the same time: a pod in quarantine with one line of log, or an error and
    nothing.
    """
    serve, message, in_vain = BAD[how]
    with FakeAgent(node, serve), ThreadPoolExecutor(2) as pool:
        for name in MODES:
            attach.make(name)
        wait = LONG if in_vain is False else WAIT
        (stays, took), (fails, took_too) = pool.map(lambda mode: attach.add(mode, failure=mode, wait=wait), MODES)
    for seconds in (took, took_too):
        assert seconds < WAIT + SLACK
        assert seconds >= WAIT or not in_vain, seconds
    assert stays.ok, stays
    (line,) = stays.stderr.splitlines()
    assert "in quarantine" in line and message in line, line
    checked = attach.call("CHECK", "quarantine", prevResult=stays.json)
    assert checked.ok, checked
    assert record(node, "ready", "quarantine")["agent"] is True
    assert_quarantined(node, "quarantine")
    assert not fails.ok and fails.json["code"] == TRY_AGAIN, fails
    assert "policy is not enforced" in fails.json["msg"] and message in fails.json["msg"], fails.json
    attach.delete("quarantine")
    node.assert_clean()


@pytest.mark.parametrize("what", ["nothing", "a dead agent's socket", "a file", "a full queue"])
def test_no_agent(node, attach, what):
    """Reported at once, not after the timeout; an agent that does not accept in time is not absent."""
    path = node.outside(SOCKET)
    with contextlib.ExitStack() as stack:
        if what != "nothing":
            stack.callback(path.unlink)
        if what == "a dead agent's socket":
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(path))
        elif what == "a file":
            path.write_text("")
        elif what == "a full queue":
            deaf = stack.enter_context(socket.socket(socket.AF_UNIX))
            deaf.bind(str(path))
            deaf.listen(0)
            ahead = stack.enter_context(socket.socket(socket.AF_UNIX))
            ahead.connect(str(path))
        for mode in MODES:
            done, took = attach.add(mode, failure=mode, wait=WAIT if what == "a full queue" else LONG)
            assert took < WAIT + SLACK
            assert done.ok == (mode == "quarantine"), done
            assert done.ok or done.json["code"] == TRY_AGAIN, done
            assert ("no agent runs" in done.stderr) == (what != "a full queue"), done
    assert node.cni("STATUS", network(policy="agent")).ok
    assert_quarantined(node, "quarantine")


def test_waits_for_the_answer(node, attach):
    """ADD returns with the reply and not before; when it sends the request, the pod's state is complete."""
    release = threading.Event()
    labels = [{"key": "app", "value": "web"}, {"key": "empty", "value": ""}]
    with FakeAgent(node, answers_when_released(release)) as agent, ThreadPoolExecutor(1) as pool:
        adding = pool.submit(attach.add, "late", failure="fail", wait=LONG, args={"cni": {"labels": labels}})
        question = agent.questions.get(timeout=TIMEOUT)
        assert question.asked == {"method": "endpoint", "container": "late", "ifname": "eth0", "wait_ms": LONG * 1000}
        found = record(node, "adding", "late")
        (endpoint,) = node.warren_json("endpoint", "list")
        assert found["agent"] is True and found["hostIfindex"] == endpoint["id"]
        assert json.loads(found["labels"]) == {"app": "web", "empty": ""}
        assert (found["podNamespace"], found["podName"], found["podUID"]) == ("shop", "late", "uid-late")
        assert endpoint["class"] == 0
        # Its own host reaches it already.
        for address in found["ips"]:
            node.ping(address)
        assert not select.select([question.conn], [], [], 0)[0], "it hung up"
        assert not adding.done()
        release.set()
        done, _ = adding.result()
    assert done.ok and done.stderr == "", done
    assert record(node, "ready", "late")["agent"] is True


def test_huge_answer(node, attach):
    with FakeAgent(node, sends(b'{"x": "' + b"x" * (4 << 20) + b'"}\n')):
        done, _ = attach.add("huge", failure="fail", wait=LONG)
    assert done.ok and done.stderr == "", done


def test_no_request(node, attach):
    """policyTimeout 0: quarantine is configured. No policy: no request."""
    with FakeAgent(node, never) as agent:
        done, took = attach.add("zero", wait=0)
        assert done.ok and done.stderr == "" and took < SLACK, done
        assert_quarantined(node, "zero")
        pod = node.pod("none", network())
        pod.delete()
        assert agent.questions.empty()


def test_ten_wait_together(node, attach):
    """None of them waits for another."""
    names = [f"p{i}" for i in range(10)]
    for name in names:
        attach.make(name)
    together = threading.Barrier(len(names), timeout=TIMEOUT)

    def serve(question, ended):
        together.wait()
        question.answer()

    with FakeAgent(node, serve), ThreadPoolExecutor(len(names)) as pool:
        done = list(pool.map(lambda name: attach.add(name, failure="fail", wait=LONG)[0], names))
    assert [d for d in done if not d.ok] == []
    assert len({ip["address"] for d in done for ip in d.json["ips"]}) == 20


def test_others_go_on_meanwhile(node, attach):
    """A waiting ADD holds no lock that another call needs."""
    release = threading.Event()
    with FakeAgent(node, answers_when_released(release)) as agent, ThreadPoolExecutor(1) as pool:
        adding = pool.submit(attach.add, "slow", wait=LONG)
        agent.questions.get(timeout=TIMEOUT)
        other = node.pod("other", network())
        other.check()
        assert node.cni("STATUS", network()).ok
        assert node.cni("GC", {**network(), "cni.dev/valid-attachments": []}).ok
        other.delete()
        assert not adding.done()
        release.set()
        assert adding.result()[0].ok


@pytest.mark.parametrize("then", ["DEL", "GC", "ADD"])
def test_killed_while_it_waits(node, attach, then):
    with FakeAgent(node, never) as agent, ThreadPoolExecutor(1) as pool:
        adding = pool.submit(attach.add, "killed", wait=LONG)
        os.kill(agent.questions.get(timeout=TIMEOUT).pid, signal.SIGKILL)
        assert not adding.result()[0].ok
    assert record(node, "adding", "killed")["agent"] is True
    if then == "GC":
        node.netns_delete(attach.path("killed"))
        done = node.cni("GC", {**network(policy="agent"), "cni.dev/valid-attachments": []})
        assert done.ok, done
        node.assert_clean()
        node.netns_add("killed")
    elif then == "ADD":
        with FakeAgent(node, answers):
            done, _ = attach.add("killed", failure="fail", wait=LONG)
        assert done.ok, done
    else:
        assert attach.call("DEL", "killed").ok
        node.assert_clean()
