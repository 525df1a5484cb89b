/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SHARE 1024 /* of ct, an endpoint's */

static struct {
	struct wr_endpoint ep[DEVICES];
	uint32_t revision; /* the last one drawn */
} node = { .revision = 100 };

/* --- maps --- */

static void maps_clear(void)
{
	static const char *const names[] = { "addr4",      "addr6",      "ct4",      "ct6",      "ct_new4",      "ct_new6", "frag4",
					     "frag6",      "classes",    "cidrs4",   "cidrs6",   "nodes4",       "nodes6",
					     "node_addr4", "node_addr6", "ipcache4", "ipcache6", "node_metrics", "policy",  "identities" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		map_clear(names[i]);
}

/* --- endpoints --- */

static void slot_put(uint32_t slot, const struct wr_endpoint *ep, uint32_t ifindex)
{
	struct wr_endpoint owned = *ep;

	owned.ifindex = ifindex;
	map_put("endpoints", &slot, &owned);
}

/* Every place of every device's endpoint, and what is nobody's. */
static void slots_clear(void)
{
	const struct wr_endpoint empty = { 0 };
	const struct wr_ct_usage none = { 0 };
	const uint32_t nobody = 0;

	map_put("ct_usage", &nobody, &none);
	for (int d = DEVICE_A; d < DEVICES; d++) {
		uint32_t slot = wr_endpoint_slot(device_ifindex(d), 0);

		map_put("ct_usage", &slot, &none);
		for (uint32_t n = 0; n < WR_ENDPOINT_PROBES; n++)
			slot_put(wr_endpoint_slot(device_ifindex(d), n), &empty, 0);
	}
}

/* In its first place, or in its last one with somebody else's endpoint in the first. */
static void endpoint_place(const struct wr_endpoint *ep, uint32_t ifindex, bool last)
{
	if (last)
		slot_put(wr_endpoint_slot(ifindex, 0), ep, ifindex + WR_ENDPOINT_SLOTS);
	slot_put(wr_endpoint_slot(ifindex, last ? WR_ENDPOINT_PROBES - 1 : 0), ep, ifindex);
}

static void endpoint_put(enum device d, bool endpoint_too, bool last)
{
	const struct wr_local local = { device_ifindex(d) };

	map_put("addr4", &node.ep[d].addr4, &local);
	map_put("addr6", &node.ep[d].addr6, &local);
	if (endpoint_too)
		endpoint_place(&node.ep[d], device_ifindex(d), last);
}

static void cache_put(enum who who, uint32_t ifindex)
{
	const struct wr_local local = { ifindex };
	struct wr_addr4 a4;
	struct wr_addr6 a6;
	uint32_t key;

	memcpy(&a4, who_address(who, false), sizeof(a4));
	memcpy(&a6, who_address(who, true), sizeof(a6));
	key = wr_addr_cache_key(a4.v4);
	map_put("addr_cache", &key, &local);
	key = wr_addr_cache_key(a6.v6[0] ^ a6.v6[1] ^ a6.v6[2] ^ a6.v6[3]);
	map_put("addr_cache", &key, &local);
}

void cache_set(enum who who, enum device d)
{
	cache_put(who, device_ifindex(d));
}

static struct wr_endpoint endpoint_of(enum who who, enum mac mac, uint64_t identity)
{
	struct wr_endpoint ep = { .flags = WR_EP_V4 | WR_EP_V6,
				  .policy_class = WR_CLASS_NOT_ISOLATED,
				  .revision = ++node.revision,
				  .identity = identity };

	memcpy(&ep.addr4, who_address(who, false), 4);
	memcpy(&ep.addr6, who_address(who, true), 16);
	memcpy(ep.mac, mac_address(mac), 6);
	return ep;
}

void node_reset(unsigned state, bool v6)
{
	struct wr_endpoint *a = &node.ep[DEVICE_A], *b = &node.ep[DEVICE_B];
	struct wr_config cfg = { .abi_version = WR_ABI_VERSION,
				 .mark_pod = MARK_POD,
				 .mark_masquerade = MARK_MASQUERADE,
				 .mark_host_only = MARK_HOST_ONLY,
				 .ct_share = SHARE };
	const uint32_t zero = 0;

	*a = endpoint_of(POD_A, MAC_A, IDENTITY_A);
	*b = endpoint_of(POD_B, MAC_B, IDENTITY_B);
	if (state & S_NO_CONFIG)
		memset(&cfg, 0, sizeof(cfg));
	if (state & S_A_QUARANTINE)
		a->policy_class = WR_CLASS_QUARANTINE;
	if (state & S_B_QUARANTINE)
		b->policy_class = WR_CLASS_QUARANTINE;
	if (state & S_NO_FAMILY)
		a->flags &= ~(v6 ? WR_EP_V6 : WR_EP_V4);
	if (state & S_MASQUERADE)
		a->flags |= WR_EP_MASQUERADE;
	slots_clear();
	maps_clear();
	cluster_clear();
	cache_put(POD_A, state & S_NOT_CACHED ? 0 : device_ifindex(DEVICE_A));
	cache_put(POD_B, state & S_NOT_CACHED ? 0 : device_ifindex(state & S_CACHE_WRONG ? DEVICE_A : DEVICE_B));
	cache_put(HOST, 0);
	map_put("config", &zero, &cfg);
	if (!(state & S_NO_ENDPOINT))
		endpoint_put(DEVICE_A, true, state & S_LAST_PLACE);
	endpoint_put(DEVICE_B, !(state & S_B_GOING), state & S_LAST_PLACE);
	events_drain(NULL);
}

void endpoint_set_mac(enum device d, enum mac mac)
{
	memcpy(node.ep[d].mac, mac_address(mac), 6);
	endpoint_put(d, true, false);
}

void endpoint_set_class(enum device d, uint32_t policy_class)
{
	node.ep[d].policy_class = policy_class;
	node.ep[d].revision = ++node.revision;
	endpoint_put(d, true, false);
}

void endpoint_set_identity(enum device d, uint64_t identity)
{
	node.ep[d].identity = identity;
	endpoint_put(d, true, false);
}

uint32_t endpoint_revision(enum device d)
{
	return node.ep[d].revision;
}

void endpoint_set_address(enum device d, enum who who)
{
	memcpy(&node.ep[d].addr4, who_address(who, false), 4);
	memcpy(&node.ep[d].addr6, who_address(who, true), 16);
	endpoint_put(d, true, false);
}

void endpoint_remove(enum device d)
{
	const struct wr_endpoint empty = { 0 };

	map_drop("addr4", &node.ep[d].addr4);
	map_drop("addr6", &node.ep[d].addr6);
	slot_put(wr_endpoint_slot(device_ifindex(d), 0), &empty, 0);
}

void endpoint_restore(enum device d)
{
	endpoint_put(d, true, false);
}

void endpoint_take_address(enum device from, enum device by)
{
	endpoint_remove(from);
	node.ep[by] = node.ep[from];
	node.ep[by].revision = ++node.revision;
	endpoint_put(by, true, false);
}

uint64_t *endpoint_map_word(enum device d)
{
	const size_t size = sizeof(struct wr_endpoint) * WR_ENDPOINT_SLOTS;
	struct wr_endpoint *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd("endpoints"), 0);

	if (all == MAP_FAILED)
		fail_msg("endpoints: %m");
	return (uint64_t *)&all[wr_endpoint_slot(device_ifindex(d), 0)].policy_class;
}

