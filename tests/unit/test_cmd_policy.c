/* SPDX-License-Identifier: BSD-2-Clause */
/* identity, policy, trace, ct and their parts of status: on a node of its own, with and without an agent. */
#include <bpf/bpf.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>

#include "cli_rig.h"
#include "clock.h"
#include "packet.h"
#include "gateway.h"
#include "ip.h"
#include "maps.h"
#include "enum_names.h"
#include "put_slot.h"
#include "stop_ct_gc.h"
#include "endpoint_policy.h"

#define CLASS 17
#define RULE 16
#define CIDR_RULE 17
#define PEER 0x1234ull
#define CLIENT_IDENTITY 0x0200000000000c11ull

static uint32_t web, client, waiting; /* endpoints */

/* --- the node --- */

static const struct pod_spec {
	const char *name, *device, *peer;
	uint8_t mac[6];
	const char *addr4, *addr6;
	uint32_t class;
	uint64_t identity;
	uint32_t *id;
} pods[] = {
	{ "web", "wrweb", "podweb", { 2, 0, 0, 0, 0, 7 }, "10.1.0.7", "fd00::7", CLASS, 0x02000000000000ebull, &web },
	{ "client", "wrclient", "podclient", { 2, 0, 0, 0, 0, 8 }, "10.1.0.8", "fd00::8", WR_CLASS_NOT_ISOLATED,
	  CLIENT_IDENTITY, &client },
	{ "waiting", "wrwaiting", "podwaiting", { 2, 0, 0, 0, 0, 9 }, "10.1.0.9", "fd00::9", WR_CLASS_QUARANTINE,
	  WR_ID_UNKNOWN, &waiting },
};
#define POD_COUNT (sizeof(pods) / sizeof(pods[0]))

static void make_pods(void)
{
	_cleanup_nl_ struct nl nl = { 0 };

	assert_int_equal(nl_open(&nl, NETLINK_ROUTE, NULL), 0);
	for (const struct pod_spec *p = pods; p < pods + POD_COUNT; p++) {
		struct wr_endpoint ep = {
			.flags = WR_EP_V4 | WR_EP_V6, .policy_class = p->class, .revision = 5, .identity = p->identity
		};

		assert_int_equal(inet_pton(AF_INET, p->addr4, &ep.addr4), 1);
		assert_int_equal(inet_pton(AF_INET6, p->addr6, &ep.addr6), 1);
		*p->id = make_pod(&nl, p->device, p->peer, p->mac, &ep);
		record_pod(*p->id, p->device, p->name);
	}
}

/* PEER may reach web by tcp to port 80, and 192.0.2.0/24 and 2001:db8::/32 may by everything. */
static void make_policy(void)
{
	const struct wr_class_info info = {
		.flags = { [WR_INGRESS] = WR_CLASS_ISOLATED | WR_CLASS_CIDRS | WR_CLASS_SELECTORS | WR_CLASS_ANY_PROTO },
		.port_bits = { [WR_INGRESS] = 1 << 16 },
	};
	const struct wr_policy_key by_port = {
		PEER, CLASS, htons(80), IPPROTO_TCP, wr_policy_shape(WR_INGRESS, 16)
	}, by_cidr = { WR_PEER_CIDR | 9, CLASS, 0, 0, wr_policy_shape(WR_INGRESS, 0) };
	struct wr_cidr4_key cidr4 = { WR_CIDR_CLASS_BITS + 24, wr_cidr_class(CLASS, WR_INGRESS), { htonl(0xc0000200) } };
	struct wr_cidr6_key cidr6 = { WR_CIDR_CLASS_BITS + 32, wr_cidr_class(CLASS, WR_INGRESS),
				      { { htonl(0x20010db8) } } };
	const struct wr_rule_text text = { "shop/db ingress[0].ports[1]" }, cidr_text = { "shop/db ingress[1]" };
	const struct wr_policy_state policy_state = { .revision = 5, .policy_class = CLASS };

	map_put("rules", &(const uint32_t){ RULE }, &text);
	map_put("rules", &(const uint32_t){ CIDR_RULE }, &cidr_text);
	map_put("policy", &by_port, &(const struct wr_policy_entry){ RULE });
	map_put("policy", &by_cidr, &(const struct wr_policy_entry){ CIDR_RULE });
	map_put("cidrs4", &cidr4, &(const struct wr_peer){ WR_PEER_CIDR | 9 });
	map_put("cidrs6", &cidr6, &(const struct wr_peer){ WR_PEER_CIDR | 9 });
	map_put("identities", &(const uint64_t){ CLIENT_IDENTITY }, &(const struct wr_peer){ PEER });
	map_put("classes", &(const uint32_t){ CLASS }, &info);
	assert_int_equal(dp_policy_state_set(&policy_state, NULL), 0);
}

