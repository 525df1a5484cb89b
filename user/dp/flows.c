/* SPDX-License-Identifier: BSD-2-Clause */
#include "flows.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "clock.h"
#include "internal.h"

union ct_key {
	struct wr_ct4_key v4;
	struct wr_ct6_key v6;
};

/* In the order of dp_flow_stats. */
static const struct flow_map {
	const char *name;
	int family;
	bool answered;
} flow_maps[] = {
	{ "ct4", AF_INET, true },
	{ "ct6", AF_INET6, true },
	{ "ct_new4", AF_INET, false },
	{ "ct_new6", AF_INET6, false },
};

/* As the programs count, but for the moments that the kernel took to start its tick: they may be a little behind. */
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
		.answered_table = map->answered,
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

/* --- services ----------------------------------------------------------------------------------------------------- */

int dp_conntrack_open(struct dp_conntrack *ct, struct err *err)
{
	const struct dp_map_fd maps[] = {
		{ "ct4", &ct->fd[0][0] },
		{ "ct_new4", &ct->fd[0][1] },
		{ "ct6", &ct->fd[1][0] },
		{ "ct_new6", &ct->fd[1][1] },
	};

	*ct = (struct dp_conntrack)DP_CONNTRACK_CLOSED;
	return dp_maps_open(maps, ARRAY_SIZE(maps), err);
}

void dp_conntrack_close(struct dp_conntrack *ct)
{
	for (int i = 0; i < 4; i++)
		closep(&ct->fd[i / 2][i % 2]);
}

static bool entry_find(const struct dp_conntrack *ct, bool v6, const union ct_key *key, void *entry)
{
	return bpf_map_lookup_elem(ct->fd[v6][0], key, entry) == 0 ||
	       bpf_map_lookup_elem(ct->fd[v6][1], key, entry) == 0;
}

/* Where the flow with that key was sent to, if the programs still know it. */
static bool origin_find(const struct dp_conntrack *ct, bool v6, union ct_key key, struct ip *ip, uint16_t *port)
{
	struct wr_ct_service origin;

	*(v6 ? &key.v6.kind : &key.v4.kind) = WR_CT_ORIGIN;
	if (!entry_find(ct, v6, &key, &origin))
		return false;
	*ip = ip_from(v6 ? AF_INET6 : AF_INET, &origin.addr);
	*port = ntohs(origin.port);
	return true;
}

bool dp_flow_service(const struct dp_conntrack *ct, const struct dp_flow *flow, struct ip *ip, uint16_t *port)
{
	const bool v6 = flow->ip[0].family == AF_INET6;
	union ct_key key;
	struct wr_ct entry;

	key_make(flow, &key);
	/* What is denied has no entry everywhere; but one that was sent to the backend itself is another flow. */
	if (entry_find(ct, v6, &key, &entry) && !(entry.flags & WR_CT_TRANSLATED))
		return false;
	return origin_find(ct, v6, key, ip, port);
}

/* --- listed and ended ----------------------------------------------------------------------------------------- */

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

	/* What becomes of a flow's addresses is no flow. */
	if (((const struct wr_ct *)value)->flags & WR_CT_SERVICE)
		return 0;
	flow_read(each->map, key, value, &flow);
	if (flow.ct.flags & WR_CT_TRANSLATED) {
		memcpy(&copy, key, v6 ? sizeof(copy.v6) : sizeof(copy.v4));
		origin_find(&each->conntrack, v6, copy, &flow.service, &flow.service_port);
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
	return err_hint(err, "`warren ct list` shows those there are");
}

/*
 * Written anew, so that a program which holds the old element refreshes that and not this one; but only where it still
 * is, and never deleted: the sweep owns deletion, with it the counting of who owns how many.
 */
static int end_in(const char *name, const union ct_key *key, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);
	struct wr_ct ct;

	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(fd, key, &ct) == 0) {
		ct.expires = now_tick() - WR_CT_SECONDS(60); /* in the past by the programs' clock, too */
		if (bpf_map_update_elem(fd, key, &ct, BPF_EXIST) == 0)
			return 0;
	}
	return errno == ENOENT ? -ENOENT : err_errno(err, errno, "cannot end a flow in map %s", name);
}

int dp_flow_end(const struct dp_flow *flow, struct err *err)
{
	const bool v6 = flow->ip[0].family == AF_INET6;
	const char *new = v6 ? "ct_new6" : "ct_new4";
	union ct_key key;
	int young, answered, over;

	key_make(flow, &key);
	/* In this order, in which no flow slips past that moves meanwhile: to ct when it is answered, and back when it is over. */
	young = end_in(new, &key, err);
	if (young < 0 && young != -ENOENT)
		return young;
	answered = end_in(v6 ? "ct6" : "ct4", &key, err);
	if (answered != -ENOENT)
		return answered;
	over = end_in(new, &key, err);
	if (over != -ENOENT)
		return over;
	return young == 0 ? 0 : no_flow(err);
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

static int add_counter(const void *key, const void *value, int cpus, void *arg)
{
	const uint64_t *per_cpu = value;

	for (int cpu = 0; cpu < cpus; cpu++)
		((uint64_t *)arg)[*(const uint32_t *)key] += per_cpu[cpu];
	return 0;
}

int dp_flow_stats(struct dp_flow_stats *stats, struct err *err)
{
	struct wr_config config;
	int r;

	*stats = (struct dp_flow_stats){ 0 };
	r = dp_map_each("ct_stats", add_counter, stats->counters, err);
	for (size_t i = 0; i < ARRAY_SIZE(flow_maps) && r == 0; i++) {
		struct dp_map_info info;

		r = dp_map_info(flow_maps[i].name, &info, err);
		stats->entries[i] = info.entries;
		stats->capacity[i] = info.max_entries;
	}
	if (r == 0)
		r = dp_value_get("sweep", &stats->sweep, err);
	if (r == 0)
		r = dp_value_get("config", &config, err);
	if (r == 0)
		stats->share = config.ct_share;
	return r;
}
