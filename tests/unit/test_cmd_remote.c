/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows with other nodes, as policy why, trace, ct and monitor show them, with and without an agent. */
#include <bpf/bpf.h>
#include <linux/if_packet.h>
#include <net/if.h>

#include "clock.h"
#include "packet.h"
#include "stop_ct_gc.h"
#include "three_nodes_rig.h"

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
		/* Node c sends no tunnel packets: it is on the same link, and its MAC address is not resolved. */
		if (strstr(verdicts[i].line, "10.3."))
			continue;
		snprintf(line, sizeof(line), "trace %s", verdicts[i].line);
		traced = run_both(line, 0, verdicts[i].because);
		if (strcmp(json_text(traced, "verdict"), drops ? "drop" : "pass") != 0)
			fail_msg("%s: %s, %s", line, json_text(traced, "verdict"), json_text(traced, "reason"));
	}
	expect("policy why 10.2.0.9 web", 0, "The maps hold no identity for a pod of node slot 1");
	expect("policy why web 10.2.0.7:80/tcp", 0, "egress  default/web  allowed");
}

static void traces(void **state)
{
	static const struct {
		const char *line, *reason, *text;
	} rows[] = {
		{ "web 10.2.0.7:80/tcp", "to_node", "encapsulated, Geneve VNI 1 from 192.0.2.1 to 192.0.2.2 by uplink up0, identity 0x02000000000000eb" },
		{ "web fd00:2::7:icmp", NULL, NULL },
		{ "web [fd00:2::7]:icmp", "to_node", "next hop    02:00:00:00:00:0b, which is 192.0.2.2" },
		{ "web 10.2.0.1:icmp", "to_node", "peer        node slot 1, identity remote-node" },
		{ "web 10.3.0.9:53/udp", "to_node", "to node slot 2: without a tunnel, by uplink up0" },
		{ "web 10.3.0.9:53/udp", "to_node", "192.0.2.3 is not resolved yet: the packet would make the kernel resolve it" },
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
		{ "10.3.0.7 web:80 --from-node 192.0.2.2", "tunnel_source", "the sending node may not use" },
		{ "web web:80 --from-node 192.0.2.2", "tunnel_source", "the sending node may not use" },
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
	expect_failure("trace host 192.0.2.2", 2, "no program here handles such a packet");
	expect_failure("trace web 10.2.0.7 --identity world", 2, "--identity requires a packet from another node");
	expect_failure("trace 10.2.0.7 web --identity x", 2, "'x' is not an identity");
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

/* A flow of web (or of another endpoint with its address) with db, in either direction. */
static void put_flow(uint16_t port, bool outwards, uint32_t endpoint)
{
	const struct wr_ct4_key key = {
		{ { htonl(0x0a010007) }, { htonl(0x0a020007) } }, { htons(outwards ? 40000 : port), htons(outwards ? port : 40000) }, IPPROTO_TCP
	};
	const struct wr_ct ct = {
		.expires = (uint32_t)(clock_ns(CLOCK_MONOTONIC_COARSE) >> WR_CT_TICK_SHIFT) + WR_CT_SECONDS(100),
		.flags = WR_CT_REPLIED | (outwards ? 0 : WR_CT_SWAPPED),
		.initiator = outwards ? endpoint : WR_REMOTE | slot_b,
		.responder = outwards ? WR_REMOTE | slot_b : endpoint,
	};
	_cleanup_fd_ int fd = dp_map_open("ct4", NULL);

	assert_int_equal(bpf_map_update_elem(fd, &key, &ct, BPF_ANY), 0);
}

static void remote_ends_of_flows(void **state)
{
	json_auto_t *json = NULL;
	pid_t agent;

	needs_root();
	stop_ct_gc(); /* it would remove the flow of an endpoint that does not exist */
	put_flow(5432, true, web);
	put_flow(80, false, web);
	expect("ct list", 0, "10.2.0.7:5432 node slot 1");
	expect("map dump ct4", 0, "slot 1");
	json = run_both("ct get web 10.2.0.7:5432/tcp", 0, "default/web");
	json_decref(json);
	json = run_both("flows --from default/web", 0, "default/web  pods of node slot 1  5432/tcp");
	assert_int_equal(json_array_size(json), 1);
	json_decref(json);
	agent = start_agent();
	put_flow(81, false, 999999);
	expect("flows", 0, "shop/db      a deleted pod    81/tcp");
	json = run_both("flows --from shop/db --to default/web", 0, "shop/db  default/web  80/tcp");
	assert_int_equal(json_array_size(json), 1);
	json_decref(json);
	json = run_both("ct get shop/db web:80/tcp", 0, "10.2.0.7:40000 node b pod shop/db");
	assert_string_equal(json_text(json_object_get(json_array_get(json, 0), "from"), "node"), "b");
	assert_string_equal(json_text(json_object_get(json_array_get(json, 0), "from"), "pod"), "shop/db");
	agent_end(agent);
	expect("ct flush", 0, "flows ended: 3");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_of_the_remote),
		cmocka_unit_test(traces),
		cmocka_unit_test(names_in_flows),
		cmocka_unit_test(remote_ends_of_flows),
		cmocka_unit_test(events),
	};

	return cmocka_run_group_tests_name("cmd_remote", tests, node_of_three, NULL);
}
