# SPDX-License-Identifier: BSD-2-Clause
"""Crowds, crashes, full tables and disks, damaged files, bad input: the right error code with a message, everything
undone, and a retry that succeeds.
"""

import contextlib
import json
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import NODE_GATEWAY, Node, network
from netns import TIMEOUT, wait_for
from seed import drawn

IO_ERROR, DECODE_ERROR, CONFIG_ERROR, ENVIRONMENT_ERROR, VERSION_ERROR = 5, 6, 7, 4, 1
NOT_AVAILABLE = 50
KERNEL_ERROR, NO_ADDRESS, EXISTS = 100, 101, 103
WIDE = {"ipam": {"ranges": [[{"subnet": "10.88.0.0/16"}], [{"subnet": "fd00:88::/64"}]]}}
WIDE_GATEWAY = "10.88.0.1"


@pytest.fixture(scope="module")
def node():
    """No uplink: nothing here leaves the node."""
    with Node() as node:
        node.warren("node", "init")
        yield node


@pytest.fixture
def fresh():
    """A node of one's own, to break."""
    with Node() as node:
        yield node


@pytest.fixture(autouse=True)
def nothing_left(request):
    node = request.getfixturevalue("node") if "node" in request.fixturenames else None
    before = node and node.standing()
    yield
    if node:
        node.assert_clean(besides=before)


def allocations(node, name="lab"):
    """Addresses in use by a network, without those that rest after release."""
    path = node.outside(f"/run/warren/ipam/{name}.json")
    return json.loads(path.read_text())["allocations"] if path.exists() else {}


def assert_error(done, *codes):
    assert done.code != 0
    assert done.json, f"no error in JSON: {done!r}"
    assert done.json["code"] in codes, done
    assert len(done.json["msg"]) > 10, done
    assert done.json["cniVersion"]


@pytest.fixture
def namespaces(node):
    """Makes network namespaces by the dozen."""
    made = []

    def make(count):
        names = [f"ns-{len(made) + i}" for i in range(count)]
        made.extend(names)
        node.run("ip", "-batch", "-", input="".join(f"netns add {n}\n" for n in names))
        return [f"/run/netns/{n}" for n in names]

    yield make
    node.run("ip", "-batch", "-", input="".join(f"netns delete {n}\n" for n in made))


# --- crowds -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_crowd(node, namespaces):
    """200 ADDs and then 200 DELs, by 16 at once."""
    paths = namespaces(200)
    conf = network(**WIDE)
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda i: node.cni("ADD", conf, f"crowd-{i}", "eth0", paths[i]), range(200)))
        assert [d for d in done if not d.ok] == []
        addresses = [ip["address"] for d in done for ip in d.json["ips"]]
        assert len(addresses) == len(set(addresses)) == 400
        assert len(node.bpf_map("endpoints")) == len(node.pod_devices()) == 200
        assert len(allocations(node)) == 400
        done = list(pool.map(lambda i: node.cni("DEL", conf, f"crowd-{i}", "eth0", paths[i]), range(200)))
        assert [d for d in done if not d.ok] == []
    assert allocations(node) == {}
    wait_for(lambda: not node.stale(), "200 devices to go", 60)


def test_one_container_many_interfaces(node, namespaces):
    """The same container on several networks and interfaces at once."""
    (path,) = namespaces(1)
    with ThreadPoolExecutor(8) as pool:
        ranges = [[[{"subnet": f"10.9{i}.0.0/24"}]] for i in range(2)]
        confs = [network(name=f"net{i % 2}", ipam={"ranges": ranges[i % 2]}) for i in range(8)]
        done = list(pool.map(lambda i: node.cni("ADD", confs[i], "many", f"eth{i}", path), range(8)))
        assert [d for d in done if not d.ok] == []
        assert len(node.pod_devices()) == 8
        done = list(pool.map(lambda i: node.cni("DEL", confs[i], "many", f"eth{i}", path), range(8)))
        assert [d for d in done if not d.ok] == []


# --- crashes ----------------------------------------------------------------------------------------------------------


def killed_after(seconds):
    """Wraps a command: SIGKILL after that time, for the process alone."""
    return ["timeout", "--foreground", "--signal=KILL", f"{seconds:.6f}"]


