# SPDX-License-Identifier: BSD-2-Clause
"""What test_figures.py measures with: a table of what came out, curl as the measure of a list, an agent that starts."""

import contextlib
import os
import selectors
import statistics
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from kube_cluster import AGENTS, agent_pids, agents_ready, is_of, replace_agent, wait_agents


class Table:
    """Everything that was measured, printed at once as it comes and together at the end."""

    def __init__(self):
        self.rows = []

    def add(self, what, value, unit, goal=None, note=""):
        """A goal is a limit from above. `note`: under which conditions, or from what it was made."""
        self.rows.append((what, value, unit, goal, note))
        print(f"\n{self.line(self.rows[-1])}", end="", flush=True)

    @staticmethod
    def line(row):
        what, value, unit, goal, note = row
        met = "" if goal is None else f"<= {goal:g}" + ("" if value <= goal else "  MISSED")
        return f"{what:84} {value:10.2f} {unit:6} {met:16} {note}".rstrip()

    def __str__(self):
        load = " ".join(Path("/proc/loadavg").read_text().split()[:3])
        return "\n".join(["", f"load of the machine, {os.cpu_count()} processors: {load}", *map(self.line, self.rows)])


def quantiles(seconds):
    """p50 and p99 in ms."""
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1e3, cuts[98] * 1e3


# --- processes ---------------------------------------------------------------------------------------------------------------


def stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu(pid):
    """Seconds of processor time so far."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def age(pid):
    """Seconds since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat(pid)[19]) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    """MB: all that is resident, the anonymous part of it, and its proportional part of shared mappings."""
    status = Path(f"/proc/{pid}/status").read_text() + Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {key: int(status.partition(f"\n{key}:")[2].split()[0]) / 1024 for key in ("VmRSS", "RssAnon", "Pss")}


def began(pid):
    """When it was started, by the clock that logs go by."""
    return time.time() - age(pid)


def enforced_since(cluster, node, begin):
    """When its agent, which was started then, logged that policy is enforced, to the millisecond."""
    item = next(agent for agent in cluster.api.list("Pod", **AGENTS) if is_of(agent, node))
    log = cluster.kubectl("logs", "-n", AGENTS["namespace"], item["metadata"]["name"], "-c", "agent", check=False).stdout
    times = [datetime.fromisoformat(line.split()[0]).timestamp() for line in log.splitlines() if "policy is enforced" in line]
    return next((since for since in times if since >= begin), None)


def agent_starts(cluster, node):
    """A new agent instead of the running one: seconds until it logs that policy is enforced, and the processor time
    until then.
    """
    wait_agents(cluster, agents_ready, "the agents", 120)
    old, deadline = agent_pids(cluster, node)[node], time.monotonic() + 180
    replace_agent(cluster, node)
    while time.monotonic() < deadline:
        # One that the kubelet has restarted in the old pod may still end.
        with contextlib.suppress(OSError, KeyError, ValueError, StopIteration):
            pid = agent_pids(cluster, node)[node]
            while pid not in (None, old) and time.monotonic() < deadline:
                if not cluster.machine(node).agent.status()["enforced"]:
                    time.sleep(0.1)  # the replies are part of its processor time
                    continue
                begin, used = began(pid), cpu(pid)
                if since := enforced_since(cluster, node, begin):
                    return since - begin, used
        time.sleep(0.1)
    raise AssertionError(f"no agent on {node} logs that policy is enforced")


# --- curl --------------------------------------------------------------------------------------------------------------------

LISTED = b"k8s.io/initial-events-end"
WATCH = "watch=true&allowWatchBookmarks=true&timeoutSeconds=300&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
PROTOBUF = "Accept: application/vnd.kubernetes.protobuf;stream=watch"
RUNNING = "spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed"
SERVED = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"


def streams(node, everything):
    """What an agent follows."""
    def of(path, **selectors):
        return f"{path}?{''.join(f'{key}={quote(value)}&' for key, value in selectors.items())}{WATCH}"

    yield of("/api/v1/pods", fieldSelector=f"spec.nodeName={node},{RUNNING}")
    if everything:
        yield of("/api/v1/pods", fieldSelector=f"spec.nodeName!={node},spec.nodeName!=,{RUNNING}")
    for path in ("/api/v1/namespaces", "/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/nodes", "/api/v1/services"):
        yield of(path)
    yield of("/apis/discovery.k8s.io/v1/endpointslices", labelSelector=SERVED)


def curl(cluster, node, *argv):
    pki, netns = cluster.pki, f"--net=/proc/{cluster.machine(node).pid}/ns/net"
    keys = [f"--{option}={pki}/{file}" for option, file in (("cacert", "ca.crt"), ("cert", "admin.crt"), ("key", "admin.key"))]
    keys = [part for key in keys for part in key.split("=", 1)]
    return subprocess.Popen(["nsenter", netns, "curl", "-sN", *keys, "-H", PROTOBUF, *argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def address(path):
    return f"https://10.10.0.10:6443{path}"


def _follow(process):
    tail = b""
    while LISTED not in tail:
        data = os.read(process.stdout.fileno(), 1 << 20)
        assert data, f"it ended: {tail}"
        tail = tail[-len(LISTED):] + data
    process.kill()


def curl_lists(cluster, node, everything):
    """Seconds until as many curls as there are streams have each got their list."""
    begin = time.monotonic()
    processes = [curl(cluster, node, address(path)) for path in streams(node, everything)]
    threads = [threading.Thread(target=_follow, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begin
    for process in processes:
        process.wait()
        process.stdout.close()
    return took


class Watcher:
    """What one more agent would follow, of a node that is an object only; by a curl of its own."""

    def __init__(self, cluster, node, name):
        paths = list(streams(name, False))
        parallel = ("--http2", "--parallel", "--parallel-max", str(len(paths)))  # one connection, as an agent has it
        self.process = curl(cluster, node, *parallel, *map(address, paths))
        self.left, self.tail = len(paths), b""

    def read(self):
        data = os.read(self.process.stdout.fileno(), 1 << 18)
        self.left -= (self.tail + data).count(LISTED)
        self.tail = (self.tail + data)[1 - len(LISTED):]
        return bool(data)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def _drain(selector, watchers, listed, over):
    while not over.is_set():
        for key, _ in selector.select(0.5):
            if not key.data.read():
                selector.unregister(key.fileobj)
        if all(watcher.left <= 0 for watcher in watchers):
            listed.set()


@contextlib.contextmanager
def watchers(cluster, node, count):
    """So many, which all have got their lists."""
    running, selector = [Watcher(cluster, node, f"fake-{i:04}") for i in range(count)], selectors.DefaultSelector()
    for watcher in running:
        selector.register(watcher.process.stdout, selectors.EVENT_READ, watcher)
    listed, over = threading.Event(), threading.Event()
    reader = threading.Thread(target=_drain, args=(selector, running, listed, over))
    reader.start()
    try:
        assert listed.wait(120), f"{sum(watcher.left > 0 for watcher in running)} watchers have not got everything"
        yield
        assert len(selector.get_map()) == count, "watchers have ended"
    finally:
        over.set()
        reader.join()
        selector.close()
        for watcher in running:
            watcher.close()
