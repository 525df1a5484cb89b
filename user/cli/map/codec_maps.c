/* SPDX-License-Identifier: BSD-2-Clause */
/* What each map holds, field by field. */
#include "codec_internal.h"

/* The codec of a map: syntax of a key, fields of keys and of values. */
#define CODEC(map, form, key_fields, value_fields)                                                                     \
	extern const struct map_codec codec_of_##map;                                                                  \
	const struct map_codec codec_of_##map = { #map, sizeof(map##_map_key), sizeof(map##_map_value), form,          \
						  key_fields, value_fields }

#define X(name, TYPE, key_type, value_type, max, flags, text)                                                          \
	typedef key_type name##_map_key;                                                                               \
	typedef value_type name##_map_value;                                                                           \
	_Static_assert(sizeof(key_type) <= MAP_KEY_MAX, #name);
#define GROWING(name, key_type, value_type, first, most, text) X(name, HASH, key_type, value_type, most, 0, text)
WARREN_MAPS(X)
WARREN_GROWING_MAPS(GROWING)
#undef GROWING
#undef X

typedef const struct codec_field fields[];

#define NUMBER_KEY(label, most) { WHOLE(__u32, label, NUMBER, most), END_OF(__u32) }

static fields only_key = NUMBER_KEY("index", 0);
static fields addr4_key = { WHOLE(struct wr_addr4, "address", IP), END_OF(struct wr_addr4) };
static fields addr6_key = { WHOLE(struct wr_addr6, "address", IP), END_OF(struct wr_addr6) };
static fields prefix4_key = { WHOLE(struct wr_prefix4, "prefix", PREFIX), END_OF(struct wr_prefix4) };
static fields prefix6_key = { WHOLE(struct wr_prefix6, "prefix", PREFIX), END_OF(struct wr_prefix6) };

/* The field is valid if this bit of the value's flags is set. */
#define VALID_IF(type, bit) .valid = { offsetof(type, flags), sizeof(((type *)0)->flags), bit }

/* --- the node ---------------------------------------------------------------------------------------------------- */

#define S struct wr_config
static fields config = {
	FIELD(S, abi_version, NUMBER), FIELD(S, mark_pod, HEX), FIELD(S, mark_masquerade, HEX),
	FIELD(S, mark_host_only, HEX), FIELD(S, ct_quota, NUMBER),
	FIELD(S, ct_entries, NUMBER), FIELD_AS(S, "ct_secret", ct_secret[0], SECRET), FIELD(S, tunnel_port, BE), FIELD(S, pod_mtu, NUMBER),
	FIELD(S, version, TEXT), END_OF(S),
};
CODEC(config, "0", only_key, config);
#undef S

#define S struct wr_metric
static fields metric = {
	FIELD(S, packets, SUM, sizeof(S)), FIELD(S, bytes, SUM, sizeof(S)), WHOLE(S, "cpus", EACH_CPU), END_OF(S),
};
static fields metrics_key = {
	WHOLE(__u32, "reason", HALF_REASON), WHOLE(__u32, "direction", HALF_DIRECTION), END_OF(__u32),
};
CODEC(metrics, "REASON/DIRECTION", metrics_key, metric);
#undef S

#define S struct wr_endpoint
static fields endpoint_slot_key = NUMBER_KEY("slot", WR_ENDPOINT_SLOTS - 1);
static fields endpoint = {
	FIELD(S, ifindex, NUMBER), FIELD(S, addr4, IP, VALID_IF(S, WR_EP_V4)),
	FIELD(S, addr6, IP, VALID_IF(S, WR_EP_V6)), FIELD(S, mac, MAC), FIELD(S, flags, FLAGS, .flags = endpoint_flags),
	FIELD(S, peer_ifindex, NUMBER), FIELD(S, policy_class, CLASS), FIELD(S, revision, NUMBER),
	FIELD(S, identity, IDENTITY), FIELD(S, ct_first, NUMBER), FIELD(S, ct_slots, NUMBER), END_OF(S),
};
CODEC(endpoints, "SLOT", endpoint_slot_key, endpoint);
#undef S

static fields local = { FIELD_AS(struct wr_local, "endpoint", ifindex, NUMBER), END_OF(struct wr_local) };
static fields addr_cache_key = NUMBER_KEY("slot", (1 << WR_ADDR_CACHE_BITS) - 1);
CODEC(addr4, "IPV4-ADDRESS", addr4_key, local);
CODEC(addr6, "IPV6-ADDRESS", addr6_key, local);
CODEC(addr_cache, "SLOT", addr_cache_key, local);

/* --- events ------------------------------------------------------------------------------------------------------ */

static fields event_state = { FIELD(struct wr_event_state, listens_until, NUMBER), END_OF(struct wr_event_state) };
CODEC(event_state, "0", only_key, event_state);

#define S struct wr_event_rate
static fields event_rate_key = NUMBER_KEY("source", WR_EVENT_SOURCES - 1);
static fields event_rate = { FIELD(S, next_ns, NUMBER), FIELD(S, suppressed, NUMBER), END_OF(S) };
CODEC(event_rate, "SOURCE", event_rate_key, event_rate);
#undef S

#define S struct wr_event_stats
static fields event_stats = {
	FIELD(S, suppressed, SUM, sizeof(S)), FIELD(S, lost, SUM, sizeof(S)), END_OF(S),
};
CODEC(event_stats, "0", only_key, event_stats);
#undef S

/* --- fragments --------------------------------------------------------------------------------------------------- */

/* How often each set of a window was written; --raw shows what is in them. */
#define WRITTEN_SETS                                                                                                   \
	FIELD_AS(S, "set_0", written[0], NUMBER), FIELD_AS(S, "set_1", written[1], NUMBER),                           \
	FIELD_AS(S, "set_2", written[2], NUMBER), FIELD_AS(S, "set_3", written[3], NUMBER),                           \
	FIELD_AS(S, "set_4", written[4], NUMBER), FIELD_AS(S, "set_5", written[5], NUMBER),                           \
	FIELD_AS(S, "set_6", written[6], NUMBER), FIELD_AS(S, "set_7", written[7], NUMBER)
_Static_assert(WR_FRAGMENT_SETS == 8 && WR_AFFINITY_SETS == 8, "WRITTEN_SETS has 8");

#define S struct wr_fragments
static fields fragments_key = {
	WHOLE(__u32, "slot", HALF_NUMBER, WR_FRAGMENT_WINDOWS / 2 - 1), WHOLE(__u32, "direction", HALF_DIRECTION), END_OF(__u32),
};
static fields fragments = { WRITTEN_SETS, END_OF(S) };
CODEC(fragments, "SLOT/DIRECTION", fragments_key, fragments);
#undef S

/* --- conntrack --------------------------------------------------------------------------------------------------- */

#define CT_KEY(type, address)                                                                                          \
	{                                                                                                              \
		WHOLE(address, "end_0", CT_END, 0), WHOLE(address, "end_1", CT_END, 1),                                \
		FIELD_AS(type, "protocol", l4_proto, PROTOCOL), FIELD(type, kind, CT_KIND), END_OF(type)               \
	}
#define UNLESS(type, bit) .valid = { offsetof(type, CT flags), sizeof(((type *)0)->CT flags), bit, true }
#define IF(type, bit) .valid = { offsetof(type, CT flags), sizeof(((type *)0)->CT flags), bit }
#define N UNLESS(S, WR_CT_SERVICE)
#define IN_SERVICE(label, member, kind)                                                                                \
	{ label, kind, offsetof(S, CT expires) + offsetof(struct wr_ct_service, member),                               \
	  sizeof(((struct wr_ct_service *)0)->member), IF(S, WR_CT_SERVICE) }
/* A service entry holds these in place of policy verdicts. */
#define SERVICE(bytes)                                                                                                 \
	{ "service_end", IP, offsetof(S, CT expires) + offsetof(struct wr_ct_service, addr), bytes, IF(S, WR_CT_SERVICE) }, \
	IN_SERVICE("service_port", port, BE), IN_SERVICE("client_port", client_port, BE),                              \
	IN_SERVICE("service_list", list, NUMBER),                                                                      \
	IN_SERVICE("service_backend", backend, NUMBER)
/* Fields of a struct wr_ct, or of a struct that contains one. */
#define CT_FIELDS(bytes)                                                                                               \
	FIELD_AS(S, "expires", CT expires, NUMBER), FIELD_AS(S, "flags", CT flags, FLAGS, .flags = ct_flags),          \
	FIELD_AS(S, "initiator", CT initiator, SIDE), FIELD_AS(S, "responder", CT responder, SIDE),                    \
	FIELD_AS(S, "egress_peer", CT at[WR_EGRESS].peer, IDENTITY, N),                                                \
	FIELD_AS(S, "egress_revision", CT at[WR_EGRESS].revision, NUMBER, N),                                          \
	FIELD_AS(S, "egress_rule", CT at[WR_EGRESS].rule, NUMBER, N),                                                  \
	FIELD_AS(S, "ingress_peer", CT at[WR_INGRESS].peer, IDENTITY, N),                                              \
	FIELD_AS(S, "ingress_revision", CT at[WR_INGRESS].revision, NUMBER, N),                                        \
	FIELD_AS(S, "ingress_rule", CT at[WR_INGRESS].rule, NUMBER, N),                                                \
	FIELD_AS(S, "initiator_ack", CT ack[0], NUMBER, N), FIELD_AS(S, "responder_ack", CT ack[1], NUMBER, N),        \
	SERVICE(bytes), END_OF(S)
static fields ct4_key = CT_KEY(struct wr_ct4_key, struct wr_addr4);
static fields ct6_key = CT_KEY(struct wr_ct6_key, struct wr_addr6);
#define CT
#define S struct wr_ct
static fields ct4_value = { CT_FIELDS(4) }, ct6_value = { CT_FIELDS(16) };
#undef S
#undef CT
static const char ct_form[] = "ADDRESS:PORT,ADDRESS:PORT,PROTOCOL[,KIND]";
CODEC(ct4, ct_form, ct4_key, ct4_value);
CODEC(ct6, ct_form, ct6_key, ct6_value);

#define CT ct.
#define SLOT(address)                                                                                                  \
	FIELD(S, tag, HEX), FIELD(S, sequence, NUMBER),                                                                \
	{ "end_0", CT_END, offsetof(S, key), sizeof(address), 0 }, { "end_1", CT_END, offsetof(S, key), sizeof(address), 1 }, \
	FIELD_AS(S, "protocol", key.l4_proto, PROTOCOL), FIELD_AS(S, "kind", key.kind, CT_KIND)
static fields ct_slot_key = NUMBER_KEY("slot", WR_CT_NEW_SLOTS - 1);
#define S struct wr_ct4_slot
static fields ct4_slot = { SLOT(struct wr_addr4), CT_FIELDS(4) };
#undef S
#define S struct wr_ct6_slot
static fields ct6_slot = { SLOT(struct wr_addr6), CT_FIELDS(16) };
#undef S
#undef CT
CODEC(ct_new4, "SLOT", ct_slot_key, ct4_slot);
CODEC(ct_new6, "SLOT", ct_slot_key, ct6_slot);

/* Only the number of slots: map endpoints holds their owners. */
static fields ct_windows = { WHOLE(struct wr_ct_windows, "slots_used", WINDOWS), END_OF(struct wr_ct_windows) };
CODEC(ct_windows, "0", only_key, ct_windows);

#define S struct wr_ct_totals
static fields ct_totals = {
	FIELD_AS(S, "entries4", entries[0], NUMBER), FIELD_AS(S, "entries6", entries[1], NUMBER), END_OF(S),
};
CODEC(ct_totals, "0", only_key, ct_totals);
#undef S

static fields ct_usage = { FIELD(struct wr_ct_usage, entries, NUMBER), END_OF(struct wr_ct_usage) };
static fields ct_usage_key = NUMBER_KEY("slot", WR_CT_USAGE_UNOWNED);
CODEC(ct_usage, "SLOT", ct_usage_key, ct_usage);

static fields ct_stats_key = { WHOLE(__u32, "counter", CT_STAT), END_OF(__u32) };
static fields ct_stats = { WHOLE(__u64, "flows", SUM, sizeof(__u64)), END_OF(__u64) };
CODEC(ct_stats, "COUNTER", ct_stats_key, ct_stats);

#define S struct wr_ct_gc
static fields ct_gc = {
	FIELD(S, time_ns, NUMBER), FIELD(S, runs, NUMBER), FIELD(S, removed, NUMBER),
	FIELD_AS(S, "live4", live[0], NUMBER), FIELD_AS(S, "live6", live[1], NUMBER), END_OF(S),
};
CODEC(ct_gc, "0", only_key, ct_gc);
#undef S

/* --- policy ------------------------------------------------------------------------------------------------------ */

#define S struct wr_policy_key
static fields policy_key = {
	FIELD_AS(S, "class", policy_class, NUMBER, UINT32_MAX), WHOLE(S, "direction", SHAPE_DIRECTION),
	FIELD_AS(S, "protocol", l4_proto, ANY_PROTOCOL), WHOLE(S, "port", PORT_PREFIX), FIELD(S, peer, PEER), END_OF(S),
};
static fields policy = { FIELD(struct wr_policy_entry, rule, NUMBER), END_OF(struct wr_policy_entry) };
CODEC(policy, "CLASS,DIRECTION,PROTOCOL,PORT/BITS,PEER", policy_key, policy);
#undef S

#define S struct wr_class_info
static fields classes_key = NUMBER_KEY("class", UINT32_MAX);
static fields class_info = {
	FIELD_AS(S, "egress", flags[WR_EGRESS], FLAGS, .flags = class_flags),
	FIELD_AS(S, "egress_port_bits", port_bits[WR_EGRESS], BITS),
	FIELD_AS(S, "ingress", flags[WR_INGRESS], FLAGS, .flags = class_flags),
	FIELD_AS(S, "ingress_port_bits", port_bits[WR_INGRESS], BITS), END_OF(S),
};
CODEC(classes, "CLASS", classes_key, class_info);
#undef S

static fields rules_key = NUMBER_KEY("rule", UINT32_MAX);
static fields rules = { FIELD(struct wr_rule_text, text, TEXT), END_OF(struct wr_rule_text) };
CODEC(rules, "RULE", rules_key, rules);

#define CIDR_KEY(type)                                                                                                 \
	{                                                                                                              \
		FIELD_AS(type, "class", class_direction, HALF_NUMBER, UINT32_MAX / 2),                                 \
		FIELD_AS(type, "direction", class_direction, HALF_DIRECTION),                                          \
		WHOLE(type, "prefix", PREFIX, WR_CIDR_CLASS_BITS / 8), END_OF(type)                                    \
	}
static fields cidrs4_key = CIDR_KEY(struct wr_cidr4_key), cidrs6_key = CIDR_KEY(struct wr_cidr6_key);
static fields peer = { FIELD(struct wr_peer, peer, PEER), END_OF(struct wr_peer) };
CODEC(cidrs4, "CLASS,DIRECTION,PREFIX", cidrs4_key, peer);
CODEC(cidrs6, "CLASS,DIRECTION,PREFIX", cidrs6_key, peer);

static fields identities_key = { WHOLE(__u64, "identity", IDENTITY), END_OF(__u64) };
CODEC(identities, "IDENTITY", identities_key, peer);

#define S struct wr_policy_state
static fields policy_state = {
	FIELD(S, revision, NUMBER), FIELD_AS(S, "class", policy_class, NUMBER), FIELD(S, applied_ns, NUMBER),
	FIELD(S, changes, NUMBER), FIELD(S, classes_denied, NUMBER), FIELD(S, policies_invalid, NUMBER), END_OF(S),
};
CODEC(policy_state, "0", only_key, policy_state);
#undef S

/* --- dry run ----------------------------------------------------------------------------------------------------- */

#define S struct wr_trace
#define OF_SERVICE .valid = { offsetof(S, steps), sizeof(((S *)0)->steps), WR_TRACE_SERVICE | WR_TRACE_REVERSE_NAT }
static fields trace = {
	FIELD(S, steps, FLAGS, .flags = trace_steps), FIELD(S, reason, REASON), FIELD(S, ifindex, NUMBER),
	FIELD(S, peer_ifindex, SIDE), FIELD(S, peer_identity, IDENTITY), FIELD(S, redirect, NUMBER),
	FIELD(S, mark, HEX), FIELD(S, ct, TRACE_CT), FIELD_AS(S, "egress", verdict[WR_EGRESS], POLICY_VERDICT),
	FIELD_AS(S, "ingress", verdict[WR_INGRESS], POLICY_VERDICT), FIELD(S, backend, IP_EITHER, OF_SERVICE),
	FIELD(S, backend_port, BE, OF_SERVICE), FIELD(S, client_port, BE, OF_SERVICE), FIELD(S, backends, NUMBER), END_OF(S),
};
CODEC(trace, "0", only_key, trace);
#undef S

/* --- other nodes ------------------------------------------------------------------------------------------------- */

static const struct flag_name cluster_flags[] = {
	{ WR_CLUSTER_V4, "v4" },	{ WR_CLUSTER_V6, "v6" },     { WR_CLUSTER_POD4, "pod4" },
	{ WR_CLUSTER_POD6, "pod6" }, { WR_CLUSTER_DSCP, "dscp" }, { WR_CLUSTER_SPORTS, "source-ports" },
	{ WR_CLUSTER_KEY_EVEN_KNOWN, "key-even-known" }, { WR_CLUSTER_KEY_ODD_KNOWN, "key-odd-known" },
	{ WR_CLUSTER_KEY_ODD, "key-odd" }, { WR_CLUSTER_KEY_REQUIRED, "key-required" }, { 0, NULL },
};
#define S struct wr_cluster
static fields cluster = {
	FIELD(S, revision, NUMBER), FIELD(S, flags, FLAGS, .flags = cluster_flags), FIELD(S, vni, NUMBER),
	FIELD(S, port, BE), FIELD(S, option_class, BE_HEX), FIELD(S, host_ifindex, NUMBER),
	FIELD(S, addr4, IP, VALID_IF(S, WR_CLUSTER_V4)), FIELD(S, addr6, IP, VALID_IF(S, WR_CLUSTER_V6)),
	FIELD(S, cidr4, MASKED, VALID_IF(S, WR_CLUSTER_POD4)), FIELD(S, cidr6, MASKED, VALID_IF(S, WR_CLUSTER_POD6)),
	FIELD_AS(S, "key_even", key_id[0], NUMBER, VALID_IF(S, WR_CLUSTER_KEY_EVEN_KNOWN)),
	FIELD_AS(S, "key_odd", key_id[1], NUMBER, VALID_IF(S, WR_CLUSTER_KEY_ODD_KNOWN)),
	FIELD(S, addr4_ifindex, NUMBER), FIELD(S, addr6_ifindex, NUMBER), END_OF(S),
};
CODEC(cluster, "0", only_key, cluster);
#undef S

static const struct flag_name node_flags[] = {
	{ WR_NODE_V4, "v4" },	      { WR_NODE_V6, "v6" },	      { WR_NODE_OVER6, "over6" },
	{ WR_NODE_DIRECT, "direct" }, { WR_NODE_KEYED, "keyed" }, { 0, NULL },
};
#define S struct wr_node
static fields node_slot_key = NUMBER_KEY("slot", WR_NODE_SLOTS - 1);
static fields node = {
	FIELD(S, id, NUMBER), FIELD(S, last_id, NUMBER), FIELD(S, flags, FLAGS, .flags = node_flags),
	FIELD(S, cidr4, MASKED, VALID_IF(S, WR_NODE_V4)), FIELD(S, cidr6, MASKED, VALID_IF(S, WR_NODE_V6)),
	FIELD(S, local, IP_OF, WR_NODE_OVER6), FIELD(S, remote, IP_OF, WR_NODE_OVER6), FIELD(S, uplink, NUMBER),
	FIELD(S, mtu, NUMBER), FIELD_AS(S, "tx_tag_even", tx_tag[0], SECRET),
	FIELD_AS(S, "tx_tag_odd", tx_tag[1], SECRET), FIELD_AS(S, "rx_tag_even", rx_tag[0], SECRET),
	FIELD_AS(S, "rx_tag_odd", rx_tag[1], SECRET), END_OF(S),
};
CODEC(nodes, "SLOT", node_slot_key, node);
#undef S

static const struct flag_name nexthop_flags[] = {
	{ WR_NEXTHOP_RESOLVED, "resolved" },
	{ WR_NEXTHOP_CONFIRM, "confirm" },
	{ 0, NULL },
};
#define S struct wr_nexthop
static fields nexthops_key = NUMBER_KEY("slot", WR_NEXTHOPS - 1);
static fields nexthop = {
	FIELD(S, id, NUMBER), FIELD(S, tick, NUMBER), FIELD(S, flags, FLAGS, .flags = nexthop_flags),
	FIELD(S, ifindex, NUMBER), FIELD(S, mtu, NUMBER), FIELD(S, dmac, MAC), FIELD(S, smac, MAC),
	FIELD(S, path_id, NUMBER), FIELD(S, path_ifindex, NUMBER), FIELD(S, path_v6, NUMBER), FIELD(S, path_tick, NUMBER), END_OF(S),
};
CODEC(nexthops, "SLOT", nexthops_key, nexthop);
#undef S

static fields node_ref = { FIELD(struct wr_node_ref, slot, NUMBER), END_OF(struct wr_node_ref) };
CODEC(nodes4, "IPV4-PREFIX", prefix4_key, node_ref);
CODEC(nodes6, "IPV6-PREFIX", prefix6_key, node_ref);
CODEC(node_addr4, "IPV4-ADDRESS", addr4_key, node_ref);
CODEC(node_addr6, "IPV6-ADDRESS", addr6_key, node_ref);

static fields node_metrics_key = {
	WHOLE(__u32, "slot", HALF_NUMBER, WR_NODE_SLOTS - 1), WHOLE(__u32, "direction", HALF_DIRECTION), END_OF(__u32),
};
CODEC(node_metrics, "SLOT/DIRECTION", node_metrics_key, metric);

static fields ipcache = { FIELD(struct wr_ipcache, identity, IDENTITY), END_OF(struct wr_ipcache) };
CODEC(ipcache4, "IPV4-ADDRESS", addr4_key, ipcache);
CODEC(ipcache6, "IPV6-ADDRESS", addr6_key, ipcache);

/* --- services ---------------------------------------------------------------------------------------------------- */

#define SERVICE_KEY(type)                                                                                              \
	{                                                                                                              \
		FIELD_AS(type, "address", addr, IP), FIELD(type, port, BE, UINT16_MAX),                                \
		FIELD_AS(type, "protocol", l4_proto, PROTOCOL), END_OF(type)                                           \
	}
#define S struct wr_service
static fields service4_key = SERVICE_KEY(struct wr_service4_key), service6_key = SERVICE_KEY(struct wr_service6_key);
static fields service = {
	FIELD(S, list, NUMBER), FIELD(S, backends, NUMBER), FIELD(S, affinity_seconds, NUMBER), FIELD(S, flags, HEX),
	FIELD(S, table, NUMBER), FIELD(S, table_size, NUMBER), FIELD(S, ranges, NUMBER), END_OF(S),
};
CODEC(services4, "IPV4-ADDRESS,PORT,PROTOCOL", service4_key, service);
CODEC(services6, "IPV6-ADDRESS,PORT,PROTOCOL", service6_key, service);
CODEC(external4, "IPV4-ADDRESS,PORT,PROTOCOL", service4_key, service);
CODEC(external6, "IPV6-ADDRESS,PORT,PROTOCOL", service6_key, service);
#undef S

#define S struct wr_host_port
static fields host_port = {
	FIELD_AS(S, "endpoint", ifindex, NUMBER), FIELD(S, port, BE), FIELD(S, flags, HEX), END_OF(S),
};
CODEC(host_ports4, "IPV4-ADDRESS,PORT,PROTOCOL", service4_key, host_port);
CODEC(host_ports6, "IPV6-ADDRESS,PORT,PROTOCOL", service6_key, host_port);
#undef S

static fields cluster_ip = { FIELD(struct wr_cluster_ip, flags, HEX), END_OF(struct wr_cluster_ip) };
CODEC(cluster_ips4, "IPV4-ADDRESS", addr4_key, cluster_ip);
CODEC(cluster_ips6, "IPV6-ADDRESS", addr6_key, cluster_ip);

static fields present = { WHOLE(__u32, "present", NUMBER), END_OF(__u32) };
CODEC(service_cidrs4, "IPV4-PREFIX", prefix4_key, present);
CODEC(service_cidrs6, "IPV6-PREFIX", prefix6_key, present);

#define RANGE_KEY(type)                                                                                                \
	{                                                                                                              \
		FIELD(type, set, NUMBER, UINT32_MAX), WHOLE(type, "prefix", PREFIX, WR_RANGE_SET_BITS / 8), END_OF(type)   \
	}
static fields range4_key = RANGE_KEY(struct wr_range4_key), range6_key = RANGE_KEY(struct wr_range6_key);
CODEC(source_ranges4, "SET,IPV4-PREFIX", range4_key, present);
CODEC(source_ranges6, "SET,IPV6-PREFIX", range6_key, present);

#define BACKEND(type)                                                                                                  \
	{                                                                                                              \
		FIELD_AS(type, "address", addr, IP), FIELD(type, port, BE), FIELD_AS(type, "protocol", l4_proto, PROTOCOL), \
		FIELD(type, flags, HEX), END_OF(type)                                                                  \
	}
static fields backend_key = NUMBER_KEY("backend", UINT32_MAX);
static fields backend4 = BACKEND(struct wr_backend4), backend6 = BACKEND(struct wr_backend6);
CODEC(backends4, "BACKEND", backend_key, backend4);
CODEC(backends6, "BACKEND", backend_key, backend6);

#define S struct wr_list_key
static fields list_key = { FIELD(S, list, NUMBER, UINT32_MAX), FIELD(S, index, NUMBER, UINT32_MAX), END_OF(S) };
static fields listed = { WHOLE(__u32, "backend", NUMBER), END_OF(__u32) };
CODEC(service_lists, "LIST,INDEX", list_key, listed);
#undef S

#define S struct wr_member_key
static fields member_key = { FIELD(S, list, NUMBER, UINT32_MAX), FIELD(S, backend, NUMBER, UINT32_MAX), END_OF(S) };
static fields member = { WHOLE(__u32, "index", NUMBER), END_OF(__u32) };
CODEC(service_members, "LIST,BACKEND", member_key, member);
#undef S

#define S struct wr_table_key
static fields table_key = { FIELD(S, table, NUMBER, UINT32_MAX), FIELD(S, block, NUMBER, UINT32_MAX), END_OF(S) };
static fields table_block = { FIELD(struct wr_table_block, backends, NUMBERS), END_OF(struct wr_table_block) };
CODEC(service_tables, "TABLE,BLOCK", table_key, table_block);
#undef S

#define S struct wr_affinities
static fields affinity_key = NUMBER_KEY("slot", WR_ENDPOINT_SLOTS - 1);
static fields affinity = { WRITTEN_SETS, END_OF(S) };
CODEC(affinity, "SLOT", affinity_key, affinity);
#undef S

#define CLIENT_KEY(type)                                                                                               \
	{                                                                                                              \
		FIELD_AS(type, "client", client, IP), FIELD_AS(type, "service", service, IP),                          \
		FIELD(type, port, BE, UINT16_MAX), FIELD_AS(type, "protocol", l4_proto, PROTOCOL), END_OF(type)        \
	}
#define S struct wr_client_affinity
static fields client4_key = CLIENT_KEY(struct wr_client4_key), client6_key = CLIENT_KEY(struct wr_client6_key);
static fields client = { FIELD(S, backend, NUMBER), FIELD(S, used, NUMBER), END_OF(S) };
CODEC(clients4, "IPV4-ADDRESS,IPV4-ADDRESS,PORT,PROTOCOL", client4_key, client);
CODEC(clients6, "IPV6-ADDRESS,IPV6-ADDRESS,PORT,PROTOCOL", client6_key, client);
#undef S

#define S struct wr_service_state
static fields service_state = { FIELD(S, list, NUMBER), FIELD(S, backend, NUMBER), FIELD_AS(S, "key", key[0], SECRET), END_OF(S) };
CODEC(service_state, "0", only_key, service_state);
#undef S

#define S struct wr_host_flows
static fields host_flows = { FIELD(S, until, NUMBER), END_OF(S) };
CODEC(host_flows, "0", only_key, host_flows);
#undef S

/* --- denylist and XDP decapsulation ------------------------------------------------------------------------------ */

#define S struct wr_deny_state
static fields deny_state = {
	FIELD_AS(S, "prefixes4", prefixes[0], NUMBER), FIELD_AS(S, "prefixes6", prefixes[1], NUMBER),
	FIELD(S, counter, NUMBER), END_OF(S),
};
CODEC(deny_state, "0", only_key, deny_state);
#undef S

static fields deny = { FIELD(struct wr_deny, counter, NUMBER), END_OF(struct wr_deny) };
CODEC(deny4, "IPV4-PREFIX", prefix4_key, deny);
CODEC(deny6, "IPV6-PREFIX", prefix6_key, deny);

#define S struct wr_deny_hits
static fields deny_hits_key = NUMBER_KEY("counter", UINT32_MAX);
static fields deny_hits = {
	FIELD(S, packets, SUM, sizeof(S)), FIELD(S, bytes, SUM, sizeof(S)), WHOLE(S, "last_tick", LAST_TICK), END_OF(S),
};
CODEC(deny_hits, "COUNTER", deny_hits_key, deny_hits);
#undef S

static const struct flag_name uplink_flags[] = { { WR_UPLINK_DECAP, "decap" }, { 0, NULL } };
#define S struct wr_uplink
static fields uplinks_key = NUMBER_KEY("ifindex", UINT32_MAX);
static fields uplink = { FIELD(S, flags, FLAGS, .flags = uplink_flags), FIELD(S, magic, SECRET), END_OF(S) };
CODEC(uplinks, "IFINDEX", uplinks_key, uplink);
#undef S