def crash_rounds(node, conf, worker, path, rounds, rng):
    """ADD and DEL of one container, again and again, most of them killed; what is not killed must succeed."""
    container = f"crash-{worker}"
    killed = 0
    for _ in range(rounds):
        killed += not node.cni("ADD", conf, container, "eth0", path, wrap=killed_after(rng.uniform(0, 0.006))).ok
        if rng.random() < 0.3:
            killed += not node.cni("DEL", conf, container, "eth0", path, wrap=killed_after(rng.uniform(0, 0.006))).ok
        if rng.random() < 0.2:
            done = node.cni("DEL", conf, container, "eth0", path)
            assert done.ok, f"DEL after a crash: {done!r}"
            done = node.cni("ADD", conf, container, "eth0", path)
            assert done.ok, f"ADD after a crash: {done!r}"
        if rng.random() < 0.2:
            done = node.cni("DEL", conf, container, "eth0", path)
            assert done.ok, f"DEL after a crash: {done!r}"
    return killed


@pytest.mark.long
def test_kill_at_random_instants(node, namespaces):
    conf = network(**WIDE)
    paths = namespaces(2)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(crash_rounds, node, conf, i, paths[i], 250, drawn()) for i in range(2)]
        killed = sum(run.result() for run in runs)
    assert killed > 100, "hardly anything was killed: the delays do not fit this machine"
    gc = node.cni("GC", {**conf, "cni.dev/valid-attachments": []})
    assert gc.ok and gc.stdout == "", gc
    for i in range(2):
        assert node.cni("DEL", conf, f"crash-{i}", "eth0", paths[i]).ok
    assert allocations(node) == {}
    node.assert_clean()
    pod = node.pod("after", conf)
    pod.ping(WIDE_GATEWAY)
    pod.delete()


@pytest.mark.long
def test_kill_while_loading(fresh):
    """The first ADD loads the programs; killed halfway, the next one finishes the work."""
    rng, interrupted = drawn(), 0
    path = fresh.netns_add("pod")
    for _ in range(25):
        interrupted += not fresh.cni("ADD", network(), "first", "eth0", path, wrap=killed_after(rng.uniform(0, 0.12))).ok
        if rng.random() < 0.5:
            assert fresh.warren("node", "down", "--force", check=False).returncode in (0, 3)
    assert interrupted, "no ADD was killed"
    assert fresh.cni("DEL", network(), "first", "eth0", path).ok
    done = fresh.cni("ADD", network(), "first", "eth0", path)
    assert done.ok, done
    assert fresh.warren("status").returncode == 0
    assert fresh.cni("DEL", network(), "first", "eth0", path).ok
    fresh.assert_clean()


# Runs the plugin, then kills at once what it has left running in the background; the exit status is the plugin's.
AND_KILL_REAPER = """
"$@"
status=$?
for dir in /proc/[0-9]*; do
    read -r name <$dir/comm && [ "$name" = warren-cni ] && kill -KILL ${dir#/proc/}
done 2>/dev/null
exit $status
"""


@pytest.mark.long
def test_reaper_killed(node, namespaces):
    """DEL leaves the slow deletion of the device to a background process. Without it: ADD again works, GC finishes."""
    (path,) = namespaces(1)
    conf = network()
    stale, deadline = 0, time.monotonic() + 2 * TIMEOUT
    while stale < 5:
        assert time.monotonic() < deadline, "the reaper was faster than its killer"
        assert node.cni("ADD", conf, "reaped", "eth0", path).ok
        assert node.cni("DEL", conf, "reaped", "eth0", path, wrap=["bash", "-c", AND_KILL_REAPER, "bash"]).ok
        wait_for(lambda: not node.run("pgrep", "-x", "warren-cni", check=False).stdout, "the reaper's end")
        stale += bool(node.stale())
    assert node.cni("ADD", conf, "reaped", "eth0", path).ok
    assert node.cni("DEL", conf, "reaped", "eth0", path, wrap=["bash", "-c", AND_KILL_REAPER, "bash"]).ok
    assert node.cni("GC", {**conf, "cni.dev/valid-attachments": []}).ok
    node.assert_clean()


@pytest.mark.smoke
def test_add_again_at_once(node, namespaces):
    (path,) = namespaces(1)
    conf = network()
    seen = set()
    for _ in range(30):
        done = node.cni("ADD", conf, "again", "eth0", path)
        assert done.ok, done
        seen.add(done.json["interfaces"][0]["name"])
        assert node.cni("DEL", conf, "again", "eth0", path).ok
    assert len(seen) == 30, "a host-side name was used again"


