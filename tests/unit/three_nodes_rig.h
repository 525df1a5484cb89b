/* SPDX-License-Identifier: BSD-2-Clause */
/* This node is one of three, with a pod `web`; b is reached by tunnel and has pod shop/db, c is on the same link. */
#ifndef WARREN_THREE_NODES_RIG_H
#define WARREN_THREE_NODES_RIG_H

#include <netinet/in.h>

#include "cli_rig.h"
#include "gateway.h"
#include "ip.h"
#include "maps.h"
#include "enum_names.h"
#include "node.h"
#include "nodes.h"
#include "uplink.h"

#define DB_IDENTITY 0x02000000000000dbull
#define WEB_IDENTITY 0x02000000000000ebull
#define CLASS 17
#define RULE 16

static const uint8_t web_mac[6] = { 2, 0, 0, 0, 0, 7 }, next_hop[6] = { 2, 0, 0, 0, 0, 0xb };
static uint32_t web, uplink, slot_b, slot_c;
static struct link_info uplink_info;

/* --- the node: one of three --- */

static inline void make_uplink(struct nl *nl)
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
	assert_int_equal(node_gateway_ifindex(&gateway, NULL), 0);
	for (const char *const *text = (const char *[]){ "10.1.0.1/32", "fd00:1::1/128", NULL }; *text; text++) {
		struct prefix p = prefix(*text);

		addr_add(nl, &b, gateway, &p);
	}
	/* Without a route, an address might be taken for the host's. */
	route_replace(nl, &b, &(const struct route){ .dst = prefix("198.51.100.0/24"), .ifindex = uplink, .type = 1 });
	route_replace(nl, &b, &(const struct route){ .dst = prefix("192.0.2.0/24"), .ifindex = uplink, .type = 1, .scope = 253 });
	neigh_replace(nl, &b, uplink, &(const struct ip[]){ ip("192.0.2.2") }[0], next_hop);
	assert_int_equal(nl_batch_run(nl, &b, NULL), 0);
	assert_int_equal(dp_uplink_attach(uplink, NULL), 0);
}

static inline struct dp_node node_b(void)
{
	return (struct dp_node){
		.cidrs = { prefix("10.2.0.0/24"), prefix("fd00:2::/64") },
		.addresses = { ip("192.0.2.2"), ip("2001:db8::2") },
		.address_count = 2,
		.local = ip("192.0.2.1"),
		.remote = ip("192.0.2.2"),
		.uplink = uplink,
		.mtu = 1438,
	};
}

/* On the same link, without a tunnel; its MAC address is not resolved yet. */
static inline struct dp_node node_c(void)
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

static inline void make_cluster(struct nl *nl)
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

	assert_int_equal(node_gateway_ifindex(&c.host_ifindex, NULL), 0);
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
static inline void make_policy(void)
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

static inline int node_of_three(void **state)
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

/* --- an agent with fixed responses, in a child --- */

static const char identities[] = "{\"identities\": [{\"identity\": \"0x2000000000000db\", \"namespace\": \"shop\","
				 "\"labels\": {\"app\": \"db\"}, \"pods\": 1, \"endpoints\": [], \"selectors\": []}]}\n";
static const char pods[] = "{\"pods\": [{\"namespace\": \"shop\", \"name\": \"db\", \"identity\": \"0x2000000000000db\","
			   "\"addresses\": [\"10.2.0.7\", \"fd00:2::7\"]},"
			   "{\"namespace\": \"shop\", \"name\": \"old\", \"identity\": \"0x1\", \"addresses\": [\"10.2.0.8\"]},"
			   "{\"namespace\": \"shop\", \"name\": \"new\", \"identity\": \"0x1\", \"addresses\": [\"10.2.0.8\"]},"
			   "{\"namespace\": 7, \"name\": \"odd\", \"addresses\": [7, \"x\"]}]}\n";
static const char status[] =
	"{\"version\": \"9\", \"synced\": true, \"counts\": {}, \"problems\": [{\"kind\": \"node\", \"subject\": \"Node d\","
	"\"message\": \"its pod CIDR 10.2.0.0/25 overlaps that of b\"}]}\n";
#define SCOPED(name, port_name, address, port, protocol, scope, written, problem)                                       \
	"{\"namespace\": \"shop\", \"name\": \"" name "\", \"type\": \"ClusterIP\", \"port_name\": \"" port_name              \
	"\", \"address\": \"" address "\", \"port\": " port ", \"protocol\": \"" protocol "\", \"scope\": \"" scope            \
	"\", \"node_port\": 0, \"backends\": 0, \"written\": " written ", \"problem\": " problem "}"
#define ROW(name, port_name, address, port, protocol, written, problem)                                                \
	SCOPED(name, port_name, address, port, protocol, "cluster", written, problem)
#define OUTSIDE(name, port_name, address, port, protocol, written, problem)                                            \
	SCOPED(name, port_name, address, port, protocol, "external", written, problem)
static const char services[] =
	"{\"services\": [" ROW("web", "http", "10.96.0.9", "80", "TCP", "true", "null") ", "
	ROW("web", "dns", "10.96.0.9", "53", "UDP", "true", "\"no luck\"") ", "
	ROW("other", "http", "10.96.0.9", "80", "TCP", "false", "\"10.96.0.9:80 belongs to Service shop/web\"") ", "
	OUTSIDE("out", "http", "192.0.2.1", "30080", "TCP", "true", "null") ", "
	OUTSIDE("out", "http", "192.0.2.1", "30081", "UDP", "false", "null") ", "
	"{\"namespace\": \"shop\", \"name\": \"late\", \"type\": \"LoadBalancer\", \"address\": \"10.96.0.9\", \"port\": 80, "
	"\"protocol\": \"TCP\", \"port_name\": \"http\", \"scope\": \"cluster\", \"local\": false, \"node_port\": 0, \"backends\": 0, "
	"\"written\": false, \"problem\": null, \"owner\": \"shop/web\", "
	"\"health\": {\"port\": 32000, \"status\": 503, \"endpoints\": 0, \"problem\": \"no luck with its port\"}}, "
	ROW("new", "", "fd00:96::1", "7", "SCTP", "true", "null") ", {\"name\": 7}]}\n";
/* Of any Service. */
#define REPORTED(protocol, port_name, address, port, state, unused)                                                        \
	"{\"port_name\": \"" port_name "\", \"protocol\": \"" protocol "\", \"family\": 4, \"local\": false, \"address\": \"" address   \
	"\", \"port\": " port ", \"state\": \"" state "\", \"unused\": " unused "}"
static const char endpoints_of[] =
	"{\"service\": [" REPORTED("TCP", "http", "10.1.0.7", "8080", "ready", "null") ", "
	REPORTED("TCP", "http", "10.2.0.7", "8080", "terminating", "null") ", "
	REPORTED("TCP", "http", "10.2.0.7", "8080", "not ready", "\"not ready\"") ", "
	REPORTED("TCP", "http", "10.2.0.8", "8080", "not ready", "\"not ready\"") ", "
	REPORTED("TCP", "http", "10.1.0.7", "9", "ready", "\"its hints are for other zones\"") ", "
	REPORTED("UDP", "dns", "10.1.0.7", "53", "ready", "null") "], \"truncated\": true}\n";
static char nodes[1024];

static inline pid_t start_agent(void)
{
	static const struct answer answers[] = {
		{ "identities", identities }, { "pods", pods }, { "nodes", nodes }, { "services", services }, { "service", endpoints_of }, { NULL, status }
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

#endif