/* --- policy --- */

void class_set(uint32_t policy_class, enum wr_direction direction, uint32_t flags, uint32_t port_bits)
{
	struct wr_class_info info = { 0 };

	bpf_map_lookup_elem(map_fd("classes"), &policy_class, &info);
	info.flags[direction] = flags;
	info.port_bits[direction] = port_bits;
	map_put("classes", &policy_class, &info);
}

void class_remove(uint32_t policy_class)
{
	map_drop("classes", &policy_class);
}

static struct wr_policy_key policy_key(uint32_t policy_class, enum wr_direction direction, uint64_t peer, uint8_t l4_proto,
				       uint16_t port, unsigned port_bits)
{
	return (struct wr_policy_key){ .peer = peer,
				       .policy_class = policy_class,
				       .port = htons(port),
				       .l4_proto = l4_proto,
				       .shape = wr_policy_shape(direction, port_bits) };
}

void policy_allow(uint32_t policy_class, enum wr_direction direction, uint64_t peer, uint8_t l4_proto, uint16_t port,
		  unsigned port_bits, uint32_t rule)
{
	const struct wr_policy_key key = policy_key(policy_class, direction, peer, l4_proto, port, port_bits);
	const struct wr_policy_entry entry = { rule };

	map_put("policy", &key, &entry);
}