/* The host's address towards pods. */
static void give_addresses(void)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct nl_batch b = { 0 };
	struct prefix prefix;
	uint32_t ifindex;

	assert_int_equal(nl_open(&nl, NETLINK_ROUTE, NULL), 0);
	assert_int_equal(node_gateway_ifindex(&ifindex, NULL), 0);
	for (const char *const *text = (const char *[]){ "10.1.0.1/32", "fd00::1/128", NULL }; *text; text++) {
		assert_int_equal(prefix_parse(*text, &prefix), 0);
		addr_add(&nl, &b, ifindex, &prefix);
	}
	assert_int_equal(nl_batch_run(&nl, &b, NULL), 0);
}

static int node_with_policy(void **state)
{
	if (geteuid() != 0)
		return 0;
	own_node(state);
	expect("node init", 0, "loaded");
	make_pods();
	expect_failure("policy why host web", 1, "warren0 has no address yet");
	give_addresses();
	make_policy();
	return 0;
}

/* --- identities and policies --- */

static const struct {
	const char *line; /* after "policy why" */
	const char *verdict;
	const char *because[WR_DIRECTIONS]; /* of egress and ingress; NULL: not evaluated */
} verdicts[] = {
	{ "default/client default/web:80/tcp", "allowed", { "not isolated", "shop/db ingress[0].ports[1]" } },
	{ "client web:80", "allowed", { "not isolated", "shop/db ingress[0].ports[1]" } },
	{ "client web", "allowed", { "not isolated", "shop/db ingress[0].ports[1]" } },
	{ "client web:80/tcp --family 6", "allowed", { "not isolated", "shop/db ingress[0].ports[1]" } },
	{ "10.1.0.8 10.1.0.7:80/tcp", "allowed", { "not isolated", "shop/db ingress[0].ports[1]" } },
	{ "fd00::8 [fd00::7]:80/tcp", "allowed", { "not isolated", "shop/db ingress[0].ports[1]" } },
	{ "client web:81/tcp", "denied", { "not isolated", "no rule of class 17 matched" } },
	{ "client web:80/udp", "denied", { "not isolated", "no rule of class 17 matched" } },
	{ "client web:icmp", "denied", { "not isolated", "no rule of class 17 matched" } },
	{ "client web:icmp --family 6", "denied", { "not isolated", "no rule of class 17 matched" } },
	{ "web client", "allowed", { "not isolated", "not isolated" } },
	{ "world web:icmp", "allowed", { NULL, "shop/db ingress[1]" } },
	{ "world web:7/sctp --family 6", "allowed", { NULL, "shop/db ingress[1]" } },
	{ "198.51.100.1 web:80", "denied", { NULL, "no rule of class 17 matched" } },
	{ "host web:80", "allowed", { NULL, "between a pod and its own node's host" } },
	{ "fd00::1 web:80", "allowed", { NULL, "between a pod and its own node's host" } },
	{ "10.1.0.1 waiting", "allowed", { NULL, "between a pod and its own node's host" } },
	{ "waiting host --family 6", "allowed", { "between a pod and its own node's host", NULL } },
	{ "client host:22/tcp", "allowed", { "not isolated", NULL } },
	{ "waiting client", "denied", { "in quarantine: no policy has been computed yet", "not isolated" } },
	{ "client waiting", "denied", { "not isolated", "in quarantine: no policy has been computed yet" } },
	{ "web web", "allowed", { NULL, NULL } },
};

