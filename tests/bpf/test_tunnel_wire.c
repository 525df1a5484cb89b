/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two nodes with real stacks: this one's host, and another, in the namespace behind the uplink, with a pod. Each has the
 * programs with maps of its own on its uplink and its warren0. What BPF_PROG_TEST_RUN cannot show: that the receiving stack
 * accepts decapsulated packets, GSO packets, strict reverse path filtering, the nexthop that the stack finds.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "expect.h"
#include "load.h"
#include "state.h"
#include "warren.skel.h"

#define DEADLINE_MS 30000
#define BULK (2u << 20)

static struct {
	struct warren_bpf *skel; /* the other node's */
	int node, pod;           /* its namespace, its pod's */
	uint32_t uplink, warren0, wrc;
} other;

/* --- the other node --- */

static void enter(int netns)
{
	assert_int_equal(setns(netns, CLONE_NEWNET), 0);
}

static void attach(int prog, uint32_t ifindex, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1, .prog_fd = prog);

	bpf_tc_hook_create(&hook);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

static void strict(void)
{
	shell("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1 net.ipv4.ip_forward=1 "
	      "net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0");
}

static void pod_make(void)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	other.pod = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(other.pod >= 0);
	enter(other.node);
	shell("ip link add wrc mtu 3000 address 02:57:52:00:00:01 type veth peer name eth0 mtu 3000 address 0a:00:00:00:00:0c "
	      "netns /proc/%d/fd/%d",
	      getpid(), other.pod);
	shell("ip link set wrc up; ip route add 10.88.1.10 dev wrc src 10.88.1.1; ip neigh add 10.88.1.10 lladdr 0a:00:00:00:00:0c dev wrc; "
	      "ip -6 route add fd88:0:0:1::10 dev wrc src fd88:0:0:1::1; ip neigh add fd88:0:0:1::10 lladdr 0a:00:00:00:00:0c dev wrc");
	other.wrc = if_nametoindex("wrc");
	enter(other.pod);
	shell("ip link set lo up; ip link set eth0 up; ip addr add 10.88.1.10/32 dev eth0; ip -6 addr add fd88:0:0:1::10/128 dev eth0 nodad; "
	      "ip route add 169.254.1.1 dev eth0 scope link; ip route add default via 169.254.1.1; ip -6 route add default via fe80::1 dev eth0; "
	      "ip neigh add 169.254.1.1 lladdr 02:57:52:00:00:01 dev eth0; ip neigh add fe80::1 lladdr 02:57:52:00:00:01 dev eth0");
}

static void stacks_make(void)
{
	other.node = device_netns(DEVICE_UPLINK);
	strict();
	shell("ip addr add 192.0.2.1/24 dev uplink; ip -6 addr add 2001:dba::1/64 dev uplink nodad; "
	      "ip route add 10.88.1.0/24 dev warren0 src 10.88.0.1 mtu %d; ip -6 route add fd88:0:0:1::/64 dev warren0 src fd88::1 mtu %d",
	      TUNNEL_MTU, TUNNEL_MTU);
	enter(other.node);
	strict();
	shell("ip link set lo up; ip addr add 192.0.2.2/24 dev eth0; ip -6 addr add 2001:dba::2/64 dev eth0 nodad; "
	      "ip addr add 10.88.1.1/32 dev lo; ip -6 addr add fd88:0:0:1::1/128 dev lo nodad; "
	      "ip link add warren0 mtu 3000 address 02:57:52:00:00:01 type veth peer name warren1 mtu 3000; "
	      "ip link set warren0 arp off up; ip link set warren1 arp off up; "
	      "ip route add 10.88.0.0/24 dev warren0 src 10.88.1.1 mtu %d; ip -6 route add fd88::/64 dev warren0 src fd88:0:0:1::1 mtu %d",
	      TUNNEL_MTU, TUNNEL_MTU);
	other.uplink = if_nametoindex("eth0");
	other.warren0 = if_nametoindex("warren0");
}

