# SPDX-License-Identifier: BSD-2-Clause
"""Which flows are allowed: the expectation as text, and probes that find out by real packets.

A Prober's Sides are the endpoints: pods, the nodes' hosts, addresses of the world. A Flow is one probe. Its outcome is
its reply, or the event of its drop: so no test waits for something that does not happen. A flow that is reported as
dropped must not arrive either: later packets do, and its own has not come by then.
"""

import contextlib
import errno
import itertools
import json
import os
import re
import selectors
import socket
import struct
import time
from typing import NamedTuple

from connect import fence
from lab import Pod
from monitor import Monitor
from netns import FAMILY, TIMEOUT
from packets import ECHO, ICMP, IPPROTO_SCTP, SCTP_INIT, SCTP_INIT_ACK, echo_request, flow_of, raw_payload, sctp_packet
from seed import drawn

FIRST = drawn()  # one for the process: two Probers of the same pods rely on different ports
SERVICES = ("tcp/53", "tcp/8080", "tcp/9090", "udp/53", "udp/5353", "sctp/3868", "icmp")
DENIALS = ("egress_denied", "ingress_denied")

LINGER_NONE = struct.pack("ii", 1, 0)  # a close() that leaves nothing behind: RST

# --- what is expected -------------------------------------------------------------------------------------------------


class Flow(NamedTuple):
    src: str
    dst: str
    family: int
    service: str  # "tcp/80", "icmp"

    def __str__(self):
        return f"{self.src} -> {self.dst} {self.service} v{self.family}"

    @property
    def protocol(self):
        return self.service.partition("/")[0]

    @property
    def port(self):
        return int(self.service.partition("/")[2] or 0)


class Expectation:
    """The allowed flows: lines "allow|deny SOURCES -> TARGETS [SERVICES] [v4|v6]".

    The last one that matches counts; where none does, it is allowed.

    Sources and targets are names separated by commas; "*" stands for every pod, "NAMESPACE/*" for those of a namespace,
    "outside" for world and beyond.
    """

    def __init__(self, text):
        self.lines = []
        for line in filter(None, (line.strip() for line in text.splitlines())):
            parsed = re.fullmatch(r"(allow|deny) (\S+) -> (\S+)((?: \S+)*)", line)
            assert parsed, line
            verdict, sources, targets, rest = parsed.groups()
            rest = rest.split()
            families = [int(word[1]) for word in rest if word in ("v4", "v6")] or [4, 6]
            services = [s for word in rest if word not in ("v4", "v6") for s in word.split(",")] or SERVICES
            self.lines.append((verdict == "allow", sources.split(","), targets.split(","), services, families))

    @staticmethod
    def _is_one(name, patterns):
        return any(
            name == p
            or (p == "*" and "/" in name)
            or (p == "outside" and name in ("world", "beyond"))
            or (p.endswith("/*") and name.startswith(p[:-1]))
            for p in patterns
        )

    def __call__(self, flow):
        verdict = True
        for allows, sources, targets, services, families in self.lines:
            if (
                flow.family in families
                and flow.service in services
                and self._is_one(flow.src, sources)
                and self._is_one(flow.dst, targets)
            ):
                verdict = allows
        return verdict


# --- probes -----------------------------------------------------------------------------------------------------------


class Side:
    """An endpoint of flows: a name, a network namespace, addresses."""

    def __init__(self, name, netns, addresses):
        self.name, self.netns, self.addresses = name, netns, addresses


class Outcome:
    """What became of a flow: it `passed`, or the `reason` why not; `dropped`: its first packet was reported as dropped;
    `event`: the last one about it.
    """

    def __init__(self, key):
        self.key = key  # as in Prober.watched
        self.passed, self.dropped, self.reason, self.event = False, False, None, None

    @property
    def arrival(self):
        """Its entry in Prober.arrived, if it arrives."""
        protocol, _, number, destination, port = self.key
        return protocol, number, destination, port

    def __repr__(self):
        return "passed" if self.passed else self.reason or "nothing seen"