static void policy_why(void **state)
{
	needs_root();
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		json_auto_t *json = NULL;
		json_t *evaluated, *point;
		char line[128];
		size_t n;

		snprintf(line, sizeof(line), "policy why %s", verdicts[i].line);
		json = run_both(line, 0, verdicts[i].verdict);
		if (strcmp(json_text(json, "verdict"), verdicts[i].verdict) != 0)
			fail_msg("%s: %s", line, json_text(json, "verdict"));
		evaluated = json_object_get(json, "evaluated");
		assert_int_equal(json_array_size(evaluated), !!verdicts[i].because[0] + !!verdicts[i].because[1]);
		json_array_foreach(evaluated, n, point) {
			bool ingress = strcmp(json_text(point, "point"), "ingress") == 0;

			if (strcmp(json_text(point, "because"), verdicts[i].because[ingress] ?: "(not evaluated)") != 0)
				fail_msg("%s: %s because of '%s'", line, json_text(point, "point"), json_text(point, "because"));
		}
	}
}

static void invalid_sides(void **state)
{
	static const struct {
		const char *line;
		int exit;
		const char *message;
	} lines[] = {
		{ "policy why client absent", 1, "no pod of this node is named 'absent'" },
		{ "policy why client 999999", 1, "there is no endpoint 999999" },
		{ "policy why client 99999999999", 2, "not an endpoint id" },
		{ "policy why world 198.51.100.1", 2, "neither world nor 198.51.100.1 is a pod" },
		{ "policy why client web:", 2, "not a port" },
		{ "policy why client web:0", 2, "not a port" },
		{ "policy why client web:65536/tcp", 2, "not a port" },
		{ "policy why client web:123456789/tcp", 2, "not a port" },
		{ "policy why client web:80/", 2, "not a protocol" },
		{ "policy why client web:80/bogus", 2, "not a protocol" },
		{ "policy why client web:80/icmp", 2, "has no ports" },
		{ "policy why client :80", 2, "DST[:PORT/PROTO]" },
		{ "policy why client [fd00::7]80", 2, "DST[:PORT/PROTO]" },
		{ "policy why 10.1.0.8 fd00::7", 1, "no addresses of the same family" },
		{ "policy why 10.1.0.8 web --family 6", 1, "do not both have an IPv6 address" },
		{ "policy why client web --family 5", 2, "--family requires 4 or 6" },
		{ "trace world 198.51.100.1", 2, "neither world nor 198.51.100.1 is a pod" },
		{ "trace client web --flags syn,bogus", 2, "'bogus' is not a TCP flag" },
		{ "trace client web:80/udp --flags syn", 2, "--flags requires TCP" },
		{ "ct get client web:80", 1, "there is no flow from client to web:80" },
		{ "policy get shop/nothing", 1, "no policy shop/nothing in the maps" },
		{ "identity get 0x5", 1, "no pod or node has the identity 0x5" },
	};

	needs_root();
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		expect_failure(lines[i].line, lines[i].exit, lines[i].message);
}

/* Another runtime's pod has the same name, for this test. */
static void an_ambiguous_name(void **state)
{
	needs_root();
	record_pod(waiting, "wrwaiting", "web");
	expect_failure("policy why web client", 1, "more than one pod is named 'web'");
	expect_failure("policy why client default/web", 1, "more than one pod is named 'default/web'");
	record_pod(waiting, "wrwaiting", "waiting");
	expect("policy why client web", 0, "allowed");
}

/* --- trace --- */

