/* SPDX-License-Identifier: BSD-2-Clause */
#include "flows.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "clock.h"
#include "internal.h"
#include "windows.h"

union ct_key {
	struct wr_ct4_key v4;
	struct wr_ct6_key v6;
};

/* In the order of dp_flow_stats. */
static const struct flow_map {
	const char *name;
	int family;
	bool in_table;
} flow_maps[] = {
	{ "ct4", AF_INET, true },
	{ "ct6", AF_INET6, true },
	{ "ct_new4", AF_INET, false },
	{ "ct_new6", AF_INET6, false },
};

/* The programs' clock, which may be behind by the time that the kernel needed at boot to start its tick. */
static uint32_t now_tick(void)
{
	return (uint32_t)(clock_ns(CLOCK_MONOTONIC_COARSE) >> WR_CT_TICK_SHIFT);
}

static bool is_echo(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

void dp_flow_key_sort(void *key, size_t size)
{
	__be16 *ports = (__be16 *)((char *)key + 2 * size), port = ports[0];
	const struct wr_addr4 *v4 = key;
	const struct wr_addr6 *v6 = key;
	char address[sizeof(*v6)];

	if (size == sizeof(*v4) ? !wr_ct4_swapped(v4[0], port, v4[1], ports[1])
				: !wr_ct6_swapped(&v6[0], port, &v6[1], ports[1]))
		return;
	ports[0] = ports[1];
	ports[1] = port;
	memcpy(address, key, size);
	memcpy(key, (char *)key + size, size);
	memcpy((char *)key + size, address, size);
}

static void key_make(const struct dp_flow *flow, union ct_key *key)
{
	__be16 ports[2] = { htons(flow->port[0]), is_echo(flow->protocol) ? WR_CT_ECHO_PORT : htons(flow->port[1]) };

	memset(key, 0, sizeof(*key));
	if (flow->ip[0].family == AF_INET) {
		key->v4 = (struct wr_ct4_key){ .port = { ports[0], ports[1] }, .l4_proto = flow->protocol };
		for (int i = 0; i < 2; i++)
			memcpy(&key->v4.addr[i], flow->ip[i].bytes, sizeof(key->v4.addr[i]));
	} else {
		key->v6 = (struct wr_ct6_key){ .port = { ports[0], ports[1] }, .l4_proto = flow->protocol };
		for (int i = 0; i < 2; i++)
			memcpy(&key->v6.addr[i], flow->ip[i].bytes, sizeof(key->v6.addr[i]));
	}
	dp_flow_key_sort(key, ip_bytes(&flow->ip[0]));
}

static void flow_read(const struct flow_map *map, const void *key, const struct wr_ct *ct, struct dp_flow *flow)
{
	const union ct_key *k = key;
	const bool v6 = map->family == AF_INET6;
	const int initiator = ct->flags & WR_CT_SWAPPED ? 1 : 0;
	int32_t left = (int32_t)(ct->expires - now_tick());

	*flow = (struct dp_flow){
		.protocol = v6 ? k->v6.l4_proto : k->v4.l4_proto,
		.in_table = map->in_table,
		.dead = left < 0,
		.expires_in_ms = left < 0 ? 0 : (uint32_t)(((uint64_t)left << WR_CT_TICK_SHIFT) / NS_PER_MS),
		.ct = *ct,
	};
	for (int i = 0; i < 2; i++) {
		int end = i ^ initiator;

		flow->ip[i] = v6 ? ip_from(AF_INET6, &k->v6.addr[end]) : ip_from(AF_INET, &k->v4.addr[end]);
		flow->port[i] = ntohs(v6 ? k->v6.port[end] : k->v4.port[end]);
	}
	if (is_echo(flow->protocol))
		flow->port[1] = 0;
}

/* --- state -------------------------------------------------------------------------------------------------------- */

enum dp_flow_state dp_flow_state(const struct dp_flow *f)
{
	const uint32_t flags = f->ct.flags;

	if (f->dead)
		return DP_FLOW_DEAD;
	if (flags & WR_CT_DENIED)
		return DP_FLOW_DENIED;
	if (flags & WR_CT_RESET)
		return DP_FLOW_RESET;
	if (flags & WR_CT_FIN_BOTH)
		return DP_FLOW_CLOSING;
	return flags & WR_CT_REPLIED ? DP_FLOW_REPLIED : DP_FLOW_NEW;
}

const char *dp_flow_state_name(enum dp_flow_state state)
{
	static const char *const names[] = {
		[DP_FLOW_DEAD] = "dead",       [DP_FLOW_DENIED] = "denied",   [DP_FLOW_RESET] = "reset",
		[DP_FLOW_CLOSING] = "closing", [DP_FLOW_REPLIED] = "replied", [DP_FLOW_NEW] = "new",
	};

	return names[state];
}

uint32_t dp_flow_idle_ms(const struct dp_flow *f)
{
	const uint64_t life = ((uint64_t)wr_ct_life(f->protocol, f->ct.flags) << WR_CT_TICK_SHIFT) / NS_PER_MS;

	return life > f->expires_in_ms ? (uint32_t)(life - f->expires_in_ms) : 0;
}

/* --- services ----------------------------------------------------------------------------------------------------- */

int dp_conntrack_open(struct dp_conntrack *ct, struct err *err)
{
	const struct dp_map_fd maps[] = {
		{ "ct4", &ct->fd[0][0] },	 { "ct_new4", &ct->fd[0][1] }, { "ct6", &ct->fd[1][0] },
		{ "ct_new6", &ct->fd[1][1] },	 { "addr4", &ct->addr[0] },    { "addr6", &ct->addr[1] },
		{ "endpoints", &ct->endpoints },
	};
	int r;

	*ct = (struct dp_conntrack)DP_CONNTRACK_CLOSED;
	r = dp_maps_open(maps, ARRAY_SIZE(maps), err);
	return r < 0 ? r : dp_value_get("config", &ct->config, err);
}

void dp_conntrack_close(struct dp_conntrack *ct)
{
	for (int i = 0; i < 4; i++)
		closep(&ct->fd[i / 2][i % 2]);
	closep(&ct->addr[0]);
	closep(&ct->addr[1]);
	closep(&ct->endpoints);
}

/* A slot of ct_new4 or ct_new6. */
union slot {
	struct wr_ct4_slot v4;
	struct wr_ct6_slot v6;
};

static const void *slot_key(const union slot *slot, bool v6)
{
	return v6 ? (const void *)&slot->v6.key : &slot->v4.key;
}

static const struct wr_ct *slot_ct(const union slot *slot, bool v6)
{
	return v6 ? &slot->v6.ct : &slot->v4.ct;
}

static size_t key_size(bool v6)
{
	return v6 ? sizeof(struct wr_ct6_key) : sizeof(struct wr_ct4_key);
}

/* A window: `half` slots from `first` on, and as many after them. */
struct window {
	uint32_t first, half;
};

/* The window of the endpoint with this address; the node's if there is no endpoint or it has no window. */
static struct window window_of(const struct dp_conntrack *ct, bool v6, const void *address)
{
	struct wr_local local;

	if (bpf_map_lookup_elem(ct->addr[v6], address, &local) == 0) {
		for (uint32_t n = 0; n < WR_ENDPOINT_PROBES; n++) {
			uint32_t slot = wr_endpoint_slot(local.ifindex, n);
			struct wr_endpoint ep;

			if (bpf_map_lookup_elem(ct->endpoints, &slot, &ep) == 0 && ep.ifindex == local.ifindex &&
			    ep.ct_slots)
				return (struct window){ ep.ct_first, ep.ct_slots / 2 };
		}
	}
	return (struct window){ 0, WR_CT_NODE_SLOTS / 2 };
}

static bool set_find(const struct dp_conntrack *ct, bool v6, const union ct_key *key, uint32_t set, void *entry)
{
	for (uint32_t slot = set; slot < set + WR_CT_WAYS; slot++) {
		union slot s;

		if (bpf_map_lookup_elem(ct->fd[v6][1], &slot, &s) == 0 && s.v4.tag &&
		    memcmp(slot_key(&s, v6), key, key_size(v6)) == 0) {
			memcpy(entry, slot_ct(&s, v6), sizeof(struct wr_ct));
			return true;
		}
	}
	return false;
}

/*
 * Looks up the windows of both ends, then ct: the order in which programs promote a flow, so that none is missed while
 * it moves.
 */
static bool entry_find(const struct dp_conntrack *ct, bool v6, const union ct_key *key, void *entry)
{
	const uint64_t hash =
	    wr_ct_hash((const __u32 *)(const void *)key, ct->config.ct_secret, (__u32)key_size(v6) / 4);

	for (int end = 0; end < 2; end++) {
		const struct window w = window_of(ct, v6, v6 ? (const void *)&key->v6.addr[end] : &key->v4.addr[end]);
		const uint32_t set = wr_ct_set(hash, w.first, w.half);

		if (set_find(ct, v6, key, set, entry) || set_find(ct, v6, key, set + w.half, entry))
			return true;
	}
	return bpf_map_lookup_elem(ct->fd[v6][0], key, entry) == 0;
}

bool dp_flow_find(const struct dp_conntrack *ct, const struct dp_flow *ends, struct dp_flow *flow)
{
	const struct flow_map map = { .family = ends->ip[0].family };
	union ct_key key;
	struct wr_ct entry;

	key_make(ends, &key);
	if (!entry_find(ct, map.family == AF_INET6, &key, &entry))
		return false;
	flow_read(&map, &key, &entry, flow);
	return true;
}

/*
 * Sets the service to which the flow with that key was sent, if its reverse-NAT entry still exists. The entry of a flow
 * in ct (`in_table`) nearly always is there too, which is one lookup instead of some twenty.
 */
static bool reverse_nat_find(const struct dp_conntrack *ct, bool v6, union ct_key key, bool in_table,
			     struct dp_flow *flow)
{
	struct wr_ct_service service;

	*(v6 ? &key.v6.kind : &key.v4.kind) = WR_CT_REVERSE_NAT;
	if (!(in_table && bpf_map_lookup_elem(ct->fd[v6][0], &key, &service) == 0) &&
	    !entry_find(ct, v6, &key, &service))
		return false;
	flow->service = ip_from(v6 ? AF_INET6 : AF_INET, &service.addr);
	flow->service_port = ntohs(service.port);
	flow->client_port = ntohs(service.client_port);
	return true;
}

bool dp_flow_service(const struct dp_conntrack *ct, struct dp_flow *flow)
{
	const bool v6 = flow->ip[0].family == AF_INET6;
	union ct_key key;
	struct wr_ct entry;

	key_make(flow, &key);
	/*
	 * A denied flow may have no entry of its own. An entry that is not translated was sent to the backend itself.
	 */
	if (entry_find(ct, v6, &key, &entry) && !(entry.flags & WR_CT_TRANSLATED))
		return false;
	return reverse_nat_find(ct, v6, key, false, flow);
}

/* --- list and end --------------------------------------------------------------------------------------------- */

struct each_flow {
	const struct flow_map *map;
	struct dp_conntrack conntrack;
	bool dead;
	int (*fn)(const struct dp_flow *flow, void *arg);
	void *arg;
};

static int on_flow(const void *key, const void *value, int cpus, void *arg)
{
	struct each_flow *each = arg;
	const bool v6 = each->map->family == AF_INET6;
	struct dp_flow flow;
	union ct_key copy;
	uint32_t slot = 0;

	/* The walk skips empty slots. A slot that is written while it is copied may be shown half old, half new. */
	if (!each->map->in_table) {
		const union slot *s = value;

		slot = *(const uint32_t *)key;
		key = slot_key(s, v6);
		value = slot_ct(s, v6);
	}
	/* Reverse-NAT and affinity entries are no flows. */
	if (((const struct wr_ct *)value)->flags & WR_CT_SERVICE)
		return 0;
	flow_read(each->map, key, value, &flow);
	flow.slot = slot;
	if (flow.ct.flags & WR_CT_TRANSLATED) {
		memcpy(&copy, key, v6 ? sizeof(copy.v6) : sizeof(copy.v4));
		reverse_nat_find(&each->conntrack, v6, copy, flow.in_table, &flow);
	}
	return flow.dead && !each->dead ? 0 : each->fn(&flow, each->arg);
}

int dp_flows_each(bool dead, int (*fn)(const struct dp_flow *flow, void *arg), void *arg, struct err *err)
{
	struct each_flow each = { .dead = dead, .fn = fn, .arg = arg };
	int r = dp_conntrack_open(&each.conntrack, err);

	for (size_t i = 0; i < ARRAY_SIZE(flow_maps) && r == 0; i++) {
		each.map = &flow_maps[i];
		r = dp_map_each(flow_maps[i].name, on_flow, &each, err);
	}
	dp_conntrack_close(&each.conntrack);
	return r;
}

static int no_flow(struct err *err)
{
	err_set(err, ENOENT, "there is no such flow");
	return err_hint(err, "`warren ct list` shows all flows");
}

static uint32_t past_tick(void)
{
	return now_tick() - WR_CT_SECONDS(60); /* past by the programs' clock too */
}

/*
 * Replaces the element, so that a program which holds the old one refreshes that and not this one. It must exist, and
 * is not deleted here: only the garbage collector deletes, since it also counts each endpoint's entries.
 */
static int end_in_table(bool v6, const union ct_key *key, struct err *err)
{
	const char *name = v6 ? "ct6" : "ct4";
	_cleanup_fd_ int fd = dp_map_open(name, err);
	struct wr_ct ct;

	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(fd, key, &ct) == 0) {
		ct.expires = past_tick();
		if (bpf_map_update_elem(fd, key, &ct, BPF_EXIST) == 0)
			return 0;
	}
	return errno == ENOENT ? -ENOENT : err_errno(err, errno, "cannot end a flow in map %s", name);
}