def test_namespace_outlives_its_del(node):
    """After DEL has returned no packet of the pod leaves it, though its device may still be there."""
    from scapy.layers.inet import UDP

    a, b = node.pod("a", network()), node.pod("b", network())
    frames = [a.packet(f, dst) / UDP(dport=9) / b"late" for f in (4, 6) for dst in (b.ips[f], NODE_GATEWAY[f])]
    with b.wire() as seen, a.wire() as out:
        guarded, stack = node.guard_drops(), node.metrics()[("to_stack", "egress")]
        done = node.cni("DEL", a.chain[0], a.container, "eth0", a.path)
        assert done.ok
        with contextlib.suppress(OSError):  # the device has gone already
            for _ in range(100):
                out.send(*frames)
        wait_for(lambda: a.host_ifname not in node.pod_devices(), "the device to go")
        node.ping(b.ips[4])
        assert [f for f in seen.drain() if b"late" in f] == []
        assert node.metrics()[("to_stack", "egress")] == stack + 1  # the reply to that ping
        assert node.guard_drops() == guarded
    assert a.ip("link", "show", "type", "veth") == []
    # And the namespace can be used again.
    again = node.cni("ADD", a.chain[0], "other", "eth0", a.path)
    assert again.ok
    assert node.cni("DEL", a.chain[0], "other", "eth0", a.path).ok
    a.gone()
    b.delete()


@pytest.mark.long
def test_namespace_vanishes_during_add(node):
    """The delay follows the machine: a bit longer after an ADD that failed, a bit shorter after one that did not. Below zero
    the namespace begins to vanish before the ADD does, so both outcomes occur however fast either is.
    """
    conf = network()
    rng, delay, failed = drawn(), 0.004, 0
    for i in range(60):
        path = node.netns_add("gone")
        killer = threading.Timer(max(delay, 0), node.netns_delete, ["gone"])
        killer.start()
        time.sleep(max(-delay, 0))
        done = node.cni("ADD", conf, f"gone-{i}", "eth0", path)
        killer.join()
        if not done.ok:
            assert done.json and done.json["msg"], done
        failed += not done.ok
        delay += rng.uniform(0, 0.002) * (-1 if done.ok else 1)
        assert node.cni("DEL", conf, f"gone-{i}", "eth0", path).ok
    assert 0 < failed < 60
    assert allocations(node) == {}


@pytest.mark.smoke
def test_gc(node):
    """Removes the attachment whose namespace is gone, and neither one that is valid nor one whose namespace lives."""
    valid, alive, dead = (node.pod(name, network()) for name in ("valid", "alive", "dead"))
    dead.gone()
    attachments = [{"containerID": valid.container, "ifname": "eth0"}]
    done = node.cni("GC", {**network(), "cni.dev/valid-attachments": attachments})
    assert done.ok and done.stdout == ""
    kept = sorted([valid.host_ifname, alive.host_ifname])
    wait_for(lambda: node.pod_devices() == kept, "the dead one's device to go")
    assert sorted(allocations(node)) == sorted([*valid.ips.values(), *alive.ips.values()])
    for pod in (valid, alive):
        pod.ping(NODE_GATEWAY[4])
        pod.delete()


def test_gc_is_of_one_network(node):
    pod = node.pod("other", network(name="other"))
    pod.gone()
    assert node.cni("GC", {**network(), "cni.dev/valid-attachments": []}).ok
    assert node.files("/run/warren/attachments") != []
    assert node.cni("GC", {**network(name="other"), "cni.dev/valid-attachments": []}).ok


# --- what runs out ----------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_pool_exhausted(node):
    """And a freed address is reused at once when there is no other."""
    conf = network(name="small", ipam={"ranges": [[{"subnet": "10.89.0.0/29"}]]})
    pods = [node.pod(f"p{i}", conf) for i in range(5)]
    path = node.netns_add("sixth")
    assert_error(node.cni("ADD", conf, "sixth", "eth0", path), NO_ADDRESS)
    assert_error(node.cni("STATUS", conf), NOT_AVAILABLE)
    assert len(node.pod_devices()) == 5
    free = pods[2].ips[4]
    pods.pop(2).delete()
    assert node.cni("STATUS", conf).ok
    done = node.cni("ADD", conf, "sixth", "eth0", path)
    assert done.ok and done.json["ips"][0]["address"].split("/")[0] == free
    assert node.cni("DEL", conf, "sixth", "eth0", path).ok
    node.netns_delete("sixth")
    for pod in pods:
        pod.delete()


