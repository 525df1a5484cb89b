# SPDX-License-Identifier: BSD-2-Clause
"""In place of an API server: one that fails on request, as no real one does, and one that serves a test's objects."""

import base64
import contextlib
import json
import queue
import socket
import ssl
import struct
import threading
from urllib.parse import parse_qs

from netns import TIMEOUT

NODES, PODS, POLICIES = "/api/v1/nodes", "/api/v1/pods", "/apis/networking.k8s.io/v1/networkpolicies"
LISTS = (NODES, PODS, POLICIES, "/api/v1/namespaces", "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices")
SECRET = "/api/v1/namespaces/kube-system/secrets/warren-identity"
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


class Request:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ")
        self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        self.body = body


class Peer:
    """A connection, from the server's side."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def request(self):
        """The next request; None: the connection is closed."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        request = Request(head, b"")
        left = int(request.headers.get("content-length", 0))
        while len(self.buffer) < left:
            self.buffer += self.sock.recv(65536)
        request.body, self.buffer = self.buffer[:left], self.buffer[left:]
        return request

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, body=b"", status="200 OK", **headers):
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def stream(self):
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self):
        """Ends by an RST, without a TLS alert."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait(self):
        """Until the other end has closed."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass


class ScriptedServer:
    """Fails as no real one does on request. `answers`: {path without its query: function of (Peer, Request)}; with certificate None it speaks no TLS."""

    def __init__(self, netns, family, certificate=None, client_ca=None, port=0, address=None):
        self.listener = netns.tcp_listen(family, port, address)
        self.listener.settimeout(None)
        self.port = self.listener.getsockname()[1]
        self.context, self.answers, self.requests, self.connections = None, {}, queue.Queue(), 0
        self.open = set()
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(None)
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        self.open.add(sock)
        with contextlib.suppress(OSError):
            if self.context:
                self.open.discard(sock)
                sock = self.context.wrap_socket(sock, server_side=True)
                self.open.add(sock)
            else:
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            peer = Peer(sock)
            while request := peer.request():
                self.requests.put(request)
                self.answers.get(request.path.partition("?")[0], self.fallback)(peer, request)
        self.open.discard(sock)
        sock.close()

    @staticmethod
    def fallback(peer, request):
        peer.answer(b"yes")

    def seen(self):
        """The next request that came in."""
        return self.requests.get(timeout=TIMEOUT)

    def close(self):
        """With all its connections."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


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


class FakeApiServer(ScriptedServer):
    """Lists, watches and patches of a test's objects, and a record of all requests. `watch_list` False: as servers without sendInitialEvents. `asked`: (method, path, query) of every request."""

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