/*
 * Ends the flow in that slot; -ENOENT if it is no longer there. One compare-and-swap sets its tag to 0: readers see the
 * flow or an empty slot, and a program that has just read the flow does not write it again. The set's lock is not
 * taken: a process may be killed or preempted while it holds it, and would block every packet of the set.
 */
static int end_in_window(bool v6, const union ct_key *key, uint32_t slot, struct err *err)
{
	_cleanup_slots_ struct dp_slots slots = { 0 };
	int r = dp_slots_map(&slots, v6, slot, 1, err);
	uint32_t *s, tag;

	if (r < 0)
		return r;
	s = dp_slot(&slots, 0);
	tag = __atomic_load_n(s, __ATOMIC_ACQUIRE);
	if (!tag || memcmp(slot_key((const void *)s, v6), key, key_size(v6)) != 0)
		return -ENOENT;
	/* Another flow has another tag. */
	return __atomic_compare_exchange_n(s, &tag, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED) ? 0 : -ENOENT;
}

int dp_flow_end(const struct dp_flow *flow, struct err *err)
{
	const bool v6 = flow->ip[0].family == AF_INET6;
	union ct_key key;
	int young = -ENOENT, r;

	key_make(flow, &key);
	/* In this order: a promoted flow is in ct before it leaves its window. */
	if (!flow->in_table)
		young = end_in_window(v6, &key, flow->slot, err);
	if (young < 0 && young != -ENOENT)
		return young;
	r = end_in_table(v6, &key, err);
	if (r != -ENOENT)
		return r;
	return young == 0 ? 0 : no_flow(err);
}