void policy_remove(uint32_t policy_class, enum wr_direction direction, uint64_t peer, uint8_t l4_proto, uint16_t port,
		   unsigned port_bits)
{
	const struct wr_policy_key key = policy_key(policy_class, direction, peer, l4_proto, port, port_bits);

	assert_int_equal(bpf_map_delete_elem(map_fd("policy"), &key), 0);
}

void policy_cidr(uint32_t policy_class, enum wr_direction direction, enum who who, unsigned bits, uint64_t peer, bool v6)
{
	const struct wr_peer value = { peer };
	struct wr_cidr4_key k4 = { .prefixlen = WR_CIDR_CLASS_BITS + bits,
				   .class_direction = wr_cidr_class(policy_class, direction) };
	struct wr_cidr6_key k6 = { .prefixlen = k4.prefixlen, .class_direction = k4.class_direction };

	memcpy(&k4.addr, who_address(who, false), sizeof(k4.addr));
	memcpy(&k6.addr, who_address(who, true), sizeof(k6.addr));
	map_put(v6 ? "cidrs6" : "cidrs4", v6 ? (void *)&k6 : &k4, &value);
}

void identity_set_peer(uint64_t identity, uint64_t peer)
{
	const struct wr_peer value = { peer };

	map_put("identities", &identity, &value);
}

/* --- other nodes --- */

static void masks(struct wr_addr4 *mask4, struct wr_addr6 *mask6, struct wr_addr4 *cidr4, struct wr_addr6 *cidr6, enum who pod)
{
	mask4->v4 = htonl(0xffffff00);
	mask6->v6[0] = mask6->v6[1] = 0xffffffff;
	memcpy(cidr4, who_address(pod, false), sizeof(*cidr4));
	cidr4->v4 &= mask4->v4;
	memcpy(cidr6, who_address(pod, true), 8);
}

void cluster_clear(void)
{
	const struct wr_cluster none = { 0 };
	const struct wr_node empty = { 0 };
	const uint32_t zero = 0, slots[] = { SLOT_C, SLOT_D };

	map_put("cluster", &zero, &none);
	for (size_t i = 0; i < 2; i++)
		map_put("nodes", &slots[i], &empty);
}

void cluster_put(enum who own, enum who pod, unsigned flags)
{
	struct wr_cluster c = { .revision = ++node.revision,
				.flags = WR_CLUSTER_V4 | WR_CLUSTER_V6 | WR_CLUSTER_POD4 | WR_CLUSTER_POD6 | flags,
				.vni = WR_TUNNEL_VNI,
				.port = htons(WR_TUNNEL_PORT),
				.option_class = htons(WR_TUNNEL_OPTION_CLASS),
				.host_ifindex = device_ifindex(DEVICE_WARREN0) };
	const uint32_t zero = 0;

	memcpy(&c.addr4, who_address(own, false), sizeof(c.addr4));
	memcpy(&c.addr6, who_address(own, true), sizeof(c.addr6));
	masks(&c.mask4, &c.mask6, &c.cidr4, &c.cidr6, pod);
	map_put("cluster", &zero, &c);
}

void cluster_reset(unsigned state, bool v6, bool over6)
{
	const unsigned flags = WR_NODE_RESOLVED | (over6 ? WR_NODE_OVER6 : 0);

	node_reset(state, v6);
	if (state & S_NO_CLUSTER)
		return;
	cluster_put(NODE, POD_A, state & S_DSCP ? WR_CLUSTER_DSCP : 0);
	if (state & S_OTHER_FAMILY)
		cluster_without(over6);
	if (state & S_NO_NODES)
		return;
	if (state & S_SIBLING) {
		node_put_as(SLOT_D, NODE_C, POD_D, flags);
	} else {
		node_put(SLOT_C, flags | (state & S_DIRECT ? WR_NODE_DIRECT : 0));
		node_put(SLOT_D, flags);
	}
	if (state & S_NODE_GONE)
		node_empty(SLOT_C);
	ipcache_put(POD_C2, IDENTITY_C2);
}

