# SPDX-License-Identifier: BSD-2-Clause
"""The control plane of a Kubernetes in namespaces (`cluster`), which end with their block, whatever becomes of the test."""

import json
import os
import subprocess
from pathlib import Path

from kube_client import KubeClient
from lab import BUILD
from netns import Netns

HERE = Path(__file__).resolve().parent
KUBE = Path(os.environ.get("KUBE", HERE.parents[1] / "build/kube"))
API = {4: "10.10.0.10", 6: "fd10::10"}  # addresses of the API server


class ProcessNetns(Netns):
    """That of a process. `node`: where commands in it run."""

    def __init__(self, node, pid):
        self.node = node
        self.fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class ControlPlane:
    """etcd and an API server without nodes or controllers: a place for objects. `settings`: the variables of `cluster`."""

    nodes = 0

    def __init__(self, name, **settings):
        self.name = f"{name}-{os.getpid()}"
        self.env = {**os.environ, "NODES": str(self.nodes), "NAME": self.name, "WARREN_BUILD": str(BUILD), "KUBE": str(KUBE), **settings}
        self.families = tuple(map(int, self.env.get("FAMILIES", "4 6").split()))
        self.holder = subprocess.Popen(
            [HERE / "cluster", "hold"], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self.said, self.world, self.api = [], None, None
        for line in self.holder.stdout:
            if line == "ready\n":
                break
            self.said.append(line)
        else:
            self.close()
            raise RuntimeError("no cluster: " + "".join(self.said))
        self.world = ProcessNetns(None, self.holder.pid)
        self.home = Path(f"/proc/{self.holder.pid}/root/run/kube")
        self.pki = self.home / "pki"
        self.api = KubeClient(self.world, self.pki, address=API[self.families[0]])

    def close(self):
        for opened in (self.world, self.api):
            if opened:
                opened.close()
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        self.run("down")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- commands ---

    def run(self, *argv, stdin=None, check=True, timeout=180):
        """A command of `cluster`."""
        done = subprocess.run(
            [HERE / "cluster", *argv], env=self.env, input=stdin, capture_output=True, text=True, timeout=timeout
        )
        if check:
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def kubectl(self, *argv, **options):
        return self.run("kubectl", *argv, **options)

    def node(self, name, *argv, check=True, **options):
        return self.run("exec", name, *argv, check=check, **options)

    def popen(self, *argv, env=None, **options):
        """A program of this machine, where the API server can be reached and its files are those of this machine."""
        net = f"--net=/proc/{self.holder.pid}/ns/net"
        return subprocess.Popen(["nsenter", net, *map(str, argv)], env={**os.environ, **(env or {})}, **options)

    # --- its servers ---

    def stop_api(self, which="cp"):
        self.run("api", "stop", which)

    def start_api(self, which="cp"):
        """Returns when it serves."""
        self.run("api", "start", which)

    def etcd(self, call, **body):
        """By its JSON gateway."""
        url = f"http://127.0.0.1:2379/v3/kv/{call}"
        return json.loads(self.node("cp", "curl", "-sS", "--fail", "-d", json.dumps(body), url).stdout)

    def backup_etcd(self):
        """Saves the content of etcd, for restore_etcd(); all servers are stopped meanwhile."""
        self.run("etcd", "backup")

    def restore_etcd(self):
        self.run("etcd", "restore")
