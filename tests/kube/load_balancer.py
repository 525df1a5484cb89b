# SPDX-License-Identifier: BSD-2-Clause
"""A cloud's load balancer, for clients at the control plane and at the bridge: it gives addresses to Services of type
LoadBalancer, and routes them to the nodes that are healthy for them.
"""

import contextlib
import http.client
import socket
import threading

from control_plane import API
from kube_client import ApiError

CLIENT = {4: "198.51.100.1", 6: "2001:db8:100::1"}  # the control plane's as a client: none of the nodes' subnet
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
HEALTHZ = 10256  # of a node's service proxy
POLL = 0.25  # seconds between two health checks
TIMEOUT = 1


class _Check(http.client.HTTPConnection):
    """From a network namespace."""

    def __init__(self, netns, address, port):
        super().__init__(address, port, timeout=TIMEOUT)
        self.netns = netns

    def connect(self):
        with self.netns.entered():
            self.sock = socket.create_connection((self.host, self.port), self.timeout)


def is_healthy(netns, address, port):
    with contextlib.closing(_Check(netns, address, port)) as check:
        try:
            check.request("GET", "/healthz")
            return check.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def number(family):
    return 6 if family == "IPv6" else 4


class LoadBalancer(threading.Thread):
    """No address is given twice."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.api = cluster, cluster.api.other()
        self.given, self.routes = {}, {}  # {uid: {family: address}}; {address: addresses of nodes}
        self.ended, self.failure, self.last = threading.Event(), None, 0

    def __enter__(self):
        self._here("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        for family in self.cluster.families:
            # Connections spread, not clients.
            self._everywhere(f"sysctl -qw net.ipv{family}.fib_multipath_hash_policy=1")
            self._here(f"ip -{family} route add {CLIENT[family]} via {API[family]}")
            self._there(f"ip -{family} address add {CLIENT[family]} dev lo")
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()
        self.api.close()
        assert not self.failure, self.failure

    def run(self):
        try:
            while not self.ended.wait(POLL):
                self._turn()
        except Exception as error:  # noqa: BLE001 of a thread: the test shows it
            self.failure = error

    def _turn(self):
        nodes = [self._addresses(node) for node in self.api.list("Node")]
        services = {service["metadata"]["uid"]: service for service in self.api.list("Service", None)}
        for uid, service in services.items():
            spec, meta = service["spec"], service["metadata"]
            with contextlib.suppress(ApiError):  # changed or deleted meanwhile: the next turn's
                if spec["type"] == "LoadBalancer" and "deletionTimestamp" not in meta and "loadBalancerClass" not in spec:
                    self._give(uid, service, nodes)
                elif uid in self.given:
                    self._take(uid, service)
        for uid in self.given.keys() - services.keys():
            self._forget(uid)

    @staticmethod
    def _addresses(node):
        found = [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
        return {6 if ":" in address else 4: address for address in found}

    def _patch(self, service, patch, part=""):
        meta = service["metadata"]
        self.api.merge("Service", meta["name"], patch, meta["namespace"], part)

    def _give(self, uid, service, nodes):
        meta = service["metadata"]
        if FINALIZER not in meta.get("finalizers", []):
            self._patch(service, {"metadata": {"finalizers": [*meta.get("finalizers", []), FINALIZER],
                                               "resourceVersion": meta["resourceVersion"]}})
        families = [number(family) for family in service["spec"]["ipFamilies"]]
        if uid not in self.given:
            self.last += 1
            self.given[uid] = {}
        for family in families:
            self.given[uid].setdefault(family, f"fd10:1::{self.last:x}" if family == 6 else f"10.10.1.{self.last}")
        self._direct(service["spec"], self.given[uid], nodes)
        ingress = [self.given[uid][family] for family in families]
        if [entry.get("ip") for entry in service["status"]["loadBalancer"].get("ingress", [])] != ingress:
            self._patch(service, {"status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ingress]}}}, "/status")

    def _take(self, uid, service):
        meta = service["metadata"]
        self._forget(uid)
        self._patch(service, {"status": {"loadBalancer": {"ingress": None}}}, "/status")
        self._patch(service, {"metadata": {"finalizers": [f for f in meta.get("finalizers", []) if f != FINALIZER]}})

    def _forget(self, uid):
        for family, address in self.given.pop(uid).items():
            if self.routes.pop(address, None) is not None:
                self._everywhere(f"ip -{family} route del {address}")

    def _direct(self, spec, addresses, nodes):
        """With affinity a client's connections go to one node, and it is that node's turn."""
        port = spec.get("healthCheckNodePort") or HEALTHZ
        healthy = [node for node in nodes if is_healthy(self.cluster.world, next(iter(node.values())), port)]
        for family, address in addresses.items():
            targets = [node[family] for node in healthy[: 1 if spec["sessionAffinity"] == "ClientIP" else None]]
            if targets != self.routes.get(address):
                hops = " ".join(f"nexthop via {target}" for target in targets)
                replace = f"ip -{family} route replace"
                self._here(f"{replace} {address} {hops}" if targets else f"{replace} unreachable {address}")
                self._there(f"{replace} {address} src {CLIENT[family]} {hops}" if targets else f"{replace} unreachable {address}")
                self.routes[address] = targets

    def _here(self, command):
        self.cluster.holder_shell(command)

    def _there(self, command):
        self.cluster.holder_shell(f"nsenter --net=/run/netns/cp {command}")

    def _everywhere(self, command):
        self._here(command)
        self._there(command)
