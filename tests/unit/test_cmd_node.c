/* SPDX-License-Identifier: BSD-2-Clause */
/* node list, get and ping, ipcache, and all that shows who is on another node: with and without an agent. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>

#include "cli_rig.h"
#include "frame.h"
#include "gateway.h"
#include "inet.h"
#include "maps.h"
#include "names.h"
#include "node.h"
#include "nodes.h"
#include "ping.h"
#include "uplink.h"

#define DB_IDENTITY 0x02000000000000dbull
#define WEB_IDENTITY 0x02000000000000ebull
#define CLASS 17
#define RULE 16

static const uint8_t web_mac[6] = { 2, 0, 0, 0, 0, 7 }, next_hop[6] = { 2, 0, 0, 0, 0, 0xb };
static uint32_t web, uplink, slot_b, slot_c;
static struct link_info uplink_info;

/* --- the node: one of three --- */

static void make_uplink(struct nl *nl)
{
	struct veth_end host = { .name = "up0", .netns_fd = -1 }, peer = { .name = "lan0", .netns_fd = -1 };
	struct nl_batch b = { 0 };
	struct link_info lan;
	uint32_t gateway;

	veth_add(nl, &b, &host, &peer);
	assert_int_equal(nl_batch_run(nl, &b, NULL), 0);
	assert_int_equal(link_get(nl, "up0", 0, &uplink_info, NULL), 0);
	assert_int_equal(link_get(nl, "lan0", 0, &lan, NULL), 0);
	uplink = uplink_info.ifindex;
	b = (struct nl_batch){ 0 };
	for (const uint32_t *i = (const uint32_t[]){ uplink, lan.ifindex, 1, 0 }; *i; i++) {
		if (*i != 1)
			link_set_no_addrgen(nl, &b, *i);
		link_set_up(nl, &b, *i);
	}
	assert_int_equal(node_gateway_ifindex(nl, &gateway, NULL), 0);
	for (const char *const *text = (const char *[]){ "10.1.0.1/32", "fd00:1::1/128", NULL }; *text; text++) {
		struct prefix p = prefix(*text);

		addr_add(nl, &b, gateway, &p);
	}
	/* What no route leads to might be the host's. */
	route_replace(nl, &b, &(const struct route){ .dst = prefix("198.51.100.0/24"), .ifindex = uplink, .type = 1 });
	assert_int_equal(nl_batch_run(nl, &b, NULL), 0);
	assert_int_equal(dp_uplink_attach(uplink, NULL), 0);
}

static struct dp_node node_b(void)
{
	struct dp_node b = {
		.cidrs = { prefix("10.2.0.0/24"), prefix("fd00:2::/64") },
		.addresses = { ip("192.0.2.2"), ip("2001:db8::2") },
		.address_count = 2,
		.local = ip("192.0.2.1"),
		.remote = ip("192.0.2.2"),
		.uplink = uplink,
		.mtu = 1438,
		.resolved = true,
	};

	memcpy(b.dmac, next_hop, 6);
	memcpy(b.smac, uplink_info.mac, 6);
	return b;
}

/* On the same link, without a tunnel, and nobody knows its MAC address yet. */
static struct dp_node node_c(void)
{
	return (struct dp_node){
		.cidrs = { prefix("10.3.0.0/24") },
		.addresses = { ip("192.0.2.3") },
		.address_count = 1,
		.local = ip("192.0.2.1"),
		.remote = ip("192.0.2.3"),
		.uplink = uplink,
		.mtu = 1500,
		.direct = true,
	};
}

