# SPDX-License-Identifier: BSD-2-Clause
"""Paths that lose, delay, reorder and repeat packets."""

import contextlib

PATHS = {
    "loss": ["loss", "2%"],
    "delay": ["delay", "20ms", "5ms"],
    "reordering": ["delay", "5ms", "reorder", "75%"],
    "duplicates": ["duplicate", "5%"],
}


@contextlib.contextmanager
def netem(*places, options):
    for place in places:
        place.run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", *options, "limit", 10000)
    try:
        yield
    finally:
        for place in places:
            place.run("tc", "qdisc", "delete", "dev", "eth0", "root")
