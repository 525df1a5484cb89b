# SPDX-License-Identifier: BSD-2-Clause
"""The Secret of the cluster's key is deleted, and made again: there is never a second key while any node may use the
first.
"""

import base64
import signal

from agent import Agent
from certificates import Authority
from fake_apiserver import NODES, SECRET, FakeApiServer, kubeconfig
from lab import Lab
from manifests import node_object
from netns import wait_for

KUBECONFIG = "/run/kubeconfig"


def empty():
    """As the manifest has it."""
    return {"metadata": {"uid": "u", "resourceVersion": "1"}, "type": "Opaque"}


def test_no_second_key(tmp_path):
    ca = Authority(tmp_path / "ca")
    other = node_object("other", ["10.2.0.0/24"], ["198.18.0.9"])
    keyed = {**other, "metadata": {"name": "other", "annotations": {"warren.dev/agent": "0.1.0 ok since 2026-01-01T00:00:00Z"}}}
    with Lab() as lab, FakeApiServer(lab.world, 4, ca.sign("server", f"IP:{Lab.WORLD[4]}")) as api:
        api.put(NODES, node_object("self", ["10.1.0.0/24"], [Lab.UPLINK[4]]))
        api.put(NODES, keyed)
        lab.node.outside(KUBECONFIG).write_text(kubeconfig(ca, f"https://{Lab.WORLD[4]}:{api.port}"))
        with Agent(lab.node, "--kubeconfig", KUBECONFIG, "--node-name", "self", manifests=None, wait=False) as agent:

            def said(text):
                log = agent.log
                wait_for(lambda: log.exists() and text in log.read_text(), text)

            def written():
                return [path for method, path, _ in api.asked if method in ("POST", "PUT", "PATCH") and "/secrets" in path]

            said("is missing, and this node has no copy of the key")
            api.single[SECRET] = empty()
            said("the agent of Node other has run with a key: this node waits")
            assert not written()
            # an administrator confirms that no node has one any more
            api.put(NODES, other)
            agent.wait_notified("READY=1")
            assert written() == [SECRET]
            secret = api.single[SECRET]
            assert secret["immutable"] is True and len(base64.b64decode(secret["data"]["key"])) == 16
            # gone: this node keeps its copy
            del api.single[SECRET]
            agent.signal(signal.SIGHUP)
            agent.wait_notified("READY=1")
            said("is missing: this node continues with its copy of the key")
            assert written() == [SECRET]
            # back, without a key: the same one
            api.single[SECRET] = empty()
            agent.signal(signal.SIGHUP)
            agent.wait_notified("READY=1")
            wait_for(lambda: "data" in api.single[SECRET], "the key to be put back")
            assert api.single[SECRET]["data"] == secret["data"] and written() == [SECRET, SECRET]
