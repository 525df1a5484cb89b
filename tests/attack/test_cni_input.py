# SPDX-License-Identifier: BSD-2-Clause
"""Input that no runtime sends, for every command: a reply in bounded time and memory, and no state left. Values that
are well formed but wrong, and the errors of ADD for them, are in tests/net/test_faults.py; the parsers alone are in
tests/fuzz.
"""

import contextlib
import json
import os

import pytest

from lab import Node, network
from seed import drawn

COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")
CPU_SECONDS, MEMORY = 2, 160 << 20  # of one call: prlimit ends one that needs more
BOUNDS = ["prlimit", f"--cpu={CPU_SECONDS}", f"--as={MEMORY}"]
LIMIT = 1 << 20  # bytes: CNI_INPUT_LIMIT, cni/cni.h
DECODE_ERROR = 6
GOOD = {**network(), "prevResult": {"cniVersion": "1.1.0", "ips": []}, "cni.dev/valid-attachments": []}


@pytest.fixture(scope="module")
def node():
    with Node() as node:
        node.warren("node", "init")
        node.netns_add("pod")
        yield node


def state(node):
    """All that a call could leave behind."""
    inside = node.run("ip", "netns", "exec", "pod", "ip", "-o", "address").stdout
    return {
        "stale": node.stale(),
        "files": [f for f in node.files("/run/warren") if f != "lock"],
        "links": sorted(link["ifname"] for link in node.ip("link", "show")),
        "in the pod": [line for line in inside.splitlines() if "lo " not in line],
        "locks": node.locks(),
        "processes": node.run("pgrep", "-x", "warren-cni", check=False).stdout,
    }


@pytest.fixture(autouse=True)
def nothing_left(node):
    before = state(node)
    yield
    assert state(node) == before


def call(node, command, text, **env):
    """One call within the bounds: it ends by itself, and a failure has its reason in JSON."""
    env = {**node.cni_env(command, "input", "eth0", "/run/netns/pod"), **env}
    done = node.plugin(env, text, wrap=BOUNDS)
    assert done.code in (0, 1), f"{command} ended with {done.code}: {done.stderr[-300:]}"
    if done.code:
        assert done.json and done.json["code"] and len(done.json["msg"]) > 10, done
        assert len(done.stdout) < 4096, "an error that quotes its input at length"
    return done


def filled(start, item, end):
    """`item` as often as the limit has room."""
    return start + item * ((LIMIT - len(start) - len(end)) // len(item)) + end


TEXTS = {  # what is refused as a whole
    "64 MB": b" " * (64 << 20),
    "64 MB of brackets": b"[" * (64 << 20),
    "a megabyte of brackets": b"[" * LIMIT,
    "an object in an object in an object": b'{"a":' * 65 + b"0" + b"}" * 65,
    "brackets in a string": b'{"a":"' + b"[" * 1000 + b'\\"' + b"{" * 1000,
    "NULs": b"\0" * 4096,
    "NUL behind the object": json.dumps(GOOD).encode() + b"\0",
    "NUL in a key": b'{"cniVersion\\u0000":"1.1.0"}',
    "invalid UTF-8": b'{"cniVersion":"1.1.0","name":"\xc0\xaf"}',
    "half a surrogate": b'{"cniVersion":"1.1.0","name":"\\ud800"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "duplicate keys, ten thousand": b"{" + b",".join(b'"a":0' for _ in range(10000)) + b"}",
    "number without an end": b'{"mtu":' + b"9" * 100000 + b"}",
    "string without an end": b'{"a":"' + b"x" * (LIMIT - 100),
    "nothing but a byte order mark": b"\xef\xbb\xbf",
}


@pytest.mark.parametrize("name", TEXTS)
def test_no_configuration(node, name):
    for command in COMMANDS:
        done = call(node, command, TEXTS[name])
        assert done.code == 1 and done.json["code"] == DECODE_ERROR, (command, done)


BIG = {  # what is parsed wholly, up to the limit
    "empty objects": filled('{"a":[', "{},", "{}]}"),
    "empty arrays": filled('{"a":[', "[],", "[]]}"),
    "numbers": filled('{"a":[', "0,", "0]}"),
    "arrays of depth 60": filled('{"a":[', "[" * 60 + "]" * 60 + ",", "0]}"),
    "keys": "{" + ",".join(f'"{i:05x}":0' for i in range(LIMIT // 11 - 8)) + "}",
    "exclusions": json.dumps(
        {**GOOD, "ipam": {"ranges": [[{"subnet": "10.0.0.0/8"}]], "exclude": [f"10.0.{i >> 8}.{i & 255}" for i in range(52000, 0, -1)]}}
    ),
    "ranges": json.dumps({**GOOD, "ipam": {"ranges": [[{"subnet": f"10.{i >> 8}.{i & 255}.0/24"} for i in range(30000)]]}}),
    "addresses in prevResult": json.dumps(
        {**GOOD, "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": f"10.9.{i >> 8}.{i & 255}/32"} for i in range(30000)]}}
    ),
    "valid attachments": json.dumps(
        {**GOOD, "cni.dev/valid-attachments": [{"containerID": f"c{i}", "ifname": "eth0"} for i in range(20000)]}
    ),
    "labels": json.dumps({**GOOD, "args": {"cni": {"labels": [{"key": f"k{i}", "value": "v"} for i in range(30000)]}}}),
}


