# SPDX-License-Identifier: BSD-2-Clause
"""A pod that floods with packets that are dropped: its rate of events is bounded, and other pods' events still come."""

import time

import pytest
from scapy.layers.inet import UDP

from lab import network
from monitor import Monitor
from netns import wait_for

pytestmark = pytest.mark.alone

RATE, BURST = 512, 1024  # bpf/abi/event.h
ROUNDS, FRAMES = 6, 900  # as many as fit into a processor's backlog
DROPS = ("spoofed_source", "egress")
SPOOFED = {4: "10.99.0.1", 6: "fd99::1"}


def spoofed(pod, family, peer):
    own, pod.ips[family] = pod.ips[family], SPOOFED[family]
    frame = bytes(pod.packet(family, peer.ips[family]) / UDP(sport=1, dport=2) / b"x")
    pod.ips[family] = own
    return frame


def suppressed(node):
    return sum(row["value"]["suppressed"] for row in node.warren_json("map", "dump", "event_stats"))


def test_flood_of_drops(node, pods, family):
    flooder, other = pods("a", network()), pods("b", network())
    frame, witness = spoofed(flooder, family, other), spoofed(other, family, flooder)
    events = []

    with Monitor(node, "--drops", "--reason", "spoofed_source") as monitor, flooder.wire() as flood, other.wire() as calm:
        before, unseen, began = node.metrics(), suppressed(node), time.monotonic()
        for n in range(1, ROUNDS + 1):
            flood.send(*[frame] * FRAMES)
            calm.send(witness)
            wait_for(lambda n=n: node.metrics()[DROPS] - before[DROPS] >= n * (FRAMES + 1), "the flood")
        most = BURST + (time.monotonic() - began) * RATE
        seen = 0
        index = other.ifindex
        while seen < ROUNDS:
            event = monitor.next(5)
            assert event, f"{ROUNDS - seen} of the other pod's {ROUNDS} drops are not reported"
            if event["endpoint"] == index:
                seen += 1
            else:
                events.append(event)
        while event := monitor.next(0.5):
            events.append(event)
        assert BURST <= len(events) <= most, f"{len(events)} events of {ROUNDS * FRAMES} drops"
        # An event carries how many were suppressed before it, the counter how many in all.
        flood.send(frame)
        last = monitor.next(5)
        assert any(event["suppressed"] for event in [*events, last] if event)
        dropped, unreported = node.metrics()[DROPS] - before[DROPS], suppressed(node) - unseen
    assert dropped > most
    # Every drop was reported or counted, but for those of the kernel's MLD reports: the monitor skips them, and they are not
    # of this reason.
    assert abs(dropped - unreported - len(events) - ROUNDS - bool(last)) <= 4


def test_listener_that_is_killed(node, pods):
    """Its announcement ends by itself, and the next listener is announced at once."""
    a, b = pods("a", network()), pods("b", network())
    frame = spoofed(a, 4, b)
    with a.wire() as wire:
        for _ in range(2):
            with Monitor(node, "--drops", "--reason", "spoofed_source") as monitor:
                wire.send(frame)
                assert monitor.next()["endpoint"] == a.ifindex
        assert node.warren_json("map", "dump", "event_state")[0]["value"]["listens_until"] == 0


def test_listener_whose_reader_stalls(node, pods):
    """It ends by SIGTERM whatever it does: waits for room in the pipe, or has just got some and writes again."""
    a, b = pods("a", network()), pods("b", network())
    frame = spoofed(a, 4, b)
    with a.wire() as wire:
        for _ in range(10):
            with Monitor(node, "--drops", "--reason", "spoofed_source") as monitor:
                before = node.metrics()[DROPS]
                wire.send(*[frame] * FRAMES)
                wait_for(lambda before=before: node.metrics()[DROPS] >= before + FRAMES, "the flood")
                assert monitor.next()
