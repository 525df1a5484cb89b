# SPDX-License-Identifier: BSD-2-Clause
"""libcni's view of the plugin, by cnitool: every version of the specification, chains, delegated IPAM, capabilities,
GC.
"""

import pytest

from conftest import fetch_from, write_conflist
from lab import Lab, network
from netns import wait_for

VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
OLD = "1.0.0"  # what Debian's reference plugins support


def addresses(result):
    return {4 if "." in ip["address"] else 6: ip["address"].split("/")[0] for ip in result["ips"]}


def pod_interface(result):
    return next(i for i in result["interfaces"] if i.get("sandbox") and i["name"] == "eth0")


@pytest.fixture(autouse=True)
def clean(node):
    yield
    results = node.files("/var/lib/cni/results")
    try:
        node.assert_clean()
        assert results == []
    finally:
        # A test that failed halfway must not make the next ones fail.
        for result in results:
            node.outside(f"/var/lib/cni/results/{result}").unlink()
        node.cni("GC", {**network(), "cni.dev/valid-attachments": []})


@pytest.mark.parametrize("version", VERSIONS)
def test_versions(cnitool, node, version):
    write_conflist(node, "lab", [network()], cniVersion=version)
    netns = cnitool.pod("v")
    result = cnitool.add("lab", netns)
    assert result["cniVersion"] == version
    assert all(("version" in ip) == (version < "1.0.0") for ip in result["ips"])
    assert ("mtu" in pod_interface(result)) == (version >= "1.1.0")
    assert sorted(addresses(result)) == [4, 6]
    if version >= "0.4.0":
        cnitool("check", "lab", netns)
    cnitool("del", "lab", netns)
    cnitool("del", "lab", netns)  # a repeated DEL succeeds


@pytest.mark.smoke
def test_highest_of_several_versions(cnitool, node):
    write_conflist(node, "lab", [network()], cniVersion="0.4.0", cniVersions=["0.4.0", "1.0.0", "1.1.0"])
    netns = cnitool.pod("v")
    cnitool("status", "lab", netns)
    assert cnitool.add("lab", netns)["cniVersion"] == "1.1.0"
    cnitool("check", "lab", netns)
    cnitool("status", "lab", netns)
    cnitool("del", "lab", netns)
    cnitool("gc", "lab", netns)


@pytest.mark.parametrize("families", [(4, 6), (4,), (6,)], ids=["dual", "v4 only", "v6 only"])
def test_families(cnitool, node, families):
    write_conflist(node, "lab", [network(families)])
    netns = cnitool.pod("f")
    assert sorted(addresses(cnitool.add("lab", netns))) == sorted(families)
    cnitool("check", "lab", netns)
    cnitool("del", "lab", netns)


# --- with other plugins -------------------------------------------------------------------------------------------------