/* --- statistics --------------------------------------------------------------------------------------------------- */

static int add_counter(const void *key, const void *value, int cpus, void *arg)
{
	const uint64_t *per_cpu = value;

	for (int cpu = 0; cpu < cpus; cpu++)
		((uint64_t *)arg)[*(const uint32_t *)key] += per_cpu[cpu];
	return 0;
}

/* Counts slots of ct_new4 or ct_new6 with a live flow: a dead one stays until a newer flow overwrites it. */
static int count_living(bool v6, uint32_t first, uint32_t count, uint64_t *living, struct err *err)
{
	_cleanup_slots_ struct dp_slots slots = { 0 };
	const uint32_t now = now_tick();
	int r = dp_slots_map(&slots, v6, first, count, err);

	for (uint32_t n = 0; r == 0 && n < count; n++) {
		const union slot *s = dp_slot(&slots, n);

		*living += s->v4.tag && (int32_t)(slot_ct(s, v6)->expires - now) >= 0;
	}
	return r;
}

/* All but stats->entries. */
static int read_counters(struct dp_flow_stats *stats, struct err *err)
{
	struct wr_config config;
	int r;

	*stats = (struct dp_flow_stats){ 0 };
	r = dp_map_each("ct_stats", add_counter, stats->counters, err);
	for (size_t i = 0; i < ARRAY_SIZE(flow_maps) && r == 0; i++) {
		struct dp_map_info info;

		r = dp_map_describe(flow_maps[i].name, &info, err);
		stats->capacity[i] = info.max_entries;
	}
	if (r == 0)
		r = dp_value_get("ct_gc", &stats->ct_gc, err);
	if (r == 0)
		r = dp_value_get("config", &config, err);
	if (r == 0)
		stats->quota = config.ct_quota;
	return r;
}

