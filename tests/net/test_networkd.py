# SPDX-License-Identifier: BSD-2-Clause
"""systemd-networkd beside Warren, with a configuration that takes every link, and the file that `make install` brings."""

import fnmatch
import re
from pathlib import Path

import pytest

from lab import NODE_GATEWAY, REPO, Node, network
from netns import wait_for

NETWORKD = Path("/lib/systemd/systemd-networkd")
SHIPPED = REPO / "packaging/05-warren.network"
# It waits for udev, of which a node of the lab has none, unless /sys is read-only, as in a container.
START = """
install -d -o systemd-network /run/systemd/netif /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
mount -o remount,bind,ro /sys
exec /lib/systemd/systemd-networkd >/run/networkd.log 2>&1
"""
EVERY_LINK = "[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.77/24\n"

pytestmark = [pytest.mark.long, pytest.mark.skipif(not NETWORKD.exists(), reason="no systemd-networkd")]


@pytest.fixture
def node():
    with Node() as node:
        yield node


def configured(node):
    """The links that have the address of EVERY_LINK."""
    return {link["ifname"] for link in node.ip("address", "show") if any(a.get("local") == "192.0.2.77" for a in link["addr_info"])}


def our_routes(node):
    routes = node.run("ip", "-4", "route", "show", "table", "all").stdout + node.run("ip", "-6", "route", "show", "table", "all").stdout
    return {route.strip() for route in routes.splitlines() if re.search("dev (wr|warren)", route)}


@pytest.fixture
def networkd(node):
    """Starts it in the node, with these files; returns when it has configured a link that is not Warren's."""
    running = []

    def start(*files):
        node.run("mount", "-t", "tmpfs", "-o", "mode=755", "networkd", "/etc/systemd")
        directory = node.outside("/etc/systemd/network")
        directory.mkdir()
        (directory / "50-every-link.network").write_text(EVERY_LINK)
        for file in files:
            (directory / file.name).write_text(file.read_text())
        node.run("ip", "link", "add", "eth9", "type", "veth", "peer", "name", "eth8")
        running.append(node.popen("unshare", "--mount", "sh", "-euc", START))
        wait_for(lambda: "eth9" in configured(node), "networkd configures eth9")

    yield start
    for process in running:
        process.terminate()
        process.wait()


def test_it_leaves_our_links_alone(node, networkd):
    pod = node.pod("a", network())
    routes = our_routes(node)
    networkd(SHIPPED)
    later = node.pod("b", network())
    wait_for(lambda: {"eth8", "eth9"} <= configured(node), "networkd has configured the other links")
    ours = {"warren0", "warren1", *node.pod_devices()}
    assert len(ours) == 4 and not ours & configured(node)
    assert routes < our_routes(node)
    for each in (pod, later):
        for family in (4, 6):
            each.ping(NODE_GATEWAY[family])
    assert node.warren("status").returncode == 0


def test_without_the_file_it_takes_them(node, networkd):
    """So the test above can fail, and the file is of use."""
    node.pod("a", network())
    networkd()
    wait_for(lambda: {"warren0", *node.pod_devices()} <= configured(node), "networkd configures Warren's links")


def test_the_patterns_are_those_of_our_names(node):
    """Both files have the same patterns, which match all links of a node with a pod, and no name that resembles them."""
    patterns = re.search(r"^Name=(.*)$", SHIPPED.read_text(), re.M)[1].split()
    other = re.search(r"^unmanaged-devices\+=(.*)$", (REPO / "packaging/networkmanager.conf").read_text(), re.M)[1]
    assert [pattern.removeprefix("interface-name:") for pattern in other.split(";")] == patterns
    before = {link["ifname"] for link in node.ip("link", "show")}
    node.pod("a", network())
    for link in {link["ifname"] for link in node.ip("link", "show")} - before:
        assert any(fnmatch.fnmatch(link, pattern) for pattern in patterns), link
    for name in ("wrt0", "wr0", "warren", "eth0", "wlan0"):
        assert not any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
