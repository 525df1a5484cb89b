# SPDX-License-Identifier: BSD-2-Clause
"""Kubernetes objects from a few words, as dicts."""


def split(name):
    namespace, _, short = name.rpartition("/")
    return namespace or "default", short


def pod_file(name):
    """The name of a pod's manifest."""
    return "pod-{}-{}".format(*split(name))


def namespace(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod_object(name, labels=None, ports=(), uid=None, phase="Running", **metadata):
    """`ports`: (name, number, protocol)."""
    namespace, short = split(name)
    metadata = {"name": short, "namespace": namespace, "labels": labels or {}, **metadata}
    if uid:
        metadata["uid"] = uid
    ports = [{"name": n, "containerPort": number, "protocol": protocol} for n, number, protocol in ports]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "main", "image": "example", "ports": ports}]},
        "status": {"phase": phase},
    }


def policy(name, pods=None, ingress=None, egress=None, types=None):
    """A NetworkPolicy for the pods with these labels (or of this matching()). Rules as the API has them."""
    namespace, short = split(name)
    whole = pods and pods.keys() <= {"matchLabels", "matchExpressions"}
    spec = {"podSelector": pods if whole else matching(**(pods or {}))}
    for key, value in (("ingress", ingress), ("egress", egress), ("policyTypes", types)):
        if value is not None:
            spec[key] = value
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": short, "namespace": namespace},
        "spec": spec,
    }


def matching(*requirements, **labels):
    """A selector: labels, and requirements (key, operator, values...)."""
    expressions = [
        {"key": key, "operator": operator, **({"values": values} if values else {})}
        for key, operator, *values in requirements
    ]
    parts = {"matchLabels": labels, "matchExpressions": expressions}
    return {key: value for key, value in parts.items() if value}


def pods(*requirements, **labels):
    return {"podSelector": matching(*requirements, **labels)}


def namespaces(*requirements, **labels):
    return {"namespaceSelector": matching(*requirements, **labels)}


def block(cidr, *except_):
    return {"ipBlock": {"cidr": cidr, **({"except": list(except_)} if except_ else {})}}


def port(number=None, protocol="TCP", end=None):
    parts = {"protocol": protocol, "port": number, "endPort": end}
    return {key: value for key, value in parts.items() if value is not None}


def sources(*peers, ports=None):
    """One rule of ingress."""
    return {"from": list(peers), **({"ports": ports} if ports is not None else {})}


def targets(*peers, ports=None):
    """One rule of egress."""
    return {"to": list(peers), **({"ports": ports} if ports is not None else {})}


def node_object(name, cidrs, addresses):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)},
        "status": {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]},
    }


def service(name, addresses, *ports, **spec):
    """`ports`: port()s, the first without a name, the others by theirs."""
    namespace, short = split(name)
    addresses = [*addresses] if addresses else ["None"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": short, "namespace": namespace},
        "spec": {"clusterIP": addresses[0], "clusterIPs": addresses, "ports": [*ports], **spec},
    }


def service_cidr(name, *cidrs):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": [*cidrs]}}


def endpoint(address, ready=True, serving=None, terminating=False, node=None):
    conditions = {"ready": ready, "serving": ready if serving is None else serving, "terminating": terminating}
    return {"addresses": [address], "conditions": conditions, **({"nodeName": node} if node else {})}


def endpoint_slice(name, service, endpoints, *ports):
    """`endpoints`: endpoint()s, or addresses of those that are ready; all of one family."""
    namespace, short = split(name)
    endpoints = [endpoint(e) if isinstance(e, str) else e for e in endpoints]
    v6 = any(":" in e["addresses"][0] for e in endpoints)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": short,
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": split(service)[1]},
        },
        "addressType": "IPv6" if v6 else "IPv4",
        "endpoints": endpoints,
        "ports": [*ports],
    }
