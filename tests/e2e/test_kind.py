# SPDX-License-Identifier: BSD-2-Clause
"""examples/kind: its configuration, read by kind's own types (tests/kind, a small Go program)."""

import json
import os
import shutil
import subprocess

import pytest

from lab import REPO

CONFIG = REPO / "examples/kind/cluster.yaml"


@pytest.fixture(scope="module")
def as_kind_reads_it(tmp_path_factory):
    """Reads a configuration; an invalid one is an AssertionError.""" 
    program = tmp_path_factory.mktemp("kind") / "kind"
    go = os.environ.get("GO") or shutil.which("go", path=os.environ["PATH"] + ":/usr/local/go/bin")
    if not go:
        pytest.skip("no go command")
    env = {"HOME": str(program.parent), **os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    build = [go, "build", "-o", program, "."]
    done = subprocess.run(build, cwd=REPO / "tests/kind", env=env, capture_output=True, text=True)
    if done.returncode and ("dial tcp" in done.stderr or "proxy" in done.stderr):
        pytest.skip("the modules of kind cannot be fetched: " + done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr

    def read(path):
        done = subprocess.run([program, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


def test_the_configuration(as_kind_reads_it):
    cluster = as_kind_reads_it(CONFIG)
    network = cluster["networking"]
    assert network["disableDefaultCNI"] and network["ipFamily"] == "dual"
    for subnets in (network["podSubnet"], network["serviceSubnet"]):
        assert [":" in subnet for subnet in subnets.split(",")] == [False, True]
    assert [node["role"] for node in cluster["nodes"]] == ["control-plane", "worker", "worker"]


def test_a_field_that_kind_does_not_have(as_kind_reads_it, tmp_path):
    wrong = tmp_path / "cluster.yaml"
    wrong.write_text(CONFIG.read_text().replace("disableDefaultCNI", "disableDefaultCni"))
    with pytest.raises(AssertionError, match="disableDefaultCni"):
        as_kind_reads_it(wrong)


@pytest.fixture
def script(tmp_path):
    """Runs examples/kind/cluster with programs that only log their arguments."""
    calls = tmp_path / "calls"
    for name in ("kind", "kubectl", "make"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{calls}\n')
        program.chmod(0o755)
    env = {**{k: v for k, v in os.environ.items() if k not in ("KIND", "KUBECTL", "O")}, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(*argv):
        calls.write_text("")
        done = subprocess.run([REPO / "examples/kind/cluster", *argv], env=env, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return calls.read_text().splitlines()

    return run


def test_the_script(script):
    kubectl = "kubectl --context kind-warren "
    made = [f"make -C {REPO} --no-print-directory O={REPO}/build image"]
    loaded = [f"kind load image-archive --name warren {REPO}/build/image/warren.tar"]
    rollout = [f"{kubectl}-n kube-system rollout status daemonset/warren --timeout=3m"]
    up = script("up")
    assert up[:5] == [f"kind create cluster --config {CONFIG}", *made, *loaded,
                      f"{kubectl}apply -f {REPO}/examples/kubernetes/warren.yaml", *rollout]
    assert f"{kubectl}wait --for=condition=Ready node --all --timeout=1m" in up[5:]
    assert script("load") == [*made, *loaded, f"{kubectl}-n kube-system rollout restart daemonset/warren", *rollout]
    assert script("down") == ["kind delete cluster --name warren"]
