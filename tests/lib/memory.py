# SPDX-License-Identifier: BSD-2-Clause
"""Cgroups with a limit of memory, of the version that this machine has."""

import contextlib
import os
import re
import time
from pathlib import Path

import pytest

# Directory of the controller; the files with the limit and with the number of processes that the kernel has ended.
VERSIONS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.events"),
)


class MemoryCgroup:
    def __init__(self, path, limit, events):
        self.path, self._limit, self._events = path, path / limit, path / events

    def limit(self, size):
        self._limit.write_text(str(size), encoding="ascii")

    def add(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    @property
    def ended(self):
        """How many of its processes the kernel has ended as they lacked memory."""
        return int(re.search(r"^oom_kill (\d+)$", self._events.read_text(), re.M)[1])


@contextlib.contextmanager
def memory_cgroup(size):
    for parent, limit, events in VERSIONS:
        path = parent / f"warren-{os.getpid()}"
        try:
            path.mkdir()
        except OSError:
            continue
        try:
            if (path / limit).exists():
                made = MemoryCgroup(path, limit, events)
                made.limit(size)
                yield made
                return
        finally:
            _remove(path)
    pytest.skip("no memory controller here")


def _remove(path, seconds=20):
    """Memory that the kernel frees later keeps the cgroup for a moment."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
