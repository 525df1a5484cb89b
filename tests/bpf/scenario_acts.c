/* SPDX-License-Identifier: BSD-2-Clause */
#include "scenario.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <string.h>

#include "bytes.h"

struct scenario_run now;

/* --- policies --- */

#define ISOLATED WR_CLASS_ISOLATED
#define BY_PEER (ISOLATED | WR_CLASS_SELECTORS)

static void allow_services(uint32_t policy_class, enum wr_direction direction, uint64_t peer)
{
	class_set(policy_class, direction, BY_PEER, 1u << 16);
	policy_allow(policy_class, direction, peer, IPPROTO_TCP, 80, 16, RULE);
	policy_allow(policy_class, direction, peer, IPPROTO_UDP, 53, 16, RULE + 1);
	policy_allow(policy_class, direction, peer, IPPROTO_SCTP, 5000, 16, RULE + 2);
}

static void allow_all(uint32_t policy_class, enum wr_direction direction, uint64_t peer, uint32_t flags, uint32_t rule)
{
	class_set(policy_class, direction, ISOLATED | WR_CLASS_ANY_PROTO | flags, 0);
	policy_allow(policy_class, direction, peer, 0, 0, 0, rule);
}

/* A block of one address, as the class' only peer. */
static void allow_block(uint32_t policy_class, enum wr_direction direction, enum who who, uint32_t number, bool v6)
{
	allow_all(policy_class, direction, WR_PEER_CIDR | number, WR_CLASS_CIDRS, RULE + 3 + number);
	policy_cidr(policy_class, direction, who, v6 ? 128 : 32, WR_PEER_CIDR | number, v6);
}

void policies_make(void)
{
	identity_set_peer(IDENTITY_A, PEER_A);
	identity_set_peer(IDENTITY_B, PEER_B);
	identity_set_peer(IDENTITY_C, PEER_C);
	identity_set_peer(IDENTITY_OTHER, PEER_OTHER);
	allow_services(CLIENT, WR_EGRESS, PEER_B);
	allow_services(CLIENT, WR_EGRESS, PEER_C);
	class_set(CLIENT, WR_INGRESS, ISOLATED, 0);
	allow_services(SERVER, WR_INGRESS, PEER_A);
	allow_services(SERVER, WR_INGRESS, PEER_C);
	class_set(SERVER, WR_EGRESS, ISOLATED, 0);
	allow_services(INGRESS, WR_INGRESS, PEER_A);
	allow_block(HOST_ONLY, WR_EGRESS, HOST, 1, now.v6);
	for (int d = 0; d < WR_DIRECTIONS; d++) {
		class_set(CLOSED, d, ISOLATED, 0);
		allow_all(OPEN, d, WR_PEER_ANY, WR_CLASS_ANY_PEER, RULE + 3);
		allow_all(TO_PODS, d, WR_PEER_ALL_PODS, WR_CLASS_ALL_PODS, RULE + 3);
		allow_block(BLOCK, d, NODE_C, 2, now.over6);
		allow_block(WORLD_ONLY, d, WORLD, 3, now.v6);
		class_set(d == WR_EGRESS ? IN_ONLY : OUT_ONLY, d, ISOLATED, 0);
		allow_all(d == WR_EGRESS ? OUT_ONLY : IN_ONLY, d, WR_PEER_ANY, WR_CLASS_ANY_PEER, RULE + 3);
	}
}

/* --- acts --- */

void set_class(uint32_t device, uint32_t policy_class)
{
	endpoint_set_class(device, policy_class);
}

void set_identity(uint32_t device, uint32_t low)
{
	endpoint_set_identity(device, WR_ID_KIND_POD << WR_ID_KIND_SHIFT | low);
}

void set_quota(uint32_t quota, uint32_t none)
{
	flows_set_quota(quota);
}

void remove_pod(uint32_t device, uint32_t none)
{
	endpoint_remove(device);
}

void restore_pod(uint32_t device, uint32_t none)
{
	endpoint_restore(device);
}

void readdress_pod(uint32_t device, uint32_t who)
{
	endpoint_set_address(device, who);
}

void replace_pod(uint32_t device, uint32_t by)
{
	endpoint_take_address(device, by);
}

void cache_wrongly(uint32_t who, uint32_t device)
{
	cache_set(who, device);
}

void allow_port(uint32_t policy_class, uint32_t port)
{
	policy_allow(policy_class, WR_EGRESS, PEER_B, IPPROTO_TCP, port, 16, RULE);
}

void pass_seconds(uint32_t seconds, uint32_t none)
{
	flows_age(WR_CT_SECONDS(seconds) + 1);
	affinity_age(WR_CT_SECONDS(seconds) + 1);
}

void expire_flows(uint32_t none, uint32_t no)
{
	flows_kill();
}

