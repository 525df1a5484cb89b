# SPDX-License-Identifier: BSD-2-Clause
"""The agent's own API client and source of objects, driven by hand. `place`: what has a popen(), as a network namespace."""

import json
import os
import queue
import select
import subprocess
import threading
import time

from lab import BUILD
from netns import TIMEOUT


class Apictl:
    """apictl (apictl.c): commands in, events out."""

    def __init__(self, place, *args, env=None):
        self.proc = place.popen(BUILD / "tests/lib/apictl", *args, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events = queue.Queue()
        self.kept = []
        threading.Thread(target=self._read, daemon=True).start()
        self.opened = self.wait(lambda e: True)

    def _read(self):
        for line in self.proc.stdout:
            self.events.put((time.monotonic(), json.loads(line)))
        self.events.put((time.monotonic(), None))

    def do(self, *words):
        self.proc.stdin.write(" ".join(map(str, words)) + "\n")
        self.proc.stdin.flush()

    def wait(self, match, timeout=TIMEOUT):
        """The first event not yet returned for which match(event) holds; `at` is when it came."""
        for event in self.kept:
            if match(event):
                self.kept.remove(event)
                return event
        deadline = time.monotonic() + timeout
        while True:
            at, event = self.events.get(timeout=max(deadline - time.monotonic(), 0))
            assert event is not None, f"apictl has ended with {self.proc.wait()}: {self.kept}"
            event["at"] = at
            if match(event):
                return event
            self.kept.append(event)

    def done(self, name, timeout=TIMEOUT):
        return self.wait(lambda e: e["event"] == "done" and e["id"] == name, timeout)

    def data(self, name):
        return self.wait(lambda e: e["event"] == "data" and e["id"] == name)["data"]

    def get(self, path, *options, method="GET"):
        """One call, to its end."""
        self.count = getattr(self, "count", 0) + 1
        name = f"get{self.count}"
        self.do(method, name, path, *options)
        return self.done(name)

    def quit(self):
        """Its last report; it must end with status 0."""
        self.do("quit")
        end = self.wait(lambda e: e["event"] == "end")
        assert self.proc.wait(TIMEOUT) == 0
        return end

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()


class Watchctl:
    """watchctl (watchctl.c): the changes of a source of objects, as lines."""

    def __init__(self, place, *argv):
        self.process = place.popen(BUILD / "tests/lib/watchctl", *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.buffer, self.lines = b"", []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()

    def read(self, timeout):
        """One more line, or None when there is none for so long."""
        while b"\n" not in self.buffer:
            if not select.select([self.process.stdout], [], [], timeout)[0]:
                return None
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, f"watchctl has ended with {self.process.wait()}: {self.lines[-5:]}"
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        self.lines.append(line.decode())
        return self.lines[-1]

    def until(self, done, what, timeout=TIMEOUT):
        """Lines from now on until `done` is true of one; all of them."""
        end, seen = time.monotonic() + timeout, []
        while True:
            line = self.read(max(end - time.monotonic(), 0))
            assert line is not None, f"not within {timeout} s: {what}; seen: {seen[-20:]}"
            seen.append(line)
            if done(line):
                return seen

    def until_printed(self, prefixes, since=0, timeout=TIMEOUT):
        """Until there are lines with all of these prefixes, from line number `since` on."""
        missing = lambda: [p for p in prefixes if not any(line.startswith(p) for line in self.lines[since:])]
        if missing():
            self.until(lambda _: not missing(), f"all of {prefixes}", timeout)

    def say(self, command):
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def status(self):
        """({title: its figures}, figures of the process); lines before it are kept."""
        self.say("status")
        seen = self.until(lambda line: line.startswith("used "), "status")
        figures = lambda text: {k: int(v) for k, v in (w.split("=") for w in text.split() if "=" in w) if v.isdigit()}
        watches = {}
        for line in seen:
            if line.startswith("watch "):
                title, rest = line[6:].split(": ", 1)
                watches[title] = {**figures(rest.split(" problem=")[0]), "problem": rest.split(" problem=")[1]}
        return watches, figures(seen[-1][5:])
