# SPDX-License-Identifier: BSD-2-Clause
"""The agent in a node: started and ended, its directory of manifests, its socket, its metrics."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from netns import TIMEOUT, wait_for

MANIFESTS = "/run/manifests"
SOCKET = "/run/warren/agent.sock"
METRICS = "/run/metrics.sock"
NOTIFY = "/run/notify.sock"


class Agent:
    """`warren-agent` in a node, ready (its first policy is enforced) unless `wait` is False.

    It writes its log to `log` (a Path as seen from here), and serves metrics at a unix socket. `wrap` is put before the
    program. The manifests stay when the agent ends: another Agent of the same node goes on with them. `manifests` None:
    it has another source.
    """

    def __init__(self, node, *options, manifests=MANIFESTS, wait=True, wrap=(), program="warren-agent", log_level="debug"):
        self.node = node
        if manifests:
            self.dir = node.outside(manifests)
            self.dir.mkdir(parents=True, exist_ok=True)
        self.log = node.outside("/run/agent.log")
        self.args = [*wrap, program, *(["--manifests", manifests] if manifests else []), "--metrics", f"unix:{METRICS}", "--log-level", log_level]
        self.args += ["--log-file", "/run/agent.log", *options]
        self.proc = self.notify = None
        self.start(wait)

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self, wait=True):
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.node.outside(NOTIFY).unlink(missing_ok=True)
        with self.address_of(NOTIFY) as address:
            self.notify.bind(address)
        self.proc = self.node.popen(
            *self.args, env={"NOTIFY_SOCKET": NOTIFY}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if wait:
            try:
                self.wait_notified("READY=1")
            except BaseException:
                self.close()  # no caller has it yet
                raise

    def wait_notified(self, line, timeout=TIMEOUT):
        """Until the agent has notified the service manager of this; returns all the lines of that message."""
        deadline = time.monotonic() + timeout
        pid = os.pidfd_open(self.proc.pid)
        try:
            while True:
                left = deadline - time.monotonic()
                ready = select.select([self.notify, pid], [], [], max(left, 0))[0]
                if self.notify in ready:
                    lines = self.notify.recv(65536).decode().split("\n")
                    if line in lines:
                        return lines
                elif ready:
                    raise AssertionError(f"the agent ended: {self.proc.stdout.read().decode()}{self.tail()}")
                else:
                    raise AssertionError(f"timed out after {timeout} s: {line}\n{self.tail()}")
        finally:
            os.close(pid)

    def tail(self, lines=20):
        return "\n".join(self.log.read_text().splitlines()[-lines:]) if self.log.exists() else ""

    @property
    def pid(self):
        """The agent's own process id as seen from here, not that of nsenter."""
        pid = self.proc.pid
        while Path(f"/proc/{pid}/comm").read_text() != "warren-agent\n":
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                break
            pid = int(children[0])
        return pid

    def signal(self, number):
        os.kill(self.pid, number)

    def ended(self, timeout=TIMEOUT):
        """Waits for its end and returns the exit status."""
        status = self.proc.wait(timeout)
        self.proc.stdout.close()
        self.notify.close()
        self.proc = None
        return status

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self):
        """As a crash does."""
        self.signal(signal.SIGKILL)
        self.ended()

    def restart(self, kill=True):
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def close(self):
        if self.proc and self.proc.poll() is None:
            self.signal(signal.SIGKILL)
        if self.proc:
            self.ended()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- manifests --------------------------------------------------------------------------------------------------

    def write(self, name, *objects):
        self.write_into(self.dir, name, *objects)

    @staticmethod
    def write_into(directory, name, *objects):
        """Renames a manifest of these objects (dicts, or text as it is) into place."""
        text = objects[0] if len(objects) == 1 and isinstance(objects[0], str) else None
        if text is None:
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
            assert name.endswith(".json"), name
        (directory / f".{name}").write_text(text)
        (directory / f".{name}").rename(directory / name)

    def remove(self, *names):
        for name in names:
            (self.dir / name).unlink()

    def clear(self):
        for path in self.dir.iterdir():
            path.unlink()

    # --- its sockets ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def address_of(self, path):
        """Of a socket in the node, through its directory: the whole path is longer from outside than an address can be."""
        directory = os.open(self.node.outside(path).parent, os.O_PATH)
        try:
            yield f"/proc/self/fd/{directory}/{Path(path).name}"
        finally:
            os.close(directory)

    def connect(self, path=SOCKET):
        """A connection to its socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # With a full backlog connect() of a blocking socket waits, and of a nonblocking one fails at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", TIMEOUT, 0))
        try:
            with self.address_of(path) as address:
                sock.connect(address)
            sock.settimeout(TIMEOUT)
        except OSError:
            sock.close()
            raise
        return sock

    @staticmethod
    def receive(sock):
        data = b""
        while not data.endswith(b"\n"):
            more = sock.recv(1 << 20)
            if not more:
                break
            data += more
        return data

    def ask(self, method, **members):
        """One request; its reply."""
        with self.connect() as sock:
            sock.settimeout(TIMEOUT + members.get("wait_ms", 0) / 1000)
            sock.sendall(json.dumps({"method": method, **members}).encode() + b"\n")
            return json.loads(self.receive(sock))

    def status(self):
        return self.ask("status")

    def wait_applied(self, timeout=TIMEOUT):
        """Until what has been written into the manifests (and all else that had happened) is enforced.

        The agent reads its sources and its socket in one loop: if two requests in a row find nothing pending,
        everything that was there before the first one has been applied.
        """

        def settled():
            self.status()
            status = self.status()
            return status["enforced"] and not status["pending"] and status

        return wait_for(settled, "the policy to be enforced", timeout)

    def is_applied(self):
        """Whether it is so now. The agent may be dead, or die during the request."""
        with contextlib.suppress(OSError, ValueError):
            self.status()
            status = self.status()
            return status["enforced"] and not status["pending"]
        return False

    def endpoint(self, pod):
        """The agent's entry of a Pod: {class, revision, identity, state...}; None: it has none."""
        found = [e for e in self.status()["endpoints"] if e["container"] == pod.container and e["ifname"] == pod.ifname]
        return found[0] if found else None

    def identity(self, pod):
        """The number that packets carry."""
        return int(str(self.endpoint(pod)["identity"]), 0)

    # --- metrics ----------------------------------------------------------------------------------------------------

    def http(self, request):
        """The reply of its metrics server to a raw HTTP request."""
        with self.connect(METRICS) as sock:
            sock.sendall(request)
            data = b""
            while more := sock.recv(1 << 20):
                data += more
            return data

    def metrics(self):
        """{name: {(sorted labels): value}}, parsed as strictly as the format requires, of a page that was written since the
        call: the agent spends a tenth of its time on them at most, and may serve an older one. (Each has another
        process_cpu_seconds_total.)
        """
        first = self.metrics_page()
        return parse_metrics(wait_for(lambda: (page := self.metrics_page()) != first and page, "the metrics to be written again"))

    def metrics_page(self):
        head, _, body = self.http(b"GET /metrics HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
        assert b" 200 OK" in head.split(b"\r\n")[0], head
        assert b"text/plain; version=0.0.4" in head
        return body.decode()


def parse_metrics(text):
    """A strict reading of Prometheus' text format: {name: {((label, value), ...): number}}."""
    samples, types, helped, done, current = {}, {}, set(), set(), None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            assert what in ("HELP", "TYPE"), line
            if what == "HELP":
                assert name not in helped and rest, line
                helped.add(name)
            else:
                assert rest in ("counter", "gauge", "histogram") and name not in types, line
                assert name in helped and name not in done, line
                if current:
                    done.add(current)
                types[name], current = rest, name
            continue
        match = re.fullmatch(r'([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="[^"\\\n]*",?)*)\})? (\S+)', line)
        assert match, line
        name, labels, value = match.groups()
        family = re.sub(r"_(bucket|sum|count)$", "", name) if types.get(current) == "histogram" else name
        assert family == current, f"{line}: not below its TYPE"
        assert types[family] != "counter" or name.endswith("_total"), line
        key = tuple(sorted(re.findall(r'([a-z_]+)="([^"]*)"', labels or "")))
        assert key not in samples.setdefault(name, {}), line
        samples[name][key] = float(value)
    for name, kind in types.items():
        if kind != "histogram":
            assert samples.get(name), name
            continue
        buckets = [(float(dict(key)["le"]), value) for key, value in samples[f"{name}_bucket"].items()]
        assert buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets), name
        assert buckets[-1] == (float("inf"), samples[f"{name}_count"][()]), name
        assert () in samples[f"{name}_sum"]
    return samples
