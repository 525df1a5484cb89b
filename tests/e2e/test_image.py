# SPDX-License-Identifier: BSD-2-Clause
"""`make image`: small, reproducible, and accepted by a real containerd."""

import hashlib
import json
import os
import re
import subprocess
import tarfile

import pytest

from conftest import write_conflist
from lab import BUILD, REPO, network

NAME = "localhost/warren:test"
LIMIT = 30 << 20


def make_image(path):
    """The archive, made into a directory of its own from the programs that are built."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    make = ["make", "-s", f"O={BUILD}", f"IMAGE_DIR={path}", f"IMAGE={NAME}", "image"]
    subprocess.run(make, cwd=REPO, env=env, check=True, capture_output=True)
    return path / "warren.tar"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return make_image(tmp_path_factory.mktemp("image"))


@pytest.mark.long
def test_small_and_the_same_every_time(image, tmp_path):
    assert image.stat().st_size < LIMIT
    again = make_image(tmp_path)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(image.read_bytes()).digest()


def test_programs_with_and_without_libraries(tmp_path):
    """The reference plugins come static, or as Debian builds them."""
    subprocess.run([REPO / "packaging/image", "programs", tmp_path, "/bin/busybox", "/bin/true"], check=True)
    for name in ("busybox", "true"):
        assert subprocess.run(["chroot", tmp_path, f"/usr/sbin/{name}"], capture_output=True).returncode == 0


def test_both_forms(image):
    """index.json, as OCI has it, and manifest.json, as `docker load` reads it, lead to the same blobs, each of its own
    digest.
    """
    with tarfile.open(image) as archive:
        blobs = {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}
    for name, data in blobs.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]

    def blob(descriptor):
        data = blobs["blobs/" + descriptor["digest"].replace(":", "/")]
        assert len(data) == descriptor["size"]
        return data

    (manifest,) = json.loads(blobs["index.json"])["manifests"]
    assert manifest["annotations"]["io.containerd.image.name"] == NAME
    oci = json.loads(blob(manifest))
    (docker,) = json.loads(blobs["manifest.json"])
    assert docker["RepoTags"] == [NAME]
    assert [blobs[docker["Config"]]] == [blob(oci["config"])]
    assert [blobs[layer] for layer in docker["Layers"]] == [blob(layer) for layer in oci["layers"]]
    config = json.loads(blob(oci["config"]))
    assert config["config"]["Labels"]["org.opencontainers.image.title"] == "warren"


SPACE = ["ctr", "--namespace", "k8s.io"]


@pytest.fixture(scope="module")
def imported(node, containerd, image):
    """As kind does it."""
    with image.open("rb") as archive:
        env = node.env
        command = [*SPACE, "images", "import", "--all-platforms", "--digests", "--snapshotter=native", "-"]
        subprocess.run(node.argv(command), env=env, stdin=archive, pass_fds=(node.fd,), check=True, capture_output=True)
    assert NAME in node.run(*SPACE, "images", "ls", "-q").stdout.splitlines()


def test_containerd_runs_it(node, imported):
    """All programs start; install works from within."""
    write_conflist(node, "pods", [network()])
    script = "warren-agent --version && warren help >/dev/null && mkdir /b && warren-agent install --cni-bin-dir /b 2>&1 && ls /b"
    run = [*SPACE, "run", "--rm", "--snapshotter=native", NAME, "t", "/bin/sh", "-c", script]
    said = node.run(*run).stdout
    assert said.startswith("warren-agent ") and said.split()[-2:] == ["portmap", "warren-cni"]


def test_install_from_a_container_as_in_the_manifest(node, imported):
    """Without capabilities, and with the host's files: it finds which containerd runs there, and its configuration, which
    is not the one that Debian has for its containerd.
    """
    manifest = (REPO / "examples/kubernetes/warren.yaml").read_text()
    (install,) = re.findall(r"^      - name: install\n(.*?)^      containers:", manifest, re.MULTILINE | re.DOTALL)
    assert "capabilities: { drop: [ALL] }" in install and "readOnlyRootFilesystem: true" in install
    command = re.search(r"command: \[(.*)\]", install)[1].replace(",", "")
    capabilities = ["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"]
    capabilities += ["NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"]
    run = [*SPACE, "run", "--rm", "--snapshotter=native", "--read-only", *(f"--cap-drop=CAP_{name}" for name in capabilities)]
    for source, target in (("/", "/host"), ("/var/lib/warren", "/var/lib/warren")):
        run.append(f"--mount=type=bind,src={source},dst={target},options=rbind:rw")
    node.run("mkdir", "/var/lib/warren")
    node.run("sh", "-c", "rm /opt/cni/bin/*")
    script = f"grep CapEff /proc/self/status; {command} 2>&1"
    said = node.run(*run, NAME, "t", "/bin/sh", "-c", script).stdout
    assert "CapEff:\t0000000000000000\n" in said
    assert "containerd looks for plugins in /opt/cni/bin, its default: /run/containerd.toml names no directory" in said
    assert node.files("/opt/cni/bin") == ["portmap", "warren-cni"]
    assert node.outside("/var/lib/warren/installed").read_text().split() == ["/opt/cni/bin/warren-cni", "/opt/cni/bin/portmap"]


def test_the_dockerfile_builds_as_the_makefile_does():
    """Without Docker here the test only reads it: its packages are those of `make deps`, and its files are in the context."""
    text = (REPO / "Dockerfile").read_text()
    packages, source = re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.MULTILINE)
    assert (packages, source) == ("tests/lib/deps.sh", ".") and f"\nRUN /{packages.rpartition('/')[2]} build\n" in text
    assert "$(Q)tests/lib/deps.sh build" in (REPO / "Makefile").read_text()
    ignored = (REPO / ".dockerignore").read_text().split()
    assert not any(packages.startswith(path) for path in ignored)