void cluster_without(bool v6)
{
	const uint32_t zero = 0;
	struct wr_cluster c;

	assert_int_equal(bpf_map_lookup_elem(map_fd("cluster"), &zero, &c), 0);
	c.flags &= v6 ? ~WR_CLUSTER_V6 : ~WR_CLUSTER_V4;
	map_put("cluster", &zero, &c);
}

void node_put(uint32_t slot, unsigned flags)
{
	node_put_as(slot, slot == SLOT_C ? NODE_C : NODE_D, slot == SLOT_C ? POD_C : POD_D, flags);
}

void node_put_as(uint32_t slot, enum who own, enum who pod, unsigned flags)
{
	struct wr_node n = { .id = slot + 1,
			     .flags = WR_NODE_V4 | WR_NODE_V6 | flags,
			     .uplink = device_ifindex(DEVICE_UPLINK),
			     .mtu = TUNNEL_MTU };
	const struct wr_node_ref ref = { slot };
	const bool over6 = flags & WR_NODE_OVER6;
	struct wr_metric none[libbpf_num_possible_cpus()];
	struct wr_prefix4 p4 = { .prefixlen = 24 };
	struct wr_prefix6 p6 = { .prefixlen = 64 };

	masks(&n.mask4, &n.mask6, &n.cidr4, &n.cidr6, pod);
	memcpy(&n.local, who_address(NODE, over6), over6 ? 16 : 4);
	memcpy(&n.remote, who_address(own, over6), over6 ? 16 : 4);
	memcpy(n.dmac, mac_address(MAC_OTHER), 6);
	memcpy(n.smac, mac_address(MAC_HOST), 6);
	map_put("nodes", &slot, &n);
	p4.addr = n.cidr4;
	p6.addr = n.cidr6;
	map_put("nodes4", &p4, &ref);
	map_put("nodes6", &p6, &ref);
	map_put("node_addr4", who_address(own, false), &ref);
	map_put("node_addr6", who_address(own, true), &ref);
	memset(none, 0, sizeof(none));
	for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
		uint32_t key = wr_metric_key(slot, direction);

		map_put("node_metrics", &key, none);
	}
}

void node_empty(uint32_t slot)
{
	const struct wr_node empty = { 0 };

	map_put("nodes", &slot, &empty);
}

void ipcache_put(enum who who, uint64_t identity)
{
	const struct wr_ipcache value = { identity };

	map_put("ipcache4", who_address(who, false), &value);
	map_put("ipcache6", who_address(who, true), &value);
}

struct wr_metric node_metric(uint32_t slot, enum wr_direction direction)
{
	const int cpus = libbpf_num_possible_cpus();
	const uint32_t key = wr_metric_key(slot, direction);
	struct wr_metric per_cpu[cpus], sum = { 0 };

	assert_int_equal(bpf_map_lookup_elem(map_fd("node_metrics"), &key, per_cpu), 0);
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum.packets += per_cpu[cpu].packets;
		sum.bytes += per_cpu[cpu].bytes;
	}
	return sum;
}

/* --- flows --- */

static int table_fd(enum table table, bool v6)
{
	static const char *const names[][2] = { [CT] = { "ct4", "ct6" }, [CT_NEW] = { "ct_new4", "ct_new6" } };

	return map_fd(names[table][v6]);
}

unsigned flows_count(enum table table, bool v6)
{
	int fd = table_fd(table, v6);
	char key[64], *last = NULL;
	unsigned n = 0;

	for (; !bpf_map_get_next_key(fd, last, key); last = key)
		n++;
	return n;
}

bool flow_only(enum table table, bool v6, struct wr_ct *ct)
{
	int fd = table_fd(table, v6);
	char key[64];

	if (bpf_map_get_next_key(fd, NULL, key))
		return false;
	assert_int_equal(bpf_map_lookup_elem(fd, key, ct), 0);
	assert_int_equal(flows_count(table, v6), 1);
	return true;
}

/* Leases end with the second. */
static void leases_end(void)
{
	enum { MAX = 1 << 16 };
	static uint32_t keys[MAX];
	static uint64_t words[MAX];
	int fd = map_fd("leases");
	uint32_t count = 0;

	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	assert_in_range(info.max_entries, 1, MAX);
	for (; count < info.max_entries; count++)
		keys[count] = count;
	if (bpf_map_update_batch(fd, keys, words, &count, NULL))
		fail_msg("leases: %m");
}