int dp_flow_stats(struct dp_flow_stats *stats, struct err *err)
{
	int r = read_counters(stats, err);

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		struct dp_map_info info;

		r = dp_map_info(flow_maps[v6].name, &info, err);
		stats->entries[v6] = info.entries;
		if (r == 0)
			r = count_living(v6, 0, WR_CT_NEW_SLOTS, &stats->entries[2 + v6], err);
	}
	return r;
}

/* --- windows, part by part ---------------------------------------------------------------------------------------- */

#define PART_SLOTS (WR_CT_NEW_SLOTS / DP_WINDOW_PARTS)
#define PARTS_AT_ONCE 8
_Static_assert(PART_SLOTS / WR_CT_WINDOW_MIN % 64 == 0, "is_part_used()");

/*
 * If the node's own window is not marked, the map is new and has no bits of older endpoints: all parts count as used.
 */
static bool is_part_used(const struct wr_ct_windows *windows, uint32_t part)
{
	const uint32_t words = PART_SLOTS / WR_CT_WINDOW_MIN / 64;
	uint64_t used = !(windows->used[0] & 1);

	for (uint32_t n = part * words; n < (part + 1) * words; n++)
		used |= windows->used[n];
	return used;
}

static int count_part(struct dp_window_counts *counts, uint32_t part, struct err *err)
{
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		counts->living[v6][part] = 0;
		r = count_living(v6, part * PART_SLOTS, PART_SLOTS, &counts->living[v6][part], err);
	}
	return r;
}

