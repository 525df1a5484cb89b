# SPDX-License-Identifier: BSD-2-Clause
"""Run in a node: the time of plugins' ADDs from exec to exit, one after the other in turn and many at once.

In: {"plugins": {name: configuration}, "alone": [pod], "together": [pod]}, a pod being {name, namespace, uid}.
Out: {name: {"alone": [ms], "together": [ms]}}.
"""

import json
import os
import select
import subprocess
import sys
import time

PATH = "/opt/cni/bin:/usr/lib/cni"


def file_of(config):
    return f"/run/adds-{config['type']}.json"


class Run:
    """One run of a plugin."""

    def __init__(self, config, command, netns, pod):
        args = {"IgnoreUnknown": 1, "K8S_POD_NAMESPACE": pod["namespace"], "K8S_POD_NAME": pod["name"], "K8S_POD_UID": pod["uid"]}
        env = {
            "PATH": f"{PATH}:/usr/sbin:/usr/bin:/sbin:/bin", "CNI_PATH": PATH, "CNI_COMMAND": command, "CNI_CONTAINERID": netns,
            "CNI_NETNS": f"/run/netns/{netns}", "CNI_IFNAME": "eth0", "CNI_ARGS": ";".join(f"{k}={v}" for k, v in args.items()),
        }
        program = next(f"{directory}/{config['type']}" for directory in PATH.split(":") if os.path.exists(f"{directory}/{config['type']}"))
        with open(file_of(config), encoding="ascii") as stdin:
            self.begin = time.monotonic()
            self.process = subprocess.Popen([program], env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pidfd = os.pidfd_open(self.process.pid)

    def ended(self):
        """Milliseconds; the process has ended."""
        took = (time.monotonic() - self.begin) * 1e3
        said = self.process.communicate()[0].decode()
        os.close(self.pidfd)
        if self.process.returncode:
            sys.exit(f"{self.process.args}: {said}")
        return took


def finish(runs):
    """Milliseconds of each."""
    left, took = {run.pidfd: run for run in runs}, []
    while left:
        for fd in select.select(list(left), [], [])[0]:
            took.append(left.pop(fd).ended())
    return took


def measure(plugins, pods, at_once):
    """Namespaces are made before and removed after. The plugins take turns, in another order each time."""
    times = {name: [] for name in plugins}
    names = {(name, i): f"adds-{name}-{i}" for name in plugins for i in range(len(pods))}
    for netns in names.values():
        subprocess.run(["ip", "netns", "add", netns], check=True)
    for first in range(0, len(pods), at_once):
        order = list(plugins.items())
        for name, config in order if first // at_once % 2 else reversed(order):
            batch = [(names[name, i], pods[i]) for i in range(first, min(first + at_once, len(pods)))]
            times[name] += finish([Run(config, "ADD", *which) for which in batch])
    for (name, i), netns in names.items():
        finish([Run(plugins[name], "DEL", netns, pods[i])])
        subprocess.run(["ip", "netns", "delete", netns], check=True)
    return times


def main():
    order = json.load(sys.stdin)
    plugins = order["plugins"]
    for config in plugins.values():
        with open(file_of(config), "w", encoding="ascii") as file:
            json.dump(config, file)
    alone = measure(plugins, order["alone"], 1)
    together = measure(plugins, order["together"], order["at_once"])
    json.dump({name: {"alone": alone[name], "together": together[name]} for name in plugins}, sys.stdout)


main()