static void age(uint32_t ticks)
{
	struct wr_ct ct;
	char key[64], *last;

	for (int i = 0; i < 4; i++) {
		int fd = table_fd(i & 1, i & 2);

		for (last = NULL; !bpf_map_get_next_key(fd, last, key); last = key) {
			assert_int_equal(bpf_map_lookup_elem(fd, key, &ct), 0);
			ct.expires -= ticks;
			assert_int_equal(bpf_map_update_elem(fd, key, &ct, BPF_EXIST), 0);
		}
	}
}

void flows_kill(void)
{
	age(1u << 30);
}

void flows_age(uint32_t ticks)
{
	age(ticks);
	leases_end();
}

uint32_t tick_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (ts.tv_sec * 1000000000ull + ts.tv_nsec) >> WR_CT_TICK_SHIFT;
}

uint32_t flows_owned(enum device d)
{
	const uint32_t slot = wr_endpoint_slot(device_ifindex(d), 0);
	struct wr_ct_usage usage;

	assert_int_equal(bpf_map_lookup_elem(map_fd("ct_usage"), &slot, &usage), 0);
	return usage.entries;
}

uint64_t flow_stat(enum wr_ct_stat stat)
{
	int cpus = libbpf_num_possible_cpus();
	const uint32_t key = stat;
	uint64_t per_cpu[cpus], sum = 0;

	assert_int_equal(bpf_map_lookup_elem(map_fd("ct_stats"), &key, per_cpu), 0);
	for (int cpu = 0; cpu < cpus; cpu++)
		sum += per_cpu[cpu];
	return sum;
}

void flows_set_share(uint32_t share)
{
	const uint32_t zero = 0;
	struct wr_config cfg;

	assert_int_equal(bpf_map_lookup_elem(map_fd("config"), &zero, &cfg), 0);
	cfg.ct_share = share;
	map_put("config", &zero, &cfg);
}

/* --- everything --- */

static uint64_t digest(uint64_t sum, const void *data, size_t size)
{
	const uint8_t *at = data;

	for (; size; size--, at++)
		sum = (sum ^ *at) * 0x100000001b3ull; /* FNV-1a */
	return sum;
}

static uint64_t digest_map(uint64_t sum, int fd, size_t key_size, size_t value_size)
{
	char key[64], *last = NULL;
	char *value = malloc(value_size);

	for (; !bpf_map_get_next_key(fd, last, key); last = key) {
		assert_int_equal(bpf_map_lookup_elem(fd, key, value), 0);
		sum = digest(digest(sum, key, key_size), value, value_size);
	}
	free(value);
	return sum;
}

static uint64_t digest_array(uint64_t sum, int fd, size_t value_size, uint32_t entries)
{
	uint32_t *keys = calloc(entries, sizeof(*keys)), at, count = entries;
	char *values = calloc(entries, value_size);

	if (bpf_map_lookup_batch(fd, NULL, &at, keys, values, &count, NULL) && errno != ENOENT)
		fail_msg("reading an array: %m");
	assert_int_equal(count, entries);
	sum = digest(sum, values, entries * value_size);
	free(keys);
	free(values);
	return sum;
}

/* Arrays in one go each: element by element they would take most of all tests' time. */
static uint64_t digest_table(uint64_t sum, const char *name, const char *type, size_t key_size, size_t value_size,
			     uint32_t entries)
{
	if (strstr(type, "PERCPU"))
		value_size *= libbpf_num_possible_cpus();
	if (!strcmp(type, "SLOTS") || strstr(type, "ARRAY"))
		return digest_array(sum, map_fd(name), value_size, entries);
	return digest_map(sum, map_fd(name), key_size, value_size);
}

uint64_t maps_digest(bool slots_too)
{
	uint64_t sum = events_drain(NULL);

	for (int d = DEVICE_A; d < DEVICES; d++)
		sum = sum * 31 + flows_owned(d);

#define X(name, TYPE, key, value, entries, flags, text)                                                               \
	if (strcmp(#name, "trace") && (slots_too || strcmp(#TYPE, "SLOTS")))                                           \
		sum = digest_table(sum, #name, #TYPE, sizeof(key), sizeof(value), entries);
	WARREN_MAPS(X)
#undef X
#define X(name, key, value, first, most, text) sum = digest_map(sum, map_fd(#name), sizeof(key), sizeof(value));
	WARREN_GROWING_MAPS(X)
#undef X
	return sum;
}