def test_one_family_exhausted(node):
    """The other family's address is released."""
    conf = network(name="half", ipam={"ranges": [[{"subnet": "10.89.1.0/24"}], [{"subnet": "fd00:89::/126"}]]})
    pods = [node.pod(f"p{i}", conf) for i in range(2)]
    path = node.netns_add("third")
    assert_error(node.cni("ADD", conf, "third", "eth0", path), NO_ADDRESS)
    assert sorted(allocations(node, "half")) == sorted(ip for pod in pods for ip in pod.ips.values())
    node.netns_delete(path)
    for pod in pods:
        pod.delete()


@pytest.mark.long
def test_endpoint_map_full(fresh):
    fresh.warren("node", "init", "--max-endpoints", "4")
    conf = network()
    pods = [fresh.pod(f"p{i}", conf) for i in range(4)]
    assert "endpoints" in fresh.warren("status", check=False).stdout
    path = fresh.netns_add("fifth")
    before = (fresh.pod_devices(), allocations(fresh))
    done = fresh.cni("ADD", conf, "fifth", "eth0", path)
    assert_error(done, KERNEL_ERROR, 11)
    assert "--max-endpoints" in json.dumps(done.json)
    wait_for(lambda: fresh.pod_devices() == before[0], "the fifth device to go")
    assert allocations(fresh) == before[1]
    for pod in pods:
        pod.ping(NODE_GATEWAY[4])
    pods.pop().delete()
    wait_for(lambda: fresh.cni("ADD", conf, "fifth", "eth0", path).ok, "room for the fifth")
    assert fresh.cni("DEL", conf, "fifth", "eth0", path).ok
    for pod in pods:
        pod.delete()
    fresh.assert_clean()


@pytest.mark.smoke
def test_full_disk(fresh):
    fresh.run("mkdir", "/run/warren")
    fresh.run("mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=200", "full", "/run/warren")
    conf = network()
    pod = fresh.pod("early", conf)
    fresh.run("sh", "-c", "cat /dev/zero > /run/warren/filler", check=False)
    path = fresh.netns_add("late")
    before = (fresh.files("/run/warren"), fresh.pod_devices(), allocations(fresh))
    assert_error(fresh.cni("ADD", conf, "late", "eth0", path), IO_ERROR)
    wait_for(lambda: fresh.pod_devices() == before[1], "the device to go")
    assert (fresh.files("/run/warren"), allocations(fresh)) == (before[0], before[2])
    pod.ping(NODE_GATEWAY[4])
    pod.delete()  # the pod may be what fills the disk
    wait_for(lambda: not fresh.pod_devices(), "its device to go")
    fresh.run("rm", "/run/warren/filler")
    done = fresh.cni("ADD", conf, "late", "eth0", path)
    assert done.ok, done
    assert fresh.cni("DEL", conf, "late", "eth0", path).ok
    assert fresh.cni("GC", {**conf, "cni.dev/valid-attachments": []}).ok
    assert allocations(fresh) == {}
    fresh.assert_clean()


@pytest.mark.long
def test_full_disk_of_another_plugins_addresses(fresh):
    """host-local keeps them in /var/lib/cni."""
    fresh.run("mount", "-t", "tmpfs", "-o", "size=64k", "full", "/var/lib/cni")
    ranges = [[{"subnet": "10.87.0.0/24"}], [{"subnet": "fd00:87::/64"}]]
    conf = {**network(), "cniVersion": "1.0.0", "ipam": {"type": "host-local", "ranges": ranges}}
    pod = fresh.pod("early", conf)
    fresh.run("sh", "-c", "cat /dev/zero > /var/lib/cni/filler", check=False)
    path = fresh.netns_add("late")
    before = (fresh.files("/run/warren"), fresh.files("/var/lib/cni"), fresh.pod_devices())
    done = fresh.cni("ADD", conf, "late", "eth0", path)
    assert not done.ok and "/var/lib/cni/networks/lab" in done.json["msg"] and "no space left" in done.json["msg"], done
    assert (fresh.files("/run/warren"), fresh.files("/var/lib/cni"), fresh.pod_devices()) == before
    pod.ping(NODE_GATEWAY[4])
    pod.check()
    pod.delete()
    fresh.run("rm", "/var/lib/cni/filler")
    done = fresh.cni("ADD", conf, "late", "eth0", path)
    assert done.ok, done
    assert fresh.cni("DEL", conf, "late", "eth0", path).ok
    fresh.assert_clean()