static void make_cluster(struct nl *nl)
{
	struct wr_cluster c = {
		.flags = WR_CLUSTER_V4 | WR_CLUSTER_V6 | WR_CLUSTER_POD4 | WR_CLUSTER_POD6,
		.vni = WR_TUNNEL_VNI,
		.port = htons(WR_TUNNEL_PORT),
		.option_class = htons(WR_TUNNEL_OPTION_CLASS),
		.addr4 = { htonl(0xc0000201) },
		.addr6 = { { htonl(0x20010db8), 0, 0, htonl(1) } },
		.cidr4 = { htonl(0x0a010000) },
		.mask4 = { htonl(0xffffff00) },
		.cidr6 = { { htonl(0xfd000001) } },
		.mask6 = { { ~0u, ~0u } },
	};
	const struct dp_node b = node_b(), other = node_c();
	struct dp_nodes *nodes;
	uint32_t taken;
	int r;

	assert_int_equal(node_gateway_ifindex(nl, &c.host_ifindex, NULL), 0);
	assert_int_equal(dp_nodes_open(&nodes, NULL), 0);
	r = dp_node_put(nodes, 0, &b, &taken, NULL);
	assert_true(r > 0);
	slot_b = (uint32_t)r;
	r = dp_node_put(nodes, 0, &other, &taken, NULL);
	assert_true(r > 0);
	slot_c = (uint32_t)r;
	for (const char *const *text = (const char *[]){ "10.2.0.7", "fd00:2::7", NULL }; *text; text++)
		assert_int_equal(dp_ipcache_put(nodes, &(const struct ip[]){ ip(*text) }[0], DB_IDENTITY, NULL), 0);
	assert_int_equal(dp_ipcache_put(nodes, &b.remote, WR_ID_REMOTE_NODE, NULL), 0);
	assert_int_equal(dp_cluster_set(nodes, &c, NULL), 0);
	assert_int_equal(dp_nodes_commit(nodes, NULL), 0);
	dp_nodes_close(nodes);
}

/* Into web: from db by tcp to port 80, and from 192.0.2.2/32, which is node b. */
static void make_policy(void)
{
	const struct wr_class_info info = {
		.flags = { [WR_INGRESS] = WR_CLASS_ISOLATED | WR_CLASS_CIDRS | WR_CLASS_SELECTORS | WR_CLASS_ANY_PROTO },
		.port_bits = { [WR_INGRESS] = 1 << 16 },
	};
	const struct wr_policy_key by_port = {
		0x1234, CLASS, htons(80), IPPROTO_TCP, wr_policy_shape(WR_INGRESS, 16)
	}, by_cidr = { WR_PEER_CIDR | 9, CLASS, 0, 0, wr_policy_shape(WR_INGRESS, 0) };
	const struct wr_cidr4_key cidr = { WR_CIDR_CLASS_BITS + 32, wr_cidr_class(CLASS, WR_INGRESS), { htonl(0xc0000202) } };
	const struct wr_rule_text text = { "shop/web ingress[0]" }, cidr_text = { "shop/web ingress[1]" };
	const struct wr_policy_state policy_state = { .revision = 5, .policy_class = CLASS };

	map_put("rules", &(const uint32_t){ RULE }, &text);
	map_put("rules", &(const uint32_t){ RULE + 1 }, &cidr_text);
	map_put("policy", &by_port, &(const struct wr_policy_entry){ RULE });
	map_put("policy", &by_cidr, &(const struct wr_policy_entry){ RULE + 1 });
	map_put("cidrs4", &cidr, &(const struct wr_peer){ WR_PEER_CIDR | 9 });
	map_put("identities", &(const uint64_t){ DB_IDENTITY }, &(const struct wr_peer){ 0x1234 });
	map_put("classes", &(const uint32_t){ CLASS }, &info);
	assert_int_equal(dp_policy_state_set(&policy_state, NULL), 0);
}

static int node_of_three(void **state)
{
	struct wr_endpoint ep = {
		.flags = WR_EP_V4 | WR_EP_V6, .policy_class = CLASS, .revision = 5, .identity = WEB_IDENTITY
	};
	_cleanup_nl_ struct nl nl = { 0 };

	if (geteuid() != 0)
		return 0;
	own_node(state);
	expect("node init", 0, "loaded");
	assert_int_equal(nl_open(&nl, NETLINK_ROUTE, NULL), 0);
	assert_int_equal(inet_pton(AF_INET, "10.1.0.7", &ep.addr4), 1);
	assert_int_equal(inet_pton(AF_INET6, "fd00:1::7", &ep.addr6), 1);
	web = make_pod(&nl, "wrweb", "podweb", web_mac, &ep);
	record_pod(web, "wrweb", "web");
	make_uplink(&nl);
	make_cluster(&nl);
	make_policy();
	return 0;
}

/* --- an agent that answers so, in a child --- */

