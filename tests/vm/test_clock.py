# SPDX-License-Identifier: BSD-2-Clause
"""The time of day is set, by years and back: only in a machine of `make test-vm`, which has its own clock."""

import contextlib
import time
from pathlib import Path

import pytest

from manifests import pods, policy, sources
from netns import tcp, udp
from traffic import Transfer

YEAR = 366 * 86400
JUMPS = {"forward": 3 * YEAR, "back": -20 * YEAR, "by an hour": 3600}


@pytest.fixture(autouse=True)
def own_machine():
    if b"/init" not in Path("/proc/1/cmdline").read_bytes() or not Path("/warren/tests/vm/guest.sh").exists():
        pytest.skip("the clock is this host's own")


@contextlib.contextmanager
def clock_set(by):
    set_at = time.monotonic()
    was = time.clock_gettime(time.CLOCK_REALTIME)
    time.clock_settime(time.CLOCK_REALTIME, was + by)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, was + time.monotonic() - set_at)


@pytest.mark.parametrize("jump", JUMPS)
def test_clock_is_set(overlay, jump):
    """Connections continue, new ones get the same verdicts as before, policy changes apply to established ones, pods
    come and go.
    """
    a, b, c = (overlay.pods[f"default/{name}"] for name in "abc")
    only_a = policy("b", {"app": "b"}, ingress=[sources(pods(app="a"))], types=["Ingress"])
    with Transfer(a, b, b.ips[4]) as old, Transfer(c, b, b.ips[6]) as other:
        for transfer in (old, other):
            transfer.wait_more(2000)
        with clock_set(JUMPS[jump]):
            for transfer in (old, other):
                transfer.wait_more(2000)
            for family in (4, 6):
                tcp(a, b, b.ips[family])
                udp(c, b, b.ips[family])
            overlay.apply("policy", only_a)
            with pytest.raises(OSError):
                tcp(c, b, b.ips[4], timeout=0.5)
            old.wait_more(2000)
            new = overlay.pod("default/new", "n2", app="a")
            tcp(new, b, b.ips[4])
            overlay.delete("default/new")
            for node in overlay.nodes.values():
                assert node.warren("status", check=False).returncode == 0
        overlay.remove("policy")
        for transfer in (old, other):
            transfer.wait_more(2000)
