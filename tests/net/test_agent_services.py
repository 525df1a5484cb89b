# SPDX-License-Identifier: BSD-2-Clause
"""Services and EndpointSlices from manifests into the maps: and what the agent, the CLI and the metrics report."""

import itertools
import struct
import time

import pytest

from manifests import endpoint, endpoint_slice, port, service
from netns import TIMEOUT, wait_for
from rawbpf import PINS, map_filled

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
OTHER = {4: "10.96.0.11", 6: "fd00:96::11"}
BACKENDS = {4: ["192.0.2.1", "192.0.2.2"], 6: ["2001:db8::1", "2001:db8::2"]}


@pytest.fixture(autouse=True)
def _as_before(as_before):
    return


def listed(cluster):
    """{(address, port, protocol): {backend...}} in the maps, by the CLI without names."""
    found = {}
    for row in cluster.node.warren_json("service", "list"):
        if row["state"] == "not in maps":
            continue
        address, _, number = row["address"].rpartition(":")
        details = cluster.node.warren_json("service", "get", row["address"])
        backends = [d["backends"] for d in details if d["protocol"] == row["protocol"] and d["state"] != "not in maps"]
        assert len(backends) == 1 and len(backends[0]) == row["backends"]
        found[address.strip("[]"), int(number), row["protocol"]] = {b["backend"] for b in backends[0]}
    return found


def sockets(family, number, addresses=None):
    return {f"[{a}]:{number}" if family == 6 else f"{a}:{number}" for a in addresses or BACKENDS[family]}


def web(*slices, addresses=None, **spec):
    made = [service("shop/web", (addresses or VIP).values(), port(80), **spec)]
    made += slices or [endpoint_slice(f"shop/web-{f}", "shop/web", BACKENDS[f], port(8080)) for f in (4, 6)]
    return made


def problems(cluster):
    return [c["message"] for c in cluster.agent.status()["problems"] if c["subject"] == "services"]


def test_services_come_and_change_and_go(cluster):
    cluster.apply("web", *web())
    assert listed(cluster) == {(VIP[f], 80, "tcp"): sockets(f, 8080) for f in (4, 6)}
    row = cluster.node.warren_json("service", "list", "--namespace", "shop")[0]
    assert (row["service"], row["backends"], row["state"], row["type"]) == ("shop/web", 2, "ok", "ClusterIP")
    assert cluster.node.warren_json("service", "list", "--namespace", "bank") == []
    # One slice of two goes, an endpoint of the other is not ready any more.
    cluster.apply("web", *web(endpoint_slice("shop/web-4", "shop/web", [BACKENDS[4][0], endpoint(BACKENDS[4][1], ready=False)], port(81))))
    assert listed(cluster) == {(VIP[4], 80, "tcp"): sockets(4, 81, BACKENDS[4][:1]), (VIP[6], 80, "tcp"): set()}
    cluster.apply("web", *web(addresses=OTHER))
    assert listed(cluster) == {(OTHER[f], 80, "tcp"): sockets(f, 8080) for f in (4, 6)}
    cluster.remove("web")
    assert listed(cluster) == {}


def test_status_and_metrics_count_them(cluster):
    cluster.apply("web", *web())
    assert cluster.agent.status()["services"] == {
        "services": 1, "slices": 2, "addresses": 2, "backends": 4, "problems": 0, "failures": 0, "pending": False, "released": False
    }
    metrics = cluster.agent.metrics()
    assert metrics["warren_services"][()] == 1 and metrics["warren_service_slices"][()] == 2
    assert metrics["warren_service_latency_seconds_count"][()] >= 1
    for f in (4, 6):
        assert metrics["warren_map_entries"][(("map", f"services{f}"),)] == 1
        assert metrics["warren_map_entries"][(("map", f"backends{f}"),)] == 2


def test_disputed_address_is_a_problem(cluster):
    cluster.apply("web", *web())
    zebra = service("shop/zebra", VIP.values(), port(80))
    cluster.apply("zebra", zebra)
    assert listed(cluster)[VIP[4], 80, "tcp"] == sockets(4, 8080)
    assert problems(cluster) == [f"1 of 2 have problems; shop/zebra: {VIP[4]}:80 belongs to Service shop/web"]
    done = cluster.node.warren("status", check=False)
    assert done.returncode == 1 and "shop/zebra" in done.stdout
    state = {row["service"]: row["state"] for row in cluster.node.warren_json("service", "list")}
    assert state == {"shop/web": "ok", "shop/zebra": "not in maps"}
    cluster.remove("web")
    assert listed(cluster)[VIP[4], 80, "tcp"] == set()
    assert not problems(cluster)