static const char identities[] = "{\"identities\": [{\"identity\": \"0x2000000000000db\", \"namespace\": \"shop\","
				 "\"labels\": {\"app\": \"db\"}, \"pods\": 1, \"endpoints\": [], \"selectors\": []}]}\n";
static const char pods[] = "{\"pods\": [{\"namespace\": \"shop\", \"name\": \"db\", \"identity\": \"0x2000000000000db\","
			   "\"addresses\": [\"10.2.0.7\", \"fd00:2::7\"]},"
			   "{\"namespace\": \"shop\", \"name\": \"old\", \"identity\": \"0x1\", \"addresses\": [\"10.2.0.8\"]},"
			   "{\"namespace\": \"shop\", \"name\": \"new\", \"identity\": \"0x1\", \"addresses\": [\"10.2.0.8\"]},"
			   "{\"namespace\": 7, \"name\": \"odd\", \"addresses\": [7, \"x\"]}]}\n";
static const char status[] = "{\"version\": \"9\", \"synced\": true, \"complaints\": [], \"counts\": {}}\n";
static char nodes[1024];

static pid_t start_agent(void)
{
	static const struct answer answers[] = {
		{ "identities", identities }, { "pods", pods }, { "nodes", nodes }, { NULL, status }
	};

	snprintf(nodes, sizeof(nodes),
		 "{\"nodes\": [{\"name\": \"a\", \"slot\": 0, \"own\": true, \"cidrs\": [\"10.1.0.0/24\", \"fd00:1::/64\"],"
		 "\"addresses\": [\"192.0.2.1\"], \"problem\": null}, {\"name\": \"b\", \"slot\": %u, \"own\": false,"
		 "\"cidrs\": [\"10.2.0.0/24\"], \"addresses\": [\"192.0.2.2\"], \"problem\": null},"
		 "{\"name\": \"d\", \"slot\": 0, \"own\": false, \"cidrs\": [\"10.2.0.0/25\"], \"addresses\": [\"192.0.2.4\"],"
		 "\"problem\": \"its pod CIDR 10.2.0.0/25 overlaps that of b\"}]}\n",
		 slot_b);
	return agent_start(answers);
}

/* --- nodes --- */

static void nodes_by_the_maps(void **state)
{
	json_auto_t *list = NULL;
	const json_t *b, *c;
	char line[64];

	needs_root();
	list = run_both("node list", 0, "no agent runs on this node: the maps know no names");
	assert_int_equal(json_array_size(list), 3);
	assert_true(json_is_true(json_object_get(json_array_get(list, 0), "own")));
	b = json_array_get(list, 1);
	c = json_array_get(list, 2);
	assert_true(json_is_null(json_object_get(b, "name")));
	assert_int_equal(json_integer_value(json_object_get(b, "slot")), slot_b);
	assert_string_equal(json_text(b, "remote"), "192.0.2.2");
	assert_string_equal(json_text(b, "local"), "192.0.2.1");
	assert_string_equal(json_text(b, "uplink"), "up0");
	assert_string_equal(json_text(b, "mode"), "tunnel");
	assert_string_equal(json_text(b, "dmac"), "02:00:00:00:00:0b");
	assert_int_equal(json_integer_value(json_object_get(b, "mtu")), 1438);
	assert_int_equal(json_array_size(json_object_get(b, "cidrs")), 2);
	assert_int_equal(json_array_size(json_object_get(b, "addresses")), 2);
	assert_string_equal(json_text(c, "mode"), "direct");
	assert_true(json_is_false(json_object_get(c, "resolved")));
	assert_true(json_is_null(json_object_get(c, "dmac")));
	assert_string_equal(json_text(c, "state"), "unresolved");
	for (const char *const *by = (const char *[]){ "192.0.2.2", "2001:db8::2", "10.2.0.1", "fd00:2::1", NULL }; *by; by++) {
		snprintf(line, sizeof(line), "node get %s", *by);
		expect(line, 0, "remote:           192.0.2.2");
	}
	snprintf(line, sizeof(line), "node get %u", slot_c);
	expect(line, 0, "10.3.0.0/24");
	expect_failure("node get b", 1, "there is no node 'b', as far as the maps know: no agent runs");
	expect_failure("node get 10.2.0.7", 1, "there is no node '10.2.0.7'");
	expect_failure("node get 0", 1, "there is no node '0'");
}

