# SPDX-License-Identifier: BSD-2-Clause
"""A client of the API server. (kubectl's start takes longer than most of the events that tests wait for.)"""

import concurrent.futures
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time

from netns import TIMEOUT

KINDS = {
    "Namespace": ("/api/v1", "namespaces", False),
    "Node": ("/api/v1", "nodes", False),
    "Pod": ("/api/v1", "pods", True),
    "Service": ("/api/v1", "services", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "Secret": ("/api/v1", "secrets", True),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "Event": ("/api/v1", "events", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "DaemonSet": ("/apis/apps/v1", "daemonsets", True),
    "StatefulSet": ("/apis/apps/v1", "statefulsets", True),
    "Job": ("/apis/batch/v1", "jobs", True),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "ValidatingWebhookConfiguration": ("/apis/admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", False),
}
POD_TIMEOUT = 4 * TIMEOUT  # kubelets start a container in their own time, and back off from what did not work
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"  # JSON is YAML


class ApiError(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text[:500]}")
        self.status = status


class _Connection(http.client.HTTPSConnection):
    """From a network namespace, by an address, which is the only name in the certificate."""

    def __init__(self, netns, address, context, timeout):
        super().__init__(address, 6443, timeout=timeout, context=context)
        self.netns, self.tls = netns, context

    def connect(self):
        with self.netns.entered():
            sock = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = self.tls.wrap_socket(sock, server_hostname=self.host)


class KubeClient:
    """The administrator, or who has that token."""

    def __init__(self, netns, pki, token=None, address="10.10.0.10"):
        self.netns, self.pki, self.token, self.address = netns, pki, token, address
        self.context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        if not token:
            self.context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection = None

    def other(self, token=None):
        """Another one, with a connection of its own."""
        return KubeClient(self.netns, self.pki, token, self.address)

    def _connect(self, timeout=TIMEOUT):
        return _Connection(self.netns, self.address, self.context, timeout)

    @staticmethod
    def path(kind, name=None, namespace="default"):
        root, plural, namespaced = KINDS[kind]
        parts = [root, *(["namespaces", namespace] if namespaced and namespace else []), plural, *([name] if name else [])]
        return "/".join(parts)

    @classmethod
    def path_of(cls, item):
        return cls.path(item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", "default"))

    def ask(self, method, path, body=None, kind="application/json"):
        """(status, text), whatever it is."""
        body = None if body is None else json.dumps(body)
        for again in (True, False):
            self.connection = self.connection or self._connect()
            try:
                self.connection.request(method, path, body, {**self.headers, **({"Content-Type": kind} if body else {})})
                response = self.connection.getresponse()
                return response.status, response.read().decode()
            except (OSError, http.client.HTTPException):
                self.close()  # a connection that the server has closed meanwhile
                if not again:
                    raise

    def request(self, method, path, body=None, kind="application/json"):
        """The object in the reply."""
        status, text = self.ask(method, path, body, kind)
        if status >= 300:
            raise ApiError(status, text)
        return json.loads(text)

    def request_all(self, requests, connections=8):
        """Many (arguments of request()), by several connections at once."""
        own, clients = threading.local(), []

        def request(arguments):
            if not hasattr(own, "client"):
                own.client = self.other(self.token)
                clients.append(own.client)
            own.client.request(*arguments)

        with concurrent.futures.ThreadPoolExecutor(min(connections, len(requests))) as pool:
            list(pool.map(request, requests))
        for client in clients:
            client.close()

    def create_at(self, path, *items):
        """Objects as they are at a path, without kinds of their own."""
        self.request_all([("POST", path, item) for item in items])

    def delete_at(self, path, *names):
        self.request_all([("DELETE", f"{path}/{name}?gracePeriodSeconds=0") for name in names])

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    # --- objects ---

    def get(self, kind, name, namespace="default"):
        return self.request("GET", self.path(kind, name, namespace))

    def list(self, kind, namespace="default", **options):
        """Every namespace: None. Options: labelSelector, fieldSelector."""
        return self.request("GET", self._query(self.path(kind, None, namespace), options))["items"]

    @staticmethod
    def _query(path, options):
        quoted = "&".join(f"{key}={str(value).replace('=', '%3D').replace(',', '%2C')}" for key, value in options.items())
        return f"{path}?{quoted}" if quoted else path

    def apply(self, *items):
        """Creates or changes them; returns the objects as they are then."""
        done = []
        for item in items:
            done.append(self.request("PATCH", self.path_of(item) + "?fieldManager=tests&force=true", item, APPLY))
        return done

    def create(self, item):
        return self.request("POST", self.path_of({**item, "metadata": {**item["metadata"], "name": ""}}).rstrip("/"), item)

    def merge(self, kind, name, patch, namespace="default", part=""):
        return self.request("PATCH", self.path(kind, name, namespace) + part, patch, MERGE)

    def delete(self, kind, name, namespace="default", **options):
        with _suppress_not_found():
            self.request("DELETE", self._query(self.path(kind, name, namespace), options))

    # --- what comes to pass ---

    def wait(self, kind, condition, what, namespace="default", timeout=POD_TIMEOUT, **options):
        """Until condition({name: object}) holds; returns its value. By list and watch, as controllers do."""
        deadline, items = time.monotonic() + timeout, {}
        for items in self._states(kind, namespace, options, deadline):
            value = condition(items)
            if value:
                return value
        raise AssertionError(f"timed out after {timeout} s: {what}: {_brief(items)}")

    def _states(self, kind, namespace, options, deadline):
        path = self.path(kind, None, namespace)
        while True:
            found = self.request("GET", self._query(path, options))
            items = {_key(item, namespace): item for item in found["items"]}
            yield items
            version = found["metadata"]["resourceVersion"]
            left = deadline - time.monotonic()
            if left <= 0:
                return
            query = self._query(path, {**options, "watch": "1", "resourceVersion": version, "timeoutSeconds": int(left) + 1})
            for event in self._events(query, left):
                if event["type"] == "ERROR":
                    break
                item = event["object"]
                if event["type"] == "DELETED":
                    items.pop(_key(item, namespace), None)
                else:
                    items[_key(item, namespace)] = item
                yield items
                if time.monotonic() >= deadline:
                    return

    def _events(self, path, timeout):
        connection = self._connect(timeout)
        try:
            connection.request("GET", path, headers=self.headers)
            response = connection.getresponse()
            while line := response.readline():
                yield json.loads(line)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def _key(item, namespace):
    meta = item["metadata"]
    return meta["name"] if namespace or "namespace" not in meta else f"{meta['namespace']}/{meta['name']}"


def _brief(items):
    return json.dumps({name: item.get("status") for name, item in items.items()})[:2000]


@contextlib.contextmanager
def _suppress_not_found():
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise
