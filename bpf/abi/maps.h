/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The registry of maps. The programs' definitions (bpf/lib/maps.h), the pins, the CLI's decoders and its help are all
 * generated from this list.
 *
 * X(name, TYPE, key type, value type, max entries, flags, text)
 */
#ifndef WARREN_ABI_MAPS_H
#define WARREN_ABI_MAPS_H

#include "abi/abi.h"
#include "abi/addr.h"
#include "abi/conntrack.h"
#include "abi/deny.h"
#include "abi/endpoint.h"
#include "abi/event.h"
#include "abi/frag.h"
#include "abi/metric.h"
#include "abi/node.h"
#include "abi/policy.h"
#include "abi/service.h"
#include "abi/socket.h"
#include "abi/trace.h"
#include "abi/xdp.h"

/* An array used as a table with fixed slots: an element whose first word is 0 is empty. */
#define BPF_MAP_TYPE_SLOTS BPF_MAP_TYPE_ARRAY

#define WARREN_MAPS(X)                                                                                               \
	X(config, ARRAY, __u32, struct wr_config, 1, 0, "the node's settings")                                       \
	X(endpoints, SLOTS, __u32, struct wr_endpoint, WR_ENDPOINT_SLOTS, BPF_F_MMAPABLE, "slot (by ifindex of the host-side device) -> endpoint") \
	X(addr4, HASH, struct wr_addr4, struct wr_local, WR_MAX_ENDPOINTS, 0, "pod IPv4 address -> endpoint")        \
	X(addr6, HASH, struct wr_addr6, struct wr_local, WR_MAX_ENDPOINTS, 0, "pod IPv6 address -> endpoint")        \
	X(addr_cache, SLOTS, __u32, struct wr_local, 1 << WR_ADDR_CACHE_BITS, 0, "hash of a pod address -> endpoint, a guess") \
	X(ct4, HASH, struct wr_ct4_key, struct wr_ct, WR_CT_ENTRIES, BPF_F_NO_PREALLOC, "IPv4 flows, established") \
	X(ct6, HASH, struct wr_ct6_key, struct wr_ct, WR_CT_ENTRIES, BPF_F_NO_PREALLOC, "IPv6 flows, established") \
	X(ct_new4, SLOTS, __u32, struct wr_ct4_slot, WR_CT_NEW_SLOTS, BPF_F_MMAPABLE, "slot -> IPv4 flow: young, unreplied, denied, or closed") \
	X(ct_new6, SLOTS, __u32, struct wr_ct6_slot, WR_CT_NEW_SLOTS, BPF_F_MMAPABLE, "slot -> IPv6 flow: young, unreplied, denied, or closed") \
	X(ct_windows, ARRAY, __u32, struct wr_ct_windows, 1, 0, "slots of ct_new4 and ct_new6 that belong to an endpoint") \
	X(ct_usage, SLOTS, __u32, struct wr_ct_usage, WR_ENDPOINT_SLOTS + 1, 0, "endpoint -> entries of ct4 and ct6 that it owns") \
	X(ct_totals, ARRAY, __u32, struct wr_ct_totals, 1, 0, "entries of ct4 and of ct6")                           \
	X(ct_stats, PERCPU_ARRAY, __u32, __u64, WR_CT_STATS, 0, "event of a flow -> count")               \
	X(ct_gc, ARRAY, __u32, struct wr_ct_gc, 1, 0, "the timer that removes expired flows")                           \
	X(classes, HASH, __u32, struct wr_class_info, 2 * WR_MAX_ENDPOINTS, BPF_F_NO_PREALLOC, "policy class -> kinds of entries it has") \
	X(cidrs4, LPM_TRIE, struct wr_cidr4_key, struct wr_peer, 1 << 20, BPF_F_NO_PREALLOC, "class, direction, IPv4 prefix -> CIDR peer") \
	X(cidrs6, LPM_TRIE, struct wr_cidr6_key, struct wr_peer, 1 << 20, BPF_F_NO_PREALLOC, "class, direction, IPv6 prefix -> CIDR peer") \
	X(rules, HASH, __u32, struct wr_rule_text, 32768, BPF_F_NO_PREALLOC, "rule -> its name")                     \
	X(policy_state, ARRAY, __u32, struct wr_policy_state, 1, 0, "state that an agent keeps for its successor") \
	X(cluster, ARRAY, __u32, struct wr_cluster, 1, 0, "this node's addresses and settings in the cluster")                        \
	X(nodes, SLOTS, __u32, struct wr_node, WR_NODE_SLOTS, 0, "slot -> another node")                             \
	X(nodes4, LPM_TRIE, struct wr_prefix4, struct wr_node_ref, WR_MAX_NODES, BPF_F_NO_PREALLOC, "IPv4 pod CIDR -> node") \
	X(nodes6, LPM_TRIE, struct wr_prefix6, struct wr_node_ref, WR_MAX_NODES, BPF_F_NO_PREALLOC, "IPv6 pod CIDR -> node") \
	X(node_addr4, HASH, struct wr_addr4, struct wr_node_ref, 4 * WR_MAX_NODES, BPF_F_NO_PREALLOC, "node IPv4 address -> node") \
	X(node_addr6, HASH, struct wr_addr6, struct wr_node_ref, 4 * WR_MAX_NODES, BPF_F_NO_PREALLOC, "node IPv6 address -> node") \
	X(ipcache4, HASH, struct wr_addr4, struct wr_ipcache, 1 << 18, BPF_F_NO_PREALLOC, "IPv4 address on another node -> identity") \
	X(ipcache6, HASH, struct wr_addr6, struct wr_ipcache, 1 << 18, BPF_F_NO_PREALLOC, "IPv6 address on another node -> identity") \
	X(node_metrics, PERCPU_HASH, __u32, struct wr_metric, 2 * WR_MAX_NODES, BPF_F_NO_PREALLOC, "node's slot x direction -> packets, bytes") \
	X(nexthops, PERCPU_ARRAY, __u32, struct wr_nexthop, WR_NEXTHOPS, 0, "node's slot -> nexthop, MAC addresses, MTU") \
	X(deny_state, ARRAY, __u32, struct wr_deny_state, 1, 0, "number of denied prefixes")                          \
	X(deny4, LPM_TRIE, struct wr_prefix4, struct wr_deny, WR_MAX_DENY, BPF_F_NO_PREALLOC, "denied IPv4 prefix -> counter") \
	X(deny6, LPM_TRIE, struct wr_prefix6, struct wr_deny, WR_MAX_DENY, BPF_F_NO_PREALLOC, "denied IPv6 prefix -> counter") \
	X(deny_hits, PERCPU_HASH, __u32, struct wr_deny_hits, 2 * WR_MAX_DENY, BPF_F_NO_PREALLOC, "denied prefix's counter -> packets, bytes, last one") \
	X(uplinks, HASH, __u32, struct wr_uplink, WR_MAX_UPLINKS, BPF_F_NO_PREALLOC, "device -> whether xdp_uplink decapsulates there") \
	X(services4, HASH, struct wr_service4_key, struct wr_service, WR_MAX_SERVICES, BPF_F_NO_PREALLOC, "IPv4 address, port, protocol -> service") \
	X(services6, HASH, struct wr_service6_key, struct wr_service, WR_MAX_SERVICES, BPF_F_NO_PREALLOC, "IPv6 address, port, protocol -> service") \
	X(external4, HASH, struct wr_service4_key, struct wr_service, WR_MAX_SERVICES, BPF_F_NO_PREALLOC, "IPv4 address, port, protocol, for clients outside the cluster -> service") \
	X(external6, HASH, struct wr_service6_key, struct wr_service, WR_MAX_SERVICES, BPF_F_NO_PREALLOC, "IPv6 address, port, protocol, for clients outside the cluster -> service") \
	X(host_ports4, HASH, struct wr_service4_key, struct wr_host_port, WR_MAX_HOST_PORTS, BPF_F_NO_PREALLOC, "IPv4 address of this host or 0, port, protocol -> pod, container's port (hostPort)") \
	X(host_ports6, HASH, struct wr_service6_key, struct wr_host_port, WR_MAX_HOST_PORTS, BPF_F_NO_PREALLOC, "IPv6 address of this host or 0, port, protocol -> pod, container's port (hostPort)") \
	X(cluster_ips4, HASH, struct wr_addr4, struct wr_cluster_ip, WR_MAX_CLUSTER_IPS, BPF_F_NO_PREALLOC, "IPv4 ClusterIP -> whether all of its ports are known") \
	X(cluster_ips6, HASH, struct wr_addr6, struct wr_cluster_ip, WR_MAX_CLUSTER_IPS, BPF_F_NO_PREALLOC, "IPv6 ClusterIP -> whether all of its ports are known") \
	X(service_cidrs4, LPM_TRIE, struct wr_prefix4, __u32, WR_MAX_SERVICE_CIDRS, BPF_F_NO_PREALLOC, "IPv4 prefix of ClusterIPs (ServiceCIDR)") \
	X(service_cidrs6, LPM_TRIE, struct wr_prefix6, __u32, WR_MAX_SERVICE_CIDRS, BPF_F_NO_PREALLOC, "IPv6 prefix of ClusterIPs (ServiceCIDR)") \
	X(source_ranges4, LPM_TRIE, struct wr_range4_key, __u32, WR_MAX_SOURCE_RANGES, BPF_F_NO_PREALLOC, "set, IPv4 prefix of clients (loadBalancerSourceRanges)") \
	X(source_ranges6, LPM_TRIE, struct wr_range6_key, __u32, WR_MAX_SOURCE_RANGES, BPF_F_NO_PREALLOC, "set, IPv6 prefix of clients (loadBalancerSourceRanges)") \
	X(backends4, HASH, __u32, struct wr_backend4, WR_MAX_BACKENDS, BPF_F_NO_PREALLOC, "id -> IPv4 backend")      \
	X(backends6, HASH, __u32, struct wr_backend6, WR_MAX_BACKENDS, BPF_F_NO_PREALLOC, "id -> IPv6 backend")      \
	X(service_lists, HASH, struct wr_list_key, __u32, WR_MAX_LISTED, BPF_F_NO_PREALLOC, "list, index -> backend") \
	X(service_members, HASH, struct wr_member_key, __u32, WR_MAX_LISTED, BPF_F_NO_PREALLOC, "list, backend -> index") \
	X(service_tables, HASH, struct wr_table_key, struct wr_table_block, WR_MAX_TABLE_BLOCKS, BPF_F_NO_PREALLOC, "table, block -> backends of clients outside the cluster, by a hash of their flows") \
	X(service_state, ARRAY, __u32, struct wr_service_state, 1, 0, "the newest list and backend: numbers are not reused; the hash's key") \
	X(affinity, HASH, __u32, struct wr_affinities, WR_ENDPOINT_SLOTS + 1, BPF_F_NO_PREALLOC, "endpoint, or the host -> backends that services with affinity gave it") \
	X(clients4, LRU_HASH, struct wr_client4_key, struct wr_client_affinity, WR_MAX_AFFINE_CLIENTS, 0, "IPv4 client outside the cluster, service -> backend that affinity gave it") \
	X(clients6, LRU_HASH, struct wr_client6_key, struct wr_client_affinity, WR_MAX_AFFINE_CLIENTS, 0, "IPv6 client outside the cluster, service -> backend that affinity gave it") \
	X(host_flows, ARRAY, __u32, struct wr_host_flows, 1, 0, "until when the host's processes may have clients outside the cluster through services") \
	X(fragments, HASH, __u32, struct wr_fragments, WR_FRAGMENT_WINDOWS, BPF_F_NO_PREALLOC, "endpoint or node, direction -> fragmented datagrams") \
	X(event_state, ARRAY, __u32, struct wr_event_state, 1, 0, "deadline of the listener for events")      \
	X(event_rate, SLOTS, __u32, struct wr_event_rate, WR_EVENT_SOURCES, BPF_F_MMAPABLE, "device x direction -> token bucket of its events") \
	X(event_stats, PERCPU_ARRAY, __u32, struct wr_event_stats, 1, 0, "events that were suppressed or lost")       \
	X(trace, ARRAY, __u32, struct wr_trace, 1, 0, "result of the last dry run")                                 \
	X(metrics, PERCPU_ARRAY, __u32, struct wr_metric, WR_METRICS, 0, "reason x direction -> packets, bytes")

/*
 * Hashes that grow by replacement: each is the one element of an array of maps, and readers see the old or the new
 * hash. X(name, key type, value type, initial entries, max entries, text)
 */
#define WARREN_GROWING_MAPS(X)                                                                                       \
	X(policy, struct wr_policy_key, struct wr_policy_entry, 16384, 1 << 22, "class, direction, protocol, port prefix, peer -> rule") \
	X(identities, __u64, struct wr_peer, 4096, 1 << 20, "identity -> peer class")

/* Ring buffers have neither keys nor values: X(name, bytes, text). */
#define WARREN_RINGS(X) X(events, 1048576, "drops and verdicts, as they happen")

/* Values that the kernel keeps with a socket, and frees with it: X(name, value type, text). */
#define WARREN_SOCKET_MAPS(X) X(sockets, struct wr_socket, "the host's socket -> services that it uses, and their backends")

#endif
