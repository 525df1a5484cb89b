# SPDX-License-Identifier: BSD-2-Clause
"""A client and a server on two nodes, for tests in which the nodes' programs and API servers fail."""

import contextlib

from kube_cluster import made_space, pod
from manifests import pods as with_labels
from manifests import policy, sources
from netns import wait_for
from traffic import Datagrams, Transfer
from whoami import Servers, ask

TCP = ("TCP", 8080)


class Pair:
    """A client on n1 and a server on n2 that accepts pods with app=client only."""

    def __init__(self, cluster, space, servers):
        self.cluster, self.space = cluster, space
        cluster.api.apply(
            policy(f"{space}/server", {"app": "server"}, ingress=[sources(with_labels(app="client"))]),
            pod("client", "n1", {"app": "client"}, space), pod("other", "n1", {"app": "x"}, space),
            pod("server", "n2", {"app": "server"}, space),
        )
        found = cluster.ready("client", "other", "server", namespace=space)
        self.client, self.other, self.server = (cluster.netns(found[n]) for n in ("client", "other", "server"))
        servers.add(self.server, "server", TCP)
        wait_for(lambda: self.works("client"), "the client reaches the server")
        assert not self.works("other", any)

    def works(self, who, all_or_any=all):
        return all_or_any(ask(getattr(self, who), address, 8080)[0] == "server" for address in self.server.ips.values())

    def close(self):
        for netns in (self.client, self.other, self.server):
            netns.close()


@contextlib.contextmanager
def made_pair(cluster):
    with made_space(cluster) as space, Servers() as servers:
        pair = Pair(cluster, space, servers)
        yield pair
        pair.close()


@contextlib.contextmanager
def traffic(pair):
    """Streams and datagrams meanwhile: no reset, no stall at the end, nothing lost."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(Transfer(pair.client, pair.server, a)) for a in pair.server.ips.values()]
        datagrams = [Datagrams(pair.client, pair.server, a) for a in pair.server.ips.values()]
        yield
        for stream in streams:
            stream.wait_more()
        assert [stream.retransmits for stream in streams] == [0, 0]
        assert [len(flow.finish()) for flow in datagrams] == [0, 0]


def connected(own, node="n1"):
    return [watch["connected"] for watch in own.machine(node).watches().values()]


HOLE = """
add table inet hole
add chain inet hole in { type filter hook input priority -300; }
add chain inet hole out { type filter hook output priority -300; }
add rule inet hole in iifname eth0 tcp dport 6443 drop
add rule inet hole out oifname eth0 tcp sport 6443 drop
"""


def blackhole(own, on, server="cp"):
    """No packet passes between the API server and the nodes (the other programs of the control plane are beside it)."""
    own.node(server, "nft", HOLE if on else "delete table inet hole")