void ct_gc(uint32_t none, uint32_t no)
{
	assert_int_equal(run_ct_gc(CT_GC_NOW), 0);
}

/* --- acts of other nodes --- */

static unsigned node_flags(void)
{
	return now.over6 ? WR_NODE_OVER6 : 0;
}

void nodes_make(void)
{
	new_generation(0, 0);
	node_put(SLOT_C, node_flags());
	node_put(SLOT_D, node_flags());
}

void identify(uint32_t low, uint32_t none)
{
	identity_set_peer(WR_ID_SOME_POD | low, PEER_C);
}

void ipcache_add(uint32_t who, uint32_t other)
{
	ipcache_put(who, other ? IDENTITY_OTHER : IDENTITY_C);
	new_generation(0, 0);
}

void ipcache_add_node(uint32_t who, uint32_t none)
{
	ipcache_put(who, WR_ID_REMOTE_NODE);
	new_generation(0, 0);
}

void new_generation(uint32_t none, uint32_t no)
{
	cluster_put(NODE, POD_A, 0);
}

void forget_nodes(uint32_t none, uint32_t no)
{
	node_reset(0, now.v6);
	policies_make();
	new_generation(0, 0);
}

void forget_address(uint32_t node, uint32_t none)
{
	const char *map = now.over6 ? "node_addr6" : "node_addr4";

	assert_int_equal(bpf_map_delete_elem(map_fd(map), who_address(node, now.over6)), 0);
	new_generation(0, 0);
}

void node_is(uint32_t slot, uint32_t flags)
{
	node_put(slot, node_flags() | flags);
	new_generation(0, 0);
}

void node_moves(uint32_t slot, uint32_t none)
{
	node_empty(SLOT_C);
	node_put_as(slot, NODE_C, POD_C, node_flags());
	new_generation(0, 0);
}

void node_goes(uint32_t slot, uint32_t none)
{
	node_empty(slot);
	new_generation(0, 0);
}

/* Until the next scenario, which begins with neighbours_set(). */
void unresolve(uint32_t slot, uint32_t flags)
{
	neighbours_set(false);
	nexthops_clear();
	node_put(slot, node_flags() | flags);
}

/* --- checks of flows --- */

void flows_are(uint32_t established, uint32_t new)
{
	assert_int_equal(flows_count(CT, now.v6), established);
	assert_int_equal(flows_count(CT_NEW, now.v6), new);
}

void counted(uint32_t stat, uint32_t times)
{
	assert_int_equal(flow_stat(stat) - now.stats_before[stat], times);
}

/* Established flows, in ct or in a window; and that the quota counts those in ct. */
void owns(uint32_t device, uint32_t flows)
{
	assert_int_equal(flows_owned(CT, device, now.v6), flows);
	assert_int_equal(flows_counted(device), flows_owned(CT_TABLE, device, now.v6));
}

/* Its quota. */
void counts(uint32_t device, uint32_t entries)
{
	assert_int_equal(flows_counted(device), entries);
}

void only_flow(struct wr_ct *ct)
{
	if (!flow_only(CT, now.v6, ct) && !flow_only(CT_NEW, now.v6, ct))
		fail_msg("there is no flow");
}

/* All but WR_CT_SWAPPED, which depends on the addresses, and WR_CT_ALLOWED_BEFORE. */
void flags_are(uint32_t flags, uint32_t none)
{
	struct wr_ct ct;

	only_flow(&ct);
	assert_int_equal(ct.flags & ~(WR_CT_SWAPPED | WR_CT_ALLOWED_BEFORE), flags);
}

void via_stack(uint32_t yes, uint32_t none)
{
	struct wr_ct ct;

	only_flow(&ct);
	assert_int_equal(!!(ct.flags & WR_CT_VIA_STACK), yes);
}

/* Less if this process had to wait for a processor; the lifetimes differ by at least ten seconds. */
void lives(uint32_t ticks, uint32_t none)
{
	const uint32_t late = WR_CT_SECONDS(5);
	struct wr_ct ct;

	only_flow(&ct);
	assert_in_range(ct.expires + now.behind - tick_now() + late, ticks, ticks + late + 10);
}

static void check_end(uint32_t ifindex, uint32_t revision, uint32_t end)
{
	if (end & WR_REMOTE || end == NO_DEVICE) {
		assert_int_equal(ifindex, end);
		return;
	}
	assert_int_equal(ifindex, device_ifindex(end));
	assert_int_equal(revision, endpoint_revision(end));
}

void is_between(uint32_t initiator, uint32_t responder)
{
	struct wr_ct ct;

	only_flow(&ct);
	check_end(ct.initiator, ct.at[WR_EGRESS].revision, initiator);
	check_end(ct.responder, ct.at[WR_INGRESS].revision, responder);
}