static uint64_t entries(const char *map)
{
	struct dp_map_info info = { 0 };

	assert_int_equal(dp_map_info(map, &info, NULL), 0);
	return info.entries;
}

static void trace_agrees_and_leaves_nothing(void **state)
{
	needs_root();
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		bool drops = strcmp(verdicts[i].verdict, "denied") == 0;
		json_auto_t *json = NULL;
		char line[128];

		/* A pod's own address never leaves the pod. */
		if (strcmp(verdicts[i].line, "web web") == 0)
			continue;
		snprintf(line, sizeof(line), "trace %s", verdicts[i].line);
		json = run_both(line, 0, drops ? "forwarding  dropped" : "verdict: pass");
		if (strcmp(json_text(json, "verdict"), drops ? "drop" : "pass") != 0)
			fail_msg("%s: %s, %s", line, json_text(json, "verdict"), json_text(json, "reason"));
	}
	assert_int_equal(entries("ct4") + entries("ct6") + entries("ct_new4") + entries("ct_new6"), 0);
}

static void trace_prints_its_findings(void **state)
{
	json_auto_t *json = NULL;

	needs_root();
	expect("trace client web:80/tcp", 0, "packet:  10.1.0.8:40000 > 10.1.0.7:80 TCP SYN");
	expect("trace client web:80/tcp", 0, "no entry for this flow");
	expect("trace client web:80/tcp", 0,
	       "ingress     allowed: shop/db ingress[0].ports[1] (class 17, peer class 0x0000000000001234)");
	expect("trace client web:80/tcp", 0, "redirected into the pod of endpoint");
	expect("trace client web:81/tcp --family 6", 0,
	       "ingress     denied: no rule of class 17 matched (peer class 0x0000000000001234)");
	expect("trace world web:icmp", 0, "(class 17, peer class none, CIDR peer 0x8000000000000009)");
	expect("trace client world:53/udp --sport 7", 0, "10.1.0.8:7 > 192.0.2.1:53 UDP");
	expect("trace client world:53/udp", 0, "to the host's stack");
	expect("trace web client --flags ack", 0, "TCP ACK");
	expect("trace world web:icmp --sport 9", 0, "ICMP echo request id 9");
	json = run_both("trace client web:80/tcp", 0, "from_pod of endpoint");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "trace"), "redirect")), web);
	assert_string_equal(json_text(json_object_get(json_object_get(json, "trace"), "ingress"), "matched"),
			    "0x0000000000001234");
}

/* --- conntrack --- */

static uint32_t now_tick(void)
{
	return (uint32_t)(clock_ns(CLOCK_MONOTONIC_COARSE) >> WR_CT_TICK_SHIFT);
}

static void put_flow(const char *map, const void *key, uint32_t flags, uint32_t expires)
{
	const struct wr_ct ct = {
		.expires = expires,
		.flags = flags,
		.initiator = client,
		.responder = web,
		.at = { [WR_EGRESS] = { 1, 5, WR_RULE_NOT_ISOLATED }, [WR_INGRESS] = { CLIENT_IDENTITY, 5, RULE } },
	};
	_cleanup_fd_ int fd = dp_map_open(map, NULL);

	if (strstr(map, "new"))
		put_slot(strstr(map, "6"), key, &ct, 0, WR_CT_NODE_SLOTS / 2);
	else
		assert_int_equal(bpf_map_update_elem(fd, key, &ct, BPF_ANY), 0);
}

