/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the maps of ABI version 4, release 0.1.0. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "abi4.h"
#include "array.h"
#include "cleanup.h"
#include "clock.h"
#include "services.h"
#include "upgrade_internal.h"

static const char *const shared[] = {
	"addr4",	 "addr6",	 "addr_cache", "classes",    "cidrs4",	   "cidrs6",   "rules",	    "policy_state",
	"policy",	 "identities",	 "nodes4",     "nodes6",     "node_addr4", "node_addr6", "ipcache4", "ipcache6",
	"node_metrics",	 "deny_state",	 "deny4",      "deny6",	     "deny_hits",  "uplinks",  "metrics",   NULL,
};

#define TABLE(name_, key, value, flags_)                                                                               \
	{                                                                                                              \
		.name = (name_), .kind = DP_MAP_TABLE, .type = BPF_MAP_TYPE_HASH, .key_size = (key),                   \
		.value_size = (value), .flags = (flags_)                                                               \
	}
#define SLOTS(name_, value, flags_)                                                                                    \
	{                                                                                                              \
		.name = (name_), .kind = DP_MAP_SLOTS, .type = BPF_MAP_TYPE_ARRAY, .key_size = 4,                      \
		.value_size = (value), .flags = (flags_)                                                               \
	}

static const struct dp_map endpoints_map = SLOTS("endpoints", ABI4_ENDPOINT_SIZE, BPF_F_MMAPABLE);
static const struct dp_map nodes_map = SLOTS("nodes", sizeof(struct abi4_node), 0);

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

struct endpoints {
	struct dp *dp;
	struct err *err;
	uint32_t *known; /* ifindexes, sorted at the end */
	size_t count, room;
};

static int on_endpoint(const void *key, const void *value, int cpus, void *arg)
{
	struct endpoints *all = arg;
	struct wr_endpoint ep = { 0 }, now;

	memcpy(&ep, value, ABI4_ENDPOINT_SIZE);
	ep.ct_first = 0; /* it was padding */
	if (array_push(all->known, all->room, all->count, ep.ifindex) < 0)
		return err_errno(all->err, ENOMEM, "endpoints");
	return dp_endpoint_get(all->dp, ep.ifindex, &now, NULL) == 0 ? 0 : dp_endpoint_put(all->dp, &ep, all->err);
}

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

struct gone {
	const struct endpoints *old;
	uint32_t *ifindexes;
	size_t count, room;
};

static int note_gone(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct gone *gone = arg;

	if (bsearch(&ifindex, gone->old->known, gone->old->count, sizeof(ifindex), compare_numbers))
		return 0;
	return array_push(gone->ifindexes, gone->room, gone->count, ifindex);
}

/* Until the old version's from_pod is unpinned, only its plugin adds and deletes endpoints. */
static int delete_gone(struct dp *dp, const struct endpoints *old, struct err *err)
{
	struct gone gone = { .old = old };
	int r = dp_endpoint_each(dp, note_gone, &gone, err);

	for (size_t i = 0; i < gone.count && r == 0; i++)
		r = dp_endpoint_delete(dp, gone.ifindexes[i], err);
	free(gone.ifindexes);
	return r;
}

static int convert_endpoints(struct upgrade *upgrade, struct dp *dp, struct err *err)
{
	struct endpoints all = { .dp = dp, .err = err };
	int r = upgrade_map_each(upgrade, &endpoints_map, on_endpoint, &all, err);

	if (r == 0 && all.count)
		qsort(all.known, all.count, sizeof(*all.known), compare_numbers);
	if (r == 0)
		r = delete_gone(dp, &all, err);
	free(all.known);
	return r;
}

/* --- nodes and settings ------------------------------------------------------------------------------------------- */

struct nodes {
	int fd;
	struct err *err;
};

static int on_node(const void *key, const void *value, int cpus, void *arg)
{
	const struct abi4_node *old = value;
	const struct nodes *nodes = arg;
	struct wr_node node = {
		.id = old->id,
		.flags = old->flags & ~ABI4_NODE_RESOLVED,
		.uplink = old->uplink,
		.mtu = old->mtu,
		.cidr4 = old->cidr4,
		.mask4 = old->mask4,
		.cidr6 = old->cidr6,
		.mask6 = old->mask6,
		.local = old->local,
		.remote = old->remote,
		.last_id = old->last_id,
	};

	return bpf_map_update_elem(nodes->fd, key, &node, BPF_ANY) < 0
		   ? err_errno(nodes->err, errno, "cannot write map nodes")
		   : 0;
}