static int two_nodes_setup(void **state)
{
	struct bpf_program *program;

	harness_setup(state);
	other.skel = warren_bpf__open();
	assert_non_null(other.skel);
	load_constants(other.skel);
	/* The verifier takes seconds for the others. */
	bpf_object__for_each_program(program, other.skel->obj)
		bpf_program__set_autoload(program, program == other.skel->progs.from_uplink || program == other.skel->progs.from_host);
	assert_int_equal(warren_bpf__load(other.skel), 0);
	stacks_make();
	attach(bpf_program__fd(other.skel->progs.from_uplink), other.uplink, BPF_TC_INGRESS);
	attach(bpf_program__fd(other.skel->progs.from_host), other.warren0, BPF_TC_EGRESS);
	pod_make();
	enter(device_netns(NO_DEVICE));
	attach(program_fd(FROM_UPLINK), device_ifindex(DEVICE_UPLINK), BPF_TC_INGRESS);
	attach(program_fd(FROM_HOST), device_ifindex(DEVICE_WARREN0), BPF_TC_EGRESS);
	return 0;
}

static int two_nodes_teardown(void **state)
{
	shell("tc qdisc del dev uplink clsact; tc qdisc del dev warren0 clsact; ip addr flush dev uplink; ip route replace default dev uplink; "
	      "sysctl -qw net.ipv4.conf.all.rp_filter=0");
	warren_bpf__destroy(other.skel);
	close(other.pod);
	return 0;
}

/* Copies this node's maps, as state.c has written them, to the other node, with the two nodes swapped. */
static void put(struct bpf_map *map, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), 0);
}

static void copy_element(const char *name, const void *key)
{
	char value[512];

	assert_int_equal(bpf_map_lookup_elem(map_fd(name), key, value), 0);
	put(bpf_object__find_map_by_name(other.skel->obj, name), key, value);
}

/* Packets carry the tag of a key, in both directions, and must: this node sends with the even key, the other with the odd one. */
static bool keyed;

static void other_tags(struct wr_node *n)
{
	for (int key = 0; key < WR_TUNNEL_KEYS; key++) {
		n->tx_tag[key] = RX_TAG(SLOT_C, key);
		n->rx_tag[key] = TX_TAG(SLOT_C, key);
	}
}

static void other_prepare(bool over6, unsigned flags)
{
	const uint32_t zero = 0, slot = SLOT_D, place = wr_endpoint_slot(other.wrc, 0);
	struct wr_endpoint ep = { .ifindex = other.wrc,
				  .mac = { 0x0a, 0, 0, 0, 0, 0x0c },
				  .flags = WR_EP_V4 | WR_EP_V6,
				  .policy_class = WR_CLASS_NOT_ISOLATED,
				  .revision = 1,
				  .identity = IDENTITY_C };
	const struct wr_local local = { other.wrc };
	struct wr_cluster c;
	struct wr_node n;

	node_reset(0, false);
	cluster_put(NODE_C, POD_C, keyed ? WR_CLUSTER_KEY_REQUIRED | WR_CLUSTER_KEY_ODD : 0);
	node_put_as(SLOT_D, NODE, POD_A, flags | (over6 ? WR_NODE_OVER6 : 0));
	assert_int_equal(bpf_map_lookup_elem(map_fd("cluster"), &zero, &c), 0);
	c.host_ifindex = other.warren0;
	put(other.skel->maps.cluster, &zero, &c);
	assert_int_equal(bpf_map_lookup_elem(map_fd("nodes"), &slot, &n), 0);
	n.uplink = other.uplink;
	if (keyed)
		other_tags(&n);
	memcpy(&n.local, who_address(NODE_C, over6), over6 ? 16 : 4);
	put(other.skel->maps.nodes, &slot, &n);
	copy_element("nodes4", &(struct wr_prefix4){ 24, n.cidr4 });
	copy_element("nodes6", &(struct wr_prefix6){ 64, n.cidr6 });
	copy_element("node_addr4", who_address(NODE, false));
	copy_element("node_addr6", who_address(NODE, true));
	copy_element("config", &zero);
	memcpy(&ep.addr4, who_address(POD_C, false), 4);
	memcpy(&ep.addr6, who_address(POD_C, true), 16);
	put(other.skel->maps.endpoints, &place, &ep);
	put(other.skel->maps.addr4, &ep.addr4, &local);
	put(other.skel->maps.addr6, &ep.addr6, &local);
}

