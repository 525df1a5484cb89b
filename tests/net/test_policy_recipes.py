# SPDX-License-Identifier: BSD-2-Clause
"""The well-known recipes of network policy, as data: manifests, and the flows that they allow. Every pair of pods,
the host and the world is tried, both ways and in both families, by TCP, UDP, SCTP and echo requests; and `warren trace`
and `warren policy why` must print the verdicts that the traffic found.
"""

import json

import pytest

from cluster import Cluster
from lab import POD_CIDR
from manifests import block, matching, namespace, namespaces, pods, policy, port, sources, targets

NAMESPACES = [
    namespace("shop", team="blue", purpose="production"),
    namespace("other", team="red"),
    namespace("kube-system"),
]
PODS = {  # name: (labels, named ports)
    "shop/web": ({"app": "web", "tier": "front"}, [("http", 8080, "TCP")]),
    "shop/api": ({"app": "api", "tier": "back"}, [("http", 9090, "TCP")]),
    "shop/db": ({"app": "db", "tier": "back"}, [("dns", 5353, "UDP")]),
    "other/web": ({"app": "web"}, []),
    "other/client": ({"app": "client", "role": "monitoring"}, []),
    "kube-system/dns": ({"k8s-app": "kube-dns"}, [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")]),
}
WORLD, BEYOND = ("198.18.0.0/24", "2001:db8:1::/64"), ("198.51.100.0/24", "2001:db8:2::/64")
EVERYTHING = ("0.0.0.0/0", "::/0")
NODE = ("10.87.0.1/32", "fd00:87::1/128")
DNS = targets(
    {**namespaces(**{"kubernetes.io/metadata.name": "kube-system"}), **pods(**{"k8s-app": "kube-dns"})},
    ports=[port(53, "UDP"), port(53, "TCP")],
)

RECIPES = {}


def recipe(name, *policies, reach):
    RECIPES[name] = (policies, reach)


# --- ingress ----------------------------------------------------------------------------------------------------------

recipe("no policy", reach="")
recipe(
    "deny all to an application",
    policy("shop/deny", {"app": "web"}, ingress=[]),
    reach="deny *,outside -> shop/web",
)
recipe(
    "a rule that allows everything, beside one that allows nothing",
    policy("shop/deny", {}, ingress=[]),
    policy("shop/allow", {"app": "web"}, ingress=[{}]),
    reach="""
        deny *,outside -> shop/*
        allow *,outside -> shop/web
    """,
)
recipe(
    "default deny of a namespace",
    policy("shop/deny", types=["Ingress"]),
    reach="deny *,outside -> shop/*",
)
recipe(
    "to an application only from another",
    policy("shop/api", {"app": "api"}, ingress=[sources(pods(app="web"))]),
    reach="""
        deny *,outside -> shop/api
        allow shop/web -> shop/api
    """,
)
recipe(
    "not from other namespaces",
    policy("shop/own", ingress=[sources(pods())]),
    reach="""
        deny *,outside -> shop/*
        allow shop/* -> shop/*
    """,
)
recipe(
    "from every namespace, not from outside",
    policy("shop/inside", {"app": "web"}, ingress=[sources(namespaces())]),
    reach="deny outside -> shop/web",
)
recipe(
    "from one namespace by its label",
    policy("shop/red", {"app": "web"}, ingress=[sources(namespaces(team="red"))]),
    reach="""
        deny *,outside -> shop/web
        allow other/* -> shop/web
    """,
)
recipe(
    "from some pods of some namespaces: both must match",
    policy("shop/both", {"app": "web"}, ingress=[sources({**namespaces(team="red"), **pods(role="monitoring")})]),
    reach="""
        deny *,outside -> shop/web
        allow other/client -> shop/web
    """,
)
recipe(
    "from some namespaces, or from some pods of the own one",
    policy("shop/either", {"app": "db"}, ingress=[sources(namespaces(team="red"), pods(app="api"))]),
    reach="""
        deny *,outside -> shop/db
        allow other/*,shop/api -> shop/db
    """,
)
recipe(
    "one port",
    policy("shop/port", {"app": "web"}, ingress=[{"ports": [port(9090)]}]),
    reach="""
        deny *,outside -> shop/web
        allow *,outside -> shop/web tcp/9090
    """,
)
recipe(
    "one port from one application, another from all",
    policy(
        "shop/ports",
        {"app": "api"},
        ingress=[sources(pods(app="web"), ports=[port(9090)]), {"ports": [port(5353, "UDP")]}],
    ),
    reach="""
        deny *,outside -> shop/api
        allow *,outside -> shop/api udp/5353
        allow shop/web -> shop/api tcp/9090
    """,
)
recipe(
    "a named port is another number on each pod",
    policy("shop/http", ingress=[{"ports": [port("http")]}]),
    reach="""
        deny *,outside -> shop/*
        allow *,outside -> shop/web tcp/8080
        allow *,outside -> shop/api tcp/9090
    """,
)
recipe(
    "a named port of the wrong protocol is no port",
    policy("shop/http", ingress=[{"ports": [port("http", "UDP"), port("dns", "UDP")]}]),
    reach="""
        deny *,outside -> shop/*
        allow *,outside -> shop/db udp/5353
    """,
)
recipe(
    "port ranges",
    policy("shop/range", {"app": "web"}, ingress=[{"ports": [port(8081, end=9090), port(1, "UDP", end=5352)]}]),
    reach="""
        deny *,outside -> shop/web
        allow *,outside -> shop/web tcp/9090,udp/53
    """,
)
recipe(
    "every port of a protocol; ICMP passes only without ports",
    policy("shop/tcp", {"app": "web"}, ingress=[{"ports": [port()]}]),
    policy("shop/all", {"app": "api"}, ingress=[{"ports": []}]),
    reach="""
        deny *,outside -> shop/web
        allow *,outside -> shop/web tcp/53,tcp/8080,tcp/9090
    """,
)
recipe(
    "SCTP",
    policy("shop/sctp", {"app": "db"}, ingress=[sources(pods(), ports=[port(3868, "SCTP")])]),
    reach="""
        deny *,outside -> shop/db
        allow shop/* -> shop/db sctp/3868
    """,
)
recipe(
    "several policies add up",
    policy("shop/a", {"app": "web"}, ingress=[sources(pods(app="api"), ports=[port(8080)])]),
    policy("shop/b", {"app": "web"}, ingress=[sources(pods(app="api"), ports=[port(53, "UDP")])]),
    policy("shop/c", {"tier": "front"}, ingress=[sources(namespaces(team="red"), ports=[port(8080)])]),
    reach="""
        deny *,outside -> shop/web
        allow shop/api -> shop/web tcp/8080,udp/53
        allow other/* -> shop/web tcp/8080
    """,
)
recipe(
    "match expressions",
    policy(
        "shop/words",
        matching(("app", "In", "web", "api"), ("tier", "Exists")),
        ingress=[
            sources(
                {**namespaces(("team", "NotIn", "red", "green")), **pods(("app", "DoesNotExist"))},
                pods(("tier", "NotIn", "front")),
            )
        ],
    ),
    reach="""
        deny *,outside -> shop/web,shop/api
        allow kube-system/dns,shop/api,shop/db -> shop/web,shop/api
    """,
)
recipe(
    "from missing, empty, and empty rules: none, all",
    policy("shop/missing", {"app": "web"}, ingress=[{"from": []}]),
    policy("shop/nothing", {"app": "api"}, types=["Ingress"]),
    policy("shop/none", {"app": "db"}, ingress=[sources(pods(app="none"))]),
    reach="deny *,outside -> shop/api,shop/db",
)
recipe(
    "tenants, each for itself",
    policy("shop/tenant", ingress=[sources(namespaces(team="blue"))]),
    policy("other/tenant", ingress=[sources(namespaces(team="red"))]),
    reach="""
        deny *,outside -> shop/*,other/*
        allow shop/* -> shop/*
        allow other/* -> other/*
    """,
)
recipe(
    "from outside, except some: a block holds pods as well",
    policy(
        "shop/outside",
        {"app": "web"},
        ingress=[sources(block(EVERYTHING[0], BEYOND[0]), block(EVERYTHING[1], BEYOND[1], "fd00:87::/64"))],
    ),
    reach="""
        deny *,outside -> shop/web
        allow *,world -> shop/web v4
        allow world -> shop/web v6
    """,
)
recipe(
    "a block or a selector: either will do",
    policy("shop/union", {"app": "web"}, ingress=[sources(block("10.87.0.0/24", "$shop/db4"), pods(app="db"))]),
    policy("shop/but", {"app": "api"}, ingress=[sources(block("10.87.0.0/24", "$shop/db4"), pods(app="web"))]),
    reach="""
        deny *,outside -> shop/web,shop/api
        allow * -> shop/web,shop/api v4
        deny shop/db -> shop/api v4
        allow shop/db -> shop/web v6
        allow shop/web -> shop/api v6
    """,
)

# --- egress -----------------------------------------------------------------------------------------------------------

recipe(
    "nothing from an application",
    policy("other/mute", {"app": "client"}, egress=[], types=["Egress"]),
    reach="deny other/client -> *,outside,host",
)
recipe(
    "nothing from a namespace, by type alone",
    policy("other/mute", types=["Egress"]),
    reach="deny other/* -> *,outside,host",
)
recipe(
    "egress rules without their type are nothing; ingress is isolated",
    policy("other/odd", {"app": "client"}, egress=[targets(pods())], types=["Ingress"]),
    reach="deny *,outside -> other/client",
)
recipe(
    "DNS only",
    policy("shop/dns", egress=[DNS], types=["Egress"]),
    reach="""
        deny shop/* -> *,outside,host
        allow shop/* -> kube-system/dns udp/53,tcp/53
    """,
)
recipe(
    "not to the outside",
    policy("shop/inside", egress=[targets(namespaces())], types=["Egress"]),
    reach="deny shop/* -> outside,host",
)
recipe(
    "to a block outside, except some of it",
    policy(
        "shop/out",
        {"app": "web"},
        egress=[
            targets(block("198.0.0.0/8", BEYOND[0]), block("2001:db8::/32", BEYOND[1])),
            targets(*map(block, BEYOND), ports=[port(8080)]),
        ],
        types=["Egress"],
    ),
    reach="""
        deny shop/web -> *,outside,host
        allow shop/web -> world
        allow shop/web -> beyond tcp/8080
    """,
)
recipe(
    "to the node only by a block that holds it",
    policy("shop/node", {"app": "web"}, egress=[targets(*map(block, NODE))], types=["Egress"]),
    policy("shop/pods", {"app": "api"}, egress=[targets(namespaces())], types=["Egress"]),
    reach="""
        deny shop/web,shop/api -> *,outside,host
        allow shop/web -> host
        allow shop/api -> *
    """,
)
recipe(
    "a named port is the receiver's",
    policy(
        "other/http",
        {"app": "client"},
        egress=[targets(namespaces(), ports=[port("http"), port("dns", "UDP")])],
        types=["Egress"],
    ),
    reach="""
        deny other/client -> *,outside,host
        allow other/client -> shop/web tcp/8080
        allow other/client -> shop/api tcp/9090
        allow other/client -> shop/db udp/5353
        allow other/client -> kube-system/dns udp/53
    """,
)
recipe(
    "a sender's egress and a receiver's ingress must both allow",
    policy("shop/out", {"app": "web"}, egress=[targets(pods(app="api"))], types=["Egress"]),
    policy("shop/in", {"app": "api"}, ingress=[sources(pods(app="db"), ports=[port(9090)]), {"ports": [port(8080)]}]),
    reach="""
        deny shop/web -> *,outside,host
        deny *,outside -> shop/api
        allow shop/db -> shop/api tcp/9090
        allow *,outside -> shop/api tcp/8080
    """,
)
recipe(
    "three tiers",
    policy("shop/deny", types=["Ingress", "Egress"]),
    policy("shop/dns", egress=[DNS], types=["Egress"]),
    policy(
        "shop/web",
        {"app": "web"},
        ingress=[sources(*map(block, EVERYTHING), ports=[port("http")])],
        egress=[targets(pods(app="api"), ports=[port(9090)])],
    ),
    policy(
        "shop/api",
        {"app": "api"},
        ingress=[sources(pods(app="web"), ports=[port("http")])],
        egress=[targets(pods(app="db"), ports=[port(5353, "UDP")])],
    ),
    policy("shop/db", {"app": "db"}, ingress=[sources(pods(app="api"), ports=[port("dns", "UDP")])]),
    reach="""
        deny *,outside -> shop/*
        deny shop/* -> *,outside,host
        allow shop/* -> kube-system/dns udp/53,tcp/53
        allow other/*,kube-system/*,outside -> shop/web tcp/8080
        allow shop/web -> shop/api tcp/9090
        allow shop/api -> shop/db udp/5353
    """,
)


@pytest.fixture(scope="module")
def cluster():
    with Cluster(*NAMESPACES) as cluster:
        for name, (labels, ports) in PODS.items():
            cluster.pod(name, labels, ports)
        yield cluster


def addressed(cluster, policies):
    """With the pods' addresses, which only the plugin knows, in the places of "$NAMESPACE/NAME4"."""
    text = json.dumps(policies)
    for name, pod in cluster.pods.items():
        for family, length in ((4, 32), (6, 128)):
            text = text.replace(f"${name}{family}", f"{pod.ips[family]}/{length}")
    return json.loads(text)


def test_pods_are_on_the_nodes_of_the_recipes(cluster):
    assert (POD_CIDR[4], POD_CIDR[6]) == ("10.87.0.0/24", "fd00:87::/64")


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(cluster, name):
    policies, reach = RECIPES[name]
    cluster.apply("recipe", *addressed(cluster, policies))
    outcomes = cluster.check(reach)
    cluster.agree(outcomes, count=12)
