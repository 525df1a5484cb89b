# SPDX-License-Identifier: BSD-2-Clause
"""The API server calls a webhook in a pod that accepts only the API server."""

import base64
import contextlib
import http.server
import json
import socket
import ssl
import threading

import pytest

from kube_client import ApiError
from certificates import Authority
from kube_cluster import pod
from manifests import block, policy, port, sources
from netns import wait_for

PORT = 8443


class Webhook(http.server.BaseHTTPRequestHandler):
    """Admits everything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        review["response"] = {"uid": review.pop("request")["uid"], "allowed": True}
        body = json.dumps(review).encode()
        self.server.calls += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    calls = 0

    def __init__(self, netns, family, certificate):
        self.address_family = socket.AF_INET6 if family == 6 else socket.AF_INET
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        with netns.entered():
            super().__init__((netns.ips[family], PORT), Webhook)
        # Each connection shakes hands in its own thread: one may stop half way.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_):
        """A caller that has gone away is no error."""


@contextlib.contextmanager
def serving(netns, family, certificate):
    with Server(netns, family, certificate) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])
def test_a_webhook_is_reached_by_a_block_of_the_control_planes_address(warren, space, family, tmp_path):
    api, name = warren.api, f"{space}.webhook.example"
    api.apply(pod("hook", "n1", namespace=space))
    hook = warren.netns(warren.ready("hook", namespace=space)["hook"])
    address = hook.ips[family]
    authority = Authority(tmp_path / "ca")
    config = {
        "url": f"https://{f'[{address}]' if family == 6 else address}:{PORT}/",
        "caBundle": base64.b64encode(authority.ca.read_bytes()).decode(),
    }
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
    selector = {"matchLabels": {"name": space}}
    webhook = {"name": name, "clientConfig": config, "rules": [rule], "namespaceSelector": selector, "failurePolicy": "Fail",
               "timeoutSeconds": 1, "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    kind = "ValidatingWebhookConfiguration"
    api.apply({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "webhooks": [webhook]})
    turns = iter(range(1000))

    def admitted():
        try:
            api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": space},
                       "data": {"turn": str(next(turns))}})
        except ApiError as error:
            assert "failed calling webhook" in str(error)
            return False
        return True

    try:
        with serving(hook, family, authority.sign("hook", f"IP:{address}")) as server:
            wait_for(lambda: admitted() and server.calls, "the API server knows of the webhook, and calls it")
            api.apply(policy(f"{space}/deny", types=["Ingress"]))
            wait_for(lambda: not admitted(), "no client is let in")
            cp = "fd10::10/128" if family == 6 else "10.10.0.10/32"
            api.apply(policy(f"{space}/webhook", {"name": "hook"}, ingress=[sources(block(cp), ports=[port(PORT)])]))
            wait_for(admitted, "the API server is let in")
    finally:
        api.delete(kind, name)
        hook.close()