static void prepare(bool over6)
{
	const unsigned flags = keyed ? WR_NODE_KEYED : 0;

	other_prepare(over6, flags);
	node_reset(0, false);
	cluster_put(NODE, POD_A, keyed ? WR_CLUSTER_KEY_REQUIRED : 0);
	node_put(SLOT_C, flags | (over6 ? WR_NODE_OVER6 : 0));
}

/* --- sockets --- */

static socklen_t address_of(struct sockaddr_storage *ss, enum who who, uint16_t port, bool v6)
{
	struct sockaddr_in *in4 = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (v6) {
		*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
		memcpy(&in6->sin6_addr, who_address(who, true), 16);
		return sizeof(*in6);
	}
	*in4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	memcpy(&in4->sin_addr, who_address(who, false), 4);
	return sizeof(*in4);
}

static int open_socket(int netns, enum who who, int type, uint16_t port, bool v6)
{
	struct sockaddr_storage ss;
	socklen_t len = address_of(&ss, who, port, v6);
	int fd;

	enter(netns);
	fd = socket(ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	enter(device_netns(NO_DEVICE));
	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len))
		fail_msg("socket: %m");
	return fd;
}

/* This node's counters, printed when no packet arrives. */
static void metrics_print(void)
{
	struct wr_metric totals[WR_METRICS];

	metrics_read(totals);
	for (uint32_t key = 0; key < WR_REASONS * WR_DIRECTIONS; key++)
		if (totals[key].packets)
			print_message("%s, direction %u: %llu\n", reason_names[key / WR_DIRECTIONS], key % WR_DIRECTIONS,
				      totals[key].packets);
}

static void await(int fd, short events)
{
	struct pollfd p = { fd, events, 0 };

	if (poll(&p, 1, DEADLINE_MS) == 1)
		return;
	metrics_print();
	fail_msg("nothing for %d ms", DEADLINE_MS);
}