def test_what_failed_is_tried_again_however_much_changes(cluster):
    """A Service that found the map full is written within seconds after there is room, though others change all the
    time.
    """
    cluster.apply("web", *web())
    others = [struct.pack(">IHBx", 0x0B000000 + i, 1, 6) for i in range((1 << 16) - 1)]
    with map_filled(cluster.node.outside(f"{PINS}/maps/services4"), others, bytes(28)):
        cluster.write("late", service("shop/late", [OTHER[4]], port(80)))
        wait_for(lambda: problems(cluster), "no problem")
        assert "map services4 is full" in problems(cluster)[0]
    deadline = time.monotonic() + TIMEOUT
    for number in itertools.cycle((8081, 8080)):
        assert time.monotonic() < deadline, problems(cluster)
        cluster.apply("web", *web(endpoint_slice("shop/web-4", "shop/web", BACKENDS[4], port(number))))
        if not problems(cluster):
            break
    assert listed(cluster)[OTHER[4], 80, "tcp"] == set()


def test_invalid_object_keeps_what_was(cluster):
    """As with policies: a file's previous version stays until the file is fixed."""
    cluster.apply("web", *web())
    before = listed(cluster)
    bad = service("shop/web", VIP.values(), port(0))
    cluster.agent.write("web.json", bad)
    cluster.wait_applied()
    assert listed(cluster) == before
    message = next(c["message"] for c in cluster.agent.status()["problems"] if c["subject"] == "web.json")
    assert "Service shop/web: spec.ports[0].port: 0 must be from 1 to 65535" in message


def test_next_agent_keeps_the_maps(cluster):
    """It writes nothing that is there already, and removes stale entries once it has read all objects."""
    cluster.apply("web", *web())
    cluster.apply("old", service("shop/old", OTHER.values(), port(80, "UDP")))
    raw = {name: cluster.node.bpf_map(name) for name in ("services4", "backends6")}
    cluster.agent.kill()
    assert (VIP[4], 80, "tcp") in listed(cluster)
    assert "no agent runs" in cluster.node.warren("service", "list").stdout
    cluster.agent.remove("old.json")
    cluster.agent.start()
    del cluster.manifests["old"]
    cluster.wait_applied()
    assert listed(cluster) == {(VIP[f], 80, "tcp"): sockets(f, 8080) for f in (4, 6)}
    now = {name: cluster.node.bpf_map(name) for name in raw}
    assert now["services4"].items() <= raw["services4"].items() and len(now["services4"]) == 1
    assert now["backends6"] == raw["backends6"]


def test_reload_repairs_the_maps(cluster):
    cluster.apply("web", *web())
    before = listed(cluster)
    pinned = "/sys/fs/bpf/warren"
    path = next(p for p in cluster.node.files(pinned) if p.endswith("/services4"))
    key = next(iter(cluster.node.bpf_map("services4")))
    cluster.node.run("bpftool", "map", "delete", "pinned", f"{pinned}/{path}", "key", *(f"{b}" for b in key))
    assert (VIP[4], 80, "tcp") not in listed(cluster)
    cluster.agent.signal(1)
    cluster.agent.wait_notified("READY=1")
    cluster.wait_applied()
    assert listed(cluster) == before


def test_many_services_and_one_change(cluster):
    """5,000 Services of 10 endpoints; then one slice changes, and nothing else is written."""
    count, addresses = 5000, [f"192.0.2.{i}" for i in range(1, 11)]
    items = []
    for i in range(count):
        vip = f"10.97.{i // 250}.{i % 250 + 1}"
        items.append(service(f"many/s{i}", [vip], port(80)))
        items.append(endpoint_slice(f"many/s{i}", f"many/s{i}", addresses, port(8080)))
    cluster.write("many", *items)
    cluster.agent.wait_applied(timeout=120)
    status = cluster.agent.status()
    assert status["services"]["addresses"] == count and status["services"]["backends"] == 10 * count
    before = cluster.node.bpf_map("services4")
    items[-1] = endpoint_slice(f"many/s{count - 1}", f"many/s{count - 1}", addresses[:1], port(8080))
    cluster.write("many", *items)
    cluster.agent.wait_applied(timeout=120)
    after = cluster.node.bpf_map("services4")
    changed = [key for key in before if before[key] != after[key]]
    assert before.keys() == after.keys() and len(changed) == 1