static int convert_nodes(struct upgrade *upgrade, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open("nodes", err);
	struct nodes nodes = { fd, err };
	struct wr_cluster cluster = { 0 };
	int r = fd < 0 ? fd : upgrade_map_each(upgrade, &nodes_map, on_node, &nodes, err);

	if (r == 0)
		r = upgrade_value_get(upgrade, "cluster", ABI4_CLUSTER_SIZE, &cluster, err);
	return r < 0 ? r : dp_value_put("cluster", &cluster, err);
}

static int convert_config(struct upgrade *upgrade, struct dp *dp, struct err *err)
{
	struct abi4_config old;
	int r = upgrade_value_get(upgrade, "config", sizeof(old), &old, err);

	if (r < 0)
		return r;
	dp->config.tunnel_port = old.tunnel_port;
	dp->config.pod_mtu = old.pod_mtu;
	return dp_value_put("config", &dp->config, err);
}

/* --- services ----------------------------------------------------------------------------------------------------- */

/* A backend and its id, or an old list (`value` 0) and the new one. */
struct flow_backend {
	struct wr_addr6 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 v6;
};
struct id_of_backend {
	struct flow_backend backend;
	uint32_t id;
};
struct list_of {
	uint32_t old, new;
};

/* What conntrack entries of services need. */
struct flow_backends {
	struct id_of_backend *ids; /* sorted */
	struct list_of *lists;	   /* sorted by `old` */
	size_t id_count, id_room, list_count, list_room;
	bool v6; /* the family that is being read */
};

struct services {
	struct upgrade *upgrade;
	struct dp_services *to;
	int backends; /* the old map */
	bool v6;
	struct err *err;
};

/* The old list's backends: those that are there. */
static size_t list_read(const struct services *all, const struct wr_service *stored, struct dp_backend *backends)
{
	union {
		struct wr_backend4 v4;
		struct wr_backend6 v6;
	} b;
	size_t count = 0;

	for (uint32_t i = 0; i < stored->backends; i++) {
		if (bpf_map_lookup_elem(all->backends, &(struct abi4_backend_key){ stored->list, i }, &b) < 0)
			continue;
		backends[count++] = all->v6 ? (struct dp_backend){ ip_from(AF_INET6, &b.v6.addr), ntohs(b.v6.port) }
					    : (struct dp_backend){ ip_from(AF_INET, &b.v4.addr), ntohs(b.v4.port) };
	}
	return count;
}

static int on_service(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_service4_key *k4 = key;
	const struct wr_service6_key *k6 = key;
	const struct wr_service *stored = value;
	const struct services *all = arg;
	struct flow_backends *known = all->upgrade->backends;
	_cleanup_free_ struct dp_backend *backends = calloc((size_t)stored->backends + 1, sizeof(*backends));
	struct list_of list = { .old = stored->list };
	struct dp_service service;
	int r;

	if (!backends)
		return err_errno(all->err, ENOMEM, "services");
	service = (struct dp_service){
		.ip = all->v6 ? ip_from(AF_INET6, &k6->addr) : ip_from(AF_INET, &k4->addr),
		.port = ntohs(all->v6 ? k6->port : k4->port),
		.protocol = all->v6 ? k6->l4_proto : k4->l4_proto,
		.affinity_seconds = stored->affinity_seconds,
		.backends = backends,
		.backend_count = list_read(all, stored, backends),
	};
	r = dp_service_put(all->to, &service, &list.new, all->err);
	if (r < 0 && r != -E2BIG)
		return r;
	return array_push(known->lists, known->list_room, known->list_count, list) < 0
		   ? err_errno(all->err, ENOMEM, "services")
		   : 0;
}

static int on_backend(const void *key, const void *value, int cpus, void *arg)
{
	struct flow_backends *known = arg;
	const struct wr_backend4 *v4 = value;
	const struct wr_backend6 *v6 = value;
	struct id_of_backend entry = { .id = *(const uint32_t *)key };

	entry.backend.v6 = known->v6;
	if (known->v6)
		entry.backend.addr = v6->addr;
	else
		entry.backend.addr.v6[0] = v4->addr.v4;
	entry.backend.port = known->v6 ? v6->port : v4->port;
	entry.backend.l4_proto = known->v6 ? v6->l4_proto : v4->l4_proto;
	return array_push(known->ids, known->id_room, known->id_count, entry);
}

