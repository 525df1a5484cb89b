# SPDX-License-Identifier: BSD-2-Clause
"""`warren sysdump` on a node in use: what it contains, and above all what it must not contain."""

import io
import json
import tarfile

import pytest

from agent import Agent
from lab import network
from manifests import pod_object, policy, port, service
from rawbpf import PINS

KEY = bytes(range(200, 216))


def members(data):
    """{name without the directory: bytes}"""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        files = {m.name.partition("/")[2]: archive.extractfile(m).read() for m in archive.getmembers()}
        assert {m.mode for m in archive.getmembers()} == {0o600}
    return files


@pytest.fixture(scope="module")
def dump(lab):
    """The files of the archive of a node with an agent, a pod, a key from a file, and other things that must stay
    private.
    """
    node = lab.node
    node.outside("/run/key").write_text(KEY.hex())
    confs = node.outside("/run/net.d")
    confs.mkdir()
    plugins = [{"type": "warren-cni", "apiToken": "token-of-ours"}, {"type": "portmap", "backend": "config-of-chained"}]
    (confs / "05-warren.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "net", "plugins": plugins}))
    (confs / "10-other.conf").write_text('{"name": "other", "type": "other", "kubeconfig": "config-of-others"}')
    (confs / "20-broken.conf").write_text('{"name": "broken", "kubeconfig": configofbroken')
    wrap = ("env", "WARREN_MARK=mark-of-environment")
    with Agent(node, "--cluster-key", "/run/key", wrap=wrap) as agent:
        agent.write("a.json", pod_object("dumped-pod", {"app": "dumped-label"}), policy("dumped-policy", {"app": "x"}))
        agent.write("b.json", service("dumped/service", ["10.96.0.10"], port(80)))
        pod = node.pod("dumped", network(policy="agent"), args="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=dumped-pod")
        agent.wait_applied()
        # In an /etc of its own, as this one belongs to the machine.
        script = "mount -t tmpfs etc /etc; mkdir /etc/cni; cp -r /run/net.d /etc/cni; warren sysdump --output - >/run/dump"
        node.run("unshare", "-m", "sh", "-euc", script)
        yield members(node.outside("/run/dump").read_bytes())
        pod.delete()


def test_what_is_in_it(dump):
    failed = {name: text for name, text in dump.items() if name.endswith(".failed")}
    assert failed == {}
    assert json.loads(dump["status.json"])["loaded"]
    assert "dumped-pod" in dump["endpoints.json"].decode()
    assert "dumped-label" in dump["agent/identities.json"].decode()
    assert "dumped-policy" in dump["policies.json"].decode()
    assert json.loads(dump["agent/status.json"])["counts"]["policies"] == 1
    assert b"--cluster-key /run/key" in dump["agent/process.txt"]
    assert b"policy is enforced" in dump["agent/log.txt"]
    assert b"/proc/sys/net/ipv4/conf/warren0/rp_filter = " in dump["sysctls.txt"]
    assert b"table inet warren" in dump["net/nft.txt"]
    assert b"warren0" in dump["net/links.txt"] and b"warren0" in dump["net/proc.txt"]
    assert len(json.loads(dump["maps/addr4.json"])) == len(json.loads(dump["maps/addr6.json"])) == 1
    programs = json.loads(dump["programs.json"])
    assert {p["name"] for p in programs} >= {"from_pod", "to_pod", "xdp_uplink"} and all(p["id"] for p in programs)
    assert b"dumped-pod" in dump["run.txt"]
    assert all(what in dump["cni.txt"] for what in (b"05-warren.conflist", b'"portmap"', b"10-other.conf", b"20-broken.conf"))
    assert "dumped/service" in dump["services.json"].decode() and b'"namespace": "dumped"' in dump["agent/services.json"]


def verdict_seed(node):
    """What the programs' verdict cache is keyed with, from their read-only data."""

    def bpftool(*words):
        return json.loads(node.run("bpftool", "-j", *words).stdout)

    for number in bpftool("prog", "show", "pinned", f"{PINS}/progs/from_pod")["map_ids"]:
        if bpftool("map", "show", "id", str(number))["name"].endswith("rodata"):
            (section,) = bpftool("map", "dump", "id", str(number))[0]["formatted"]["value"].values()
            (secret,) = (v["verdict_secret"] for v in section if "verdict_secret" in v)
            return secret["seed"]


def test_no_secret_is_in_it(lab, dump):
    """Byte by byte: the cluster's key in every form, the programs' secret, tokens, environments."""
    seed = verdict_seed(lab.node)
    hidden = [KEY, KEY.hex().encode(), b"token-of-ours", b"config-of-others", b"configofbroken", b"config-of-chained"]
    hidden += [b"mark-of-environment", b"verdict_secret"]
    hidden += [str(seed).encode(), f"{seed:x}".encode(), seed.to_bytes(8, "little")]
    for name, text in dump.items():
        for what in hidden:
            assert what not in text, (name, what)
    assert b"(redacted)" in dump["cni.txt"]