/* 10.1.0.8 and fd00::8, the client's, sort after web's. */
static void make_flows(void)
{
	struct wr_ct4_key tcp = { { { htonl(0x0a010007) }, { htonl(0x0a010008) } }, { htons(80), htons(40000) }, IPPROTO_TCP };
	struct wr_ct4_key old = tcp, udp = tcp;
	struct wr_ct6_key echo = { .port = { WR_CT_ECHO_PORT, htons(7) }, .l4_proto = IPPROTO_ICMPV6 };

	old.port[1] = htons(40001);
	udp.l4_proto = IPPROTO_UDP;
	assert_int_equal(inet_pton(AF_INET6, "fd00::7", &echo.addr[0]), 1);
	assert_int_equal(inet_pton(AF_INET6, "fd00::8", &echo.addr[1]), 1);
	put_flow("ct4", &tcp, WR_CT_SWAPPED | WR_CT_REPLIED, now_tick() + WR_CT_SECONDS(100));
	put_flow("ct4", &old, WR_CT_SWAPPED | WR_CT_REPLIED, now_tick() - 10);
	put_flow("ct_new4", &udp, WR_CT_SWAPPED | WR_CT_DENIED_INGRESS, now_tick() + WR_CT_SECONDS(100));
	put_flow("ct_new6", &echo, WR_CT_SWAPPED, now_tick() + WR_CT_SECONDS(100));
}

static size_t flows(const char *line)
{
	json_auto_t *json = run_both(line, 0, "");

	assert_true(json_is_array(json));
	return json_array_size(json);
}

static void conntrack(void **state)
{
	json_auto_t *json = NULL, *stats = NULL;
	char line[64];

	needs_root();
	expect("ct list", 0, "no flows");
	stop_ct_gc();
	make_flows();
	assert_int_equal(flows("ct list"), 3);
	assert_int_equal(flows("ct list --dead"), 4);
	snprintf(line, sizeof(line), "ct list --endpoint %u", web);
	assert_int_equal(flows(line), 3);
	assert_int_equal(flows("ct list --endpoint 999999"), 0);
	expect("ct list", 0, "tcp       10.1.0.8:40000 default/client");
	expect("ct list", 0, "fd00::8]:7 default/client");
	expect("ct list", 0, "shop/db ingress[0].ports[1]");
	assert_int_equal(flows("flows"), 3);
	assert_int_equal(flows("flows --verdict denied"), 1);
	assert_int_equal(flows("flows --from client --to world"), 0);
	assert_int_equal(flows("flows top --count 2"), 2);
	expect("flows", 0, "default/client  default/web  80/tcp  -");
	expect("flows", 0, "shop/db ingress[0].ports[1]");
	assert_int_equal(flows("ct get client web"), 4);
	assert_int_equal(flows("ct get client web:80/tcp"), 2);
	assert_int_equal(flows("ct get client web:icmp"), 1);
	expect_failure("ct get web client", 1, "no flow from web");
	json = run_both("ct get client web:80/udp", 0, "denied");
	assert_string_equal(json_text(json_array_get(json, 0), "state"), "denied");
	assert_string_equal(json_text(json_array_get(json, 0), "table"), "ct_new");
	assert_true(json_is_true(json_object_get(json_object_get(json_array_get(json, 0), "ingress"), "denied")));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json_array_get(json, 0), "from"), "port")), 40000);
	stats = run_both("ct stats", 0, "evaluated again");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(stats, "tables"), 0), "entries")), 2);

	expect("ct flush --endpoint 999999", 0, "flows ended: 0");
	expect("ct flush", 0, "flows ended: 3");
	expect("ct list", 0, "no flows");
	expect("ct flush", 0, "flows ended: 0");
}

/* --- monitor --- */

static void send_syn(uint16_t port)
{
	const struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("podclient") };
	struct frame f = {
		.mac_source = { 2, 0, 0, 0, 0, 8 },
		.mac_destination = WR_HOST_MAC,
		.protocol = IPPROTO_TCP,
		.source_port = 50000,
		.destination_port = port,
		.tcp_flags = 0x02,
	};
	_cleanup_fd_ int fd = socket(AF_PACKET, SOCK_RAW, 0);
	uint8_t bytes[FRAME_MAX];
	size_t length;

	assert_int_equal(ip_parse("10.1.0.8", &f.source), 0);
	assert_int_equal(ip_parse("10.1.0.7", &f.destination), 0);
	length = frame_make(&f, bytes);
	assert_int_equal(sendto(fd, bytes, length, 0, (const struct sockaddr *)&to, sizeof(to)), length);
}