# --- damaged files ----------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"garbage\0garbage", b"[]", b'{"allocations": 1}', b'{"allocations": {"10.87.0.9": []}}'],
    ids=["empty", "cut short", "binary", "other type", "wrong member", "wrong value"],
)
def test_damaged_address_file(node, content):
    conf = network(name="damaged")
    pod = node.pod("early", conf)
    path = node.outside("/run/warren/ipam/damaged.json")
    path.write_bytes(content)
    other = node.netns_add("late")
    done = node.cni("ADD", conf, "late", "eth0", other)
    assert_error(done, IO_ERROR)
    assert "/run/warren/ipam/damaged.json" in json.dumps(done.json)
    assert path.read_bytes() == content, "evidence was destroyed"
    assert node.pod_devices() == [pod.host_ifname]
    path.unlink()  # the remedy in the message
    done = node.cni("ADD", conf, "late", "eth0", other)
    assert done.ok
    assert not set(pod.ips.values()) & {ip["address"].split("/")[0] for ip in done.json["ips"]}
    assert node.cni("DEL", conf, "late", "eth0", other).ok
    node.netns_delete(other)
    pod.delete()
    path.unlink()


def in_directory(path):
    path.mkdir()
    (path / "file").write_text("x")


DAMAGE = {  # what replaces a record
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(b"{"),
    "binary": lambda path: path.write_bytes(b"garbage\0"),
    "type": lambda path: path.write_bytes(b'{"containerID": 7}'),
    "of another": lambda path: path.write_text('{"containerID": "other", "ifname": "eth0"}'),
    "huge": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
    "directory": in_directory,
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to no end": lambda path: path.symlink_to("/dev/zero"),
    "link elsewhere": lambda path: path.symlink_to("/etc/passwd"),
    "FIFO": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK),
}


def damage(node, pod, kind):
    path = node.outside(f"/run/warren/attachments/ready/{pod.container}@eth0")
    path.unlink()
    DAMAGE[kind](path)
    return path


@pytest.mark.smoke
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_record(node, kind):
    """DEL still leaves nothing. GC reports it and continues; it removes it once no device can be that of its pod."""
    conf = network()
    pod = node.pod("early", conf)
    damage(node, pod, kind)
    pod.delete()
    node.assert_clean()
    assert allocations(node) == {}

    pod, dead = node.pod("again", conf), node.pod("dead", conf)
    record = damage(node, pod, kind)
    dead.gone()
    gc = node.cni("GC", {**conf, "cni.dev/valid-attachments": []})
    assert gc.ok and gc.stdout == "", gc
    assert f"{pod.container}@eth0 is damaged" in gc.stderr and pod.host_ifname in gc.stderr, gc
    wait_for(lambda: node.pod_devices() == [pod.host_ifname], "the dead one's device to go")
    assert sorted(allocations(node)) == sorted(pod.ips.values())
    pod.ping(NODE_GATEWAY[6])

    node.netns_delete(pod.container)
    pod.close()
    wait_for(lambda: not node.pod_devices(), "the device to go with its namespace")
    named = [{"containerID": pod.container, "ifname": "eth0"}]
    gc = node.cni("GC", {**conf, "cni.dev/valid-attachments": named})
    assert gc.ok and os.path.lexists(record) and sorted(allocations(node)) == sorted(pod.ips.values()), gc
    assert node.cni("GC", {**conf, "cni.dev/valid-attachments": []}).ok
    node.assert_clean()
    assert allocations(node) == {}
    node.pods.remove(pod)


