# SPDX-License-Identifier: BSD-2-Clause
"""What the tree promises a person: the examples work as they are, and `make install` puts what `make uninstall` removes."""

import subprocess

import pytest

from lab import BUILD, REPO

EXAMPLES = sorted(REPO.glob("examples/*.conflist"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(cnitool, node, example):
    node.outside("/etc/cni/net.d").mkdir(parents=True, exist_ok=True)
    node.outside(f"/etc/cni/net.d/{example.name}").write_text(example.read_text())
    first, second = cnitool.pod("first"), cnitool.pod("second")
    cnitool.add("pods", first)
    ips = [ip["address"].split("/")[0] for ip in cnitool.add("pods", second)["ips"]]
    assert len(ips) == 2
    for ip in ips:
        node.run("ip", "netns", "exec", "first", "ping", "-n", "-c", "1", "-W", "5", ip)
    for netns in (first, second):
        cnitool("check", "pods", netns)
        cnitool("del", "pods", netns)
    node.outside(f"/etc/cni/net.d/{example.name}").unlink()
    node.assert_clean()


def test_install(tmp_path):
    def make(target):
        subprocess.run(
            ["make", "-C", REPO, f"O={BUILD}", target, f"DESTDIR={tmp_path}", "PREFIX=/usr"], check=True, capture_output=True
        )
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}

    assert make("install") == {
        "opt/cni/bin/warren-cni",
        "usr/sbin/warren",
        "usr/share/bash-completion/completions/warren",
        "usr/share/man/man8/warren-cni.8",
        "usr/share/man/man8/warren.8",
    }
    assert make("uninstall") == set()