static void nodes_by_the_agent(void **state)
{
	pid_t agent;

	needs_root();
	agent = start_agent();
	expect("node list", 0, "\na        -  10.1.0.0/24 fd00:1::/64");
	expect("node list", 0, "this node");
	expect("node list", 0, "left out\n");
	expect("node list", 0, "node d: its pod CIDR 10.2.0.0/25 overlaps that of b");
	expect("node get b", 0, "slot:             1");
	expect("node get a", 0, "state:            this node");
	expect("node get d", 0, "problem:          its pod CIDR");
	expect_failure("node get e", 1, "there is no node 'e'");
	expect("status", 1, "node d: its pod CIDR 10.2.0.0/25 overlaps that of b");
	expect("status", 1, "tunnels end at 192.0.2.1, 2001:db8::1 UDP port 6081, VNI 1; 2 other nodes: 1 by tunnel, 1 direct, 1 unresolved");
	agent_end(agent);
	expect("status", 0, "2 other nodes");
}

static void counters(void **state)
{
	const int cpus = libbpf_num_possible_cpus();
	struct wr_metric *metric = calloc((size_t)cpus, sizeof(*metric));
	const uint32_t key = wr_metric_key(slot_b, WR_INGRESS);
	_cleanup_fd_ int fd = -1;
	json_auto_t *json = NULL;

	needs_root();
	fd = dp_map_open("node_metrics", NULL);
	metric[0] = (struct wr_metric){ 3, 300 };
	metric[cpus - 1].packets += 4;
	assert_int_equal(bpf_map_update_elem(fd, &key, metric, BPF_ANY), 0);
	json = run_both("node get 192.0.2.2", 0, "packets received: 7");
	assert_int_equal(json_integer_value(json_object_get(json, "bytes_received")), 300);
	assert_int_equal(json_integer_value(json_object_get(json, "packets_sent")), 0);
	free(metric);
}

/* --- whose addresses --- */

static void addresses(void **state)
{
	static const struct {
		const char *ip, *what, *identity;
	} known[] = {
		{ "10.2.0.7", "a pod of another node", "0x02000000000000db" },
		{ "fd00:2::7", "a pod of another node", "0x02000000000000db" },
		{ "10.2.0.99", "a pod of another node", "some-pod" },
		{ "192.0.2.2", "another node", "remote-node" },
		{ "10.2.0.1", "another node", "remote-node" },
		{ "10.1.0.7", "a pod of this node", "0x02000000000000eb" },
		{ "fd00:1::7", "a pod of this node", "0x02000000000000eb" },
		{ "10.1.0.1", "this node", "host" },
		{ "192.0.2.1", "this node", "host" },
		{ "10.1.0.99", "nobody", "unknown" },
		{ "198.51.100.1", "outside the cluster", "world" },
	};
	json_auto_t *list = NULL;
	pid_t agent;

	needs_root();
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		json_auto_t *json = NULL;
		char line[64];

		snprintf(line, sizeof(line), "ipcache get %s", known[i].ip);
		json = run_both(line, 0, known[i].what);
		assert_string_equal(json_text(json, "identity"), known[i].identity);
	}
	list = run_both("ipcache list", 0, "no agent runs on this node: the maps know no labels");
	assert_int_equal(json_array_size(list), 3);
	agent = start_agent();
	expect("ipcache list", 0, "10.2.0.7   0x02000000000000db  b     shop/db  app=db");
	expect("ipcache get 10.2.0.7", 0, "pod:      shop/db");
	expect("ipcache get 10.2.0.8", 0, "pod:      -"); /* two claim it */
	expect("ipcache get 10.1.0.7", 0, "pod:      default/web");
	expect("identity get some-pod", 1, "");
	agent_end(agent);
}

/* --- flows --- */

static const struct {
	const char *line, *verdict, *because;
} verdicts[] = {
	{ "10.2.0.7 web:80/tcp", "allowed", "shop/web ingress[0]" },
	{ "fd00:2::7 web:80/tcp", "allowed", "shop/web ingress[0]" },
	{ "10.2.0.7 web:81/tcp", "denied", "no rule of class 17 matched" },
	{ "10.2.0.9 web:80/tcp", "denied", "no rule of class 17 matched" },
	{ "192.0.2.2 web:80/tcp", "allowed", "shop/web ingress[1]" },
	{ "10.2.0.1 web:icmp", "allowed", "shop/web ingress[1]" }, /* the same node, by another address */
	{ "10.3.0.1 web:icmp", "denied", "no rule of class 17 matched" },
};