class Prober:
    """Servers at every side, and what sends to them. One thread with an event loop."""

    BATCH = 256

    def __init__(self, *nodes, services=SERVICES):
        self.sides, self.services = {}, services
        self.selector = selectors.DefaultSelector()
        self.monitors = {}  # its standard output: a Monitor
        for node in nodes:
            monitor = Monitor(node)
            os.set_blocking(monitor.proc.stdout.fileno(), False)
            self.selector.register(monitor.proc.stdout, selectors.EVENT_READ, self._on_events)
            self.monitors[monitor.proc.stdout] = monitor
        # Each probe's own port or identifier. Another Prober of these pods has begun elsewhere.
        print(FIRST.repeat)
        first = FIRST.randrange(20000, 60000)
        self.numbers = itertools.cycle((*range(first, 60000), *range(20000, first)))
        self.raw = {}  # (side, family, protocol): socket
        self.watched = {}  # (protocol, source, source port, destination, port): Outcome
        self.arrived = set()  # (protocol, source port, destination, port): not the source, which NAT changes
        self.drops = []  # events of drops that match no flow

    # --- servers ---

    def add(self, name, netns, addresses):
        side = self.sides[name] = Side(name, netns, addresses)
        with netns.entered():
            for family, address in addresses.items():
                for service in self.services:
                    protocol, _, number = service.partition("/")
                    getattr(self, f"_serve_{protocol}")(side, family, address, int(number or 0))
        if isinstance(netns, Pod):
            self._register(side, netns.wire().sock, self._on_frames)

    def _register(self, side, sock, on_ready):
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ, (on_ready, side))

    def _serve_tcp(self, side, family, address, number):
        sock = socket.socket(FAMILY[family], socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, number))
        sock.listen(self.BATCH)
        self._register(side, sock, self._on_connection)

    def _on_connection(self, sock):
        with contextlib.suppress(OSError):
            while True:
                connection, source = sock.accept()
                self.arrived.add(("tcp", source[1], *sock.getsockname()[:2]))
                connection.close()

    def _serve_udp(self, side, family, address, number):
        sock = socket.socket(FAMILY[family], socket.SOCK_DGRAM)
        sock.bind((address, number))
        self._register(side, sock, self._on_datagram)

    def _on_datagram(self, sock):
        with contextlib.suppress(OSError):
            while True:
                data, source = sock.recvfrom(2048)
                self.arrived.add(("udp", source[1], *sock.getsockname()[:2]))
                sock.sendto(data, source)

    def _on_frames(self, sock):
        """What has come in by a pod's device, whatever its stack does with it."""
        with contextlib.suppress(BlockingIOError):
            while True:
                flow = flow_of(sock.recv(2048))
                if flow:
                    self.arrived.add((flow[0], *flow[2:]))

    def _serve_raw(self, side, family, address, protocol, on_ready):
        sock = self.raw[side.name, family, protocol] = socket.socket(FAMILY[family], socket.SOCK_RAW, protocol)
        sock.bind((address, 0))
        self._register(side, sock, lambda sock: on_ready(sock, side, family))

    def _serve_sctp(self, side, family, address, number):
        self._serve_raw(side, family, address, IPPROTO_SCTP, self._on_sctp)

    def _on_sctp(self, sock, side, family):
        with contextlib.suppress(BlockingIOError):
            while True:
                data, source = sock.recvfrom(2048)
                data = raw_payload(family, data)
                sport, dport = struct.unpack_from("!HH", data)
                if data[12] == SCTP_INIT:
                    self.arrived.add(("sctp", sport, side.addresses[family], dport))
                    sock.sendto(sctp_packet(dport, sport, SCTP_INIT_ACK), (source[0], 0))
                elif data[12] == SCTP_INIT_ACK:
                    self._pass(("sctp", side.addresses[family], dport, source[0], sport))

    def _serve_icmp(self, side, family, address, number):
        self._serve_raw(side, family, address, ICMP[family], self._on_icmp)

    def _on_icmp(self, sock, side, family):
        with contextlib.suppress(BlockingIOError):
            while True:
                data, source = sock.recvfrom(2048)
                data = raw_payload(family, data)
                ident = struct.unpack_from("!H", data, 4)[0]
                if data[0] == ECHO[family][0]:
                    self.arrived.add(("icmp", ident, side.addresses[family], 0))
                elif data[0] == ECHO[family][1]:
                    self._pass(("icmp", side.addresses[family], ident, source[0], 0))

    # --- clients ---

    def _begin(self, flow):
        src, dst = self.sides[flow.src], self.sides[flow.dst]
        own, peer = src.addresses[flow.family], dst.addresses[flow.family]
        if flow.protocol in ("tcp", "udp"):
            number = self._connect(src, flow, own, peer)
        else:
            number = next(self.numbers)
        key = (flow.protocol, own, number, peer, flow.port)
        outcome = self.watched[key] = Outcome(key)
        if flow.protocol == "sctp":
            self.raw[src.name, flow.family, IPPROTO_SCTP].sendto(sctp_packet(number, flow.port, SCTP_INIT), (peer, 0))
        elif flow.protocol == "icmp":
            self.raw[src.name, flow.family, ICMP[flow.family]].sendto(echo_request(flow.family, number), (peer, 0))
        return outcome

    def _connect(self, src, flow, own, peer):
        kind = socket.SOCK_STREAM if flow.protocol == "tcp" else socket.SOCK_DGRAM
        with src.netns.entered():
            sock = socket.socket(FAMILY[flow.family], kind)
        sock.setblocking(False)
        number = self._bind(sock, own)
        key = (flow.protocol, own, number, peer, flow.port)
        if flow.protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        awaited = selectors.EVENT_WRITE if flow.protocol == "tcp" else selectors.EVENT_READ
        self.selector.register(sock, awaited, (lambda sock: self._on_client(sock, key), None))
        self.clients.append(sock)
        result = sock.connect_ex((peer, flow.port))
        assert result in (0, errno.EINPROGRESS), f"{flow}: {os.strerror(result)}"
        if flow.protocol == "udp":
            sock.send(b"probe")
        return number

    def _bind(self, sock, own):
        while True:
            number = next(self.numbers)
            try:
                sock.bind((own, number))
                return number
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise

    def _on_client(self, sock, key):
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.selector.unregister(sock)
        if error:
            self.watched[key].reason = os.strerror(error)
        else:
            self._pass(key)

    # --- outcomes ---

    def _pass(self, key):
        if key in self.watched:
            self.watched[key].passed = True

    def _on_events(self, stream):
        with contextlib.suppress(BlockingIOError):
            monitor = self.monitors[stream]
            data = os.read(stream.fileno(), 1 << 18)
            assert data, f"warren monitor ended: {monitor.proc.stderr.read().decode()}"
            *lines, monitor.pending = (monitor.pending + data).split(b"\n")
            for line in lines:
                self._on_event(json.loads(line))

    def _on_event(self, event):
        headers = event["headers"]
        protocol = str(headers.get("protocol")).replace("icmpv6", "icmp")
        ends = [headers.get("source"), headers.get("source_port", 0)]
        ends += [headers.get("destination"), headers.get("destination_port", 0)]
        if protocol == "icmp":
            ends[1 if headers.get("icmp_type") in (8, 128) else 3] = headers.get("echo_id", 0)
        there, back = (protocol, *ends), (protocol, *ends[2:], *ends[:2])
        drops = event["verdict"] == "drop" if "verdict" in event else True
        if there in self.watched:
            outcome = self.watched[there]
            # The sender's node may report what it has let pass after the receiver's has reported the drop.
            if drops or not outcome.reason:
                outcome.event = event
            if drops:
                outcome.reason, outcome.dropped = event["reason"], True
        elif back in self.watched:
            if drops:
                self.watched[back].reason = f"answer: {event['reason']}"
        elif drops and not Monitor.is_noise(event):
            self.drops.append(event)

    def _turn(self, seconds):
        for key, _ in self.selector.select(seconds):
            if key.fileobj in self.monitors:
                key.data(key.fileobj)
            else:
                key.data[0](key.fileobj)

    def run(self, flows, timeout=TIMEOUT):
        """{flow: Outcome}. Fails if one has no outcome, or if one passes and is dropped."""
        outcomes, flows = {}, list(flows)
        for i in range(0, len(flows), self.BATCH):
            self._run_batch(flows[i : i + self.BATCH], outcomes, timeout)
        return outcomes

    def _run_batch(self, flows, outcomes, timeout):
        self.clients, batch = [], {}
        self.arrived.clear()
        for flow in flows:
            batch[flow] = self._begin(flow)
            self._turn(0)
        deadline = time.monotonic() + timeout
        while any(not o.passed and not o.reason for o in batch.values()) and time.monotonic() < deadline:
            self._turn(max(0, min(0.1, deadline - time.monotonic())))
        for sock in self.clients:
            with contextlib.suppress(KeyError):
                self.selector.unregister(sock)
            sock.close()
        self._end_fences(batch)
        self.watched.clear()
        lost = [str(flow) for flow, o in batch.items() if not o.passed and not o.reason]
        both = [f"{flow}: {o.reason}" for flow, o in batch.items() if o.passed and o.reason]
        assert not lost, f"neither answered nor dropped: {lost[:10]} ({len(lost)})"
        assert not both, f"answered and dropped: {both[:10]} ({len(both)})"
        arrived = [f"{flow}: {o.reason}" for flow, o in batch.items() if o.dropped and o.arrival in self.arrived]
        assert not arrived, f"reported as dropped, and arrived: {arrived[:10]} ({len(arrived)})"
        outcomes.update(batch)

    def _end_fences(self, batch):
        """What arrives at all has arrived when this returns."""
        denied = [flow for flow, outcome in batch.items() if outcome.dropped]
        ends = {(self.sides[flow.src].netns, self.sides[flow.dst].netns, flow.family) for flow in denied}
        for pod, family in {(dst, family) for _, dst, family in ends if isinstance(dst, Pod)}:
            fence(pod.node, family, pod.ips[family])  # the own host is exempt from policy
        for pod, family in {(src, family) for src, dst, family in ends if not isinstance(dst, Pod)}:
            fence(pod, family)
        self._turn(0)

    def check(self, expectation, flows):
        """As run(); fails with every flow that differs from what is expected."""
        expectation = Expectation(expectation) if isinstance(expectation, str) else expectation
        outcomes = self.run(flows)
        wrong = [f"{flow}: {outcome}" for flow, outcome in outcomes.items() if outcome.passed != expectation(flow)]
        odd = [f"{f}: {o}" for f, o in outcomes.items() if not o.passed and o.reason not in DENIALS]
        assert not wrong, "\n".join([f"{len(wrong)} of {len(outcomes)} flows went otherwise:", *wrong[:40]])
        assert not odd, f"dropped for another reason: {odd[:10]}"
        return outcomes

    def drop_reason(self, src, dst, service="tcp/8080", family=4):
        """Of one probe; None: it passes."""
        flow = Flow(src, dst, family, service)
        return self.run([flow])[flow].reason

    def remove(self, name):
        side = self.sides.pop(name)
        for key in list(self.selector.get_map().values()):
            if isinstance(key.data, tuple) and key.data[1] is side:
                self.selector.unregister(key.fileobj)
                key.fileobj.close()
        self.raw = {key: sock for key, sock in self.raw.items() if key[0] != name}

    def close(self):
        for name in list(self.sides):
            self.remove(name)
        for stream, monitor in self.monitors.items():
            self.selector.unregister(stream)
            monitor.close()
        self.selector.close()
