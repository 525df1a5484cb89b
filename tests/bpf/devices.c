/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layers.h"

static struct {
	int fd[DEVICES]; /* [NO_DEVICE]: the host's */
	uint32_t ifindex[DEVICES];
} nets = { .fd = { -1, -1, -1, -1, -1 } };

static const char *const device_names[DEVICES] = { NULL, "wra", "wrb", "uplink", "warren0" };

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail_msg("%s: %m", path);
	close(fd);
}

void shell(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd))
		fail_msg("failed: %s", cmd);
}

/* A new network namespace becomes the current one; its devices send no packets of their own. */
static int netns_new(void)
{
	int fd;

	if (unshare(CLONE_NEWNET))
		fail_msg("unshare: %m");
	write_file("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1");
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("/proc/thread-self/ns/net: %m");
	return fd;
}

static void device_make(enum device d)
{
	static const char host_mac[] = "02:57:52:00:00:01";
	static const enum mac peer_macs[DEVICES] = { [DEVICE_A] = MAC_A, [DEVICE_B] = MAC_B, [DEVICE_UPLINK] = MAC_OTHER,
						    [DEVICE_WARREN0] = MAC_OTHER };
	const uint8_t *mac = mac_address(peer_macs[d]);
	const char *name = device_names[d];

	shell("ip link add %s mtu %d address %s type veth peer name eth0 mtu %d netns /proc/%d/fd/%d", name, DEVICE_MTU, host_mac,
	      DEVICE_MTU, getpid(), nets.fd[d]);
	/* No multicast: the kernel would report its group memberships, some seconds later. */
	shell("ip link set %s multicast off up", name);
	if (d == DEVICE_WARREN0)
		shell("ip link set %s arp off", name);
	nets.ifindex[d] = if_nametoindex(name);
	if (setns(nets.fd[d], CLONE_NEWNET))
		fail_msg("setns: %m");
	shell("ip link set eth0 address %02x:%02x:%02x:%02x:%02x:%02x multicast off up", mac[0], mac[1], mac[2], mac[3],
	      mac[4], mac[5]);
	if (setns(nets.fd[NO_DEVICE], CLONE_NEWNET))
		fail_msg("setns: %m");
}

void neighbours_set(bool resolved)
{
	static bool now;
	const uint8_t *mac = mac_address(MAC_OTHER);

	for (int i = 0; i < 4 && resolved != now; i++) {
		char text[INET6_ADDRSTRLEN];
		const bool v6 = i & 1;

		inet_ntop(v6 ? AF_INET6 : AF_INET, who_address(i < 2 ? NODE_C : NODE_D, v6), text, sizeof(text));
		if (resolved)
			shell("ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev uplink nud permanent", text, mac[0], mac[1],
			      mac[2], mac[3], mac[4], mac[5]);
		else
			shell("ip neigh delete %s dev uplink", text);
	}
	now = resolved;
}

void route_set(enum device device)
{
	static enum device now;

	for (int v6 = 0; v6 < 2 && device != now; v6++) {
		char node[INET6_ADDRSTRLEN], gateway[INET6_ADDRSTRLEN];

		inet_ntop(v6 ? AF_INET6 : AF_INET, who_address(NODE_C, v6), node, sizeof(node));
		inet_ntop(v6 ? AF_INET6 : AF_INET, who_address(NODE_D, v6), gateway, sizeof(gateway));
		if (now)
			shell("ip -%d route delete %s dev %s", v6 ? 6 : 4, node, device_names[now]);
		if (device)
			shell("ip -%d route add %s dev %s", v6 ? 6 : 4, node, device_names[device]);
		if (!now != !device)
			shell("ip -%d route delete default", v6 ? 6 : 4);
		if (!now)
			shell("ip -%d route add default via %s dev uplink onlink", v6 ? 6 : 4, gateway);
		else if (!device)
			shell("ip -%d route add default dev uplink", v6 ? 6 : 4);
	}
	now = device;
}

void devices_make(void)
{
	for (int d = DEVICES - 1; d >= 0; d--)
		nets.fd[d] = netns_new();
	for (int d = DEVICE_A; d < DEVICES; d++)
		device_make(d);
	/* After that, so that no device joins the routers' group and reports it. */
	write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	write_file("/proc/sys/net/ipv4/ip_forward", "1");
	shell("ip link set lo up; ip addr add 10.88.0.1/32 dev lo; ip -6 addr add fd88::1/128 dev lo nodad");
	shell("ip route add default dev uplink; ip -6 route add default dev uplink");
	neighbours_set(true);
}

void devices_close(void)
{
	for (int d = 0; d < DEVICES; d++)
		close(nets.fd[d]);
}

uint32_t device_ifindex(enum device device)
{
	return nets.ifindex[device];
}

int device_netns(enum device device)
{
	return nets.fd[device];
}

const char *device_name(enum device device)
{
	return device_names[device];
}
