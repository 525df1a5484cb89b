# SPDX-License-Identifier: BSD-2-Clause
"""`warren monitor` and `warren flows --follow` in a node."""

import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from netns import TIMEOUT


class Stream:
    """A command of `warren` that prints JSON, line by line. `ready`: what it says on stderr when it begins."""

    def __init__(self, node, *args, ready):
        self.proc = node.popen("warren", *args, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pending, self.status = b"", None
        line = self.proc.stderr.readline()
        assert line.startswith(ready), line

    def next(self, timeout=TIMEOUT):
        """The next event, or None if there is none in time."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                return None
            data = os.read(self.proc.stdout.fileno(), 65536)
            assert data, f"it ended: {self.proc.stderr.read().decode()}"
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        event = json.loads(line)
        return self.next(deadline - time.monotonic()) if self.is_noise(event) else event

    @staticmethod
    def is_noise(event):
        return False

    def wait(self, match, timeout=TIMEOUT):
        """The first event for which match(event) holds; None if it never comes."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            event = self.next(left)
            if event and match(event):
                return event
        return None

    def close(self):
        """Interrupts it, once; its exit status."""
        if self.status is not None:
            return self.status
        # nsenter waits for the program itself, which is what is to end.
        for child in Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        self.status = self.proc.wait(TIMEOUT)
        self.proc.stdout.close()
        self.proc.stderr.close()
        return self.status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Monitor(Stream):
    """`warren monitor --json`: its events as they come."""

    def __init__(self, node, *args):
        super().__init__(node, "monitor", *args, ready=b"listening")

    @staticmethod
    def is_noise(event):
        """A kernel's own MLD report (see moved())."""
        return event["headers"].get("destination") == "ff02::16" and event["headers"].get("source") == "::"

    def wait_flow(self, sock, ends=("source_port", "destination_port")):
        """The first event of a packet of this socket's, either way: not one of a connection of another test, which still
        sends while it closes.
        """
        protocol, port = "tcp" if sock.type == socket.SOCK_STREAM else "udp", sock.getsockname()[1]

        def is_its(event):
            headers = event["headers"]
            return headers.get("protocol") == protocol and port in (headers.get(end) for end in ends)

        return self.wait(is_its)

    def wait_sent(self, sock):
        """The first event of a packet that this socket has sent. (What the other end has sent before, TCP sends again.)"""
        return self.wait_flow(sock, ends=("source_port",))


class Drops(Monitor):
    """Events of drops only."""

    def __init__(self, node):
        super().__init__(node, "--drops")

    def drain(self):
        """What has been printed so far."""
        events = []
        while event := self.next(0.001):
            events.append(event)
        return events