static void verdicts_of_the_remote(void **state)
{
	needs_root();
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		const bool drops = strcmp(verdicts[i].verdict, "denied") == 0;
		json_auto_t *json = NULL, *traced = NULL;
		char line[128];

		snprintf(line, sizeof(line), "policy why %s", verdicts[i].line);
		json = run_both(line, 0, verdicts[i].because);
		assert_string_equal(json_text(json, "verdict"), verdicts[i].verdict);
		/* By c's own address no tunnel packet comes: it is on the same link, and its MAC address is not known. */
		if (strstr(verdicts[i].line, "10.3."))
			continue;
		snprintf(line, sizeof(line), "trace %s", verdicts[i].line);
		traced = run_both(line, 0, verdicts[i].because);
		if (strcmp(json_text(traced, "verdict"), drops ? "drop" : "pass") != 0)
			fail_msg("%s: %s, %s", line, json_text(traced, "verdict"), json_text(traced, "reason"));
	}
	expect("policy why 10.2.0.9 web", 0, "Who a pod of node slot 1 is, the maps do not know");
	expect("policy why web 10.2.0.7:80/tcp", 0, "egress  default/web  allowed");
}

static void traces(void **state)
{
	static const struct {
		const char *line, *reason, *text;
	} rows[] = {
		{ "web 10.2.0.7:80/tcp", "to_node", "encapsulated, Geneve VNI 1 from 192.0.2.1 to 192.0.2.2 by uplink up0, identity 0x02000000000000eb" },
		{ "web fd00:2::7:icmp", NULL, NULL },
		{ "web [fd00:2::7]:icmp", "to_node", "next hop    02:00:00:00:00:0b" },
		{ "web 10.2.0.1:icmp", "to_node", "peer        node slot 1, identity remote-node" },
		{ "web 10.3.0.9:53/udp", "to_node", "to node slot 2: as it is, by uplink up0" },
		{ "web 10.3.0.9:53/udp", "to_node", "not resolved yet: the stack finds it" },
		{ "host 10.2.0.7:80/tcp", "to_node", "identity remote-node" },
		{ "198.51.100.1 10.2.0.7:80/tcp", "to_node", "from_host of warren0" },
		{ "10.2.0.7 web:80/tcp", "to_endpoint", "from node slot 1: Geneve VNI 1 from 192.0.2.2 to 192.0.2.1, identity 0x02000000000000db carried" },
		{ "10.2.0.7 web:80/tcp", "to_endpoint", "redirected into the pod of endpoint" },
		{ "10.2.0.7 web:80/tcp", "to_endpoint", "default/web, identity 0x02000000000000eb, class 17, revision 5" },
		{ "10.2.0.7 web:81/tcp", "ingress_denied", "dropped: " },
		{ "10.2.0.7 host:80/tcp", "to_host", "to this host's own stack by warren0" },
		{ "10.2.0.99 web:80/tcp", "ingress_denied", "identity 0x0200000000000001 carried" },
		{ "10.2.0.7 web --identity host", "tunnel_identity", "identity host carried" },
		{ "10.2.0.7 web --identity some-pod", "tunnel_identity", "identity some-pod carried" },
		{ "198.51.100.1 web:80 --from-node 192.0.2.2", "ingress_denied", "peer        world" },
		{ "10.3.0.7 web:80 --from-node 192.0.2.2", "tunnel_source", "not the sending node's to use" },
		{ "web web:80 --from-node 192.0.2.2", "tunnel_source", "not the sending node's to use" },
		{ "10.2.0.7 198.51.100.9:80/tcp", "tunnel_target", "dropped: " },
	};

	needs_root();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_auto_t *json = NULL;
		char line[128];

		snprintf(line, sizeof(line), "trace %s", rows[i].line);
		if (!rows[i].reason) {
			expect_failure(line, 1, "no pod of this node is named");
			continue;
		}
		json = run_both(line, 0, rows[i].text);
		if (strcmp(json_text(json, "reason"), rows[i].reason) != 0)
			fail_msg("%s: %s, not %s", line, json_text(json, "reason"), rows[i].reason);
	}
	expect_failure("trace host 192.0.2.2", 2, "its programs see no such packet");
	expect_failure("trace web 10.2.0.7 --identity world", 2, "--identity is carried by what another node sends");
	expect_failure("trace 10.2.0.7 web --identity x", 2, "'x' is no identity");
	expect_failure("trace 10.2.0.7 web --from-node z", 1, "there is no other node 'z'");
}

