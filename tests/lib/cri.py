# SPDX-License-Identifier: BSD-2-Clause
"""containerd's CRI, as a kubelet uses it: pods (sandboxes) by RunPodSandbox and StopPodSandbox, and nothing in them but
the image's sleep. The calls are made with curl: gRPC is HTTP/2, and these few messages are some strings.
"""

import contextlib
import json
import subprocess
from pathlib import Path

from lab import REPO, Lab
from netns import COMMAND, Netns, wait_for
from traffic import Datagrams, Transfer

PAUSE = "warren.example/pause:1"
DEBIANS_CONFIG = Path("/etc/containerd/config.toml")
CRI = '[plugins."io.containerd.grpc.v1.cri"]\n'
# Of containerd 2, with its own paths.
CONFIG_2 = f"""version = 3
oom_score = 0
[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
"""


def _number(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def encode(fields):
    """{number: text, or fields of a message} as protobuf."""
    out = b""
    for number, value in fields.items():
        data = encode(value) if isinstance(value, dict) else value.encode()
        out += _number(number << 3 | 2) + _number(len(data)) + data
    return out


def decode(data):
    """{number: [bytes or int]} of a message with texts, messages and integers."""
    fields, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = data[at : at + value], at + value
        fields.setdefault(tag >> 3, []).append(value)
    return fields


class Sandbox(Netns):
    """A pod: its network namespace."""

    def __init__(self, cri, name):
        metadata = {1: name, 2: f"uid-{name}", 3: "default"}
        config = {1: metadata, 8: {1: cri.cgroup}}
        self.cri, self.name = cri, name
        self.id = cri.call("RunPodSandbox", {1: config})[1][0].decode()
        status = decode(cri.call("PodSandboxStatus", {1: self.id})[1][0])
        network = decode(status[5][0])
        addresses = [network[1][0].decode(), *(decode(ip)[1][0].decode() for ip in network.get(2, []))]
        self.ips = {6 if ":" in address else 4: address for address in addresses}
        self.netns = self.result()["interfaces"][-1]["sandbox"]
        # Seen from here, the link /var/run leads out of the node.
        super().__init__(cri.node, self.netns.removeprefix("/var"))

    def result(self):
        """What the runtime keeps of the pod's ADD: libcni's cache."""
        (cached,) = self.cri.node.outside("/var/lib/cni/results").glob(f"*-{self.id}-eth0")
        return json.loads(cached.read_text())["result"]

    def check(self):
        """The plugin's CHECK, which no CRI calls, with what the runtime keeps of the ADD: libcni's CNIResult."""
        (conflist,) = self.cri.node.outside("/etc/cni/net.d").glob("*.conflist")
        listed = json.loads(conflist.read_text())
        conf = {**listed["plugins"][0], "name": listed["name"], "cniVersion": listed["cniVersion"], "prevResult": self.result()}
        env = self.cri.node.cni_env("CHECK", self.id, "eth0", self.netns)
        self.cri.node.run(f"{self.cri.plugins}/warren-cni", env=env, input=json.dumps(conf))

    def stop(self):
        """The runtime calls the plugin's DEL."""
        self.close()
        self.cri.remove(self.id)


def debians_config():
    text = DEBIANS_CONFIG.read_text()
    assert text.count(CRI) == 1 and "oom_score" not in text
    text = text.replace(CRI, f'{CRI}sandbox_image = "{PAUSE}"\nrestrict_oom_score_adj = true\ndisable_apparmor = true\n')
    return f'oom_score = 0\n{text}[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "native"\n'


class Cri:
    """containerd in a node, started as Debian starts it, with Debian's configuration and so with its paths; or, with
    `programs`, containerd 2 of that directory with its own. What differs: the node has no registry, no AppArmor, no
    right to lower oom_score_adj, no file system for overlays. `with Cri(node)`.
    """

    SOCKET = "/run/containerd/containerd.sock"
    LOG = "/run/containerd.log"

    def __init__(self, node, programs=None):
        self.node, self.cgroup, self.pods, self.daemon = node, f"/warren-{node.name}", [], None
        self.path = f"PATH={programs}:$PATH" if programs else "PATH=$PATH"
        self.plugins = "/opt/cni/bin" if programs else "/usr/lib/cni"
        # containerd 2 would unpack for the snapshotters of its configuration only.
        self.importing = "--local" if programs else ""
        node.outside("/etc/containerd").mkdir(exist_ok=True)
        # Of the node's overlay.
        node.outside("/etc/containerd/config.toml").write_text(CONFIG_2 if programs else debians_config())
        self.start()
        self.make_image()

    def make_image(self):
        image = REPO / "packaging/image"
        node = self.node
        node.run(image, "busybox", "/run/pause")
        node.run(image, "pack", "/run/pause.tar", PAUSE, "/run/pause", "entrypoint=/bin/sleep", "cmd=2147483647")
        node.run("sh", "-c", f"{self.path} ctr -n k8s.io images import {self.importing} --snapshotter native /run/pause.tar")
        node.run("rm", "-r", "/run/pause", "/run/pause.tar")

    def start(self):
        self.daemon = self.node.run("sh", "-c", f"{self.path} setsid containerd </dev/null >>{self.LOG} 2>&1 & echo $!").stdout.strip()
        wait_for(lambda: self.call("Status", {}, check=False) is not None, "containerd answers")

    def end(self, signal="TERM"):
        self.node.run("kill", f"-{signal}", self.daemon)
        self.node.run("tail", "-s", "0.02", f"--pid={self.daemon}", "-f", "/dev/null")

    @contextlib.contextmanager
    def down(self, signal):
        """The runtime has ended meanwhile. Its pods live on, in shims."""
        self.end(signal)
        try:
            yield
        finally:
            self.start()

    def log(self):
        return self.node.outside(self.LOG).read_text()

    def call(self, method, request, check=True):
        """The response's fields; without `check` None if there is none."""
        message = encode(request)
        command = ["curl", "-s", "-S", "--http2-prior-knowledge", "--unix-socket", self.SOCKET, "--data-binary", "@-"]
        command += ["-H", "content-type: application/grpc", "-D", "/run/cri.headers", "-o", "/run/cri.reply"]
        env = self.node.env
        done = subprocess.run(
            self.node.argv([*command, f"http://localhost/runtime.v1.RuntimeService/{method}"]),
            env=env, pass_fds=(self.node.fd,), input=b"\0" + len(message).to_bytes(4, "big") + message,
            capture_output=True, timeout=COMMAND,
        )
        headers = self.node.outside("/run/cri.headers")
        headers = headers.read_text() if headers.exists() else ""
        if done.returncode == 0 and "grpc-status: 0" in headers:
            return decode(self.node.outside("/run/cri.reply").read_bytes()[5:])
        assert not check, f"{method}: {done.stderr.decode()}{headers}\n{self.log()}"
        return None

    def network_ready(self):
        conditions = [decode(c) for c in decode(self.call("Status", {})[1][0])[1]]
        return any(c[1] == [b"NetworkReady"] and c.get(2) == [1] for c in conditions)

    def pod(self, name):
        wait_for(self.network_ready, "the runtime has a network")
        self.pods.append(Sandbox(self, name))
        return self.pods[-1]

    def remove(self, sandbox):
        self.call("StopPodSandbox", {1: sandbox})
        self.call("RemovePodSandbox", {1: sandbox})

    def stop(self, pod):
        self.pods.remove(pod)
        pod.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pod in self.pods:
            pod.close()
        for listed in self.call("ListPodSandbox", {}).get(1, []):
            self.remove(decode(listed)[1][0].decode())
        self.end()
        # Cgroups are the machine's, and outlive the node.
        cgroups = f"find /sys/fs/cgroup/*{self.cgroup} -depth -type d -exec rmdir {{}} + 2>/dev/null"
        self.node.run("sh", "-c", cgroups, check=False)


def restart_under_traffic(cri, node, world, signal):
    """Flows between pods and to the world lose nothing, with the runtime down and after; then it goes on with the pods
    that it had.
    """
    a, b = (cri.pod(name) for name in "ab")
    with contextlib.ExitStack() as stack:
        ways = [(b, b.ips), (world, Lab.BEYOND)]
        ways = [(server, addresses[family]) for server, addresses in ways for family in (4, 6)]
        transfers = [stack.enter_context(Transfer(a, server, address)) for server, address in ways]
        datagrams = [stack.enter_context(Datagrams(a, server, address)) for server, address in ways]

        def all_go_on():
            for flow in transfers:
                flow.wait_more(20000)
            for flow in datagrams:
                flow.wait_more()

        all_go_on()
        with cri.down(signal):
            all_go_on()
        all_go_on()
        for pod in (a, b):
            pod.check()
        late = cri.pod("late")
        for family in (4, 6):
            late.ping(a.ips[family])
        all_go_on()
        assert [flow.retransmits for flow in transfers] == [0] * len(ways)
        assert [flow.finish() for flow in datagrams] == [set()] * len(ways)
    for left, pod in ((2, b), (1, a), (0, late)):
        cri.stop(pod)
        assert len(node.warren_json("endpoint", "list")) == left