static int compare_backends(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct flow_backend));
}

static int read_new_backends(struct flow_backends *known, struct err *err)
{
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		known->v6 = v6;
		r = dp_map_each(v6 ? "backends6" : "backends4", on_backend, known, err);
	}
	if (known->id_count)
		qsort(known->ids, known->id_count, sizeof(*known->ids), compare_backends);
	if (known->list_count)
		qsort(known->lists, known->list_count, sizeof(*known->lists), compare_numbers);
	return r == -ENOMEM ? err_errno(err, ENOMEM, "backends") : r;
}

static int convert_services(struct upgrade *upgrade, struct err *err)
{
	struct services all = { .upgrade = upgrade, .err = err };
	int r = dp_services_open(&all.to, err);

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		const struct dp_map services =
		    TABLE(v6 ? "services6" : "services4",
			  v6 ? sizeof(struct wr_service6_key) : sizeof(struct wr_service4_key),
			  ABI4_SERVICE_SIZE, BPF_F_NO_PREALLOC);
		const struct dp_map backends =
		    TABLE(v6 ? "backends6" : "backends4", sizeof(struct abi4_backend_key),
			  v6 ? sizeof(struct wr_backend6) : sizeof(struct wr_backend4), BPF_F_NO_PREALLOC);

		all.v6 = v6;
		all.backends = upgrade_map_open(upgrade, &backends, err);
		r = all.backends < 0 ? all.backends : upgrade_map_each(upgrade, &services, on_service, &all, err);
		closep(&all.backends);
	}
	dp_services_close(all.to);
	return r < 0 ? r : read_new_backends(upgrade->backends, err);
}

/* --- conntrack ---------------------------------------------------------------------------------------------------- */

struct flows {
	struct upgrade *upgrade;
	bool v6, attached;
	int fd; /* ct4 or ct6 */
	uint32_t now; /* tick */
	uint32_t *owned; /* entries by owner: key of ct_usage */
	uint32_t total;
};

static void service_entry(const struct flow_backends *known, const void *key, bool v6, struct wr_ct_service *entry)
{
	const struct wr_ct4_key *k4 = key;
	const struct wr_ct6_key *k6 = key;
	const struct flow_backend backend = { .addr = entry->addr, .port = entry->port, .v6 = v6,
					      .l4_proto = v6 ? k6->l4_proto : k4->l4_proto };
	const struct list_of *list =
	    known->list_count ? bsearch(&entry->list, known->lists, known->list_count, sizeof(*list), compare_numbers) : NULL;
	const struct id_of_backend *id =
	    known->id_count ? bsearch(&backend, known->ids, known->id_count, sizeof(*id), compare_backends) : NULL;

	entry->list = list ? list->new : 0;
	entry->backend = id ? id->id : 0;
}

/*
 * Every flow that may still carry packets. A denied one is evaluated again with its next packet. Acknowledgement
 * numbers are not known, so no handshake can be followed to its end: the flow counts as established, until its old
 * timeout if it was not.
 */
static bool flow_convert(const struct flows *flows, const void *key, const void *value, struct wr_ct *ct)
{
	const uint8_t l4_proto = flows->v6 ? ((const struct wr_ct6_key *)key)->l4_proto
					   : ((const struct wr_ct4_key *)key)->l4_proto;

	memset(ct, 0, sizeof(*ct));
	memcpy(ct, value, ABI4_CT_SIZE);
	if (ct->flags & WR_CT_SERVICE) {
		service_entry(flows->upgrade->backends, key, flows->v6, (void *)ct);
		return true;
	}
	if ((int32_t)(ct->expires - flows->now) < 0 || (ct->flags & (WR_CT_DENIED_EGRESS | WR_CT_DENIED_INGRESS)))
		return false;
	if (l4_proto == IPPROTO_TCP)
		ct->flags |= WR_CT_REPLIED | WR_CT_ESTABLISHED;
	else if (ct->flags & WR_CT_REPLIED)
		ct->flags |= WR_CT_ESTABLISHED;
	return true;
}