@pytest.mark.parametrize("name", BIG)
def test_large_configuration(node, name):
    assert len(BIG[name]) <= LIMIT
    for command in COMMANDS:
        # Some of these are valid: a namespace that does not exist keeps ADD from succeeding.
        call(node, command, BIG[name], CNI_NETNS="/run/netns/nowhere")


def mutated(rng, text):
    """The configuration with some bytes of it, or some of its values, replaced."""
    odd = [None, True, -1, 1 << 63, 1e308, "", "\U0001f600", "x" * 5000, "../../etc", [], {}, [[]], [None], {"": {}}, "10.87.0.0/24", "::/0"]

    def change(value):
        if rng.random() < 0.15:
            return rng.choice(odd)
        if isinstance(value, dict):
            return {(rng.choice(["", "type", "name", k * 3]) if rng.random() < 0.05 else k): change(v) for k, v in value.items()}
        return [change(v) for v in value] if isinstance(value, list) else value

    if rng.random() < 0.5:
        return json.dumps(change(json.loads(text))).encode()
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data))
        data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    return bytes(data)


@pytest.mark.parametrize("turn", range(4))
def test_mutated_configuration(node, turn):
    """An ADD that succeeds by chance is undone by DEL with the same text."""
    rng, text = drawn(), json.dumps(GOOD)
    for _ in range(40):
        data, command = mutated(rng, text), rng.choice(COMMANDS)
        if b"dataDir" in data or b"logFile" in data:
            continue
        done = call(node, command, data)
        if command == "ADD" and done.code == 0:
            assert call(node, "DEL", data).code == 0
    node.assert_clean()
    for path in node.outside("/run/warren/ipam").glob("*"):
        assert json.loads(path.read_text())["allocations"] == {}
        path.unlink()


LONG = 128 * 1024 - 64  # bytes: a string of the environment has less than 128 KiB (MAX_ARG_STRLEN)
ENVIRONMENTS = {
    "args of 128 KiB": {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=" + "a" * (LONG - 60)},
    "args of 128 KiB in pairs": {"CNI_ARGS": ("IgnoreUnknown=1;" + "A=b;" * (LONG // 4))[: LONG - 60] + ";A="},
    "args of 128 KiB of separators": {"CNI_ARGS": ";" * (LONG - 20)},
    "args that are not UTF-8": {"CNI_ARGS": b"K8S_POD_NAME=\xff\xfe"},
    "container of 128 KiB": {"CNI_CONTAINERID": "c" * (LONG - 20)},
    "container that leads upwards": {"CNI_CONTAINERID": "../../../etc/cron.d/x"},
    "container that leads upwards later": {"CNI_CONTAINERID": "a/../../b"},
    "container with the separator": {"CNI_CONTAINERID": "a@eth0"},
    "container with a line break": {"CNI_CONTAINERID": "a\nerror: b"},
    "container that is hidden": {"CNI_CONTAINERID": ".a"},
    "interface with slashes": {"CNI_IFNAME": "../../x"},
    "interface of 16 bytes": {"CNI_IFNAME": "e" * 16},
    "interface of 128 KiB": {"CNI_IFNAME": "e" * (LONG - 20)},
    "interface that is a pattern": {"CNI_IFNAME": "eth%d"},
    "interface with the separator": {"CNI_IFNAME": "a@b"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment(node, name):
    """Refused by every command that has to do with an attachment; DEL, which must end, does not read CNI_ARGS."""
    for command in ("ADD", "CHECK", "DEL"):
        done = call(node, command, json.dumps(GOOD), **ENVIRONMENTS[name])
        if command != "DEL" or "CNI_ARGS" not in ENVIRONMENTS[name]:
            assert done.code == 1 and done.json["code"] in (4, 7), (command, done)


@contextlib.contextmanager
def odd_file(node, kind):
    path = node.outside("/run/odd")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to("odd")
    elif kind == "link to a terminal":
        path.symlink_to("/dev/ptmx")
    elif kind == "link to what has no end":
        path.symlink_to("/dev/zero")
    elif kind == "process that is gone":
        path.symlink_to("/proc/4194303/ns/net")
    elif kind == "user namespace":
        path.symlink_to("/proc/1/ns/user")
    else:
        path.touch()
    try:
        yield "/run/odd"
    finally:
        path.rmdir() if kind == "directory" else path.unlink()


NETNS = ["FIFO", "directory", "link to itself", "link to a terminal", "link to what has no end", "process that is gone", "user namespace", "empty"]


@pytest.mark.parametrize("kind", NETNS)
def test_namespace(node, kind):
    """Not a network namespace: ADD and CHECK refuse it, DEL has nothing to do there."""
    with odd_file(node, kind) as path:
        for command in ("ADD", "CHECK", "DEL"):
            done = call(node, command, json.dumps(GOOD), CNI_NETNS=path)
            assert done.code == (command != "DEL"), (command, done)