static void names_in_flows(void **state)
{
	pid_t agent;

	needs_root();
	agent = start_agent();
	expect("trace web db:80/tcp", 0, "to:      shop/db of node b (10.2.0.7)");
	expect("trace web shop/db:80/tcp --family 6", 0, "peer        node b pod shop/db, identity 0x02000000000000db");
	expect("trace b web:icmp", 0, "from:    node b (10.2.0.1)");
	expect("trace db web --from-node b", 0, "from node b: Geneve");
	expect_failure("trace web shop/new", 1, "nor one of another node, nor a node");
	expect_failure("trace 10.2.0.7 web --from-node d", 1, "node d is not in the maps");
	expect("policy why shop/db web:80/tcp", 0, "shop/db of node b (10.2.0.7)");
	agent_end(agent);
}

/* A flow of web with db, in either direction. */
static void put_flow(uint16_t port, bool outwards)
{
	const struct wr_ct4_key key = {
		{ { htonl(0x0a010007) }, { htonl(0x0a020007) } }, { htons(outwards ? 40000 : port), htons(outwards ? port : 40000) }, IPPROTO_TCP
	};
	struct timespec ts;
	struct wr_ct ct = {
		.flags = WR_CT_ANSWERED | (outwards ? 0 : WR_CT_SWAPPED),
		.initiator = outwards ? web : WR_REMOTE | slot_b,
		.responder = outwards ? WR_REMOTE | slot_b : web,
	};
	_cleanup_fd_ int fd = dp_map_open("ct4", NULL);

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	ct.expires = (uint32_t)(((uint64_t)ts.tv_sec * 1000000000) >> WR_CT_TICK_SHIFT) + WR_CT_SECONDS(100);
	assert_int_equal(bpf_map_update_elem(fd, &key, &ct, BPF_ANY), 0);
}

static void remote_ends_of_flows(void **state)
{
	json_auto_t *json = NULL;
	pid_t agent;

	needs_root();
	put_flow(5432, true);
	put_flow(80, false);
	expect("ct list", 0, "10.2.0.7:5432 node slot 1");
	expect("map dump ct4", 0, "slot 1");
	json = run_both("ct get web 10.2.0.7:5432/tcp", 0, "default/web");
	json_decref(json);
	agent = start_agent();
	json = run_both("ct get shop/db web:80/tcp", 0, "10.2.0.7:40000 node b pod shop/db");
	assert_string_equal(json_text(json_object_get(json_array_get(json, 0), "from"), "node"), "b");
	assert_string_equal(json_text(json_object_get(json_array_get(json, 0), "from"), "pod"), "shop/db");
	agent_end(agent);
	expect("ct flush", 0, "flows ended: 2");
}

/* --- monitor --- */

static void send_by(const char *device, const uint8_t *bytes, size_t length)
{
	const struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device) };
	_cleanup_fd_ int fd = socket(AF_PACKET, SOCK_RAW, 0);

	assert_int_equal(sendto(fd, bytes, length, 0, (const struct sockaddr *)&to, sizeof(to)), length);
}

static size_t make_syn(const char *source, const char *destination, uint8_t bytes[FRAME_MAX])
{
	struct frame f = {
		.mac_destination = WR_HOST_MAC,
		.source = ip(source),
		.destination = ip(destination),
		.protocol = IPPROTO_TCP,
		.source_port = 50000,
		.destination_port = 81,
		.tcp_flags = 0x02,
	};

	memcpy(f.mac_source, web_mac, 6);
	return frame_make(&f, bytes);
}

