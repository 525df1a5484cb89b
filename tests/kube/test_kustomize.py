# SPDX-License-Identifier: BSD-2-Clause
"""examples/kubernetes by kustomize: the image's name stands in one place."""

import re
import shutil
import subprocess

import pytest

from control_plane import HERE, KUBE

KUBECTL = KUBE / "bin/kubectl"
EXAMPLES = HERE.parents[1] / "examples/kubernetes"


@pytest.mark.parametrize(("directory", "manifest", "containers"), [("", "warren.yaml", 3), ("uninstall", "uninstall.yaml", 2)])
def test_the_image(tmp_path, directory, manifest, containers):
    """As it is shipped it is the manifest's own; changed there, all containers have it, and nothing else is different."""
    if not KUBECTL.exists():
        pytest.skip(f"no {KUBECTL}: run {HERE}/build.sh")
    examples = shutil.copytree(EXAMPLES, tmp_path / "examples", symlinks=True)

    def built():
        return subprocess.run([KUBECTL, "kustomize", examples / directory], check=True, capture_output=True, text=True).stdout

    def images(text):
        return re.findall(r"\bimage: (\S+)$", text, re.MULTILINE)

    shipped = built()
    assert images(shipped) == images((EXAMPLES / manifest).read_text()) and len(images(shipped)) == containers
    image = examples / "image/kustomization.yaml"
    image.write_text(re.sub("newName: .*\n  newTag: .*", "newName: registry.example/net/warren\n  newTag: v9", image.read_text()))
    assert set(images(built())) == {"registry.example/net/warren:v9"}
    assert built().replace("registry.example/net/warren:v9", images(shipped)[0]) == shipped
