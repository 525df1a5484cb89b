# SPDX-License-Identifier: BSD-2-Clause
"""How soon a policy change affects a flow."""

import contextlib
import select
import time

from manifests import pods as with_labels
from manifests import policy, sources


class Stream:
    """A flow whose packets are noted by the time they were sent at, and by whether they arrived."""

    def __init__(self, client, server):
        self.client = client
        self.b = server.udp(4, address=server.ips[4])
        self.a = client.udp(4)
        self.a.connect((server.ips[4], self.b.getsockname()[1]))
        for sock in (self.a, self.b):
            sock.setblocking(False)

    def turn(self):
        """Sends one: (when, whether it arrived)."""
        when = time.monotonic()
        with contextlib.suppress(ConnectionRefusedError):
            self.a.send(b"x")
        arrived = bool(select.select([self.b], [], [], 0.001)[0])
        if arrived:
            self.b.recv(16)
        return when, arrived

    def until(self, passes, since, lasting=20):
        """Seconds from `since` to the first of so many packets in a row with that outcome."""
        run, first = 0, 0.0
        deadline = time.monotonic() + 30
        while run < lasting:
            when, arrived = self.turn()
            assert when < deadline, "it never comes"
            if arrived == passes:
                first = first if run else when
                run += 1
            else:
                run = 0
        return max(0.0, first - since)

    def close(self):
        self.a.close()
        self.b.close()


class NewFlows(Stream):
    """The same, but each packet opens a flow: this shows a change also where established flows continue."""

    def turn(self):
        begin = time.monotonic()
        self.a.close()
        self.a = self.client.udp(4)
        self.a.setblocking(False)
        self.a.connect(self.b.getsockname())
        result = super().turn()
        time.sleep(max(0, begin + 0.001 - time.monotonic()))  # a flow each millisecond: the agents need the processor
        return result


def policy_times(api, space, name, stream, turns, pause=0):
    """Seconds from the API's reply until a policy that isolates pod `name` takes effect, and until its removal does."""
    applied, deleted = [], []
    item = policy(f"{space}/{name}", {"app": name}, ingress=[sources(with_labels(app="none"))])
    for _ in range(turns):
        time.sleep(pause)
        api.create(item)
        applied.append(stream.until(False, time.monotonic()))
        time.sleep(pause)
        api.delete("NetworkPolicy", name, space)
        deleted.append(stream.until(True, time.monotonic()))
    return applied, deleted


def label_times(api, space, client, name, stream, turns, pause=0):
    """The same for the label by which a policy allows the client's pod: it goes and comes back."""
    took = []
    api.apply(policy(f"{space}/{name}", {"app": name}, ingress=[sources(with_labels(app=client))]))
    stream.until(True, 0)
    for turn in range(2 * turns):
        time.sleep(pause)
        api.merge("Pod", client, {"metadata": {"labels": {"app": client if turn % 2 else "other"}}}, space)
        took.append(stream.until(turn % 2 == 1, time.monotonic()))
    api.delete("NetworkPolicy", name, space)
    return took
