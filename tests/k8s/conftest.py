# SPDX-License-Identifier: BSD-2-Clause
"""A real Kubernetes: control plane and kubelets in namespaces (`cluster`), and what tests ask of it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NODES = ("n1", "n2")


class Kubernetes:
    """A cluster that ends with its block, whatever becomes of the test."""

    def __init__(self, name, **settings):
        self.env = {**os.environ, "NAME": name, **settings}
        self.holder = subprocess.Popen(
            [HERE / "cluster", "hold"], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        said = []
        for line in self.holder.stdout:
            if line == "ready\n":
                return
            said.append(line)
        self.close()
        raise RuntimeError("no cluster: " + "".join(said))

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        self._run("down")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, *argv, stdin=None, check=True):
        done = subprocess.run(
            [HERE / "cluster", *argv], env=self.env, input=stdin, capture_output=True, text=True, timeout=180
        )
        if check:
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def kubectl(self, *argv, **options):
        return self._run("kubectl", *argv, **options)

    def get(self, *argv):
        """The object, or the items of a list."""
        found = json.loads(self.kubectl("get", *argv, "-o", "json").stdout)
        return found["items"] if "items" in found else found

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def node(self, name, *argv, check=True):
        return self._run("exec", name, *argv, check=check)

    def inside(self, pod, *argv, check=True):
        return self.kubectl("exec", pod, "--", *argv, check=check)


@pytest.fixture(scope="session")
def programs():
    """What `cluster` runs is there: build.sh, whose 9 minutes want to be seen, has been."""
    where = Path(os.environ.get("K8S", HERE.parents[1] / "build/k8s"))
    if not (where / "images/busybox.tar").exists():
        pytest.skip("Kubernetes is not built: run tests/k8s/build.sh")
