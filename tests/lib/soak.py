# SPDX-License-Identifier: BSD-2-Clause
"""What the long runs of tests/soak share: where their reports go, and what a node's maps hold."""

import json
import os
from pathlib import Path

from lab import BUILD

OUT = Path(os.environ.get("WARREN_SOAK_OUT", BUILD / "soak"))
# Maps whose entries are of flows and packets, and caches.
OF_FLOWS = ("ct", "addr_cache", "nexthops", "fragments", "event")


def report(name, content):
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content))


def _entries(node):
    return {m["name"]: m["entries"] for m in node.warren_json("map", "list") if m["entries"] is not None}


def objects(node):
    """{map: entries} of those that hold what was configured."""
    return {name: count for name, count in _entries(node).items() if not name.startswith(OF_FLOWS)}


def flows(node):
    return {name: count for name, count in _entries(node).items() if name in ("ct4", "ct6")}