@pytest.mark.smoke
@pytest.mark.parametrize("rest", ["whole", "cut", "the boot not first"])
def test_record_of_an_earlier_boot(node, rest):
    """On a host whose /run is on a disk. The index and addresses in the record belong to another pod by now, which GC
    must not touch.
    """
    conf = network()
    pod = node.pod("now", conf)
    past = {
        **json.loads(node.outside(f"/run/warren/attachments/ready/{pod.container}@eth0").read_text()),
        "containerID": "past",
        "hostIfname": "wraaaaaaaaaaaaa",
        "netns": "/run/netns/past",
        "bootID": "01234567-89ab-cdef-0123-456789abcdef",
    }
    first = {} if rest == "the boot not first" else {"bootID": past["bootID"]}
    text = json.dumps({**first, **(past if first else dict(sorted(past.items(), reverse=True)))}, indent=1)
    record = node.outside("/run/warren/attachments/ready/past@eth0")
    record.write_text(text[: len(text) // 3] if rest == "cut" else text)
    assert node.cni("GC", {**conf, "cni.dev/valid-attachments": []}).ok
    assert not record.exists()
    pod.check()
    for family in (4, 6):
        pod.ping(NODE_GATEWAY[family])
    pod.delete()


@pytest.mark.long
@pytest.mark.smoke
def test_address_file_of_an_earlier_boot(fresh):
    """On a disk, and truncated by the crash that ended that boot: no attachment has an address of it."""
    conf = network(ipam={**network()["ipam"], "dataDir": "/run/addresses"})
    fresh.outside("/run/addresses").mkdir()
    path = fresh.outside("/run/addresses/lab.json")
    path.write_text('{\n "bootID": "01234567-89ab-cdef-0123-456789abcdef",\n "network": "lab",\n "allo')
    pod = fresh.pod("a", conf)
    assert json.loads(path.read_text())["allocations"].keys() == set(pod.ips.values())
    pod.delete()


@pytest.mark.smoke
@pytest.mark.parametrize("state", ["adding", "deleting"])
def test_unfinished_attachment_of_another_network(node, state):
    """An ADD of the same container and interface leaves it, its addresses included, to its own network."""
    one = network(name="one", ipam={"ranges": [[{"subnet": "10.91.0.0/24"}], [{"subnet": "fd00:91::/64"}]]})
    pod = node.pod("a", one)
    kept = allocations(node, "one")
    records = node.outside("/run/warren/attachments")
    (records / "ready" / f"{pod.container}@eth0").rename(records / state / f"{pod.container}@eth0")
    done = node.cni("ADD", network(name="two"), pod.container, "eth0", pod.path)
    assert_error(done, EXISTS)
    assert "one" in done.json["msg"]
    assert allocations(node, "one") == kept and node.pod_devices() == [pod.host_ifname]
    pod.ping("10.91.0.1")
    pod.delete()
    assert allocations(node, "one") == {}


def test_gc_frees_what_is_recorded_in_another_network(node):
    """An owner whose record is of another network owns nothing in this one."""
    pod = node.pod("a", network(name="other", ipam={"ranges": [[{"subnet": "10.92.0.0/24"}]]}))
    assert node.cni("STATUS", network()).ok
    path = node.outside("/run/warren/ipam/lab.json")
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "allocations": {"10.87.0.77": f"{pod.container}@eth0"}}))
    assert node.cni("GC", {**network(), "cni.dev/valid-attachments": []}).ok
    assert allocations(node) == {} and sorted(allocations(node, "other")) == [pod.ips[4]]
    pod.delete()


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = json.dumps(network())


def conf_with(**members):
    return json.dumps({**network(), **members})