/* The events of a denied and an allowed packet show the rule of each. */
static void monitor_names_the_rules(void **state)
{
	static const struct {
		const char *options, *reason, *verdict, *because;
	} monitors[] = {
		{ "--drops --reason ingress_denied", "ingress_denied", "drop", "no rule of class 17 matched" },
		{ "--allows", "to_endpoint", "pass", "shop/db ingress[0].ports[1]" },
	};

	needs_root();
	for (size_t i = 0; i < sizeof(monitors) / sizeof(monitors[0]); i++) {
		FILE *out = tmpfile();
		json_auto_t *json = NULL;
		char text[4096], line[128];
		pid_t pid;

		snprintf(line, sizeof(line), "monitor --json --count 1 --timeout 20 --endpoint %u %s", client, monitors[i].options);
		expect("ct flush", 0, "flows ended");
		pid = start_monitor(line, out);
		send_syn(81);
		send_syn(80);
		assert_ends_soon(pid);
		read_back(out, text, sizeof(text));
		json = json_loads(text, 0, NULL);
		if (!json)
			fail_msg("the monitor prints: %s", text);
		assert_string_equal(json_text(json, "reason"), monitors[i].reason);
		assert_string_equal(json_text(json, "verdict"), monitors[i].verdict);
		assert_string_equal(json_text(json_object_get(json, "egress"), "because"), "not isolated");
		assert_string_equal(json_text(json_object_get(json, "ingress"), "because"), monitors[i].because);
		assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "ingress"), "class")), CLASS);
	}
}

/* --- the agent --- */

static const char identities[] =
	"{\"identities\": [{\"identity\": \"0x200000000000c11\", \"namespace\": \"default\", \"namespace_labels\": null,"
	"\"labels\": {\"app\": \"client\", \"tier\": \"front\"}, \"ports\": [{\"name\": \"http\", \"protocol\": \"tcp\","
	"\"port\": 8080}], \"peer_class\": \"0x1234\", \"pods\": 3, \"collision\": false, \"endpoints\": [],"
	"\"selectors\": [\"app=client\"]}]}\n";
static const char policies[] =
	"{\"policies\": [{\"namespace\": \"shop\", \"name\": \"db\", \"selector\": \"\", \"isolates\": [\"ingress\"],"
	"\"rules\": {\"ingress\": [{\"peers\": [{\"namespaces\": \"team=a\", \"pods\": \"app=client\"}, {\"namespaces\": null,"
	"\"pods\": \"\"}], \"ports\": [{\"protocol\": \"tcp\", \"port\": 80, \"end_port\": 90}, {\"protocol\": \"udp\","
	"\"port\": \"dns\", \"end_port\": null}]}, {\"peers\": [{\"block\": \"192.0.2.0/24\", \"except\": [\"192.0.2.8/29\"]}],"
	"\"ports\": []}]}, \"invalid\": null, \"endpoints\": [], \"entries\": 2,"
	"\"classes\": [{\"key\": \"0x99\", \"class\": 17, \"denied\": false}]},"
	"{\"namespace\": \"shop\", \"name\": \"odd\", \"selector\": \"app=odd\", \"isolates\": [\"egress\", \"ingress\"],"
	"\"rules\": {}, \"invalid\": \"spec.ingress[0]: no such field\", \"endpoints\": [],"
	"\"entries\": 0, \"classes\": []}]}\n";
static const char status[] = "{\"version\": \"9\", \"synced\": true, \"problems\": [{\"kind\": \"manifest\", \"subject\":"
			     " \"odd.yaml\", \"message\": \"line 3: a tab\"}], \"failure\": \"no memory\", \"identities_not_programmed\": 7,"
			     "\"counts\": {\"pods\": 4, \"policies\": 2, \"collisions\": 0}}\n";