static void reach(int fd, enum who who, uint16_t port, bool v6)
{
	struct sockaddr_storage ss;
	socklen_t len = address_of(&ss, who, port, v6);

	if (connect(fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
		fail_msg("connect: %m");
}

/* Sends BULK bytes from one end to the other, and checks them. */
static void stream(int from, int to)
{
	static uint8_t out[1 << 16], in[1 << 16];
	size_t sent = 0, got = 0;

	while (got < BULK) {
		struct pollfd p[] = { { to, POLLIN, 0 }, { from, sent < BULK ? POLLOUT : 0, 0 } };
		ssize_t n;

		if (poll(p, 2, DEADLINE_MS) < 1)
			fail_msg("stalled: %zu bytes sent, %zu received", sent, got);
		if (p[1].revents & POLLOUT) {
			for (size_t i = 0; i < sizeof(out); i++)
				out[i] = (sent + i) * 2654435761u >> 24;
			n = send(from, out, sent + sizeof(out) > BULK ? BULK - sent : sizeof(out), MSG_NOSIGNAL);
			sent += n > 0 ? n : 0;
		}
		n = recv(to, in, sizeof(in), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			fail_msg("recv: %m");
		for (ssize_t i = 0; i < n; i++)
			if (in[i] != (uint8_t)((got + i) * 2654435761u >> 24))
				fail_msg("byte %zu is another", got + i);
		got += n > 0 ? n : 0;
	}
}

static void tcp_there_and_back(bool v6)
{
	static uint16_t port = 5000;
	int listener = open_socket(other.pod, POD_C, SOCK_STREAM, ++port, v6);
	int client = open_socket(device_netns(NO_DEVICE), HOST, SOCK_STREAM, 0, v6), server;

	assert_int_equal(listen(listener, 1), 0);
	reach(client, POD_C, port, v6);
	await(listener, POLLIN);
	server = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(server >= 0);
	await(client, POLLOUT);
	stream(client, server);
	stream(server, client);
	close(client);
	close(server);
	close(listener);
}

/* --- tests --- */

/* So large that there must have been GSO packets. */
static void check_super(enum wr_direction direction)
{
	const struct wr_metric m = node_metric(SLOT_C, direction);

	assert_true(m.bytes >= BULK);
	if (m.bytes / m.packets <= TUNNEL_MTU + 14)
		fail_msg("%llu packets for %llu bytes: no GSO packets", m.packets, m.bytes);
}

static void test_tcp(void **state)
{
	(void)state;
	for (int how = 0; how < 4; how++) {
		print_message("tcp v%d over v%d\n", how & 1 ? 6 : 4, how & 2 ? 6 : 4);
		prepare(how & 2);
		tcp_there_and_back(how & 1);
		check_super(WR_EGRESS);
		check_super(WR_INGRESS);
	}
}

/* An uplink without segmentation offload: the kernel segments GSO packets behind the program. */
static void test_tcp_cut(void **state)
{
	(void)state;
	shell("ethtool -K uplink tso off gso off tx off >/dev/null");
	for (int how = 0; how < 4; how++) {
		prepare(how & 2);
		tcp_there_and_back(how & 1);
		check_super(WR_EGRESS);
	}
	shell("ethtool -K uplink tx on tso on gso on >/dev/null");
}

static void test_udp(void **state)
{
	static const int sizes[] = { 0, 1, 8, 12, 13, 100, 1000, TUNNEL_MTU - 48, TUNNEL_MTU - 28 };
	static uint8_t out[TUNNEL_MTU], in[2 * TUNNEL_MTU];

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = i * 5 + 3;
	for (int how = 0; how < 4; how++) {
		const bool v6 = how & 1;
		int client = open_socket(device_netns(NO_DEVICE), HOST, SOCK_DGRAM, 6000, v6);
		int server = open_socket(other.pod, POD_C, SOCK_DGRAM, 6001, v6);

		prepare(how & 2);
		reach(client, POD_C, 6001, v6);
		reach(server, HOST, 6000, v6);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			for (int back = 0; back < 2; back++) {
				const int from = back ? server : client, to = back ? client : server;

				if (sizes[i] > TUNNEL_MTU - (v6 ? 48 : 28))
					continue;
				assert_int_equal(send(from, out, sizes[i], 0), sizes[i]);
				await(to, POLLIN);
				assert_int_equal(recv(to, in, sizeof(in), 0), sizes[i]);
				assert_memory_equal(in, out, sizes[i]);
			}
		}
		close(client);
		close(server);
	}
}

/* A tunnel in the tunnel: the kernel has set skb->encapsulation, and refuses flags. */
static void test_tunnel_inside(void **state)
{
	(void)state;
	for (int how = 0; how < 4; how++) {
		const bool v6 = how & 1;
		const char *there = v6 ? "fd88:0:0:1::10" : "10.88.1.10", *here = v6 ? "fd88::1" : "10.88.0.1";
		int server;

		prepare(how & 2);
		shell("ip link add vx0 mtu 1300 type vxlan id 5 local %s remote %s dstport 4789 %s; ip link set vx0 up; ip addr add 172.16.5.1/24 dev vx0",
		      here, there, v6 ? "udp6zerocsumrx udp6zerocsumtx" : "");
		enter(other.pod);
		shell("ip link add vx0 mtu 1300 type vxlan id 5 local %s remote %s dstport 4789 %s; ip link set vx0 up; ip addr add 172.16.5.2/24 dev vx0",
		      there, here, v6 ? "udp6zerocsumrx udp6zerocsumtx" : "");
		enter(device_netns(NO_DEVICE));
		/* Only a checksum that is left to the device makes the kernel set it: so UDP, not ping. */
		server = open_socket(other.pod, ZERO, SOCK_DGRAM, 7001, false);
		shell("bash -c 'echo inside > /dev/udp/172.16.5.2/7001'");
		await(server, POLLIN);
		close(server);
		shell("ip link del vx0");
		enter(other.pod);
		shell("ip link del vx0");
		enter(device_netns(NO_DEVICE));
	}
}

/* The host's routes do not have the tunnel's MTU: the sender gets the ICMP error, and sends smaller segments. */
static void test_path_mtu(void **state)
{
	(void)state;
	shell("ip route replace 10.88.1.0/24 dev warren0 src 10.88.0.1; ip -6 route replace fd88:0:0:1::/64 dev warren0 src fd88::1");
	for (int v6 = 0; v6 < 2; v6++) {
		struct wr_metric before[WR_METRICS], after[WR_METRICS];
		const uint32_t key = wr_metric_key(WR_REASON_TOO_BIG, WR_EGRESS);

		prepare(!v6);
		metrics_read(before);
		tcp_there_and_back(v6);
		metrics_read(after);
		assert_in_range(after[key].packets - before[key].packets, 1, 100);
	}
}

/*
 * A peer with UDP checksums left to the device (CHECKSUM_PARTIAL), on a device that does not complete them: they are wrong
 * in the packet, and must not be checked.
 */
static void test_unfinished_checksum(void **state)
{
	static const struct layer inner[] = { ETH(), IP(.src = POD_C, .dst = HOST), UDP(.dport = 7000, .n = 100), { 0 } };
	static const struct layer geneve[] = { ETH(), IP(), UDP(), GENEVE(), OPT(.n = 8, .identity = IDENTITY_C), { 0 } };
	static const struct layer_defaults none = { MAC_OTHER, MAC_HOST, NODE_C, NODE };

	(void)state;
	for (int how = 0; how < 4; how++) {
		const bool v6 = how & 1, over6 = how & 2;
		int host = open_socket(device_netns(NO_DEVICE), HOST, SOCK_DGRAM, 7000, v6);
		int node = open_socket(other.node, NODE_C, SOCK_DGRAM, 0, over6);
		const size_t head = over6 ? 62 : 42;
		struct frame f, packet;

		prepare(over6);
		reach(node, NODE, WR_TUNNEL_PORT, over6);
		frame_build(&f, geneve, &none, over6);
		frame_build(&packet, inner, &none, v6);
		memcpy(f.data + f.len, packet.data, packet.len);
		f.len += packet.len;
		assert_int_equal(send(node, f.data + head, f.len - head, 0), f.len - head);
		await(host, POLLIN);
		close(node);
		close(host);
	}
}

static int key_setup(void **state)
{
	keyed = true;
	return 0;
}

static int key_teardown(void **state)
{
	keyed = false;
	return 0;
}

#define WITH_KEY(test) cmocka_unit_test_setup_teardown(test, key_setup, key_teardown)

int run_tunnel_wire_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_tcp_cut),
		cmocka_unit_test(test_tunnel_inside),
		cmocka_unit_test(test_path_mtu),
		cmocka_unit_test(test_unfinished_checksum),
		WITH_KEY(test_udp),
		WITH_KEY(test_tcp),
		WITH_KEY(test_tcp_cut),
		WITH_KEY(test_tunnel_inside),
	};

	return cmocka_run_group_tests_name("bpf_tunnel_wire", tests, two_nodes_setup, two_nodes_teardown);
}
