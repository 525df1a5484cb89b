# SPDX-License-Identifier: BSD-2-Clause
"""What the documents promise: the examples work as they are, and `make uninstall` removes what `make install` installs."""

import contextlib
import re
import subprocess

import pytest

from agent import Agent
from lab import BUILD, REPO

EXAMPLES = sorted(REPO.glob("examples/*.conflist"))


@contextlib.contextmanager
def agent_if_needed(node, example):
    """With the example application's pods, and none of its policies."""
    if '"policy": "agent"' not in example.read_text():
        yield
        return
    with Agent(node) as agent:
        agent.write("cluster.yaml", (REPO / "examples/policy/cluster.yaml").read_text())
        yield
        agent.clear()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(cnitool, node, example):
    node.outside("/etc/cni/net.d").mkdir(parents=True, exist_ok=True)
    node.outside(f"/etc/cni/net.d/{example.name}").write_text(example.read_text())
    pods = {cnitool.pod(name): f"IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}" for name in ("web", "api")}
    with agent_if_needed(node, example):
        *_, result = [cnitool.add("pods", netns, args=args) for netns, args in pods.items()]
        ips = [ip["address"].split("/")[0] for ip in result["ips"]]
        assert len(ips) == 2
        for ip in ips:
            node.run("ip", "netns", "exec", "web", "ping", "-n", "-c", "1", "-W", "5", ip)
        for netns, args in pods.items():
            cnitool("check", "pods", netns, args=args)
            cnitool("del", "pods", netns, args=args)
    node.outside(f"/etc/cni/net.d/{example.name}").unlink()
    node.assert_clean()


def test_install(tmp_path):
    def make(target):
        subprocess.run(
            ["make", "-C", REPO, f"O={BUILD}", target, f"DESTDIR={tmp_path}", "PREFIX=/usr"], check=True, capture_output=True
        )
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}

    assert make("install") == {
        "etc/NetworkManager/conf.d/warren.conf",
        "opt/cni/bin/warren-cni",
        "usr/bin/kubectl-warren",
        "usr/lib/systemd/network/05-warren.network",
        "usr/lib/systemd/system/warren-agent.service",
        "usr/sbin/warren",
        "usr/sbin/warren-agent",
        "usr/share/bash-completion/completions/warren",
        "usr/share/man/man8/warren-agent.8",
        "usr/share/man/man8/warren-cni.8",
        "usr/share/man/man8/warren.8",
    }
    unit = (tmp_path / "usr/lib/systemd/system/warren-agent.service").read_text()
    assert "\nExecStart=/usr/sbin/warren-agent --manifests /etc/warren/manifests\n" in unit
    (tmp_path / "etc/warren/manifests/policy.yaml").write_text("mine")
    assert make("uninstall") == {"etc/warren/manifests/policy.yaml"}


def test_every_map_is_documented():
    """The table in bpf/README.md has each map of the registry, and no other."""
    registry = re.findall(r"^(?:#define WARREN_(?:RINGS|SOCKET_MAPS)\(X\))?\s*X\((\w+), ", (REPO / "bpf/abi/maps.h").read_text(), re.M)
    section = (REPO / "bpf/README.md").read_text().split("\n## Maps\n")[1].split("\n## ")[0]
    table = [name for row in re.findall(r"^\| (`.*?) \|", section, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(table) == sorted(registry)


DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", *sorted(str(p.relative_to(REPO)) for d in ("bpf", "cni", "user") for p in (REPO / d).rglob("README.md"))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_what_there_is(document):
    """Each file and each function() that a document names is in the tree: so a renamed one is renamed there, too."""
    text = (REPO / document).read_text()
    files = subprocess.run(["git", "ls-files"], cwd=REPO, check=True, capture_output=True, text=True).stdout.split()
    code = "\n".join((REPO / f).read_text() for f in files if f.endswith((".c", ".h", ".py", ".sh")))
    named = set(re.findall(r"(?<![\w*<>./-])\w[\w/.-]*\.(?:c|h|py|sh|md)\b", text))
    functions = set(re.findall(r"\b\w+\(\)", text))
    assert {name for name in named if not any(f"/{f}".endswith(f"/{name}") for f in files)} == set()
    assert {name for name in functions if name[:-1] not in code} == set()


def test_security_says_which_of_its_proofs_are_long():
    text = (REPO / "SECURITY.md").read_text()
    says = set(re.findall(r"`(test_\w+\.py)`", text.split("\n## ")[0]))
    named = {REPO / name for name in re.findall(r"`(tests/(?:net|attack)/test_\w+\.py)`", text)}
    assert says == {path.name for path in named if re.search(r"^pytestmark = .*mark\.(long|alone)", path.read_text(), re.M)}


JUMPS = re.compile(
    r"CLOCK_REALTIME|CLOCK_TAI|\b(time|ftime|gettimeofday|timespec_get|utime|clock)\s*\(|_ktime_get_(real|tai)"
    r"|\b(pthread_\w+|sem|mq)_timed\w+\(|\bst_[acm]tim|\bstx_[acmb]time|UV_CLOCK_REALTIME|uv_clock_gettime"
)
SHOWN = {  # where the time of day is shown to people and the API server, and decides nothing
    "user/agent/http/metrics.c": 1,
    "user/agent/kube/kube_task.c": 1,
    "user/cli/cmd/cmd_deny.c": 1,
    "user/cli/cmd/cmd_sysdump.c": 1,
    "user/cli/live.c": 1,
    "user/kube/api/api_credentials.c": 3,  # a file's, and only whether it is still the same
    "user/lib/log.c": 1,
}


def test_nothing_goes_by_a_clock_that_jumps():
    """The time of day may be set, also by years and back: decisions need a clock that cannot be set."""
    found = {}
    for path in sorted(path for part in ("bpf", "cni", "user") for path in (REPO / part).rglob("*.[ch]")):
        code = re.sub(r"/\*.*?\*/|//[^\n]*|\"(\\.|[^\"\\\n])*\"", "", path.read_text(), flags=re.S)
        if hits := len(list(JUMPS.finditer(code))):
            found[str(path.relative_to(REPO))] = hits
    assert found == SHOWN