/* Counts parts in use from `next` on, at most PARTS_AT_ONCE; unused parts are empty. */
static int count_windows(struct dp_window_counts *counts, uint64_t living[2], struct err *err)
{
	struct wr_ct_windows windows;
	int r = dp_value_get("ct_windows", &windows, err);

	for (uint32_t n = 0, counted = 0, part = counts->next; n < DP_WINDOW_PARTS && r == 0; n++) {
		if (!is_part_used(&windows, part)) {
			counts->living[0][part] = counts->living[1][part] = 0;
		} else if (counted < PARTS_AT_ONCE) {
			r = count_part(counts, part, err);
			counted++;
			counts->next = (part + 1) % DP_WINDOW_PARTS;
		}
		part = (part + 1) % DP_WINDOW_PARTS;
	}
	for (uint32_t part = 0; part < DP_WINDOW_PARTS && r == 0; part++) {
		living[0] += counts->living[0][part];
		living[1] += counts->living[1][part];
	}
	return r;
}

int dp_flow_stats_kept(struct dp_window_counts *counts, struct dp_flow_stats *stats, struct err *err)
{
	int r = read_counters(stats, err);

	for (int v6 = 0; v6 < 2; v6++)
		stats->entries[v6] = stats->ct_gc.live[v6];
	return r < 0 ? r : count_windows(counts, &stats->entries[2], err);
}