INPUTS = {  # name: (standard input, code)
    "empty": ("", DECODE_ERROR),
    "cut short": (GOOD[:-1], DECODE_ERROR),
    "half": (GOOD[: len(GOOD) // 2], DECODE_ERROR),
    "not JSON": ("cniVersion: 1.0.0", DECODE_ERROR),
    "an array": ("[]", DECODE_ERROR),
    "a string": ('"x"', DECODE_ERROR),
    "text after the object": (GOOD + "x", DECODE_ERROR),
    "two objects": (GOOD + GOOD, DECODE_ERROR),
    "a NUL byte": (GOOD.replace("lab", "l\0b").encode(), DECODE_ERROR),
    "an escaped NUL": (GOOD.replace("lab", "l\\u0000b"), DECODE_ERROR),
    "invalid UTF-8": (GOOD.encode().replace(b"lab", b"l\xff\xfeb"), DECODE_ERROR),
    "a key twice": (GOOD.replace('"name": "lab"', '"name": "lab", "name": "lab"'), DECODE_ERROR),
    "a key twice, deep": (GOOD.replace('"subnet":', '"subnet": "10.0.0.0/8", "subnet":', 1), DECODE_ERROR),
    "10,000 brackets": ('{"a":' + "[" * 10000 + "]" * 10000 + "}", DECODE_ERROR),
    "two megabytes": (conf_with(filler="x" * (2 << 20)), (DECODE_ERROR, IO_ERROR)),
    "unknown version": (conf_with(cniVersion="9.9.9"), VERSION_ERROR),
    "old version": (conf_with(cniVersion="0.2.0"), VERSION_ERROR),
    "no version": (GOOD.replace('"cniVersion": "1.1.0", ', ""), VERSION_ERROR),
    "version of another type": (conf_with(cniVersion=1), (VERSION_ERROR, DECODE_ERROR, CONFIG_ERROR)),
    "no name": (GOOD.replace('"name": "lab", ', ""), CONFIG_ERROR),
    "empty name": (conf_with(name=""), CONFIG_ERROR),
    "name with a slash": (conf_with(name="../../etc/passwd"), CONFIG_ERROR),
    "long name": (conf_with(name="n" * 300), CONFIG_ERROR),
    "name of another type": (conf_with(name=7), CONFIG_ERROR),
    "mtu of another type": (conf_with(mtu="1500"), CONFIG_ERROR),
    "negative mtu": (conf_with(mtu=-1), CONFIG_ERROR),
    "mtu too small": (conf_with(mtu=67), CONFIG_ERROR),
    "mtu too small for IPv6": (conf_with(mtu=1279), CONFIG_ERROR),
    "mtu too large": (conf_with(mtu=65536), CONFIG_ERROR),
    "unknown policy": (conf_with(policy="perhaps"), CONFIG_ERROR),
    "no ipam": (GOOD.replace('"ipam"', '"nothing"'), CONFIG_ERROR),
    "ipam of another type": (conf_with(ipam=[]), CONFIG_ERROR),
    "no ranges": (conf_with(ipam={}), CONFIG_ERROR),
    "bad subnet": (conf_with(ipam={"ranges": [[{"subnet": "10.0.0.0/33"}]]}), CONFIG_ERROR),
    "host bits": (conf_with(ipam={"ranges": [[{"subnet": "10.0.0.7/24"}]]}), CONFIG_ERROR),
    "empty range": (
        conf_with(ipam={"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.8"}]]}),
        CONFIG_ERROR,
    ),
    "overlapping ranges": (
        conf_with(ipam={"ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "10.0.0.0/16"}]]}),
        CONFIG_ERROR,
    ),
    "bad log level": (conf_with(logLevel="shout"), CONFIG_ERROR),
    "log file in no directory": (conf_with(logFile="/nowhere/log"), (CONFIG_ERROR, IO_ERROR)),
    "group address as mac": (conf_with(runtimeConfig={"mac": "01:00:5e:00:00:01"}), CONFIG_ERROR),
    "nonsense as ips": (conf_with(runtimeConfig={"ips": ["10.0.0"]}), CONFIG_ERROR),
    "ips outside the ranges": (conf_with(runtimeConfig={"ips": ["203.0.113.5"]}), (CONFIG_ERROR, 102)),
    "ips is the gateway": (conf_with(runtimeConfig={"ips": [NODE_GATEWAY[4]]}), (CONFIG_ERROR, 102)),
    "ipam plugin that does not exist": (
        conf_with(ipam={"type": "no-such-plugin"}),
        (CONFIG_ERROR, IO_ERROR, ENVIRONMENT_ERROR),
    ),
    "ipam plugin outside CNI_PATH": (conf_with(ipam={"type": "../bin/true"}), CONFIG_ERROR),
}


@pytest.mark.long
@pytest.mark.smoke
@pytest.mark.parametrize("name", INPUTS)
def test_bad_input(node, namespaces, name):
    text, codes = INPUTS[name]
    (path,) = namespaces(1)
    done = node.plugin(node.cni_env("ADD", "bad-input", "eth0", path), text)
    assert_error(done, *(codes if isinstance(codes, tuple) else (codes,)))
    assert node.stale() == {} and allocations(node) == {}


ENVIRONMENTS = {  # what is changed in a good environment, code
    "no command": ({"CNI_COMMAND": None}, ENVIRONMENT_ERROR),
    "unknown command": ({"CNI_COMMAND": "UPDATE"}, ENVIRONMENT_ERROR),
    "lower case command": ({"CNI_COMMAND": "add"}, ENVIRONMENT_ERROR),
    "no container": ({"CNI_CONTAINERID": None}, ENVIRONMENT_ERROR),
    "container with a slash": ({"CNI_CONTAINERID": "a/b"}, ENVIRONMENT_ERROR),
    "container is a path": ({"CNI_CONTAINERID": "../x"}, ENVIRONMENT_ERROR),
    "container of 1,000 bytes": ({"CNI_CONTAINERID": "c" * 1000}, ENVIRONMENT_ERROR),
    "no interface": ({"CNI_IFNAME": None}, ENVIRONMENT_ERROR),
    "interface name too long": ({"CNI_IFNAME": "e" * 16}, ENVIRONMENT_ERROR),
    "interface named ..": ({"CNI_IFNAME": ".."}, ENVIRONMENT_ERROR),
    "interface with a blank": ({"CNI_IFNAME": "eth 0"}, ENVIRONMENT_ERROR),
    "interface with a slash": ({"CNI_IFNAME": "eth/0"}, ENVIRONMENT_ERROR),
    "no netns": ({"CNI_NETNS": None}, ENVIRONMENT_ERROR),
    "netns that does not exist": ({"CNI_NETNS": "/run/netns/nowhere"}, (ENVIRONMENT_ERROR, 3, IO_ERROR)),
    "netns is a plain file": ({"CNI_NETNS": "/etc/passwd"}, (ENVIRONMENT_ERROR, IO_ERROR)),
    "netns is another kind of namespace": ({"CNI_NETNS": "/proc/1/ns/mnt"}, (ENVIRONMENT_ERROR, IO_ERROR)),
    "netns is the node's own": ({"CNI_NETNS": "/proc/1/ns/net"}, (ENVIRONMENT_ERROR, IO_ERROR)),
    "netns path too long": ({"CNI_NETNS": "/run/" + "n" * 5000}, (ENVIRONMENT_ERROR, IO_ERROR)),
    "args without value": ({"CNI_ARGS": "IP"}, ENVIRONMENT_ERROR),
    "unknown args": ({"CNI_ARGS": "FOO=bar"}, ENVIRONMENT_ERROR),
    "bad address in args": ({"CNI_ARGS": "IP=10.0.0"}, ENVIRONMENT_ERROR),
    "bad mac in args": ({"CNI_ARGS": "MAC=zz"}, ENVIRONMENT_ERROR),
}


@pytest.mark.long
@pytest.mark.smoke
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_bad_environment(node, namespaces, name):
    change, codes = ENVIRONMENTS[name]
    (path,) = namespaces(1)
    env = {**node.cni_env("ADD", "bad-environment", "eth0", path), **change}
    done = node.plugin({k: v for k, v in env.items() if v is not None}, GOOD)
    assert_error(done, *(codes if isinstance(codes, tuple) else (codes,)))
    assert node.stale() == {} and allocations(node) == {}


@pytest.mark.smoke
def test_interface_exists(node):
    """A second ADD of one attachment, and an interface that another program has made: refused, nothing harmed."""
    pod = node.pod("a", network())
    done = node.cni("ADD", pod.chain[0], "another", "eth0", pod.path)
    assert_error(done, EXISTS)
    pod.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
    assert_error(node.cni("ADD", pod.chain[0], pod.container, "eth1", pod.path), EXISTS)
    assert {link["ifname"] for link in pod.ip("link", "show")} >= {"eth0", "eth1", "eth2"}
    pod.ping(NODE_GATEWAY[4])
    wait_for(lambda: node.pod_devices() == [pod.host_ifname], "the others to go")
    assert sorted(allocations(node)) == sorted(pod.ips.values())
    pod.delete()


@pytest.mark.smoke
def test_del_is_forgiving(node):
    """Repeated, for an attachment that never existed, without netns, without prevResult."""
    conf = network()
    assert node.cni("DEL", conf, "never-was", "eth0").ok
    pod = node.pod("a", conf)
    assert node.cni("DEL", conf, pod.container, "eth0").ok
    assert node.cni("DEL", conf, pod.container, "eth0", "/run/netns/long-gone").ok
    assert node.cni("DEL", conf, pod.container, "eth0", pod.path).ok
    pod.gone()