def test_portmap_after(cnitool, node, world, family):
    write_conflist(node, "lab", [network(), {"type": "portmap", "capabilities": {"portMappings": True}}], cniVersion=OLD)
    netns = cnitool.pod("p")
    ports = {"portMappings": [{"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}]}
    cnitool.add("lab", netns, capabilities=ports)
    # No CHECK: portmap's own (1.1.1) looks for the rules of each family in the tables of both.
    node.outside("/run/www").mkdir(exist_ok=True)
    node.outside("/run/www/index.html").write_text("pod\n")
    server = node.popen("ip", "netns", "exec", "p", "busybox", "httpd", "-f", "-p", "80", "-h", "/run/www")
    try:
        wait_for(lambda: node.run("ip", "netns", "exec", "p", "ss", "-Hltn", "sport = 80").stdout, "the pod's server")
        assert fetch_from(world, Lab.UPLINK[family], 8081) == "pod"
        assert fetch_from(node, Lab.UPLINK[family], 8081) == "pod"
    finally:
        server.kill()
        server.wait()
    cnitool("del", "lab", netns, capabilities=ports)


def test_host_ports_of_the_runtime(cnitool, node, family):
    """libcni passes them to the plugin with the capability; another plugin of the list gets none."""
    port = {"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}
    with_capability = network(capabilities={"portMappings": True})
    write_conflist(node, "lab", [with_capability, {"type": "portmap"}], cniVersion=OLD)
    netns = cnitool.pod("h")
    result = cnitool.add("lab", netns, capabilities={"portMappings": [port]})
    ip = addresses(result)[family]
    rows = {row["address"]: row["target"] for row in node.warren_json("service", "hostports")}
    every, target = ("[::]", f"[{ip}]") if family == 6 else ("0.0.0.0", ip)
    assert rows[f"{every}:8081"] == f"{target}:80" and len(rows) == 2
    cnitool("check", "lab", netns, capabilities={"portMappings": [port]})
    cnitool("del", "lab", netns, capabilities={"portMappings": [port]})
    assert node.warren_json("service", "hostports") == []


def test_tuning_after(cnitool, node):
    tuning = {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400}
    write_conflist(node, "lab", [network(), tuning], cniVersion=OLD)
    netns = cnitool.pod("t")
    cnitool.add("lab", netns)
    assert node.run("ip", "netns", "exec", "t", "sysctl", "-n", "net.core.somaxconn").stdout.strip() == "500"
    assert "mtu 1400" in node.run("ip", "-n", "t", "link", "show", "eth0").stdout
    cnitool("check", "lab", netns)
    cnitool("del", "lab", netns)


def test_behind_another_plugin(cnitool, node):
    """A previous result comes in: the output has it with ours added, and CHECK gets the same."""
    write_conflist(node, "lab", [{"type": "loopback"}, network(), {"type": "tuning"}], cniVersion=OLD)
    netns = cnitool.pod("l")
    result = cnitool.add("lab", netns)
    names = [i["name"] for i in result["interfaces"]]
    assert names[0] == "lo" and "eth0" in names
    for ip in result["ips"]:
        owner = names[ip["interface"]]
        assert owner == ("lo" if ip["address"] in ("127.0.0.1/8", "::1/128") else "eth0")
    cnitool("check", "lab", netns)
    cnitool("del", "lab", netns)


@pytest.mark.smoke
def test_host_local(cnitool, node):
    ranges = [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    conf = dict(network(), ipam={"type": "host-local", "ranges": ranges, "routes": routes})
    write_conflist(node, "delegated", [conf], cniVersion=OLD)
    pods = {name: cnitool.pod(name) for name in ("h1", "h2")}
    ips = {name: addresses(cnitool.add("delegated", netns)) for name, netns in pods.items()}
    assert ips["h1"][4].startswith("10.88.0.") and ips["h1"][6].startswith("fd00:88::")
    assert set(ips["h1"].values()).isdisjoint(ips["h2"].values())
    for netns in pods.values():
        cnitool("check", "delegated", netns)
    taken = {f for f in node.files("/var/lib/cni/networks/delegated") if not f.startswith("l")}
    assert taken == {ip for pod in ips.values() for ip in pod.values()}
    for target in ips["h2"].values():
        node.run("ip", "netns", "exec", "h1", "ping", "-n", "-c", "1", "-W", "5", target)
    for netns in pods.values():
        cnitool("del", "delegated", netns)
    assert all(f.startswith("l") for f in node.files("/var/lib/cni/networks/delegated"))


def test_missing_delegate(cnitool, node):
    write_conflist(node, "lab", [dict(network(), ipam={"type": "no-such-ipam"})])
    message = cnitool.fails("add", "lab", cnitool.pod("m"))
    assert "no-such-ipam" in message


# --- capabilities and arguments -----------------------------------------------------------------------------------------


def test_requested_addresses_and_mac(cnitool, node):
    write_conflist(node, "lab", [network(capabilities={"ips": True, "mac": True})])
    netns = cnitool.pod("c")
    requested = {"ips": ["10.87.0.77", "fd00:87::77"], "mac": "02:00:00:00:77:77"}
    result = cnitool.add("lab", netns, capabilities=requested)
    assert addresses(result) == {4: "10.87.0.77", 6: "fd00:87::77"}
    assert pod_interface(result)["mac"] == requested["mac"]
    link = node.run("ip", "-n", "c", "link", "show", "eth0").stdout
    assert requested["mac"] in link

    # The address is another pod's now.
    message = cnitool.fails("add", "lab", cnitool.pod("d"), capabilities={"ips": ["10.87.0.77"]})
    assert "10.87.0.77" in message
    cnitool("check", "lab", netns, capabilities=requested)
    cnitool("del", "lab", netns, capabilities=requested)


def test_kubernetes_arguments(cnitool, node):
    write_conflist(node, "lab", [network()])
    netns = cnitool.pod("k")
    args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart;K8S_POD_UID=1-2-3;SOMETHING=else"
    cnitool.add("lab", netns, args=args)
    (endpoint,) = node.warren_json("endpoint", "list")
    assert "cart" in str(endpoint) and "shop" in str(endpoint)
    cnitool("del", "lab", netns, args=args)


def test_unknown_argument(cnitool, node):
    write_conflist(node, "lab", [network()])
    assert "SOMETHING" in cnitool.fails("add", "lab", cnitool.pod("k"), args="SOMETHING=else")


# --- errors -------------------------------------------------------------------------------------------------------------


def test_bad_configuration(cnitool, node):
    write_conflist(node, "lab", [network(policy="perhaps")])
    message = cnitool.fails("add", "lab", cnitool.pod("b"))
    assert '"policy" must be "none" or "agent"' in message


def test_second_add_fails(cnitool, node):
    write_conflist(node, "lab", [network()])
    netns = cnitool.pod("s")
    cnitool.add("lab", netns)
    assert "eth0" in cnitool.fails("add", "lab", netns)
    cnitool("del", "lab", netns)


def test_empty_pool(cnitool, node):
    """STATUS fails where an ADD would; with a freed address both succeed again."""
    # .1 is the gateway, .2 the only other host.
    write_conflist(node, "small", [dict(network(), ipam={"ranges": [[{"subnet": "10.89.0.0/30"}]]})])
    first, second = cnitool.pod("e1"), cnitool.pod("e2")
    cnitool("status", "small", first)
    cnitool.add("small", first)
    assert "address" in cnitool.fails("status", "small", first)
    assert "10.89.0.0/30" in cnitool.fails("add", "small", second)
    cnitool("del", "small", first)
    cnitool("status", "small", first)
    assert addresses(cnitool.add("small", second)) == {4: "10.89.0.2"}
    cnitool("del", "small", second)


def test_check_finds_what_is_missing(cnitool, node):
    write_conflist(node, "lab", [network()])
    netns = cnitool.pod("x")
    result = cnitool.add("lab", netns)
    node.run("ip", "-n", "x", "address", "del", f"{addresses(result)[4]}/32", "dev", "eth0")
    assert addresses(result)[4] in cnitool.fails("check", "lab", netns)
    cnitool("del", "lab", netns)


# --- GC -----------------------------------------------------------------------------------------------------------------


def test_gc(cnitool, node):
    """A dead pod without a record of libcni goes; a living one stays, though no runtime claims it."""
    write_conflist(node, "lab", [network()])
    alive, dead = cnitool.pod("alive"), cnitool.pod("dead")
    kept = cnitool.add("lab", alive)
    cnitool.add("lab", dead)
    for file in node.files("/var/lib/cni/results"):
        node.outside(f"/var/lib/cni/results/{file}").unlink()
    cnitool.delete_pod("dead")
    cnitool("gc", "lab", alive)
    (device,) = wait_for(lambda: len(node.pod_devices()) == 1 and node.pod_devices(), "one pod device")
    assert device in [i["name"] for i in kept["interfaces"]]
    node.run("ip", "netns", "exec", "alive", "ping", "-n", "-c", "1", "-W", "5", "169.254.1.1")
    cnitool("del", "lab", alive)


def test_gc_of_another_network(cnitool, node):
    write_conflist(node, "other", [dict(network(), name="other")])
    netns = cnitool.pod("o")
    cnitool.add("other", netns)
    write_conflist(node, "lab", [network()])
    cnitool("gc", "lab", netns)
    assert len(node.pod_devices()) == 1
    write_conflist(node, "other", [dict(network(), name="other")])
    cnitool("del", "other", netns)