/* In the tunnel, from node b. */
static void send_tunnelled(const char *source, const char *destination, uint32_t vni)
{
	uint8_t inner[FRAME_MAX], bytes[FRAME_TUNNEL_MAX];
	struct frame_tunnel t = {
		.source = ip("192.0.2.2"),
		.destination = ip("192.0.2.1"),
		.port = WR_TUNNEL_PORT,
		.option_class = WR_TUNNEL_OPTION_CLASS,
		.vni = vni,
		.identity = DB_IDENTITY,
	};

	memcpy(t.mac_source, next_hop, 6);
	memcpy(t.mac_destination, uplink_info.mac, 6);
	send_by("lan0", bytes, frame_encapsulate(&t, inner, make_syn(source, destination, inner), bytes));
}

static json_t *monitored(const char *options, void (*provoke)(void))
{
	char text[8192], line[128];
	FILE *out = tmpfile();
	json_t *json;
	pid_t pid;

	snprintf(line, sizeof(line), "monitor --json --count 1 --timeout 20 %s", options);
	pid = start_monitor(line, out);
	provoke();
	assert_ends_soon(pid);
	read_back(out, text, sizeof(text));
	json = json_loads(text, 0, NULL);
	if (!json)
		fail_msg("the monitor prints: %s", text);
	return json;
}

static void to_db(void)
{
	uint8_t bytes[FRAME_MAX];

	send_by("podweb", bytes, make_syn("10.1.0.7", "10.2.0.7", bytes));
}

static void from_db(void)
{
	send_tunnelled("10.2.0.7", "10.1.0.7", WR_TUNNEL_VNI);
}

static void of_another_cluster(void)
{
	send_tunnelled("10.2.0.7", "10.1.0.7", 7);
}

static void events(void **state)
{
	json_t *json;
	pid_t agent;

	needs_root();
	agent = start_agent();
	json = monitored("--allows --reason to_node", to_db);
	assert_string_equal(json_text(json, "peer"), "node");
	assert_string_equal(json_text(json, "peer_node"), "b");
	assert_string_equal(json_text(json, "peer_pod"), "shop/db");
	assert_int_equal(json_integer_value(json_object_get(json, "peer_slot")), slot_b);
	assert_int_equal(json_integer_value(json_object_get(json, "endpoint")), web);
	json_decref(json);

	json = monitored("--drops --reason ingress_denied", from_db);
	assert_string_equal(json_text(json, "peer_pod"), "shop/db");
	assert_string_equal(json_text(json, "direction"), "ingress");
	assert_string_equal(json_text(json, "pod"), "default/web");
	assert_string_equal(json_text(json_object_get(json, "ingress"), "because"), "no rule of class 17 matched");
	json_decref(json);

	json = monitored("--reason tunnel_vni", of_another_cluster);
	assert_string_equal(json_text(json, "device"), "up0");
	assert_true(json_is_null(json_object_get(json, "endpoint")));
	assert_string_equal(json_text(json_object_get(json_object_get(json, "headers"), "tunnel"), "identity"),
			    "0x02000000000000db");
	assert_string_equal(json_text(json, "packet"), "192.0.2.2:50000 > 192.0.2.1:6081 UDP, Geneve VNI 7 identity"
						     " 0x02000000000000db: 10.2.0.7:50000 > 10.1.0.7:81 TCP SYN");
	json_decref(json);
	agent_end(agent);
	expect("ct flush", 0, "flows ended");
}

/* --- ping --- */

#define MS 1000000ull

static void to_route(struct nl *nl, const char *to, uint8_t type)
{
	const struct route route = { .dst = prefix(to), .type = type };
	struct nl_batch b = { 0 };

	route_replace(nl, &b, &route);
	assert_int_equal(nl_batch_run(nl, &b, NULL), 0);
}