static int on_flow(const void *key, const void *value, int cpus, void *arg)
{
	struct flows *flows = arg;
	struct wr_ct ct;
	uint32_t owner;

	if (!flow_convert(flows, key, value, &ct))
		return 0;
	if (bpf_map_update_elem(flows->fd, key, &ct, flows->attached ? BPF_NOEXIST : BPF_ANY) < 0) {
		flows->upgrade->lost_flows += errno != EEXIST;
		return 0;
	}
	owner = (int32_t)ct.initiator > 0 ? ct.initiator : (int32_t)ct.responder > 0 ? ct.responder : 0;
	/* Nearly all endpoints are in their first slot. */
	flows->owned[owner ? wr_endpoint_slot(owner, 0) : WR_CT_USAGE_UNOWNED]++;
	flows->total++;
	return 0;
}

/* Before the programs are attached. Later the gc corrects the counts. */
static int write_usage(const struct flows *flows, const uint32_t totals[2], struct err *err)
{
	const struct wr_ct_totals all = { .entries = { totals[0], totals[1] } };
	_cleanup_fd_ int fd = dp_map_open("ct_usage", err);

	if (fd < 0)
		return fd;
	for (uint32_t slot = 0; slot <= WR_CT_USAGE_UNOWNED; slot++) {
		const struct wr_ct_usage usage = { .entries = flows->owned[slot] };

		if (usage.entries && bpf_map_update_elem(fd, &slot, &usage, BPF_ANY) < 0)
			return err_errno(err, errno, "cannot write map ct_usage");
	}
	return dp_value_put("ct_totals", &all, err);
}

static int convert_family(struct flows *flows, struct err *err)
{
	const uint32_t key = flows->v6 ? sizeof(struct wr_ct6_key) : sizeof(struct wr_ct4_key);
	const struct dp_map table = TABLE(flows->v6 ? "ct6" : "ct4", key, ABI4_CT_SIZE, BPF_F_NO_PREALLOC);
	struct dp_map new = TABLE(flows->v6 ? "ct_new6" : "ct_new4", key, ABI4_CT_SIZE, 0);
	_cleanup_fd_ int fd = dp_map_open(table.name, err);
	int r;

	if (fd < 0)
		return fd;
	new.type = BPF_MAP_TYPE_LRU_HASH;
	flows->fd = fd;
	flows->total = 0;
	/* In the order in which a flow moves from one to the other. */
	r = upgrade_map_each(flows->upgrade, &new, on_flow, flows, err);
	return r < 0 ? r : upgrade_map_each(flows->upgrade, &table, on_flow, flows, err);
}

static int convert_flows(struct upgrade *upgrade, bool attached, struct err *err)
{
	_cleanup_free_ uint32_t *owned = calloc(WR_CT_USAGE_UNOWNED + 1, sizeof(*owned));
	struct flows flows = { .upgrade = upgrade,
			       .attached = attached,
			       .now = (uint32_t)(clock_ns(CLOCK_MONOTONIC_COARSE) >> WR_CT_TICK_SHIFT),
			       .owned = owned };
	uint32_t totals[2];
	int r = 0;

	if (!owned)
		return err_errno(err, ENOMEM, "conntrack");
	upgrade->lost_flows = 0; /* what the last copy cannot write is lost */
	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		flows.v6 = v6;
		r = convert_family(&flows, err);
		totals[v6] = flows.total;
	}
	return r < 0 || attached ? r : write_usage(&flows, totals, err);
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

static int convert(struct upgrade *upgrade, struct dp *dp, struct err *err)
{
	int r;

	upgrade->backends = calloc(1, sizeof(*upgrade->backends));
	if (!upgrade->backends)
		return err_errno(err, ENOMEM, "services");
	r = convert_config(upgrade, dp, err);
	if (r == 0)
		r = convert_nodes(upgrade, err);
	if (r == 0)
		r = convert_services(upgrade, err);
	return r < 0 ? r : convert_endpoints(upgrade, dp, err);
}

static void free_backends(struct upgrade *upgrade)
{
	struct flow_backends *known = upgrade->backends;

	if (known) {
		free(known->ids);
		free(known->lists);
	}
	free(known);
}

const struct layout layout_abi4 = {
	.abi = 4,
	.shared = shared,
	.convert = convert,
	.endpoints = convert_endpoints,
	.flows = convert_flows,
	.free = free_backends,
};
