# SPDX-License-Identifier: BSD-2-Clause
"""A small API server: lists, watches and patches of a test's objects, and a record of all requests."""

import base64
import json
import queue
import threading
from urllib.parse import parse_qs

from apiserver import ApiServer

NODES, PODS, POLICIES = "/api/v1/nodes", "/api/v1/pods", "/apis/networking.k8s.io/v1/networkpolicies"
LISTS = (NODES, PODS, POLICIES, "/api/v1/namespaces", "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices")
SECRET = "/api/v1/namespaces/kube-system/secrets/warren-identity"
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


def kubeconfig(authority, url):
    """Its text."""
    ca = base64.b64encode(authority.ca.read_bytes()).decode()
    return json.dumps({
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": ca}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    })


def merged(old, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


class KubeApi(ApiServer):
    """`watch_list` False: as servers without sendInitialEvents. `asked`: (method, path, query) of every request."""

    def __init__(self, *args, watch_list=True, **kwargs):
        self.lock, self.version, self.watch_list = threading.RLock(), 100, watch_list
        self.lists = {path: {} for path in LISTS}
        self.single, self.watchers, self.asked = {}, [], []
        self.fallback = self._answer
        super().__init__(*args, **kwargs)

    # --- what there is ---

    @staticmethod
    def _name(obj):
        return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]

    def _event(self, path, kind, obj):
        for at, events in self.watchers:
            if at == path:
                events.put({"type": kind, "object": obj})

    def _stamp(self, obj):
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        return obj

    def put(self, path, obj):
        with self.lock:
            kind = "MODIFIED" if self._name(obj) in self.lists[path] else "ADDED"
            self.lists[path][self._name(obj)] = self._stamp(obj)
            self._event(path, kind, obj)

    def delete(self, path, obj):
        with self.lock:
            self._event(path, "DELETED", self._stamp(self.lists[path].pop(self._name(obj))))

    def patches(self):
        return [path for method, path, _ in list(self.asked) if method == "PATCH"]

    def lists_of(self, path):
        """The queries of all lists and watches of one kind."""
        return [query for method, at, query in list(self.asked) if (method, at) == ("GET", path)]

    # --- what is answered ---

    def _find(self, path):
        collection, _, name = path.rpartition("/")
        return (self.lists[collection], ("", name)) if collection in self.lists else (self.single, path)

    def _answer(self, peer, request):
        path, _, query = request.path.partition("?")
        query = {key: values[0] for key, values in parse_qs(query, keep_blank_values=True).items()}
        with self.lock:
            self.asked.append((request.method, path, query))
        if request.method == "PATCH":
            self._patch(peer, path.removesuffix("/status"), json.loads(request.body))
        elif path not in self.lists:
            where, key = self._find(path)
            self._say(peer, where[key]) if key in where else self.refuse(peer, "404 Not Found")
        elif "watch" not in query:
            with self.lock:
                items = list(self.lists[path].values())
                self._say(peer, {"kind": "List", "metadata": {"resourceVersion": str(self.version)}, "items": items})
        elif "sendInitialEvents" in query and not self.watch_list:
            self.refuse(peer, "422 Unprocessable Entity")
        else:
            self._watch(peer, path, "sendInitialEvents" in query)

    def _patch(self, peer, path, patch):
        with self.lock:
            where, key = self._find(path)
            version = patch.get("metadata", {}).get("resourceVersion")
            if key not in where:
                self.refuse(peer, "404 Not Found")
            elif version and version != where[key]["metadata"].get("resourceVersion"):
                self.refuse(peer, "409 Conflict")
            else:
                where[key] = self._stamp(merged(where[key], patch))
                if where is not self.single:
                    self._event(path.rpartition("/")[0], "MODIFIED", where[key])
                self._say(peer, where[key])

    def _watch(self, peer, path, whole):
        events = queue.Queue()
        with self.lock:
            if whole:
                for obj in self.lists[path].values():
                    events.put({"type": "ADDED", "object": obj})
                end = {"metadata": {"resourceVersion": str(self.version), "annotations": INITIAL_EVENTS_END}}
                events.put({"type": "BOOKMARK", "object": end})
            self.watchers.append((path, events))
        peer.stream()
        while True:
            peer.chunk(json.dumps(events.get()).encode() + b"\n")

    @staticmethod
    def _say(peer, obj):
        peer.answer(json.dumps(obj).encode(), Content_Type="application/json")

    @staticmethod
    def refuse(peer, status):
        peer.answer(b'{"kind": "Status", "message": "no"}', status, Content_Type="application/json")