static const struct answer answers[] = { { "identities", identities }, { "policies", policies }, { NULL, status } };

static void without_an_agent(void **state)
{
	json_auto_t *list = NULL;

	needs_root();
	list = run_both("identity list", 0, "no agent runs on this node: the maps hold no labels");
	assert_int_equal(json_array_size(list), 3);
	expect("identity get 0x0200000000000c11", 0, "peer class: 0x0000000000001234");
	expect("policy list", 0, "shop/db      2        2");
	expect("policy get shop/db", 0, "ingress[0].ports[1]");
	expect("status", 1, "no agent runs on this node, and 1 pod is in quarantine");
}

static void with_an_agent(void **state)
{
	pid_t agent;

	needs_root();
	agent = agent_start(answers);
	expect("identity list", 0, "0x0200000000000c11  default    app=client,tier=front     3");
	expect("identity list", 0, "0x0000000000001234");
	expect("identity get 0x0200000000000c11", 0, "app=client");
	expect("identity get 0x0200000000000c11", 0, "8080");
	expect("identity get unknown", 0, "unknown");
	expect("policy list", 0, "shop/db   all pods  ingress");
	expect("policy list", 0, "invalid");
	expect("policy get shop/db", 0, "ingress[0].ports[1]");
	expect("policy get shop/db", 0, "ingress[0]  pods app=client of namespaces team=a; all pods  tcp 80-90; udp dns");
	expect("policy get shop/db", 0, "ingress[1]  192.0.2.0/24 except 192.0.2.8/29                all");
	expect("policy get shop/odd", 0, "spec.ingress[0]: no such field");
	expect_failure("policy get shop/nothing", 1, "there is no policy shop/nothing");
	expect("status", 1, "odd.yaml: line 3: a tab");
	expect("status", 1, "fix the file: its previous content stays enforced");
	expect("status", 1, "cannot write the maps: no memory");
	expect("status", 1, "7 did not fit into the maps");
	expect("status", 1, "release 9 runs, 4 pods, 2 policies");
	agent_end(agent);
}