void rules_are(uint32_t egress, uint32_t ingress)
{
	struct wr_ct ct;

	only_flow(&ct);
	assert_int_equal(ct.at[WR_EGRESS].rule, egress);
	assert_int_equal(ct.at[WR_INGRESS].rule, ingress);
}

/* --- checks of the last packet --- */

void peer_is(uint32_t peer, uint32_t none)
{
	assert_int_equal(now.trace.peer_ifindex, peer);
	if (now.packet.events)
		assert_int_equal(now.packet.event.peer_ifindex, peer);
}

void identity_is(uint32_t low, uint32_t kind)
{
	assert_true(now.trace.peer_identity == ((uint64_t)kind << WR_ID_KIND_SHIFT | low));
}

void redirected_to(uint32_t device, uint32_t none)
{
	assert_int_equal(now.trace.redirect, device_ifindex(device));
}

void wire_identity_is(uint32_t low, uint32_t kind)
{
	const size_t at = now.over6 ? 14 + 40 + 8 + 8 + 4 : 14 + 20 + 8 + 8 + 4;
	uint32_t words[2];

	assert_in_range(now.packet.out.len, at + 8, FRAME_MAX);
	memcpy(words, now.packet.out.data + at, 8);
	assert_int_equal(ntohl(words[0]) & 0xff000000, kind << 24);
	assert_int_equal(ntohl(words[1]), low);
}

void is_bare(uint32_t from, uint32_t to)
{
	const uint8_t *data = now.packet.out.data;

	assert_memory_equal(data, mac_address(to), 6);
	assert_memory_equal(data + 6, mac_address(from), 6);
	assert_int_equal(read16(data + 12), now.v6 ? 0x86dd : 0x0800);
}

/* --- services --- */

void set_backend(uint32_t who, uint32_t l4_proto)
{
	service_put(l4_proto, now.v6, (enum who[]){ who, WHO_DEFAULT });
}

void add_port(uint32_t port, uint32_t l4_proto)
{
	service_put_too(l4_proto, now.v6, port);
}

/* --- checks of services --- */

void cached_are(uint32_t count, uint32_t none)
{
	assert_int_equal(verdicts_cached(true).count, count);
}

/* Offset of the last packet's IP header; of the inner packet's if it left by a tunnel. */
static size_t ip_offset(void)
{
	return 14 + (now.trace.reason == WR_REASON_TO_NODE ? (now.over6 ? 40 : 20) + 8 + 8 + 12 + 14 : 0);
}

static void end_is(bool source, uint32_t who, uint32_t port)
{
	const size_t ip = ip_offset(), size = now.v6 ? 16 : 4, at = ip + (now.v6 ? 8 : 12) + (source ? 0 : size);
	const size_t ports = ip + (now.v6 ? 40 : 20);
	const struct frame *f = &now.packet.out;

	assert_in_range(f->len, ports + 4, FRAME_MAX);
	assert_memory_equal(f->data + at, who_address(who, now.v6), size);
	port = port == REMAPPED ? now.remapped : port;
	assert_int_equal(read16(f->data + ports + (source ? 0 : 2)), port);
}

void goes_to(uint32_t who, uint32_t port)
{
	end_is(false, who, port);
}

void comes_from(uint32_t who, uint32_t port)
{
	end_is(true, who, port);
}

/* Of TCP and UDP, over the pseudo header. */
static void sum_is_right(void)
{
	const size_t ip = ip_offset(), size = now.v6 ? 16 : 4, l4 = ip + (now.v6 ? 40 : 20);
	const uint8_t *data = now.packet.out.data;
	const size_t len = read16(data + ip + (now.v6 ? 4 : 2)) - (now.v6 ? 0 : 20);
	const uint32_t pseudo = (uint32_t)len + data[ip + (now.v6 ? 6 : 9)];

	assert_true(l4 + len <= now.packet.out.len);
	assert_int_equal(sum16(sum16(pseudo, data + ip + (now.v6 ? 8 : 12), 2 * size), data + l4, len), 0xffff);
}

void is_remapped(uint32_t port, uint32_t none)
{
	const size_t at = ip_offset() + (now.v6 ? 40 : 20);

	now.remapped = (uint16_t)read16(now.packet.out.data + at);
	assert_int_not_equal(now.remapped, port);
	assert_in_range(now.remapped, 32768, 65535);
	assert_int_equal(now.remapped % 2, port % 2);
	assert_true(now.trace.client_port);
	sum_is_right();
}

void sctp_sum_is_right(uint32_t none, uint32_t no)
{
	const size_t l4 = ip_offset() + (now.v6 ? 40 : 20);
	const uint8_t *sctp = now.packet.out.data + l4;

	assert_in_range(now.packet.out.len, l4 + 12, FRAME_MAX);
	assert_int_equal(sctp_sum_read(sctp), sctp_sum(sctp, now.packet.out.len - l4));
}