/* The loopback device answers for all of 127/8, and ::1; to 10.9.0.0/16 and fd00:9::/32 there is no way. */
static void echoes(void **state)
{
	struct ping_target targets[] = {
		{ .to = ip("127.0.0.1") }, { .to = ip("127.0.0.9") }, { .to = ip("10.9.0.1") },
		{ .to = ip("::1") },	      { .to = ip("fd00:9::1") },
	};
	struct ping ping = { .source = { ip("127.0.0.1"), ip("::1") }, .count = 20, .interval_ns = MS,
			     .timeout_ns = 300 * MS, .targets = targets, .target_count = 5 };
	_cleanup_nl_ struct nl nl = { 0 };
	struct timespec begin, end;
	struct err err = { 0 };

	needs_root();
	assert_int_equal(nl_open(&nl, NETLINK_ROUTE, NULL), 0);
	to_route(&nl, "10.9.0.0/16", 7); /* RTN_UNREACHABLE */
	to_route(&nl, "fd00:9::/32", 7);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(ping_run(&ping, &err), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	for (size_t i = 0; i < 5; i++) {
		const bool refused = i == 2 || i == 4;

		assert_int_equal(targets[i].sent, 20);
		assert_int_equal(targets[i].received, refused ? 0 : 20);
		assert_int_equal(targets[i].error != 0, refused);
		if (refused)
			continue;
		assert_true(targets[i].min_ns && targets[i].min_ns <= targets[i].sum_ns / 20);
		assert_true(targets[i].sum_ns / 20 <= targets[i].max_ns && targets[i].max_ns < 300 * MS);
	}
	/* Nobody is waited for who has answered or cannot: 19 intervals of 1 ms. */
	assert_true((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 < 250);
}

/* Many at once: more than a socket has room for. */
static void echoes_of_many(void **state)
{
	static struct ping_target targets[4000];
	struct ping ping = { .source = { ip("127.0.0.1") }, .count = 2, .timeout_ns = 3000 * MS,
			     .targets = targets, .target_count = 4000 };
	const struct ip first = ip("127.1.0.1");

	needs_root();
	for (size_t i = 0; i < ping.target_count; i++)
		targets[i].to = ip_add(first, i);
	assert_int_equal(ping_run(&ping, NULL), 0);
	for (size_t i = 0; i < ping.target_count; i++)
		assert_int_equal(targets[i].received, 2);
}

static void no_echo_is_believed_twice_or_late(void **state)
{
	struct ping_target target = { .to = ip("127.0.0.1") };
	struct ping ping = { .source = { ip("127.0.0.1") }, .count = 3, .timeout_ns = 1, .targets = &target,
			     .target_count = 1 };
	struct ping_target twice[2] = { { .to = ip("127.0.0.1") }, { .to = ip("127.0.0.1") } };
	struct err err = { 0 };

	needs_root();
	assert_int_equal(ping_run(&ping, NULL), 0);
	assert_int_equal(target.sent, 3);
	assert_int_equal(target.received, 0); /* none comes within a nanosecond */
	ping = (struct ping){ .source = { ip("127.0.0.1") }, .count = 4, .timeout_ns = 500 * MS, .targets = twice,
			      .target_count = 2 };
	assert_int_equal(ping_run(&ping, NULL), 0);
	assert_int_equal(twice[0].received + twice[1].received, 8);
	ping.source[0] = ip("203.0.113.1");
	assert_int_equal(ping_run(&ping, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err.msg, "203.0.113.1"));
}

/* Nobody is at the other end of this uplink. */
static void nodes_that_do_not_answer(void **state)
{
	json_auto_t *json = NULL;

	needs_root();
	json = run_both("node ping --count 2 --interval 1 --timeout 50", 1, "refused: Network is unreachable");
	assert_int_equal(json_array_size(json), 3);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json, 0), "sent")), 2);
	assert_true(json_is_false(json_object_get(json_array_get(json, 0), "answers")));
	expect("node ping 192.0.2.3 --count 1 --timeout 50", 1, "slot 2");
	expect_failure("node ping nobody", 1, "there is no node 'nobody'");
	expect_failure("node ping 10.1.0.1", 2, "10.1.0.1 is this node");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_by_the_maps),
		cmocka_unit_test(nodes_by_the_agent),
		cmocka_unit_test(counters),
		cmocka_unit_test(addresses),
		cmocka_unit_test(verdicts_of_the_remote),
		cmocka_unit_test(traces),
		cmocka_unit_test(names_in_flows),
		cmocka_unit_test(remote_ends_of_flows),
		cmocka_unit_test(events),
		cmocka_unit_test(echoes),
		cmocka_unit_test(echoes_of_many),
		cmocka_unit_test(no_echo_is_believed_twice_or_late),
		cmocka_unit_test(nodes_that_do_not_answer),
	};

	return cmocka_run_group_tests_name("cmd_node", tests, node_of_three, NULL);
}