/* What the agent adds to a denial. */
static void with_an_explanation(void **state)
{
	static const struct {
		const char *explanation, *because, *text[5];
	} rows[] = {
		{ "\"quarantine\": null, \"problem\": null, \"policies\": 5, \"isolated_by\": [{\"policy\": \"shop/a\"}, {\"policy\":"
		  " \"shop/b\", \"invalid\": \"no spec\"}, {\"policy\": \"shop/c\", \"problem\": \"999 terms\"}], \"rules\": 40, \"matches\":"
		  " {\"allows\": 0, \"wrong_port\": 2, \"wrong_protocol\": 0, \"wrong_peer\": 38}, \"nearest\": [{\"rule\": \"shop/a"
		  " ingress[3]\", \"match\": \"wrong_port\"}], \"change\": {\"obstacle\": null, \"policy\": \"shop/a\", \"peer_namespace\":"
		  " \"front\", \"rule\": {\"from\": [{\"namespaceSelector\": {\"matchLabels\": {\"n\": \"front\"}}, \"podSelector\": {}}],"
		  " \"ports\": [{\"protocol\": \"TCP\", \"port\": 81}]}, \"manifest\": null}",
		  "isolated by shop/a, shop/b (invalid: no spec), shop/c (does not fit: 999 terms) and 2 more; of 40 ingress rules none"
		  " allows: 38 wrong peer, 2 wrong port",
		  { "  shop/a ingress[3]: wrong port\n  39 more rules\n", "a rule from all pods of namespace front, port 81/TCP:\n",
		    "    spec:\n      ingress:\n      - from:\n        - namespaceSelector:\n            matchLabels:\n              \"n\": front\n"
		    "          podSelector: {}\n        ports:\n        - protocol: TCP\n          port: 81\n" } },
		{ "\"quarantine\": null, \"problem\": \"70000 entries\", \"policies\": 1, \"isolated_by\": [{\"policy\": \"shop/a\"}], \"rules\":"
		  " 1, \"matches\": {}, \"nearest\": [], \"change\": {\"obstacle\": \"the rules do not fit\"}",
		  "isolated by shop/a; their rules, as they are now, do not fit: 70000 entries",
		  { "No rule to add: the rules do not fit." } },
		{ "\"quarantine\": null, \"problem\": null, \"policies\": 1, \"isolated_by\": [{\"policy\": \"shop/a\"}], \"rules\": 1,"
		  " \"matches\": {\"wrong_protocol\": 1}, \"nearest\": []",
		  "isolated by shop/a; the only ingress rule does not allow it: wrong protocol", { NULL } },
		{ "\"quarantine\": null, \"problem\": null, \"policies\": 1, \"isolated_by\": [{\"policy\": \"shop/a\"}], \"rules\": 1,"
		  " \"matches\": {\"allows\": 1}, \"nearest\": [{\"rule\": \"shop/a ingress[0]\", \"match\": \"allows\"}]",
		  "isolated by shop/a; by now shop/a ingress[0] allows it", { NULL } },
		{ "\"policies\": 0", "its policies have changed: not isolated by now", { NULL } },
		{ "\"quarantine\": \"no such pod\"", "in quarantine: no such pod", { NULL } },
	};

	needs_root();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_auto_t *json = NULL;
		char answer[2048];
		const struct answer explain[] = { { NULL, answer } };
		const char *const *text = rows[i].text;
		pid_t agent;

		snprintf(answer, sizeof(answer), "{\"explanation\": {%s}}\n", rows[i].explanation);
		agent = agent_start(explain);
		json = run_both("policy why client web:81/tcp", 0, rows[i].because);
		assert_string_equal(json_text(json_array_get(json_object_get(json, "evaluated"), 1), "because"), rows[i].because);
		for (; *text; text++)
			expect("policy why client web:81/tcp", 0, *text);
		expect("trace client web:81/tcp", 0, rows[i].because);
		agent_end(agent);
	}
}

static void status_of_policy(void **state)
{
	struct wr_policy_state policy_state = { .revision = 6, .classes_denied = 1, .policies_invalid = 2 };
	const struct dp_endpoint_policy policy = { .ifindex = waiting, .policy_class = WR_CLASS_NOT_ISOLATED, .revision = 6 };
	struct dp_endpoint_policies *writer;

	needs_root();
	assert_int_equal(dp_policy_state_set(&policy_state, NULL), 0);
	expect("status", 1, "1 set of policies did not fit");
	expect("status", 1, "2 policies are not valid");
	policy_state = (struct wr_policy_state){ .revision = 6 };
	assert_int_equal(dp_policy_state_set(&policy_state, NULL), 0);
	assert_int_equal(dp_endpoint_policies_open(&writer, NULL), 0);
	assert_int_equal(dp_endpoint_policies_set(writer, &policy, 1, NULL, NULL), 0);
	dp_endpoint_policies_close(writer);
	/* No waiting for an agent that does not run. */
	expect("status", 0, "no agent runs on this node: policies stay as they are");
	expect("status", 0, "revision 6, 1 pod isolated, 0 in quarantine");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_why),
		cmocka_unit_test(invalid_sides),
		cmocka_unit_test(an_ambiguous_name),
		cmocka_unit_test(trace_agrees_and_leaves_nothing),
		cmocka_unit_test(trace_prints_its_findings),
		cmocka_unit_test(conntrack),
		cmocka_unit_test(monitor_names_the_rules),
		cmocka_unit_test(without_an_agent),
		cmocka_unit_test(with_an_agent),
		cmocka_unit_test(with_an_explanation),
		cmocka_unit_test(status_of_policy),
	};

	return cmocka_run_group_tests_name("cmd_policy", tests, node_with_policy, NULL);
}
